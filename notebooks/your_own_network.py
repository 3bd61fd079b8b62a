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
# # Bring your own network, data and training loop
#
# Any `torch.nn.Module`, any arrays. The module is never changed: samples of the weights reach it
# by `torch.func.functional_call`.

# %%
import os

import torch
from landscape_app import figures
from torch import nn

import landscape as ls
from landscape.methods import FPBMA, SWAG

smoke = "LANDSCAPE_SMOKE" in os.environ  # a short run, to test that everything works
epochs = 12 if smoke else 60

# %% [markdown]
# ## A network and a task
#
# Two interleaved half circles; a fifth of the training points is for validation. `tasks.arrays`
# takes tensors, arrays and datasets, and `tasks.load("arrays", path=...)` an `.npz` file.

# %%
generator = torch.Generator().manual_seed(0)
angle = torch.rand(400, generator=generator) * torch.pi
labels = torch.arange(400) % 2
side = labels.float()
points = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
points = torch.where(labels[:, None] == 1, torch.tensor([1.0, 0.5]) - points, points)
points += 0.15 * torch.randn(400, 2, generator=generator)
train, test = slice(0, 200), slice(200, 400)
task = ls.tasks.arrays(
    train=(points[train], labels[train]), test=(points[test], labels[test]), validation_share=0.2
)
print(task.sizes)

model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
source = SWAG(epochs=epochs, learning_rate=0.05).fit(model, task, device="cpu")
posterior = FPBMA(epochs=epochs).fit(model, task, prior=source, device="cpu")
print(ls.predict(posterior, task.test, samples=20).metrics())

# %% [markdown]
# ## How sure is it, and where?
#
# The predictive probability is the average of the samples' probabilities; away from the data it
# goes to one half as samples disagree.

# %%
import plotly.graph_objects as go

axis = torch.linspace(-3, 4, 8 if smoke else 60)
grid = torch.cartesian_prod(axis, axis)
weights = posterior.sample(20, 0)
with torch.no_grad():
    found = torch.stack([posterior.space.call(w, grid).softmax(1)[:, 1] for w in weights]).mean(0)
field = go.Contour(x=axis, y=axis, z=found.view(len(axis), -1).T, zmin=0, zmax=1)
field.update(colorscale="RdBu", colorbar_title="p(class 1)", contours_showlines=False)
dots = go.Scatter(x=points[train, 0], y=points[train, 1], mode="markers", showlegend=False)
dots.update(marker={"color": labels[train], "colorscale": "RdBu", "line": {"width": 1}})
go.Figure([field, dots]).update_layout(title="Averaged probability of class 1", height=450)

# %% [markdown]
# ## Flatness, on your own loss
#
# An `Objective` is any module, batches and mean loss; everything that is measured works on one.

# %%
objective = ls.Objective(posterior.space, task.train, nn.CrossEntropyLoss(label_smoothing=0.1))
top = ls.curvature.top_eigenvalues(objective, posterior.mean, k=3)
total = ls.curvature.trace(objective, posterior.mean, deflate=top)
print("eigenvalues", top.values.tolist(), "residuals", top.residuals.tolist())
print(f"trace {total.value:.3f} +- {total.standard_error:.3f}")

# %% [markdown]
# ## Your own loop
#
# `fit` drives three steps that a loop of yours can call: `init`, `step`, `posterior`.

# %%
from landscape.methods import Problem

space = ls.ParameterSpace(model)
method = FPBMA()
problem = Problem(space, "cross_entropy", examples=len(task.train), steps=epochs * 8)
state = method.init(problem, prior=source, seed=0)
for _ in range(epochs):
    for batch in task.train.shuffled(20, state.order):
        state = method.step(state, batch)
own = method.posterior(state)
print(ls.predict(own, task.test, samples=20).metrics())

# %% [markdown]
# ## Keep it, and look at it in the dashboard
#
# A run file takes every sample as soon as it is measured; `landscape app FOLDER` shows it.

# %%
import tempfile
from pathlib import Path

run = ls.Run.create(Path(tempfile.mkdtemp()) / "half-circles.h5", method="fp-bma", task="own")
flatness = ls.measure(own, task.train, samples=5, eigenvalues=3, store=run)
surface = ls.surface(own, task.train, plane="samples", shape=(11, 11), samples=5, store=run)
run.set_attributes(status="complete")
print(run.groups, flatness.summary())

# %%
figures.surface_figure(run, "samples")
