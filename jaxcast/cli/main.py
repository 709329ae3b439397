"""The command `jaxcast` and its subcommands."""

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxcast.cli.entry import run_command
from jaxcast.cli.evaluate import Evaluate
from jaxcast.cli.forecast import Forecast
from jaxcast.cli.hub import HubCommand
from jaxcast.cli.series_forecast import EvaluateSeries, ForecastSeries
from jaxcast.cli.series_train import TrainSeries
from jaxcast.cli.simulate import Simulate
from jaxcast.cli.train import Train

Command = (
    Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Forecast, tyro.conf.subcommand("forecast")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[HubCommand, tyro.conf.subcommand("hub")]
)
SeriesCommand = (
    Annotated[TrainSeries, tyro.conf.subcommand("train")]
    | Annotated[ForecastSeries, tyro.conf.subcommand("forecast")]
    | Annotated[EvaluateSeries, tyro.conf.subcommand("evaluate")]
)


def parse(args: list[str]) -> Any:
    """The command that these arguments spell; unknown ones end the program with exit code 2.

    `train`, `forecast` and `evaluate` are of series where they are given a table, as --data or as their first argument.
    """
    command: Any = Command
    if args[:1] and args[0] in ("train", "forecast", "evaluate"):
        if len(args) > 1 and Path(args[1]).suffix in (".csv", ".parquet"):
            args = [args[0], "--data", *args[1:]]
        if any(arg == "--data" or arg.startswith("--data=") for arg in args):
            command = SeriesCommand
            if {"--help", "-h"} & {*args}:
                args = [args[0], "--help"]
    return tyro.cli(
        command,
        args=args,
        prog="jaxcast",
        description="Simulate dynamical systems, train pools of their wrong models, forecast, and measure how long it "
        "stays true; forecast the series of a table (--data) with quantiles; score and pool the quantile forecasts of a hub.",
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )


def main() -> None:
    """Runs the command line."""
    try:
        command = parse(sys.argv[1:])
    except BrokenPipeError:  # of a reader that had seen enough of --help
        sys.stderr.close()
        sys.exit(0)
    run_command(command.run)


if __name__ == "__main__":
    main()
