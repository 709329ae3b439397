"""What every experiment shares: presets as flags, and a resumable output folder."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tyro

from jaxcast.cli.entry import run_command
from jaxcast.storage.folder import RunFolder, hash_of_code

C = TypeVar("C")


def start(main: Callable[[Any], None], config: type[C], presets: Mapping[str, C]) -> None:
    """Runs an experiment from the command line: reads the flags, and turns bad input into one line and exit code 2."""
    settings = parse(config, presets)
    run_command(lambda: main(settings))


def parse(config: type[C], presets: Mapping[str, C], args: list[str] | None = None) -> C:
    """The settings: those of the preset that --preset names, changed by the other flags."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="quick")
    name = first.parse_known_args(args)[0].preset
    # Run by -m, the module is called __main__; its spec knows its name.
    spec = sys.modules["__main__"].__spec__
    prog = f"python -m {spec.name}" if spec else None
    return tyro.cli(config, default=presets.get(name, presets["quick"]), args=args, prog=prog)


def open_folder(config: Any, default: str, *, leave_out: tuple[str, ...] = ("out", "overwrite", "data")) -> RunFolder:
    """The output folder of an experiment, with all settings that decide its numbers in its config.json."""
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in leave_out}
    root = Path(__file__).parents[1]
    code = hash_of_code(root / "jaxcast", root / "experiments")
    return RunFolder(config.out or Path(default), settings, code=code, overwrite=config.overwrite)
