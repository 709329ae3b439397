"""The data of `experiments.enso`: folders of forecasts, observations and official probabilities, joined."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcast.ensemble import Ensemble, read_ensemble
from jaxcast.errors import InputError, counted, shown
from jaxcast.io.tables import numbers_of, read_columns

NAME = "iri_enso_plume"
PAGE = "experiments/enso/README.md"
FILES = ("forecasts", "observations", "official_probabilities")
COLUMNS = {
    "target": "season_start",
    "value": "anomaly",
    "group": "type",
    "date": "season_start",
    "observation": "season_anomaly",
    "known_from": "issue",
    "latest_date": "month",
    "latest": "month_anomaly",
}
CATEGORIES = ("la_nina", "neutral", "el_nino")


class Official(NamedTuple):
    """Official probabilities, a row for each of the table.

    Args:
        source: Who issued them.
        issue: Place of the issue.
        lead: Place of the lead.
        probabilities: Of La Nina, neutral, El Nino.
    """

    source: str
    issue: np.ndarray
    lead: np.ndarray
    probabilities: np.ndarray


def file_of(folder: Path, name: str) -> Path:
    """Finds a table of a folder, compressed or not.

    Args:
        folder: The folder.
        name: Name of the table.

    Raises:
        InputError: where it is missing.
    """
    for suffix in (".csv.gz", ".csv"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise InputError(f"{shown(folder)} has no {name}.csv.gz; give folders of the form of {NAME}")


def load(folders: Sequence[Path], last: str | None) -> Ensemble:
    """Reads the ensemble of joined folders; targets that are not observed by the last issue have no truth.

    Args:
        folders: The folders.
        last: Last issue; None for the newest.
    """
    tables = [[file_of(folder, name) for folder in folders] for name in FILES[:2]]
    found = read_ensemble(*tables, last=last, bad="drop", columns=COLUMNS, frequency="month")
    forecasts = found.forecasts
    is_observed = np.asarray(forecasts.known_from) < len(found.issues)
    truth = jnp.where(is_observed, forecasts.truth, jnp.nan)
    return dataclasses.replace(found, forecasts=dataclasses.replace(forecasts, truth=truth))


def load_official(folders: Sequence[Path], ensemble: Ensemble) -> tuple[list[Official], tuple[str, ...]]:
    """Reads the official probabilities of the issues and leads of an ensemble.

    Args:
        folders: The folders. What an earlier one has is not counted again.
        ensemble: The ensemble.

    Returns:
        The probabilities, and what was left out, in words.
    """
    seen: set[tuple[str, str, float]] = set()
    repeated = 0
    issue_of = {name: number for number, name in enumerate(ensemble.issues)}
    lead_of = {lead: number for number, lead in enumerate(ensemble.leads)}
    rows: dict[str, list[tuple[int, int, list[float]]]] = {}
    for folder in folders:
        columns = read_columns(file_of(folder, FILES[2]))
        shares = np.stack([numbers_of(columns, name) for name in CATEGORIES], -1)
        leads = numbers_of(columns, "lead")
        texts = (columns.by_name[name] for name in ("source", "issue"))
        here: set[tuple[str, str, float]] = set()
        for source, issue, lead, share in zip(*texts, leads, shares, strict=True):
            place = lead_of.get(lead)
            if issue in issue_of and place is not None and np.isfinite(share).all() and share.sum() > 0:
                key = (source, issue, float(lead))
                if key in seen:
                    repeated += 1
                    continue
                here.add(key)
                rows.setdefault(source, []).append((issue_of[issue], place, (share / 100).tolist()))
        seen |= here  # a folder alone can have several rows of an issue and lead, and all of them count
    dropped = (f"{counted(repeated, 'row')} with official probabilities of an earlier folder",) if repeated else ()
    found = [
        Official(source, *(np.asarray(part) for part in zip(*cells, strict=True)))
        for source, cells in sorted(rows.items(), reverse=True)
    ]
    return found, dropped


def make_folder(folder: Path, *, num_issues: int = 72, seed: int = 0) -> Path:
    """Writes a small folder of made data, for the smoke preset.

    Args:
        folder: Where to write it.
        num_issues: Number of months.
        seed: Random seed.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(seed)
    months = np.datetime64("2004-01") + np.arange(num_issues + 12)
    value = np.zeros(len(months))
    for step in range(1, len(months)):
        value[step] = 0.9 * value[step - 1] + 0.35 * rng.normal()
    season = np.convolve(value, np.ones(3) / 3, "valid")
    forecasts = ["issue,model,type,lead,season_start,anomaly"]
    official = ["source,issue,lead,season_start,season,la_nina,neutral,el_nino"]
    observed = ["issue,season_start,season,season_anomaly,month,month_anomaly"]
    for t in range(3, num_issues):
        observed.append(f"{months[t]},{months[t - 3]},,{season[t - 3]:.3f},{months[t - 1]},{value[t - 1]:.3f}")
        for lead in range(1, 5):
            target, known = t + lead - 1, value[t - 1] * 0.9 ** (lead + 1)
            for model in range(5 if lead < 4 else 4):
                guess = known + 0.2 + (0.2 + 0.1 * model) * rng.normal()
                kind = "dynamical" if model % 2 else "statistical"
                forecasts.append(f"{months[t]},model {model},{kind},{lead},{months[target]},{guess:.3f}")
            official += [f"{name},{months[t]},{lead},{months[target]},,30,40,30" for name in ("IRI", "CPC")]
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in zip(FILES, (forecasts, observed, official), strict=True):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder
