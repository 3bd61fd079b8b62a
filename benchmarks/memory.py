"""Memory of a curvature measurement with graphs that do not fit: ResNet-18 on 10,000 images.

    python benchmarks/memory.py
    python benchmarks/memory.py --examples 2000 --matvecs 2

Synthetic images of 32 x 32 pixels go through a ResNet-18 with 11 million parameters. The gradient's
graphs of all images would take hundreds of gigabytes. Graphs are kept up to a quarter of the free
memory. If they need more, none is kept. Seconds are of the processor, on one thread; on a GPU of
the clock.
"""

import argparse
import resource
import time

import torch
from record import Cell, Record, Table, add_argument

import landscape as ls
from landscape.runtime.devices import describe_device


def main() -> None:
    """Print the peak memory of the process and the time of each matvec."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--matvecs", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_argument(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    record = Record(options, device=describe_device(torch.device(options.device)))
    model = ls.models.build("resnet18", input_shape=(3, 32, 32), classes=10).to(options.device)
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(options.examples, 3, 32, 32, generator=draw)
    labels = torch.randint(10, (options.examples,), generator=draw)
    batches = list(zip(images.split(options.batch), labels.split(options.batch), strict=True))
    objective = ls.Objective(model, batches)
    w = objective.space.vector()
    hessian = objective.hessian(w)
    v = torch.ones_like(w)
    seconds = []
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    for _ in range(options.matvecs):
        begun = clock()
        float(hessian(v).norm())  # waits for the device
        seconds.append(clock() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    table = Table("matvecs that keep no graphs", ("seconds a matvec", "GiB", "GiB of the GPU"))
    on_device = [torch.cuda.max_memory_allocated() / 2**30] if options.device == "cuda" else []
    table.add(
        f"{options.examples:,} images, {objective.size:,} parameters",
        Cell.of(seconds, ".0f", ends=True),
        Cell.of([peak], ".1f"),
        Cell.of(on_device, ".1f"),
    )
    record.add(table)
    record.finish()


if __name__ == "__main__":
    main()
