"""Every framework with every ball: it trains and resumes, or it is refused in a line."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from problems import blobs, network
from test_loop import fit
from test_resume import interrupt
from torch import Tensor

from landscape.errors import InputError
from landscape.methods import (
    ASAM,
    BALLS,
    FPBMA,
    FSAM,
    FSWAG,
    MAP,
    METHODS,
    MOPED,
    SAM,
    SGHMC,
    SGLD,
    SWAG,
    VI,
    CyclicalSGLD,
    Ensemble,
    EntropyMCMC,
    Framework,
    Laplace,
    Method,
    MoLA,
    PretrainYourLoss,
    Problem,
    State,
)
from landscape.methods.balls.framework import SCORE_BALLS
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, Noise, Point, Posterior, isotropic

CYCLES: dict[str, Any] = {"cycles": 2, "samples_per_cycle": 1, "exploration": 0.5}
FRAMEWORKS: list[tuple[type[Framework[Any]], dict[str, Any], tuple[str, ...]]] = [
    (MAP, {}, SCORE_BALLS),
    (Ensemble, {"members": 2}, SCORE_BALLS),
    (Laplace, {"structure": "diagonal"}, SCORE_BALLS),
    (MoLA, {"members": 2}, SCORE_BALLS),
    (SWAG, {"rank": 0}, SCORE_BALLS),
    (SGLD, {}, SCORE_BALLS),
    (SGHMC, {}, SCORE_BALLS),
    (CyclicalSGLD, CYCLES, SCORE_BALLS),
    (PretrainYourLoss, CYCLES, SCORE_BALLS),
    (EntropyMCMC, {"eta": 0.1}, SCORE_BALLS),
    (VI, {}, ()),
    (MOPED, {}, ()),
    (FPBMA, {}, ()),
]
"""Frameworks, settings for a short training, and the balls that they refuse."""
NAMES: list[tuple[type[Framework[Any]], str]] = [
    (SAM, "euclidean"),
    (ASAM, "adaptive"),
    (FSAM, "data-fisher"),
    (FSWAG, "euclidean"),
]
PAIRS = [
    pytest.param(kind, settings, ball, id=f"{kind.name}-{ball}")
    for kind, settings, refused in FRAMEWORKS
    for ball in BALLS
    if ball not in refused
]


def test_the_table_of_frameworks_is_complete() -> None:
    listed = {kind for kind, *_ in FRAMEWORKS} | {kind for kind, _ in NAMES}
    assert listed == {kind for kind in METHODS.values() if issubclass(kind, Framework)}


@pytest.mark.parametrize(("kind", "settings", "ball"), PAIRS)
def test_a_pair_trains_and_resumes_with_one_gradient_a_pass(
    kind: type[Framework[Any]],
    settings: dict[str, Any],
    ball: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes: list[bool] = []
    original = State.loss_and_gradient

    def counted(
        self: State, w: Tensor, batch: Any, *, update_statistics: bool = True
    ) -> tuple[Tensor, Tensor]:
        passes.append(update_statistics)
        return original(self, w, batch, update_statistics=update_statistics)

    monkeypatch.setattr(State, "loss_and_gradient", counted)
    method = kind(ball=ball, epochs=4, batch_size=15, **settings)
    model, task = network(normalisation=True, dropout=0.3), blobs()
    complete = fit(method, model, task, seed=3)
    steps = 4 * 2 * settings.get("members", 1)
    second = [] if ball == "none" else [False]
    assert passes == [True, *second] * steps
    assert ("perturbation_norm" in complete.history) == (ball != "none")
    assert all(length > 0 for length in complete.history.get("perturbation_norm", []))

    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(method, model, task, seed=3, checkpoint=path, progress=interrupt(3))
    resumed = fit(method, model, task, seed=3, checkpoint=path)
    assert torch.equal(resumed.sample(1, 1), complete.sample(1, 1))


@pytest.mark.parametrize(("kind", "settings", "refused"), FRAMEWORKS)
def test_the_other_pairs_are_refused_in_a_line(
    kind: type[Framework[Any]], settings: dict[str, Any], refused: tuple[str, ...]
) -> None:
    for ball in refused:
        with pytest.raises(InputError, match=f"^{kind.name} takes no ball '{ball}': .*; use ") as e:
            kind(ball=ball, **settings)
        assert "\n" not in str(e.value)
    with pytest.raises(InputError, match="ball must be one of none, euclidean"):
        kind(ball="round", **settings)
    with pytest.raises(InputError, match="radius must be at least 0"):
        kind(ball="euclidean", radius=-1.0, **settings)
    if kind.ball == "none":
        with pytest.raises(InputError, match=r"radius=0.3 needs a ball"):
            kind(radius=0.3, **settings)


@pytest.mark.parametrize(("kind", "own"), NAMES)
def test_a_name_for_a_pair_has_that_ball_alone(kind: type[Framework[Any]], own: str) -> None:
    assert kind().ball == own
    for ball in BALLS:
        if ball != own:
            with pytest.raises(
                InputError, match=f"takes no ball '{ball}': it is '(map|swag)' with"
            ):
                kind(ball=ball)


@pytest.mark.parametrize(
    ("name", "framework", "ball"),
    [(SAM, MAP, "euclidean"), (FSAM, MAP, "data-fisher"), (FSWAG, SWAG, "euclidean")],
)
def test_a_name_trains_as_its_pair(
    name: type[Framework[Any]], framework: type[Framework[Any]], ball: str
) -> None:
    settings: dict[str, Any] = {"epochs": 6, "radius": 0.1}
    if framework is SWAG:
        settings["rank"] = 2
    one, same = (
        fit(method, network(), blobs(), seed=1).sample(1, 1)
        for method in (name(**settings), framework(ball=ball, **settings))
    )
    assert torch.equal(one, same)


def low_rank(size: int) -> Gaussian:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(4, size, generator=generator, dtype=torch.float64)
    return Gaussian(draw[0], draw[1].exp(), draw[2:].T)


def test_the_posterior_balls_of_weights_have_the_covariance_of_the_prior() -> None:
    q, g = low_rank(7), torch.randn(7, dtype=torch.float64)
    covariance = torch.diag(q.scale**2) + q.factor @ q.factor.T
    precision = torch.linalg.inv(covariance)
    for ball, metric in (
        ("posterior-exact", precision),
        ("posterior-diagonal", torch.diag(precision.diagonal())),
    ):
        inverse = torch.linalg.inv(metric)
        truth = 0.4 * inverse @ g / (g @ inverse @ g).sqrt()
        method = SGLD(ball=ball, radius=0.4)
        step = method.step_of_weights(q.mean, g, torch.Generator(), q)
        torch.testing.assert_close(step, truth)
    # The exact one is the border of the KL ball between two Gaussians of this covariance.
    exact = SGLD(ball="posterior-exact", radius=0.4).step_of_weights(
        q.mean, g, torch.Generator(), q
    )
    near = Gaussian(q.mean + exact, q.scale, q.factor)
    assert 2 * float(near.kl(q)) == pytest.approx(0.4**2)


@pytest.mark.parametrize("kind", [MAP, SGLD, SGHMC, SWAG])
def test_an_isotropic_prior_makes_the_posterior_ball_euclidean(kind: type[Framework[Any]]) -> None:
    model, scale = network().double(), 0.5
    task, space = blobs(dtype=torch.float64), ParameterSpace(model)
    prior = isotropic(model, scale, mean=space.vector())
    ends = []
    for ball, radius in (("posterior-exact", 0.2), ("euclidean", 0.2 * scale)):
        method = kind(ball=ball, radius=radius)
        state = method.init(Problem(space, task.loss, 30, 10), prior=prior, seed=1)
        method.step(state, (task.train.inputs, task.train.targets))
        assert float(state.last["perturbation_norm"]) == pytest.approx(0.2 * scale)
        ends.append(state.weights)
    torch.testing.assert_close(*ends)


def test_a_chain_moves_from_its_place_by_the_gradient_at_the_worst_one() -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    space, batch = ParameterSpace(model), (task.train.inputs, task.train.targets)
    method = SGLD(ball="euclidean", radius=0.3, temperature=0.0, learning_rate=0.1, warmup=0.0)
    state = method.init(Problem(space, task.loss, 30, 10), seed=1)
    w = state.weights.clone()
    _, g = state.loss_and_gradient(w, batch)
    _, worst = state.loss_and_gradient(w + 0.3 * g / g.norm(), batch)
    method.step(state, batch)
    torch.testing.assert_close(state.weights, w - 0.1 * (worst + w / 30))


@pytest.mark.parametrize("kind", [MAP, Ensemble, Laplace, MoLA])
def test_posterior_balls_of_points_need_a_gaussian_prior(kind: type[Framework[Any]]) -> None:
    with pytest.raises(
        InputError, match=f"{kind.name}: ball 'posterior-exact' is that of a Gaussian prior"
    ):
        kind(ball="posterior-exact").fit(network(), blobs(), device="cpu")
    space = ParameterSpace(network())
    with pytest.raises(InputError, match="this needs a Gaussian posterior"):
        kind(ball="posterior-diagonal").fit(
            network(), blobs(), prior=Posterior(space, Point(space.vector())), device="cpu"
        )


def test_a_random_step_is_as_long_as_the_steepest_and_another_one() -> None:
    g, w = torch.randn(50, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    draws = torch.Generator().manual_seed(5)
    steps = [MAP(ball="random", radius=0.3).step_of_weights(w, g, draws) for _ in range(2)]
    steps.append(MAP(ball="euclidean", radius=0.3).step_of_weights(w, g, draws))
    for step in steps:
        assert float(step.norm()) == pytest.approx(0.3)
    assert max(abs(float(steps[i] @ steps[j])) for i, j in ((0, 1), (0, 2))) < 0.7 * 0.3**2


def test_balls_of_weights_move_the_mean_of_a_gaussian_alone() -> None:
    q = low_rank(6)
    noises = [q.noise(torch.Generator().manual_seed(1))]
    gradient = q.chain([torch.randn(6, dtype=torch.float64)], noises)
    for ball in ("adaptive", "data-fisher"):
        method = VI(ball=ball, radius=0.3)
        step = method.step_of_gaussian(q, gradient, noises, torch.Generator())
        truth = MAP(ball=ball, radius=0.3).step_of_weights(q.mean, gradient.mean, torch.Generator())
        assert torch.equal(step.mean, truth)
        assert float(step.log_scale.norm()) == float(step.factor.norm()) == 0


def test_the_prior_of_swags_posterior_balls_is_gaussian() -> None:
    space = ParameterSpace(network())
    with pytest.raises(InputError, match="this needs a Gaussian posterior"):
        SWAG(ball="posterior-diagonal").fit(
            network(), blobs(), prior=Posterior(space, Point(space.vector())), device="cpu"
        )


EARLIER: list[tuple[Method[Any], dict[str, Any], tuple[str, ...]]] = [
    (MAP(), {}, ("ball", "radius")),
    (SAM(radius=0.1), {}, ("ball",)),
    (FSAM(fisher_weight=3.0), {"eta": 3.0}, ("ball", "fisher_weight")),
    (FPBMA(ball="posterior-diagonal"), {"fisher": "diagonal", "direction": "steepest"}, ("ball",)),
    (FPBMA(ball="euclidean"), {"fisher": "identity", "direction": "steepest"}, ("ball",)),
    (FPBMA(ball="random"), {"fisher": "exact", "direction": "random"}, ("ball",)),
    (Laplace(ball="data-fisher"), {"base": "fsam"}, ("ball", "radius")),
    (Ensemble(ball="euclidean"), {"base": "sam"}, ("ball", "radius")),
]


@pytest.mark.parametrize(("method", "old", "new"), EARLIER)
def test_settings_of_an_earlier_version_are_read(
    method: Method[Any], old: dict[str, Any], new: tuple[str, ...]
) -> None:
    stored = {name: value for name, value in asdict(method).items() if name not in new} | old
    assert method.upgrade(stored) == asdict(method)
    assert type(method).upgrade(asdict(method)) == asdict(method)


def test_a_checkpoint_of_an_earlier_version_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, path = FSAM(fisher_weight=2.0, epochs=6), tmp_path / "checkpoint"
    complete = fit(method, network(), blobs(), seed=3)
    identity = FSAM.identity
    added = {"ball", "fisher_weight", "adaptive_floor"}
    assert added < {setting.name for setting in fields(FSAM)}

    def earlier(self: FSAM, *rest: Any) -> Mapping[str, Any]:
        now = identity(self, *rest)
        return {name: now[name] for name in now if name not in added} | {"eta": self.fisher_weight}

    with monkeypatch.context() as patch:
        patch.setattr(FSAM, "identity", earlier)
        with pytest.raises(KeyboardInterrupt):
            fit(method, network(), blobs(), seed=3, checkpoint=path, progress=interrupt(4))
    with pytest.raises(InputError, match=r"fisher_weight was 2\.0 there and is 1\.0 now"):
        fit(FSAM(epochs=6), network(), blobs(), seed=3, checkpoint=path)
    resumed = fit(method, network(), blobs(), seed=3, checkpoint=path)
    assert torch.equal(resumed.mean, complete.mean)


@pytest.mark.parametrize("ball", ["posterior-exact", "posterior-diagonal", "random"])
@pytest.mark.parametrize("rows", [None, [1, 4, 5]])
def test_a_relative_radius_is_the_same_share_of_sigma_for_any_number_of_parameters(
    ball: str, rows: list[int] | None
) -> None:
    """With a gradient of g_i = 1 / sigma_i every weight moves by this share of its sigma."""
    q = Gaussian.diagonal(torch.zeros(8).double(), torch.linspace(0.1, 2, 8).double())
    noises = [Noise(torch.zeros(8).double(), torch.zeros(0).double())]
    gradient = q.chain([1 / q.scale], noises)
    chosen = None if rows is None else torch.tensor(rows)
    method = VI(ball=ball, relative_radius=0.1)
    step = method.step_of_gaussian(
        q, gradient, noises, torch.Generator(), rows=chosen, covariance=False
    )
    moved = step.mean / q.scale
    count = 8 if rows is None else 3
    assert float(moved.norm()) == pytest.approx(0.1 * count**0.5)
    assert int((moved != 0).sum()) == count
    if ball != "random":
        assert moved[moved != 0].tolist() == pytest.approx([0.1] * count)


def test_a_relative_radius_of_weights_is_that_times_the_root_of_their_number() -> None:
    q, g = low_rank(7), torch.randn(7, dtype=torch.float64)
    one, same = (
        SGLD(ball="posterior-exact", **settings).step_of_weights(q.mean, g, torch.Generator(), q)
        for settings in ({"relative_radius": 0.2}, {"radius": 0.2 * 7**0.5})
    )
    torch.testing.assert_close(one, same)


def test_the_default_radius_of_variational_methods_is_relative() -> None:
    assert VI(ball="posterior-exact").rho(400) == pytest.approx(0.05 * 20)
    assert FPBMA().rho(400) == VI(ball="random").rho(400) == pytest.approx(1.0)
    assert FPBMA(ball="euclidean").rho(400) == 0.2
    assert FPBMA(radius=0.0).rho(400) == 0
    assert MAP(ball="euclidean").rho(400) == 0.05


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (FPBMA, {"radius": 1.0}, "give radius or relative_radius, not both"),
        (SGLD, {"ball": "posterior-exact", "radius": 1.0}, "give radius or relative_radius"),
        (FPBMA, {"ball": "euclidean"}, "and ball 'euclidean' is not; it can be posterior-exact"),
        (FPBMA, {"ball": "posterior-empirical"}, "ball 'posterior-empirical' is not"),
        (SGLD, {"ball": "random"}, "ball 'random' is not; it can be posterior-exact, posterior-d"),
        (MAP, {}, "ball 'none' is not"),
        (FPBMA, {"relative_radius": -1.0}, "relative_radius must be at least 0"),
    ],
)
def test_a_relative_radius_that_cannot_be_is_refused_in_a_line(
    kind: type[Framework[Any]], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        kind(**{"relative_radius": 0.1, **settings})
    assert "\n" not in str(error.value)
