"""How every command starts and ends."""

import math
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxcast.errors import InputError
from jaxcast.sharding import end_process


def run_command(main: Callable[[], None]) -> None:
    """Sets JAX up for dynamics and runs a command; bad input becomes one line and exit code 2."""
    jax.config.update("jax_enable_x64", True)
    # Accelerators multiply float32 matrices at reduced precision unless told not to.
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    keep_compiled_programs()
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        end_process(2)
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept, the same command goes on from there", file=sys.stderr)
        end_process(130)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        end_process(1)


def keep_compiled_programs() -> None:
    """Lets JAX keep compiled programs on disk, so that the same command starts faster the next time.

    Where JAX_COMPILATION_CACHE_DIR says, else in the user's cache folder; JAX_ENABLE_COMPILATION_CACHE=false turns it off.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "jaxcast" / "jax"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def check_numbers(settings: Any) -> None:
    """Raises InputError for an option that is NaN or infinite."""
    for name, value in vars(settings).items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{name} must be finite, got {value}")


def make_console() -> Console:
    """As wide as the terminal; wide enough for the tables where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=110)
