"""Where real data lie: in the folder that JAXCAST_DATA names, else in ../shared/data."""

import os
from pathlib import Path

import pytest

DEFAULT = Path(__file__).parents[2] / "shared/data"


def real_data(name):
    """A file or folder of the data; a test without it is skipped, but fails where the data are announced, and in CI."""
    announced = os.environ.get("JAXCAST_DATA")
    path = Path(announced or DEFAULT) / name
    if path.exists():
        return path
    if announced or os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing; JAXCAST_DATA must name the folder of the data: it is {announced!r}")
    pytest.skip(f"no data: {name} is missing; experiments/README.md says where from")
