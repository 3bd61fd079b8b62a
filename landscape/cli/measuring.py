"""The commands ``measure`` and ``surface``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from landscape import workflow
from landscape.cli.options import Dask, Device, Fresh, Json, RunSeed, Workers
from landscape.cli.report import print_run
from landscape.curvature import MEASURES
from landscape.curvature.sharpness.measures import measure_names
from landscape.errors import InputError
from landscape.runtime import distributed
from landscape.runtime.executors import workers
from landscape.store import Run
from landscape.surfaces import CURVES, SHARED_PLANES


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Settings of ``landscape.measure``.

    Attributes:
        samples: Number of posterior samples, by default 30.
        eigenvalues: Number of largest eigenvalues.
        matrix: hessian, gauss-newton or empirical-fisher.
        method: double-backward, or finite-difference for a network with an operation that has no
            second derivative.
        tolerance: Relative residual of the eigenvalues.
        max_matvecs: Largest number of matrix-vector products for the eigenvalues of a sample.
        trace_matvecs: Number of matrix-vector products for a trace; by default 30.
        trace_tolerance: Relative standard error of the trace to reach.
        density_probes: Number of probes of the spectral density; 0 for no density.
        sharpness: Further measures of flatness, with commas between their names, or 'all'; see
            docs/flatness.md.
        backend: lanczos or pyhessian.
    """

    samples: int | None = None
    eigenvalues: int = 5
    matrix: str = "hessian"
    method: str = "double-backward"
    tolerance: float = 1e-3
    max_matvecs: int | None = None
    trace_matvecs: int | None = None
    trace_tolerance: float | None = None
    density_probes: Annotated[int, Parameter(name="--density")] = 0
    sharpness: str | None = None
    backend: str = "lanczos"


_MEASUREMENT = Measurement()


def measure(
    file: Path,
    /,
    *,
    measurement: Measurement = _MEASUREMENT,
    along: bool = False,
    plane: str | None = None,
    grid: int = 41,
    processes: Workers = 0,
    dask: Dask = None,
    fresh: Fresh = False,
    seed: RunSeed = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure a trained run: curvature and a loss surface.

    Started by torchrun, its processes divide the data among them; with --workers or --dask
    processes divide the samples.

    Args:
        file: Run file (.h5), beside its posterior.
        along: Measure the weights along the training, as kept by 'landscape train --record', in
            place of the posterior's samples.
        plane: Plane of the surface; see 'landscape surface --help'.
        grid: Number of points along each side of the surface; 0 for no surface.
    """
    with _sharing(device, processes, dask, measurement) as where:
        trained = workflow.load(file, device=where)
        seed = _seed(seed, trained.run)
        settings = {**asdict(measurement), "seed": seed}
        settings["samples"] = 30 if measurement.samples is None else measurement.samples
        settings["sharpness"] = _measures(measurement.sharpness)
        if along:
            if measurement.samples is not None or plane is not None:
                raise InputError(
                    "--along measures all weights along the training: no --samples, no --plane"
                )
            trained = workflow.along_training(trained)
            settings["samples"] = trained.posterior.num_available(0)
        surface: dict[str, Any] = {
            "plane": plane,
            "samples": settings["samples"],
            "shape": (grid, grid),
            "seed": seed,
            "fresh": fresh,
        }
        if grid:  # the surface comes last, hours later
            try:
                workflow.check_surface(trained, **surface)
            except InputError as error:
                raise InputError(f"{error}; or --grid 0 for no surface") from error
        elif plane is not None:
            raise InputError("--grid 0 asks for no surface: it takes no --plane")
        with (
            workers(processes, dask) as executor,
            workflow.in_progress(trained.run, **{"along" if along else "measurement": settings}),
        ):
            how: dict[str, Any] = {"executor": executor, "progress": True}
            workflow.measure_curvature(trained, fresh=fresh, **settings, **how)
            if grid:
                workflow.measure_surface(trained, **surface, **how)
        if distributed.rank() == 0:
            print_run(file, as_json)


def surface(
    file: Path,
    /,
    *others: Path,
    plane: str | None = None,
    line: str | None = None,
    split: str = "train",
    samples: int | None = None,
    grid: int = 41,
    rows: int | None = None,
    margin: float | None = None,
    extent: float | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    processes: Workers = 0,
    dask: Dask = None,
    fresh: Fresh = False,
    seed: RunSeed = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Evaluate the loss of a trained run on a plane or along a line, or of several on one plane.

    Args:
        file: Run file (.h5), beside its posterior.
        others: More runs of the same network, for a plane that they share.
        plane: samples, pca, random or eigenvectors. The default is samples, or random if there are
            fewer than three samples. Or trajectory, the principal directions of the weights along
            the training, as kept by 'landscape train --record'. For several runs: shared, along
            the principal directions of all their samples, or means, through their means.
        line: Line in place of a plane: samples, pca, random or eigenvectors; or a curve of low
            loss between two samples, bezier or chain.
        split: Data to evaluate: train or test.
        samples: Number of samples that are shown on the plane, or that a line goes by; by default
            30.
        grid: Number of points along x.
        rows: Number of points along y; by default as many as along x.
        margin: Margin beyond the samples, relative to their range. The default is 0.5 for a plane
            and 0 for a line.
        extent: Half the width, in place of the margin.
        steps: Number of training steps of a curve; by default 500.
        learning_rate: Learning rate of a curve; by default 0.02.
    """
    trained = workflow.load(file, device=device)
    if plane == "trajectory" and line is None:
        if samples is not None:
            raise InputError(
                "--plane trajectory takes all weights along the training: no --samples"
            )
        trained, plane = workflow.along_training(trained), None
    count = 30 if samples is None else samples
    settings: dict[str, Any] = {"split": split, "samples": count, "extent": extent}
    settings["seed"] = _seed(seed, trained.run)
    if margin is not None:
        settings["margin"] = margin
    if others or plane in SHARED_PLANES:
        if line is not None or steps is not None or learning_rate is not None:
            raise InputError(
                "several runs share a plane, not a line: no --line and no options of it"
            )
        runs = [trained, *(workflow.load(path, device=device) for path in others)]
        settings |= {"plane": plane or "shared", "shape": (grid if rows is None else rows, grid)}
        with ExitStack() as stack:
            executor = stack.enter_context(workers(processes, dask))
            for one in runs:
                stack.enter_context(workflow.in_progress(one.run, surface=settings))
            workflow.measure_shared_surface(
                runs, executor=executor, fresh=fresh, progress=True, **settings
            )
        for path in (file, *others):
            print_run(path, as_json)
        return
    if line is None:
        settings |= {"plane": plane, "shape": (grid if rows is None else rows, grid)}
        kind: str = workflow.check_surface(trained, fresh=fresh, **settings)
    else:
        kind = line
        if plane is not None or rows is not None:
            raise InputError("--line is in place of a plane: it takes no --plane and no --rows")
        if samples is not None and kind in ("samples", *CURVES):
            raise InputError(f"--line {kind} is between the first two samples: no --samples")
        settings |= {"kind": kind, "points": grid}
    training = {"steps": steps, "learning_rate": learning_rate}
    training = {name: value for name, value in training.items() if value is not None}
    if training and kind not in CURVES:
        raise InputError("--steps and --learning-rate are of a curve: --line bezier or chain")
    settings |= training
    if margin is not None:
        if extent is not None:
            raise InputError("--extent is in place of --margin: give one of the two")
        if kind == "random":
            raise InputError("a random direction has no range: give --extent, not --margin")
        if kind == "eigenvectors" and trained.posterior.num_available(count) == 1:
            raise InputError("one sample has no range: give --extent, not --margin")
    with (
        workers(processes, dask) as executor,
        workflow.in_progress(trained.run, surface=settings),
    ):
        evaluate = workflow.measure_surface if line is None else workflow.measure_line
        evaluate(trained, executor=executor, fresh=fresh, progress=True, **settings)
    print_run(file, as_json)


@contextmanager
def _sharing(
    device: str, processes: int, dask: str | None, measurement: Measurement
) -> Iterator[str]:
    """Share the data among the processes of ``torchrun``, if it started this one.

    Yields:
        The device of this process.

    Raises:
        InputError: the work is also to be divided by samples, or cannot be shared.
    """
    with distributed.started_by_torchrun(device) as where:
        if distributed.count() == 1:
            yield where
            return
        if processes or dask is not None:
            raise InputError(
                "torchrun divides the data among its processes, --workers and --dask the samples: "
                "use one of the two"
            )
        if measurement.sharpness or measurement.backend != "lanczos":
            raise InputError(
                "torchrun divides eigenvalues, trace, density and surfaces: measure --sharpness, "
                "and with --backend pyhessian, in one process or with --workers"
            )
        with distributed.sharing():
            yield where


def _measures(names: str | None) -> list[str]:
    """Names of measures from the command line.

    Raises:
        InputError: a name is unknown.
    """
    if names == "all":
        return list(MEASURES)
    return measure_names([name.strip() for name in names.split(",")] if names else [])


def _seed(seed: int | None, run: Run) -> int:
    """The seed, by default that of the run: its samples are the ones that were averaged."""
    if seed is not None:
        return seed
    if "seed" not in run.attributes:
        raise InputError(f"{run.path} does not say its seed: give one with --seed")
    return int(run.attributes["seed"])
