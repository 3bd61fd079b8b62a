"""Time and peak memory of several packages at the same accuracy: a ResNet-20, a transformer.

    pip install hessian-eigenthings==1.0.0a5
    python benchmarks/peers.py --model vit --rounds 3
    python benchmarks/peers.py --model resnet20 --weights FILE --images FILE --examples 50

The tools, their settings and what "expected" means are those of ``benchmarks/curvature.py``: the
top 5 eigenvalues at a relative residual of 1e-3, and the trace at a standard error of 2 %. Each
tool runs in a process of its own. Seconds are of its processor time, on one thread, so that other
work on the machine hardly counts. With several rounds all tools run in turn, and the table has
medians; "over ours" is the median of the ratios within a round. Memory is the highest that the
process had over what it had before. ``--limit`` is that of ``benchmarks/curvature.py``.
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


def resnet20(
    examples: int, batch: int, weights: Path, images: Path
) -> tuple[ls.Objective, Tensor, str]:
    """A ResNet-20 with published weights, on CIFAR-10 images."""
    model = ls.models.build("resnet20", input_shape=(3, 32, 32), classes=10)
    model = ls.models.load_weights(model, weights)
    x, y = cifar10(images)
    objective = ls.Objective(model, on("cpu", x[:examples], y[:examples], batch))
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


def run(name: str, tool: Tool, objective: ls.Objective, w: Tensor) -> tuple[Result, float] | None:
    """What ``alone`` gives, printed; ``None`` if the tool ended its process."""
    try:
        result, memory = alone(tool, objective, w)
    except EOFError:
        return None
    print(name, result, f"{memory:.0f} MiB", file=sys.stderr, flush=True)
    return result, memory


def main() -> None:
    """Print the tables, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=["vit", "resnet20"], default="vit")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--batch", type=int, help="examples a batch of the ResNet; all by default")
    parser.add_argument("--rounds", type=int, default=1)
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
        batch = options.batch or options.examples
        objective, w, what = resnet20(options.examples, batch, options.weights, options.images)
    record = Record(options, ("pyhessian", "curvlinops-for-pytorch", "hessian-eigenthings"))
    print(f"{what}: {objective.size:,} parameters, {options.examples} examples")
    for title, tools in (
        (f"top {K} at residual {RESIDUAL:g}", EIGENVALUES),
        (f"trace at {100 * ERROR:g} % standard error", TRACES),
    ):
        table = Table(title, ("seconds", "over ours", "matvecs", "error", "MiB"))
        names = [name for name in tools if name in (options.tools or tools)]
        rounds = [
            {name: run(name, tools[name], objective, w) for name in names}
            for _ in range(options.rounds)
        ]
        for name in names:
            runs = [by_name[name] for by_name in rounds]
            results = [run[0] for run in runs if run is not None]
            if len(results) < len(rounds):
                table.add(name, Cell([], "failed"), *[Cell([], "")] * 4)
                continue
            firsts = [by_name[names[0]] for by_name in rounds]
            over = [
                result.seconds / first[0].seconds
                for result, first in zip(results, firsts, strict=True)
                if first is not None
            ]
            seconds = Cell.of([result.seconds for result in results], ".1f")
            if results[0].expected:
                seconds.text = f"~{seconds.text}"
            table.add(
                name,
                seconds,
                Cell.of(over, ends=True),
                Cell.of([result.matvecs for result in results], ".0f"),
                Cell.of([max(result.error for result in results)], ".1e"),
                Cell.of([run[1] for run in runs if run is not None], ".0f"),
            )
        record.add(table)
    record.finish()


if __name__ == "__main__":
    main()
