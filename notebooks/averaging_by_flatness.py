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
# # Does averaging gain by flatness?
#
# The second claim of [*Flat Posterior Does Matter For Bayesian Model
# Averaging*](https://arxiv.org/abs/2406.15664) is that model averaging which ignores flatness
# helps less. If so, among samples of *one* posterior the flat ones should predict better, and an
# average of the flattest n should beat an average of the sharpest n. Both are looked at here, on
# the files of `landscape demo`; `landscape study averaging` does it over seeds.

# %%
import os
from pathlib import Path

from landscape_app import figures

import landscape as ls
from landscape.prediction.correlation import spearman

folder = Path(os.environ.get("LANDSCAPE_RUNS", "../runs/demo"))
runs = {name: ls.Run.open(folder / f"{name}.h5") for name in ("vi", "fp-bma")}

# %% [markdown]
# ## Do flat samples predict better?
#
# Each point is one posterior sample: its largest Hessian eigenvalue on the training set against
# its loss on the test set. Spearman's rank correlation has an interval from six samples on, and
# with few samples that is wide; an interval that holds zero says that nothing was found, not that
# there is nothing.

# %%
figures.relation_figure(*runs.values())

# %%
for name, run in runs.items():
    largest, nll = run["samples"]["eigenvalues"][:, 0], run["predictions"]["nll"]
    found = spearman(largest, nll)
    print(
        f"{name:7} rank correlation of lambda_1 and NLL {found.rho:.2f} "
        f"[{found.low:.2f}, {found.high:.2f}], n = {found.count}"
    )

# %% [markdown]
# ## Averages over the first n samples
#
# Flat first, sharp first, and in random order with a band. All curves of a run end at the same
# point, the average over all samples.

# %%
figures.averaging_figure(*runs.values())

# %% [markdown]
# ## What the average is made of
#
# Accuracy, NLL, ECE and Brier score of the average, and of each sample alone. By Jensen's
# inequality the average's NLL is never above the mean NLL of its samples: that gain is no evidence
# for flatness.

# %%
figures.metrics_figure(*runs.values())
