"""What ``import landscape`` brings in."""

import subprocess
import sys
from functools import cache

import pytest

import landscape


@cache
def modules_after(code: str) -> set[str]:
    """Names of the modules that a new interpreter has loaded when it has run the code."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_what_computes_loads_no_application_and_no_backend() -> None:
    code = "import landscape; landscape.Objective"
    loaded = {name.partition(".")[0] for name in modules_after(code)}
    heavy = {"dash", "plotly", "flask", "landscape_app", "sklearn", "pyhessian", "xarray", "pandas"}
    heavy |= {"matplotlib", "IPython", "notebook", "scipy", "PIL", "ivon"}
    heavy |= {"curvlinops", "torchvision", "timm", "distributed", "typst"}
    assert loaded & heavy == set()
    assert "torch" in loaded


def test_what_computes_loads_the_ground_floor_only() -> None:
    loaded = modules_after("import landscape; landscape.Objective")
    floors = {name.split(".")[1] for name in loaded if name.startswith("landscape.")}
    assert floors == {"autograd", "errors", "objective", "runtime"}
    assert "h5py" not in loaded


def test_run_files_are_read_without_torch() -> None:
    loaded = modules_after("import landscape; landscape.Run")
    floors = {name.split(".")[1] for name in loaded if name.startswith("landscape.")}
    assert floors == {"errors", "results", "runtime", "store"}
    assert "h5py" in loaded
    assert "torch" not in loaded


def test_training_on_digits_loads_neither_the_compiler_of_torch_nor_scikit_learn() -> None:
    code = """
import landscape as ls
task = ls.tasks.load("digits", shots=1)
model = ls.models.build("mlp", task)
for method in (ls.methods.MAP, ls.methods.SAM, ls.methods.VI, ls.methods.SGLD):
    method(epochs=1).fit(model, task, device="cpu")
"""
    loaded = modules_after(code)
    assert "landscape.methods.loop" in loaded
    assert not loaded & {"torch._dynamo", "sklearn"}


def test_each_public_name_is_there_however_it_is_asked_for() -> None:
    code = """
import sys
import landscape as ls
assert set(ls.__all__) <= set(dir(ls)), dir(ls)
ls.curvature.trace
assert "landscape.curvature" in sys.modules
assert "landscape.methods" not in sys.modules
for name in ls.__all__:
    value = getattr(ls, name)
    scope = {}
    exec(f"from landscape import {name}", scope)
    assert scope[name] is value is getattr(ls, name), name
assert ls.measure is sys.modules["landscape.curvature"].measure
assert ls.transfer is sys.modules["landscape.posteriors.transfer"]
assert ls.store is sys.modules["landscape.store"]
scope = {}
exec("from landscape import *", scope)
assert set(ls.__all__) <= set(scope)
"""
    modules_after(code)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'landscape' has no attribute 'hessian'"):
        landscape.hessian  # noqa: B018
