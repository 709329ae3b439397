"""The command `jaxcast` and its four subcommands."""

import sys
from typing import Annotated

import tyro

from jaxcast.cli.entry import run_command
from jaxcast.cli.evaluate import Evaluate
from jaxcast.cli.forecast import Forecast
from jaxcast.cli.simulate import Simulate
from jaxcast.cli.train import Train

Command = (
    Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Forecast, tyro.conf.subcommand("forecast")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
)


def main(args: list[str] | None = None) -> None:
    """Simulate dynamical systems, train pools of their wrong models, forecast, and measure how long it stays true."""
    command = tyro.cli(
        Command,
        args=args,
        prog="jaxcast",
        description=main.__doc__,
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    run_command(command.run)


if __name__ == "__main__":
    main(sys.argv[1:])
