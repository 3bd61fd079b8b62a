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
from record import Cell, Record, Table, add_argument

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
        "PN": objective.size * SEQUENCES * TOKENS,
        "matvec": least(partial(hessian, v)),
        "gradient": least(objective.gradient),
        "orthogonal": least(partial(orthogonalise, v, basis)),
        "graphs": counted[-1].nbytes,
        "units": SEQUENCES * TOKENS * (10 * layers * width + vocabulary),
    }


def main() -> None:
    """Print the constants, the forecasts beside the fourth size, and those for larger ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_argument(parser)
    options = parser.parse_args()
    record = Record(options)
    torch.set_num_threads(1)
    sizes = [measured(*size) for size in SIZES]

    def constant(name: str, by: Callable[[dict[str, float]], float]) -> list[float]:
        return [numbers[name] / by(numbers) for numbers in sizes]

    parts = torch.tensor([[n["PN"], n["units"]] for n in sizes], dtype=torch.float64)
    seconds = torch.tensor([n["matvec"] for n in sizes], dtype=torch.float64)[:, None]
    a, c = torch.linalg.lstsq(parts / seconds, torch.ones_like(seconds)).solution[:, 0].tolist()
    orthogonal = constant("orthogonal", lambda numbers: numbers["P"] * VECTORS)
    graphs_ = constant("graphs", lambda numbers: numbers["units"])
    b, s = (math.exp(sum(map(math.log, ratios)) / 3) for ratios in (orthogonal, graphs_))
    constants = Table("the model's constants", ("model", "constants"))
    form = ".2g"
    for name, formula, values, text in (
        (
            "a matvec with kept graphs",
            "a P N + c N (10 L d + V) seconds",
            [a, c],
            f"a = {a:{form}}, c = {c:{form}}",
        ),
        ("one orthogonalisation against m vectors", "b P m seconds", orthogonal, f"b = {b:{form}}"),
        ("the kept graphs", "s N (10 L d + V) bytes", graphs_, f"s = {s:.0f}"),
        ("the basis", "4 P m bytes", [], ""),
    ):
        constants.add(name, Cell([], formula), Cell(values, text))
    record.add(constants)
    fourth = measured(*FOURTH)
    size = fourth["P"]
    off = Table(
        f"forecasts at {size / 1e6:.1f} million parameters",
        ("forecast", "measured", "forecast / measured"),
    )
    for name, quantity, forecast in (
        ("a matvec, s", "matvec", a * fourth["PN"] + c * fourth["units"]),
        ("an orthogonalisation, s", "orthogonal", b * size * VECTORS),
        ("the graphs, MB", "graphs", s * fourth["units"]),
    ):
        unit = 1e6 if quantity == "graphs" else 1
        values = [forecast / unit, fourth[quantity] / unit, forecast / fourth[quantity]]
        off.add(name, *(Cell.of([value], ".2f" if value < 10 else ".0f") for value in values))
    record.add(off)
    gradients = Table("a matvec in gradients", ("gradients",))
    for numbers in (*sizes, fourth):
        ratio = numbers["matvec"] / numbers["gradient"]
        gradients.add(f"{numbers['P'] / 1e6:.1f} million parameters", Cell.of([ratio]))
    record.add(gradients)
    larger = Table(
        "what the model says of larger ones", ("a matvec", "basis of 5 to 36 vectors", "graphs, GB")
    )
    for name, size, layers, width, tokens in (
        ("124 million parameters, 1,024 tokens", 124_439_808, 12, 768, 1024),
        ("1 billion parameters, 1 million tokens", 10**9, 24, 1792, 10**6),
    ):
        units = tokens * (10 * layers * width + 50_257)
        matvec = a * size * tokens + c * units
        shown = f"{matvec:.0f} s" if matvec < 3600 else f"{matvec / 3600:.0f} hours"
        basis = [4e-9 * size * vectors for vectors in (5, 36)]
        larger.add(
            name,
            Cell([matvec], shown),
            Cell(basis, f"{basis[0]:.1f} to {basis[1]:.0f} GB"),
            Cell.of([1e-9 * s * units], ",.1f"),
        )
    record.add(larger)
    record.finish()


if __name__ == "__main__":
    main()
