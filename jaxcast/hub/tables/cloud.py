"""Copies a hub from a bucket, or from wherever else fsspec reads."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from jaxcast.errors import InputError, shown
from jaxcast.hub.config.files import describe_hub
from jaxcast.hub.tables.file_groups import SUFFIXES

ANONYMOUS: dict[str, dict[str, Any]] = {"s3": {"anon": True}, "gs": {"token": "anon"}, "gcs": {"token": "anon"}}
"""Options of file systems that let the public read."""


def is_remote(hub: str) -> bool:
    """Returns whether a hub is given by an address such as s3://bucket.

    Args:
        hub: Folder or address.
    """
    return "://" in hub


def copy_hub(address: str, folder: str | Path, *, models: Sequence[str] = ()) -> Path:
    """Copies what is read of a hub: its description, its target data and its model output.

    Args:
        address: Where the hub is, such as s3://covid19-forecast-hub or gs://bucket/hub. Buckets of
            S3 and Google Cloud are read without credentials.
        folder: Folder of the copy, new or empty. It appears when the copy is whole.
        models: Models to copy; by default all.

    Returns:
        The folder.

    Raises:
        InputError: where fsspec or a package of the file system is not installed, for a folder that
            holds anything, and for an address that cannot be read or holds no hub.
    """
    system, root = _open(address)
    folder = Path(folder)
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{shown(folder)} holds files, which a copy of {shown(address)} could replace; name a new folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as growing:
        whole = Path(growing) / "hub"
        _copy_parts(address, system, root, whole, frozenset(models))
        folder.mkdir(exist_ok=True)
        for part in whole.iterdir():
            part.rename(folder / part.name)
    return folder


def _copy_parts(address: str, system: Any, root: str, folder: Path, models: frozenset[str]) -> None:
    """Copies the parts of a hub that are read."""
    try:
        _copy(system, root, "hub-config", folder, lambda path: path.suffix == ".json")
        hub = describe_hub(folder)
        _copy(system, root, "target-data", folder, lambda path: path.suffix in SUFFIXES)
        _copy(system, root, "model-metadata", folder, lambda path: path.suffix in (".yml", ".yaml"))
        _copy(
            system,
            root,
            hub.output_folder,
            folder,
            lambda path: path.suffix in SUFFIXES and (not models or path.parent.name in models),
        )
    except (OSError, ImportError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{shown(address)} cannot be read ({shown(error)}); copy the hub, and give the folder"
        ) from None


def _open(address: str) -> tuple[Any, str]:
    """Opens the file system of an address; returns it with the path there."""
    fsspec = _fsspec()
    protocol = address.partition("://")[0]
    try:
        system, root = fsspec.core.url_to_fs(address, **ANONYMOUS.get(protocol, {}))
    except (ImportError, ValueError, OSError) as error:
        raise InputError(
            f"{shown(address)} cannot be opened ({shown(error)}); pip install 'jaxcast[cloud]', or copy the hub"
        ) from None
    return system, str(root).rstrip("/")


def _fsspec() -> ModuleType:
    try:
        import fsspec
        import fsspec.core
    except ImportError:
        raise InputError("addresses such as s3://bucket need fsspec: pip install 'jaxcast[cloud]'") from None
    module: ModuleType = fsspec
    return module


def _copy(system: Any, root: str, name: str, folder: Path, is_wanted: Any) -> None:
    """Copies the files of a part of the hub; there may be no such part."""
    start = f"{root}/{name}"
    if not system.exists(start):
        return
    for path in system.find(start):
        inside = PurePosixPath(str(path)).relative_to(start)
        if not is_wanted(inside) or ".." in inside.parts:
            continue
        target = folder / name / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(path, str(target))
