"""One measurement by one and by two processes of ``torchrun``: a ResNet-20 on 1,000 images.

    python benchmarks/processes.py --rounds 3
    python benchmarks/processes.py --images 200 --matvecs 4 --rounds 1

Each process has one thread and a share of the images (random ones, of 32 x 32 pixels). Timed is
``measure`` at one point with a fixed number of matvecs, which builds the graphs in its first and
checks the derivatives before; both numbers of processes run in turn. Seconds are of the clock, so
the machine has to be idle: its load is recorded. Seconds of the processor are summed over the
processes. Two divided by their ratio is the speed-up that two free cores can give at most.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
from record import Cell, Record, Table, add_argument

import landscape as ls
from landscape.posteriors import Point
from landscape.runtime import distributed


def share(images: int, matvecs: int) -> None:
    """Measure as one of the processes, and print its seconds: of the clock, of the processor."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    x = torch.randn(images, 3, 32, 32, generator=generator)
    y = torch.randint(10, (images,), generator=generator)
    model = ls.models.build("resnet20", input_shape=(3, 32, 32), classes=10, normalisation="group")
    space = ls.ParameterSpace(model)
    posterior = ls.Posterior(space, Point(space.vector()))
    data = list(zip(x.split(100), y.split(100), strict=True))
    with distributed.started_by_torchrun("cpu"), distributed.sharing():
        distributed.wait_for_all()
        begun = time.perf_counter(), time.process_time()
        found = ls.measure(
            posterior,
            data,
            samples=1,
            eigenvalues=1,
            tolerance=1e-12,
            max_matvecs=matvecs,
            trace_matvecs=2,
            progress=False,
        )
        distributed.wait_for_all()
        seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
        print(
            json.dumps({"seconds": seconds, "lambda": float(found.eigenvalues[0, 0])}), flush=True
        )


def measured(processes: int, images: int, matvecs: int) -> tuple[float, float, float]:
    """Longest seconds of the clock, summed seconds of the processor, and the eigenvalue."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), __file__, "--share"]
    command += ["--images", str(images), "--matvecs", str(matvecs)]
    here = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    ended = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )
    # The processes may print at one moment, on one line.
    lines = [json.loads(printed) for printed in re.findall(r"\{.*?\}", ended.stdout)]
    assert len(lines) == processes
    clock, processor = zip(*(line["seconds"] for line in lines), strict=True)
    return max(clock), sum(processor), lines[0]["lambda"]


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--matvecs", type=int, default=10, help="of the search for eigenvalues")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", action="store_true", help=argparse.SUPPRESS)
    add_argument(parser)
    options = parser.parse_args()
    if options.share:
        share(options.images, options.matvecs)
        return
    record = Record(options)
    rounds = []
    for _ in range(options.rounds):
        runs = [measured(count, options.images, options.matvecs) for count in (1, 2)]
        print(runs, file=sys.stderr, flush=True)
        assert abs(runs[1][2] / runs[0][2] - 1) < 1e-3
        rounds.append(runs)
    columns = ("seconds", "speed-up", "seconds of the processor", "over one process")
    table = Table(f"ResNet-20, {options.images:,} images", columns)
    for index, name in enumerate(("one process", "two processes")):
        table.add(
            name,
            Cell.of([runs[index][0] for runs in rounds], ".1f", ends=True),
            Cell.of([runs[0][0] / runs[index][0] for runs in rounds], ends=True),
            Cell.of([runs[index][1] for runs in rounds], ".1f", ends=True),
            Cell.of([runs[index][1] / runs[0][1] for runs in rounds], ends=True),
        )
    record.add(table)
    record.finish()


if __name__ == "__main__":
    main()
