"""MAP, VI and FP-BMA on the demo's task with several seeds: the table in docs/methods.md.

    python benchmarks/digits_transfer.py --seeds 5

The settings were chosen on the validation set (``--split validation``). A seed determines the
labelled images, the network's initial weights, training and sampling. Intervals are of 95 %.
"""

import argparse
import time

import numpy as np
from record import Cell, Record, Table, add_argument

import landscape as ls
from landscape.methods import FPBMA, MAP, SWAG
from landscape.results import SampleMean
from landscape.runtime.progress import Progress

METHODS = {
    "MAP": MAP(),
    "FP-BMA, radius 0 (variational inference)": FPBMA(radius=0.0),
    "FP-BMA, relative radius 0.02": FPBMA(relative_radius=0.02),
    "FP-BMA, relative radius 0.05 (the default)": FPBMA(),
    "random direction, relative radius 0.05": FPBMA(ball="random"),
}
COLUMNS = {"accuracy": 3, "nll": 3, "train_loss": 3, "lambda_1": 1, "ratio": 1, "trace": 0}
LABELS = {
    "nll": "NLL",
    "train_loss": "training loss",
    "ratio": "lambda_1 / lambda_5",
    "seconds": "CPU s of training",
}


def evaluate(seed: int, samples: int, split: str, report: Progress) -> list[list[float]]:
    """One row of numbers per method."""
    task = ls.tasks.load("digits", seed=seed)
    model = ls.models.build("convnet", task, seed=seed)
    source = SWAG(epochs=60).fit(model, task.source, seed=seed)
    rows = []
    for index, method in enumerate(METHODS.values()):
        begun = time.process_time()
        posterior = method.fit(model, task, prior=source, seed=seed)
        seconds = time.process_time() - begun
        metrics = ls.predict(posterior, getattr(task, split), samples=samples, seed=seed).metrics()
        flatness = ls.measure(posterior, task.train, samples=5, eigenvalues=5, seed=seed)
        values = metrics | flatness.summary() | {"train_loss": float(flatness.loss.mean())}
        values["ratio"] = float((flatness.eigenvalues[:, 0] / flatness.eigenvalues[:, 4]).mean())
        rows.append([*(values[column] for column in COLUMNS), seconds])
        report(index + 1, len(METHODS))
    return rows


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    add_argument(parser)
    options = parser.parse_args()
    results = np.array(
        [
            evaluate(seed, options.samples, options.split, Progress(f"seed {seed}"))
            for seed in range(options.seeds)
        ]
    )
    record = Record(options)
    names = [f"{options.split} accuracy", f"{options.split} {LABELS['nll']}"]
    names += [LABELS.get(column, column) for column in list(COLUMNS)[2:]]
    table = Table("mean (standard deviation) over seeds", (*names, LABELS["seconds"]))
    for index, name in enumerate(METHODS):
        cells = []
        for values, digits in zip(results[:, index].T, (*COLUMNS.values(), 1), strict=True):
            text = f"{values.mean():.{digits}f} ({values.std(ddof=1):.{digits}f})"
            cells.append(Cell(values.tolist(), text))
        table.add(name, *cells)
    record.add(table)
    paired = Table("minus radius 0, paired over seeds", tuple(names))
    base = list(METHODS).index("FP-BMA, radius 0 (variational inference)")
    for index, name in enumerate(METHODS):
        if index == base:
            continue
        cells = []
        for column, digits in enumerate(COLUMNS.values()):
            values = results[:, index, column] - results[:, base, column]
            mean = SampleMean.of(values)
            text = f"{mean.mean:.{digits}f} [{mean.low:.{digits}f}, {mean.high:.{digits}f}]"
            cells.append(Cell(values.tolist(), text))
        paired.add(name, *cells)
    record.add(paired)
    record.finish()


if __name__ == "__main__":
    main()
