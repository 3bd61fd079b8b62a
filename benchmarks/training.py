"""Cost of a training step of every method, relative to a step of plain SGD, in one run.

    python benchmarks/training.py --model convnet --rank 5
    python benchmarks/training.py --model resnet18 --parameters norm-head --batch 32

In a round all methods take their steps in turn, so a slow moment of the machine affects all of
them. The ratio is the median over rounds. It cannot be smaller than the number of gradients of a
method: 1 for MAP, 2 for SAM and FP-BMA. Peak memory is measured in a separate process for each
method, without the memory of the network, the prior and the batch.
"""

import argparse
import resource
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from record import Cell, Record, Table, add_argument

import landscape as ls
from landscape.methods import METHODS, Problem, State
from landscape.objective.parameters import ParameterSpace
from landscape.objective.subsets import normalisation_and_head
from landscape.posteriors import Gaussian, Posterior
from landscape.runtime.devices import choose_device, describe_device
from landscape.runtime.memory import keep_freed_memory
from landscape.tasks import Data, Task


def images(batch: int, size: int, channels: int) -> Task:
    """Random images with ten classes."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, channels, size, size, generator=generator)
    data = Data(inputs, torch.arange(batch) % 10)
    return Task("random", data, data, data, tuple("0123456789"))


def narrow(space: ParameterSpace, rank: int) -> Posterior:
    """A Gaussian around the network's weights, with ``rank`` columns."""
    mean = space.vector()
    generator = torch.Generator(mean.device).manual_seed(0)
    shape = (space.size, rank)
    factor = 1e-3 * torch.randn(shape, generator=generator, device=mean.device)
    return Posterior(space, Gaussian(mean, torch.full_like(mean, 1e-2), factor))


def seconds(method: Any, state: State, batch: Any, steps: int) -> float:
    """Seconds of a step: of the processor, on a GPU of the clock."""
    clock = time.perf_counter if state.mean.is_cuda else time.process_time
    begun = clock()
    for _ in range(steps):
        method.step(state, batch)
    if state.mean.is_cuda:
        torch.cuda.synchronize()
    return (clock() - begun) / steps


def setting(options: argparse.Namespace) -> tuple[Problem, Posterior, Any]:
    """A problem, a prior and a batch."""
    device = choose_device("auto")
    task = images(options.batch, options.size, options.channels)
    model = ls.models.build(options.model, task)
    random = normalisation_and_head(model) if options.parameters != "all" else None
    space = ParameterSpace(model, random, device=device)
    batch = (task.train.inputs.to(device), task.train.targets.to(device))
    return Problem(space, task.loss, 1000, 10**6), narrow(space, options.rank), batch


def peak_megabytes(options: argparse.Namespace, name: str) -> float:
    """Peak memory of a process from a method's first state through two steps, in MB."""
    problem, prior, batch = setting(options)
    method = METHODS[name]()
    if problem.space.device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        seconds(method, method.init(problem, prior=prior), batch, 2)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    seconds(method, method.init(problem, prior=prior), batch, 2)
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (1024 * highest - resource.getpagesize() * pages) / 1e6


def alone(function: Any, *arguments: Any) -> Any:
    """The function's result in a new process, whose peak memory starts from zero."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="convnet")
    parser.add_argument("--size", type=int, default=8, help="pixels a side")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--rank", type=int, default=5, help="K of the Gaussian methods")
    parser.add_argument("--parameters", choices=("all", "norm-head"), default="all")
    parser.add_argument("--methods", nargs="*", help="by name; all of them by default")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=5)
    add_argument(parser)
    options = parser.parse_args()
    names = ["map", *(options.methods or [name for name in METHODS if name != "map"])]
    peaks = {name: alone(peak_megabytes, options, name) for name in names}
    keep_freed_memory()  # as the command line does
    problem, prior, batch = setting(options)
    trained = {}
    for name in names:
        method = METHODS[name]()
        trained[name] = (method, method.init(problem, prior=prior))
        seconds(*trained[name], batch, 2)
    rounds = [
        {name: seconds(*pair, batch, options.steps) for name, pair in trained.items()}
        for _ in range(options.rounds)
    ]
    where = describe_device(problem.space.device)
    record = Record(options, device=where)
    print(f"{options.model}, {problem.space.size:,} parameters, K = {options.rank}")
    table = Table("a step over one of SGD", ("over a step of SGD", "ms", "peak, MB"))
    for name in trained:
        ratios = [times[name] / times["map"] for times in rounds]
        milliseconds = [1000 * times[name] for times in rounds]
        peak = Cell.of([peaks[name]], ".0f")
        table.add(name, Cell.of(ratios, ends=True), Cell.of(milliseconds), peak)
    record.add(table)
    record.finish()


if __name__ == "__main__":
    main()
