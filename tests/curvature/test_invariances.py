"""The table of invariances in docs/flatness.md: each entry, on a network of two layers."""

import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landscape.curvature import MEASURES, top_eigenvalues, trace
from landscape.curvature.sharpness.measures import SharpnessWork, measure_sharpness_at
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior, PosteriorLoss

C = 4.0
PAGE = Path(__file__).parents[2] / "docs" / "flatness.md"
COLUMNS = ("Layers", "Units", "Rotation", "Logits", "Loss", "Data")
PLAIN = ("lambda_1", "lambda_ratio", "trace")
ESTIMATED = ("average", "trace", "pac", "learning", "relative", "lambda")


def table() -> dict[str, dict[str, str]]:
    text = PAGE.read_text().split("## Invariances")[1]
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, flags=re.M)
    return {
        name: dict(zip(COLUMNS, (entry.strip() for entry in row.split("|")), strict=True))
        for name, row in rows
    }


class TwoLayers(nn.Module):
    """Weights as they are given, and logits times a factor."""

    def __init__(self, weights: dict[str, Tensor], *, is_linear: bool, factor: float) -> None:
        super().__init__()
        for name, value in weights.items():
            self.register_parameter(name, nn.Parameter(value.clone()))
        self.is_linear, self.factor = is_linear, factor

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = nn.functional.linear(inputs, self.first, self.bias)
        hidden = hidden if self.is_linear else hidden.relu()
        return self.factor * nn.functional.linear(hidden, self.last, self.end)


class Scaled:
    """A criterion whose losses are multiplied by c."""

    def __init__(self, criterion: Any) -> None:
        self._criterion = criterion

    def __getattr__(self, name: str) -> Any:
        return getattr(self._criterion, name)

    def __call__(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        total, weight = self._criterion(*arguments)
        return C * total, weight

    def total(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        total, weight = self._criterion.total(*arguments)
        return C * total, weight


def weights() -> dict[str, Tensor]:
    """Weights of very different sizes, so that a rotation changes what is relative to them."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    sizes = torch.tensor([2.0, 0.1, 0.1, 0.1, 0.1, 0.1]).double()
    return {
        "first": sizes[:, None] * normal(6, 4),
        "bias": 0.1 * normal(6),
        "last": normal(3, 6),
        "end": 0.3 * normal(3),
    }


def measured(
    change: str = "", *, is_linear: bool = False
) -> tuple[dict[str, float], dict[str, float]]:
    """Every measure and its error after a change of the network, its loss or its data."""
    w, factor, temperature = weights(), 1.0, 0.7
    inputs = torch.randn(100, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = TwoLayers(w, is_linear=is_linear, factor=1.0)(inputs).argmax(1)
    by_unit = torch.full((6,), C).double()
    if change == "Units":
        by_unit = torch.tensor([0.2, 3.0, 1.0, 0.5, 4.0, 2.0]).double()
    if change in ("Layers", "Units"):
        w["first"], w["bias"] = by_unit[:, None] * w["first"], by_unit * w["bias"]
        w["last"] = w["last"] / by_unit
    if change == "Rotation":
        draw = torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        basis = torch.linalg.qr(draw)[0]
        w["first"], w["bias"] = basis @ w["first"], basis @ w["bias"]
        w["last"] = w["last"] @ basis.T
    if change == "Logits":
        factor, temperature = C, C * temperature
    if change == "Data":
        inputs, w["first"] = C * inputs, w["first"] / C
    space = ParameterSpace(TwoLayers(w, is_linear=is_linear, factor=factor))
    loss = PosteriorLoss(Posterior(space, Point(space.vector())), [(inputs, labels)])
    work = SharpnessWork(loss, list(MEASURES), [temperature], 0)
    objective = loss.at(space.vector())
    if change == "Loss":
        scale_losses(objective)
        object.__setattr__(loss, "at", lambda w: objective)
    row = measure_sharpness_at(work, (0, space.vector()))
    values = dict(zip(MEASURES, row["value"], strict=True))
    errors = dict(zip(MEASURES, row["error"], strict=True))
    top = top_eigenvalues(objective, k=5, tolerance=1e-6).values
    values |= {"lambda_1": float(top[0]), "lambda_ratio": float(top[0] / top[4])}
    values["trace"] = trace(objective, matvecs=objective.size).value
    return values, errors | dict.fromkeys(PLAIN, 0.0)


def scale_losses(objective: Objective) -> None:
    """Multiply the losses of an objective by c, and those of its copies with another loss."""
    with_loss: Callable[..., Objective] = objective.with_loss

    def scaled(loss: Any) -> Objective:
        other = with_loss(loss)
        other.criterion = Scaled(other.criterion)  # type: ignore[assignment]
        return other

    objective.criterion = Scaled(objective.criterion)  # type: ignore[assignment]
    objective.with_loss = scaled  # type: ignore[method-assign,assignment]


before = cache(measured)


@pytest.mark.parametrize("change", COLUMNS)
def test_every_measure_changes_as_the_page_says(change: str) -> None:
    is_linear = change == "Rotation"
    old, old_errors = before(is_linear=is_linear)
    new, new_errors = measured(change, is_linear=is_linear)
    wrong = {}
    for name, entries in table().items():
        entry = entries[change]
        expected = (C if entry == "x c" else 1.0) * old[name]
        tolerance = 0.02 * abs(expected)
        if is_linear and name.startswith(ESTIMATED):  # other draws; else equal seeds are paired
            tolerance += 3 * math.hypot(old_errors[name], new_errors[name])
        is_near = abs(new[name] - expected) < tolerance
        if is_near == (entry == "changes") or math.isnan(new[name]):
            wrong[name] = (entry, old[name], new[name], tolerance)
    assert not wrong


def test_the_page_has_every_measure() -> None:
    assert set(table()) == {*MEASURES, *PLAIN}
    described = PAGE.read_text().split("## The measures")[1].split("## Invariances")[0]
    for name in table():
        plain = name.removesuffix("_normalised").removesuffix("_tempered")
        assert f"| `{plain}` |" in described, name
