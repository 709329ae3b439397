"""Finished trials in a file, so that an interrupted comparison goes on where it stopped."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.io.files import write_arrays
from jaxcast.io.reading import parse_json, read_arrays
from jaxcast.selection.trials import BestSetting, Times, Trial, left_out


class KeptTrials:
    """The trials of methods, each written when it is finished.

    Args:
        path: of the file; None to keep nothing.
        identity: what tells the comparison from others, as JSON values.

    Raises:
        InputError: for a file that is damaged, or of another comparison.
    """

    def __init__(self, path: Path | None, identity: dict[str, Any]):
        self.path, self.identity = path, identity
        self.best: dict[str, BestSetting] = {}
        self.left_out: dict[str, Trial] = {}
        if path is not None and path.exists():
            self._read(path)

    def add(self, name: str, found: BestSetting | Trial) -> None:
        """Keeps a finished trial.

        Args:
            name: of the method.
            found: its best setting, or why it has none.
        """
        if isinstance(found, Trial):
            self.left_out[name] = found
        else:
            self.best[name] = found
        if self.path is None:
            return
        record = {
            "identity": self.identity,
            "best": {name: _as_json(one) for name, one in self.best.items()},
            "left_out": {name: [one.reason, one.seconds] for name, one in self.left_out.items()},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(self.path, {"__trials__": json.dumps(record)})

    def _read(self, path: Path) -> None:
        fix = "delete it to start afresh, or choose another"
        try:
            record = parse_json(str(read_arrays(path)["__trials__"]))
            identity = dict(record["identity"])
            self.best = {name: _from_json(one) for name, one in record["best"].items()}
            self.left_out = {name: left_out(name, *one) for name, one in record["left_out"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{shown(path)} is not a checkpoint of fit_pool; {fix}") from None
        differences = [name for name in identity | self.identity if identity.get(name) != self.identity.get(name)]
        if differences:
            raise InputError(
                f"{shown(path)} is the checkpoint of another comparison, with other {shown(', '.join(differences))}; "
                f"give the same settings, {fix}"
            )


def _as_json(found: BestSetting) -> dict[str, Any]:
    times = {name: np.asarray(value).tolist() for name, value in found.times._asdict().items()}
    return {"setting": found.setting, "times": times, "seconds": found.seconds}


def _from_json(record: dict[str, Any]) -> BestSetting:
    times, censored, error, factors = (record["times"][name] for name in Times._fields)
    factors = None if factors is None else np.asarray(factors, float)
    found = Times(np.asarray(times, float), np.asarray(censored, bool), float(error), factors)
    return BestSetting(dict(record["setting"]), found, float(record["seconds"]))
