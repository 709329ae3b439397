"""`jaxcast hub baseline`: writes a round of the flat-line baseline."""

import dataclasses
from pathlib import Path

import numpy as np

from jaxcast.cli.figures import figure_of
from jaxcast.cli.hub.baseline_round import HISTORY_DAYS, write_baseline_round
from jaxcast.cli.hub.commands import HubTables
from jaxcast.cli.hub.output import draw_fan, horizons_in_words, say
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.arrays import Hub
from jaxcast.hub.baseline import flat_line_quantiles, observed_before
from jaxcast.hub.rounds.submission import check_submission, submission_path, write_submission
from jaxcast.io.files import check_place
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.progress import doing


@dataclasses.dataclass(frozen=True)
class HubBaseline(HubTables):
    """Write a hub's flat-line baseline.

    The median of every horizon is the newest value that was known. Past changes and their negatives
    are drawn again to make the quantiles, as for the baselines of the US hubs. Of a hub's folder,
    the quantiles of all targets and horizons with target data go into one file in the hub's format.

    Example: jaxcast hub baseline hub/ --model team-baseline
    """

    model: str = "jaxcast-baseline"
    """Name of the file's model, TEAM-MODEL."""
    out: Path | None = None
    """A model-output folder; by default that of the hub, or model-output/."""
    round: str | None = None
    """Round to forecast, such as 2026-01-10; by default the newest that any model forecast. An
    older one is replayed from what was known at its time. The next one can be written before any
    model has forecast it."""
    horizons: tuple[int, ...] = ()
    """With --forecasts: horizons in steps, as the tables count them, by default 1."""
    target_name: str | None = None
    """Hub's name of the target, where its tables have none."""
    lower: float | None = 0.0
    """The least value that the target can have; None for any."""
    num_samples: int = 10_000
    """Number of values drawn for each step."""
    seed: int = 0
    """Random seed of their order."""
    plot: Path | None = None
    """Also draw the forecast for the location with the largest median into this .png."""
    overwrite: bool = False
    """Replace the file and the picture, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        horizons = self.horizons or (1,)
        if len(set(horizons)) < len(horizons):
            raise InputError("--horizons must name each horizon once")
        if self.plot is not None:
            check_place(self.plot, PICTURE)
            figure_of()
        if self.hub is not None:
            write_baseline_round(self)
            return
        out = self.out or Path("model-output")
        num_lags = max(1, HISTORY_DAYS // max(1, self.step_days))
        hubs = self.load_all(horizons, num_lags=num_lags)
        reference = self.reference_date(hubs)
        path = submission_path(out, self.model, reference)
        with Outputs(
            vars(self),
            {"--out": (path, (".csv",)), "--plot": (self.plot, PICTURE)},
            inputs={"--truth": self.truth, "--vintages": self.vintages, "--forecasts": self.forecasts},
            own=path.parent,
            overwrite=self.overwrite,
        ):
            self.submit(out, hubs, reference)

    def reference_date(self, hubs: dict[int, Hub]) -> np.datetime64:
        """Returns the reference date of the round.

        Args:
            hubs: Hub at each horizon.

        Raises:
            InputError: for what is not a date.
        """
        if self.round is None:
            return max(hub.reference_dates[-1] for hub in hubs.values())
        try:
            return np.datetime64(self.round, "D")
        except ValueError:
            raise InputError(f"expected --round like 2026-01-10, got {shown(repr(self.round))}") from None

    def submit(self, out: Path, hubs: dict[int, Hub], reference: np.datetime64) -> None:
        """Makes the forecasts, writes the file and draws it.

        Args:
            out: A model-output folder.
            hubs: Hub at each horizon.
            reference: Reference date of the round.

        Raises:
            InputError: for horizons of different locations, and a file that cannot be written.
        """
        first = hubs[min(hubs)]
        target, path = check_submission(
            out, self.model, first, reference, target=self.target_name, overwrite=self.overwrite
        )
        doing("making the baseline")
        made = {horizon: self.quantiles(hub, reference) for horizon, hub in hubs.items()}
        if any(hub.locations != first.locations for hub in hubs.values()):
            raise InputError("the horizons have different locations; name those that all of them have by --locations")
        write_submission(
            out, self.model, made, first, reference_date=reference, target=target, overwrite=self.overwrite
        )
        missing = sum(int(np.isnan(values).all(-1).sum()) for values in made.values())
        note = f"; {missing} have no two values in a row and no forecast" if missing else ""
        date = first.target_date(reference)
        known = observed_before(first, date)
        steps = np.flatnonzero(np.isfinite(known).any(0))
        newest = date - (first.steps_ahead + steps[0]) * first.step
        say(
            f"{path}: {counted(len(first.locations), 'location')}, {horizons_in_words(list(hubs))} of the round of "
            f"{reference}{note}",
            f"made from truth up to {newest}",
        )
        if self.plot is not None:
            of_round = dataclasses.replace(_of_round(first, reference), target=target)
            draw_fan(self.plot, made, of_round, reference)

    def quantiles(self, hub: Hub, reference: np.datetime64) -> np.ndarray:
        """Makes the forecasts of one horizon, (location, quantile).

        Args:
            hub: The hub at that horizon.
            reference: Reference date of the round.
        """
        return flat_line_quantiles(
            observed_before(hub, hub.target_date(reference)),
            hub.levels,
            steps_ahead=hub.steps_ahead,
            lower=self.lower,
            num_samples=self.num_samples,
            seed=self.seed,
        )


def _of_round(hub: Hub, reference: np.datetime64) -> Hub:
    """Returns the hub up to the date that a round forecasts, for its picture."""
    date = hub.target_date(reference)
    kept = hub.until(date)
    later = np.arange(kept.dates[-1] + hub.step, date + hub.step, hub.step)
    return dataclasses.replace(
        kept,
        truth=np.pad(kept.truth, ((0, 0), (0, len(later))), constant_values=np.nan),
        dates=np.append(kept.dates, later),
        releases=None
        if kept.releases is None
        else np.pad(kept.releases, ((0, 0), (0, 0), (0, len(later))), constant_values=np.nan),
        release_of=None if kept.release_of is None else np.pad(kept.release_of, (0, len(later)), mode="edge"),
        rounds=np.append(kept.reference_dates, reference - np.arange(len(later))[::-1] * hub.step),
    )
