"""Tables of series with random faults, and what may come of them."""

import contextlib
import io

import numpy as np
import polars as pl

import jaxcast
from jaxcast.cli.main import parse

CELLS = [
    "", " ", '"', '""', "'", "NA", "nan", "null", "-", "inf", "-inf", "1e300", "1e-300", "1_0", "0x1", "1,5", "1e999", "\0", "\n", "\r",
    "\uff11", "true", "2024-13-01", "2024-01-01", "2024-W01", "01.02.2024", "x" * 300, "9" * 400, "\u202e", "=1+1", "1e5", "-0", "1 2", ",", ";",
]  # fmt: skip
ENCODINGS = ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "cp1252", "utf-32"]


def good(rng):
    """A sound table as rows of texts: wide or long, of days, weeks, months or hours."""
    length = int(rng.integers(26, 44))
    step = rng.choice(["1 day", "7 days", "month", "hour", "week", "weekday"])
    dates = {
        "1 day": np.datetime64("2024-01-01") + np.arange(length),
        "7 days": np.datetime64("2024-01-07") + 7 * np.arange(length),
        "month": (np.datetime64("2021-01") + np.arange(1, length + 1)).astype("datetime64[D]") - np.timedelta64(1, "D"),
        "hour": np.datetime64("2024-01-01T00", "m") + 60 * np.arange(length),
        "week": [f"2024-W{n + 1:02d}" for n in range(length)],
        "weekday": np.busday_offset("2024-01-01", np.arange(length)),
    }[step]
    values = np.cumsum(rng.normal(size=(length, 2)), 0).round(3)
    if rng.random() < 0.6:
        return [
            ["date", "a", "b"],
            *([str(d), str(a), str(b)] for d, (a, b) in zip(dates, values.tolist(), strict=True)),
        ]
    rows = [
        [str(d), name, str(v)] for k, name in enumerate("ab") for d, v in zip(dates, values[:, k].tolist(), strict=True)
    ]
    return [["ds", "unique_id", "y"], *rows]


def spoiled(rng, rows):
    """The rows with up to three faults."""
    rows = [list(row) for row in rows]
    for _ in range(int(rng.choice([0, 1, 1, 1, 2, 3]))):
        if not rows:
            break
        i = int(rng.integers(len(rows)))
        kind = rng.choice(["cell", "cell", "drop", "twice", "swap", "ragged", "junk", "column", "cut", "blank", "move"])
        k = int(rng.integers(max(1, len(rows[i]))))
        if kind == "cell" and rows[i]:
            rows[i][k] = str(rng.choice(CELLS))
        elif kind == "drop":
            del rows[i : i + int(rng.integers(1, 4))]
        elif kind == "twice":
            rows.insert(i, list(rows[i]))
        elif kind == "swap":
            j = int(rng.integers(len(rows)))
            rows[i], rows[j] = rows[j], rows[i]
        elif kind == "ragged":
            rows[i] = rows[i][:-1] if rng.random() < 0.5 else [*rows[i], "7"]
        elif kind == "junk" and rows[i]:
            rows[i][k] += str(rng.choice(["x", " ", "Z", "+01:00", ".5", '"', "T00", "e", "\t"]))
        elif kind == "column":
            rows = [[cell for n, cell in enumerate(row) if n != k] for row in rows]
        elif kind == "cut":
            rows = rows[:i]
        elif kind == "blank":
            rows.insert(i, [])
        elif kind == "move" and rows[i]:
            rows = [row[::-1] for row in rows]
    return rows


def write_csv(rng, rows, path):
    separator = ";" if rng.random() < 0.05 else ","
    raw = str(rng.choice(["\n", "\n", "\r\n", "\r"])).join(separator.join(row) for row in rows)
    raw = raw.encode(str(rng.choice(ENCODINGS)) if rng.random() < 0.08 else "utf-8", "replace")
    if rng.random() < 0.05 and raw:
        at = int(rng.integers(len(raw)))
        raw = raw[:at] + bytes(rng.integers(0, 256, 3).tolist()) + raw[at + 2 :]
    path.write_bytes(raw)


def write_parquet(rng, rows, path):
    """The same rows with types, some columns nested, and some files damaged."""
    header, *body = rows or [[]]
    names = [name or f"c{k}" for k, name in enumerate(dict.fromkeys(header))]
    columns = {name: [row[k] if k < len(row) else None for row in body] for k, name in enumerate(names)}
    frame = pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))
    for name in names:
        kind = rng.choice(
            ["text", "float", "date", "int", "bool", "list", "struct", "zone", "binary"],
            p=[0.62, 0.2, 0.08, 0.03, 0.02, 0.01, 0.01, 0.02, 0.01],
        )
        column = frame[name]
        if kind in ("float", "int"):
            column = column.cast(pl.Float64, strict=False)
            column = column.cast(pl.Int64, strict=False) if kind == "int" else column
        elif kind in ("date", "zone"):
            column = column.str.to_date("%Y-%m-%d", strict=False)
            column = column.cast(pl.Datetime("us")).dt.replace_time_zone("Europe/Berlin") if kind == "zone" else column
        elif kind == "bool":
            column = column == "1"
        elif kind == "list":
            column = column.to_frame().select(pl.concat_list(name)).to_series()
        elif kind == "struct":
            column = column.to_frame().to_struct(name)
        elif kind == "binary":
            column = column.cast(pl.Binary)
        frame = frame.with_columns(column.alias(name))
    frame.write_parquet(path)
    if rng.random() < 0.25:
        raw = bytearray(path.read_bytes())
        for _ in range(int(rng.integers(1, 5))):
            raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        path.write_bytes(raw[: int(rng.integers(len(raw)))] if rng.random() < 0.3 else raw)


def try_one(seed, folder, *, train):
    """Reads a spoiled table, and perhaps trains on it: InputError in one line, or a table of what the file says.

    Returns "read", "refused" or "trained".
    """
    rng = np.random.default_rng(seed)
    path = folder / f"t.{'csv' if rng.random() < 0.7 else 'parquet'}"
    (write_csv if path.suffix == ".csv" else write_parquet)(rng, spoiled(rng, good(rng)), path)
    try:
        table = jaxcast.read_series(path)
        check(table)
        if not train:
            return "read"
        out = folder / "m"
        shape = [
            "--horizon",
            "2",
            "--history-size",
            "2",
            "--season",
            "0",
            "--method",
            "last_value",
            "--out",
            str(out),
            "--overwrite",
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            parse(["series", "train", "--data", str(path), *shape]).run()
        assert (out / "results.json").is_file()
        return "trained"
    except jaxcast.InputError as error:
        message = str(error)
    assert message, seed
    assert "\n" not in message, (seed, message)
    assert len(message) < 900, (seed, message)
    return "refused"


def check(table):
    """What every table must be."""
    assert len(table.names) == table.values.shape[1] == len(set(table.names))
    assert all(table.names)
    assert not np.isinf(table.values).any()
    dates = table.calendar.dates(np.arange(len(table.values) + 3))
    assert (np.diff(dates).astype(int) > 0).all()
    assert (table.calendar.rows(dates) == np.arange(len(dates))).all()
