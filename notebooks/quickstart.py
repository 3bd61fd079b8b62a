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
# # Quickstart: look at the demo's posteriors
#
# `landscape demo` pretrains a small convolutional network on upright handwritten digits, transfers
# it to rotated and noisy ones with ten labelled images a class by MAP, VI and FP-BMA, and
# measures each posterior. This notebook opens the files that it leaves and draws the dashboard's
# figures.

# %%
import os
from pathlib import Path

from landscape_app import figures

import landscape as ls
from landscape import workflow
from landscape.store import summarise
from landscape.study.demo import table

folder = Path(os.environ.get("LANDSCAPE_RUNS", "../runs/demo"))
runs = {name: ls.Run.open(folder / f"{name}.h5") for name in ("map", "vi", "fp-bma")}
print(table([summarise(run) for run in runs.values()]))

# %% [markdown]
# Accuracy and NLL (nats) are of the average over the posterior's samples, on the test set. The
# training loss, $\lambda_1$ and the trace of its Hessian are means over samples with their standard
# deviations. $\lambda_1$ falls as a network becomes sure of its training images, so two values are
# comparable at similar training loss. This is one seed: it shows the tool and ranks no method.
#
# ## How flat is each sample?
#
# The five largest Hessian eigenvalues of every posterior sample. Error bars are residuals
# $\lVert Hv - \lambda v \rVert$: an eigenvalue of the Hessian lies within them.

# %%
figures.eigenvalues_figure(runs["fp-bma"])

# %%
figures.eigenvalues_figure(runs["vi"])

# %% [markdown]
# The trace of the Hessian, with the standard error of its estimate:

# %%
figures.trace_figure(runs["fp-bma"])

# %% [markdown]
# ## The loss on the plane through three samples
#
# The other samples are projected on the plane; the ring grows with their distance to it, so a
# sample with a wide ring does not have the loss that the surface shows below it.

# %%
figures.surface_figure(runs["fp-bma"], "samples")

# %%
figures.surface_figure(runs["vi"], "samples")

# %% [markdown]
# ## What averaging gains

# %%
figures.metrics_figure(runs["fp-bma"])

# %% [markdown]
# ## Training

# %%
figures.training_figure(runs["fp-bma"])

# %% [markdown]
# ## The numbers themselves
#
# A run is plain HDF5 with named axes, so xarray opens it too.

# %%
runs["fp-bma"].to_xarray()["samples"].to_dataset()[["eigenvalues", "residuals", "trace"]]

# %% [markdown]
# ## Measure more
#
# The posterior's weights lie beside the run, so anything else can be measured later.

# %%
trained = workflow.load(folder / "fp-bma.h5")
w = trained.posterior.mean
objective = ls.Objective(trained.posterior.space, trained.task.train)
smallest = ls.curvature.top_eigenvalues(objective, w, k=3, which="smallest")
for value, residual in zip(smallest.values, smallest.residuals, strict=True):
    print(f"{value:.4f} +- {residual:.1e}")
