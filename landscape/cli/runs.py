"""The commands ``inspect``, ``export`` and ``app``, which read runs."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from landscape.cli.options import Json
from landscape.cli.report import print_run
from landscape.errors import InputError
from landscape.runtime.progress import say
from landscape.store import Run


def inspect(file: Path, /, *, as_json: Json = False) -> None:
    """Say what a run file holds.

    Args:
        file: Run file (.h5).
    """
    print_run(file, as_json)


def export(
    path: Path,
    /,
    *others: Path,
    csv: Path | None = None,
    html: Path | None = None,
    figure: str | None = None,
    out: Path | None = None,
    file_format: Annotated[str, Parameter(name="--format")] = "pdf",
    width: str = "84mm",
    no_titles: bool = False,
    by: str | None = None,
    choices: str = "",
) -> None:
    """Write figures and their numbers to files, for runs or folders of runs.

    Args:
        path: Run file (.h5), or a folder of run files.
        others: More run files and folders, for --figure.
        csv: Folder for the numbers of each figure and run.
        html: File for one self-contained page.
        figure: Figures for a paper, as in the dashboard: surface, spread, ..., or all. An unknown
            name lists them.
        out: Folder for these figures, or a file that ends in .zip; by default figures.
        file_format: Formats of these figures: pdf, svg, png.
        width: Width of these figures, in which their text has 8 points: 84mm is one column, 174mm
            are two.
        no_titles: Leave out titles and details. The file captions.txt has them.
        by: Settings that make groups of runs. More than four runs are grouped by the names of
            their files without the seed.
        choices: More choices as in the dashboard's address: 'view=3d&plane=pca&at=0,0'.
    """
    if csv is None and html is None and figure is None:
        raise InputError("say what to write: --csv DIR, --html FILE, --figure NAME, or several")
    if others and (csv is not None or html is not None):
        raise InputError("--csv and --html take one run or one folder; --figure takes several")
    if figure is not None:
        _export_figures(
            (path, *others),
            _listed(figure),
            _listed(file_format),
            out=Path("figures") if out is None else out,
            width=width,
            titles=not no_titles,
            by=by,
            choices=choices,
        )
    elif out is not None:
        raise InputError("--out is for --figure")
    if csv is None and html is None:
        return
    from landscape_app import exports

    run = None if path.is_dir() else Run.open(path)
    if csv is not None:
        if run is None:
            written, faults = exports.write_folder_csv(path, csv)
        else:
            written, faults = exports.write_csv(run, csv)
        _report(written, faults)
    if html is not None:
        if run is None:
            exports.write_report(path, html)
        else:
            exports.write_run_html(run, html)
        print(html)


def _export_figures(
    paths: Sequence[Path],
    names: Sequence[str],
    formats: Sequence[str],
    *,
    out: Path,
    width: str,
    titles: bool,
    by: str | None,
    choices: str,
) -> None:
    from landscape_app import drawings, paper
    from landscape_app.url import View

    for name in formats:
        if name not in paper.FORMATS:
            raise InputError(f"there is no format '{name}': known are {', '.join(paper.FORMATS)}")
    view = View.parse(f"/?{choices}")
    if by is not None:
        view = replace(view, by=tuple(_listed(by)))
    written, faults = paper.write_figures(
        paths,
        out,
        drawings.chosen_names(names),
        formats=formats,
        width=paper.width_of(width),
        titles=titles,
        view=view,
    )
    _report(written, faults)


def _report(written: Sequence[Path], faults: Sequence[InputError]) -> None:
    """Print the files that were written, and what was left out."""
    print(*written, sep="\n")
    for fault in faults:
        say(f"landscape: left out: {fault}")


def _listed(text: str) -> list[str]:
    """The names in a text with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def app(
    folder: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8050,
    open_browser: Annotated[bool, Parameter(name="--open")] = False,
    prefix: str | None = None,
    token: str = "",
    allow_host: list[str] | None = None,
    frame_ancestor: list[str] | None = None,
) -> None:
    """Look at the runs of a folder in the browser.

    Args:
        folder: Folder of run files.
        host: Address to listen on.
        port: Port to listen on.
        open_browser: Open the browser.
        prefix: Path under which a proxy shows the dashboard, such as /user/me/proxy/8050/. By
            default that of JupyterHub or code-server, if the command runs there.
        token: Secret that the first address has to hold; 'auto' makes one.
        allow_host: Another name by which browsers reach this machine.
        frame_ancestor: Site whose pages may show the dashboard in a frame.
    """
    from landscape_app import serve
    from landscape_app.access import Access, proxy_prefix

    torch.set_num_threads(1)  # each answer has a thread of its own, and computes little
    access = Access(
        prefix=proxy_prefix(port) if prefix is None else prefix,
        token=secrets.token_urlsafe(24) if token == "auto" else token,
        hosts=tuple(name.lower() for name in allow_host or ()),
        ancestors=tuple(frame_ancestor or ()),
    )
    serve(folder, host=host, port=port, open_browser=open_browser, access=access)
