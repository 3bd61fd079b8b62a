"""What a command line asks for: commands, their options, and settings from a TOML file."""

from __future__ import annotations

import argparse
import inspect
import itertools
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from landscape.errors import InputError, printable, refused
from landscape.runtime.files import check_regular
from landscape.runtime.limits import MAX_SETTINGS

EPILOG = "'landscape train TASK METHOD --help' lists the settings of a task and a method."

BUDGET = {
    "seeds": "seeds of the results",
    "trials": "settings tried for each method, on half of the validation set",
    "tuning_seeds": "seeds of each trial",
    "epochs": "of each training",
    "source_epochs": "of the source posterior",
    "samples": "posterior samples to predict with",
    "measured": "posterior samples to measure the curvature at",
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see '{self.prog} --help')")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of one command, its name in ``command``.

    Raises:
        InputError: the command or an option is unknown, or a value does not fit.
    """
    parser = _Parser(
        prog="landscape",
        description="Train Bayesian neural networks with flat posteriors and measure how flat.",
        epilog=f"{EPILOG} --debug shows the traceback of an error.",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    def command(name: str, summary: str, **settings: Any) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=summary, **settings)

    demo = command("demo", "pretrain, transfer and compare on the embedded digits")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for the results")
    demo.add_argument("--samples", type=int, default=10, help="posterior samples (default: 10)")
    demo.add_argument("--grid", type=int, default=31, help="points a side of the surface")
    demo.add_argument("--epochs", type=int, help="epochs of every method, for a shorter run")
    _add_common(demo)

    command("train", "train a posterior", add_help=False)

    measure = command("measure", "measure a trained run: curvature and a loss surface")
    measure.add_argument("file", type=Path, help="the run file (.h5), beside its posterior")
    measure.add_argument("--samples", type=int, default=30, help="posterior samples (default: 30)")
    measure.add_argument("--eigenvalues", type=int, default=5, help="how many (default: 5)")
    measure.add_argument(
        "--matrix", default="hessian", help="hessian (default), gauss-newton or empirical-fisher"
    )
    measure.add_argument("--tolerance", type=float, default=1e-3, help="relative residual")
    measure.add_argument("--max-matvecs", type=int, help="budget for the eigenvalues of a sample")
    measure.add_argument("--trace-matvecs", type=int, help="products a trace (default: 30)")
    measure.add_argument("--trace-tolerance", type=float, help="relative standard error to reach")
    measure.add_argument(
        "--density",
        type=int,
        default=0,
        metavar="PROBES",
        help="spectral density by so many probes",
    )
    measure.add_argument("--backend", default="lanczos", help="lanczos (default) or pyhessian")
    measure.add_argument("--plane", help="of the surface; see 'landscape surface --help'")
    measure.add_argument("--grid", type=int, default=41, help="points a side; 0 for no surface")
    _add_workers(measure)
    _add_common(measure, of_run=True)

    surface = command("surface", "evaluate the loss of a trained run on a plane or along a line")
    surface.add_argument("file", type=Path, help="the run file (.h5), beside its posterior")
    surface.add_argument(
        "--plane",
        help="samples, pca, random or eigenvectors (default: samples, random where there are few)",
    )
    surface.add_argument(
        "--line",
        metavar="KIND",
        help="a line in place of a plane: one of its kinds, or a curve of low loss between two "
        "samples, bezier or chain",
    )
    surface.add_argument("--split", default="train", help="train (default) or test")
    surface.add_argument(
        "--samples", type=int, help="to place on a plane, or that a line goes by (default: 30)"
    )
    surface.add_argument("--grid", type=int, default=41, help="points along x (default: 41)")
    surface.add_argument("--rows", type=int, help="points along y (default: as many)")
    surface.add_argument(
        "--margin", type=float, help="beyond the samples, of their range (plane: 0.5; line: 0)"
    )
    surface.add_argument("--extent", type=float, help="half the width, in place of the margin")
    surface.add_argument("--steps", type=int, help="of the training of a curve (default: 500)")
    surface.add_argument("--learning-rate", type=float, help="of the same (default: 0.02)")
    _add_workers(surface)
    _add_common(surface, of_run=True)

    study = command("study", "answer a question about the methods, on a transfer task")
    study.add_argument(
        "name",
        help="generalisation, flatness, averaging, ablation, toy, bound, compatibility or cost",
    )
    study.add_argument("--out", type=Path, default=Path("runs/study"), help="folder, to go on in")
    study.add_argument(
        "--task",
        default="digits",
        help="digits (default, embedded), mnist after EMNIST's letters, cifar10-jpeg after "
        "lossless CIFAR-10, or cifar10-few-shot after Tiny ImageNet",
    )
    study.add_argument("--model", default="convnet", help="convnet (default), resnet20 or resnet18")
    study.add_argument(
        "--weights", type=Path, metavar="FILE", help="at which the source network begins"
    )
    study.add_argument("--device", default="cpu", help="cpu (default), cuda, auto, ...")
    study.add_argument("--budget", default="small", help="smoke, small (default) or large")
    for name, meaning in BUDGET.items():
        study.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=meaning)
    study.add_argument(
        "--severities", type=_numbers, metavar="N,N,...", help="of the corrupted test sets, 1 to 5"
    )
    study.add_argument(
        "--no-equal-time",
        dest="equal_time",
        action="store_const",
        const=False,
        help="generalisation without every method trained once more, as long as FP-BMA",
    )
    study.add_argument("--methods", metavar="A,B,...", help="only these, besides fp-bma")
    study.add_argument("--json", action="store_true", help="print the tables for machines")

    show = command("inspect", "say what a run file holds")
    show.add_argument("file", type=Path)
    show.add_argument("--json", action="store_true", help="for machines")

    export = command(
        "export", "figures and their numbers as files, of a run or of a folder of runs"
    )
    export.add_argument("path", type=Path, help="a run file (.h5), or a folder of them")
    export.add_argument(
        "--csv", type=Path, metavar="DIR", help="the numbers of each figure and run"
    )
    export.add_argument("--html", type=Path, metavar="FILE", help="one self-contained page")

    app = command("app", "look at the runs of a folder in the browser")
    app.add_argument("folder", type=Path)
    app.add_argument("--host", default="127.0.0.1", help="address to listen on")
    app.add_argument("--port", type=int, default=8050)
    app.add_argument("--open", action="store_true", help="open the browser")

    if arguments[:1] == ["train"]:
        return _parse_train(arguments[1:])
    options, rest = parser.parse_known_args(arguments)
    if rest:
        parser.error(f"unknown argument '{rest[0]}'")
    return options


def _parse_train(arguments: list[str]) -> argparse.Namespace:
    """The options of ``train``, which depend on the task and the method before them."""
    from landscape.methods import METHODS, create
    from landscape.models import MODELS
    from landscape.objective.subsets import CHOICES
    from landscape.tasks import TASKS

    named = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))[:2]
    rest = arguments[len(named) :]
    head = _Parser(prog="landscape train", add_help=False)
    head.add_argument("--config", type=Path)
    config = head.parse_known_args(rest)[0].config
    given = {} if config is None else _read_toml(config)
    of_file = given.pop("task", None), given.pop("method", None)
    task, method = (*named, *of_file[len(named) :])[:2]
    parser = _Parser(prog=f"landscape train {task or 'TASK'} {method or 'METHOD'}")
    parser.add_argument("--config", type=Path, help="settings from a TOML file; flags go before")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for the results")
    parser.add_argument("--name", help="of the run (default: TASK-METHOD-seedSEED)")
    parser.add_argument("--model", default="convnet", help=f"one of {', '.join(MODELS)}")
    parser.add_argument("--prior", type=Path, help="a posterior's file (.safetensors)")
    parser.add_argument(
        "--source",
        type=Path,
        help="the file of a source task's posterior: the prior, but for a fresh head",
    )
    parser.add_argument(
        "--alpha", type=float, default=1e-4, help="prior variance of the fresh head (default: 1e-4)"
    )
    parser.add_argument(
        "--parameters", choices=list(CHOICES), default="all", help="parameters (default: all)"
    )
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
    _take_over(parser, given, config)
    found = parser.parse_args(rest)
    found.command, found.task, found.method = "train", task, method
    found.task_settings = {name: getattr(found, name) for name, _ in of_task}
    if any(p.name == "seed" for p in parameters):
        found.task_settings["seed"] = found.seed
    found.method_settings = {name: getattr(found, name) for name, _ in of_method}
    return found


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
            required = default is inspect.Parameter.empty
            shown = "required" if required else f"default: {default}"
            group.add_argument(
                flag,
                type=types[name],
                default=None if required else default,
                required=required,
                help=shown,
                metavar="X",
            )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="work in N processes of this machine"
    )
    parser.add_argument("--dask", metavar="ADDRESS", help="work on the cluster of this scheduler")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="replace what the run holds",
    )


def _add_common(parser: argparse.ArgumentParser, *, of_run: bool = False) -> None:
    seed = "governs everything random" + (" (default: the run's own)" if of_run else "")
    parser.add_argument("--seed", type=_seed, default=None if of_run else 0, help=seed)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--json", action="store_true", help="print the results for machines")


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed < 1 << 63:  # what a run file can note
        raise argparse.ArgumentTypeError(
            f"'{text[:50]}' is no seed: a whole number from 0 to 2**63 - 1"
        )
    return seed


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no list such as 1,3,5") from error


def _read_toml(path: Path) -> dict[str, Any]:
    check_regular(path)
    with refused(f"cannot read {path}"):
        if path.stat().st_size > MAX_SETTINGS:
            raise InputError(f"{path} is larger than {MAX_SETTINGS >> 20} MiB: no file of settings")
        contents = path.read_bytes()
    with refused(f"{path} is not TOML"):
        given = tomllib.loads(contents.decode())
    return {name.replace("-", "_"): value for name, value in given.items()}


def _take_over(parser: argparse.ArgumentParser, given: dict[str, Any], path: Path | None) -> None:
    """Make the values of a file the defaults of ``parser``, as if they had been typed."""
    actions = {action.dest: action for action in parser._actions}
    for name, value in given.items():
        if name not in actions:
            raise InputError(
                f"{path}: no setting '{printable(name)}'; known: {', '.join(sorted(actions))}"
            )
        action = actions[name]
        is_switch = action.nargs == 0
        fits = isinstance(value, bool) if is_switch else not isinstance(value, dict | list)
        try:
            kind = action.type if callable(action.type) else str
            converted = value if is_switch else kind(str(value))
        except (ValueError, argparse.ArgumentTypeError):
            fits = False
        if not fits:
            raise InputError(f"{path}: {name} = {printable(repr(value))} is no value for --{name}")
        parser.set_defaults(**{name: converted})
        action.required = False
