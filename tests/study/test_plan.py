"""The candidates of a study, their settings and their initialisation."""

import pytest
import torch

from landscape import methods, models, tasks
from landscape.errors import InputError
from landscape.posteriors import isotropic
from landscape.study.candidates import CANDIDATES, REFERENCE, Candidate, select_candidates
from landscape.study.initialisation import initialise
from landscape.study.plan import FIRST_TUNING_SEED, Budget, budget


def test_every_method_takes_part_with_as_many_trials_that_it_accepts() -> None:
    assert {each.method for each in CANDIDATES.values()} == set(methods.METHODS)
    for each in CANDIDATES.values():
        trials = each.trials(10)
        assert len(trials) == len({repr(trial) for trial in trials}) == 10
        assert trials[0] == {}
        for settings in trials:
            methods.create(each.method, **{**each.fixed, **settings, "epochs": 100})
            for name, value in settings.items():
                low, high = each.space[name]
                assert low * 0.99 <= value <= high * 1.01


def test_more_trials_begin_with_the_same_ones() -> None:
    candidate = CANDIDATES["sam"]
    assert candidate.trials(12)[:5] == candidate.trials(5)


def test_a_grid_is_tried_whole() -> None:
    grid = ({"radius": 0.1}, {"radius": 0.2})
    assert Candidate("sam", "sam", grid=grid).trials(7) == list(grid)
    with pytest.raises(InputError, match="trials must be at least 1"):
        CANDIDATES["map"].trials(0)


def test_the_reference_always_takes_part() -> None:
    assert [each.name for each in select_candidates(["swag"])] == ["swag", REFERENCE]
    assert len(select_candidates(None)) == len(CANDIDATES)


def test_results_and_tuning_share_no_seed() -> None:
    assert budget("large").seeds <= FIRST_TUNING_SEED
    assert budget("small", seeds=7, trials=None).seeds == 7
    assert budget("small", samples=4).measured == 4
    assert Budget() == budget("small")


def test_where_a_training_starts() -> None:
    task = tasks.load("digits")
    model = models.build("convnet", task, normalisation="batch")
    source = isotropic(model, 0.1, mean=0.3)
    with_prior = initialise("source", source, task, 0)
    assert with_prior.prior is source
    assert initialise("weights", source, task, 0).prior is None
    for kind in ("source", "weights"):
        weights = dict(initialise(kind, source, task, 0).model.named_parameters())
        assert all(bool((value == 0.3).all()) for value in weights.values())
    scaled = initialise("scaled", source, task, 0, scale=4.0).prior
    own = initialise("isotropic", source, task, 0, scale=0.5).prior
    assert scaled is not None
    assert own is not None
    torch.testing.assert_close(scaled.gaussian.scale, torch.full_like(scaled.mean, 0.2))
    torch.testing.assert_close(own.gaussian.scale, torch.full_like(own.mean, 0.5))
    assert torch.equal(own.mean, source.mean)
    fresh = initialise("fresh-head", source, task, 0).prior
    assert fresh is not None
    assert fresh.space.size == source.space.size
    part = initialise("fresh-head-fixed-rest", source, task, 0)
    assert part.prior is not None
    assert part.prior.space.names == tuple(part.parameters)  # type: ignore[arg-type]
    assert part.prior.space.size < fresh.space.size
    with pytest.raises(InputError, match="unknown initialisation 'elsewhere'; known: source"):
        initialise("elsewhere", source, task, 0)
