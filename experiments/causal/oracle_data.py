"""Tables with published estimates: 401(k), the Pennsylvania bonus, and the children of IHDP."""

import csv
import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast import InputError
from jaxcast.errors import shown


class Table(NamedTuple):
    """Outcome, treatment and covariates of a data set.

    Args:
        name: of the data set.
        outcome: of each sample; zeros for IHDP, whose outcomes are simulated.
        treatment: 0 or 1.
        covariates: of each sample.
        unit: of the effect.
    """

    name: str
    outcome: Float[np.ndarray, " sample"]
    treatment: Float[np.ndarray, " sample"]
    covariates: Float[np.ndarray, "sample covariate"]
    unit: str


FILES = {"401k": "sipp1991.csv.gz", "bonus": "penn_jae.csv.gz", "ihdp": "ihdp_covariates.csv.gz"}
PENSION = ("age", "inc", "educ", "fsize", "marr", "twoearn", "db", "pira", "hown")
BONUS = ("female", "black", "othrace", "q2", "q3", "q4", "q5", "q6", "agelt35", "agegt54", "durable", "lusd", "husd")


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Reads a table of numbers.

    Args:
        path: of a .csv.gz with a header.

    Raises:
        InputError: for a file that is missing or no such table.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
        values = np.asarray(rows, float)
    except (OSError, EOFError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"expected a compressed table of numbers with a header in {shown(path)}, got {error}"
        ) from None
    if values.ndim != 2 or values.shape[1] != len(header):
        raise InputError(f"expected rows of {len(header)} numbers in {shown(path)}, got shape {values.shape}")
    return dict(zip(header, values.T, strict=True))


def chosen(columns: dict[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    """Returns some columns side by side.

    Args:
        columns: by name.
        names: of those wanted.
        path: of the file, for a message.

    Raises:
        InputError: for a column that is missing.
    """
    if missing := [name for name in names if name not in columns]:
        raise InputError(f"expected the columns {', '.join(names)} in {shown(path)}, missing: {', '.join(missing)}")
    return np.stack([columns[name] for name in names], -1)


def read_pension(folder: Path) -> Table:
    """Reads households: net financial assets, eligibility for a 401(k) plan, nine covariates.

    Args:
        folder: of the data.
    """
    path = folder / FILES["401k"]
    values = chosen(read_columns(path), ("net_tfa", "e401", *PENSION), path)
    return Table("401(k)", values[:, 0], values[:, 1], values[:, 2:], "USD")


def read_bonus(folder: Path) -> Table:
    """Reads claimants: log weeks of unemployment, offer of bonus 4 against none, fifteen covariates.

    Args:
        folder: of the data.
    """
    path = folder / FILES["bonus"]
    values = chosen(read_columns(path), ("tg", "inuidur1", "dep", *BONUS), path)
    values = values[np.isin(values[:, 0], (0, 4))]
    dependants = (values[:, 2:3] == [1, 2]).astype(float)
    covariates = np.concatenate([dependants, values[:, 3:]], -1)
    return Table("bonus", np.log(values[:, 1]), (values[:, 0] == 4).astype(float), covariates, "log weeks")


def read_children(folder: Path) -> Table:
    """Reads the usual 747 children: intensive care, 25 covariates of child, mother and site.

    Treated children of mothers who are not white are left out, which confounds the experiment; as
    usual, race is no covariate. Of
    covariates that add up, such as the sites, the last is left out.

    Args:
        folder: of the data.
    """
    path = folder / FILES["ihdp"]
    columns = read_columns(path)
    names = [name for name in columns if name not in ("treat", "site8", "momwhite", "momblack", "momhisp")]
    values = chosen(columns, ("treat", *names), path)
    kept = (values[:, 0] == 0) | (columns["momwhite"] == 1)
    values = values[kept]
    values = values[:, np.ptp(values, axis=0) > 0]
    return Table("IHDP", np.zeros(len(values)), values[:, 0], values[:, 1:], "points")


def made_tables(seed: int) -> dict[str, Table]:
    """Makes small tables in the place of the three, for the smoke preset.

    Args:
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    found = {}
    for name, unit in (("401k", "USD"), ("bonus", "log weeks"), ("ihdp", "points")):
        x = random.normal(size=(240, 3))
        treated = (random.random(240) < 1 / (1 + np.exp(-x[:, 0]))).astype(float)
        outcome = treated + x[:, 0] + x[:, 1] ** 2 + random.normal(size=240)
        found[name] = Table(f"made {name}", outcome, treated, x, unit)
    return found


def read_tables(folder: Path | None, seed: int) -> dict[str, Table]:
    """Reads the three tables.

    Args:
        folder: of the data; None for made ones.
        seed: of made ones.

    Raises:
        InputError: for a file that is missing or no such table.
    """
    if folder is None:
        return made_tables(seed)
    return {"401k": read_pension(folder), "bonus": read_bonus(folder), "ihdp": read_children(folder)}
