"""MAP, SWAG and FP-BMA on the demo's task with several seeds: the table in docs/methods.md.

    python benchmarks/digits_transfer.py --seeds 5

Results are for the validation set. The settings were chosen on it, and the test set stays unseen.
A seed determines the labelled images, the network's initial weights, training and sampling.
"""

import argparse

import numpy as np

import landscape as ls
from landscape.methods import FPBMA, MAP, SWAG
from landscape.runtime.progress import Progress

METHODS = {
    "MAP": MAP(),
    "SWAG": SWAG(),
    "FP-BMA, rho = 0 (variational inference)": FPBMA(radius=0.0),
    "FP-BMA, rho = 0.2 (the default)": FPBMA(),
    "FP-BMA, rho = 0.5": FPBMA(radius=0.5),
    "FP-BMA, rho = 1": FPBMA(radius=1.0),
}
COLUMNS = {"accuracy": 3, "nll": 3, "ece": 3, "train_loss": 3, "lambda_1": 2, "trace": 1}


def evaluate(seed: int, samples: int, report: Progress) -> list[list[float]]:
    """One row of numbers per method."""
    task = ls.tasks.load("digits", seed=seed)
    model = ls.models.build("convnet", task, seed=seed)
    source = SWAG(epochs=60).fit(model, task.source, seed=seed)
    rows = []
    for index, method in enumerate(METHODS.values()):
        posterior = method.fit(model, task, prior=source, seed=seed)
        metrics = ls.predict(posterior, task.validation, samples=samples, seed=seed).metrics()
        flatness = ls.measure(posterior, task.train, samples=5, eigenvalues=1, seed=seed)
        values = metrics | flatness.summary() | {"train_loss": float(flatness.loss.mean())}
        rows.append([values[column] for column in COLUMNS])
        report(index + 1, len(METHODS))
    return rows


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=30)
    options = parser.parse_args()
    results = np.array(
        [evaluate(seed, options.samples, Progress(f"seed {seed}")) for seed in range(options.seeds)]
    )
    print("| | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|")
    for index, name in enumerate(METHODS):
        mean, deviation = results[:, index].mean(0), results[:, index].std(0, ddof=1)
        cells = [
            f"{value:.{digits}f} ({spread:.{digits}f})"
            for value, spread, digits in zip(mean, deviation, COLUMNS.values(), strict=True)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
