"""Files of real data, for the tests that need them."""

import os

import pytest

from experiments.datasets import VARIABLE, data_root

ABSENT = "no data: "
"""How the reason of a skipped test begins, for the summary that conftest.py prints."""


def real_data(name):
    """A file or folder of the data; a test without it is skipped, but fails if JAXCAST_DATA says where the data lie."""
    path = data_root() / name
    if path.exists():
        return path
    if os.environ.get(VARIABLE):
        pytest.fail(f"{name} is missing in the folder that {VARIABLE} names, {data_root()}")
    pytest.skip(f"{ABSENT}{name} is missing; the README.md of its experiment says where to get it")
