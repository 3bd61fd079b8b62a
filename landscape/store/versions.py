"""The library versions and the git commit that a result was computed with."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata

_LIBRARIES = ("landscape", "torch", "numpy", "scipy", "h5py", "scikit-learn", "pyhessian")


def library_versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that compute; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str:
    """Commit of the current working folder, with ``+`` if it has changes; empty outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return ""
