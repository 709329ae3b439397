"""Files of sensors, grids and trips as other programs write them, and each fault in one line."""

import sys

import h5py
import numpy as np
import pytest
import scipy.sparse

import jaxcast
from jaxcast.series import read_adjacency, read_coordinates, read_distances, read_grid, read_od, read_sensors
from jaxcast.series.files.regions import read_names, read_regions

COUNTS = np.arange(15.0).reshape(5, 3)


def archive(path, name="data.npz", **arrays):
    np.savez(path / name, **arrays)
    return path / name


def fixed_table(path, values, columns, nanoseconds, blocks):
    """Writes what pandas' `to_hdf` writes in its fixed format: each block holds some of the columns."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"] = "frame"
        group["axis0"] = np.asarray(columns, "S")
        group["axis1"] = nanoseconds
        group["axis1"].attrs["kind"] = b"datetime64"
        for k, (numbers, dtype) in enumerate(blocks):
            group[f"block{k}_items"] = np.asarray([columns[n] for n in numbers], "S")
            group[f"block{k}_values"] = values[:, numbers].astype(dtype)
    return path


def test_an_archive_of_counts_brings_its_places_graphs_and_weather(tmp_path):
    graph = np.asarray([[0, 1, 0.5], [1, 0, 0], [0, 0, 0]])
    file = archive(
        tmp_path, counts=COUNTS.astype(np.int16), latitude=[1.0, 2, 3], longitude=[4.0, 5, 6], weather=COUNTS[:, :2],
        graph_road=graph, graph_line=graph.T, names=["a", "b", "c"],
    )  # fmt: skip
    data = read_sensors(file, missing=7)
    expected = COUNTS.copy()
    expected[2, 1] = np.nan
    np.testing.assert_array_equal(data.values, expected)
    assert data.names == ("a", "b", "c")
    np.testing.assert_array_equal(data.graphs["road"], graph)
    np.testing.assert_array_equal(data.graphs["line"], graph.T)
    np.testing.assert_array_equal(data.past_covariates, COUNTS[:, :2])
    assert data.latitude.tolist() == [1, 2, 3]
    assert data.longitude.tolist() == [4, 5, 6]
    assert data.notes == ("1 value missing (6.7 %)",)


def test_sensors_of_zeros_are_reported(tmp_path):
    values = np.ones((4, 8, 2))
    values[:, 1:] = 0
    values[2, 7, 1] = 3
    file = archive(tmp_path, data=values)
    assert read_sensors(file).notes == ("6 sensors with 0 at all times: 1, 2, 3, 4, 5 and 1 more",)
    unknown = read_sensors(file, missing=0).notes
    assert unknown[1] == "6 sensors without any value: 1, 2, 3, 4, 5 and 1 more"
    values[:, 1:7] = 1
    assert read_sensors(archive(tmp_path, data=values[:2])).notes == ("1 sensor with 0 at all times: 7",)


def test_a_table_of_pandas_is_read_with_its_dates_whatever_the_order_of_its_blocks(tmp_path):
    start = np.datetime64("2012-03-01T00:00", "ns").astype(np.int64)
    rows = start + 300 * 10**9 * np.arange(5)
    columns = ["773869", "767541", "767542"]
    file = fixed_table(tmp_path / "metr-la.h5", COUNTS, columns, rows, [([2, 0], "f8"), ([1], "i8")])
    data = read_sensors(file)
    np.testing.assert_array_equal(data.values, COUNTS)
    assert data.names == tuple(columns)
    assert str(data.dates[1]) == "2012-03-01T00:05:00.000000000"
    table = jaxcast.series.series_table(data.values, data.dates, names=data.names)
    assert table.calendar.step == "5 minutes"


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "metr-la.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(jaxcast.InputError, match=r"h5py.*'jaxcast\[graphs\]'"):
        read_sensors(tmp_path / "metr-la.h5")


def test_a_csv_without_dates_names_its_sensors(tmp_path):
    (tmp_path / "speeds.csv").write_text("71,72\n1,2\n,4\n")
    data = read_sensors(tmp_path / "speeds.csv")
    np.testing.assert_array_equal(data.values, [[1, 2], [np.nan, 4]])
    assert data.names == ("71", "72")


def test_distances_are_put_in_the_order_of_the_names(tmp_path):
    file = tmp_path / "distances.csv"
    file.write_text("from,to,distance\n3,1,30\n1,3,40\n2,1,5\n2,1,7\n9,1,1\n")
    inf = np.inf
    one_way = [[0, inf, 40], [5, 0, inf], [30, inf, 0]]
    np.testing.assert_array_equal(read_distances(file, ("1", "2", "3"), others=True), one_way)
    both = [[0, 5, 30], [5, 0, inf], [30, inf, 0]]
    np.testing.assert_array_equal(read_distances(file, ("1", "2", "3"), others=True, symmetric=True), both)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_trips_are_those_that_scipy_reads(kind, tmp_path):
    rng = np.random.default_rng(0)
    trips = rng.poisson(0.3, (6, 16)) * 10**6
    matrix = scipy.sparse.coo_matrix(trips)
    if kind == "coo":  # an entry listed twice adds up
        matrix = scipy.sparse.coo_matrix((np.r_[matrix.data, 5], (np.r_[matrix.row, 0], np.r_[matrix.col, 3])), (6, 16))
    scipy.sparse.save_npz(tmp_path / "od.npz", matrix.asformat(kind))
    od = read_od(tmp_path / "od.npz")
    np.testing.assert_array_equal(od.pairs, matrix.toarray())
    assert od.values[2, 1, 3] == matrix.toarray()[2, 7]


def test_trips_keep_rows_as_origins_and_zones_without_trips_are_reported(tmp_path):
    trips = np.zeros((4, 3, 3), np.uint8)
    trips[:, 0, 1], trips[:, 1, 1] = 200, 3
    for file in (archive(tmp_path, od=trips), archive(tmp_path, "flat.npz", trips=trips.reshape(4, 9))):
        od = read_od(file)
        np.testing.assert_array_equal(od.values, trips)
        assert od.notes == ("1 zone without trips from it: 2", "2 zones without trips to it: 0, 2")
    assert read_od(archive(tmp_path, od=trips, names=["a", "b", "c"])).names == ("a", "b", "c")


def test_a_grid_is_read_with_channels_last_or_second_from_numpy_or_hdf5(tmp_path):
    values = np.arange(48.0).reshape(2, 3, 4, 2)
    np.save(tmp_path / "grid.npy", values)
    with h5py.File(tmp_path / "BJ13.h5", "w") as file:
        file["data"], file["date"] = np.moveaxis(values, 3, 1), np.asarray([b"2013070101", b"2013070102"])
    one, other = read_grid(tmp_path / "grid.npy"), read_grid(tmp_path / "BJ13.h5", channels_last=False)
    for grid in (one, other):
        np.testing.assert_array_equal(grid.values, values)
        np.testing.assert_array_equal(grid.nodes[:, grid.names.index("1,2")], values[:, 1, 2])


def test_an_adjacency_with_the_index_of_pandas_is_read(tmp_path):
    file = tmp_path / "adjacency.csv"
    file.write_text(",a,c\na,0,2\nc,3,0\n")
    assert read_adjacency(file, ("c", "a")).tolist() == [[0, 3], [2, 0]]


def test_tables_without_a_header_are_read_in_their_usual_order(tmp_path):
    """As distances_bay_2017.csv and graph_sensor_locations_bay.csv of PEMS-BAY, and the weights of T-GCN."""
    (tmp_path / "distances.csv").write_text("400001,400001,0.0\n400001,400017,5108.4\n")
    distances = read_distances(tmp_path / "distances.csv", ("400017", "400001"))
    np.testing.assert_array_equal(distances, [[0, np.inf], [5108.4, 0]])
    (tmp_path / "places.csv").write_text("400001,37.36,-121.9\n400017,37.25,-121.94\n")
    assert read_coordinates(tmp_path / "places.csv", ("400017", "400001"))[1].tolist() == [-121.94, -121.9]
    (tmp_path / "weights.csv").write_text("1,0.5,0\n0.25,1,0\n0,0,1\n")
    weights = [[1, 0.5, 0], [0.25, 1, 0], [0, 0, 1]]
    for names in (("a", "b", "c"), ("773869", "767541", "767542"), ("0", "1", "2")):
        np.testing.assert_array_equal(read_adjacency(tmp_path / "weights.csv", names), weights)
    (tmp_path / "bad.csv").write_text("400001,400017,1\n400001,400017,-1\n")
    with pytest.raises(jaxcast.InputError, match=r"bad.csv, line 2: expected a distance"):
        read_distances(tmp_path / "bad.csv", ("400017", "400001"))


def test_places_are_found_by_the_column_that_has_the_names(tmp_path):
    """As graph_sensor_locations.csv of METR-LA, whose first column numbers the rows."""
    (tmp_path / "places.csv").write_text(
        "index,sensor_id,latitude,longitude\n0,773869,34.15,-118.3\n1,767541,34.1,-118.2\n"
    )
    assert read_coordinates(tmp_path / "places.csv", ("767541", "773869"))[0].tolist() == [34.1, 34.15]


def test_names_are_read_a_line_or_a_comma_each(tmp_path):
    for text in ("317842\n318711\n", "317842,318711\n", "\ufeff317842\r\n318711"):
        (tmp_path / "PEMS03.txt").write_text(text)
        assert read_names(tmp_path / "PEMS03.txt") == ("317842", "318711")
    (tmp_path / "PEMS03.txt").write_text(" \n")
    with pytest.raises(jaxcast.InputError, match="holds no names"):
        read_names(tmp_path / "PEMS03.txt")


def test_cells_and_pairs_of_zones_are_read_as_series(tmp_path):
    grid = np.arange(48.0).reshape(4, 2, 3, 2)
    cells = read_regions(archive(tmp_path, taxi=grid, bike=grid[..., :1], mask=np.ones((2, 2))))
    np.testing.assert_array_equal(cells.values[:, cells.names.index("1,2")], grid[:, 1, 2][:, [0, 1, 0]])
    np.testing.assert_array_equal(cells.graphs["grid"], jaxcast.series.grid_graph(2, 3, corners=True))
    trips = np.arange(8).reshape(2, 2, 2)
    scipy.sparse.save_npz(tmp_path / "sparse.npz", scipy.sparse.csr_matrix(trips.reshape(2, 4)))
    for file in (archive(tmp_path, od=trips), tmp_path / "sparse.npz"):
        pairs = read_regions(file, names=("north", "south"))
        assert pairs.names == ("north to north", "north to south", "south to north", "south to south")
        np.testing.assert_array_equal(pairs.values[:, 1], trips[:, 0, 1])
    sensors = read_regions(archive(tmp_path, data=COUNTS), names=("a", "b", "c"), missing=7)
    assert (sensors.names, sensors.notes) == (("a", "b", "c"), ("1 value missing (6.7 %)",))


def broken(path):
    """Every fault: the call, and what its message must say."""
    pickled = archive(path, "pickled.npz", counts=COUNTS, graph_road=np.asarray([[None]]))
    np.save(path / "objects.npy", np.asarray([None]))
    distances, table = path / "distances.csv", path / "adjacency.csv"
    signed = path / "signed.csv"
    table.write_text("a,c\n1,2\n3,4\n")
    signed.write_text("a,c\n1,-2\n3,4\n")
    (path / "adj_mx.pkl").write_bytes(b"")
    (path / "whole.npz").write_bytes(archive(path, "x.npz", counts=COUNTS).read_bytes()[:-40])
    np.save(path / "adjacency.npy", -np.ones((2, 2)))
    negative, unknown, unnamed, none = (path / f"{k}.csv" for k in "abcd")
    negative.write_text("from,to,cost\n0,1,3\n1,0,-3\n")
    unknown.write_text("from,to,cost\n0,1,3\n0,77,3\n")
    unnamed.write_text("from,to,speed\n0,1,3\n")
    distances.write_text("from,to,cost\n5,6,1\n")
    none.write_text("from,to,cost\n0,1,\n")
    ids = ("0", "1", "2")
    bad = np.asarray([[0, 1.0], [-2, 0]])
    with h5py.File(path / "other.h5", "w") as file:
        file["speed"] = COUNTS
    return {
        "no such file": (lambda: read_sensors(path / "nothing.npz"), "there is no file"),
        "cut off": (lambda: read_sensors(path / "whole.npz"), "not a whole .npz archive"),
        "missing key": (lambda: read_sensors(archive(path, a=COUNTS, b=COUNTS)), r"a \(5, 3\), b \(5, 3\); call it counts, or name it"),
        "wrong key": (lambda: read_sensors(archive(path, a=COUNTS), key="c"), r"no array 'c'; it holds a \(5, 3\)"),
        "four axes": (
            lambda: read_sensors(archive(path, data=np.ones((2, 2, 2, 2)))),
            "expected 2 or 3 axes in 'data'",
        ),
        "text": (lambda: read_sensors(archive(path, data=np.full((2, 2), "a"))), "expected numbers in 'data'"),
        "empty": (lambda: read_sensors(archive(path, data=np.ones((0, 3)))), "'data' is empty"),
        "infinite": (lambda: read_sensors(archive(path, data=np.where(COUNTS == 4, np.inf, COUNTS))), r"got inf at \(1, 1\)"),
        "pickled graph": (lambda: read_sensors(pickled), "'graph_road' is pickled Python objects"),
        "pickled values": (lambda: read_od(path / "objects.npy"), "array.* pickled"),
        "pickle": (lambda: read_sensors(path / "adj_mx.pkl"), "is a pickle, which can run code"),
        "pickled adjacency": (lambda: read_adjacency(path / "adj_mx.pkl", ids), "from,to,cost"),
        "other nodes": (lambda: read_sensors(archive(path, data=COUNTS, graph_a=bad)), r"graph_a.*got \(2, 2\)"),
        "negative weight": (
            lambda: read_sensors(archive(path, data=COUNTS[:, :2], graph_a=bad)), "got -2 between '1' and '0'"
        ),
        "weight NaN": (
            lambda: read_sensors(archive(path, data=COUNTS[:, :2], graph_a=bad * np.nan)), "finite weights.*got nan"
        ),
        "places": (lambda: read_sensors(archive(path, data=COUNTS, latitude=[1.0])), r"expected shape \(3,\) in 'lat"),
        "degrees": (lambda: read_sensors(archive(path, data=COUNTS, latitude=[1, 2, 91])), "at most 90 in latitude"),
        "half a place": (lambda: read_sensors(archive(path, data=COUNTS, latitude=[1, 2, 3])), "got latitude alone"),
        "weather": (lambda: read_sensors(archive(path, data=COUNTS, weather=COUNTS[1:])), "'weather'.*the 5 rows"),
        "names": (lambda: read_sensors(archive(path, data=COUNTS), names=("a", "b", "a")), "3 different names.*got 2"),
        "hdf5 layout": (lambda: read_sensors(path / "other.h5"), "pandas' fixed format, found speed"),
        "hdf5 bytes": (lambda: read_sensors((path / "adj_mx.pkl").rename(path / "cut.h5")), "cannot be read as HDF5"),
        "unknown id": (lambda: read_distances(unknown, ids), "line 3: '77' is none of the 3 sensors"),
        "no id": (lambda: read_distances(distances, ids, others=True), "no distance between the 3 sensors"),
        "negative distance": (lambda: read_distances(negative, ids), "line 3.*not negative, got -3"),
        "distance missing": (lambda: read_distances(none, ids), "line 2.*not negative, got nan"),
        "columns": (lambda: read_distances(unnamed, ids), "from, to and cost, got from, to, speed"),
        "adjacency of others": (lambda: read_adjacency(table, ("a", "b")), "it lacks b; it also has c"),
        "adjacency negative": (lambda: read_adjacency(path / "adjacency.npy", ("a", "b")), "not negative, got -1"),
        "adjacency negative, a table": (lambda: read_adjacency(signed, ("a", "c")), "got -2 between 'a' and 'c'"),
        "negative trips": (
            lambda: read_od(archive(path, od=-np.eye(3)[None])), "got -1 at time 0 from zone 0 to zone 0"
        ),
        "no square": (lambda: read_od(archive(path, od=np.ones((3, 5)))), "a square number, got 5"),
        "not square": (lambda: read_od(archive(path, od=np.ones((3, 5, 4)))), "as many destinations as origins"),
        "sparse kind": (lambda: read_od(archive(path, format=b"dia", shape=[1, 1], data=[1])), "got dia"),
        "sparse index": (
            lambda: read_od(archive(path, format=b"csr", shape=[1, 4], data=[1], indices=[4], indptr=[0, 1])),
            "its columns are not those",
        ),
        "sparse pointers": (
            lambda: read_od(archive(path, format=b"csr", shape=[2, 4], data=[1], indices=[3], indptr=[0, 2, 1])),
            "its 'indptr' is not that",
        ),
        "sparse size": (
            lambda: read_od(archive(path, format=b"csr", shape=[2**40, 4], data=[1], indices=[3], indptr=[0])),
            "would need",
        ),
        "several grids": (lambda: read_grid(archive(path, a=COUNTS[None], b=COUNTS[None])), "name it with key="),
        "grids of other sizes": (
            lambda: read_grid(archive(path, a=COUNTS[None], b=COUNTS[None, 1:]), keys=("a", "b")), "of one grid only"
        ),
    }  # fmt: skip


def test_each_fault_is_told_in_one_line(tmp_path):
    for name, (call, message) in broken(tmp_path).items():
        with pytest.raises(jaxcast.InputError, match=message) as told:
            call()
        assert "\n" not in str(told.value), name
