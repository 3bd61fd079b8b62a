"""One run in one HDF5 file: created, filled unit by unit, read back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from landscape.errors import InputError, LandscapeError
from landscape.files import replacing
from landscape.store import schema
from landscape.store.groups import (
    Attribute,
    Group,
    group_names,
    plain_attributes,
    read_group,
    write_group,
)
from landscape.store.untrusted import open_run
from landscape.store.versions import git_commit, library_versions

if TYPE_CHECKING:
    import xarray


class Run:
    """A run file: its attributes, and the groups measured so far.

    Every ``write`` replaces the file atomically (temporary file in the same folder, fsync,
    rename), so a reader never meets half a file, and a process killed at any moment loses only the
    write it was on. Reading opens the file, takes what was asked for, and closes it: no lock is
    ever held.

    Attributes:
        path: The file.
        attributes: The root attributes, as in ``schema.ATTRIBUTES``.
    """

    def __init__(self, path: Path, attributes: dict[str, Attribute]) -> None:
        self.path = path
        self.attributes = attributes

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], *, overwrite: bool = False, **attributes: Any
    ) -> Run:
        """Start a run file with status ``"running"``.

        Args:
            path: Where; the folder is created. The name must end in ``.h5``.
            overwrite: Replace an existing file.
            **attributes: Any of ``schema.ATTRIBUTES``; mappings and lists are stored as JSON.
                Time, status, versions and git commit are filled in.

        Raises:
            InputError: unknown attribute, a name that is not ``.h5``, a file that exists, or a
                folder that cannot be written.
        """
        path = Path(path)
        unknown = sorted(set(attributes) - set(schema.ATTRIBUTES))
        if unknown:
            raise InputError(
                f"a run file has no attribute '{unknown[0]}'; known: {', '.join(schema.ATTRIBUTES)}"
            )
        ensure_new(path, overwrite=overwrite)
        defaults: dict[str, Attribute] = {
            "schema_name": schema.NAME,
            "schema_version": schema.VERSION,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "running",
            "versions": json.dumps(library_versions()),
            "git_commit": git_commit(),
        }
        given = {
            name: value if isinstance(value, str | int | float) else json.dumps(value)
            for name, value in attributes.items()
        }
        run = cls(path, defaults | given)
        run._save({})
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open an existing run file; nothing but its attributes is read.

        Raises:
            InputError: the file is missing, damaged, not a run, or unsafe to read.
        """
        with open_run(path) as file:
            return cls(Path(path), plain_attributes(file))

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the run, from the JSON attribute ``config``."""
        loaded = json.loads(str(self.attributes.get("config", "{}")))
        return loaded if isinstance(loaded, dict) else {}

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups in the file now, e.g. ``("samples", "surfaces/samples")``."""
        with open_run(self.path) as file:
            return tuple(group_names(file))

    def __contains__(self, group: str) -> bool:
        return group in self.groups

    def __getitem__(self, group: str) -> Group:
        """Read one group.

        Raises:
            KeyError: the file does not hold it (yet).
            InputError: the file can no longer be read.
        """
        return self.read(group)

    def read(self, group: str, *names: str) -> Group:
        """Read one group's attributes, and of its variables only those named that it holds.

        Args:
            group: ``"samples"``, ``"surfaces/random"``, ...
            *names: Variables; all of them if none is named.

        Raises:
            KeyError: the file does not hold the group (yet).
            InputError: the file is damaged, or a variable has not the axes that the schema states.
        """
        with open_run(self.path) as file:
            if group not in group_names(file):
                raise KeyError(group)
            return read_group(file[group], self.path, names)

    def attributes_of(self, group: str) -> Mapping[str, Attribute]:
        """The attributes of one group, and none of its variables.

        Raises:
            KeyError: the file does not hold the group (yet).
            InputError: the file can no longer be read.
        """
        with open_run(self.path) as file:
            if group not in group_names(file):
                raise KeyError(group)
            return plain_attributes(file[group])

    def write(
        self,
        group: str,
        variables: Mapping[str, object],
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Put ``variables`` into ``group`` in place of what it held, and save the file.

        Args:
            group: ``"training"``, ``"samples"``, ``"predictions"`` or ``"surfaces/<name>"``.
            variables: Arrays by name, with the axes that ``schema.fields(group)`` states.
            attributes: Text and numbers about the group.

        Raises:
            InputError: names or shapes that the schema does not allow.
            LandscapeError: the file could not be written; the version on disk is untouched.
        """
        groups = self._read_all()
        groups[group] = Group(schema.conform(group, variables), dict(attributes or {}))
        self._save(groups)

    def set_attributes(self, **attributes: Attribute) -> None:
        """Change root attributes (``status="complete"``, say) and save the file.

        Raises:
            InputError: unknown attribute or status.
            LandscapeError: the file could not be written; the version on disk is untouched.
        """
        unknown = sorted(set(attributes) - set(schema.ATTRIBUTES))
        if unknown:
            raise InputError(f"a run file has no attribute '{unknown[0]}'")
        if attributes.get("status", "running") not in schema.STATUSES:
            raise InputError(f"a run's status is one of {', '.join(schema.STATUSES)}")
        groups = self._read_all()
        self.attributes = self.attributes | attributes
        self._save(groups)

    def to_xarray(self) -> xarray.DataTree:
        """The whole file as an ``xarray.DataTree``, read into memory.

        Raises:
            InputError: xarray or h5netcdf is not installed (``pip install landscape[xarray]``).
        """
        try:
            import h5netcdf  # noqa: F401
            import xarray
        except ImportError as error:
            raise InputError("to_xarray needs 'pip install landscape[xarray]'") from error
        with open_run(self.path):  # xarray opens the file itself; this one only checks it
            pass
        with xarray.open_datatree(self.path, engine="h5netcdf") as tree:
            return tree.load()

    def _read_all(self) -> dict[str, Group]:
        with open_run(self.path) as file:
            return {name: read_group(file[name], self.path) for name in group_names(file)}

    def _save(self, groups: Mapping[str, Group]) -> None:
        # Built in memory: HDF5 does not survive a disk that fills up under an open file.
        with h5py.File(
            self.path.name, "w", driver="core", backing_store=False, libver=("v110", "v110")
        ) as file:
            file.attrs.update(self.attributes)
            for name, group in groups.items():
                write_group(file, name, group)
            file.flush()
            image = file.id.get_file_image()
        try:
            with replacing(self.path) as temporary:
                temporary.write_bytes(image)
        except OSError as error:
            raise LandscapeError(
                f"could not write {self.path}: {error.strerror or error}; what was saved before is "
                "intact"
            ) from error


def ensure_new(path: Path, *, overwrite: bool = False) -> None:
    """Check that a run file can be made at ``path``; its folder is created.

    Raises:
        InputError: a name that is not ``.h5``, a file that exists (unless ``overwrite``), or a
            folder that cannot be written.
    """
    if path.suffix != ".h5":
        raise InputError(f"a run file's name ends in .h5, not '{path.name}'")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: choose another name, or overwrite it")
    ensure_writable(path.parent)


def ensure_writable(folder: Path) -> None:
    """Create ``folder`` if need be and try that a file can be put there.

    Raises:
        InputError: it cannot; the line says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".landscape-probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror or error}; choose another folder"
        ) from error
