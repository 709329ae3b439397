"""The command `jaxcast` and its subcommands."""

import sys
from typing import Annotated

import tyro

from jaxcast.cli.entry import run_command
from jaxcast.cli.evaluate import Evaluate
from jaxcast.cli.forecast import Forecast
from jaxcast.cli.hub import HubCommand
from jaxcast.cli.simulate import Simulate
from jaxcast.cli.train import Train

Command = (
    Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Forecast, tyro.conf.subcommand("forecast")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[HubCommand, tyro.conf.subcommand("hub")]
)


def parse(args: list[str]) -> Simulate | Train | Forecast | Evaluate | HubCommand:
    """The command that these arguments spell; unknown ones end the program with exit code 2."""
    return tyro.cli(
        Command,
        args=args,
        prog="jaxcast",
        description="Simulate dynamical systems, train pools of their wrong models, forecast, and measure how long it "
        "stays true; score and pool the quantile forecasts of a hub.",
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
