"""Posteriors: what can be asked of each kind, and their files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from landscape import models, posteriors
from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, Point, Posterior, Samples, isotropic
from landscape.prediction import predict

NETWORK = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
BATCHES = [(torch.randn(6, 2), torch.zeros(6, dtype=torch.long))]


def distributions(size: int) -> dict[str, Point | Gaussian | Samples]:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4, size, generator=generator)
    return {
        "point": Point(vectors[0]),
        "gaussian": Gaussian(vectors[0], vectors[1].exp(), vectors[2:].T.contiguous()),
        "samples": Samples(vectors),
    }


@pytest.mark.parametrize("kind", ["point", "gaussian", "samples"])
def test_a_saved_posterior_predicts_the_same(tmp_path: Path, kind: str) -> None:
    space = ParameterSpace(NETWORK, lambda name, _: not name.startswith("2"))
    posterior = Posterior(
        space,
        distributions(space.size)[kind],
        method="made",
        history={"train_loss": [1.0, 0.5]},
        settings={"rank": 2},
        calibration=BATCHES,
    )
    path = posterior.save(tmp_path / "posterior.safetensors")
    other = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    untouched = {name: value.clone() for name, value in other.state_dict().items()}
    loaded = posteriors.load(path, other, calibration=BATCHES)
    assert (loaded.method, loaded.history, loaded.settings) == (
        "made",
        {"train_loss": [1.0, 0.5]},
        {"rank": 2},
    )
    w, again = posterior.sample(3, 7), loaded.sample(3, 7)
    assert torch.equal(w, again)
    for one, same in zip(w, again, strict=True):
        expected = posterior.space.call(one, BATCHES[0][0], posterior.buffers(one))
        torch.testing.assert_close(
            loaded.space.call(same, BATCHES[0][0], loaded.buffers(same)), expected
        )
    assert all(torch.equal(value, untouched[name]) for name, value in other.state_dict().items())


def test_a_built_network_is_rebuilt_from_the_file(tmp_path: Path) -> None:
    model = models.build("convnet", input_shape=(1, 4, 4), classes=3, width=2, seed=1)
    path = isotropic(model, 0.1).save(tmp_path / "prior.safetensors")
    rebuilt = models.rebuild(posteriors.describe(path)["architecture"])
    assert posteriors.load(path, rebuilt).space.size == isotropic(model, 0.1).space.size


def test_files_that_are_no_posterior_are_refused(tmp_path: Path) -> None:
    path = isotropic(NETWORK, 1.0).save(tmp_path / "good.safetensors")
    with pytest.raises(InputError, match="ends in"):
        isotropic(NETWORK, 1.0).save(tmp_path / "weights.pt")
    with pytest.raises(InputError, match="another architecture"):
        posteriors.load(path, nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)))
    for name, contents in {
        "empty": b"",
        "text": b"not a posterior at all",
        "truncated": path.read_bytes()[:-50],
    }.items():
        bad = tmp_path / f"{name}.safetensors"
        bad.write_bytes(contents)
        with pytest.raises(InputError, match=name):
            posteriors.load(bad, NETWORK)
    with pytest.raises(InputError, match="cannot read"):
        posteriors.load(tmp_path / "missing.safetensors", NETWORK)


def test_what_a_posterior_cannot_do_it_says() -> None:
    space = ParameterSpace(nn.Linear(2, 2))
    point = Posterior(space, Point(space.vector()))
    samples = Posterior(space, Samples(torch.zeros(2, space.size)))
    with pytest.raises(InputError, match="Gaussian"):
        point.log_prob(space.vector())
    with pytest.raises(InputError, match="at least 1"):
        point.sample(0)
    with pytest.raises(InputError, match="holds 2 samples"):
        samples.sample(3)
    with pytest.raises(InputError, match="does not fit"):
        Posterior(space, Point(torch.zeros(3)))
    with pytest.raises(InputError, match=r"\(S, P\)"):
        Samples(torch.zeros(0, 3))
    with pytest.raises(InputError, match="running statistics"):
        Posterior(ParameterSpace(NETWORK), Point(ParameterSpace(NETWORK).vector())).buffers(
            ParameterSpace(NETWORK).vector()
        )
    with pytest.raises(InputError, match="the prior is over 4"):
        isotropic(nn.Linear(2, 2), 1.0).kl(isotropic(nn.Linear(2, 2, bias=False), 1.0))


def test_samples_are_drawn_without_repetition() -> None:
    drawn = Samples(torch.arange(5.0)[:, None]).sample(5, torch.Generator().manual_seed(0))
    assert sorted(drawn[:, 0].tolist()) == [0, 1, 2, 3, 4]
    assert drawn[:, 0].tolist() != [0, 1, 2, 3, 4]


def test_samples_of_chains_say_where_in_them_they_are(tmp_path: Path) -> None:
    space = ParameterSpace(nn.Linear(2, 3))
    vectors = torch.arange(6.0)[:, None].expand(6, space.size)
    posterior = Posterior(space, Samples(vectors, torch.tensor([0, 0, 0, 1, 1, 1])), method="made")
    saved = posterior.save(tmp_path / "made.safetensors")
    for each in (
        posterior,
        posteriors.load(saved, nn.Linear(2, 3)),
        posterior.marginal(["bias"]),
        replace(posterior, distribution=posterior.distribution.to("cpu")),
    ):
        for count in (2, 6):
            places = each.places(count, 7)
            assert places is not None
            rows = each.sample(count, 7)[:, 0].tolist()
            assert places.tolist() == [[row // 3, row] for row in rows]
    for other in (Samples(vectors), Point(vectors[0]), Gaussian.diagonal(vectors[0], 1.0)):
        assert Posterior(space, other).places(1) is None
    with pytest.raises(InputError, match="6 samples need as many numbers of chains"):
        Samples(vectors, torch.zeros(5))


def test_samples_of_an_older_file_are_in_the_order_of_their_chain(tmp_path: Path) -> None:
    space = ParameterSpace(nn.Linear(2, 3))
    for method, places in (("sgld", [[0, 1], [0, 0]]), ("ensemble", None)):
        older = Posterior(space, Samples(torch.zeros(2, space.size)), method=method)
        found = posteriors.load(older.save(tmp_path / "x.safetensors"), nn.Linear(2, 3)).places(2)
        assert (found is None) == (places is None)
        assert found is None or sorted(found.tolist()) == sorted(places or ())


def test_no_more_samples_are_judged_than_there_are() -> None:
    space = ParameterSpace(nn.Linear(2, 3))
    several = Posterior(space, Samples(torch.randn(5, space.size)))
    assert [several.num_available(count) for count in (3, 5, 30)] == [3, 5, 5]
    assert Posterior(space, Point(space.vector())).num_available(30) == 1
    assert isotropic(nn.Linear(2, 3), 0.1).num_available(30) == 30
    batches = [(torch.randn(4, 2), torch.tensor([0, 1, 2, 0]))]
    assert len(predict(several, batches).log_probabilities) == 5


def test_an_isotropic_prior_takes_what_running_statistics_are_estimated_on() -> None:
    with pytest.raises(InputError, match=r"calibration=\.\.\."):
        predict(isotropic(NETWORK, 0.1), BATCHES, samples=2)
    found = predict(isotropic(NETWORK, 0.1, calibration=BATCHES), BATCHES, samples=2)
    assert bool(found.log_probabilities.isfinite().all())


def test_the_same_seed_gives_the_same_samples() -> None:
    prior = isotropic(nn.Linear(3, 2), 0.5, mean=1.0)
    assert torch.equal(prior.sample(4, 1), prior.sample(4, 1))
    assert not torch.equal(prior.sample(4, 1), prior.sample(4, 2))
    # The first of many is the first of few: measure and predict judge the same samples.
    assert torch.equal(prior.sample(4, 1)[:2], prior.sample(2, 1))


def test_more_samples_than_there_is_memory_for_are_refused() -> None:
    with pytest.raises(InputError, match="samples of 9 weights take 36,000"):
        isotropic(nn.Linear(2, 3), 0.1).sample(10**12)
