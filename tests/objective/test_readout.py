"""Networks with several outputs, batches of every form, tokens, heads and losses over a batch.

The right values are dense Hessians by ``torch.autograd.functional`` of the plain loss on all data
at once.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import columns, generator
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.curvature import m_sharpness, measure
from landscape.curvature.matrices import Matrix, operator_at
from landscape.errors import InputError
from landscape.methods import MAP, SWAG, Laplace
from landscape.objective.likelihood import LearntNoise
from landscape.objective.losses import Criterion, Heads, Loss, Readout, TemperedLogits
from landscape.objective.objective import Objective
from landscape.posteriors import isotropic
from landscape.prediction import predict, predict_real
from landscape.tasks import arrays
from landscape.workflow import train

N, T, V = 11, 4, 5


class ModelOutput(OrderedDict):
    """As that of transformers: a dict whose items are attributes, with methods that refuse."""

    def __init__(self, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            if part is not None:
                self[name] = part

    def __setitem__(self, name: str, part: Any) -> None:
        super().__setitem__(name, part)
        super().__setattr__(name, part)

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a ModelOutput cannot be updated")


class Tokens(nn.Module):
    """Logits (B, T, V) of tokens; its own loss is that of the next token if it gets labels."""

    def __init__(self, kind: str = "tensor") -> None:
        super().__init__()
        self.kind = kind
        self.embedding, self.head = nn.Embedding(V, 3), nn.Linear(3, V)

    def forward(self, input_ids: Tensor, mask: Any = None, labels: Any = None) -> Any:
        hidden = self.embedding(input_ids).tanh()
        logits = self.head(hidden + hidden.cumsum(1))
        if self.kind == "tensor":
            return logits
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        if self.kind == "tuple":
            return (logits,) if loss is None else (loss, logits)
        return ModelOutput(loss=loss, logits=logits, cache=object())


def network(kind: str = "tensor") -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Tokens(kind).double()


IDS = torch.randint(V, (N, T), generator=generator(1))
LABELS = IDS.roll(-1, 1).clone()
LABELS[::3, 2:] = -100
LABELS[4] = -100
CAUSAL = torch.where(torch.rand(N, T, generator=generator(2)) < 0.3, -100, IDS)
CAUSAL[:2, 2:] = -100
CUTS = [slice(0, 6), slice(6, 8), slice(8, N)]
WEIGHTS = torch.tensor([1.0, 3.0, 0.5, 2.0, 0.1], dtype=torch.float64)


def dense(model: nn.Module, mean_loss: Callable[[Callable[..., Any]], Tensor]) -> Tensor:
    """The Hessian of a mean loss of a network, by torch."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]
    w = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    def loss(v: Tensor) -> Tensor:
        parts = v.split([shape.numel() for shape in shapes])
        values = {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        return mean_loss(
            lambda *inputs, **named: torch.func.functional_call(model, values, inputs, named)
        )

    return torch.autograd.functional.hessian(loss, w)


def number(value: Tensor) -> float:
    return float(value.detach())


def agrees(objective: Objective, truth: Tensor, matrix: Matrix = "hessian") -> None:
    operator = operator_at(objective, objective.space.vector(), matrix)
    torch.testing.assert_close(columns(operator, objective.size), truth)


def rows(logits: Tensor, labels: Tensor = LABELS, **settings: Any) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), **settings)


def by_text(logits: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean over texts of the mean over their labels, text by text."""
    has_labels = (LABELS != -100).any(1)
    pairs = zip(logits[has_labels], LABELS[has_labels], strict=True)
    losses = [F.cross_entropy(logit, label, weight=weight) for logit, label in pairs]
    return torch.stack(losses).mean()


@pytest.mark.parametrize(
    ("kind", "form"), [("tensor", "pairs"), ("tuple", "pairs"), ("dict", "dicts")]
)
@pytest.mark.parametrize(
    ("loss", "mean", "unit"),
    [
        ("cross_entropy", rows, "label"),
        (
            nn.CrossEntropyLoss(weight=WEIGHTS, ignore_index=2),
            lambda logits: rows(logits, LABELS.clamp_min(0), weight=WEIGHTS, ignore_index=2),
            "label",
        ),
        (Readout(per="example"), by_text, "example"),
        (
            Readout(nn.CrossEntropyLoss(weight=WEIGHTS), per="example"),
            lambda logits: by_text(logits, WEIGHTS),
            "example",
        ),
    ],
    ids=["labels", "weights", "texts", "weighted texts"],
)
def test_tokens_are_counted_as_said(
    kind: str, form: str, loss: Any, mean: Callable[[Tensor], Tensor], unit: str
) -> None:
    labels = LABELS.clamp_min(0) if isinstance(loss, nn.Module) else LABELS
    batches: list[Any] = [
        {"input_ids": IDS[cut], "mask": None, "labels": labels[cut]}
        if form == "dicts"
        else (IDS[cut], labels[cut])
        for cut in CUTS
    ]
    model = network(kind)
    objective = Objective(model, batches, loss)
    assert objective.criterion.unit == unit

    def loss_of(call: Callable[..., Any]) -> Tensor:
        outputs = call(IDS)
        return mean(
            outputs if kind == "tensor" else outputs[0] if kind == "tuple" else outputs.logits
        )

    torch.testing.assert_close(objective.loss(), loss_of(model).detach())
    agrees(objective, dense(model, loss_of))


def test_the_gauss_newton_matrix_of_tokens_is_that_of_their_logits() -> None:
    model = network("dict")
    objective = Objective(model, [{"input_ids": IDS[c], "labels": LABELS[c]} for c in CUTS])
    counts = LABELS.flatten() != -100

    def logits(call: Callable[..., Any]) -> Tensor:
        return call(IDS).logits.flatten(0, 1)[counts]

    w = objective.space.vector()
    values = objective.space.unflatten
    jacobian = torch.autograd.functional.jacobian(
        lambda v: logits(lambda *a: torch.func.functional_call(model, values(v), a)), w
    )
    p = logits(model).softmax(1).detach()
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    truth = torch.einsum("ncp,ncd,ndq->pq", jacobian, inner, jacobian) / counts.sum()
    agrees(objective, truth, "gauss-newton")


def test_the_next_token_is_the_label() -> None:
    model = network("dict")
    batches = [{"input_ids": IDS[cut], "labels": CAUSAL[cut]} for cut in CUTS]
    objective = Objective(model, batches, Readout(shift=1))

    def loss_of(call: Callable[..., Any]) -> Tensor:
        return rows(call(IDS).logits[:, :-1], CAUSAL[:, 1:])

    agrees(objective, dense(model, loss_of))
    counts = CAUSAL[:, 1:] != -100
    right = (model(IDS).logits[:, :-1].argmax(2) == CAUSAL[:, 1:])[counts].double().mean()
    assert objective.evaluate().accuracy == pytest.approx(float(right))


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_a_networks_own_loss_is_counted_by_its_labels(kind: str) -> None:
    model = network(kind)
    batches = [{"input_ids": IDS[cut], "labels": CAUSAL[cut]} for cut in CUTS]
    with pytest.raises(InputError, match=r"some labels are ignored, .* say which with losses.R"):
        Objective(model, batches, "model").loss()
    with pytest.raises(InputError, match="not the mean over its examples"):
        Objective(model, batches, Readout("model", per="example")).loss()
    own = Objective(model, batches, Readout("model", per="label", shift=1))
    named = Objective(model, batches, Readout(output="logits" if kind == "dict" else 0, shift=1))
    truth = dense(
        model,
        lambda call: call(IDS, labels=CAUSAL)["loss" if kind == "dict" else 0],
    )
    agrees(own, truth)
    agrees(named, truth)
    whole = [{"input_ids": IDS, "labels": CAUSAL}]
    agrees(Objective(model, whole, Readout("model", per="example")), truth)
    full = [{"input_ids": IDS[cut], "labels": IDS[cut]} for cut in CUTS]
    plain = model(IDS, labels=IDS)["loss" if kind == "dict" else 0]
    torch.testing.assert_close(Objective(model, full, "model").loss(), plain.detach())
    assert own.evaluate().loss == pytest.approx(
        number(model(IDS, labels=CAUSAL)["loss" if kind == "dict" else 0])
    )


def test_a_network_without_a_loss_of_its_own_is_refused() -> None:
    pairs = [(IDS, IDS)]
    with pytest.raises(InputError, match="needs a network that returns its loss"):
        Objective(network("dict"), pairs, "model").loss()


def test_logits_whose_axis_of_classes_is_ambiguous_are_refused_unless_it_is_said() -> None:
    logits, labels = torch.randn(2, V, V), torch.zeros(2, V, dtype=torch.long)
    with pytest.raises(InputError, match="classes on axis 1 or on the last one"):
        Criterion("cross_entropy")(logits, labels)
    for axis, truth in ((1, logits), (-1, logits.movedim(2, 1))):
        total, weight = Criterion(Readout(classes=axis))(logits, labels)
        torch.testing.assert_close(total / weight, F.cross_entropy(truth, labels))
    total, weight = Criterion(nn.CrossEntropyLoss())(logits, labels)
    torch.testing.assert_close(total / weight, F.cross_entropy(logits, labels))


def test_pixels_with_the_classes_last_or_first_are_the_same() -> None:
    logits = torch.randn(3, 2, 4, V)
    labels = torch.randint(V, (3, 2, 4))
    labels[0, 1] = -100
    for given in (logits, logits.movedim(-1, 1)):
        for loss in ("cross_entropy", TemperedLogits(2.0)):
            total, weight = Criterion(loss)(given, labels)
            scale = 2.0 if isinstance(loss, TemperedLogits) else 1.0
            truth = F.cross_entropy(logits.movedim(-1, 1) / scale, labels)
            torch.testing.assert_close(total / weight, truth)
    probabilities = torch.randn(3, 2, 4, V).softmax(-1)
    total, weight = Criterion(Readout(classes=-1))(logits, probabilities)
    truth = F.cross_entropy(logits.movedim(-1, 1), probabilities.movedim(-1, 1))
    torch.testing.assert_close(total / weight, truth)


class Parts(nn.Module):
    """Two heads, in one of several forms."""

    def __init__(self, form: str = "dict", outputs: int = 2) -> None:
        super().__init__()
        self.form = form
        self.body, self.c, self.r = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, outputs)

    def forward(self, x: Tensor) -> Any:
        h = self.body(x).tanh()
        c, r = self.c(h), self.r(h)
        return {"dict": {"c": c, "r": r}, "tuple": (c, r), "named": ModelOutput(c=c, r=r)}[
            self.form
        ]


def parts(form: str = "dict", outputs: int = 2) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Parts(form, outputs).double()


X = torch.randn(N, 4, dtype=torch.float64, generator=generator(7))
CLASSES = torch.randint(3, (N,), generator=generator(8))
CLASSES[2:5] = -100
REAL = torch.randn(N, 2, dtype=torch.float64, generator=generator(9))


@pytest.mark.parametrize("form", ["dict", "tuple", "named"])
def test_several_heads_are_a_weighted_sum(form: str) -> None:
    names: Any = (0, 1) if form == "tuple" else ("c", "r")
    targets: list[Any] = [
        (CLASSES[cut], REAL[cut]) if form == "tuple" else {"c": CLASSES[cut], "r": REAL[cut]}
        for cut in CUTS
    ]
    loss = Heads(dict(zip(names, ("cross_entropy", nn.MSELoss()), strict=True)), {names[1]: 0.3})
    model = parts(form)
    objective = Objective(model, list(zip([X[c] for c in CUTS], targets, strict=True)), loss)

    def loss_of(call: Callable[..., Any]) -> Tensor:
        outputs = call(X)
        c, r = (outputs[name] for name in names)
        labelled = F.cross_entropy(c, CLASSES, reduction="sum") / N
        return labelled + 0.3 * F.mse_loss(r, REAL)

    agrees(objective, dense(model, loss_of))
    assert objective.criterion.unit == "example"


def test_heads_that_do_not_fit_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="no head 'x' to weigh; there are c, r"):
        Heads({"c": "cross_entropy", "r": "gaussian"}, {"x": 1.0})
    with pytest.raises(InputError, match="mean over examples, not over labels"):
        Criterion(Heads({"c": Readout(per="label")}))
    with pytest.raises(InputError, match="the outputs have no part 'd': a dict that has c, r"):
        Objective(parts(), [(X, {"d": CLASSES})], {"d": "cross_entropy"}).loss()
    with pytest.raises(InputError, match="needs one tensor of logits, not the network's dict"):
        Objective(parts(), [(X, CLASSES)]).loss()


@pytest.mark.parametrize("output", ["c", lambda outputs: outputs["c"]])
def test_one_of_several_outputs_is_read(output: Any) -> None:
    model = parts()
    objective = Objective(model, [(X[c], CLASSES[c]) for c in CUTS], Readout(output=output))
    truth = dense(model, lambda call: F.cross_entropy(call(X)["c"], CLASSES))
    for matrix in ("hessian", "empirical-fisher"):
        operator = operator_at(objective, objective.space.vector(), matrix)  # type: ignore[arg-type]
        with pytest.warns(match="no gradient reaches these parameters, .*: r.weight, r.bias"):
            product = columns(operator, objective.size)
        if matrix == "hessian":
            torch.testing.assert_close(product, truth)
    counts = CLASSES != -100
    gradients = []
    for x, y in zip(X[counts], CLASSES[counts], strict=True):
        loss = F.cross_entropy(model(x[None])["c"], y[None])
        each = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        zeros = [torch.zeros_like(p) for p in model.parameters()]
        pairs = zip(each, zeros, strict=True)
        gradients.append(torch.cat([(z if g is None else g).flatten() for g, z in pairs]))
    stacked = torch.stack(gradients)
    torch.testing.assert_close(product, stacked.T @ stacked / len(stacked))


@pytest.mark.parametrize("shape", [(N, 1), (N,)])
@pytest.mark.parametrize("dtype", [torch.long, torch.float64, torch.bool])
def test_one_logit_takes_classes_of_any_type(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    y = (CLASSES > 0).to(dtype).view(shape)
    objective = Objective(model, [(X[c], y[c]) for c in CUTS], "binary_cross_entropy")

    def loss_of(call: Callable[..., Any]) -> Tensor:
        z = torch.cat([torch.zeros(N, 1, dtype=torch.float64), call(X)], 1)
        return F.cross_entropy(z, (CLASSES > 0).long())

    agrees(objective, dense(model, loss_of))
    right = ((model(X)[:, 0] > 0) == (CLASSES > 0)).double().mean()
    assert objective.evaluate().accuracy == pytest.approx(float(right))
    posterior = isotropic(model, 1e-9, mean=objective.space.vector())
    found = predict(posterior, objective.batches, samples=1, loss="binary_cross_entropy").metrics()
    assert found["accuracy"] == pytest.approx(float(right))
    assert found["nll"] == pytest.approx(number(loss_of(model)), rel=1e-6)


def test_one_logit_with_more_than_a_target_an_example_is_refused() -> None:
    with pytest.raises(InputError, match="one logit and one target an example"):
        Criterion("binary_cross_entropy")(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(InputError, match="are 0, 1 or probabilities"):
        Criterion("binary_cross_entropy")(torch.zeros(4, 1), torch.full((4,), 2))


@pytest.mark.parametrize("form", ["tensor", "tuple", "one number"])
def test_a_learnt_noise_is_gaussian_with_that_variance(form: str) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.noise = nn.Linear(4, 4), nn.Parameter(torch.tensor(0.3))

        def forward(self, x: Tensor) -> Any:
            outputs = self.inner(x).tanh()
            if form == "tensor":
                return outputs
            return (
                (outputs[:, :2], outputs[:, 2:])
                if form == "tuple"
                else (outputs[:, :2], self.noise)
            )

    torch.manual_seed(1)
    model = Noisy().double()
    batches = [(X[c], REAL[c]) for c in CUTS]
    objective = Objective(model, batches, "gaussian_learnt_noise")

    def loss_of(call: Callable[..., Any]) -> Tensor:
        outputs = call(X)
        mean, log = outputs.split(2, 1) if form == "tensor" else outputs
        normal = torch.distributions.Normal(mean, (log / 2).exp(), validate_args=False)
        return -normal.log_prob(REAL).sum(1).mean()

    with pytest.warns(match="no gradient reaches") if form != "one number" else nullcontext():
        agrees(objective, dense(model, loss_of))
    posterior = isotropic(model, 1e-9, mean=objective.space.vector())
    found = predict_real(posterior, batches, samples=2, loss="gaussian_learnt_noise")
    assert found.metrics()["nll"] == pytest.approx(number(loss_of(model)), rel=1e-5)
    assert found.sample_metrics()[1]["nll"] == pytest.approx(number(loss_of(model)), rel=1e-5)
    assert found.deviation.shape == REAL.shape
    with pytest.raises(InputError, match="a mean and a log-variance for each target"):
        LearntNoise()(torch.zeros(N, 3), REAL)


def contrastive(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss of all pairs of a batch."""
    close = F.normalize(outputs, dim=1) @ F.normalize(outputs, dim=1).T
    return ((close - (targets[:, None] == targets).double()) ** 2).mean()


def test_a_loss_over_a_batch_is_measured_batch_by_batch_when_asked() -> None:
    torch.manual_seed(2)
    model = nn.Linear(4, 3).double()
    labels = CLASSES.clamp_min(0)
    batches = [(X[c], labels[c]) for c in CUTS]
    with pytest.raises(InputError, match="not the mean over its examples"):
        Objective(model, batches, contrastive).loss()
    loss = Readout(contrastive, batch_loss=True)
    objective = Objective(model, batches, loss)

    def loss_of(call: Callable[..., Any]) -> Tensor:
        return torch.stack([contrastive(call(x), y) for x, y in batches]).mean()

    agrees(objective, dense(model, loss_of))
    assert objective.criterion.unit == "batch"
    keyword = Objective(model, batches, contrastive, batch_loss=True)
    torch.testing.assert_close(keyword.loss(), loss_of(model).detach())
    with pytest.raises(InputError, match="leave m out"):
        m_sharpness(objective, m=2)
    task = arrays((X.float(), labels), (X.float(), labels), loss=loss)
    with pytest.raises(InputError, match="no mean over examples to train on"):
        MAP(epochs=1).fit(model.float(), task)


class Graphs:
    """A batch of graphs, with the methods of PyTorch Geometric's."""

    def __init__(self, x: Tensor, edges: Tensor, batch: Tensor, y: Tensor) -> None:
        self.x, self.edge_index, self.batch, self.y = x, edges, batch, y

    def to_dict(self) -> dict[str, Tensor]:
        return dict(vars(self))

    def apply(self, function: Callable[[Tensor], Tensor]) -> "Graphs":
        for name, tensor in vars(self).items():
            setattr(self, name, function(tensor))
        return self


class OfGraphs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, data: Graphs) -> Tensor:
        h = self.a(data.x).tanh()
        h = h + torch.zeros_like(h).index_add(0, data.edge_index[0], h[data.edge_index[1]])
        pooled = h.new_zeros(int(data.batch.max()) + 1, 4).index_add(0, data.batch, h)
        outputs: Tensor = self.b(pooled)
        return outputs


def graphs(count: int, seed: int) -> Graphs:
    draws = generator(seed)
    batch = torch.arange(count).repeat_interleave(3)
    edges = torch.randint(3, (2, 5 * count), generator=draws)
    edges += 3 * torch.arange(count).repeat_interleave(5)
    x = torch.randn(3 * count, 3, generator=draws)
    return Graphs(x, edges, batch, torch.randint(2, (count,), generator=draws))


def test_batches_of_graphs_are_read_as_they_are() -> None:
    batches = [graphs(4, 0), graphs(3, 1)]
    torch.manual_seed(4)
    model = OfGraphs().double()
    objective = Objective(model, batches)

    def loss_of(call: Callable[..., Any]) -> Tensor:
        losses = []
        for data in batches:
            real = Graphs(data.x.double(), data.edge_index, data.batch, data.y)
            losses.append(F.cross_entropy(call(real), data.y, reduction="sum"))
        return torch.stack(losses).sum() / 7

    agrees(objective, dense(model, loss_of))
    assert batches[0].x.dtype == torch.float32  # a user's own graphs stay as they are
    posterior = isotropic(model, 1e-9, mean=objective.space.vector())
    found = predict(posterior, batches, samples=1).metrics()
    assert found["nll"] == pytest.approx(number(loss_of(model)), rel=1e-6)
    found = measure(posterior, batches, samples=1, eigenvalues=1)
    top = torch.linalg.eigvalsh(dense(model, loss_of))[-1]
    assert found.eigenvalues[0, 0] == pytest.approx(float(top), rel=1e-2)


def test_a_dict_without_labels_is_one_line() -> None:
    for batch, message in (
        ({"input_ids": IDS}, "under one of labels, label, .* this one has input_ids"),
        ({"label": LABELS, "y": LABELS}, "this one has label, y"),
        (Graphs(IDS, IDS, IDS, None), "its targets in 'y'"),  # type: ignore[arg-type]
        ((IDS, LABELS, LABELS), "not a tuple of 3"),
    ):
        with pytest.raises(InputError, match=message):
            Objective(network(), [batch]).loss()


@dataclass(frozen=True)
class Case:
    model: nn.Module
    inputs: Any
    targets: Any
    loss: Loss


def linear(outputs: int) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Linear(4, outputs)


SIGNS = (X[:, :1] > 0).float()
FITS = {
    "tokens": Case(network("dict").float(), {"input_ids": IDS}, LABELS, "cross_entropy"),
    "texts": Case(network("dict").float(), IDS, LABELS, Readout(per="example")),
    "own loss": Case(
        network("dict").float(),
        {"input_ids": IDS, "labels": CAUSAL},
        CAUSAL,
        Readout("model", per="label", shift=1),
    ),
    "heads": Case(
        parts().float(),
        X.float(),
        {"c": CLASSES, "r": REAL.float()},
        {"c": "cross_entropy", "r": "gaussian"},
    ),
    "one logit": Case(linear(1), X.float(), SIGNS, "binary_cross_entropy"),
    "learnt noise": Case(linear(4), X.float(), REAL.float(), "gaussian_learnt_noise"),
}


@pytest.mark.parametrize("name", FITS)
def test_what_has_a_loss_an_example_is_trained(name: str) -> None:
    case = FITS[name]
    data = (case.inputs, case.targets)
    task = arrays(data, data, validation=data, loss=case.loss, standardise=False)
    posterior = SWAG(epochs=12, batch_size=4, learning_rate=0.05).fit(case.model, task, seed=0)
    objective = Objective(case.model, task.train, case.loss)
    before = float(objective.loss())
    after = float(objective.loss(posterior.mean.to(objective.space.vector())))
    assert posterior.history["train_loss"][0] < before + 0.5
    assert after < before - 0.02
    # The recorded loss is that of the criterion, not of an average over batches.
    assert posterior.history["validation_loss"][-1] == pytest.approx(
        posterior.history["train_loss"][-1], abs=0.3
    )


class Adapted(nn.Module):
    """A frozen layer with a low-rank adapter, as PEFT's LoRA has it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, 2, bias=False)
        self.lora_B = nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.base_layer(x) + 4.0 * self.lora_B(self.lora_A(x))
        return outputs


def test_an_adapter_is_measured_and_trained_by_a_predicate() -> None:
    torch.manual_seed(6)
    model = nn.Sequential(Adapted(nn.Linear(4, 5)), nn.Tanh(), Adapted(nn.Linear(5, 3))).double()

    def is_adapter(name: str, _: nn.Parameter) -> bool:
        return "lora_" in name

    batches = [(X[c], CLASSES[c]) for c in CUTS]
    objective = Objective(model, batches, parameters=is_adapter)
    whole = dense(model, lambda call: F.cross_entropy(call(X), CLASSES))
    chosen = torch.cat(
        [torch.full((p.numel(),), "lora_" in name) for name, p in model.named_parameters()]
    )
    agrees(objective, whole[chosen][:, chosen])
    task = arrays((X.float(), CLASSES), (X.float(), CLASSES), standardise=False)
    posterior = MAP(epochs=3).fit(model.float(), task, parameters=is_adapter, seed=0)
    trained, before = posterior.network().state_dict(), model.state_dict()
    changed = {name for name in before if not torch.equal(trained[name], before[name])}
    assert changed == {name for name in before if "lora_" in name}


def test_what_needs_one_tensor_of_outputs_says_so() -> None:
    heads = Objective(
        parts(), [(X, {"c": CLASSES, "r": REAL})], {"c": "cross_entropy", "r": "gaussian"}
    )
    own = Objective(network("dict"), [{"input_ids": IDS, "labels": IDS}], "model")
    for objective in (heads, own):
        with pytest.raises(InputError, match=r"needs outputs in one tensor .*; use the Hessian"):
            operator_at(objective, objective.space.vector(), "gauss-newton")(
                torch.ones(objective.size, dtype=torch.float64)
            )


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> ModelOutput:
        return ModelOutput(logits=self.inner(x), loss=None)


def test_laplace_reads_logits_in_a_model_output() -> None:
    torch.manual_seed(8)
    model, labels = Classifier(), CLASSES.clamp_min(0)
    task = arrays((X.float(), labels), (X.float(), labels), validation_share=0.0)
    plain = Laplace(epochs=2).fit(model.inner, task, seed=0)
    read = Laplace(epochs=2).fit(model, task, seed=0)
    torch.testing.assert_close(read.mean, plain.mean)
    torch.testing.assert_close(read.sample(3, 0), plain.sample(3, 0))
    tokens = network("dict").float()
    task = arrays(({"input_ids": IDS}, LABELS), ({"input_ids": IDS}, LABELS))
    with pytest.raises(InputError, match="laplace needs a network that returns one vector"):
        Laplace(epochs=1, structure="diagonal").fit(tokens, task)


def test_graphs_are_no_rows_to_train_on() -> None:
    with pytest.raises(InputError, match=r"examples are \(inputs, targets\) or a Dataset of pairs"):
        arrays(graphs(3, 0), graphs(3, 1))


def test_predictions_of_tokens_are_those_of_each_label() -> None:
    model = network("dict")
    posterior = isotropic(model, 1e-9, mean=Objective(model, [(IDS, LABELS)]).space.vector())
    batches = [
        {"input_ids": IDS[c, : 3 + (c.start > 0)], "labels": LABELS[c, : 3 + (c.start > 0)]}
        for c in CUTS
    ]
    found = predict(posterior, batches, samples=2)
    logits = torch.cat([model(b["input_ids"]).logits.flatten(0, 1) for b in batches])
    labels = torch.cat([b["labels"].flatten() for b in batches])
    counts = labels != -100
    assert found.labels.tolist() == labels[counts].tolist()
    truth = F.cross_entropy(logits, labels)
    assert found.metrics()["nll"] == pytest.approx(number(truth), rel=1e-5)


def test_a_run_says_what_its_loss_is_a_mean_over(tmp_path: Path) -> None:
    data = ({"input_ids": IDS}, LABELS)
    task = arrays(data, data, validation=data, loss=Readout(per="example"))
    trained = train(tmp_path / "run.h5", task, MAP(epochs=1), network("dict").float(), samples=1)
    assert trained.run.attributes["loss_mean_over"] == "examples"
    store = trained.run
    measure(trained.posterior, task.train, samples=1, eigenvalues=1, loss=task.loss, store=store)
    assert store.read("samples").attributes["mean_over"] == "examples"
    before = store.read("samples")["matvecs"].tolist()
    other = Readout(per="label")
    measure(trained.posterior, task.train, samples=1, eigenvalues=1, loss=other, store=store)
    assert store.read("samples").attributes["mean_over"] == "labels"
    assert before != [0]


def test_what_a_run_file_cannot_hold_is_refused_before_training(tmp_path: Path) -> None:
    data = (X.float(), {"c": CLASSES, "r": REAL.float()})
    task = arrays(data, data, validation=data, loss={"c": "cross_entropy", "r": "gaussian"})
    with pytest.raises(InputError, match="predictions of classes or with a Gaussian noise"):
        train(tmp_path / "run.h5", task, MAP(epochs=1), parts().float())
    assert not list(tmp_path.iterdir())
