"""Fingerprints tell weights, data and losses apart, and nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from cases import classification, joined, mlp, shuffled
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import InputError
from landscape.objective.likelihood import GaussianLikelihood
from landscape.posteriors import Posterior, PosteriorLoss, isotropic, load
from landscape.posteriors.fingerprints import fingerprints


def posterior(seed: int = 0, calibration: Any = None) -> Posterior:
    return isotropic(mlp(seed=seed), 0.1, mean=1.0, calibration=calibration)


def of(q: Any = None, data: Any = None, loss: Any = "cross_entropy") -> dict[str, str]:
    return fingerprints(PosteriorLoss(q or posterior(), data or classification(), loss))


def test_the_same_has_the_same_fingerprints() -> None:
    assert of() == of()
    assert set(of()) == {"posterior", "data", "loss"}


def test_a_posterior_keeps_its_fingerprint_in_a_file(tmp_path: Any) -> None:
    q = posterior()
    loaded = load(q.save(tmp_path / "q.safetensors"), mlp(seed=3))
    assert of(loaded) == of(q)


def test_examples_count_and_not_their_order_or_their_batches() -> None:
    batches = classification()
    for same in ([joined(batches)], batches[::-1], shuffled(batches), shuffled(batches, 3)):
        assert of(data=same)["data"] == of(data=batches)["data"]


@pytest.mark.parametrize("change", ["input", "label", "one less", "one twice", "pairs"])
def test_one_other_example_is_other_data(change: str) -> None:
    x, y = (part.clone() for part in joined(classification()))
    before = of(data=[(x.clone(), y.clone())])["data"]
    if change == "input":
        x[5, 2] += 1e-12
    elif change == "label":
        y[7] = (y[7] + 1) % 3
    elif change == "one less":
        x, y = x[1:], y[1:]
    elif change == "one twice":
        x, y = torch.cat([x, x[:1]]), torch.cat([y, y[:1]])
    else:
        x = x.flip(0)
    assert of(data=[(x, y)])["data"] != before


def test_a_float_is_not_its_neighbour_nor_its_other_type() -> None:
    x, y = joined(classification())
    prints = {of(data=[(x.to(kind), y)])["data"] for kind in (torch.float32, torch.float64)}
    assert len(prints) == 2


class Graph:
    """Data that are no rows of examples."""

    def __init__(self, edges: Tensor) -> None:
        self.edges = edges


def test_data_of_any_kind_are_told_apart() -> None:
    edges, labels = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.zeros(4)
    kinds: list[Callable[[Tensor], Any]] = [
        Graph,
        lambda part: part.float().to_sparse(),
        lambda part: {"edges": part, "nodes": None},
        lambda part: [part.numpy(), np.float64(part.sum())],
    ]
    for kind in kinds:
        prints = [of(data=[(kind(part), labels)])["data"] for part in (edges, edges, edges + 1)]
        assert prints[0] == prints[1] != prints[2]


def test_other_weights_layers_settings_or_statistics_are_another_posterior() -> None:
    batches = classification()
    fixed = mlp()
    part = isotropic(fixed, 0.1, mean=1.0, parameters=lambda name, _: name.startswith("2"))
    moved = mlp()
    with torch.no_grad():
        moved[0].weight[0, 0] += 1e-9
    sigmoid = nn.Sequential(nn.Linear(4, 5), nn.Sigmoid(), nn.Linear(5, 3)).double()
    tanh = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    relu = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    slope = nn.Sequential(nn.Linear(4, 5), nn.LeakyReLU(0.1), nn.Linear(5, 3)).double()
    steep = nn.Sequential(nn.Linear(4, 5), nn.LeakyReLU(0.2), nn.Linear(5, 3)).double()

    def norm() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()

    different = [
        posterior(),
        isotropic(mlp(), 0.2, mean=1.0),
        part,
        isotropic(moved, 0.1, mean=1.0, parameters=lambda name, _: name.startswith("2")),
        *(isotropic(network, 0.3, mean=1.0) for network in (tanh, sigmoid, relu, slope, steep)),
        isotropic(norm(), 0.1, calibration=batches),
        isotropic(norm(), 0.1, calibration=batches[1:]),
    ]
    assert len({of(q)["posterior"] for q in different}) == len(different)
    assert len({of(q, loss="gaussian")["data"] for q in different[:2]}) == 1
    again = isotropic(norm(), 0.1, calibration=classification())
    assert of(again)["posterior"] == of(different[-2])["posterior"]


def scaled(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda outputs, labels: factor * F.cross_entropy(outputs, labels, reduction="none")


def test_losses_are_told_apart_by_name_code_and_what_they_hold() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0]).double()
    losses: list[Any] = [
        "cross_entropy",
        "gaussian",
        F.cross_entropy,
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=weights),
        nn.CrossEntropyLoss(weight=2 * weights),
        GaussianLikelihood(1.0),
        GaussianLikelihood(2.0),
        scaled(1.0),
        scaled(2.0),
        lambda outputs, _: outputs[:, 0],
        lambda outputs, _: outputs[:, 1],
    ]
    prints = [of(loss=loss)["loss"] for loss in losses]
    assert len(set(prints)) == len(losses)
    assert of(loss=scaled(2.0))["loss"] == prints[10]
    assert of(loss=nn.CrossEntropyLoss(weight=weights.clone()))["loss"] == prints[5]


def test_data_that_can_be_read_only_once_are_refused() -> None:
    with pytest.raises(InputError, match="can be read only once"):
        of(data=iter(classification()))
