"""Top eigenvalues and trace to the same accuracy: ours beside other packages, in one run.

    pip install hessian-eigenthings==1.0.0a5
    python benchmarks/curvature.py
    python benchmarks/curvature.py --weights resnet20.pt --images cifar10.npz --limit 600
    python benchmarks/curvature.py --images cifar10.npz --limit 60 --device cuda

The digits convnet; a ResNet-20 with published weights; a ResNet-18 trained here on the images.
Every tool has the settings that it needs, and the search for them is not counted: PyHessian's
tolerance is lowered until all five residuals are met; hessian-eigenthings takes the least number of
steps with which they are; traces with a fixed number of matvecs get the number that the target
needs. A round is one posterior sample; the ratios are medians over samples. On the CPU all run in
one thread, and seconds are of processor time, so that other work on the machine hardly counts. On a
GPU seconds are of the clock, all tools run in full float32 precision, and the data are on the
device. Each result is printed on standard error as soon as it is known.

With ``--limit``, power iteration and plain Hutchinson estimates are not run if they would take
longer than that, by the measured time of one of the tool's matvecs. Their rows say "expected", with
an expected number of matvecs. For a trace it follows from the spread of 50 probes. For PyHessian's
eigenvalues its loop runs on a diagonal matrix with the nodes of 60 steps of our Lanczos, from
starts with the weights of these steps: the same as power iteration on the Hessian. On the digits
this expects 158 and 147 matvecs, and PyHessian takes 155 and 142.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from record import Cell, Record, Table, add_argument
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

import landscape as ls
from landscape.curvature import lanczos_quadrature, top_eigenvalues, trace
from landscape.methods import MAP, SWAG
from landscape.runtime.devices import describe_device
from landscape.runtime.memory import keep_freed_memory

K, RESIDUAL, ERROR = 5, 1e-3, 0.02
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
LIMIT = math.inf  # seconds
SPECTRUM: dict[str, Any] = {}
TOP: dict[str, Any] = {}
STEPS: dict[str, Any] = {}


@dataclass
class Result:
    """What one tool took for one sample, and how accurate it was."""

    seconds: float
    matvecs: int
    error: float
    expected: bool = False


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result and its seconds: of processor time, on a GPU of the clock."""
    if not torch.cuda.is_initialized():
        begun = time.process_time()
        return work(), time.process_time() - begun
    torch.cuda.synchronize()
    begun = time.perf_counter()
    result = work()
    torch.cuda.synchronize()
    return result, time.perf_counter() - begun


def worst(pairs: Any) -> float:
    """The largest relative residual."""
    return float((pairs.residuals / pairs.values.abs()).max())


def ours(objective: ls.Objective, w: Tensor) -> Result:
    """Thick-restart Lanczos to the residual."""
    pairs, seconds = timed(
        lambda: top_eigenvalues(objective, w, K, tolerance=RESIDUAL, keep_space=True)
    )
    TOP.update(w=w, pairs=pairs)
    return Result(seconds, pairs.matvecs, worst(pairs))


def pyhessian(objective: ls.Objective, w: Tensor) -> Result:
    """Power iteration, with the first tolerance that meets the residuals."""
    if math.isfinite(LIMIT):
        result = pyhessian_expected(objective, w, TOLERANCES)
        if result.seconds > LIMIT:
            return result
    for tolerance in TOLERANCES:
        result = pyhessian_run(objective, w, tolerance, 5000)
        if result.error <= RESIDUAL:
            break
    return result


def pyhessian_run(objective: ls.Objective, w: Tensor, tolerance: float, most: int) -> Result:
    """Power iteration to a tolerance of the values, with at most so many matvecs."""
    pairs, seconds = timed(
        lambda: top_eigenvalues(
            objective, w, K, tolerance=tolerance, max_matvecs=most, backend="pyhessian"
        )
    )
    return Result(seconds, pairs.matvecs, worst(pairs))


def pyhessian_default(objective: ls.Objective, w: Tensor) -> Result:
    """As it comes: relative change of a value of 1e-3, at most 100 iterations a value."""
    if math.isfinite(LIMIT):
        result = pyhessian_expected(objective, w, TOLERANCES[:1])
        if result.seconds > LIMIT:
            return result
    return pyhessian_run(objective, w, 1e-3, 100 * K)


def pyhessian_expected(objective: ls.Objective, w: Tensor, tolerances: tuple[float, ...]) -> Result:
    """The expected cost with the first tolerance that meets the residuals, without a run."""
    nodes, weights = spectrum(objective, w)
    for tolerance in tolerances:
        matvecs, error = power_iteration(nodes, weights, tolerance)
        if error <= RESIDUAL:
            break
    return Result(matvecs * pyhessian_matvec(objective, w), matvecs, error, expected=True)


def spectrum(objective: ls.Objective, w: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the spectrum as one random vector sees it; stored for the last w."""
    if SPECTRUM.get("w") is not w:
        quadrature = lanczos_quadrature(objective.hessian(w), probes=2, steps=60)
        SPECTRUM.update(w=w, spectrum=(quadrature.nodes[0], quadrature.weights[0]))
    return SPECTRUM["spectrum"]


def power_iteration(nodes: Tensor, weights: Tensor, tolerance: float) -> tuple[int, float]:
    """PyHessian's loop on diag(nodes): matvecs for all K values, and the worst residual.

    Each start has the components of a random vector along these nodes, with random signs.
    """
    generator = torch.Generator().manual_seed(0)
    vectors: list[Tensor] = []
    matvecs = 0
    for _ in range(K):
        sign = torch.randint(0, 2, nodes.shape, generator=generator).to(nodes) * 2 - 1
        v, value = weights.sqrt() * sign, None
        for _ in range(5000 // K):
            for other in vectors:
                v = v - (v @ other) * other
            v = v / v.norm()
            image, previous = nodes * v, value
            value = float(v @ image)
            v = image / image.norm()
            matvecs += 1
            if previous is not None and abs(previous - value) < tolerance * abs(previous):
                break
        vectors.append(v)
    return matvecs, max(
        float((nodes * v - (v @ (nodes * v)) * v).norm() / abs(v @ (nodes * v))) for v in vectors
    )


def pyhessian_matvec(objective: ls.Objective, w: Tensor) -> float:
    """Seconds of one matvec, from a trace of three."""
    estimate, seconds = timed(lambda: trace(objective, w, matvecs=3, backend="pyhessian"))
    return seconds / estimate.matvecs


def curvlinops(objective: ls.Objective, w: Tensor) -> Result:
    """curvlinops' Hessian in SciPy's ARPACK, whose tolerance is a relative accuracy."""
    from curvlinops import HessianLinearOperator

    network = copied(objective, w)
    data = list(objective.batches)
    count = [0]

    def run() -> tuple[np.ndarray, np.ndarray, Any]:
        hessian = HessianLinearOperator(
            network,
            nn.CrossEntropyLoss(),
            list(network.parameters()),
            data,
            check_deterministic=False,
        ).to_scipy()

        def matvec(v: np.ndarray) -> np.ndarray:
            count[0] += 1
            return np.asarray(hessian @ v.astype(np.float32))

        shape = (objective.size, objective.size)
        operator = LinearOperator(shape, matvec=matvec, dtype=np.float32)
        start = np.random.default_rng(0).normal(size=objective.size).astype(np.float32)
        return *eigsh(operator, k=K, which="LA", tol=RESIDUAL, v0=start), hessian

    (values, vectors, hessian), seconds = timed(run)
    images = np.stack([hessian @ column for column in vectors.T], 1)
    residuals = np.linalg.norm(images - vectors * values, axis=0) / np.abs(values)
    return Result(seconds, count[0], float(residuals.max()))


def eigenthings(objective: ls.Objective, w: Tensor) -> Result:
    """hessian-eigenthings' Lanczos, with the least number of steps that meets the residuals."""
    from hessian_eigenthings import lanczos

    steps = eigenthings_steps(objective, w)
    while True:
        operator = eigenthings_hessian(objective, w)
        pairs, seconds = timed(
            lambda operator=operator, steps=steps: lanczos(
                operator, k=K, max_iter=steps, which="LA", seed=0, reorthogonalize=True
            )
        )
        vectors, values = pairs.eigenvectors, pairs.eigenvalues
        errors = [
            float((operator.matvec(v) - value * v).norm() / value.abs())
            for v, value in zip(vectors, values, strict=True)
        ]
        result = Result(seconds, pairs.iterations, max(errors))
        if result.error <= RESIDUAL:
            return result
        steps += 1


def eigenthings_steps(objective: ls.Objective, w: Tensor) -> int:
    """The least number of its steps, by the residuals that a longer run had on its way."""
    from hessian_eigenthings.algorithms.lanczos import lanczos_tridiagonal

    if STEPS.get("w") is w:
        steps: int = STEPS["steps"]
        return steps
    start = torch.randn(len(w), generator=torch.Generator().manual_seed(0)).to(w)
    for longest in (25, 50, 100, 200):
        run = lanczos_tridiagonal(
            eigenthings_hessian(objective, w), start, longest, reorthogonalize=True
        )
        for steps in range(K, longest):
            diagonal, off = run.alphas[:steps].double(), run.betas[: steps - 1].double()
            values, mixing = torch.linalg.eigh(diagonal.diag() + off.diag(1) + off.diag(-1))
            residuals = run.betas[steps - 1].double() * mixing[-1].abs() / values.abs()
            if bool((residuals[-K:] <= RESIDUAL).all()):
                STEPS.update(w=w, steps=steps)
                return steps
    raise RuntimeError("hessian-eigenthings does not converge in 200 steps")


def eigenthings_hessian(objective: ls.Objective, w: Tensor) -> Any:
    """Its operator, which averages batches without weights: here they are of equal size."""
    from hessian_eigenthings import HessianOperator, supervised_loss

    loss = supervised_loss(nn.CrossEntropyLoss())
    return HessianOperator(copied(objective, w), list(objective.batches), loss)


def copied(objective: ls.Objective, w: Tensor) -> nn.Module:
    """The network with weights w, in evaluation mode."""
    space = objective.space
    return ls.Posterior(space, ls.posteriors.Point(w)).network().eval()


def our_trace(objective: ls.Objective, w: Tensor, estimator: str, deflate: Any = None) -> Result:
    """To the relative standard error."""
    if estimator == "hutchinson" and deflate is None:
        needed, error = probes_needed(objective, w)
        operator, v = objective.hessian(w), torch.randn_like(w)
        operator(v)
        seconds = needed * timed(lambda: [operator(v) for _ in range(3)])[1] / 3
        if seconds > LIMIT:
            return Result(seconds, needed, error, expected=True)
    estimate, seconds = timed(
        lambda: trace(
            objective, w, tolerance=ERROR, matvecs=4000, estimator=estimator, deflate=deflate
        )
    )
    return Result(seconds, estimate.matvecs, estimate.standard_error / abs(estimate.value))


def our_trace_after_top(objective: ls.Objective, w: Tensor) -> Result:
    """Deflated by the search space of the eigenvalues, as in ``measure``."""
    if TOP.get("w") is not w:
        ours(objective, w)
    return our_trace(objective, w, "hutchinson", TOP["pairs"])


def probes_needed(objective: ls.Objective, w: Tensor) -> tuple[int, float]:
    """Number of Hutchinson's probes, from the spread of 50; and their relative error."""
    pilot = trace(objective, w, matvecs=50, estimator="hutchinson")
    deviation = pilot.standard_error * math.sqrt(50) / abs(pilot.value)
    needed = max(2, math.ceil((deviation / ERROR) ** 2))
    return needed, deviation / math.sqrt(needed)


def pyhessian_trace(objective: ls.Objective, w: Tensor) -> Result:
    """With the number of probes that follows from the standard error of a pilot."""
    needed, error = probes_needed(objective, w)
    expected = needed * pyhessian_matvec(objective, w) if math.isfinite(LIMIT) else 0.0
    if expected > LIMIT:
        return Result(expected, needed, error, expected=True)
    estimate, seconds = timed(lambda: trace(objective, w, matvecs=needed, backend="pyhessian"))
    return Result(seconds, estimate.matvecs, estimate.standard_error / abs(estimate.value))


def eigenthings_trace(objective: ls.Objective, w: Tensor) -> Result:
    """Its Hutch++, with the first budget that meets the standard error."""
    from hessian_eigenthings import hutch_plus_plus

    for matvecs in (30, 45, 60, 90, 150, 300, 600, 1200, 2400):
        operator = eigenthings_hessian(objective, w)
        estimate, seconds = timed(
            lambda operator=operator, matvecs=matvecs: hutch_plus_plus(
                operator, num_matvecs=matvecs, seed=0
            )
        )
        result = Result(seconds, matvecs, estimate.stderr / abs(estimate.estimate))
        if result.error <= ERROR:
            break
    return result


EIGENVALUES = {
    "landscape": ours,
    "PyHessian": pyhessian,
    "PyHessian, its defaults": pyhessian_default,
    "curvlinops, eigsh": curvlinops,
    "hessian-eigenthings": eigenthings,
}
TRACES = {
    "landscape": lambda o, w: our_trace(o, w, "krylov"),
    "landscape, after the top 5": our_trace_after_top,
    "landscape, Hutch++": lambda o, w: our_trace(o, w, "hutch++"),
    "landscape, Hutchinson": lambda o, w: our_trace(o, w, "hutchinson"),
    "PyHessian": pyhessian_trace,
    "hessian-eigenthings, Hutch++": eigenthings_trace,
}


def on(device: str, x: Tensor, y: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Batches on the device."""
    return list(zip(x.to(device).split(size), y.to(device).split(size), strict=True))


def digits(samples: int, device: str) -> tuple[ls.Objective, list[Tensor], str]:
    """A convnet's SWAG samples on the demo's 100 training images."""
    task = ls.tasks.load("digits")
    model = ls.models.build("convnet", task)
    posterior = SWAG(epochs=60).fit(model, task, device=device)
    batches = on(device, task.train.inputs, task.train.targets, 100)
    return (
        ls.Objective(posterior.space, batches),
        list(posterior.sample(samples)),
        "digits, convnet",
    )


def cifar10(images: Path) -> tuple[Tensor, Tensor]:
    """Images and labels of a .npz file (x uint8, y), standardised."""
    with np.load(images) as file:
        x, y = torch.from_numpy(file["x"]), torch.from_numpy(file["y"]).long()
    mean, deviation = torch.tensor([[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])
    return ((x.float() / 255 - mean) / deviation).permute(0, 3, 1, 2).contiguous(), y


def pretrained(weights: Path, images: Path, device: str) -> tuple[ls.Objective, list[Tensor], str]:
    """A ResNet-20 with published weights, on 1,000 CIFAR-10 images."""
    model = ls.models.load_weights(
        ls.models.build("resnet20", input_shape=(3, 32, 32), classes=10), weights
    )
    x, y = cifar10(images)
    batches = on(device, x[:1000], y[:1000], 250)
    objective = ls.Objective(ls.ParameterSpace(model, device=device), batches)
    return objective, [objective.space.vector()], "1,000 CIFAR-10 images, ResNet-20"


def trained(images: Path, device: str) -> tuple[ls.Objective, list[Tensor], str]:
    """A ResNet-18 trained by ten epochs on CIFAR-10 images, on 1,000 of these."""
    x, y = cifar10(images)
    data = ls.tasks.Data(x, y)
    task = ls.tasks.Task("cifar10", data, data, data, tuple("0123456789"))
    model = ls.models.build("resnet18", input_shape=(3, 32, 32), classes=10)
    posterior = MAP(epochs=10).fit(model, task, device=device)
    w = posterior.mean
    batches = on(device, x[:1000], y[:1000], 250)
    objective = ls.Objective(posterior.space, batches, buffers=posterior.buffers(w))
    return objective, [w], "1,000 CIFAR-10 images, ResNet-18"


def matvec_over_gradients(objective: ls.Objective, w: Tensor) -> tuple[float, float]:
    """Time of one Hessian matvec over that of one gradient of torch's, and of one of ours."""
    operator, v = objective.hessian(w), torch.randn_like(w)
    network = copied(objective, w)
    parameters = list(network.parameters())

    def torchs() -> list[Tensor]:
        total = [torch.zeros_like(parameter) for parameter in parameters]
        for x, y in objective.batches:
            loss = nn.functional.cross_entropy(network(x), y, reduction="sum")
            torch._foreach_add_(total, torch.autograd.grad(loss, parameters))
        return total

    ratios = []
    for _ in range(11):
        _, matvec = timed(lambda: operator(v))
        _, theirs = timed(torchs)
        _, ours = timed(lambda: objective.gradient(w))
        ratios.append((matvec / theirs, matvec / ours))
    # The first builds the graphs.
    over_theirs, over_ours = zip(*ratios[1:], strict=True)
    return median(over_theirs), median(over_ours)


def main() -> None:
    """Print the tables, in Markdown."""
    global LIMIT
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--weights", type=Path, help="of a ResNet-20")
    parser.add_argument("--images", type=Path, help="a .npz of CIFAR-10 images")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds; see above")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tools", nargs="+", help="rows of the tables (default: all)")
    add_argument(parser)
    options = parser.parse_args()
    LIMIT = options.limit
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    keep_freed_memory()  # as the command line does
    if options.weights:
        objective, samples, what = pretrained(options.weights, options.images, options.device)
    elif options.images:
        objective, samples, what = trained(options.images, options.device)
    else:
        objective, samples, what = digits(options.samples, options.device)
    over_theirs, over_ours = matvec_over_gradients(objective, samples[0])
    peers = ("pyhessian", "curvlinops-for-pytorch", "hessian-eigenthings")
    record = Record(options, peers, describe_device(samples[0].device))
    print(f"{what}: {objective.size:,} parameters, {len(samples)} samples")
    gradients = Table("a matvec in gradients", ("torch's gradients", "ours"))
    gradients.add("matvec", Cell.of([over_theirs]), Cell.of([over_ours]))
    record.add(gradients)
    for title, tools in (
        (f"top {K} at residual {RESIDUAL:g}", EIGENVALUES),
        (f"trace at {100 * ERROR:g} % standard error", TRACES),
    ):
        tools = {name: tools[name] for name in options.tools or tools if name in tools}
        results = [each_tool(tools, objective, w) for w in samples]
        first = next(iter(tools))
        table = Table(title, ("seconds", "over ours", "matvecs", "worst error"))
        for name in tools:
            taken = [by_tool[name] for by_tool in results]
            over = [by_tool[name].seconds / by_tool[first].seconds for by_tool in results]
            table.add(
                f"{name}{', expected' if taken[0].expected else ''}",
                Cell.of([result.seconds for result in taken]),
                Cell.of(over, ".1f", ends=True),
                Cell.of([result.matvecs for result in taken], ".0f"),
                Cell.of([max(result.error for result in taken)], ".1e"),
            )
        record.add(table)
    record.finish()


def each_tool(
    tools: dict[str, Callable[[ls.Objective, Tensor], Result]], objective: ls.Objective, w: Tensor
) -> dict[str, Result]:
    """The results of all tools, each printed as soon as it is known."""
    results = {}
    for name, tool in tools.items():
        results[name] = tool(objective, w)
        print(name, results[name], file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    main()
