"""Memory of a curvature measurement with graphs that do not fit: ResNet-18 on 10,000 images.

    python benchmarks/memory.py
    python benchmarks/memory.py --examples 2000 --products 2

Synthetic images of 32 x 32 pixels go through a ResNet-18 with 11 million parameters. The gradient's
graphs of all images would take hundreds of gigabytes. Graphs are kept up to a quarter of the free
memory. If they need more, none is kept.
"""

import argparse
import platform
import resource
import time

import torch

import landscape as ls


def main() -> None:
    """Print the peak memory of the process and the time of a product."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--products", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    model = ls.models.build("resnet18", input_shape=(3, 32, 32), classes=10).to(options.device)
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(options.examples, 3, 32, 32, generator=draw)
    labels = torch.randint(10, (options.examples,), generator=draw)
    batches = list(zip(images.split(options.batch), labels.split(options.batch), strict=True))
    objective = ls.Objective(model, batches)
    w = objective.space.vector()
    product = objective.hessian(w)
    v = torch.ones_like(w)
    for index in range(options.products):
        begun = time.perf_counter()
        size = float(product(v).norm())  # waits for the device
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
        print(
            f"product {index + 1}: {options.examples:,} images, {objective.size:,} parameters, "
            f"{platform.machine()}, {options.device}: {seconds:.0f} s, |H v| = {size:.4g}, "
            f"peak memory {peak:.1f} GiB",
            flush=True,
        )
    if options.device == "cuda":
        print(f"peak memory of the GPU {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
