"""The time of a surface's point over one bare forward pass, beside loss-landscapes, in one run.

    pip install loss-landscapes
    python benchmarks/surface.py
    python benchmarks/surface.py --device cuda
    python benchmarks/surface.py --only batch --images 10000 --batch 128 --side 2 --rounds 1

Both evaluate a random plane on the same data with the same network; ours gives the accuracy too.
The forward pass is the module's own, in evaluation mode, with its loss, batch by batch;
loss-landscapes takes all images as one batch. With batch normalisation, ours re-estimates running
statistics at every point, in the same pass, and loss-landscapes keeps those of the centre: another
surface.
"""

import argparse
import resource
import time

import loss_landscapes
import torch
from loss_landscapes.metrics import Loss
from record import Cell, Record, Table, add_argument
from torch import Tensor, nn

import landscape as ls
from landscape.posteriors import Point, Posterior
from landscape.runtime.devices import describe_device
from landscape.runtime.memory import keep_freed_memory


def networks(number: int) -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """Name, network, inputs and targets; ResNets have so many images."""
    digits = ls.tasks.load("digits")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(number, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (number,), generator=generator)
    cases: list[tuple[str, nn.Module, Tensor, Tensor]] = [
        (
            "convnet, 100 digits",
            ls.models.build("convnet", digits),
            digits.train.inputs,
            digits.train.targets,
        )
    ]
    for normalisation in ("group", "batch"):
        model = ls.models.build(
            "resnet20", input_shape=(3, 32, 32), classes=10, normalisation=normalisation
        )
        cases.append((f"ResNet-20, {normalisation} norm, {number:,} images", model, images, labels))
    return cases


def seconds_a_point(
    model: nn.Module, x: Tensor, y: Tensor, side: int, batch: int
) -> dict[str, float]:
    """Seconds of a bare forward pass and of each tool, one after the other.

    They are processor time; on a GPU, where all of them read their results, they are the clock's.
    ``peak`` is the most memory in GB that the process has taken until ours is done.
    """
    clock = time.perf_counter if x.is_cuda else time.process_time
    model.eval()
    space = ls.ParameterSpace(model)
    data = list(zip(x.split(batch), y.split(batch), strict=True))
    posterior = Posterior(space, Point(space.vector()), calibration=data)

    def forward() -> None:
        with torch.no_grad():
            for _ in range(side**2):
                for inputs, targets in data:
                    nn.functional.cross_entropy(model(inputs), targets).item()

    def ours() -> None:
        ls.surface(posterior, data, plane="random", shape=(side, side), samples=1)

    def theirs() -> None:
        metric = Loss(nn.functional.cross_entropy, x, y)
        with torch.no_grad():
            loss_landscapes.random_plane(model, metric, 1, side, "model", deepcopy_model=True)

    taken = {}
    tools = {"forward": forward, "landscape": ours}
    if not x.is_cuda:  # it draws its directions on the CPU, and fails
        tools["loss-landscapes"] = theirs
    for name, work in tools.items():
        begun = clock()
        work()
        taken[name] = (clock() - begun) / side**2
        if name == "landscape":
            taken["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return taken


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=11, help="points a side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=500, help="number of images of the ResNets")
    parser.add_argument("--batch", type=int, default=10**9, help="examples a batch; all by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="networks whose names have this")
    add_argument(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # ours is in full precision
    keep_freed_memory()  # as the command line does
    device = describe_device(torch.device(options.device))
    record = Record(options, ("loss-landscapes",), device)
    columns = ("one forward pass, ms", "landscape", "loss-landscapes", "peak, GB")
    table = Table("a point in forward passes", columns)
    for name, model, x, y in networks(options.images):
        if options.only not in name:
            continue
        moved = [value.to(options.device) for value in (model, x, y)]
        rounds = [
            seconds_a_point(*moved, options.side, options.batch) for _ in range(options.rounds)
        ]
        bare = [1000 * seconds["forward"] for seconds in rounds]
        ours, theirs = (
            [seconds[tool] / seconds["forward"] for seconds in rounds if tool in seconds]
            for tool in ("landscape", "loss-landscapes")
        )
        cells = [Cell.of(values, ends=True) for values in (bare, ours, theirs)]
        table.add(name, *cells, Cell.of([rounds[0]["peak"]]))
    record.add(table)
    record.finish()


if __name__ == "__main__":
    main()
