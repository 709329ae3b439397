"""A folder that holds one run, safe to kill at any moment: whole files only, finished stages kept, foreign runs refused."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.errors import InputError
from jaxcast.storage.files import save_figure, whole_file
from jaxcast.storage.reading import CHECKSUM, Arrays, checksum_of, read_arrays, read_json

VERSIONS_OF = ("jaxcast", "jax", "jaxlib", "flax", "optax", "diffrax", "numpy")
# The pool first, so that what is left after a kill is never an old pool under new settings; the config last.
OWN = ("pool.json", "arrays.npz", "stages", "*.png", "results.json", "config.json")


class RunFolder:
    """One run: its config, the stages that are finished, its results.

    Every file appears whole or not at all, so a run may be killed at any moment; started again with the same settings
    it goes on from the finished stages; with other settings, versions or code it refuses to mix.

    Args:
        settings: what decides the run's numbers, as JSON values. code: a hash of the code that makes them.
        overwrite: start afresh where the folder holds another run.

    Raises:
        InputError: for a folder that holds another run or foreign files, or cannot be written to.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, code: str, overwrite: bool = False):
        self.path = Path(path)
        record = json.loads(json.dumps({"settings": settings, **environment(), "code": code}))
        try:
            old = self._read_config()
            if old is not None and overwrite:
                for target in [target for name in OWN for target in self.path.glob(name)]:
                    shutil.rmtree(target) if target.is_dir() else target.unlink()
                old = None
            if old is not None:
                self._check_same(old, record)
            self.path.mkdir(parents=True, exist_ok=True)
            if old is None:
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
            return _flat(read_json(file))
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{file} is not this program's; choose another --out") from None

    def _check_same(self, old: dict[str, Any], record: dict[str, Any]) -> None:
        new = _flat(record)
        names = [name for name in old | new if old.get(name) != new.get(name)]
        if names:
            changes = ", ".join(f"{n}: {old.get(n)} there, {new.get(n)} now" for n in names)
            raise InputError(
                f"{self.path} holds a run with other settings ({changes}); choose another --out, or --overwrite it"
            )

    def write_json(self, name: str, record: Any) -> None:
        """Writes a JSON file in one piece."""
        write_json(self.path / name, record)

    def save_figure(self, name: str, figure: Any) -> None:
        """Writes a picture in one piece."""
        save_figure(self.path / name, figure)

    def stage(self, name: str, compute: Callable[[Path], Arrays]) -> Arrays:
        """The arrays of a stage: read if it is finished, else computed and kept.

        Args:
            compute: gets the path of a file in which the stage may keep a checkpoint; it is removed at the end.
        """
        path = self.path / "stages" / f"{name}.npz"
        checkpoint = self.path / "stages" / f"{name}.checkpoint"
        if path.exists():
            checkpoint.unlink(missing_ok=True)
            return read_arrays(path)
        arrays = {key: np.asarray(value) for key, value in compute(checkpoint).items()}
        write_arrays(path, arrays)
        checkpoint.unlink(missing_ok=True)
        return arrays


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    return record["settings"] | record["versions"] | {name: record[name] for name in ("device", "dtype", "code")}


def write_json(path: Path, record: Any) -> None:
    """Writes a JSON file in one piece."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> str:
    """Writes named arrays as one .npz, in one piece.

    Args:
        path: of the file.
        arrays: by name.

    Returns:
        Their checksum, which is in the file too.
    """
    written: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    checksum = checksum_of(written)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **written | {CHECKSUM: checksum})
    return checksum


def environment() -> dict[str, Any]:
    """What besides settings and code decides a run's numbers: versions, device, dtype of dynamics and scores."""
    device = jax.devices()[0]
    return {
        "versions": {name: version(name) for name in VERSIONS_OF} | {"python": sys.version.split()[0]},
        "device": f"{device.platform}: {device.device_kind}",
        "dtype": str(jnp.result_type(float)),
    }


def hash_of_code(*roots: Path) -> str:
    """A short hash of all Python files below some folders."""
    sources = sorted(file for root in roots for file in root.glob("**/*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
