"""Files of real data, for the tests that need them."""

import os

import pytest

from experiments.datasets import VARIABLE, data_root
from tests.conftest import ABSENT


def real_data(name):
    """A file or folder of the data; a test without it is skipped, but fails if JAXCAST_DATA says where the data lie."""
    path = data_root() / name
    if path.exists():
        return path
    if os.environ.get(VARIABLE):
        pytest.fail(f"{name} is missing in the folder that {VARIABLE} names, {data_root()}")
    pytest.skip(f"{ABSENT}{name} is missing; the README.md of its experiment says where to get it")
