"""One run in one HDF5 file: created, filled unit by unit, read back."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import InputError
from landscape.runtime.files import atomic_write
from landscape.runtime.json_text import parse_object
from landscape.store import schema, version_1
from landscape.store.groups import (
    Group,
    file_image,
    find_group,
    group_names,
    read_group,
)
from landscape.store.untrusted import Attribute, open_run, plain_attributes, reading
from landscape.store.versions import git_commit, library_versions

if TYPE_CHECKING:
    import h5py
    import xarray

Contents = tuple[Mapping[str, object], Mapping[str, Attribute]]
"""Variables and attributes of a group."""


class Run:
    """A run file: its attributes, and the groups measured so far.

    Every ``write`` replaces the file atomically (``runtime.files``): a reader never reads half a
    file, and a process that is killed loses only its last write. Two processes may fill one file,
    group by group. Reading opens the file, reads what is asked for and closes it, so that a writer
    never waits. A file of schema version 1 is read with the names of version 2, and a write makes
    it version 2.

    Attributes:
        path: Path of the file.
        attributes: Root attributes, as in ``schema.ATTRIBUTES``.
        name: Name of the run, that of the file without its ending; a reader of several folders
            may give it another.
    """

    def __init__(self, path: Path, attributes: dict[str, Attribute]) -> None:
        self.path, self.name = path, path.stem
        self.attributes = attributes

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        groups: Mapping[str, Contents] | None = None,
        **attributes: Any,
    ) -> Run:
        """Start a run file, with status ``"running"`` unless another is given.

        Args:
            path: Path of the file, ending in ``.h5``; its folder is created.
            overwrite: Whether to replace an existing file.
            groups: First contents, by the names of the groups; see ``write``.
            **attributes: Any of ``schema.ATTRIBUTES``; mappings and lists are stored as JSON.
                Time, status, versions and git commit are added.

        Raises:
            InputError: an unknown attribute, variables that the schema does not allow, a name that
                is not ``.h5``, a file that exists, or a folder that cannot be written.
            LandscapeError: the file could not be written.
        """
        path = Path(path)
        given = schema.root_attributes(attributes)
        ensure_new(path, overwrite=overwrite)
        defaults: dict[str, Attribute] = {
            "schema_name": schema.NAME,
            "schema_version": schema.VERSION,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "running",
            "versions": json.dumps(library_versions()),
            "git_commit": git_commit(),
        }
        run = cls(path, defaults | given)
        filled = {name: _group(name, *filling) for name, filling in (groups or {}).items()}
        with atomic_write(path) as temporary:
            temporary.write_bytes(file_image(run.attributes, filled))
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open a run file and read its attributes.

        Raises:
            InputError: the file is missing, damaged, not a run, or unsafe to read.
        """
        with open_run(path) as file:
            return cls.of(file, Path(path))

    @classmethod
    def of(cls, file: h5py.File, path: Path) -> Run:
        """The run of an open file.

        Raises:
            InputError: the file is damaged.
        """
        with reading(path):
            return cls(path, version_1.root_attributes(plain_attributes(file)))

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the run, from the JSON attribute ``config``.

        Raises:
            InputError: the attribute is not a JSON object.
        """
        text = str(self.attributes.get("config", "{}"))
        return parse_object(text, f"{self.path}: the attribute 'config'")

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups in the file now, e.g. ``("samples", "surfaces/samples")``."""
        with open_run(self.path) as file:
            return tuple(group_names(file))

    def __contains__(self, group: str) -> bool:
        with open_run(self.path) as file, suppress(KeyError):
            find_group(file, group)
            return True
        return False

    def __getitem__(self, group: str) -> Group:
        """Read one group.

        Raises:
            KeyError: the file does not hold it (yet).
            InputError: the file can no longer be read.
        """
        return self.read(group)

    def read(self, group: str, *names: str, most: int | None = None) -> Group:
        """Read the attributes of one group, and its variables or some of them.

        Args:
            group: Name of the group, such as ``"samples"`` or ``"surfaces/random"``.
            *names: Names of variables; all are read if none is given.
            most: Largest number of values to read.

        Raises:
            KeyError: the file does not hold the group (yet).
            InputError: the file is damaged, a variable lacks the axes of the schema, or there are
                more values than ``most``.
        """
        with open_run(self.path) as file:
            return read_group(find_group(file, group), self.path, names, most)

    def attributes_of(self, group: str) -> Mapping[str, Attribute]:
        """The attributes of one group.

        Raises:
            KeyError: the file does not hold the group (yet).
            InputError: the file can no longer be read.
        """
        with open_run(self.path) as file:
            opened = find_group(file, group)
            with reading(self.path):
                return version_1.group_attributes(plain_attributes(opened))

    def write(
        self,
        group: str,
        variables: Mapping[str, object],
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Replace the contents of one group, and save the file.

        Args:
            group: One of ``schema.GROUPS``, or ``"surfaces/<name>"``.
            variables: Arrays by name, with the axes that ``schema.fields(group)`` states.
            attributes: Text and numbers about the group.

        Raises:
            InputError: names or shapes that the schema does not allow.
            LandscapeError: the file could not be written; the one on disk is unchanged.
        """
        self._update({group: _group(group, variables, attributes or {})}, {})

    def set_attributes(self, **attributes: Any) -> None:
        """Change root attributes, such as ``status="complete"``, and save the file.

        Raises:
            InputError: unknown attribute or status.
            LandscapeError: the file could not be written; the one on disk is unchanged.
        """
        self._update({}, schema.root_attributes(attributes))

    def to_xarray(self) -> xarray.DataTree:
        """The file as an ``xarray.DataTree`` in memory, the same as by ``open_datatree``.

        Raises:
            InputError: xarray is not installed (``pip install xarray h5netcdf``), or the file is
                damaged.
        """
        try:
            import xarray
        except ImportError as error:
            raise InputError("to_xarray needs 'pip install xarray h5netcdf'") from error
        attributes, groups = self._contents()
        # xarray's own reader would follow the links in a file from anybody.
        nodes = {"/": xarray.Dataset(attrs=attributes)}
        for name, group in groups.items():
            fields = schema.fields(name)
            dataset = xarray.Dataset(
                {
                    variable: (fields[variable].dims, array, fields[variable].attributes)
                    for variable, array in group.items()
                },
                attrs=group.attributes,
            )
            indices = {
                dim: (dim, np.arange(length, dtype="i4"), schema.index(str(dim)).attributes)
                for dim, length in dataset.sizes.items()
                if dim not in dataset
            }
            nodes[name] = dataset.assign_coords(indices)
        return xarray.DataTree.from_dict(nodes)

    def _contents(self) -> tuple[dict[str, Attribute], dict[str, Group]]:
        with open_run(self.path) as file:
            with reading(self.path):
                attributes = version_1.root_attributes(plain_attributes(file))
            return attributes, {
                name: read_group(file[name], self.path) for name in group_names(file)
            }

    def _update(self, groups: Mapping[str, Group], attributes: Mapping[str, Attribute]) -> None:
        # Another process may have filled another group meanwhile.
        with atomic_write(self.path) as temporary:
            old_attributes, old_groups = self._contents()
            self.attributes = old_attributes | dict(attributes) | {"schema_version": schema.VERSION}
            temporary.write_bytes(file_image(self.attributes, old_groups | dict(groups)))


def _group(
    name: str, variables: Mapping[str, object], attributes: Mapping[str, Attribute]
) -> Group:
    plain = {key: schema.attribute(key, value) for key, value in attributes.items()}
    return Group(schema.conform(name, variables), plain)


def ensure_new(path: Path, *, overwrite: bool = False) -> None:
    """Check that a run file can be made at ``path``; its folder is created.

    Raises:
        InputError: a name that is not ``.h5``, a file that exists (unless ``overwrite``), or a
            folder that cannot be written.
    """
    if path.suffix != ".h5":
        raise InputError(f"a run file's name ends in .h5, not '{path.name}'")
    try:
        exists = path.exists()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    if exists and not overwrite:
        raise InputError(f"{path} exists: choose another name, or overwrite it")
    ensure_writable(path.parent)


def ensure_writable(folder: Path) -> None:
    """Create ``folder`` if it is missing, and check that a file can be written there.

    Raises:
        InputError: it cannot; the message says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror or error}; choose another folder"
        ) from error
