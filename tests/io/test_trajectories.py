import json
import subprocess
import sys

import numpy as np
import pandas
import pytest
import xarray

from jaxcast import InputError, Trajectory
from jaxcast.io import TrajectoryWriter, load_trajectory, save_trajectory
from tests.io.trajectory_files import (
    DATASETS,
    MANY,
    RUN,
    SETTINGS,
    STATES,
    SUFFIXES,
    TIMES,
    quietly_to_zarr,
    same,
    stream,
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f8", "f8"), ("f8", "f4"), ("f8", "f2")])
def test_a_trajectory_comes_back_to_the_bit(tmp_path, suffix, dtypes):
    states = STATES.copy()
    states[0] = 5e-8, -0.0, 0.1 + 0.2
    trajectory = Trajectory(np.float64(0.1) * np.arange(6).astype(dtypes[0]), states.astype(dtypes[1]))
    trajectory = Trajectory(trajectory.times.astype(dtypes[0]), trajectory.states)
    path = tmp_path / f"new/run{suffix}"
    save_trajectory(path, trajectory, components=("x", "y,", 'ü"'), attributes=SETTINGS, time_unit="days")
    loaded = load_trajectory(path)
    for before, after in zip(trajectory, loaded.trajectory, strict=True):
        assert before.dtype == after.dtype
        assert before.tobytes() == after.tobytes()
    assert loaded[1:] == (("x", "y,", 'ü"'), SETTINGS, "days")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_simulated_trajectory_is_saved_as_it_is(tmp_path, trajectory, suffix):
    save_trajectory(tmp_path / f"a{suffix}", trajectory, attributes={"dt": np.float32(0.5), "u0": trajectory.states[0]})
    loaded = load_trajectory(str(tmp_path / f"a{suffix}"))
    assert loaded.trajectory.states.tobytes() == np.asarray(trajectory.states).tobytes()
    assert loaded.components == ("u0", "u1", "u2")
    assert loaded.attributes == {"dt": 0.5, "u0": trajectory.states[0].tolist()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_replaced_only_when_asked_and_only_by_a_whole_one(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    save_trajectory(path, Trajectory(TIMES, STATES))
    with pytest.raises(InputError, match=r"exists.*overwrite it"):
        save_trajectory(path, Trajectory(TIMES, -STATES))
    first = load_trajectory(path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        patch.setattr("zarr.consolidate_metadata", full)
        with pytest.raises(InputError, match="No space left on device"):
            save_trajectory(path, Trajectory(TIMES, -STATES), overwrite=True)
    assert same(load_trajectory(path), first)
    save_trajectory(path, Trajectory(TIMES, -STATES), overwrite=True)
    assert load_trajectory(path).trajectory.states.tobytes() == (-STATES).tobytes()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_xarray_opens_our_stores(tmp_path):
    stream(tmp_path / "many.zarr")
    save_trajectory(tmp_path / "one.zarr", Trajectory(TIMES, STATES), components=("x", "y", "z"), attributes=SETTINGS)
    # Warnings are errors here.
    with xarray.open_zarr(tmp_path / "many.zarr") as many, xarray.open_zarr(tmp_path / "one.zarr") as one:
        assert many.states.dims == ("trajectory", "time", "component")
        assert one.states.dims == ("time", "component")
        np.testing.assert_array_equal(many.states.values, MANY)
        np.testing.assert_array_equal(one.sel(component="y").states.values, STATES[:, 1])
        np.testing.assert_array_equal(many.time.values, TIMES)
        assert many.time.attrs == {"units": "MTU"}
        assert many.component.values.tolist() == ["x", "y", "z"]
        assert SETTINGS.items() <= many.attrs.items()
        assert SETTINGS.items() <= one.attrs.items()


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_we_open_what_xarray_wrote(tmp_path, name, zarr_format, consolidated):
    dataset = DATASETS[name].assign_coords(time=("time", TIMES, {"units": "days"}))
    quietly_to_zarr(dataset, tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=consolidated)
    several = {"member", "trajectory"} & set(dataset.dims)
    loaded = load_trajectory(tmp_path / "a.zarr", index=1 if several else 0)
    assert loaded.trajectory.times.tobytes() == TIMES.tobytes()
    assert loaded.trajectory.states.tobytes() == STATES.tobytes()
    named = "k" in dataset.variables or "x" in dataset
    assert loaded[1:] == (("x", "y", "z") if named else ("u0", "u1", "u2"), {}, "days")


def test_packed_states_and_a_time_on_another_dimension(tmp_path):
    packed = np.arange(6, dtype="i2")[:, None] * [[1, -3]]
    dataset = xarray.Dataset(
        {"w": (("step", "k"), 0.25 * packed)}, coords={"t": ("step", np.arange("2001-01", "2001-07", dtype="M8[M]"))}
    ).assign_coords(t=("step", np.arange(6), {"units": "days since 2001-01-01"}))
    quietly_to_zarr(dataset, tmp_path / "a.zarr", encoding={"w": {"dtype": "i2", "scale_factor": 0.25}})
    loaded = load_trajectory(tmp_path / "a.zarr")
    np.testing.assert_array_equal(loaded.trajectory.states, 0.25 * packed)
    np.testing.assert_array_equal(loaded.trajectory.times, np.arange(6.0))
    assert loaded.time_unit == "days since 2001-01-01"


@pytest.mark.parametrize(
    ("arrays", "index"),
    [
        (dict(t=TIMES, anything=STATES), 0),
        (dict(times=TIMES, u=STATES, weights=np.ones((6, 2))), 0),
        (dict(time=TIMES, x=np.stack([-STATES, STATES]), note="hello", seed=3), 1),
        (dict(t=np.arange(6), data=STATES.astype(">f8"), pickled=np.array([{}])), 0),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_foreign_npz(tmp_path, arrays, index, save):
    save(tmp_path / "a.npz", **arrays)
    loaded = load_trajectory(tmp_path / "a.npz", index=index)
    assert loaded.trajectory.states.tobytes() == STATES.tobytes()
    assert loaded.trajectory.times.dtype == np.float64
    assert loaded[1:] == (("u0", "u1", "u2"), {}, "")


def test_foreign_csv(tmp_path):
    path, frame = tmp_path / "a.csv", pandas.DataFrame(STATES, columns=["x", "y", "z"])
    frame.assign(t=TIMES).to_csv(path, index=False, float_format="%.17g")
    assert same(expected := load_trajectory(path), load_trajectory(path))
    assert expected.components == ("x", "y", "z")
    assert expected.trajectory.states.tobytes() == STATES.tobytes()
    frame.set_index(TIMES).to_csv(path, float_format="%.17g", lineterminator="\r\n", encoding="utf-8-sig")
    assert same(load_trajectory(path), expected)
    np.savetxt(path, np.column_stack([TIMES, STATES]), delimiter=",", header="made elsewhere\n{}", fmt="%.17g")
    assert same(load_trajectory(path), expected._replace(components=("u0", "u1", "u2")))
    path.write_text(path.read_text() + "\n\n")
    assert same(load_trajectory(path), expected._replace(components=("u0", "u1", "u2")))


HOLE = STATES.copy()
HOLE[4, 1], HOLE[5, 2] = np.nan, np.inf
BAD_ARRAYS = [
    (TIMES[[0, 1, 3, 2, 4, 5]], STATES, r"must increase, got 1.0 after 1.5 at {3}"),
    (TIMES[[0, 1, 2, 2, 3, 4]], STATES, r"must increase, got 1.0 after 1.0 at {3}"),
    (TIMES + 1e-5 * (np.arange(6) == 4), STATES, r"evenly spaced, got a step of 0.50001 before {4} .* 0.5;"),
    (np.where(np.arange(6) == 2, np.nan, TIMES), STATES, r"times must be finite, got nan at {2}"),
    (TIMES, HOLE, r"finite, got 2 of 18 that are NaN or infinite, the first at {4}, 'u1'"),
    (TIMES[:1], STATES[:1], "at least two samples, got 1"),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bad", range(len(BAD_ARRAYS)))
def test_what_is_no_trajectory_is_neither_loaded_nor_saved(tmp_path, suffix, bad):
    times, states, message = BAD_ARRAYS[bad]
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, t=times, u=states)
    elif suffix == ".csv":
        pandas.DataFrame(states, columns=["u0", "u1", "u2"]).set_index(times).to_csv(path, na_rep="nan")
    else:
        quietly_to_zarr(xarray.Dataset({"u": (("time", "k"), states)}, {"time": times}), path)
    rows = [f"row {i} \\(counted from 0\\)" for i in range(6)]
    for_arrays = message.format(*rows)
    with pytest.raises(
        InputError, match=message.format(*(f"line {i + 2}" for i in range(6))) if suffix == ".csv" else for_arrays
    ) as caught:
        load_trajectory(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=for_arrays):
        save_trajectory(tmp_path / f"b{suffix}", Trajectory(times, states))
    assert not list(tmp_path.glob("b*"))


def test_a_missing_file_an_unknown_suffix_and_an_index_out_of_range(tmp_path):
    with pytest.raises(InputError, match=r"does not exist, expected a file ending in .npz, .csv, .zarr; check"):
        load_trajectory(tmp_path / "a.npz")
    for name in ("a.mat", "a", "a.zarr.partial"):
        with pytest.raises(InputError, match=r"ending in .npz, .csv, .zarr, got"):
            load_trajectory(tmp_path / name)
        with pytest.raises(InputError, match=r"ending in .npz, .csv, .zarr, got"):
            save_trajectory(tmp_path / name, Trajectory(TIMES, STATES))
    stream(tmp_path / "many.zarr")
    np.savez(tmp_path / "many.npz", t=TIMES, u=MANY)
    save_trajectory(tmp_path / "one.csv", Trajectory(TIMES, STATES))
    for name, index, number in [("many.zarr", 7, 7), ("many.npz", -1, 7), ("one.csv", 1, 1)]:
        with pytest.raises(InputError, match=f"holds {number} trajectories, got index {index}"):
            load_trajectory(tmp_path / name, index=index)
    for suffix in SUFFIXES:
        (tmp_path / f"folder{suffix}").mkdir()
        (tmp_path / f"empty{suffix}").touch()
        for kind in ("folder", "empty"):
            with pytest.raises(InputError, match=f"{kind}{suffix}"):
                load_trajectory(tmp_path / f"{kind}{suffix}")


def test_attributes_and_names_that_no_file_can_hold(tmp_path):
    path, trajectory = tmp_path / "a.npz", Trajectory(TIMES, STATES)
    for value in (np.nan, object(), 1j, {1, 2}):
        with pytest.raises(InputError, match="attribute 'a' must be text"):
            save_trajectory(path, trajectory, attributes={"a": value})
    for names in (("x", "y"), ("x", "y", "y"), ("x", "y", "")):
        with pytest.raises(InputError, match="3 different component names"):
            save_trajectory(path, trajectory, components=names)
    with pytest.raises(InputError, match="real numbers, got an array of complex128"):
        save_trajectory(path, trajectory._replace(states=1j * STATES))
    with pytest.raises(InputError, match="of one trajectory"):
        save_trajectory(path, trajectory._replace(states=MANY))


def test_float32_times_far_from_zero_are_even_enough(tmp_path):
    times = (1000 + np.arange(500) * 0.1).astype(np.float32)
    for suffix in SUFFIXES:
        save_trajectory(tmp_path / f"a{suffix}", Trajectory(times, np.zeros((500, 1))))
        assert load_trajectory(tmp_path / f"a{suffix}").trajectory.times.tobytes() == times.tobytes()
    with pytest.raises(InputError, match="evenly spaced"):
        save_trajectory(tmp_path / "b.npz", Trajectory(np.delete(times, 300), np.zeros((499, 1))))


@pytest.mark.parametrize("package", ["xarray", "zarr"])
def test_missing_packages_are_named_with_the_extra(tmp_path, monkeypatch, package):
    (tmp_path / "a.zarr").mkdir()
    monkeypatch.setitem(sys.modules, package, None)
    for use in (
        lambda: load_trajectory(tmp_path / "a.zarr"),
        lambda: save_trajectory(tmp_path / "b.zarr", Trajectory(TIMES, STATES)),
        lambda: TrajectoryWriter(tmp_path / "b.zarr", **RUN),
    ):
        with pytest.raises(InputError, match=r"pip install 'jaxcast\[storage\]'"):
            use()


@pytest.mark.slow
def test_importing_brings_no_storage_package():
    script = "import sys, jaxcast.io; print(sorted({'xarray', 'zarr', 'pandas'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_the_format_is_what_it_says(tmp_path):
    stream(tmp_path / "a.zarr")
    metadata = json.loads((tmp_path / "a.zarr/states/zarr.json").read_text())
    assert metadata["zarr_format"] == 3
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [3, 6, 3]
    assert metadata["dimension_names"] == ["trajectory", "time", "component"]
    assert [codec["name"] for codec in metadata["codecs"]] == ["bytes"]
    assert metadata["fill_value"] == "NaN"
    raw = (tmp_path / "a.zarr/states/c/1/0/0").read_bytes()
    assert raw == MANY[3:6].astype("<f8").tobytes()


ROWS = "time,a,b\n0,1,2\n0.5,3,4\n1,5,6\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROWS.replace(",", ";").encode(), "its columns are separated by semicolons, expected commas; save it with commas"),
        (b"t;a\n0,0;1,5\n0,5;2,5\n", "its columns are separated by semicolons"),
        (ROWS.replace(",", "\t").encode(), "its columns are separated by tabs"),
        (ROWS.replace(",", "|").encode(), "its columns are separated by vertical bars"),
        (b"0 1 2\n0.5 3 4\n", "its columns are separated by blanks"),
        (b"sep=;\n" + ROWS.encode(), "its columns are separated by semicolons"),
        (ROWS.encode("utf-16"), "expected text in UTF-8, got UTF-16; save it as a CSV in UTF-8"),
        (ROWS.encode("utf-16-le"), "expected text in UTF-8, got UTF-16"),
        (ROWS.replace("a", "größe").encode("latin-1"), "got another encoding, such as Latin-1"),
        (b"PK\x03\x04" + bytes(range(256)), "got a zip archive or an Excel file"),
        (b"\x1f\x8b\x08" + bytes(range(256)), "got a gzip archive"),
        (ROWS.replace("4", "1_234").encode(), "expected a number in line 3, column 'b', got '1_234'; fix or drop that line"),
        (ROWS.replace("4", "٤").encode(), "expected a number in line 3, column 'b', got '٤'"),
        (ROWS.replace("4", "x" * 999).encode(), r"got 'x{40}\.\.\. \(959 more characters\)'"),
        (ROWS.replace("3", "x").replace("a,", "a\x1b[3m,").encode(), r"column 'a\\x1b\[3m', got 'x'"),
        (ROWS.replace("3,4", "3").encode(), "expected 3 columns in every line, line 3 has 2; fix or drop it"),
        (ROWS.encode() + b"\n1.5,7,8\n", "expected 3 columns in every line, line 5 is blank"),
        (b"", "expected a column of times"),
        (ROWS.replace("3", "a\0b").encode(), "x.csv.*(NUL|number)"),
    ],
)  # fmt: skip
def test_tables_of_another_separator_or_encoding_say_so(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_trajectory(tmp_path / "x.csv")
    assert str(caught.value).isprintable()


def test_a_utf_8_table_with_its_mark_and_windows_line_ends_is_read(tmp_path):
    (tmp_path / "x.csv").write_bytes(ROWS.replace("\n", "\r\n").encode("utf-8-sig"))
    stored = load_trajectory(tmp_path / "x.csv")
    assert stored.components == ("a", "b")
    assert stored.trajectory.states.tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_gaps_are_read_where_they_may_be_and_infinity_never_is(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"

    def write(states):
        if suffix == ".npz":
            np.savez(path, t=TIMES, u=states)
        elif suffix == ".csv":
            pandas.DataFrame(states, columns=["u0", "u1", "u2"]).set_index(TIMES).to_csv(path)  # NaN is an empty field
        else:
            quietly_to_zarr(xarray.Dataset({"u": (("time", "k"), states)}, {"time": TIMES}), path)

    write(HOLE)
    with pytest.raises(InputError, match="must be finite, got 1 of 18 that are infinite, the first at"):
        load_trajectory(path, with_gaps=True)
    gappy = np.where(np.isinf(HOLE), 1.0, HOLE)
    if suffix == ".zarr":
        path = tmp_path / "b.zarr"
    write(gappy)
    np.testing.assert_array_equal(load_trajectory(path, with_gaps=True).trajectory.states, gappy)
    with pytest.raises(InputError):
        load_trajectory(path)
    if suffix == ".csv":
        path.write_text(path.read_text().replace("2.0,", ",", 1))
        with pytest.raises(InputError, match="times must be finite, got nan"):
            load_trajectory(path, with_gaps=True)
        for field in ("x", "\N{NO-BREAK SPACE}", "1_0", "NA"):
            path.write_text(f"t,a,b\n0,,{field}\n", encoding="utf-8")
            with pytest.raises(InputError, match="expected a number in line 2, column 'b', got '"):
                load_trajectory(path, with_gaps=True)
        path.write_text("0,,1\n0.5,3,\n")
        read = load_trajectory(path, with_gaps=True)
        assert read.components == ("u0", "u1")
        np.testing.assert_array_equal(read.trajectory.states, [[np.nan, 1], [3, np.nan]])
        path.write_text(",0,1\n0,,1\n0.5,3,\n")  # pandas writes an index without a name so
        assert load_trajectory(path, with_gaps=True).components == ("0", "1")
