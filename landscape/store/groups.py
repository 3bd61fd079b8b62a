"""Groups of variables with named axes, to HDF5 and back."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import InputError
from landscape.store import schema
from landscape.store.untrusted import MAX_BYTES, Attribute, plain_attributes, reading


@dataclass(frozen=True)
class Group(Mapping[str, np.ndarray]):
    """The variables of one group, by name, with the group's attributes."""

    variables: Mapping[str, np.ndarray]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


def file_image(attributes: Mapping[str, Attribute], groups: Mapping[str, Group]) -> bytes:
    """The bytes of a run file.

    Built in memory, for HDF5 does not survive a disk that fills up under an open file.

    Raises:
        InputError: more than a reader accepts.
    """
    size = sum(array.nbytes for group in groups.values() for array in group.values())
    if size > MAX_BYTES:
        raise InputError(
            f"a run file holds up to {MAX_BYTES >> 20} MiB, not {-(-size >> 20)}: measure fewer "
            "samples or examples"
        )
    image = io.BytesIO()
    with h5py.File(image, "w", libver=("v110", "v110")) as file:
        file.attrs.update(attributes)
        for name, group in groups.items():
            _write_group(file, name, group)
    return image.getvalue()


def _write_group(file: h5py.File, name: str, group: Group) -> None:
    # With a dimension scale on every axis.
    allowed = schema.fields(name)
    target = file.create_group(name)
    target.attrs.update(group.attributes)
    lengths = {
        dim: length
        for variable, array in group.items()
        for dim, length in zip(allowed[variable].dims, array.shape, strict=True)
    }
    for variable, array in group.items():
        _write_variable(target, variable, array, allowed[variable])
    for dim, length in lengths.items():
        if dim not in target:
            _write_variable(target, dim, np.arange(length, dtype="i4"), schema.index(dim))
        target[dim].make_scale(dim)
    for variable in group:
        for axis, dim in enumerate(allowed[variable].dims):
            if variable != dim:
                target[variable].dims[axis].attach_scale(target[dim])


def _write_variable(target: h5py.Group, name: str, array: np.ndarray, field: schema.Field) -> None:
    # A chunk cannot be empty, so an empty variable is stored plainly.
    storage: dict[str, Any] = (
        {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True}
        if array.size
        else {}
    )
    data = target.create_dataset(name, data=array, **storage)
    data.attrs.update(field.attributes)


def group_names(file: h5py.File) -> list[str]:
    """The schema's groups that a file holds."""
    names = list(schema.GROUPS)
    for family in schema.FAMILIES:
        if isinstance(file.get(family), h5py.Group):
            names += [f"{family}/{name}" for name in file[family]]
    return [name for name in names if isinstance(file.get(name), h5py.Group)]


def read_group(group: h5py.Group, path: Path, names: Collection[str] = ()) -> Group:
    """Read a group's attributes and variables; of these only the ``names``, if there are any.

    Raises:
        InputError: the data is damaged, or a variable has not the axes that the schema states.
    """
    name = group.name.lstrip("/")
    wanted = names or schema.fields(name)
    with reading(path):
        arrays = {variable: group[variable][()] for variable in group if variable in wanted}
        attributes = plain_attributes(group)
    try:
        return Group(schema.conform(name, arrays), attributes)
    except InputError as error:
        raise InputError(f"{path}: group '{name}' is damaged: {error}") from error
