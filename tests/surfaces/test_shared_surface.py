"""One plane through several posteriors, on losses that are known everywhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cases import Memory, Quadratic, generator, symmetric
from torch import Tensor, nn

from landscape.cli import main
from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior, Samples, from_weights
from landscape.store import Run
from landscape.surfaces import Surface, shared_surface

MATRIX = symmetric(torch.linspace(0.5, 3, 6).double())
BATCHES = [(torch.zeros(n, 1), torch.zeros(n)) for n in (3, 1)]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[:, 0]


def posterior(count: int, shift: float) -> Posterior:
    drawn = torch.randn(count, 6, generator=generator(count), dtype=torch.float64)
    vectors = drawn + shift * torch.arange(6).double()
    return Posterior(ParameterSpace(Quadratic(MATRIX)), Samples(vectors))


def evaluated(*posteriors: Posterior, **settings: object) -> list[Surface]:
    return shared_surface(
        posteriors,
        BATCHES,
        **{"loss": loss, "samples": 9, "shape": (3, 5), **settings},  # type: ignore[arg-type]
    )


def test_all_posteriors_have_the_loss_of_one_plane_and_their_own_samples() -> None:
    posteriors = [posterior(5, 0.0), posterior(4, 1.0), posterior(1, 2.0)]
    found = evaluated(*posteriors)
    plane = found[0].plane
    assert plane.kind == "shared"
    samples = [q.sample(q.num_available(9), 0) for q in posteriors]
    everything = torch.cat(samples)
    centre = everything.mean(0)
    np.testing.assert_allclose(plane.origin, centre)
    _, _, directions = np.linalg.svd((everything - centre).numpy())
    overlap = np.abs(plane.basis.numpy() @ directions[:2].T)
    np.testing.assert_allclose(overlap, np.eye(2), atol=1e-9)  # the joint principal directions
    for surface, own in zip(found, samples, strict=True):
        assert surface.plane is plane
        assert surface.loss is found[0].loss
        shifted = own - centre
        inside = shifted @ plane.basis.T
        np.testing.assert_allclose(surface.sample_x, inside[:, 0])
        np.testing.assert_allclose(surface.sample_y, inside[:, 1])
        residual = shifted - inside @ plane.basis
        np.testing.assert_allclose(surface.sample_off_plane, residual.norm(dim=1))
        truth = 0.5 * torch.einsum("si,ij,sj->s", own, MATRIX, own)
        np.testing.assert_allclose(surface.sample_loss, truth)
    for i, y in enumerate(found[0].y):
        for j, x in enumerate(found[0].x):
            w = plane.origin + x * plane.basis[0] + y * plane.basis[1]
            assert found[0].loss[i, j] == pytest.approx(float(0.5 * w @ MATRIX @ w))
    every_x = np.concatenate([surface.sample_x for surface in found])
    reach = 0.5 * np.ptp(every_x)
    assert found[0].x[[0, -1]] == pytest.approx([every_x.min() - reach, every_x.max() + reach])


@pytest.mark.parametrize("count", [2, 3])
def test_a_plane_goes_through_the_means(count: int) -> None:
    posteriors = [posterior(5, 0.0), posterior(4, 1.0), posterior(3, -0.5)][:count]
    plane = evaluated(*posteriors, plane="means")[0].plane
    projection = plane.project(torch.stack([q.mean for q in posteriors]))
    np.testing.assert_allclose(projection.off_plane, 0, atol=1e-9)
    distance = float((posteriors[1].mean - posteriors[0].mean).norm())
    np.testing.assert_allclose(projection.coordinates[:2], [[0, 0], [distance, 0]], atol=1e-9)


def test_posteriors_that_no_plane_holds_are_refused() -> None:
    one = posterior(5, 0.0)
    with pytest.raises(InputError, match="two posteriors or more"):
        evaluated(one)
    frozen = []
    for fixed in (1.0, 2.0):
        network = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))
        nn.init.constant_(network[0].weight, fixed)
        space = ParameterSpace(network, ["1.weight", "1.bias"])
        frozen.append(Posterior(space, Samples(torch.randn(4, 3, generator=generator()))))
    with pytest.raises(InputError, match="posterior 1 differ in their layers or in parameters"):
        evaluated(*frozen)
    small = symmetric(torch.linspace(0.5, 3, 4).double())
    other = Posterior(ParameterSpace(Quadratic(small)), Point(torch.zeros(4).double()))
    with pytest.raises(InputError, match="over other parameters"):
        evaluated(one, other)
    with pytest.raises(InputError, match="unknown plane 'pca'"):
        evaluated(one, one, plane="pca")
    with pytest.raises(InputError, match="1 stores do not fit 2"):
        evaluated(one, one, stores=[Memory()])
    with pytest.raises(InputError, match="same mean"):
        evaluated(one, one, plane="means")
    networks = [nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2)) for _ in range(4)]
    weights = [network.state_dict() for network in networks]
    keeping = from_weights(networks[0], weights, buffers="keep")
    with pytest.raises(InputError, match="running statistics"):
        evaluated(keeping, keeping)


def test_a_stored_plane_is_taken_over_and_marked_as_one() -> None:
    posteriors, stores = [posterior(5, 0.0), posterior(4, 1.0)], [Memory(), Memory()]
    first = evaluated(*posteriors, stores=stores)
    groups = [store.read("surfaces/shared") for store in stores]
    marks = {group.attributes["plane_fingerprint"] for group in groups}
    assert len(marks) == 1
    np.testing.assert_array_equal(groups[1]["sample_x"], first[1].sample_x)
    np.testing.assert_array_equal(groups[1]["loss"], first[0].loss)
    done: list[int] = []
    again = evaluated(*posteriors, stores=stores, progress=lambda number, _: done.append(number))
    np.testing.assert_array_equal(again[1].loss, first[1].loss)
    assert done == []  # no row is evaluated again
    wider = evaluated(*posteriors, stores=stores, margin=1.0)
    assert wider[0].x[0] < first[0].x[0]
    assert stores[0].read("surfaces/shared").attributes["plane_fingerprint"] not in marks


@pytest.mark.filterwarnings("ignore::landscape.LandscapeWarning")
def test_the_command_puts_runs_of_one_network_on_one_plane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(method: str, seed: int) -> str:
        name = f"{method}{seed}"
        command = ["train", "digits", method, "--model", "mlp", "--epochs", "1", "--samples", "2"]
        assert main([*command, "--out", str(tmp_path), "--name", name, "--seed", str(seed)]) == 0
        return str(tmp_path / f"{name}.h5")

    files = [trained("vi", 0), trained("map", 0)]
    shared = ["surface", *files, "--samples", "3", "--grid", "3", "--rows", "2"]
    assert main(shared) == 0
    groups = [Run.open(file)["surfaces/shared"] for file in files]
    assert [len(group["sample_x"]) for group in groups] == [3, 1]
    assert groups[0].attributes["plane_fingerprint"] == groups[1].attributes["plane_fingerprint"]
    np.testing.assert_array_equal(groups[0]["loss"], groups[1]["loss"])
    assert np.isfinite(groups[0]["loss"]).all()
    capsys.readouterr()
    assert main([*shared, "--margin", "0.1"]) == 2
    assert "--fresh replaces it" in capsys.readouterr().err
    assert main([*shared, "--line", "random"]) == 2
    assert main(["surface", files[0], trained("map", 1), "--grid", "3"]) == 2
    assert "the runs are of different data" in capsys.readouterr().err
    assert {Run.open(file).attributes["status"] for file in files} == {"complete"}
