"""Shared by all experiments: settings with presets as flags, and a resumable output folder."""

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from experiments.datasets import find_folder
from jaxcast import InputError
from jaxcast.checks import check_seed
from jaxcast.cli.arguments import check_options, parse_arguments
from jaxcast.cli.command import check_numbers, ending_well, run_command, take_flags
from jaxcast.cli.streams import printing_safely
from jaxcast.errors import shown
from jaxcast.io.run_folder import RunFolder, values_of

C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of every experiment."""

    preset: Literal["smoke", "quick", "paper"] = "quick"
    """smoke: for tests; quick: a minute or two; paper: all reported results."""
    out: Path | None = None
    """Folder for config.json, results.json and the pictures. Default: below runs/, named by experiment and preset."""
    overwrite: bool = False
    """Start again if the folder holds a run with other settings."""
    seed: int = 0
    """Random seed of training: initial parameters, shuffling, random features."""


@dataclasses.dataclass(frozen=True)
class OwnData(Settings):
    """Settings of every experiment that makes its own data."""

    data_seed: int = 1
    """Random seed of the data: initial states of the truths and all else that is random in them."""
    num_data_seeds: int = 1
    """Number of truths, with seeds data_seed, data_seed + 1, ...; every method is trained and scored on each."""
    data: Path | None = None
    """Not used: this experiment makes its own data."""

    def check(self) -> None:
        """Raises InputError for settings that no experiment can run with."""
        if self.data is not None:
            raise InputError(f"this experiment makes its own data; remove --data, got {shown(self.data)}")
        if self.num_data_seeds < 1:
            raise InputError(f"num_data_seeds must be at least 1, got {self.num_data_seeds}")
        for name in ("seed", "data_seed"):
            check_seed(getattr(self, name), name)


def check_settings(config: Settings, *, may_be_zero: Collection[str] = ()) -> None:
    """Checks that lists are not empty and that numbers are finite and positive.

    Args:
        config: settings of an experiment.
        may_be_zero: names of settings that may be zero; the seed always may.

    Raises:
        InputError: for the first setting that fails.
    """
    check_numbers(config)
    for name, value in values_of(config).items():
        values = value if isinstance(value, tuple) else (value,)
        if not values:
            raise InputError(f"{name} must not be empty")
        least = 0 if name in ("seed", *may_be_zero) else 1
        for number in values:
            if (
                isinstance(number, int | float)
                and not isinstance(number, bool)
                and (number < 0 or (number == 0 and least))
            ):
                raise InputError(f"{name} must be {'positive' if least else 'zero or more'}, got {number}")
    check_seed(config.seed)


def start(main: Callable[[Any], None], config: type[C], presets: Mapping[str, C]) -> None:
    """Runs an experiment from the command line; bad input is one line and exit code 2."""
    with printing_safely():
        with ending_well():
            args, level = take_flags(sys.argv[1:])
            settings = parse(config, presets, args)
        run_command(lambda: main(settings), settings, level)


def parse(config: type[C], presets: Mapping[str, C], args: list[str]) -> C:
    """Reads the settings: those of the preset that --preset names, changed by the other flags.

    Args:
        config: class of the settings.
        presets: settings by the name of their preset.
        args: words of the command line.

    Returns:
        The settings.

    Raises:
        InputError: in one line, for unknown flags or values that cannot be read.
    """
    # Run by -m, the module is called __main__; its spec knows its name.
    spec = sys.modules["__main__"].__spec__
    prog = f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name
    check_options(config, args, prog, has_defaults=True)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="quick")
    name = first.parse_known_args(args)[0].preset
    return parse_arguments(config, args, prog=prog, default=presets.get(name, presets["quick"]))


def with_data(config: C, name: str, page: str) -> C:
    """Returns settings with the folder of their data; the smoke preset makes its own where none is given.

    Args:
        config: the settings, with `preset` and `data`.
        name: of the data set (see `find_folder`).
        page: where it is written how to get the data, for the message.

    Returns:
        The settings.

    Raises:
        InputError: if there is no such folder.
    """
    settings: Any = config
    if settings.data is None and settings.preset == "smoke":
        return config
    found: C = dataclasses.replace(settings, data=find_folder(settings.data, name, page))
    return found


def open_folder(
    config: Any, default: str, outputs: Collection[str], *, leave_out: tuple[str, ...] = ("out", "overwrite", "data")
) -> RunFolder:
    """Opens the output folder of an experiment and writes its config.json.

    Args:
        config: settings of the experiment.
        default: folder to use if none is given.
        outputs: names of the files that it writes besides results.json.
        leave_out: settings that do not affect the numbers; config.json omits them.

    Returns:
        The folder.
    """
    values, folder = values_of(config), Path(__file__).parent
    reads = [name for name in ("data", "forecasts", "truth", "vintages") if isinstance(values.get(name), Path)]
    return RunFolder.of(
        config,
        path=config.out or Path(default),
        reads=reads,
        facts={name: str(values[name]) for name in reads if name not in leave_out},
        only=values.keys() - {*leave_out},
        outputs=("results.json", *outputs),
        code=folder,
        commit=commit_of(folder.parent),
    )


def commit_of(root: Path) -> str | None:
    """Returns the Git commit of a working tree, None where there is none.

    Args:
        root: a folder of the tree.

    Returns:
        The full hash, with "-dirty" at its end where tracked files have changed since.
    """
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
