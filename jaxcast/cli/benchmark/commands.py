"""`jaxcast benchmark list | export | score`: fixed cases of forecasting, for tools in any language."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from jaxcast.benchmark import sealed as sealing
from jaxcast.benchmark.case import Case
from jaxcast.benchmark.cases import all_cases, find_case
from jaxcast.benchmark.files import arrays_of, described_case, readme, tasks_of
from jaxcast.benchmark.scoring import Score, compare_scores, hidden_truths, read_forecasts, score_against
from jaxcast.benchmark.task import SEED
from jaxcast.checks import check_seed, check_whole
from jaxcast.cli.command import make_console
from jaxcast.errors import InputError, counted, shown
from jaxcast.io.files import write_arrays
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import doing
from jaxcast.pytrees import fingerprint
from jaxcast.scores.paired import PairedTest


@dataclasses.dataclass(frozen=True)
class ListCases:
    """List the cases of the benchmark of valid time.

    Example: jaxcast benchmark list
    """

    def run(self) -> None:
        """Runs the command."""
        table = Table(box=box.SIMPLE)
        for name in ("case", "kind", "models", "dt", "history", "leads", "about"):
            table.add_column(name, no_wrap=name == "case")
        for case in all_cases().values():
            models = len(case.candidate_systems())
            numbers = (f"{models}", f"{case.dt:g}", f"{case.history_size}", f"{case.num_leads}")
            table.add_row(case.name, case.group, *numbers, case.about)
        make_console().print(table)


@dataclasses.dataclass(frozen=True)
class ExportCase:
    """Write the data of a case, from which a tool in any language can learn and forecast.

    The folder gets data.npz (training trajectories, the candidates' forecasts along them, and the
    histories of the windows), case.json and README.md, which say what each array holds, how a
    forecast is scored, and what to hand in. The truth of the windows is in truth.npz, sealed: only
    jaxcast benchmark score reads it.

    Example: jaxcast benchmark export paper --out paper
    """

    case: str
    """Name of the case; jaxcast benchmark list shows them."""
    out: Path
    """Folder for the files."""
    seed: int = SEED
    """Random seed of the first truth; the other truths have the next seeds. One that is not public
    stands in the folder's config.json and seals truth.npz: keep both back when you pass the folder
    on."""
    num_truths: int | None = None
    """Truths to write; by default those of the case."""
    num_windows: int | None = None
    """Windows of each truth; by default those of the case."""
    num_train: int | None = None
    """Training samples; by default those of the case, which are also the most."""
    overwrite: bool = False
    """Start afresh where the folder holds another run."""

    def run(self) -> None:
        """Runs the command."""
        case = find_case(self.case)
        check_seed(self.seed)
        _check_most("num_truths", self.num_truths, case.num_truths)
        _check_most("num_windows", self.num_windows, case.num_windows)
        _check_most("num_train", self.num_train, case.num_train)
        folder = RunFolder.of(self, outputs=(sealing.DATA, sealing.FILE, "case.json", "README.md"))
        doing(f"making the truths of {case.name}")
        tasks = tasks_of(
            case,
            seed=self.seed,
            num_truths=self.num_truths,
            num_windows=self.num_windows,
            num_train=self.num_train,
        )
        arrays = arrays_of(tasks)
        record = described_case(case, arrays, seed=self.seed)
        truths = np.stack([task.windows.truth for task in tasks])
        files = {sealing.DATA: arrays, sealing.FILE: sealing.sealed(case, truths, arrays, seed=self.seed)}
        for name, content in files.items():
            folder.check(name)
            write_arrays(self.out / name, content)
        folder.write_json("case.json", record)
        folder.write_text("README.md", readme(record))
        print(f"{case.name} in {self.out}/: hand in forecasts of shape {tuple(record['forecasts']['shape'])}")


@dataclasses.dataclass(frozen=True)
class ScoreCase:
    """Score forecasts of the windows of a case against its hidden truth.

    Prints the median valid time with its interval, and a paired test against other forecasts of the
    same windows.

    Example: jaxcast benchmark score paper forecasts.npz --against other.npz
    """

    case: str
    """Name of the case."""
    forecasts: Path
    """File with the forecasts: a .npz with one array (truth, window, lead, dim), or (window, lead,
    dim) for the first truth alone. Or a .csv with a row for each window and lead: the columns
    window, counted from 0, lead, counted from 1, and one for each component; truth where there are
    several, counted from 0."""
    against: tuple[Path, ...] = ()
    """Files with forecasts of other methods of the same windows, to compare with by paired
    tests."""
    exported: Path | None = None
    """Folder of the export, whose truths are then those that count, on any machine. Without it they
    are made anew from the seed; chaos amplifies the last digit, in which processors and versions of
    jax differ."""
    seed: int = SEED
    """Random seed of the first truth, as in the export."""
    out: Path | None = None
    """Folder for results.json."""
    overwrite: bool = False
    """Start afresh where the folder holds other results."""

    def run(self) -> None:
        """Runs the command."""
        case = find_case(self.case)
        check_seed(self.seed)
        forecasts = {self.forecasts: read_forecasts(case, self.forecasts)}
        forecasts |= {path: read_forecasts(case, path) for path in self.against}
        own = forecasts[self.forecasts]
        for path, other in forecasts.items():
            if other.shape != own.shape:
                raise InputError(
                    f"expected forecasts of the same windows in all files, got {own.shape} in {shown(self.forecasts)} "
                    f"and {other.shape} in {shown(path)}"
                )
        folder = None
        if self.out is not None:
            facts = {"data": {str(path): fingerprint(array) for path, array in forecasts.items()}}
            folder = RunFolder.of(self, reads=("forecasts", "against", "exported"), facts=facts)
        truths = self.truths(case, *own.shape[:2])
        scores = {path: score_against(case, array, truths) for path, array in forecasts.items()}
        tests = {path: compare_scores(scores[self.forecasts], scores[path]) for path in self.against}
        rows = [row_of(path, score, tests.get(path)) for path, score in scores.items()]
        make_console().print(scores_table(case, own.shape, rows))
        if folder is not None:
            folder.write_json("results.json", {"case": case.name, "seed": self.seed, "rows": rows})

    def truths(self, case: Case, num_truths: int, num_windows: int) -> np.ndarray:
        """Returns the truths of the windows: those of the export, or made anew.

        Args:
            case: The case.
            num_truths: How many.
            num_windows: Of each.

        Raises:
            InputError: for an export of another case or seed, or one with fewer windows.
        """
        if self.exported is None:
            doing(f"making the truths of {case.name}")
            return hidden_truths(case, num_truths, num_windows, seed=self.seed)
        truths = sealing.unsealed(case, self.exported, seed=self.seed)
        if len(truths) < num_truths or truths.shape[1] < num_windows:
            raise InputError(
                f"expected forecasts of at most the {truths.shape[:2]} truths and windows in {shown(self.exported)}, "
                f"got {num_truths, num_windows}"
            )
        return truths[:num_truths, :num_windows]


def _check_most(name: str, value: int | None, most: int) -> None:
    if value is not None:
        check_whole(name, value, most=most)


def row_of(path: Path, score: Score, test: PairedTest | None) -> dict[str, Any]:
    """Returns a row of results.json.

    Args:
        path: file of the forecasts.
        score: of the forecasts.
        test: of the first file's forecasts against these.
    """
    row: dict[str, Any] = {
        "forecasts": str(path),
        "valid_time_median": score.median,
        "low": score.low,
        "high": score.high,
        "valid_time_median_per_truth": list(score.median_per_truth),
        "share_censored": score.share_censored,
        "valid_times": score.valid_times.tolist(),
        "rmse_by_lead": [float(error) if np.isfinite(error) else None for error in score.rmse],
    }
    return row if test is None else row | {"first_minus_this": test._asdict()}


def scores_table(case: Case, shape: tuple[int, ...], rows: list[dict[str, Any]]) -> Table:
    """Returns the table that the command prints.

    Args:
        case: the case.
        shape: of the forecasts.
        rows: of the results.
    """
    sizes = f"{counted(shape[0], 'truth')}, {counted(shape[1], 'window')} of {case.window:g}"
    title = f"{case.name}: {sizes}, valid times up to {case.longest_valid_time:g}"
    table = Table(title=title, box=box.SIMPLE)
    for name in ("forecasts", "median valid time", "95 % interval", "valid to the end", "first minus this", "p"):
        table.add_column(name, justify="left" if name == "forecasts" else "right")
    for row in rows:
        test = row.get("first_minus_this")
        cells = ("", "") if test is None else (f"{test['difference']:.2f}", f"{test['wilcoxon']:.2g}")
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        shares = f"{row['share_censored']:.0%}"
        table.add_row(shown(row["forecasts"]), f"{row['valid_time_median']:.2f}", interval, shares, *cells)
    return table
