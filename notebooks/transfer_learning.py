# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # FP-BMA transfer learning
#
# The third claim of [*Flat Posterior Does Matter For Bayesian Model
# Averaging*](https://arxiv.org/abs/2406.15664) is that training for a flat posterior, and transfer
# learning built on it, generalise better. Here: pretrain on upright handwritten digits, transfer
# to rotated and noisy ones with ten labelled images a class, from the same source posterior, by
#
# - MAP, which ignores the posterior;
# - FP-BMA with radius 0, which is variational inference with the source as its prior;
# - FP-BMA with its default radius.
#
# The second is the comparison that counts: it has the same prior, the same posterior family and
# the same training, and no flatness.

# %%
import os

import numpy as np
from plotly.subplots import make_subplots

import landscape as ls
from landscape.methods import FPBMA, MAP, SWAG

smoke = "LANDSCAPE_SMOKE" in os.environ  # a short run, to test that everything works
seeds, epochs, width = (range(2), 12, 4) if smoke else (range(5), 60, 16)
methods = {
    "MAP": MAP(epochs=epochs),
    "FP-BMA, radius 0": FPBMA(radius=0.0, epochs=epochs),
    "FP-BMA": FPBMA(epochs=epochs),
}

# %% [markdown]
# Every seed has another split, other initial weights and other noise. Nothing was tuned on the
# test set, and all methods have the same number of epochs; a step of FP-BMA costs two gradients.

# %%
columns = ("accuracy", "nll", "ece", "brier", "lambda_1")
results: dict[str, list[list[float]]] = {name: [] for name in methods}
for seed in seeds:
    task = ls.tasks.load("digits", seed=seed)
    model = ls.models.build("convnet", task, width=width, seed=seed)
    source = SWAG(epochs=epochs).fit(model, task.source, seed=seed, device="cpu")
    for name, method in methods.items():
        posterior = method.fit(model, task, prior=source, seed=seed, device="cpu")
        found = ls.predict(posterior, task.test, samples=10, seed=seed).metrics()
        flat = ls.measure(posterior, task.train, samples=3, eigenvalues=1, seed=seed)
        results[name].append([*(found[each] for each in columns[:-1]), flat.summary()["lambda_1"]])

# %% [markdown]
# Mean and standard deviation over seeds, on the test set; $\lambda_1$ is on the training set, over
# three samples of each posterior.

# %%
print(f"{'':18}" + "".join(f"{column:>18}" for column in columns))
for name, rows in results.items():
    mean, deviation = np.mean(rows, 0), np.std(rows, 0, ddof=1)
    cells = (f"{m:.3f} +- {d:.3f}" for m, d in zip(mean, deviation, strict=True))
    print(f"{name:18}" + "".join(f"{cell:>18}" for cell in cells))

# %% [markdown]
# Seeds are paired: split, source and initial weights are the same for every method. So the
# difference by seed is what to look at, and its standard error over seeds.

# %%
for name in list(methods)[:-1]:
    difference = np.array(results["FP-BMA"]) - np.array(results[name])
    mean, error = difference.mean(0), difference.std(0, ddof=1) / np.sqrt(len(difference))
    cells = ", ".join(
        f"{column} {m:+.3f} ({e:.3f})" for column, m, e in zip(columns, mean, error, strict=True)
    )
    print(f"FP-BMA - {name}: {cells}")

# %% [markdown]
# A line is a seed. Where the lines of a panel run the same way the difference is not chance; where
# they cross it may be.

# %%
shown = ("accuracy", "nll", "ece", "lambda_1")
figure = make_subplots(1, len(shown), subplot_titles=shown)
for panel, column in enumerate(shown, 1):
    for rows in zip(*results.values(), strict=True):
        values = [row[columns.index(column)] for row in rows]
        figure.add_scatter(x=list(results), y=values, line_color="#3366aa", row=1, col=panel)
figure.update_layout(width=1000, height=360, showlegend=False, template="plotly_white")

# %% [markdown]
# What this can show: whether FP-BMA differs from MAP, and whether it differs from the same
# inference without flatness. Only the second difference is about flatness. `landscape study
# generalisation` tunes every method with the same number of trials and adds shifted test sets.
#
# ## A fresh head, and part of the network
#
# Where the target has other classes, `transfer.adapt` gives the prior of a network with a fresh
# head, and `trained` names the part that is trained; the rest is sampled jointly from the source.

# %%
task = ls.tasks.load("digits", seed=0)
old = ls.models.build("convnet", task, width=width, normalisation="batch", seed=0)
source = SWAG(epochs=epochs).fit(old, task.source, seed=0, device="cpu")
new = ls.models.build("convnet", task, width=width, normalisation="batch", seed=1)
prior = ls.transfer.adapt(source, new, alpha=1e-4)
method = FPBMA(epochs=epochs, trained="normalisation-and-head", prior_scale=0.0, beta=1e-6)
posterior = method.fit(prior.network(), task, prior=prior, seed=0, device="cpu")
print(ls.predict(posterior, task.validation, samples=10).metrics())
