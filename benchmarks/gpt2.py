"""Curvature of a causal transformer of GPT-2's shape, with 124 million parameters.

    python benchmarks/gpt2.py
    python benchmarks/gpt2.py --layers 2 --vocabulary 5000 --matvecs 4

Random weights and random tokens: this is about memory and time, not about a trained model. Each
line is printed as soon as it is known. The cross-entropy of the tokens is taken in slices, and the
basis of the search has as many vectors as fit into half of the free memory.
"""

import argparse
import resource
import time

import torch
from record import Cell, Record, Table, add_argument
from torch import Tensor, nn
from torch.nn import functional as F

import landscape as ls


class Block(nn.Module):
    """Attention to earlier tokens, and a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states (B, T, width) of the next layer."""
        size, length, width = x.shape
        parts = self.attention(self.first(x)).view(size, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(size, length, width))
        hidden: Tensor = x + self.down(F.gelu(self.up(self.second(x)), approximate="tanh"))
        return hidden


class GPT2(nn.Module):
    """The network of Radford et al. (2019), with the embedding as its last layer."""

    def __init__(self, vocabulary: int, length: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)


def main() -> None:
    """Print the top eigenvalues, the trace, and the peak memory of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--eigenvalues", type=int, default=3)
    parser.add_argument("--matvecs", type=int, default=40, help="largest number for eigenvalues")
    parser.add_argument("--probes", type=int, default=10, help="matvecs for the trace")
    parser.add_argument("--micro", type=int, default=2, help="sequences in a batch")
    parser.add_argument("--unchecked", action="store_true", help="no check of derivatives first")
    add_argument(parser)
    options = parser.parse_args()
    record = Record(options, needs="20 GiB of memory and 40 minutes")
    torch.manual_seed(0)
    model = GPT2(
        options.vocabulary, options.positions, options.width, options.heads, options.layers
    )
    ids = torch.randint(options.vocabulary, (options.sequences, options.tokens))
    batches = [(part, part) for part in ids.split(options.micro)]
    objective = ls.Objective(model, batches, ls.losses.Readout(classes=-1, shift=1))
    objective.checked.is_trusted = options.unchecked
    del model
    hessian = objective.hessian()
    what = f"{objective.size:,} parameters, {ids.numel():,} tokens"
    print(what, flush=True)
    seconds: list[float] = []
    print(ls.curvature.plan_search(hessian, options.eigenvalues), flush=True)
    multiply = hessian._multiply

    def timed(v: Tensor) -> Tensor:
        begun = time.process_time()
        image = multiply(v)
        seconds.append(time.process_time() - begun)
        print(f"matvec {hessian.matvecs}: {seconds[-1]:.0f} s of CPU", flush=True)
        report("so far")
        return image

    hessian._multiply = timed  # type: ignore[method-assign]
    top = ls.curvature.lanczos(hessian, k=options.eigenvalues, max_matvecs=options.matvecs)
    report(f"eigenvalues {top.values.tolist()}, residuals {top.residuals.tolist()}, {top.matvecs}")
    trace = ls.curvature.hutchinson(hessian, matvecs=options.probes, deflate=top)
    report(f"trace {trace.value:.4g} +- {trace.standard_error:.2g} by {trace.matvecs} matvecs")
    columns = ("first matvec, s", "a later one, s", "matvecs", "residuals", "trace's error", "GiB")
    table = Table("a causal transformer", columns)
    table.add(
        what,
        Cell.of(seconds[:1], ".1f"),
        Cell.of(seconds[1:], ".2f", ends=True),
        Cell.of([top.matvecs + trace.matvecs], ".0f"),
        Cell.of((top.residuals / top.values.abs()).tolist(), ".0e", ends=True),
        Cell.of([trace.standard_error / abs(trace.value)], ".0e"),
        Cell.of([peak()], ".1f"),
    )
    record.add(table)
    record.finish()


def report(text: str) -> None:
    """Print a line with the time of the processor and the peak memory."""
    print(f"{text}: {time.process_time():.0f} s of CPU, peak memory {peak():.1f} GiB", flush=True)


def peak() -> float:
    """The most memory that the process has taken, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux


if __name__ == "__main__":
    main()
