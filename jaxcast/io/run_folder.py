"""The folder of one run: whole files only, finished stages kept, foreign files left alone."""

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.io.files import check_name, save_figure, whole_file, write_arrays, write_json
from jaxcast.io.locks import Lock
from jaxcast.io.outputs import refuse_inputs
from jaxcast.io.ownership import is_marked, software_of
from jaxcast.io.reading import Arrays, read_arrays, read_json
from jaxcast.registry import imported_files

VERSIONS_OF = ("jaxcast", "jax", "jaxlib", "flax", "optax", "diffrax", "numpy")
PACKAGE = Path(__file__).parents[1]
# What a run of an earlier version may have written, whose config.json does not list it.
_OLD_FILES = ("results.json", "pool.json", "arrays.npz")


class RunFolder:
    """The folder of one run: its config, its finished stages, its results.

    Every file appears whole or not at all, so a run may be killed at any moment. Started again with
    the same settings it resumes from the finished stages; with other settings, versions or code it
    refuses to mix. While it is open, no other process can open it.

    Its config.json marks it as a folder of jaxcast, and lists what the run writes. Only these files
    are ever replaced or deleted, and pictures and arrays only where they also bear jaxcast's own
    mark.

    Args:
        path: The folder.
        settings: What decides the run's numbers, as JSON values.
        code: Hash of the code that computes them.
        overwrite: Whether to start afresh where the folder holds a run with other settings.
        outputs: Names of the files that the run writes into it.
        inputs: Options with the files and folders that the run reads, none of which may be
            replaced.
        commit: Version control's name of the code, for the record only: a run resumes under another
            one.

    Raises:
        InputError: for a folder that holds another run or files in the way, that the run reads,
            that is open in another process, or that cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        code: str,
        overwrite: bool = False,
        outputs: Collection[str] = ("results.json",),
        inputs: Mapping[str, Path | None] | None = None,
        commit: str | None = None,
    ):
        self.path, self.settings, self._files = Path(path), dict(settings), list(outputs)
        check_name(self.path)
        record = {"settings": settings, **environment(), "code": code, "files": self._files}
        record = json.loads(json.dumps(record if commit is None else record | {"commit": commit}))
        self._made = [folder for folder in (self.path, *self.path.absolute().parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.path, folder=True)
            try:
                self._open(record, overwrite, inputs or {})
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise InputError(
                f"cannot write to --out {shown(self.path)} ({error.strerror}); choose a folder you can write to"
            ) from None
        except InputError:
            self._remove_folders()
            raise

    def _remove_folders(self) -> None:
        """Removes the folders that the run has made, but for those with something in them."""
        with suppress(OSError):
            for folder in self._made or [self.path]:
                folder.rmdir()

    @classmethod
    def of(
        cls,
        command: Any,
        *,
        reads: Collection[str] = (),
        facts: Mapping[str, Any] | None = None,
        only: Collection[str] | None = None,
        outputs: Collection[str] = ("results.json",),
        path: Path | None = None,
        code: Path | None = None,
        commit: str | None = None,
    ) -> "RunFolder":
        """Opens the folder of a command or an experiment, with its options as settings.

        Args:
            command: Dataclass of options, with `out` and `overwrite` among them.
            reads: Options that name files and folders to read. They are no settings, as a file may
                be moved: `facts` has a fingerprint of what was read.
            facts: Settings beside the options, as JSON values.
            only: Options that are settings; by default all.
            outputs: Names of the files that the run writes into the folder.
            path: The folder; by default `out`.
            code: Folder with code of the run besides the package's.
            commit: Version control's name of the code.

        Returns:
            The open folder.

        Raises:
            InputError: as the constructor does.
        """
        values = values_of(command)
        settings = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in values.items()
            if name not in ("out", "overwrite", *reads) and (only is None or name in only)
        }
        inputs: dict[str, Path | None] = {}
        for name in reads:
            option, value = f"--{name.replace('_', '-')}", values[name]
            inputs |= {f"{option} {each}": each for each in value} if isinstance(value, tuple) else {option: value}
        return cls(
            values["out"] if path is None else path,
            settings | dict(facts or {}),
            code=hash_of_code(PACKAGE, *([] if code is None else [code]), *imported_files()),
            overwrite=values["overwrite"],
            outputs=outputs,
            inputs=inputs,
            commit=commit,
        )

    def _open(self, record: dict[str, Any], overwrite: bool, inputs: Mapping[str, Path | None]) -> None:
        """Checks everything that is there before anything of it is changed."""
        old = self._read_config()
        listed = [] if old is None else self._listed(old)
        changes = {} if old is None else _changes(old, record)
        refuse_inputs("--out", [self.path, *self._targets(listed)], inputs)
        if changes and not overwrite:
            shown_changes = ", ".join(f"{n}: {shown(was)} there, {shown(now)} now" for n, (was, now) in changes.items())
            raise InputError(
                f"{shown(self.path)} holds a run with other settings ({shown_changes}); choose another --out, or "
                "--overwrite it"
            )
        for name in self._files:
            refuse_unlisted(self.path / name, listed)
        if changes:
            self._delete(listed, all_stages="files" not in (old or {}))
        self._remove_unfinished()
        if old is None or changes or "files" not in old:
            self.write_json("config.json", record)

    def _read_config(self) -> dict[str, Any] | None:
        """Returns the config of the run in the folder, None for a folder without one."""
        file = self.path / "config.json"
        if not os.path.lexists(file):
            if any(self.path.glob("stages/*")):
                raise InputError(f"{shown(self.path)} holds results without their config.json; choose another --out")
            return None
        try:
            config = dict(read_json(file))
            _flat(config)
            _files_of(config)
            return config
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{shown(file)} was not written by jaxcast; choose another --out") from None

    def _listed(self, config: dict[str, Any]) -> list[str]:
        """Returns what the run before wrote.

        A run of an earlier version did not list its pictures: those with this run's names are its
        own.
        """
        if "files" in config:
            return _files_of(config)
        pictures = (name for name in self._files if name.endswith(".png") and (self.path / name).is_file())
        return [*_files_of(config), *(name for name in pictures if software_of(self.path / name))]

    def _targets(self, listed: Collection[str]) -> Iterator[Path]:
        """Yields the files that this run or the one before may replace or delete, there or not."""
        yield from (self.path / name for name in dict.fromkeys([*listed, *self._files, "config.json"]))
        yield from self.path.glob("stages/*")

    def _delete(self, listed: Collection[str], *, all_stages: bool) -> None:
        """Removes the files of the run before.

        The pool goes first, so that a kill never leaves it under new settings. The config, which
        lists the others, stays until it is replaced.
        """
        first = ("pool.json", "arrays.npz")
        for name in sorted(listed, key=lambda name: name not in first):
            if os.path.lexists(self.path / name):
                refuse_unlisted(self.path / name, listed)
                (self.path / name).unlink()
        for file in self.path.glob("stages/*"):
            if file.suffix in (".npz", ".checkpoint") and (all_stages or is_marked(file)):
                file.unlink()
        with suppress(OSError):
            (self.path / "stages").rmdir()

    def _remove_unfinished(self) -> None:
        """Removes what a killed process was writing."""
        for folder in (self.path, self.path / "stages"):
            for file in folder.glob(".*.jaxcast-partial"):
                file.unlink()

    def close(self) -> None:
        """Lets other processes open the folder; the end of the process does so, too."""
        self._lock.release()

    @contextmanager
    def leaving_nothing(self) -> Iterator[None]:
        """Removes what the run has written where its data or settings turn out to be wrong.

        With a finished stage it keeps everything: what was computed is not lost.
        """
        try:
            yield
        except InputError:
            if not (self.path / "results.json").exists():
                self.remove_checkpoints()
                if not any(self.path.glob("stages/*")):
                    (self.path / "config.json").unlink(missing_ok=True)
                    self._remove_folders()
            raise

    def remove_checkpoints(self) -> None:
        """Removes the checkpoints of stages."""
        for file in self.path.glob("stages/*.checkpoint"):
            file.unlink()
        with suppress(OSError):
            (self.path / "stages").rmdir()

    def check(self, name: str) -> None:
        """Refuses to write a file that the run does not list, or that is not its own.

        Args:
            name: Name of the file.

        Raises:
            InputError: for a file that is in the way.
        """
        refuse_unlisted(self.path / name, [*self._files, "config.json"])

    def write_json(self, name: str, record: Any) -> None:
        """Writes a whole JSON file.

        Args:
            name: Name of the file.
            record: JSON values.
        """
        write_json(self.path / name, record, partial(self.check, name))

    def write_text(self, name: str, text: str) -> None:
        """Writes a whole text file.

        Args:
            name: Name of the file.
            text: Its content.
        """
        with whole_file(self.path / name, partial(self.check, name)) as unfinished:
            unfinished.write_text(text, encoding="utf-8")

    def save_figure(self, name: str, figure: Any) -> None:
        """Writes a whole picture.

        Args:
            name: Name of the file.
            figure: A matplotlib figure.
        """
        save_figure(self.path / name, figure, partial(self.check, name))

    def stage(self, name: str, compute: Callable[[Path], Arrays]) -> Arrays:
        """Returns the arrays of a stage: read if it is finished, else computed and saved.

        Args:
            name: Name of the stage.
            compute: Function that computes the arrays. It gets the path of a file in which the
                stage may keep a checkpoint, which is removed at the end.

        Returns:
            The arrays by name.
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


def _changes(old: dict[str, Any], record: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns what differs between two runs, as it was and as it is."""
    was, now = _flat(old), _flat(record)
    return {name: (was.get(name), now.get(name)) for name in was | now if was.get(name) != now.get(name)}


def _files_of(config: dict[str, Any]) -> list[str]:
    """Returns what a run has written or will write into its folder."""
    names = config.get("files", list(_OLD_FILES))
    if not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise ValueError
    return list(names)


def refuse_unlisted(path: Path, listed: Collection[str]) -> None:
    """Refuses to replace a file that the run's config.json does not list, or that lacks our mark.

    Args:
        path: The file.
        listed: Names of the files that the run wrote.

    Raises:
        InputError: with the file.
    """
    if not os.path.lexists(path):
        return
    is_own = path.name in listed and path.is_file() and not path.is_symlink()
    if not is_own or (path.suffix == ".png" and not software_of(path).startswith(("jaxcast", "Matplotlib"))):
        raise InputError(
            f"{shown(path)} is in the way and was not written by this run; move it, or choose another --out"
        )


def values_of(command: Any) -> dict[str, Any]:
    """Returns the value of every option, those of nested dataclasses beside the others.

    Args:
        command: Dataclass of options.

    Returns:
        Values by the option's name.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        values |= values_of(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def environment() -> dict[str, Any]:
    """Returns what decides a run's numbers besides settings and code: versions, device and dtype."""
    device = jax.devices()[0]
    return {
        "versions": {name: version(name) for name in VERSIONS_OF} | {"python": sys.version.split()[0]},
        "device": f"{device.platform}: {device.device_kind}",
        "dtype": str(jnp.result_type(float)),
    }


def hash_of_code(*roots: Path) -> str:
    """Computes a short hash of all Python files below some folders.

    Args:
        roots: The folders, or single files.
    """
    sources = sorted(file for root in roots for file in ([root] if root.is_file() else root.glob("**/*.py")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
