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
# # Is this posterior flat?
#
# The first claim of [*Flat Posterior Does Matter For Bayesian Model
# Averaging*](https://arxiv.org/abs/2406.15664) is that most approximate inference does not find
# flat posteriors. A posterior is as flat as its samples, so the curvature of the training loss is
# measured at each sample: the largest Hessian eigenvalues with residuals, the trace with its
# standard error, and the rise of the loss between the posterior's mean and its samples.
#
# The files are those of `landscape demo`: one seed of a small task. They show how to look, and
# decide nothing; `landscape study flatness` repeats it over seeds and methods.

# %%
import os
from pathlib import Path

from landscape_app import figures

import landscape as ls
from landscape import workflow
from landscape.curvature import expected_sharpness

smoke = "LANDSCAPE_SMOKE" in os.environ  # a short run, to test that everything works
folder = Path(os.environ.get("LANDSCAPE_RUNS", "../runs/demo"))
names = ("map", "vi", "fp-bma")
runs = [ls.Run.open(folder / f"{name}.h5") for name in names]

# %% [markdown]
# ## The largest eigenvalue and the trace, sample by sample
#
# Each point is one posterior sample. MAP is a point and has one.

# %%
figures.spread_figure(*runs, log=True)

# %% [markdown]
# ## Numbers with their errors
#
# Mean and standard deviation over samples, and the 95 % interval of the mean. The ratio of means
# stands beside the mean of ratios, which a sample with a small lambda_5 can dominate. The errors of
# a single number (residuals, the trace's standard error) are smaller than the spread over samples;
# the table checks that.

# %%
for name, run in zip(names, runs, strict=True):
    group, found = run["samples"], ls.store.summarise(run)
    largest, of_means = found.lambda_1, found.lambda_ratio_of_means
    worst = (group["residuals"][:, 0] / group["eigenvalues"][:, 0]).max()
    print(
        f"{name:7} n = {largest.counted()}, lambda_1 {largest}{largest.interval()}, "
        f"lambda_1 / lambda_5 {found.lambda_ratio}, of means {of_means.mean:.3g}"
        f"{of_means.interval()}, trace {found.trace}; worst relative residual {worst:.1e}"
    )

# %% [markdown]
# ## How much higher is the loss at a sample than at the mean?
#
# $E_q[L(w)] - L(\mu)$, the expected sharpness: what curvature and the posterior's own width do
# together. A posterior may be narrow in a sharp place or wide in a flat one; the eigenvalues alone
# do not tell the two apart.

# %%
for name in names[1:]:
    trained = workflow.load(folder / f"{name}.h5")
    rise = expected_sharpness(trained.posterior, trained.task.train, samples=10)
    print(f"{name:7} E[L] - L(mean) = {rise.value:.4f} +- {rise.standard_error:.4f} nats")

# %% [markdown]
# ## The rest of the spectrum
#
# The five largest of thousands of eigenvalues say little of the bulk. The spectral density is a
# curve of area 1 over all of them, by stochastic Lanczos quadrature, with a band over probes. It
# is measured here on a copy of the run, at two samples.

# %%
import shutil
import tempfile

copies = Path(tempfile.mkdtemp())
for name in names[1:]:
    for ending in (".h5", ".safetensors"):
        shutil.copy(folder / f"{name}{ending}", copies)
    trained = workflow.load(copies / f"{name}.h5")
    density = {"density_probes": 2 if smoke else 4, "density_steps": 10 if smoke else 40}
    workflow.measure_curvature(trained, samples=2, fresh=True, **density)

# %%
figures.density_figure(*(ls.Run.open(copies / f"{name}.h5") for name in names[1:]))
