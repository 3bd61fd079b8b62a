"""The view on the screen as an address, which is the only state of the pages.

``/surface?run=swag&run=fp-bma&view=3d&pick=swag:0,4`` is the surface page of two runs in 3D, with
two samples highlighted. An empty ``run=`` is the place of a removed run: the other runs keep their
colours and markers. Every control is a link to another such address. The address is therefore a
permalink, and the browser's Back button undoes a choice. The browser itself adds the parts that the
server does not need: the camera, and the order and filters of the list (``assets/address.js``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, quote, unquote, urlencode

MOST_RUNS = 4
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "view": ("contour", "3d"),
    "value": ("loss", "accuracy", "gap", "difference"),
    "loss": ("auto", "linear", "log"),
    "ranges": ("colours", "all", "nothing"),
    "eigenvalues": ("auto", "linear", "log"),
    "time": ("epoch", "seconds"),
    "of": ("runs", "samples"),
    "xscale": ("auto", "linear", "log"),
    "yscale": ("auto", "linear", "log"),
    "axscale": ("auto", "linear", "log"),
}
"""Settings with a fixed choice of values. The first value is the default."""

TEXTS = ("in", "with", "x", "y", "hue", "columns", "axes")
"""Settings with any text: folders, and names of numbers and of settings."""

_SAFE = ":,"


@dataclass(frozen=True)
class View:
    """The page to show, and all choices on it.

    Attributes:
        page: First part of the path; ``""`` for the list of runs.
        name: ``NAME`` in ``/run/NAME``, the page of one run; otherwise the rest of the path.
        runs: Names of the compared runs, at most ``MOST_RUNS``, in the order of their places.
        places: Number below ``MOST_RUNS`` of each run, for its colour and marker. A run keeps its
            place when other runs are added or removed. By default 0, 1, 2, ...
        by: Names of settings. Runs with the same values of them are a group, and figures show
            groups in place of runs.
        groups: Labels of the groups to show; none for all.
        where: Conditions ``setting:value`` on the runs that are compared.
        texts: Values of ``TEXTS``.
        plane: Name of the surface; ``""`` for the first one.
        settings: Values of ``SETTINGS`` that differ from the default.
        picked: Samples to highlight, by the name of their run.
        at: Point of the surface, (x, y), through which it is sliced.
    """

    page: str = ""
    name: str = ""
    runs: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    by: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    plane: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    picked: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    at: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.places:
            object.__setattr__(self, "places", tuple(range(len(self.runs))))

    @classmethod
    def parse(cls, address: str) -> View:
        """Parse an address; unknown parts of the query are ignored.

        Examples:
            >>> View.parse("/surface?run=a&run=b&view=3d&pick=b:4,0").picked
            {'b': (0, 4)}
        """
        path, _, query = address.partition("?")
        page, _, name = path.strip("/").partition("/")
        runs: list[str] = []
        settings: dict[str, str] = {}
        picked: dict[str, tuple[int, ...]] = {}
        plane = ""
        by: tuple[str, ...] = ()
        groups: list[str] = []
        where: list[str] = []
        texts: dict[str, str] = {}
        at: tuple[float, float] | None = None
        for key, value in parse_qsl(query.removeprefix("?"), keep_blank_values=True):
            if key == "run" and (not value or value not in runs):
                runs.append(value)
            elif key == "plane":
                plane = value
            elif key == "by":
                by = tuple(dict.fromkeys(filter(None, value.split(","))))
            elif key == "group" and value not in groups:
                groups.append(value)
            elif key == "where" and value not in where:
                where.append(value)
            elif key in TEXTS and value:
                texts[key] = value
            elif key == "at":
                at = _point(value)
            elif key == "pick":
                run, _, numbers = value.rpartition(":")
                picked[run] = _indices(numbers)
            elif value in SETTINGS.get(key, ())[1:]:
                settings[key] = value
        taken = {place: run for place, run in enumerate(runs[:MOST_RUNS]) if run}
        picked = {run: picked[run] for run in taken.values() if picked.get(run)}
        chosen, places = tuple(taken.values()), tuple(taken)
        return cls(
            page,
            unquote(name),
            chosen,
            places,
            by=by,
            groups=tuple(groups) if by else (),
            where=tuple(where),
            texts=texts,
            plane=plane,
            settings=settings,
            picked=picked,
            at=at,
        )

    @property
    def address(self) -> str:
        """The address that ``parse`` turns into this view."""
        path = "/" + self.page + (f"/{quote(self.name, safe='')}" if self.name else "")
        return path + self.query

    @property
    def query(self) -> str:
        """The query of the address, with the question mark; empty if there is no query."""
        taken = dict(zip(self.places, self.runs, strict=True))
        parts = [("run", taken.get(place, "")) for place in range(max(taken, default=-1) + 1)]
        parts += [("by", ",".join(self.by))] if self.by else []
        parts += [("group", label) for label in self.groups]
        parts += [("where", condition) for condition in self.where]
        parts += self.texts.items()
        parts += [("plane", self.plane)] if self.plane else []
        parts += self.settings.items()
        parts += [("at", f"{self.at[0]:g},{self.at[1]:g}")] if self.at else []
        parts += [
            ("pick", f"{run}:{','.join(map(str, samples))}") for run, samples in self.picked.items()
        ]
        return "?" + urlencode(parts, safe=_SAFE) if parts else ""

    def setting(self, name: str) -> str:
        """The value of one of ``SETTINGS``."""
        return self.settings.get(name, SETTINGS[name][0])

    def log(self, name: str) -> bool | None:
        """Whether a scale is logarithmic; None if the numbers decide it."""
        value = self.setting(name)
        return None if value == "auto" else value == "log"

    def place(self, run: str) -> int:
        """The place of one of ``runs``, a number below ``MOST_RUNS``."""
        return self.places[self.runs.index(run)]

    def in_folder(self, name: str) -> View:
        """The list of a folder inside the served one; of that itself if the name is empty."""
        return View(texts={"in": name} if name else {})

    def with_folders(self, names: Iterable[str]) -> View:
        """This view with the runs of these folders beside those of the folder itself."""
        others = {key: text for key, text in self.texts.items() if key != "with"}
        added = {"with": ",".join(names)}
        return replace(self, texts=others | {key: text for key, text in added.items() if text})

    def set(self, name: str, value: str) -> View:
        """This view with another value of one of ``SETTINGS``."""
        others = {key: other for key, other in self.settings.items() if key != name}
        return replace(
            self, settings=others if value == SETTINGS[name][0] else {**others, name: value}
        )

    def on(self, page: str, name: str = "") -> View:
        """The same choices on another page."""
        return replace(self, page=page, name=name)

    def toggle(self, run: str) -> View:
        """This view without ``run``, or with it in the first free place if it was not chosen."""
        taken = dict(zip(self.places, self.runs, strict=True))
        if run in self.runs:
            del taken[self.place(run)]
        else:
            taken[next(place for place in range(MOST_RUNS) if place not in taken)] = run
        places = tuple(sorted(taken))
        runs = tuple(taken[place] for place in places)
        picked = {name: samples for name, samples in self.picked.items() if name in runs}
        return replace(self, runs=runs, places=places, picked=picked)

    def show_groups(self, labels: Iterable[str]) -> View:
        """This view with only these groups, or with all of them if there are none."""
        return replace(self, groups=tuple(labels))

    def slice_at(self, point: tuple[float, float] | None) -> View:
        """This view with surfaces sliced through ``point``, or not sliced if it is None."""
        return replace(self, at=point)

    def pick(self, picked: Mapping[str, tuple[int, ...]]) -> View:
        """This view with only these samples highlighted."""
        return replace(
            self,
            picked={run: tuple(sorted(set(picked[run]))) for run in self.runs if picked.get(run)},
        )


def _point(text: str) -> tuple[float, float] | None:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def _indices(text: str) -> tuple[int, ...]:
    parts = {part for part in text.split(",") if part.isascii() and part.isdigit()}
    return tuple(sorted({int(part) for part in parts if len(part) < 7}))
