"""The steepest step of some parameters against a dense Fisher information."""

import pytest
import torch
from cases import concentrated
from fisher_cases import dense_fisher, expected_gradient, flat, gaussian

from landscape.posteriors.fisher import exact, kl_ball
from landscape.posteriors.fisher.exact import CovarianceFisher, steepest_step
from landscape.posteriors.fisher.restricted import RestrictedFisher, restricted_step


@pytest.fixture(autouse=True)
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No damping, conjugate gradients to the end, and steps of second order."""
    monkeypatch.setattr(kl_ball, "share", lambda *_: 1.0)
    for damped in (RestrictedFisher, CovarianceFisher):
        monkeypatch.setattr(damped.__init__, "__defaults__", (1e-13,))
    monkeypatch.setattr(exact, "_TOLERANCE", 1e-12)
    monkeypatch.setattr(exact, "_MAX_ITERATIONS", 500)


@pytest.mark.parametrize(("size", "rank"), [(6, 0), (8, 2), (12, 1), (10, 3)])
@pytest.mark.parametrize("length", [0.1, 1.0, 10.0])
def test_the_step_is_the_dense_solution(size: int, rank: int, length: float) -> None:
    q, rows = gaussian(size, rank, length), torch.tensor([4, 0, 3])
    gradient = expected_gradient(q)
    precision = torch.linalg.inv(torch.diag(q.scale**2) + q.factor @ q.factor.T)
    mean = torch.linalg.solve(precision[rows][:, rows], gradient.mean[rows])
    entries = torch.cat([rows, (size + rows[:, None] * rank + torch.arange(rank)).reshape(-1)])
    block, g = dense_fisher(q)[entries][:, entries], flat(gradient)[entries]
    square = gradient.mean[rows] @ mean + g @ torch.linalg.lstsq(block, g, rcond=1e-10).solution
    step = restricted_step(q, gradient, 0.1, rows)
    torch.testing.assert_close(step.mean[rows], 0.1 * mean / square.sqrt())
    found = block @ flat(step)[entries]
    torch.testing.assert_close(found, 0.1 * g / square.sqrt(), rtol=1e-5, atol=1e-7)
    held = torch.ones(size, dtype=torch.bool).index_fill_(0, rows, False)
    for part in (step.mean, step.log_scale, step.factor):
        assert float(part[held].abs().sum()) == 0


def test_with_all_rows_it_is_the_unrestricted_step() -> None:
    q = gaussian(9, 2)
    gradient = expected_gradient(q)
    some, whole = (
        restricted_step(q, gradient, 0.3, torch.arange(9)),
        steepest_step(q, gradient, 0.3),
    )
    torch.testing.assert_close(some.mean, whole.mean, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(some.log_scale, whole.log_scale, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("concentration", [0.0, 0.9, 1.0])
def test_damped_with_all_rows_it_promises_what_the_unrestricted_step_does(
    concentration: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for damped in (RestrictedFisher, CovarianceFisher):
        monkeypatch.setattr(damped.__init__, "__defaults__", (exact.DAMPING,))
    for length in (0.1, 1.0, 100.0):
        q = concentrated(12, 3, concentration, length)
        gradient = expected_gradient(q)
        some = gradient.dot(restricted_step(q, gradient, 0.2, torch.arange(12)))
        whole = gradient.dot(steepest_step(q, gradient, 0.2))
        torch.testing.assert_close(some, whole, rtol=0.02, atol=0.0)


def test_the_step_lies_on_the_kl_ball_of_the_joint_gaussian() -> None:
    q, rows = gaussian(10, 2), torch.tensor([1, 2, 7])
    step = restricted_step(q, expected_gradient(q), 1e-2, rows)
    assert float(q.moved(step).kl(q)) == pytest.approx(1e-2**2 / 2, rel=0.05)
