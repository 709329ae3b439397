"""Training records: whole ones, and how each method handles gaps."""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.assimilation.assimilated import AssimilatedCell
from jaxcast.assimilation.ensemble_kalman import EnsembleKalmanFilter
from jaxcast.assimilation.insertion import DirectInsertion
from jaxcast.assimilation.reanalysis import reanalyse
from jaxcast.dynamics.gaps import longest_stretch
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.progress import phase
from jaxcast.rollout import Cell, open_loop
from jaxcast.selection.filters import find_family, fit_filter, never_known
from jaxcast.selection.methods import METHODS, PoolData

GAPS = "gaps"
"""Setting of a method that is added for a record with gaps."""
ASSIMILATED, LEFT_OUT = "assimilated", "left out"


class Record:
    """A trajectory to which methods are fitted; NaN is a gap.

    A method is fitted to a trajectory with gaps in two ways, between which held-out windows choose.
    "left out": it learns from what is known, and fills the gaps of histories by its own forecasts.
    "assimilated": an ensemble Kalman filter of the candidates' family, with the parameter in which
    they differ, makes a reanalysis, to which the method is fitted, and analyses of the histories.

    Args:
        data: with the trajectory.
        has_gaps: whether histories may have gaps; by default as the trajectory has.
    """

    def __init__(self, data: PoolData, *, has_gaps: bool | None = None):
        self.data = data
        self.known = ~np.isnan(data.trajectory.states)
        self.is_whole = bool(self.known.all()) if has_gaps is None else not has_gaps

    def settings(self, name: str) -> list[dict[str, Any]]:
        """Returns the settings of a method to try.

        Args:
            name: of the method.
        """
        settings = list(METHODS[name].settings(self.data))
        if self.is_whole or METHODS[name].with_gaps == "own":
            return settings
        ways = (LEFT_OUT,) if self.spin_up is None else (ASSIMILATED, LEFT_OUT)
        return [setting | {GAPS: way} for setting in settings for way in ways]

    def fit(self, name: str, setting: dict[str, Any]) -> Cell:
        """Fits a method.

        Args:
            name: of the method.
            setting: one of its settings.

        Returns:
            A cell that forecasts from histories with such gaps.

        Raises:
            InputError: for a setting that cannot be fitted to such data.
        """
        method, own = METHODS[name], {key: value for key, value in setting.items() if key != GAPS}
        if self.is_whole or method.with_gaps == "own":
            return method.fit(self.data, **own)
        if setting[GAPS] == ASSIMILATED:
            assert self.spin_up is not None  # or there was no such setting
            return AssimilatedCell(self.spin_up, method.fit(self.data._replace(trajectory=self.reanalysis), **own))
        states = self.data.trajectory.states
        if never := never_known(states):
            reason = self._filter[1]
            raise InputError(
                f"{never}, and " + (f"no filter can fill that: {reason}" if reason else "only a filter fills that")
            )
        if method.with_gaps == "samples":
            data = self.data._replace(known=self.known)
        else:
            part = longest_stretch(self.known.all(1))
            data = self.data._replace(trajectory=jax.tree.map(lambda a: a[part], self.data.trajectory))
        return DirectInsertion(method.fit(data, **own), jnp.nanmean(states, 0))

    @property
    def spin_up(self) -> EnsembleKalmanFilter | None:
        """The filter that forecasts the known values of the record's end best; None where there is none."""
        return self._filter[0]

    @cached_property
    def _filter(self) -> tuple[EnsembleKalmanFilter | None, str]:
        """The filter, and why there is none."""
        try:
            find_family(self.data.forecast_map, self.data.dim)
        except InputError as error:
            return None, str(error)
        cells: list[EnsembleKalmanFilter] = []
        reasons: list[str] = []
        with phase("assimilating the trajectory"):
            for setting in METHODS["ensemble_kalman_filter"].settings(self.data):
                try:
                    cells.append(fit_filter(*self.data[:2], seed=self.data.seed, **setting))
                except InputError as error:  # another setting may need less
                    reasons.append(str(error))
            return min(cells, key=self._error, default=None), "" if cells else reasons[0]

    def _error(self, cell: Cell) -> float:
        """Returns the error of one-step forecasts on the last quarter, as far as it is known."""
        states = jnp.asarray(self.data.trajectory.states)
        off = (open_loop(cell, states).forecast[:-1] - states[1:]) / jnp.nanstd(states, 0)
        late = slice(3 * len(off) // 4, None)
        known = self.known[1:][late]
        # A forecast of a known value that is not finite is no error to leave out.
        error = float(jnp.sum(jnp.where(known, off[late] ** 2, 0)) / max(1, known.sum()))
        return error if np.isfinite(error) else np.inf

    @cached_property
    def reanalysis(self) -> Trajectory:
        """The record without gaps and with less noise."""
        assert self.spin_up is not None
        times, states = self.data.trajectory
        return Trajectory(times, reanalyse(self.spin_up, jnp.asarray(states)).states)
