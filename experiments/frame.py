"""What every experiment shares: presets as flags, a resumable output folder, one-line errors."""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxcast import InputError

C = TypeVar("C")
Arrays = dict[str, np.ndarray]
STAGE_FILES = ("stages/*.npz", "stages/*.partial")
VERSIONS_OF = ("jaxcast", "jax", "jaxlib", "flax", "optax", "diffrax", "numpy")


def start(main: Callable[[Any], None], config: type[C], presets: Mapping[str, C]) -> None:
    """Runs an experiment from the command line: reads the flags, and turns bad input into one line and exit code 2."""
    jax.config.update("jax_enable_x64", True)
    # Accelerators multiply float32 matrices at reduced precision unless told not to.
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    settings = parse(config, presets)
    try:
        main(settings)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)


def parse(config: type[C], presets: Mapping[str, C], args: list[str] | None = None) -> C:
    """The settings: those of the preset that --preset names, changed by the other flags."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="quick")
    name = first.parse_known_args(args)[0].preset
    # Run by -m, the module is called __main__; its spec knows its name.
    spec = sys.modules["__main__"].__spec__
    prog = f"python -m {spec.name}" if spec else None
    return tyro.cli(config, default=presets.get(name, presets["quick"]), args=args, prog=prog)


class RunFolder:
    """A folder that holds one run: its config, the stages that are finished, its results.

    Every file appears whole or not at all, so a run may be killed at any moment; started again with the same settings
    it goes on from the finished stages; with other settings, versions or code it refuses to mix.
    """

    def __init__(self, path: Path, config: dict[str, Any], *, overwrite: bool = False):
        self.path = Path(path)
        record = json.loads(json.dumps({"settings": config, **environment()}))
        try:
            old = self._read_config()
            if old is not None and overwrite:
                for name in (*STAGE_FILES, "results.json", "config.json"):
                    for file in self.path.glob(name):
                        file.unlink()
            elif old is not None:
                self._check_same(old, record)
            (self.path / "stages").mkdir(parents=True, exist_ok=True)
            if old is None or overwrite:
                self.write_json("config.json", record)
        except OSError as error:
            raise InputError(
                f"cannot write to --out {self.path} ({error.strerror}); choose a folder you can write to"
            ) from None

    def _read_config(self) -> dict[str, Any] | None:
        """The config of the run that the folder holds, None for a folder without one."""
        file = self.path / "config.json"
        if not file.exists():
            if any(self.path.glob("stages/*")):
                raise InputError(f"{self.path} holds results without their config.json; choose another --out")
            return None
        try:
            entry = json.loads(file.read_text())
            return entry["settings"] | entry["versions"] | {name: entry[name] for name in ("device", "dtype", "code")}
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{file} is not this program's; choose another --out") from None

    def _check_same(self, old: dict[str, Any], record: dict[str, Any]) -> None:
        new = record["settings"] | record["versions"] | {name: record[name] for name in ("device", "dtype", "code")}
        names = [name for name in old | new if old.get(name) != new.get(name)]
        if names:
            changes = ", ".join(f"{n}: {old.get(n)} there, {new.get(n)} now" for n in names)
            raise InputError(
                f"{self.path} holds a run with other settings ({changes}); choose another --out, or --overwrite it"
            )

    def write_json(self, name: str, record: Any) -> None:
        """Writes a JSON file in one piece."""
        self._whole(name, lambda path: path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n"))

    def save_figure(self, name: str, figure: Any) -> None:
        """Writes a picture in one piece."""
        self._whole(name, lambda path: figure.savefig(path, dpi=110, format="png"))

    def stage(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of a stage: read if it is finished, else computed and kept."""
        path = self.path / "stages" / f"{name}.npz"
        if path.exists():
            try:
                with path.open("rb") as file, np.load(file) as kept:
                    return dict(kept)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile):
                raise InputError(f"{path} cannot be read; delete it, and the same command computes it again") from None
        arrays = {key: np.asarray(value) for key, value in compute().items()}

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]

        self._whole(f"stages/{name}.npz", write)
        return arrays

    def _whole(self, name: str, write: Callable[[Path], Any]) -> None:
        partial = self.path / f"{name}.partial"
        try:
            write(partial)
            os.replace(partial, self.path / name)
        except OSError as error:
            raise InputError(f"cannot write {self.path / name} ({error.strerror}); make room, and run again") from None


def environment() -> dict[str, Any]:
    """What besides the settings decides a run's numbers: versions, code, device, dtype of dynamics and scores."""
    root = Path(__file__).parents[1]
    sources = sorted([*root.glob("jaxcast/**/*.py"), *root.glob("experiments/*.py")])
    device = jax.devices()[0]
    return {
        "versions": {name: version(name) for name in VERSIONS_OF} | {"python": sys.version.split()[0]},
        "device": f"{device.platform}: {device.device_kind}",
        "dtype": str(jnp.result_type(float)),
        "code": hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12],
    }


def settings_of(config: Any, leave_out: tuple[str, ...] = ("out", "overwrite", "data")) -> dict[str, Any]:
    """A config as a dictionary, without what does not change the numbers."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in leave_out}
