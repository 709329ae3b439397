"""Files of trajectories that are damaged or hold something else."""

import numcodecs
import numpy as np
import pytest
import xarray
import zarr

from jaxcast import InputError, Trajectory
from jaxcast.io import load_trajectory, save_trajectory
from tests.io.trajectory_files import (
    DATASETS,
    SETTINGS,
    STATES,
    TIMES,
    contents,
    quietly_to_zarr,
    same,
    stream,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,x\n0,1\n1,2\n2\n", "expected 2 columns in every line, line 4 has 1"),
        ("time,x\n0,1\n\n1,2\n", "line 3 is blank"),
        ("0,1,2\n1,oops,3\n", "expected a number in line 2, column 2, got 'oops'"),
        ("# by hand\ntime,x\n0,\n1,2\n", "expected a number in line 3, column 'x', got ''"),
        ("time;x\n0;1\n1;2\n", "separated by semicolons, expected commas"),
        ("0\n1\n", "separated by commas, got 1 column"),
        (",time,x\n0,0,1\n1,1,2\n", "different component names.*name each column"),
        ("time,x\n", "at least two samples, got 0"),
        ("", "got 1 column"),
        (b"time,x\n0,\xff\n", "expected text in UTF-8"),
    ],
)
def test_broken_tables(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        load_trajectory(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (dict(u=STATES), r"times \(time,\) called time, times, t, found 0 among u \(6, 3\)"),
        (dict(t=TIMES, time=TIMES, u=STATES), "found 2 among"),
        (dict(t=TIMES, u=STATES.T), r"time = 6, found 0 among t \(6,\), u \(3, 6\); transpose"),
        (dict(t=TIMES, a=STATES, b=STATES), "found 2 among"),
        (dict(t=TIMES, u=1j * STATES), "found 0 among"),
        ({}, "no arrays"),
    ],
)
def test_archives_without_a_trajectory(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_trajectory(tmp_path / "a.npz")


def test_stores_without_a_trajectory(tmp_path):
    for k, (dataset, message) in enumerate(
        [
            (DATASETS["one variable"], "1-D coordinate called time, times, t, found w"),
            (DATASETS["beside others"].rename(u="a").assign_coords(time=TIMES), "expected one variable of states"),
            (xarray.Dataset(coords={"time": TIMES}), "expected one variable of states"),
        ]
    ):
        quietly_to_zarr(dataset, tmp_path / f"{k}.zarr")
        with pytest.raises(InputError, match=message):
            load_trajectory(tmp_path / f"{k}.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_file_cut_at_any_byte_is_an_input_error(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_trajectory(path, Trajectory(TIMES, STATES), attributes=SETTINGS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 1 if suffix == ".csv" else 3):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="a" + suffix):
            load_trajectory(path)


@pytest.mark.slow
def test_an_archive_with_wrong_bytes_is_an_input_error_or_loads_the_same(tmp_path):
    path, rng = tmp_path / "a.npz", np.random.default_rng(0)
    save_trajectory(path, Trajectory(TIMES, STATES), attributes=SETTINGS)
    whole, expected, num_refused = path.read_bytes(), load_trajectory(path), 0
    for _ in range(300):
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        try:
            assert same(
                load_trajectory(path)._replace(components=expected[1], attributes=expected[2], time_unit=expected[3]),
                expected,
            )
        except InputError:
            num_refused += 1
    assert num_refused > 150


CODECS = {
    "raw 2": None,
    "zlib 2": [numcodecs.Zlib()],
    "gzip 2": [numcodecs.GZip()],
    "lz4 2": [numcodecs.LZ4()],
    "zstd 2": [numcodecs.Zstd()],
    "bz2 2": [numcodecs.BZ2()],
    "lzma 2": [numcodecs.LZMA()],
    "raw 3": None,
    "blosc 3": [zarr.codecs.BloscCodec()],
    "gzip 3": [zarr.codecs.GzipCodec()],
}
OUR_KINDS = ("streamed", "compressed", "saved")


def make_store(kind, path):
    if kind == "streamed":
        stream(path, components=("x", "y", "zeta"))
    elif kind == "compressed":
        stream(path, compress=True)
    elif kind == "saved":
        save_trajectory(path, Trajectory(TIMES, STATES))
    else:
        dataset = DATASETS["its axes turned"].assign_coords(time=TIMES)
        codec, zarr_format = CODECS.get(kind, "default"), int(kind[-1])
        encoding = {} if codec == "default" else {name: {"compressors": codec} for name in ("w", "time")}
        quietly_to_zarr(dataset, path, zarr_format=zarr_format, consolidated="consolidated" in kind, encoding=encoding)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [*OUR_KINDS, "consolidated 2", "plain 3"]
    + [pytest.param(kind, marks=pytest.mark.slow) for kind in ("plain 2", "consolidated 3", *CODECS)],
)
def test_a_store_with_a_file_cut_or_gone_is_an_input_error_or_loads_the_same(tmp_path, kind):
    path = tmp_path / "a.zarr"
    make_store(kind, path)
    expected, ours = load_trajectory(path), kind in OUR_KINDS
    for name, whole in contents(path).items():
        file = path / name
        for length in [None, *{0, 1, 8, 16, len(whole) // 2, len(whole) - 8, len(whole) - 1}]:
            if length is None:
                file.unlink()
            else:
                file.write_bytes(whole[: max(0, length)])
            refused = None
            try:
                loaded = load_trajectory(path)
            except InputError as error:
                refused = str(error)
            else:
                other_trajectory = ours and "states" in str(name) and length is not None
                assert same(loaded, expected), (name, length)
                assert not ours or other_trajectory, (name, length)
            assert refused is None or (str(path) in refused and "\n" not in refused), (name, length)
            file.write_bytes(whole)
    assert same(load_trajectory(path), expected)
