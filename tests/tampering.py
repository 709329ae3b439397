"""Folders of pools that somebody has changed by hand."""

import json

import numpy as np

from jaxcast.storage.folder import write_arrays
from jaxcast.storage.reading import CHECKSUM, checksum_of_json


def contents(folder):
    """The settings and the arrays of a folder."""
    arrays = dict(np.load(folder / "arrays.npz"))
    arrays.pop(CHECKSUM)
    return json.loads((folder / "pool.json").read_text()), arrays


def rewrite(folder, config, arrays):
    """Writes them with checksums that fit, as one could who wants to deceive."""
    config = {name: value for name, value in config.items() if name != "checksum"}
    config["arrays_checksum"] = write_arrays(folder / "arrays.npz", arrays)
    config["checksum"] = checksum_of_json(config)
    (folder / "pool.json").write_text(json.dumps(config))
