"""Weights of trained networks from local files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from landscape.errors import InputError
from landscape.runtime.weight_files import read_weights


def load_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    rename: Mapping[str, str] | None = None,
    new: Sequence[str] = (),
) -> nn.Module:
    """Load the weights of a file into ``model``, which is changed and returned.

    Only tensors are read, so a file cannot run code; see ``runtime.weight_files.read_weights``.

    Args:
        model: Network to load the weights into.
        path: A ``.safetensors`` file, or a file written by ``torch.save``.
        rename: Replacements in the names of the file, for example
            ``{"downsample.": "shortcut.", "fc.": "linear."}``.
        new: Prefixes of parameter names of ``model`` that keep their values, for example
            ``["linear."]`` for a new head. The file's values for them are ignored.

    Raises:
        InputError: The file cannot be read, or it does not hold exactly the model's weights.
    """
    path, prefixes = Path(path), tuple(new)
    weights = {_renamed(name, rename or {}): value for name, value in read_weights(path).items()}
    weights = {name: value for name, value in weights.items() if not name.startswith(prefixes)}
    expected = {n: v for n, v in model.state_dict().items() if not n.startswith(prefixes)}
    # Files from before 2018 have no count of batches, and nothing here depends on it.
    missing = [n for n in expected if n not in weights and not n.endswith("num_batches_tracked")]
    unknown = [n for n in weights if n not in expected]
    if missing or unknown:
        problems = [f"no '{missing[0]}' ({len(missing)} missing)"] if missing else []
        problems += [f"'{unknown[0]}' ({len(unknown)} unknown)"] if unknown else []
        raise InputError(f"{path} belongs to another network: it holds {' and '.join(problems)}")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise InputError(
                f"{path} belongs to another network: '{name}' has shape {tuple(value.shape)} in "
                f"the file and {tuple(expected[name].shape)} in the model"
            )
    model.load_state_dict(weights, strict=False)
    return model


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    for old, new in rename.items():
        name = name.replace(old, new)
    return name
