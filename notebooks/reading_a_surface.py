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
# # Reading a loss surface: what it shows, and what it does not
#
# A loss surface is a slice of two dimensions through thousands. The same posterior is drawn here
# on four planes, and then a network is changed so that its picture changes and its predictions do
# not.

# %%
import os
import shutil
import tempfile
from pathlib import Path

import torch
from landscape_app import figures

import landscape as ls
from landscape import workflow

smoke = "LANDSCAPE_SMOKE" in os.environ  # a short run, to test that everything works
side = 3 if smoke else 25
source = Path(os.environ.get("LANDSCAPE_RUNS", "../runs/demo"))
folder = Path(tempfile.mkdtemp())  # the demo's own files stay as they are
for ending in (".h5", ".safetensors"):
    shutil.copy(source / f"fp-bma{ending}", folder)
trained = workflow.load(folder / "fp-bma.h5")
extents = {"samples": None, "pca": None, "random": 2.0, "eigenvectors": 2.0}
surfaces = {
    plane: workflow.measure_surface(
        trained, plane=plane, shape=(side, side), samples=3, extent=extent, fresh=True
    )
    for plane, extent in extents.items()
}

# %% [markdown]
# ## Four planes through one posterior
#
# Through three samples, exactly: they are on the plane, and so of the three samples it holds all
# variance. It says nothing of what lies beside them.

# %%
figures.surface_figure(ls.Run.open(folder / "fp-bma.h5"), "samples")

# %% [markdown]
# Along two random filter-normalised directions through the mean, the picture of most papers:
# smooth, nearly round, and the samples are far off it.

# %%
figures.surface_figure(ls.Run.open(folder / "fp-bma.h5"), "random")

# %% [markdown]
# Along the Hessian's two largest eigenvectors, over the same distance: as steep as it gets. The
# same posterior looks sharp.

# %%
figures.surface_figure(ls.Run.open(folder / "fp-bma.h5"), "eigenvectors")

# %% [markdown]
# How steep each plane is at its middle, how far the samples are from it, and the share of their
# variance that it holds. Whoever shows one of these should say which.

# %%
for plane, surface in surfaces.items():
    rise = surface.loss.max() - surface.loss.min()
    print(
        f"{plane:12} loss rises by {rise:.3g} over {surface.x[-1] - surface.x[0]:.3g} x "
        f"{surface.y[-1] - surface.y[0]:.3g}; samples {surface.sample_off_plane.mean():.3g} off "
        f"it; share of their variance {surface.variance_share:.2g}"
    )

# %% [markdown]
# ## The same function, another curvature
#
# Multiply one ReLU layer by c and divide the next by c: the network computes the same function,
# and its Hessian does not stay the same. So sharpness compares points of *one* parameterisation,
# trained alike; it is no property of the function.

# %%
objective = ls.Objective(trained.posterior.space, trained.task.train)
space, mean = trained.posterior.space, trained.posterior.mean
for c in (1.0, 2.0, 4.0):
    parts = {name: value.clone() for name, value in space.unflatten(mean).items()}
    parts["features.0.weight"] *= c
    parts["features.0.bias"] *= c
    parts["features.3.weight"] /= c
    w = space.flatten(parts)
    top = ls.curvature.top_eigenvalues(objective, w, k=1)
    print(f"c = {c}: loss {float(objective.loss(w)):.6f}, lambda_1 {float(top.values[0]):.4g}")

# %% [markdown]
# ## A barrier may be a matter of the path
#
# Between two samples the straight line may climb where a curve does not.

# %%
for kind in ("samples", "bezier"):
    line = ls.surfaces.line(
        trained.posterior, trained.task.train, kind=kind, points=side, steps=10 if smoke else 300
    )
    print(f"{kind:8} barrier {line.barrier:.4f} nats, highest loss {line.loss.max():.4f}")

# %% [markdown]
# What is written in a run keeps NaN and infinity, the distance of every sample to the plane, and
# its own loss beside the surface's value below it:

# %%
surface = surfaces["random"]
j = torch.tensor(surface.sample_x[0] - surface.x).abs().argmin()
i = torch.tensor(surface.sample_y[0] - surface.y).abs().argmin()
print(f"sample 0: loss {surface.sample_loss[0]:.4f}; the surface below it {surface.loss[i, j]:.4f}")
