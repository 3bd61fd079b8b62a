"""Running statistics of a ResNet-20 from one batch of all images, and layer by layer.

    python benchmarks/running_stats.py --images 10000 --rounds 1

Random images of 32 x 32. Both ways take their turns, on one thread; seconds are of the processor.
"""

import argparse
import time

import torch
from record import Cell, Record, Table, add_argument

import landscape as ls
from landscape.running_stats import normalisation


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    add_argument(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ls.models.build("resnet20", input_shape=(3, 32, 32), classes=10)
    images = torch.randn(options.images, 3, 32, 32).split(options.batch)
    batches = [(x, torch.zeros(len(x), dtype=torch.long)) for x in images]
    space = ls.ParameterSpace(model)
    w, joined = space.vector(), normalisation.joined
    ways = {"one batch": joined, "layer by layer": lambda *_: None}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            normalisation.joined = way
            begun = time.process_time()
            normalisation.reestimate(space, w, batches)
            seconds[name].append(time.process_time() - begun)
    record = Record(options)
    table = Table(f"ResNet-20, {options.images:,} images", ("seconds", "over one batch"))
    for name, taken in seconds.items():
        over = [a / b for a, b in zip(taken, seconds["one batch"], strict=True)]
        table.add(name, Cell.of(taken, ends=True), Cell.of(over, ".1f", ends=True))
    record.add(table)
    record.finish()


if __name__ == "__main__":
    main()
