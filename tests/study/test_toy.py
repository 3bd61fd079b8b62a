"""The toy task: its closed forms, and gradient descent on it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from landscape.errors import InputError
from landscape.study import toy, two_modes
from landscape.study.ledger import Ledger
from landscape.study.toy import (
    BARRIERS,
    EXAMPLES,
    FLAT_MASS,
    ToyCandidate,
    TwoWells,
    mass_in_flat_well,
)


def loss(w: float) -> torch.Tensor:
    model = TwoWells(w)
    return model(torch.zeros(1, 1))[0, 0].detach()


def density(w: float) -> float:
    return float(torch.exp(-EXAMPLES * loss(w)))


def test_the_minima_are_equal_and_their_widths_are_as_stated() -> None:
    flat, sharp = float(loss(toy.FLAT)), float(loss(toy.SHARP))
    assert abs(flat - sharp) < np.exp(-8) / EXAMPLES * 1.01
    for place, width in ((toy.FLAT, toy.WIDE), (toy.SHARP, toy.NARROW)):
        step = 1e-3 * width
        second = (loss(place + step) - 2 * loss(place) + loss(place - step)) / step**2
        assert float(second) == pytest.approx(1 / (EXAMPLES * width**2), rel=1e-2)


def test_the_posterior_is_the_mixture_and_its_mass_in_the_ratio_of_the_widths() -> None:
    whole, _ = integrate.quad(density, -10, 10, points=[toy.FLAT, *BARRIERS], limit=200)
    root = np.sqrt(2 * np.pi)
    assert whole == pytest.approx(root * (toy.WIDE + toy.NARROW), rel=1e-6)
    within, _ = integrate.quad(density, *BARRIERS)
    flat_tail = np.diff(stats.norm(toy.FLAT, toy.WIDE).cdf(BARRIERS))[0]
    sharp = np.diff(stats.norm(toy.SHARP, toy.NARROW).cdf(BARRIERS))[0]
    truth = FLAT_MASS * flat_tail + (1 - FLAT_MASS) * sharp
    assert within / whole == pytest.approx(truth, rel=1e-6)


def test_the_barriers_are_where_both_wells_are_as_high() -> None:
    for place in BARRIERS:
        wide = ((place - toy.FLAT) / toy.WIDE) ** 2
        assert wide == pytest.approx(((place - toy.SHARP) / toy.NARROW) ** 2)
    inside = torch.tensor([BARRIERS[0] + 1e-6, BARRIERS[1] - 1e-6])
    assert not toy.in_flat_well(inside).any()
    assert toy.in_flat_well(torch.tensor([BARRIERS[0] - 1e-6, BARRIERS[1] + 1e-6])).all()


def test_gradient_descent_stays_in_the_well_where_it_starts_and_a_wide_sam_does_not() -> None:
    descent = ToyCandidate("map", "map", {"weight_decay": 0.0, "momentum": 0.0})
    starts = np.array([BARRIERS[0] - 0.1, BARRIERS[0] + 0.1, 4.0])
    assert mass_in_flat_well(descent, starts) == [1.0, 0.0, 0.0]
    sam = ToyCandidate("sam", "sam", {"weight_decay": 0.0, "radius": 0.5})
    assert mass_in_flat_well(sam, np.array([2.0])) == [1.0]


def test_the_table_has_a_row_for_each_candidate_and_the_closed_forms() -> None:
    calls = []
    candidates = [ToyCandidate("map", "map", {"weight_decay": 0.0})]
    (table,) = toy.two_wells(2, lambda done, total: calls.append((done, total)), candidates)
    # Wilson's interval of 2 of 2 and of 0 of 2: within [0, 1], and not a point.
    assert table.rows[0][1:] == ("1.00 [0.342, 1.00]", "0.00 [0.00, 0.658]", "0 of 2")
    assert [row[1] for row in table.rows[1:]] == ["0.909", "0.664"]
    assert calls == [(1, 1)]


def test_the_published_surface_is_the_papers_mixture() -> None:
    points = torch.tensor([[-0.4, -0.4], [2.0, 1.0], [-2.0, -1.0], [0.3, 1.7]], dtype=torch.float64)
    parts = [
        0.5 * stats.multivariate_normal(mean, variance).pdf(points.numpy())
        for mean, variance in (([-2, -1], 0.5), ([2, 1], 1.0))
    ]
    surfaces = [two_modes.TwoModes((x, y)) for x, y in points.tolist()]
    losses = [float(surface(torch.zeros(1, 1)).detach()) for surface in surfaces]
    assert losses == pytest.approx(-np.log(sum(parts)) / EXAMPLES)
    assert two_modes.in_flat_mode(points).tolist() == [False, True, False, True]
    assert two_modes.START == (-0.4, -0.4)


def test_the_flat_modes_mass_against_draws_of_the_density() -> None:
    generator = np.random.default_rng(0)
    means, scales = np.array([[-2, -1], [2, 1]]), np.sqrt([0.5, 1.0])
    modes = generator.integers(2, size=200_000)
    draws = means[modes] + scales[modes, None] * generator.standard_normal((200_000, 2))
    share = float(two_modes.in_flat_mode(torch.from_numpy(draws)).double().mean())
    assert two_modes.exact_mass() == pytest.approx(share, abs=0.005)


def test_a_row_of_the_published_surface_and_its_ledger(tmp_path: Path) -> None:
    descent = ToyCandidate("sgd", "map", {"weight_decay": 0.0})
    entries = [two_modes.Entry(descent, "sharp", "SGD")]
    ledger = Ledger(tmp_path / "ledger.json")
    table = two_modes.two_modes(1, lambda done, total: None, entries, ledger)
    # Gradient descent from the published start goes to the sharp mode, as in the paper.
    assert table.rows[0][1:4] == ("1", "0.00 [0.00, 0.793]", "0.00 [0.00, 0.793]")
    assert table.rows[0][5] == "sharp"
    assert table.figure is not None
    end = table.figure.panels[0].series[1]
    assert (end.x[0], end.y[0]) == (pytest.approx(-2, abs=0.2), pytest.approx(-1, abs=0.2))
    stored = Ledger(tmp_path / "ledger.json")
    request = {"two modes": descent.record(), "start": [-0.4, -0.4], "seed": 0}
    assert stored.get(request, list)[0] == pytest.approx([end.x[0], end.y[0]], rel=1e-3)


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text("{")
    with pytest.raises(InputError, match=r"ledger\.json is damaged; delete it"):
        Ledger(tmp_path / "ledger.json")
