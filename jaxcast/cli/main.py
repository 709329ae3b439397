"""The command `jaxcast` and its subcommands."""

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxcast.cli.arguments import HELP, check_options, check_subcommand, parse_arguments
from jaxcast.cli.command import ending_well, run_command, take_flags
from jaxcast.cli.hub.commands import ForecastHub, HubCommand, PoolHub, Score
from jaxcast.cli.pool.evaluate import Evaluate
from jaxcast.cli.pool.forecast import Forecast
from jaxcast.cli.pool.train import Train
from jaxcast.cli.series.forecast import EvaluateSeries, ForecastSeries
from jaxcast.cli.series.train import TrainSeries
from jaxcast.cli.simulate import Simulate
from jaxcast.cli.streams import printing_safely

Command: Any = (
    Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Forecast, tyro.conf.subcommand("forecast")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[HubCommand, tyro.conf.subcommand("hub")]
)
SeriesCommand: Any = (
    Annotated[TrainSeries, tyro.conf.subcommand("train")]
    | Annotated[ForecastSeries, tyro.conf.subcommand("forecast")]
    | Annotated[EvaluateSeries, tyro.conf.subcommand("evaluate")]
)


COMMANDS: dict[str, type] = {"simulate": Simulate, "train": Train, "forecast": Forecast, "evaluate": Evaluate}
SERIES_COMMANDS: dict[str, type] = {"train": TrainSeries, "forecast": ForecastSeries, "evaluate": EvaluateSeries}
HUB_COMMANDS: dict[str, type] = {"score": Score, "pool": PoolHub, "forecast": ForecastHub}
ABOUT = (
    "Simulate dynamical systems, train pools of their wrong models, forecast, and measure how long it stays true; "
    "forecast the series of a table (--data) with quantiles; score and pool the quantile forecasts of a hub."
)


def parse(args: list[str]) -> Any:
    """The command that these arguments spell.

    `train`, `forecast` and `evaluate` are of series where they are given a table, as --data or as their first argument.

    Raises:
        InputError: in one line, for others.
    """
    command, commands = Command, COMMANDS
    if args[:1] and args[0] in SERIES_COMMANDS:
        if len(args) > 1 and Path(args[1]).suffix in (".csv", ".parquet"):
            args = [args[0], "--data", *args[1:]]
        if any(arg == "--data" or arg.startswith("--data=") for arg in args):
            command, commands = SeriesCommand, SERIES_COMMANDS
    if not any(arg.startswith("--tyro-") for arg in args):  # its own options write completions of shells
        check(args, commands)
    if {*HELP} & {*args}:  # whatever else there is
        args = [*args[: 1 + (args[0] == "hub" and args[1] not in HELP)], "--help"]
    return parse_arguments(command, args, prog="jaxcast", description=ABOUT)


def check(args: list[str], commands: dict[str, type]) -> None:
    """Raises InputError for arguments that spell no command."""
    check_subcommand([*COMMANDS, "hub"], args, "jaxcast")
    prog, rest = f"jaxcast {args[0]}", args[1:]
    if args[0] == "hub":
        check_subcommand(list(HUB_COMMANDS), rest, prog)
        commands, prog, rest = HUB_COMMANDS, f"{prog} {rest[0]}", rest[1:]
    if (name := prog.split()[-1]) in commands:
        check_options(commands[name], rest, prog)


def main() -> None:
    """Runs the command line."""
    with printing_safely():
        with ending_well():
            args, level = take_flags(sys.argv[1:])
            command = parse(args)
        run_command(command.run, command, level)


if __name__ == "__main__":
    main()
