"""Time and peak memory of several packages at the same accuracy: a ResNet-20, a transformer.

    pip install hessian-eigenthings==1.0.0a5
    python benchmarks/peers.py --model vit
    python benchmarks/peers.py --model resnet20 --weights FILE --images FILE --examples 50

The tools, their settings and what "expected" means are those of ``benchmarks/curvature.py``: the
top 5 eigenvalues at a relative residual of 1e-3, and the trace at a standard error of 2 %. Each
tool runs in a process of its own. Seconds are of its processor time, on one thread, so that other
work on the machine hardly counts. Memory is the highest that the process had over what it had
before. ``--limit`` is that of ``benchmarks/curvature.py``.
"""

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import curvature
import torch
from curvature import EIGENVALUES, ERROR, RESIDUAL, TRACES, K, Result, cifar10, on
from record import Cell, Record, Table, add_argument
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import landscape as ls
from landscape.methods import MAP

Tool = Callable[[ls.Objective, Tensor], Result]


def vit(examples: int) -> tuple[ls.Objective, Tensor, str]:
    """A small vision transformer, trained on the digits."""
    task = ls.tasks.load("digits")
    posterior = MAP(epochs=30).fit(ls.models.build("vit", task), task, device="cpu", seed=0)
    data = task.train.subset(torch.arange(examples))
    objective = ls.Objective(posterior.space, on("cpu", data.inputs, data.targets, examples))
    return objective, posterior.mean, "digits, vit"


def resnet20(examples: int, weights: Path, images: Path) -> tuple[ls.Objective, Tensor, str]:
    """A ResNet-20 with published weights, on CIFAR-10 images."""
    model = ls.models.build("resnet20", input_shape=(3, 32, 32), classes=10)
    model = ls.models.load_weights(model, weights)
    x, y = cifar10(images)
    objective = ls.Objective(model, on("cpu", x[:examples], y[:examples], examples))
    return objective, objective.space.vector(), "CIFAR-10, ResNet-20"


def alone(tool: Tool, objective: ls.Objective, w: Tensor) -> tuple[Result, float]:
    """What a tool gives in a process of its own, and the MiB that it took there."""
    context: Any = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def work() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
        with sdpa_kernel(SDPBackend.MATH):  # the peers do not choose a kernel with derivatives
            result = tool(objective, w)
        send.send((result, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))

    process = context.Process(target=work)
    process.start()
    send.close()
    try:
        found: tuple[Result, float] = receive.recv()
    finally:
        process.join()
    return found


def main() -> None:
    """Print the tables, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=["vit", "resnet20"], default="vit")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--weights", type=Path, help="of a ResNet-20")
    parser.add_argument("--images", type=Path, help="a .npz of CIFAR-10 images")
    parser.add_argument("--limit", type=float, default=curvature.LIMIT, help="seconds")
    parser.add_argument("--tools", nargs="+", help="rows of the tables (default: all)")
    add_argument(parser)
    options = parser.parse_args()
    curvature.LIMIT = options.limit
    torch.set_num_threads(1)
    if options.model == "vit":
        objective, w, what = vit(options.examples)
    else:
        objective, w, what = resnet20(options.examples, options.weights, options.images)
    record = Record(options, ("pyhessian", "curvlinops-for-pytorch", "hessian-eigenthings"))
    print(f"{what}: {objective.size:,} parameters, {options.examples} examples")
    for title, tools in (
        (f"top {K} at residual {RESIDUAL:g}", EIGENVALUES),
        (f"trace at {100 * ERROR:g} % standard error", TRACES),
    ):
        table = Table(title, ("seconds", "over ours", "matvecs", "error", "MiB"))
        first = 0.0
        for name, tool in tools.items():
            if name not in (options.tools or tools):
                continue
            try:
                result, memory = alone(tool, objective, w)
            except EOFError:
                table.add(name, Cell([], "failed"), *[Cell([], "")] * 4)
                continue
            first = first or result.seconds
            mark = "~" if result.expected else ""
            table.add(
                name,
                Cell([result.seconds], f"{mark}{result.seconds:.1f}"),
                Cell.of([result.seconds / first], ".1f"),
                Cell.of([result.matvecs], ".0f"),
                Cell.of([result.error], ".1e"),
                Cell.of([memory], ".0f"),
            )
            print(name, result, f"{memory:.0f} MiB", file=sys.stderr, flush=True)
        record.add(table)
    record.finish()


if __name__ == "__main__":
    main()
