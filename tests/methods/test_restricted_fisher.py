"""FP-BMA of some parameters, the rest sampled with them, against a dense Fisher information."""

import pytest
import torch
from cases import concentrated
from problems import blobs, network
from test_fisher import dense_fisher, expected_gradient, flat, gaussian

from landscape.errors import InputError
from landscape.methods import FPBMA, SWAG, Problem, fisher
from landscape.methods.fisher import CovarianceFisher, steepest_step
from landscape.methods.restricted_fisher import RestrictedFisher, restricted_step
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, Posterior


@pytest.fixture(autouse=True)
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No damping, conjugate gradients to the end, and steps of second order."""
    monkeypatch.setattr(fisher, "share", lambda *_: 1.0)
    for damped in (RestrictedFisher, CovarianceFisher):
        monkeypatch.setattr(damped.__init__, "__defaults__", (1e-13,))
    monkeypatch.setattr(fisher, "_TOLERANCE", 1e-12)
    monkeypatch.setattr(fisher, "_MAX_ITERATIONS", 500)


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
        monkeypatch.setattr(damped.__init__, "__defaults__", (fisher.DAMPING,))
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


@pytest.mark.parametrize("choice", ["exact", "diagonal", "identity"])
def test_the_rest_stays_and_is_sampled_with_its_covariance(choice: str) -> None:
    task, model = blobs(), network(normalisation=True)
    prior = SWAG(epochs=12, rank=3).fit(model, task, device="cpu")
    method = FPBMA(epochs=5, trained="normalisation-and-head", fisher=choice, learning_rate=0.1)
    q = method.fit(model, task, prior=prior, device="cpu").gaussian
    before, held, trained = prior.gaussian, slice(0, 24), slice(24, None)
    assert torch.equal(q.mean[held], before.mean[held])
    assert torch.equal(q.factor[held], before.factor[held])
    torch.testing.assert_close(q.scale[held], before.scale[held])
    for found, old in ((q.mean, before.mean), (q.scale, before.scale), (q.factor, before.factor)):
        assert not torch.equal(found[trained], old[trained])
    # The joint samples' covariance between the two parts is U_held U_trained^T.
    w = Posterior(prior.space, q).sample(20_000, 0) - q.mean
    cross = w[:, held].T @ w[:, trained] / len(w)
    spread = (w[:, held].var(0)[:, None] * w[:, trained].var(0)).sqrt()
    error = (cross - q.factor[held] @ q.factor[trained].T) / spread
    assert float(error.abs().max()) < 5 / len(w) ** 0.5


def test_a_score_and_a_rest_that_is_not_random_are_refused() -> None:
    with pytest.raises(InputError, match="leave trained at 'all'"):
        FPBMA(fisher="score", trained="head")
    with pytest.raises(InputError, match="trained must be one of all, head"):
        FPBMA(trained="tail")
    space = ParameterSpace(network(), ["0.weight"])
    prior = Posterior(space, Gaussian.diagonal(space.vector(), 0.1))
    with pytest.raises(InputError, match=r"'4\.bias' is not random"):
        FPBMA(trained="head").init(Problem(space, "cross_entropy", 10, 10), prior=prior)
