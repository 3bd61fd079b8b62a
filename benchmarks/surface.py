"""Time per point of a loss surface, by this package and by loss-landscapes, in forward passes.

    pip install loss-landscapes
    python benchmarks/surface.py
    python benchmarks/surface.py --device cuda

Both packages evaluate a random plane on the same data with the same network. This package also
computes the accuracy. The forward pass is the module's own in evaluation mode, with its loss. With
batch normalisation this package re-estimates running statistics at every point, in the same pass.
loss-landscapes uses the running statistics of the centre, so its surface differs.
"""

import argparse
import math
import platform
import time
from importlib.metadata import version
from statistics import median

import loss_landscapes
import torch
from loss_landscapes.metrics import Loss
from torch import Tensor, nn

import landscape as ls
from landscape.posteriors import Point, Posterior
from landscape.runtime.devices import describe_device
from landscape.runtime.memory import keep_freed_memory


def networks() -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """Names, networks, inputs and targets."""
    digits = ls.tasks.load("digits")
    train = digits.train
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(500, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (500,), generator=generator)
    cases: list[tuple[str, nn.Module, Tensor, Tensor]] = [
        ("convnet, 100 digits", ls.models.build("convnet", digits), train.inputs, train.targets)
    ]
    for normalisation in ("group", "batch"):
        model = ls.models.build(
            "resnet20", input_shape=(3, 32, 32), classes=10, normalisation=normalisation
        )
        cases.append((f"ResNet-20, {normalisation} norm, 500 images", model, images, labels))
    return cases


def seconds_a_point(model: nn.Module, x: Tensor, y: Tensor, side: int) -> dict[str, float]:
    """Seconds per point of a bare forward pass and of each tool.

    This is processor time, or wall-clock time on a GPU, where each tool reads its results.
    """
    clock = time.perf_counter if x.is_cuda else time.process_time
    model.eval()
    space = ls.ParameterSpace(model)
    posterior = Posterior(space, Point(space.vector()), calibration=[(x, y)])

    def forward() -> None:
        with torch.no_grad():
            for _ in range(side**2):
                nn.functional.cross_entropy(model(x), y).item()

    def ours() -> None:
        ls.surface(posterior, [(x, y)], plane="random", shape=(side, side), samples=1)

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
    return taken


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=11, help="points a side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="networks whose names have this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # ours is in full precision
    keep_freed_memory()  # as the command line does
    print(
        f"{describe_device(torch.device(options.device))}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads; torch {torch.__version__}, "
        f"loss-landscapes {version('loss-landscapes')}; medians of {options.rounds} rounds, "
        "and the least and the most of them.\n"
    )
    print("| | forward, ms | landscape, forwards | loss-landscapes, forwards |\n|---|---|---|---|")
    for name, model, x, y in networks():
        if options.only not in name:
            continue
        there = [each.to(options.device) for each in (model, x, y)]
        rounds = [seconds_a_point(*there, options.side) for _ in range(options.rounds)]
        bare = [1000 * each["forward"] for each in rounds]
        ours, theirs = (
            [each.get(tool, math.nan) / each["forward"] for each in rounds]
            for tool in ("landscape", "loss-landscapes")
        )
        print(f"| {name} | {spread(bare)} | {spread(ours)} | {spread(theirs)} |", flush=True)


def spread(values: list[float]) -> str:
    """Median, minimum and maximum."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
