"""Starts and ends every command: options of all commands, JAX's settings, messages, exit codes."""

import contextlib
import dataclasses
import importlib.metadata
import logging
import math
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import jax
from rich.console import Console

from jaxcast.errors import InputError, shown
from jaxcast.io.files import check_name
from jaxcast.io.run_folder import values_of
from jaxcast.progress import Level, reporting
from jaxcast.registry import import_module
from jaxcast.sharding import end_process, num_cores

MOST_PRINTED = 1000
"""Characters of one error message on the terminal."""
INTERRUPTED = "interrupted: finished work is saved; run the same command to resume"
WORDS = ("h", "dt", "t0")
"""Names of options that no English sentence has as words."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def take_flags(args: Sequence[str]) -> tuple[list[str], Level]:
    """Takes the options that every command has out of the arguments, wherever they stand.

    Modules named by --import are imported, so that the classes that they define can be named.

    Args:
        args: What was typed.

    Returns:
        The other arguments, and how much to print on stderr.

    Raises:
        InputError: for --quiet beside --verbose, or a module that cannot be imported.
        SystemExit: with code 0, after printing the version for --version.
    """
    if "--version" in args:
        print(f"jaxcast {importlib.metadata.version('jaxcast')}")
        raise SystemExit(0)
    is_quiet, is_verbose = "--quiet" in args, "--verbose" in args
    if is_quiet and is_verbose:
        raise InputError("give --quiet or --verbose, not both")
    rest = _without_imports([arg for arg in args if arg not in ("--quiet", "--verbose")])
    return rest, "quiet" if is_quiet else "verbose" if is_verbose else "normal"


def _without_imports(args: list[str]) -> list[str]:
    """Imports the modules that the arguments name by --import, and returns the other arguments."""
    rest, names = [], []
    args = list(args)
    while args:
        option, equals, value = args.pop(0).partition("=")
        if option != "--import":
            rest.append(option + equals + value)
            continue
        name = value if equals else args.pop(0) if args else ""
        if not name or name.startswith("-"):
            raise InputError("--import needs the name of a module, as in --import my_package.my_module")
        names.append(name)
    if names:
        set_up_jax()
    for name in names:
        import_module(name)
    return rest


def set_up_jax() -> None:
    """Sets JAX up for dynamics: float64, exact matrix products, all cores, compiled programs kept on disk."""
    jax.config.update("jax_enable_x64", True)
    # Accelerators multiply float32 matrices at reduced precision unless asked for the highest.
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_num_cpu_devices", num_cores())
    keep_compiled_programs()


def run_command(main: Callable[[], None], settings: Any = None, level: Level = "normal") -> None:
    """Sets JAX up for dynamics and runs a command; bad input ends it with one line and exit code 2.

    Args:
        main: The work.
        settings: Dataclass with the command's options, which messages then name as they are typed.
        level: How much to print on stderr.
    """
    set_up_jax()
    with ending_well(settings), reporting(level):
        check_file_names(settings)
        main()


@contextlib.contextmanager
def ending_well(settings: Any = None) -> Iterator[None]:
    """Ends a command with one line on stderr and an exit code.

    The code is 2 for bad input, 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        settings: Dataclass with the command's options, which messages then name as they are typed.
    """
    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except InputError as error:
        _refuse(as_typed(str(error), settings))
    except KeyboardInterrupt as interrupt:
        # A store that was being written says otherwise that its tasks are pending.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        print(INTERRUPTED, file=sys.stderr)
        end_process(143 if isinstance(interrupt, Terminated) else 130)
    except MemoryError as error:
        _refuse(f"this needs more memory than there is; ask for less ({str(error) or 'the system gave none'})")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            _unexpected()
        _refuse(f"this needs more memory than there is; ask for less ({shown(str(error).splitlines()[0])})")
    except Exception:
        _unexpected()
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _refuse(message: str) -> None:
    print(f"error: {shown(message, MOST_PRINTED)}", file=sys.stderr)
    end_process(2)


def _unexpected() -> None:
    """Shows a fault of ours whole; each of several processes does so itself, without waiting."""
    if not jax.distributed.is_initialized():
        raise
    traceback.print_exc()
    end_process(1)


def as_typed(message: str, settings: Any) -> str:
    """Names options in a message as they are typed: --num-leads for num_leads.

    Args:
        message: Message of an InputError; texts in quotation marks stay as they are.
        settings: Dataclass with the command's options; None for no options.

    Returns:
        The message.
    """
    for name in values_of(settings) if settings is not None else ():
        option = f"--{name.replace('_', '-')}"
        if "_" in name or name in WORDS:
            pattern = rf"(?<![\w./:=('\[-]){name}(?![\w./('-]|=\w+\()"
        else:  # as an English word it may mean something else
            pattern = rf"\A{name}(?= must |=)|(?<=got ){name}(?==)|(?<=with ){name}=(?:True)?(?![\w.('])"
        parts = re.split(r"('[^']*')", message)
        message = "".join(part if k % 2 else re.sub(pattern, option, part) for k, part in enumerate(parts))
    return message


def keep_compiled_programs() -> None:
    """Lets JAX keep compiled programs on disk, so that the next run of a command starts faster.

    They lie where JAX_COMPILATION_CACHE_DIR says, else in the user's cache folder.
    JAX_ENABLE_COMPILATION_CACHE=false turns this off.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "jaxcast" / "jax"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def check_numbers(settings: Any) -> None:
    """Checks that all numbers among a command's options are finite.

    Args:
        settings: Dataclass with the options.

    Raises:
        InputError: for NaN or an infinite number.
    """
    for name, value in values_of(settings).items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{name} must be finite, got {value}")


def check_file_names(settings: Any) -> None:
    """Checks that files can have the names among a command's options.

    Args:
        settings: Dataclass with the options.

    Raises:
        InputError: for a name that no file can have.
    """
    for value in vars(settings).values() if dataclasses.is_dataclass(settings) else ():
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path):
                check_name(path)
            else:
                check_file_names(path)


def make_console() -> Console:
    """Returns a console as wide as the terminal, or wide enough for tables where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=110)
