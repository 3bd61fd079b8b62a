"""A cost model of one measurement: constants from three sizes, and how far off it is at a fourth.

    python benchmarks/scale.py

Causal transformers of ``benchmarks/gpt2.py`` with P parameters and N tokens. Seconds are of the
processor, on one thread, the least of some repetitions: other work on the machine hardly counts.
The model is

    seconds of a matvec          = a P N + c N (10 L d + V)
    seconds of orthogonalising   = b P m          against m vectors, twice
    bytes of the kept graphs     = s N (10 L d + V)
    bytes of the basis           = 4 P m

with L layers of width d and a vocabulary of V: products of matrices, and work entry by entry.
"""

import argparse
import math
import time
from collections.abc import Callable
from functools import partial

import torch
from gpt2 import GPT2

import landscape as ls
from landscape.autograd.tensor_memory import SavedTensors
from landscape.curvature.estimators.krylov import orthogonalise
from landscape.objective.operators import graphs

SIZES = ((64, 2, 1000), (128, 3, 1000), (256, 4, 2000))
FOURTH = (384, 6, 4000)
SEQUENCES, TOKENS, VECTORS = 4, 64, 20


def least(work: Callable[[], object], repeats: int = 3) -> float:
    """The least processor time of some repetitions, in seconds."""
    seconds = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def measured(width: int, layers: int, vocabulary: int) -> dict[str, float]:
    """Sizes, seconds and bytes of one network."""
    torch.manual_seed(0)
    model = GPT2(vocabulary, TOKENS, width, max(1, width // 32), layers)
    ids = torch.randint(vocabulary, (SEQUENCES, TOKENS))
    loss = ls.losses.Readout(classes=-1, shift=1)
    objective = ls.Objective(model, [(ids, ids)], loss)
    objective.checked.is_trusted = True  # the check takes longer than all matvecs of this benchmark
    hessian, counted = objective.hessian(memory=1 << 40), [SavedTensors()]

    def count() -> SavedTensors:
        counted.append(SavedTensors())
        return counted[-1]

    original, graphs.SavedTensors = graphs.SavedTensors, count  # type: ignore[misc,assignment]
    v = torch.randn(objective.size)
    hessian(v)  # builds the graphs, and checks them
    graphs.SavedTensors = original  # type: ignore[misc]
    basis = torch.linalg.qr(torch.randn(objective.size, VECTORS))[0].T.contiguous()
    return {
        "P": objective.size,
        "matvec": least(partial(hessian, v)),
        "gradient": least(objective.gradient),
        "orthogonal": least(partial(orthogonalise, v, basis)),
        "graphs": counted[-1].nbytes,
        "units": SEQUENCES * TOKENS * (10 * layers * width + vocabulary),
    }


def main() -> None:
    """Print the constants, and the forecast for the fourth size beside the measurement."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    torch.set_num_threads(1)
    found = [measured(*size) for size in SIZES]
    examples = SEQUENCES * TOKENS

    def constant(name: str, by: Callable[[dict[str, float]], float]) -> float:
        ratios = [numbers[name] / by(numbers) for numbers in found]
        spread = max(ratios) / min(ratios)
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"{name}: {mean:.3g}, largest over smallest {spread:.2f}", flush=True)
        return mean

    parts = torch.tensor([[n["P"] * examples, n["units"]] for n in found], dtype=torch.float64)
    seconds = torch.tensor([n["matvec"] for n in found], dtype=torch.float64)[:, None]
    a, c = torch.linalg.lstsq(parts / seconds, torch.ones_like(seconds)).solution[:, 0].tolist()
    fitted = (parts @ torch.tensor([[a], [c]], dtype=torch.float64) / seconds)[:, 0].tolist()
    print(f"matvec: a = {a:.3g}, c = {c:.3g}", [round(x, 2) for x in fitted], flush=True)
    b = constant("orthogonal", lambda numbers: numbers["P"] * VECTORS)
    s = constant("graphs", lambda numbers: numbers["units"])
    fourth = measured(*FOURTH)
    size = fourth["P"]
    for name, forecast in (
        ("matvec", a * size * examples + c * fourth["units"]),
        ("orthogonal", b * size * VECTORS),
        ("graphs", s * fourth["units"]),
    ):
        off = forecast / fourth[name] - 1
        print(f"{name} at P = {size:,}: {forecast:.3g} for {fourth[name]:.3g}, {off:+.0%}")
    gradients = [numbers["matvec"] / numbers["gradient"] for numbers in (*found, fourth)]
    print("a matvec in gradients:", ", ".join(f"{ratio:.2f}" for ratio in gradients))


if __name__ == "__main__":
    main()
