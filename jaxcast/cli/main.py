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


def parse(args: list[str]) -> Simulate | Train | Forecast | Evaluate:
    """The command that these arguments spell; unknown ones end the program with exit code 2."""
    return tyro.cli(
        Command,
        args=args,
        prog="jaxcast",
        description="Simulate dynamical systems, train pools of their wrong models, forecast, and measure how long it "
        "stays true.",
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
