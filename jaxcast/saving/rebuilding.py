"""Checks that a model can be made again from its description, when it is saved and when loaded."""

import json
from collections.abc import Mapping
from typing import Any

from jaxcast.errors import InputError, shown
from jaxcast.io.reading import parse_json
from jaxcast.registry import Saveable, described, rebuilt

DO_NOT_FIT = (
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    KeyError,
    OverflowError,
    RecursionError,
    MemoryError,
)
"""What `rebuilt` raises for arrays that do not fit a description."""


def as_json(config: dict[str, Any]) -> dict[str, Any]:
    """Returns settings as JSON gives them back, so that their checksum is that of what is read.

    Args:
        config: the settings.

    Raises:
        InputError: for settings that are not JSON values.
    """
    try:
        record: dict[str, Any] = parse_json(json.dumps(config))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"attributes must be JSON values ({shown(error)}); convert or leave out what is not") from None
    return record


def check_described(model: Any, config: Mapping[str, Any]) -> None:
    """Refuses settings that saving would write in another way, such as `2.0` for a whole number.

    Args:
        model: the model that was made from the settings.
        config: the settings.

    Raises:
        InputError: where they differ.
    """
    written = as_json(described(model))
    stored = {name: config[name] for name in written}
    if json.dumps(written, sort_keys=True) != json.dumps(stored, sort_keys=True):
        raise InputError("its settings are not as they are written")


def check_loadable(model: Saveable, arrays: Mapping[str, Any]) -> None:
    """Refuses a model that could not be loaded again, as its `config` describes another one.

    Args:
        model: the model.
        arrays: its arrays by their paths; of a network, shapes and dtypes are enough.

    Raises:
        InputError: with the class, and the array that does not fit.
    """
    description = as_json(described(model))
    name = type(model).__name__
    try:
        check_described(rebuilt(description, arrays), description)
    except InputError as error:
        raise InputError(
            f"cannot save a {name}: its config describes other arrays or settings than it has ({shown(error)}); read "
            "sizes in config from the last axes of arrays, as trained models have an axis of seeds in front"
        ) from None
    except DO_NOT_FIT as error:
        raise InputError(
            f"cannot save a {name}: it cannot be made again from its config and arrays "
            f"({type(error).__name__}: {shown(error)}); let config give what its constructor takes"
        ) from None
