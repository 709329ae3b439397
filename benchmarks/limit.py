"""The machine's limit: benchmarks/lorenz.c, compiled where it runs."""

import ctypes
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_REAL = {"float64": ("double", ctypes.c_double), "float32": ("float", ctypes.c_float)}


@cache
def library(dtype: str) -> Any:
    """Compiles the functions for one precision; returns None, with a line on stderr, without gcc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        print("no gcc here: the rows against C are left out", file=sys.stderr)
        return None
    target = Path(tempfile.mkdtemp()) / f"lorenz-{dtype}.so"
    flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-shared", "-fPIC"]
    source = Path(__file__).with_name("lorenz.c")
    subprocess.run([compiler, *flags, f"-DREAL={_REAL[dtype][0]}", str(source), "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


def single(
    u0: np.ndarray, num_samples: int, num_substeps: int, h: float, rho0: float, rate: float, *, textbook: bool
) -> np.ndarray:
    """Simulates one trajectory with rho(t) = rho0 + rate t: (num_samples, 3)."""
    real = _REAL[u0.dtype.name][1]
    out = np.empty((num_samples, 3), u0.dtype)
    function = library(u0.dtype.name)["single_textbook" if textbook else "single_fewest"]
    function(
        _pointer(u0),
        _pointer(out),
        ctypes.c_int64(num_samples),
        ctypes.c_int64(num_substeps),
        real(h),
        real(rho0),
        real(rate),
    )
    return out


class Ensemble:
    """States for C: separate components, padded to whole vectors, with `rho0` for each trajectory."""

    def __init__(self, u0: np.ndarray, rho0: Any):
        self.num = len(u0)
        lanes = library(u0.dtype.name).lanes()
        padded = -(-self.num // lanes) * lanes
        self.start = np.ones((3, padded), u0.dtype)
        self.start[:, : self.num] = u0.T
        self.rho0 = np.full(padded, 28.0, u0.dtype)
        self.rho0[: self.num] = rho0
        self.u = np.empty_like(self.start)

    def run(
        self, num_steps: int, h: float, rate: float, record: np.ndarray | None = None, every: int = 0
    ) -> np.ndarray:
        """Returns the states after num_steps; fills `record` (num_steps / every, 3, padded)."""
        np.copyto(self.u, self.start)
        real = _REAL[self.u.dtype.name][1]
        library(self.u.dtype.name).ensemble(
            _pointer(self.u),
            _pointer(self.rho0),
            None if record is None else _pointer(record),
            ctypes.c_int64(self.u.shape[1]),
            ctypes.c_int64(num_steps),
            ctypes.c_int64(every),
            real(h),
            real(rate),
        )
        return self.u

    def new_record(self, num_records: int) -> np.ndarray:
        """Allocates a record for `run` and touches it, so that no page is mapped while timing."""
        return np.zeros((num_records, *self.u.shape), self.u.dtype)


def _pointer(a: np.ndarray) -> Any:
    return a.ctypes.data_as(ctypes.c_void_p)
