"""Run files of schema version 1, read as files of version 2.

Version 1 calls products with a matrix ``products``, and the inferred parameters ``random``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from landscape.errors import InputError
from landscape.runtime.json_text import parse_object

_SETTINGS = {"max_products": "max_matvecs", "trace_products": "trace_matvecs"}
_VARIABLES = {"samples/products": "matvecs"}


def variable_name(path: str) -> str:
    """The name of a variable in version 2.

    Args:
        path: Group and variable: ``"samples/trace"``.
    """
    return _VARIABLES.get(path, path.rpartition("/")[2])


def root_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a whole run of either version, with version 2's names in its settings."""
    if attributes.get("schema_version") != 1 or "config" not in attributes:
        return dict(attributes)
    config = parse_object(attributes["config"], "the attribute 'config'")
    for part in config.values():
        if isinstance(part, dict):
            _rename(part, _SETTINGS)
    _rename(config, {"random": "parameters"})
    return {**attributes, "config": json.dumps(config)}


def group_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a group of either version, with version 2's names in its request.

    A request of version 1 does not name the kind of the surface or line; the group does.
    """
    with suppress(KeyError, InputError):
        request = parse_object(attributes["request"], "the request")
        if "fingerprints" not in request:
            _rename(request, _SETTINGS)
            kind = {"kind": attributes["kind"]} if "kind" in attributes else {}
            return {**attributes, "request": json.dumps({**request, **kind})}
    return dict(attributes)


def _rename(settings: dict[str, Any], names: Mapping[str, str]) -> None:
    for old, new in names.items():
        if old in settings:
            settings.setdefault(new, settings.pop(old))
