"""Hub tables with faults put in at random, and an independent reading of those that are plain
text."""

import csv
import gzip
import re

import numpy as np
import polars as pl

DATES = np.datetime64("2024-01-06") + 7 * np.arange(4)
LEVELS = (0.25, 0.5, 0.75)
TARGET = "wk inc death"
LAYOUTS = {
    "tidy": ("model", "location", "reference_date", "target_end_date", "horizon", "quantile", "value"),
    "legacy": ("forecast_date", "target", "target_end_date", "location", "type", "quantile", "value"),
    "hubverse": (
        "reference_date", "target", "horizon", "target_end_date", "location", "output_type", "output_type_id", "value",
    ),
}  # fmt: skip
CELLS = (
    "", " ", "NA", "nan", "inf", "-inf", "1e400", "1e308", "1e-320", "1_0", " 1 ", "junk", "-1", "0", "1.9", "1.0", "2",
    "99999999999", "1e9", '"', '""', 'a"b', '"open', "closed\"", "a,b", "Z\u00fcrich", "\x00", "x\ny", "a" * 3000, "2024-13-45",
    "9999-12-31", "0001-01-01", "2024-01-06T12:00", "2024-01-06T00:00:00Z", "2024-01-10 25:00", "2024-01-10T17:00:00+01:00", "20240106", "06/01/2024", "quantile", "mean",
    "0x10", "\uff11", "+3", "1,5", "TRUE", "\u2028", "\x1b[31m", "1 wk ahead", "1 wk ahead inc death",
)  # fmt: skip


def rows_of(layout, model):
    """Texts of one model's rows, the values different in every cell and increasing in the level."""
    rows = []
    for place, t, horizon in np.ndindex(2, len(DATES), 2):
        end, name = DATES[t], ("01", "US")[place]
        start = end - np.timedelta64(7 * (horizon + 1), "D")
        for level in LEVELS:
            value = f"{100 + 10 * place + t + level + 50 * (model == 'b-y')}"
            rows.append({
                "tidy": [model, name, start, end, horizon + 1, level, value],
                "legacy": [start + np.timedelta64(2, "D"), f"{horizon + 1} wk ahead inc death", end, name, "quantile", level, value],
                "hubverse": [start, TARGET, horizon + 1, end, name, "quantile", level, value],
            }[layout])  # fmt: skip
        if layout != "tidy":
            rows.append([*rows[-1][:-3], "point" if layout == "legacy" else "mean", "NA", "7"])
    return [[str(cell) for cell in row] for row in rows]


def truth_rows():
    dates = DATES[0] + 7 * np.arange(-12, 5)
    return [[place, str(date), f"{100 + i}"] for place in ("01", "US") for i, date in enumerate(dates)]


def release_rows():
    """The truth as of each Wednesday, revised every time, the newest date later than the others."""
    rows = []
    for release in range(5):
        as_of = DATES[0] + np.timedelta64(7 * release - 3, "D")
        for place, date, value in truth_rows():
            if np.datetime64(date) < as_of:
                rows.append([["", "T17:00:00Z", " 23:59-05:00"][release % 3], place, date, f"{value}.{release}"])
                rows[-1][0] = f"{as_of}{rows[-1][0]}"
    return rows


TRUTHS = {
    "final": (("location", "date", "value"), truth_rows),
    "releases": (("as_of", "location", "date", "value"), release_rows),
}


def tables_of(layout):
    """Header and rows of every file of a hub, by its path in the folder."""
    if layout == "tidy":
        return {"tidy": (LAYOUTS[layout], rows_of(layout, "a-x") + rows_of(layout, "b-y"))}
    root = {"legacy": "data-processed", "hubverse": "model-output"}[layout]
    return {f"{root}/{model}/2024-01-06-{model}": (LAYOUTS[layout], rows_of(layout, model)) for model in ("a-x", "b-y")}


def spoil_rows(rng, header, rows, times):
    """A table's header and rows with faults in cells, rows and columns."""
    header, rows = list(header), [list(row) for row in rows]
    for _ in range(times):
        kind, i = rng.integers(12), int(rng.integers(len(rows))) if rows else 0
        column = int(rng.integers(len(header))) if header else 0
        if not rows or not header:
            break
        if kind <= 4 and column < len(rows[i]):
            rows[i][column] = str(rng.choice(CELLS))
        elif kind == 5 and column < len(rows[i]):
            rows[i][column] += str(rng.choice([" junk", "x", " ", '"', ".5", "\n", ";"]))
        elif kind == 6:
            rows[i] = [rows[i][:-1], [*rows[i], "7"], [], [""] * len(header), rows[i] * 2][int(rng.integers(5))]
        elif kind == 7:
            rows.insert(int(rng.integers(len(rows))), list(rows[i]))
        elif kind == 8:
            del rows[i : i + int(rng.integers(1, 4))]
        elif kind == 9 and rng.random() < 0.3:
            header[column] = str(
                rng.choice(["", "value", "x", header[0], " location", "row", "(row)", "file", "a,b", '"'])
            )
        elif kind == 10 and rng.random() < 0.3:
            rows = [[*row[:column], str(rng.choice(CELLS)), *row[column + 1 :]] for row in rows]
        elif kind == 11 and rng.random() < 0.2:
            rows = rows[: int(rng.integers(2))]
    return header, rows


def spoil_bytes(rng, content, times):
    """The bytes of a file with faults of encodings, line ends, lengths and single bytes."""
    data = bytearray(content)
    for _ in range(times):
        kind = rng.integers(14)
        if kind <= 3 and data:
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        elif kind == 4:
            del data[int(rng.integers(len(data) + 1)) :]
        elif kind == 5:
            data[:0] = bytes(rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"# comment\n", b"PAR1"]))
        elif kind == 6 and data:
            start = int(rng.integers(len(data)))
            del data[start : start + int(rng.integers(1, 30))]
        elif kind == 7 and rng.random() < 0.5:
            data = data.replace(b"\n", bytes(rng.choice([b"\r\n", b"\r", b"\n\n"])))
        elif kind == 8 and rng.random() < 0.3:
            data = bytearray(data.decode("latin-1").encode("utf-16"))
        elif kind == 9 and rng.random() < 0.3:
            data = data.replace(b",", bytes(rng.choice([b";", b"\t"])))
        elif kind == 10 and rng.random() < 0.2:
            data = bytearray(rng.choice([b"", b"\n", b",,,\n", gzip.compress(bytes(data)), b"\x00" * 40]))
        elif kind == 11:
            data.insert(int(rng.integers(len(data) + 1)), ord('"'))
        elif kind == 12 and data:
            start = int(rng.integers(len(data)))
            data[start : start + 8] = rng.integers(0, 256, 8, dtype=np.uint8).tobytes()
        elif kind == 13:
            data += bytes(rng.choice([b"\n\n", b"x", b'"', b"1,2", b"\x1a", b",,,,,,\n"]))
    return bytes(data)


def write_csv(path, header, rows, quoting):
    """Cells with a separator, quote or line end in them are quoted, or none is."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        if quoting:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
        else:
            file.writelines(",".join(row) + "\n" for row in [header, *rows])


def write_parquet(rng, path, header, rows, times):
    """Columns of other types than text, nested ones among them."""
    header = [name or f"_{i}" for i, name in enumerate(header)]
    width = len(header)
    columns = {name: [([*row, *[None] * width])[i] for row in rows] for i, name in enumerate(header)}
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    for name in frame.columns:
        if re.search("date", name) and rng.random() < 0.5:
            frame = frame.with_columns(pl.col(name).str.to_date("%Y-%m-%d", strict=False))
        elif name == "as_of" and rng.random() < 0.5:
            day = pl.col(name).str.head(10).str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
            frame = frame.with_columns(day.dt.replace_time_zone(str(rng.choice(["UTC", "Asia/Tokyo"]))))
        elif name in ("horizon", "quantile", "value", "output_type_id") and rng.random() < 0.7:
            kind = [pl.Float64, pl.Float32, pl.Int32][int(rng.integers(3 if name == "horizon" else 2))]
            frame = frame.with_columns(pl.col(name).cast(kind, strict=False))
    for name in rng.choice(frame.columns, min(times, 2, frame.width), replace=False) if frame.width else ():
        text = pl.col(name).cast(pl.String)
        changes = [
            text.map_elements(lambda x: [x], return_dtype=pl.List(pl.String)), pl.struct(pl.col(name).alias("inner")),
            text.cast(pl.Binary), pl.lit(None).alias(name), pl.lit(True).alias(name), text.cast(pl.Categorical),
            pl.lit(1.5).alias(name), pl.date(2024, 1, 6).alias(name), pl.lit(float("nan")).alias(name),
            pl.duration(days=3).alias(name), pl.lit(2**62).alias(name), text.cast(pl.Float64, strict=False),
            pl.lit("2024-01-06").str.to_datetime().alias(name), text.cast(pl.Decimal(20, 3), strict=False),
        ]  # fmt: skip
        frame = frame.with_columns(changes[int(rng.integers(len(changes)))].alias(name))
    frame.write_parquet(path)


def make_case(folder, seed, *, heavy=False):
    """Writes a hub with faults in its forecasts, its truth or both.

    Returns the path of the forecasts, that of the truth, and whether both are .csv.
    """
    rng = np.random.default_rng(seed)
    layout, suffix = str(rng.choice(list(LAYOUTS))), str(rng.choice([".csv", ".csv", ".parquet"]))
    truth_suffix = str(rng.choice([".csv", ".csv", ".parquet"]))
    truth_header, rows_of_truth = TRUTHS[str(rng.choice(list(TRUTHS)))]
    tables = tables_of(layout) | {"truth": (truth_header, rows_of_truth())}
    chosen = str(rng.choice(list(tables)))
    for name, (header, rows) in tables.items():
        times = int(rng.integers(10, 60) if heavy else rng.integers(1, 4)) if name == chosen else 0
        path = folder / f"{name}{truth_suffix if name == 'truth' else suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        in_bytes = times > 0 and rng.random() < 0.35
        header, rows = (header, rows) if in_bytes else spoil_rows(rng, header, rows, times)
        if path.suffix == ".csv":
            write_csv(path, header, rows, rng.random() < 0.7)
        else:
            write_parquet(rng, path, header, rows, times if rng.random() < 0.4 and not in_bytes else 0)
        if in_bytes:
            path.write_bytes(spoil_bytes(rng, path.read_bytes(), times))
    forecasts = folder / f"tidy{suffix}" if layout == "tidy" else folder
    return forecasts, folder / f"truth{truth_suffix}", suffix == ".csv"


def read_plainly(forecasts):
    """The quantiles of horizon 1 in a hub of .csv files by Python's csv module: {(model, location,
    date, level): value}."""
    found = {}
    for path in [forecasts] if forecasts.is_file() else sorted(forecasts.glob("*/*/*.csv")):
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if any(row)]
        for row in rows:
            cells = dict(zip(header, row, strict=True))
            if cells.get("type", cells.get("output_type", "quantile")) != "quantile":
                continue
            steps = cells["horizon"] if "horizon" in cells else cells["target"].split()[0]
            if float(steps) == 1:
                level = cells.get("quantile", cells.get("output_type_id"))
                end = cells.get("target_end_date") or str(
                    np.datetime64(cells["reference_date"]) + np.timedelta64(7, "D")
                )
                key = (
                    cells.get("model", path.parent.name),
                    cells["location"],
                    end.removesuffix("T00:00:00Z"),
                    round(float(level), 6),
                )
                found[key] = float(cells["value"])
    return found


def as_found(hub):
    """The same of a hub that was loaded."""
    return {
        (hub.models[m], hub.locations[p], str(hub.dates[t]), float(hub.levels[q])): float(hub.quantiles[p, t, m, q])
        for p, t, m, q in zip(*np.nonzero(~np.isnan(hub.quantiles)), strict=True)
    }
