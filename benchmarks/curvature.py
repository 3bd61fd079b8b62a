"""Top eigenvalues and trace to the same accuracy: ours beside other packages, in one run.

    pip install hessian-eigenthings==1.0.0a5
    python benchmarks/curvature.py
    python benchmarks/curvature.py --weights resnet20.pt --images cifar10.npz --samples 1

Every tool is given the settings that it needs, and finding them is not counted: PyHessian's
tolerance is lowered, and hessian-eigenthings' number of steps raised, until all five residuals are
met; traces of a fixed number of products get the number that the target needs. A round is one
posterior sample; the ratios are medians over samples.
"""

import argparse
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

import landscape as ls
from landscape.curvature import top_eigenvalues, trace
from landscape.memory import keep_freed_memory
from landscape.methods import SWAG

K, RESIDUAL, ERROR = 5, 1e-3, 0.02


@dataclass
class Result:
    """What one tool took for one sample, and how accurate it was."""

    seconds: float
    products: int
    error: float


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the seconds that it took."""
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def worst(found: Any) -> float:
    """The largest relative residual."""
    return float((found.residuals / found.values.abs()).max())


def ours(objective: ls.Objective, w: Tensor) -> Result:
    """Thick-restart Lanczos to the residual."""
    found, seconds = timed(lambda: top_eigenvalues(objective, w, K, tolerance=RESIDUAL))
    return Result(seconds, found.products, worst(found))


def pyhessian(objective: ls.Objective, w: Tensor) -> Result:
    """Power iteration, with the first tolerance that meets the residuals."""
    for tolerance in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
        found, seconds = timed(
            lambda tolerance=tolerance: top_eigenvalues(
                objective, w, K, tolerance=tolerance, max_products=5000, backend="pyhessian"
            )
        )
        result = Result(seconds, found.products, worst(found))
        if result.error <= RESIDUAL:
            break
    return result


def curvlinops(objective: ls.Objective, w: Tensor) -> Result:
    """curvlinops' Hessian in SciPy's ARPACK, whose tolerance is relative accuracy."""
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

        def product(v: np.ndarray) -> np.ndarray:
            count[0] += 1
            return np.asarray(hessian @ v.astype(np.float32))

        shape = (objective.size, objective.size)
        operator = LinearOperator(shape, matvec=product, dtype=np.float32)
        start = np.random.default_rng(0).normal(size=objective.size).astype(np.float32)
        return *eigsh(operator, k=K, which="LA", tol=RESIDUAL, v0=start), hessian

    (values, vectors, hessian), seconds = timed(run)
    images = np.stack([hessian @ column for column in vectors.T], 1)
    residuals = np.linalg.norm(images - vectors * values, axis=0) / np.abs(values)
    return Result(seconds, count[0], float(residuals.max()))


def eigenthings(objective: ls.Objective, w: Tensor) -> Result:
    """hessian-eigenthings' Lanczos, with the first number of steps that meets the residuals."""
    from hessian_eigenthings import lanczos

    for steps in (20, 30, 40, 60, 80, 120, 200):
        operator = eigenthings_hessian(objective, w)
        found, seconds = timed(
            lambda operator=operator, steps=steps: lanczos(
                operator, k=K, max_iter=steps, which="LA", seed=0, reorthogonalize=True
            )
        )
        vectors, values = found.eigenvectors, found.eigenvalues
        errors = [
            float((operator.matvec(v) - value * v).norm() / value.abs())
            for v, value in zip(vectors, values, strict=True)
        ]
        result = Result(seconds, found.iterations, max(errors))
        if result.error <= RESIDUAL:
            break
    return result


def eigenthings_hessian(objective: ls.Objective, w: Tensor) -> Any:
    """Its operator, which averages batches without weights: ours are of equal size here."""
    from hessian_eigenthings import HessianOperator, supervised_loss

    loss = supervised_loss(nn.CrossEntropyLoss())
    return HessianOperator(copied(objective, w), list(objective.batches), loss)


def copied(objective: ls.Objective, w: Tensor) -> nn.Module:
    """The network with weights w, in evaluation mode."""
    space = objective.space
    return ls.Posterior(space, ls.posteriors.Point(w)).network().eval()


def our_trace(objective: ls.Objective, w: Tensor, estimator: str) -> Result:
    """To the relative standard error."""
    found, seconds = timed(
        lambda: trace(objective, w, tolerance=ERROR, products=4000, estimator=estimator)
    )
    return Result(seconds, found.products, found.standard_error / abs(found.value))


def pyhessian_trace(objective: ls.Objective, w: Tensor) -> Result:
    """With the number of probes that the standard error of a pilot asks for."""
    pilot = trace(objective, w, products=50)
    deviation = pilot.standard_error * math.sqrt(50)
    needed = max(2, math.ceil((deviation / (ERROR * abs(pilot.value))) ** 2))
    found, seconds = timed(lambda: trace(objective, w, products=needed, backend="pyhessian"))
    return Result(seconds, found.products, found.standard_error / abs(found.value))


def eigenthings_trace(objective: ls.Objective, w: Tensor) -> Result:
    """Its Hutch++, with the first budget that meets the standard error."""
    from hessian_eigenthings import hutch_plus_plus

    for products in (30, 45, 60, 90, 150, 300, 600, 1200, 2400):
        operator = eigenthings_hessian(objective, w)
        found, seconds = timed(
            lambda operator=operator, products=products: hutch_plus_plus(
                operator, num_matvecs=products, seed=0
            )
        )
        result = Result(seconds, products, found.stderr / abs(found.estimate))
        if result.error <= ERROR:
            break
    return result


EIGENVALUES = {
    "landscape": ours,
    "PyHessian": pyhessian,
    "curvlinops, eigsh": curvlinops,
    "hessian-eigenthings": eigenthings,
}
TRACES = {
    "landscape, Hutch++": lambda o, w: our_trace(o, w, "hutch++"),
    "landscape, Hutchinson": lambda o, w: our_trace(o, w, "hutchinson"),
    "PyHessian": pyhessian_trace,
    "hessian-eigenthings, Hutch++": eigenthings_trace,
}


def digits(samples: int) -> tuple[ls.Objective, list[Tensor], str]:
    """A convnet's SWAG samples on the demo's 100 training images."""
    task = ls.tasks.load("digits")
    model = ls.models.build("convnet", task)
    posterior = SWAG(epochs=60).fit(model, task, device="cpu")
    objective = ls.Objective(posterior.space, task.train)
    return objective, list(posterior.sample(samples)), "digits, convnet"


def pretrained(weights: Path, images: Path) -> tuple[ls.Objective, list[Tensor], str]:
    """A ResNet-20 with published weights, on 1,000 CIFAR-10 images (x uint8, y) of a .npz file."""
    model = ls.models.load_weights(
        ls.models.build("resnet20", input_shape=(3, 32, 32), classes=10), weights
    )
    with np.load(images) as file:
        x, y = torch.from_numpy(file["x"][:1000]), torch.from_numpy(file["y"][:1000]).long()
    mean, deviation = torch.tensor([[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])
    x = ((x.float() / 255 - mean) / deviation).permute(0, 3, 1, 2).contiguous()
    objective = ls.Objective(model, list(zip(x.split(250), y.split(250), strict=True)))
    return objective, [objective.space.vector()], "1,000 CIFAR-10 images, ResNet-20"


def product_over_gradient(objective: ls.Objective, w: Tensor) -> float:
    """One Hessian product over one gradient."""
    operator, v = objective.hessian(w), torch.randn_like(w)
    pairs = []
    for _ in range(10):
        _, gradient = timed(lambda: objective.gradient(w))
        _, product = timed(lambda: operator(v))
        pairs.append(product / gradient)
    return median(pairs[1:])  # the first builds the graphs


def main() -> None:
    """Print the tables, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--weights", type=Path, help="of a ResNet-20; the digits if not given")
    parser.add_argument("--images", type=Path, help="a .npz of CIFAR-10 images")
    options = parser.parse_args()
    keep_freed_memory()  # as the command line does
    objective, samples, what = (
        pretrained(options.weights, options.images) if options.weights else digits(options.samples)
    )
    ratio = product_over_gradient(objective, samples[0])
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "pyhessian", "curvlinops-for-pytorch")
    )
    print(
        f"{what}: {objective.size:,} parameters, {len(samples)} samples; {platform.machine()}, "
        f"{torch.get_num_threads()} threads; {versions}. One product: {ratio:.2f} gradients."
    )
    for title, tools in (
        (f"top {K} at residual {RESIDUAL:g}", EIGENVALUES),
        (f"trace at {100 * ERROR:g} % standard error", TRACES),
    ):
        results = [{name: tool(objective, w) for name, tool in tools.items()} for w in samples]
        first = next(iter(tools))
        print(
            f"\n| {title} | seconds | over ours | products | worst error |\n|---|---|---|---|---|"
        )
        for name in tools:
            taken = [found[name] for found in results]
            over = median(found[name].seconds / found[first].seconds for found in results)
            print(
                f"| {name} | {median(each.seconds for each in taken):.2f} | {over:.1f} | "
                f"{median(each.products for each in taken):.0f} | "
                f"{max(each.error for each in taken):.1e} |"
            )


if __name__ == "__main__":
    main()
