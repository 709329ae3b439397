"""The command `jaxcast`: finds the command that is meant, reads its options, runs it."""

import dataclasses
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxcast.cli.arguments import HELP, check_options, check_subcommand, parse_arguments
from jaxcast.cli.benchmark.commands import ExportCase, ListCases, ScoreCase
from jaxcast.cli.command import ending_well, run_command, take_flags
from jaxcast.cli.ensemble.commands import PoolEnsemble, ScoreEnsemble
from jaxcast.cli.ensemble.forecast import ForecastEnsemble
from jaxcast.cli.hub.baseline import HubBaseline
from jaxcast.cli.hub.forecast import ForecastHub
from jaxcast.cli.hub.importance import HubImportance
from jaxcast.cli.hub.pool import PoolHub
from jaxcast.cli.hub.score import ScoreHub
from jaxcast.cli.hub.validate import ValidateSubmission
from jaxcast.cli.overview import overview
from jaxcast.cli.panel.forecast import ForecastPanel
from jaxcast.cli.panel.importance import PanelImportance
from jaxcast.cli.panel.train import TrainPanel
from jaxcast.cli.pool.evaluate import EvaluatePool
from jaxcast.cli.pool.forecast import ForecastPool
from jaxcast.cli.pool.train import TrainPool
from jaxcast.cli.series.evaluate import EvaluateSeries
from jaxcast.cli.series.forecast import ForecastSeries
from jaxcast.cli.series.importance import SeriesImportance
from jaxcast.cli.series.train import TrainSeries
from jaxcast.cli.simulate import Simulate
from jaxcast.cli.simulation.catalogue import parse_list
from jaxcast.cli.simulation.steps import with_steps
from jaxcast.cli.streams import printing_safely
from jaxcast.cli.text.evaluate import EvaluateText
from jaxcast.cli.text.predict import PredictText
from jaxcast.cli.text.train import TrainText

GROUPS = {
    "pool": "Pools of imperfect models of a dynamical system.",
    "series": "Forecasters of the time series in a table.",
    "panel": "Models of many series of unequal length.",
    "text": "Classifiers of texts.",
    "ensemble": "Dated point forecasts of many models, at several leads.",
    "hub": "Forecast hubs: quantile forecasts of many models.",
    "benchmark": "A benchmark of valid time: fixed cases for tools in any language.",
}
COMMANDS: dict[str, type] = {
    "simulate": Simulate,
    "pool train": TrainPool,
    "pool forecast": ForecastPool,
    "pool evaluate": EvaluatePool,
    "series train": TrainSeries,
    "series forecast": ForecastSeries,
    "series evaluate": EvaluateSeries,
    "series importance": SeriesImportance,
    "panel train": TrainPanel,
    "panel forecast": ForecastPanel,
    "panel importance": PanelImportance,
    "text train": TrainText,
    "text predict": PredictText,
    "text evaluate": EvaluateText,
    "ensemble score": ScoreEnsemble,
    "ensemble pool": PoolEnsemble,
    "ensemble forecast": ForecastEnsemble,
    "hub score": ScoreHub,
    "hub pool": PoolHub,
    "hub forecast": ForecastHub,
    "hub baseline": HubBaseline,
    "hub importance": HubImportance,
    "hub validate": ValidateSubmission,
    "benchmark list": ListCases,
    "benchmark export": ExportCase,
    "benchmark score": ScoreCase,
}
LEADING = {
    "hub validate": ("--file", "--hub"),
    "hub forecast": ("--hub",),
    "hub score": ("--hub",),
    "hub pool": ("--hub",),
    "hub baseline": ("--hub",),
    "hub importance": ("--hub",),
    "benchmark export": ("--case",),
    "benchmark score": ("--case", "--forecasts"),
}
"""Options whose values may come first, without their names."""
TABLES = (".csv", ".parquet", ".npz", ".h5")


def parse(args: list[str]) -> Any:
    """Reads a command and its options.

    Args:
        args: What was typed after `jaxcast`.

    Returns:
        The command, a dataclass with a method `run`.

    Raises:
        InputError: in one line, for a command or an option that does not exist.
        SystemExit: with code 0, after printing help.
    """
    if any(arg.startswith("--tyro-") for arg in args):  # writes completions for shells
        return tyro.cli(_all_commands(), args=args, prog="jaxcast", config=(tyro.conf.OmitSubcommandPrefixes,))
    name, rest = _split(args)
    if name not in COMMANDS:
        print(overview(COMMANDS, GROUPS, name))
        raise SystemExit(0)
    prog = f"jaxcast {name}"
    if name == "simulate":
        if "--list" in rest and not {*HELP} & {*rest}:
            return parse_list(rest)
        rest = with_steps(rest)
    if name.startswith(("series ", "panel ", "text ")) and rest and Path(rest[0]).suffix in TABLES:
        rest = ["--data", *rest]
    rest = _named(LEADING.get(name, ()), rest)
    check_options(COMMANDS[name], rest, prog)
    return parse_arguments(COMMANDS[name], ["--help"] if {*HELP} & {*rest} else rest, prog=prog)


def _split(args: list[str]) -> tuple[str, list[str]]:
    """Splits arguments into a command and its options; a group's name or "" where help is asked for."""
    check_subcommand(_names(COMMANDS), args, "jaxcast", elsewhere=tuple(COMMANDS))
    first, rest = args[0], args[1:]
    if first in COMMANDS:
        return first, rest
    if first in HELP:
        return "", rest
    names = [name.removeprefix(f"{first} ") for name in COMMANDS if name.startswith(f"{first} ")]
    check_subcommand(names, rest, f"jaxcast {first}")
    return (first, rest) if rest[0] in HELP else (f"{first} {rest[0]}", rest[1:])


def _named(options: tuple[str, ...], rest: list[str]) -> list[str]:
    """Puts the names of options before the values that come first."""
    number = next((i for i, arg in enumerate(rest) if arg.startswith("-")), len(rest))
    leading = [part for pair in zip(options, rest[:number], strict=False) for part in pair]
    return [*leading, *rest[min(number, len(options)) :]]


def _names(commands: dict[str, type]) -> list[str]:
    """Lists the first words of commands, each once."""
    return list(dict.fromkeys(name.split()[0] for name in commands))


def _all_commands() -> Any:
    """Returns one type for all commands, in which a group is a dataclass with its commands."""
    unions: dict[str, list[Any]] = {name: [] for name in _names(COMMANDS)}
    for name, kind in COMMANDS.items():
        unions[name.split()[0]].append(Annotated[kind, tyro.conf.subcommand(name.split()[-1])])
    for name in GROUPS:
        group = dataclasses.make_dataclass(name, [("command", reduce(or_, unions[name]))])
        unions[name] = [Annotated[group, tyro.conf.subcommand(name)]]
    return reduce(or_, [kind for (kind,) in unions.values()])


def main() -> None:
    """Runs the command line."""
    with printing_safely():
        with ending_well():
            args, level = take_flags(sys.argv[1:])
            command = parse(args)
        run_command(command.run, command, level)


if __name__ == "__main__":
    main()
