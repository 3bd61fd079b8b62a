"""Types for those who use the package: the wheel as it is installed, and a strict checker."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
USER = """
from typing import assert_type

import landscape as ls
from landscape.methods import SWAG
from landscape.prediction import Prediction
from landscape_app import serve

task = ls.tasks.load("digits", shots=10, seed=0)
model = ls.models.build("convnet", task)
posterior = SWAG(rank=5).fit(model, task.source or task, seed=0)
assert_type(task, ls.tasks.Task)
assert_type(posterior, ls.Posterior)
assert_type(ls.predict(posterior, task.test, samples=30), Prediction)
ls.tasks.load(3)  # type: ignore[arg-type]
SWAG(rang=5)  # type: ignore[call-arg]
serve(3)  # type: ignore[arg-type]
"""
# Libraries are not looked at: that takes a minute, and the types are not theirs.
SETTINGS = """
[mypy]
strict = True
[mypy-torch.*,numpy.*,h5py.*,plotly.*,safetensors.*,scipy.*,sklearn.*]
ignore_missing_imports = True
"""


def test_a_users_file_is_checked_against_the_types_of_the_wheel(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    # A checker believes only what is installed and has `py.typed`.
    scheme = sysconfig.get_path("purelib", vars={"base": str(environment)})
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", scheme, wheel], check=True)
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    mypy = [sys.executable, "-m", "mypy", "--python-executable", environment / "bin/python"]
    cache = ["--cache-dir", ROOT / ".mypy_cache/user"]
    checked = subprocess.run(
        [*mypy, *cache, "--config-file", "mypy.ini", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert checked.stdout.startswith("Success"), checked.stdout + checked.stderr
