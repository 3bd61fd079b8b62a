"""Groups of variables with named axes, to HDF5 and back."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d

from landscape.errors import InputError
from landscape.runtime import limits
from landscape.store import schema, version_1
from landscape.store.untrusted import Attribute, plain_attributes, reading

_INDEX = np.dtype("i4")


@dataclass(frozen=True)
class Group(Mapping[str, np.ndarray]):
    """One group: a mapping from the names of its variables to arrays, with attributes.

    Attributes:
        variables: Arrays by name.
        attributes: Text and numbers about the group.
    """

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

    They are built in memory, because HDF5 fails badly if the disk fills up under an open file.

    Raises:
        InputError: a reader would refuse a file of this size.
    """
    size = sum(_nbytes(name, group) for name, group in groups.items())
    _check_sizes(size, attributes, groups)
    image = _image(attributes, groups, compressed=True)
    if size > limits.max_unpacked(
        len(image), limits.RATIO
    ):  # equal numbers: no reader would believe in so many
        image = _image(attributes, groups, compressed=False)
    return image


def _check_sizes(
    size: int, attributes: Mapping[str, Attribute], groups: Mapping[str, Group]
) -> None:
    if size > limits.MAX_BYTES:
        raise InputError(
            f"a run file holds up to {limits.MAX_BYTES >> 20} MiB, not {-(-size >> 20)}: measure "
            "fewer samples or examples"
        )
    every = [attributes, *(group.attributes for group in groups.values())]
    texts = [sum(len(str(value).encode()) for value in some.values()) for some in every]
    if max(texts) > limits.MAX_ATTRIBUTE_BYTES or sum(texts) > limits.MAX_OVERHEAD // 2:
        raise InputError(
            f"the attributes of a group hold up to {limits.MAX_ATTRIBUTE_BYTES >> 20} MiB, and "
            f"those of a run file {limits.MAX_OVERHEAD >> 21}: give fewer or shorter settings"
        )
    counts = [len(some) for some in every]
    if max(counts) > limits.MAX_ATTRIBUTES or sum(counts) > limits.MAX_ALL_ATTRIBUTES:
        raise InputError(
            f"a group has up to {limits.MAX_ATTRIBUTES:,} attributes, and a run file "
            f"{limits.MAX_ALL_ATTRIBUTES:,}: give fewer"
        )
    for family in schema.FAMILIES:
        if sum(name.startswith(f"{family}/") for name in groups) > limits.MAX_MEMBERS:
            raise InputError(
                f"a run file holds up to {limits.MAX_MEMBERS:,} {family}: use another run file"
            )


def _image(
    attributes: Mapping[str, Attribute], groups: Mapping[str, Group], *, compressed: bool
) -> bytes:
    image = io.BytesIO()
    with h5py.File(image, "w", libver=("v110", "v110")) as file:
        file.attrs.update(attributes)
        for name, group in groups.items():
            _write_group(file, name, group, compressed)
    return image.getvalue()


def _write_group(file: h5py.File, name: str, group: Group, compressed: bool) -> None:
    """Write a group with a dimension scale on every axis."""
    allowed = schema.fields(name)
    target = file.create_group(name)
    target.attrs.update(group.attributes)
    written = {
        variable: _written(target, variable, array, allowed[variable], compressed)
        for variable, array in group.items()
    }
    scales: dict[str, h5py.Dataset] = {}
    for dim, length in _lengths(name, group).items():
        if dim in written:
            scales[dim] = written[dim]
        else:
            index, scale = np.arange(length, dtype=_INDEX), allowed.get(dim) or schema.index(dim)
            scales[dim] = _written(target, dim, index, scale, compressed)
        scales[dim].make_scale(dim)
    for variable, data in written.items():
        for axis, dim in enumerate(allowed[variable].dims):
            if variable != dim:
                data.dims[axis].attach_scale(scales[dim])


def _lengths(name: str, group: Group) -> dict[str, int]:
    """The length of each axis of a group."""
    allowed = schema.fields(name)
    return {
        dim: length
        for variable, array in group.items()
        for dim, length in zip(allowed[variable].dims, array.shape, strict=True)
    }


def _nbytes(name: str, group: Group) -> int:
    """Bytes of a group's variables and of the indices along its axes."""
    indices = sum(length for dim, length in _lengths(name, group).items() if dim not in group)
    return sum(array.nbytes for array in group.values()) + _INDEX.itemsize * indices


def _written(
    target: h5py.Group, name: str, array: np.ndarray, field: schema.Field, compressed: bool
) -> h5py.Dataset:
    storage: dict[str, Any] = {}
    if array.size:  # a chunk cannot be empty
        storage = {"chunks": True, "fletcher32": True}
        storage |= {"compression": "gzip", "shuffle": True} if compressed else {}
    data = target.create_dataset(name, data=array, **storage)
    data.attrs.update(field.attributes)
    return data


def group_names(file: h5py.File) -> list[str]:
    """The schema's groups that a file holds."""
    present = _inner_groups(file)
    names = [name for name in schema.GROUPS if name in present]
    for family in schema.FAMILIES:
        if family in present:
            names += [f"{family}/{name}" for name in _inner_groups(file[family])]
    return names


def _inner_groups(group: h5py.Group) -> list[str]:
    return [name for name in group if group.get(name, getclass=True) is h5py.Group]


def find_group(file: h5py.File, name: str) -> h5py.Group:
    """One of the schema's groups in an open file.

    Raises:
        KeyError: the file does not hold it, or the schema has no such group.
    """
    group = file.get(name) if schema.has_group(name) else None
    if not isinstance(group, h5py.Group):
        raise KeyError(name)
    return group


def read_group(
    group: h5py.Group, path: Path, names: Collection[str] = (), most: int | None = None
) -> Group:
    """Read a group's attributes, and its variables or some of them.

    Args:
        group: The open group.
        path: Path of the file.
        names: Names of variables; all are read if none is given.
        most: Largest number of values to read.

    Raises:
        InputError: the data are damaged, a variable lacks the axes of the schema, or there are
            more values than ``most``.
    """
    name = group.name.lstrip("/")
    known = schema.fields(name)
    with reading(path):
        inside = {version_1.variable_name(f"{name}/{inner}"): inner for inner in group}
        # The low-level interface: all are opened for their shapes, and few of them are read.
        datasets = {
            variable: h5d.open(group.id, inner.encode())
            for variable, inner in inside.items()
            if variable in known
        }
        shapes = {variable: data.shape for variable, data in datasets.items()}
        wanted = {v: data for v, data in datasets.items() if v in names or not names}
        size = sum(math.prod(shapes[variable]) for variable in wanted)
        if most is not None and size > most:
            raise InputError(
                f"{path}: group '{name}' holds {size:,} numbers to draw, and a figure has up to "
                f"{most:,}: not drawn"
            )
        arrays = {variable: h5py.Dataset(data)[()] for variable, data in wanted.items()}
        attributes = version_1.group_attributes(plain_attributes(group))
    try:
        read = schema.conform(name, arrays, shapes)
        schema.check_values(name, read)
        return Group(read, attributes)
    except InputError as error:
        raise InputError(f"{path}: group '{name}' is damaged: {error}") from error
