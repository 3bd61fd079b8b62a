"""The command line: landscape demo | train | measure | surface | study | inspect | export | app.

Results go to standard output, progress and errors to standard error. The exit code is 0, or 1 when
work that started failed, or 2 when the request was wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.arguments import BUDGET, parse
from landscape.errors import InputError, LandscapeError, LandscapeWarning, printable
from landscape.runtime.memory import keep_freed_memory

if TYPE_CHECKING:
    from torch import nn

    from landscape.posteriors import Posterior
    from landscape.store import Run
    from landscape.tasks import Task

NOTE = """
accuracy, NLL (nats) and ECE: of the samples' average, on the test set. lambda_1 and trace: of the
Hessian on the training set, mean +- standard deviation over samples. One seed ranks no method.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: The command line without the program's name; the process's own if ``None``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        options = parse([argument for argument in given if argument != "--debug"])
        keep_freed_memory()
        _tidy(options)
        with warnings.catch_warnings():
            warnings.showwarning = _say
            COMMANDS[options.command](options)
        sys.stdout.flush()
    except LandscapeError as error:
        if debug:
            raise
        print(f"landscape: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("\nlandscape: stopped; what was finished is in the run files", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read it has read enough: `landscape inspect FILE | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _say(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Our own warnings as a line, and those of others as Python has them."""
    if issubclass(category, LandscapeWarning):
        print(f"landscape: {message}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, *where[:2]))


def _tidy(options: argparse.Namespace) -> None:
    """Remove what killed commands left where this one is at work."""
    from landscape import workflow

    for name in ("file", "path", "folder", "out"):
        there = getattr(options, name, None)
        if isinstance(there, Path) and there.exists():
            workflow.tidy(there if there.is_dir() else there.parent)


def _demo(options: argparse.Namespace) -> None:
    import torch

    from landscape.study.demo import demo, table

    # The network is so small that threads cost more than they bring, above all on a busy machine.
    torch.set_num_threads(1)
    summaries = demo(
        options.out,
        samples=options.samples,
        grid=options.grid,
        epochs=options.epochs,
        seed=options.seed,
        device=options.device,
    )
    if options.json:
        runs = [asdict(summary) for summary in summaries]
        _print_json({"folder": str(options.out.resolve()), "runs": runs})
        return
    print(table(summaries))
    print(NOTE)
    print(f"Results:   {options.out.resolve()}")
    print(f"Dashboard: landscape app {options.out}  ->  http://127.0.0.1:8050")


def _train(options: argparse.Namespace) -> None:
    from landscape.runtime import distributed

    with distributed.started_by_torchrun(options.device) as options.device:
        path = _trained(options)
        if distributed.rank() == 0:
            _report(path, options.json)


def _trained(options: argparse.Namespace) -> Path:
    """Train, and say which run file it went to."""
    from landscape import methods, models, tasks, workflow
    from landscape.objective import subsets
    from landscape.runtime import distributed
    from landscape.runtime.progress import Progress

    task = tasks.load(options.task, **options.task_settings)
    method = methods.create(options.method, **options.method_settings)
    model = models.build(options.model, task, seed=options.seed)
    parameters = subsets.CHOICES[options.parameters](model)
    model, prior, config = _prior(options, model, task)
    if prior is not None and parameters is not None:  # the rest stays at the prior's mean
        model, prior = prior.network(), prior.marginal(parameters)
    name = options.name or f"{options.task}-{options.method}-seed{options.seed}"
    trained = workflow.train(
        options.out / f"{name}.h5",
        task,
        method,
        model,
        prior=prior,
        parameters=parameters,
        samples=options.samples,
        seed=options.seed,
        device=options.device,
        overwrite=options.overwrite,
        config={**config, "parameters": options.parameters},
        progress=Progress(f"{options.method}: training") if distributed.rank() == 0 else None,
    )
    path = trained.run.path
    if trained.before and distributed.rank() == 0:
        print(
            f"landscape: {path} is finished: this training was done before; --overwrite trains "
            "again",
            file=sys.stderr,
        )
    return path


def _prior(
    options: argparse.Namespace, model: nn.Module, task: Task
) -> tuple[nn.Module, Posterior | None, dict[str, Any]]:
    """The network that training starts from, the prior, and what to note of it."""
    from landscape import models, posteriors
    from landscape.posteriors import transfer
    from landscape.runtime.devices import choose_device

    if options.prior is not None and options.source is not None:
        raise InputError("give --prior or --source, not both")
    device = choose_device(options.device)
    if options.prior is not None:
        prior = posteriors.load(options.prior, model, device=device, calibration=task.train)
        return model, prior, {"prior": str(options.prior)}
    if options.source is not None:
        architecture = posteriors.describe(options.source)["architecture"]
        network = models.rebuild(architecture, most=options.source.stat().st_size)
        source = posteriors.load(options.source, network, device=device)
        prior = transfer.adapt(source, model, alpha=options.alpha)
        return prior.network(), prior, {"source": str(options.source), "alpha": options.alpha}
    return model, None, {}


def _measure(options: argparse.Namespace) -> None:
    from landscape import workflow
    from landscape.runtime.executors import workers
    from landscape.runtime.progress import Progress

    trained = workflow.load(options.file, device=options.device)
    settings = {
        name: getattr(options, name)
        for name in (
            "samples",
            "eigenvalues",
            "matrix",
            "tolerance",
            "max_matvecs",
            "trace_matvecs",
            "trace_tolerance",
            "backend",
        )
    }
    settings |= {"density_probes": options.density, "seed": _seed(options, trained.run)}
    surface: dict[str, Any] = {
        "plane": options.plane,
        "samples": options.samples,
        "shape": (options.grid, options.grid),
        "seed": settings["seed"],
        "fresh": options.fresh,
    }
    if options.grid:  # it comes last, hours later
        try:
            workflow.check_surface(trained, **surface)
        except InputError as error:
            raise InputError(f"{error}; or --grid 0 for no surface") from error
    elif options.plane is not None:
        raise InputError("--grid 0 asks for no surface: it takes no --plane")
    bar = Progress("curvature")

    def progress(done: int, total: int, row: dict[str, Any]) -> None:
        bar(done, total, f"lambda_1 {row['eigenvalues'][0]:.3g}")

    with (
        workers(options.workers, options.dask) as executor,
        workflow.in_progress(trained.run, measurement=settings),
    ):
        workflow.measure_curvature(
            trained, fresh=options.fresh, executor=executor, progress=progress, **settings
        )
        if options.grid:
            bar = Progress("loss surface")
            workflow.measure_surface(trained, executor=executor, progress=bar, **surface)
    _report(options.file, options.json)


def _seed(options: argparse.Namespace, run: Run) -> int:
    """By default the run's own: then what is measured are the samples that were averaged."""
    if options.seed is not None:
        return int(options.seed)
    if "seed" not in run.attributes:
        raise InputError(f"{run.path} does not say its seed: give one with --seed")
    return int(run.attributes["seed"])


def _surface(options: argparse.Namespace) -> None:
    from landscape import workflow
    from landscape.runtime.executors import workers
    from landscape.runtime.progress import Progress
    from landscape.surfaces import CURVES

    trained = workflow.load(options.file, device=options.device)
    samples = 30 if options.samples is None else options.samples
    settings = {"split": options.split, "samples": samples, "extent": options.extent}
    settings["seed"] = _seed(options, trained.run)
    if options.margin is not None:
        settings["margin"] = options.margin
    if options.line is not None:
        if options.plane is not None or options.rows is not None:
            raise InputError("--line is in place of a plane: it takes no --plane and no --rows")
        kind = options.line
        if options.samples is not None and kind in ("samples", *CURVES):
            raise InputError(f"--line {kind} is between the first two samples: no --samples")
        settings |= {"kind": kind, "points": options.grid}
    else:
        rows = options.grid if options.rows is None else options.rows
        settings |= {"plane": options.plane, "shape": (rows, options.grid)}
        kind = workflow.check_surface(trained, fresh=options.fresh, **settings)
    training = {"steps": options.steps, "learning_rate": options.learning_rate}
    training = {name: value for name, value in training.items() if value is not None}
    if training and kind not in CURVES:
        raise InputError("--steps and --learning-rate are of a curve: --line bezier or chain")
    settings |= training
    if options.margin is not None and options.extent is not None:
        raise InputError("--extent is in place of --margin: give one of the two")
    if options.margin is not None and kind == "random":
        raise InputError("a random direction has no samples to go by: give --extent, not --margin")
    alone = trained.posterior.num_available(samples) == 1
    if options.margin is not None and kind == "eigenvectors" and alone:
        raise InputError("one sample has no range: give --extent, not --margin")
    with (
        workers(options.workers, options.dask) as executor,
        workflow.in_progress(trained.run, surface=settings),
    ):
        how: dict[str, Any] = {"executor": executor, "fresh": options.fresh}
        if options.line is not None:
            bar = Progress("loss along a line")
            workflow.measure_line(trained, progress=bar, **settings, **how)
        else:
            bar = Progress("loss surface")
            workflow.measure_surface(trained, progress=bar, **settings, **how)
    _report(options.file, options.json)


def _study(options: argparse.Namespace) -> None:
    import torch

    from landscape.study import budget, study

    torch.set_num_threads(1)  # as in the demo
    settings = {name: getattr(options, name) for name in (*BUDGET, "severities", "equal_time")}
    only = None if options.methods is None else options.methods.split(",")
    spent = budget(options.budget, **settings)
    tables = study(
        options.name,
        options.out,
        spent,
        task=options.task,
        model=options.model,
        weights=options.weights,
        device=options.device,
        only=only,
    )
    if options.json:
        found = [asdict(table) for table in tables]
        _print_json({"study": options.name, "budget": asdict(spent), "tables": found})
        return
    print("\n\n".join(table.text() for table in tables))
    print(f"\nSummary:   {(options.out / options.name).resolve()}.md")
    print(f"Dashboard: landscape app {options.out / 'runs'}")


def _inspect(options: argparse.Namespace) -> None:
    _report(options.file, options.json)


def _export(options: argparse.Namespace) -> None:
    from landscape_app import exports

    from landscape.store import Run

    if options.csv is None and options.html is None:
        raise InputError("say what to write: --csv DIR, --html FILE, or both")
    run = None if options.path.is_dir() else Run.open(options.path)
    if options.csv is not None:
        if run is None:
            written, faults = exports.write_folder_csv(options.path, options.csv)
        else:
            written, faults = exports.write_csv(run, options.csv)
        print(*written, sep="\n")
        for fault in faults:
            print(f"landscape: left out: {fault}", file=sys.stderr)
    if options.html is not None:
        if run is None:
            exports.write_report(options.path, options.html)
        else:
            exports.write_run_html(run, options.html)
        print(options.html)


def _app(options: argparse.Namespace) -> None:
    import torch
    from landscape_app import serve

    torch.set_num_threads(1)  # answers come from threads of their own, and compute little
    serve(options.folder, host=options.host, port=options.port, open_browser=options.open)


def _report(path: Path, as_json: bool) -> None:
    """Print what a run file says."""
    from landscape.store import Run, SampleMean, summarise
    from landscape.store.summary import unfinished

    run = Run.open(path)
    summary = summarise(run)
    lacking = unfinished(run)
    if as_json:
        about = {"unfinished": lacking, "attributes": run.attributes | {"config": run.config}}
        _print_json({"file": str(path), **asdict(summary), **about})
        return
    for field in fields(summary):
        value = getattr(summary, field.name)
        if (field.name, value) in (("matrix", None), ("matrix", "hessian"), ("rmse", None)):
            continue
        shown = ", ".join(value) if isinstance(value, tuple) else value
        if isinstance(value, dict):
            shown = ", ".join(f"{name} {barrier:.4g}" for name, barrier in value.items())
        if isinstance(value, SampleMean):
            shown = f"{value}{value.interval()}, n = {value.counted()}"
        print(f"{field.name:22} {'-' if shown in (None, '') else printable(str(shown))}")
    if lacking:
        print(f"{'unfinished':22} {printable(', '.join(lacking))}")
    for name in ("parameter_count", "device", "dtype", "data_fingerprint", "git_commit"):
        print(f"{name:22} {printable(str(run.attributes.get(name, '-')))}")
    print(f"{'file':22} {path.resolve()}")


def _print_json(value: Any) -> None:
    """Strict JSON: what is not a number there is null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


COMMANDS = {
    "demo": _demo,
    "train": _train,
    "measure": _measure,
    "surface": _surface,
    "study": _study,
    "inspect": _inspect,
    "export": _export,
    "app": _app,
}
