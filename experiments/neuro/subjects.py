"""The subjects of the part "classification": ABIDE, an archive of one's own, or simulated ones."""

import csv
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcast import InputError
from jaxcast.errors import shown
from jaxcast.io import archives
from jaxcast.neuro import SubjectSeries, simulate_subjects, subject_series

FILES = tuple(f"timeseries_{number}of3.npz" for number in (1, 2, 3))

CONFOUNDS = ("site", "age", "sex")
COLUMNS = ("subject", "asd", "sex", "site", "age")


def read_abide(folder: Path, task: str) -> SubjectSeries:
    """Reads the series of ABIDE, whose data are for research that is not commercial.

    Args:
        folder: with the archives and subjects.csv.
        task: "autism" or "sex", what the labels say; the other stays a confound.

    Returns:
        The subjects; class 1 is autism, or female.

    Raises:
        InputError: for files that are missing, broken or others.
    """
    missing = [name for name in (*FILES, "subjects.csv") if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{shown(folder)} lacks {', '.join(missing)}; give the folder of abide_cc200")
    series: dict[int, Any] = {}
    for name in FILES:
        found = archives.read_archive(folder / name).arrays
        if absent := [key for key in ("z", "length", "scale", "subject") if key not in found]:
            raise InputError(f"{shown(folder / name)} has no array {absent[0]}; give the folder of abide_cc200")
        ends = np.cumsum(found["length"])[:-1]
        parts = zip(found["subject"], np.split(found["z"], ends), found["scale"], strict=True)
        series |= {int(subject): values * scale for subject, values, scale in parts}
    with (folder / "subjects.csv").open(newline="") as file:
        table = csv.DictReader(file)
        if absent := [key for key in COLUMNS if key not in (table.fieldnames or ())]:
            raise InputError(
                f"subjects.csv in {shown(folder)} has no column {absent[0]}; give the folder of abide_cc200"
            )
        rows = [row for row in table if int(row["subject"]) in series]
    autism, sex = [int(row["asd"]) for row in rows], [row["sex"] for row in rows]
    classes = ("control", "autism") if task == "autism" else ("male", "female")
    return subject_series(
        [np.asarray(series[int(row["subject"])], np.float32) for row in rows],
        [classes[one] for one in (autism if task == "autism" else [int(one == "F") for one in sex])],
        classes=classes,
        site=[row["site"] for row in rows],
        age=[float(row["age"]) for row in rows],
        sex=sex if task == "autism" else None,
    )


def read_archive(file: Path, series: str, labels: str) -> SubjectSeries:
    """Reads subjects from an archive of NumPy.

    Args:
        file: .npz.
        series: name of its array (subject, time, region); shorter recordings end in scans of NaN.
        labels: name of its labels, whole numbers or texts.

    Returns:
        The subjects. "site", "age" and "sex" are taken along where the archive has them.

    Raises:
        InputError: for a file that is no archive, or lacks these arrays, and as `subject_series`
            does.
    """
    archives.check_is_file(file, "an archive of NumPy (.npz)")
    archive = archives.read_archive(file)
    found = archive.arrays
    archive.refuse_pickled((series, labels, *CONFOUNDS))
    if absent := [name for name in (series, labels) if name not in found]:
        raise InputError(
            f"{shown(file)} has no array {shown(absent[0])}; it has {shown(', '.join(found))}: name them by --series "
            "and --labels"
        )
    columns = {name: found[name] for name in (labels, *CONFOUNDS) if name in found}
    # Programs with matrices alone write a column as (subject, 1).
    flat = {name: column[:, 0] if column.shape[1:] == (1,) else column for name, column in columns.items()}
    return subject_series(found[series], flat.pop(labels), **flat)


def simulated(seed: int) -> SubjectSeries:
    """Simulates a few subjects at two sites, for tests.

    Args:
        seed: random seed.
    """
    found = simulate_subjects(48, num_regions=6, num_scans=40, planted=(1, 4), strength=2.0, key=jax.random.key(seed))
    return found.subjects._replace(site=np.repeat(["a", "b"], 24), age=np.linspace(8.0, 40, 48))
