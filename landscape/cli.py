"""The command line: landscape demo | train | measure | inspect | app.

Results go to standard output, progress and errors to standard error. The exit code is 0, or 1 when
work that started failed, or 2 when the request was wrong.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from landscape.errors import InputError, LandscapeError

NOTE = """
accuracy, NLL (nats) and ECE: of the samples' average, on the test set. lambda_1 and trace: of the
Hessian on the training set, mean +- standard deviation over samples. One seed ranks no method.
"""
EPILOG = "'landscape train TASK METHOD --help' lists the settings of a task and a method."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: The command line without the program's name; the process's own if ``None``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        run, options = _parse([argument for argument in given if argument != "--debug"])
        run(options)
    except LandscapeError as error:
        if debug:
            raise
        print(f"landscape: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("\nlandscape: stopped; what was finished is in the run files", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see '{self.prog} --help')")


Command = Callable[[argparse.Namespace], None]


def _parse(arguments: list[str]) -> tuple[Command, argparse.Namespace]:
    parser = _Parser(
        prog="landscape",
        description="Train Bayesian neural networks with flat posteriors and measure how flat.",
        epilog=f"{EPILOG} --debug shows the traceback of an error.",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    def command(name: str, run: Command, summary: str, **settings: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary, **settings)
        added.set_defaults(run=run)
        return added

    demo = command("demo", _demo, "pretrain, transfer and compare on the embedded digits")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for the results")
    demo.add_argument("--samples", type=int, default=10, help="posterior samples (default: 10)")
    demo.add_argument("--grid", type=int, default=31, help="points a side of the surface")
    demo.add_argument("--epochs", type=int, help="epochs of every method, for a shorter run")
    _add_common(demo)

    train = command("train", _train, "train a posterior", epilog=EPILOG, add_help=False)
    train.add_argument("task", nargs="?")
    train.add_argument("method", nargs="?")

    measure = command("measure", _measure, "measure a trained run: curvature and a loss surface")
    measure.add_argument("file", type=Path, help="the run file (.h5), beside its posterior")
    measure.add_argument("--samples", type=int, default=30, help="posterior samples (default: 30)")
    measure.add_argument("--eigenvalues", type=int, default=5, help="how many (default: 5)")
    measure.add_argument("--tolerance", type=float, default=1e-3, help="relative residual")
    measure.add_argument("--trace-products", type=int, default=30, help="Hessian products a trace")
    measure.add_argument("--backend", default="lanczos", help="lanczos (default) or pyhessian")
    measure.add_argument("--plane", help="samples or random (default: by the posterior)")
    measure.add_argument("--grid", type=int, default=41, help="points a side; 0 for no surface")
    _add_common(measure)

    show = command("inspect", _inspect, "say what a run file holds")
    show.add_argument("file", type=Path)
    show.add_argument("--json", action="store_true", help="for machines")

    app = command("app", _app, "look at the runs of a folder in the browser")
    app.add_argument("folder", type=Path)
    app.add_argument("--host", default="127.0.0.1", help="address to listen on")
    app.add_argument("--port", type=int, default=8050)
    app.add_argument("--open", action="store_true", help="open the browser")

    options, rest = parser.parse_known_args(arguments)
    if options.command == "train":
        return options.run, _parse_train(options.task, options.method, rest)
    if rest:
        parser.error(f"unknown argument '{rest[0]}'")
    return options.run, options


def _parse_train(task: str | None, method: str | None, rest: list[str]) -> argparse.Namespace:
    """The options of ``train``, which depend on the task and the method."""
    from landscape.methods import METHODS, create
    from landscape.models import MODELS
    from landscape.tasks import TASKS

    parser = _Parser(prog=f"landscape train {task or 'TASK'} {method or 'METHOD'}")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for the results")
    parser.add_argument("--name", help="of the run (default: TASK-METHOD-seedSEED)")
    parser.add_argument("--model", default="convnet", help=f"one of {', '.join(MODELS)}")
    parser.add_argument("--prior", type=Path, help="a posterior's file (.safetensors)")
    parser.add_argument("--samples", type=int, default=30, help="to average predictions over")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing run")
    _add_common(parser)
    if task is None or method is None:
        if set(rest) & {"-h", "--help"}:
            parser.epilog = f"{EPILOG} Tasks: {', '.join(TASKS)}. Methods: {', '.join(METHODS)}."
            parser.parse_args(["--help"])
        raise InputError(
            f"train needs a task ({', '.join(TASKS)}) and a method ({', '.join(METHODS)})"
        )
    if task not in TASKS:
        raise InputError(f"unknown task '{task}'; known: {', '.join(TASKS)}")
    if method not in METHODS:
        create(method)  # says which there are
    parameters = inspect.signature(TASKS[task]).parameters.values()
    of_task = [(p.name, p.default) for p in parameters if p.name != "seed"]
    of_method = [(field.name, field.default) for field in fields(METHODS[method])]
    _add_settings(parser, f"settings of {task}", get_type_hints(TASKS[task]), of_task)
    _add_settings(parser, f"settings of {method}", get_type_hints(METHODS[method]), of_method)
    options = parser.parse_args(rest)
    options.task, options.method = task, method
    options.task_settings = {name: getattr(options, name) for name, _ in of_task}
    if any(p.name == "seed" for p in parameters):
        options.task_settings["seed"] = options.seed
    options.method_settings = {name: getattr(options, name) for name, _ in of_method}
    return options


def _add_settings(
    parser: argparse.ArgumentParser,
    title: str,
    types: dict[str, type],
    settings: list[tuple[str, Any]],
) -> None:
    group = parser.add_argument_group(title)
    for name, default in settings:
        flag = f"--{name.replace('_', '-')}"
        if types[name] is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
        else:
            shown = f"default: {default}"
            group.add_argument(flag, type=types[name], default=default, help=shown, metavar="X")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="governs everything random")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--json", action="store_true", help="print the results for machines")


def _demo(options: argparse.Namespace) -> None:
    from landscape.demo import demo, table

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
    from landscape import methods, models, posteriors, tasks, workflow
    from landscape.devices import choose_device
    from landscape.progress import Progress

    task = tasks.load(options.task, **options.task_settings)
    method = methods.create(options.method, **options.method_settings)
    model = models.build(options.model, task, seed=options.seed)
    prior, config = None, {}
    if options.prior is not None:
        device = choose_device(options.device)
        prior = posteriors.load(options.prior, model, device=device, calibration=task.train)
        config = {"prior": str(options.prior)}
    name = options.name or f"{options.task}-{options.method}-seed{options.seed}"
    trained = workflow.train(
        options.out / f"{name}.h5",
        task,
        method,
        model,
        prior=prior,
        samples=options.samples,
        seed=options.seed,
        device=options.device,
        overwrite=options.overwrite,
        config=config,
        progress=Progress(f"{options.method}: training"),
    )
    _report(trained.run.path, options.json)


def _measure(options: argparse.Namespace) -> None:
    from landscape import workflow
    from landscape.progress import Progress

    trained = workflow.load(options.file, device=options.device)
    settings = {
        name: getattr(options, name)
        for name in ("samples", "eigenvalues", "tolerance", "trace_products", "backend", "seed")
    }
    with workflow.in_progress(trained.run, measurement=settings):
        workflow.measure_curvature(trained, progress=Progress("curvature"), **settings)
        if options.grid:
            workflow.measure_surface(
                trained,
                plane=options.plane,
                samples=options.samples,
                shape=(options.grid, options.grid),
                seed=options.seed,
                progress=Progress("loss surface"),
            )
    _report(options.file, options.json)


def _inspect(options: argparse.Namespace) -> None:
    _report(options.file, options.json)


def _app(options: argparse.Namespace) -> None:
    from landscape_app import serve

    serve(options.folder, host=options.host, port=options.port, open_browser=options.open)


def _report(path: Path, as_json: bool) -> None:
    """Print what a run file says."""
    from landscape.store import Run, summarise

    run = Run.open(path)
    summary = summarise(run)
    if as_json:
        config = {"config": run.config}
        _print_json({"file": str(path), **asdict(summary), "attributes": run.attributes | config})
        return
    for field in fields(summary):
        value = getattr(summary, field.name)
        shown = ", ".join(value) if isinstance(value, tuple) else value
        print(f"{field.name:18} {'-' if shown in (None, '') else shown}")
    for name in ("parameter_count", "device", "dtype", "data_fingerprint", "git_commit"):
        print(f"{name:18} {run.attributes.get(name, '-')}")
    print(f"{'file':18} {path.resolve()}")


def _print_json(value: Any) -> None:
    """Strict JSON: what is not a number there is null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
