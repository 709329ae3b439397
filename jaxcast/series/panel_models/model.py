"""A network that forecasts the series of panels, with what it must know of panels."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxcast.checks import (
    Checked,
    check_flag,
    check_floats,
    check_model,
    check_number,
    check_positive,
    check_texts,
    check_whole,
)
from jaxcast.errors import InputError, shown
from jaxcast.numerics.levels import middle_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.series.panel_models.preparation import standardised, with_categories
from jaxcast.series.panel_models.recalibration import moved_paths, recalibrated
from jaxcast.series.panels.cutting import gathered, num_time_features, whole_numbers
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.time_features import AGE, check_time_features
from jaxcast.series.panels.windows import PanelSizes, PanelWindows
from jaxcast.series.probabilistic_networks.abstract import PanelNetwork
from jaxcast.series.tables import CovariateNames

KINDS = CovariateNames._fields


class PanelForecast(NamedTuple):
    """Forecasts of the series of a panel, each from its own newest step.

    Args:
        names: of the series.
        newest: the newest step that was seen of each, counted from its first value.
        dates: of the leads, as NumPy's datetime64; numbers of steps where the panel has no dates.
        levels: of the quantiles, rising.
        forecast: the level nearest to 0.5.
        quantiles: at all levels.
        paths: sampled; None where none were asked for.
        info: what else the network tells, where it was asked for.
    """

    names: tuple[str, ...]
    newest: Int[np.ndarray, " series"]
    dates: Shaped[np.ndarray, "series lead"]
    levels: tuple[float, ...]
    forecast: Float[np.ndarray, "series lead"]
    quantiles: Float[np.ndarray, "series lead level"]
    paths: Any
    info: dict[str, Any]


class PanelModel(Checked, FrozenPytree, name="panel_model"):
    """A network and the panels that it forecasts; made by `fit_panel_network`.

    It forecasts series that it has not learned from as well. A value of a category that it has not
    seen has the mean of the vectors of the others. It is saved by `save_model` and read by
    `load_model`.

    Args:
        network: of windows.
        shifts: of quantiles, in units of a forecast's spread, by which they are recalibrated.
        covariates_mean: of past, future and static covariates, taken off them.
        covariates_std: by which they are then divided.
        past_covariates: names of those known up to the newest step.
        future_covariates: names of those known in advance.
        static_covariates: names of the numbers that each series has once.
        category_names: names of the categories; "series" for the names of series themselves.
        category_values: the values of each category that it has seen.
        time_features: features of the calendar, the season and the age that it sees.
        cyclic: whether each of them is a sine and a cosine.
        step: between two dates, such as "1 hour"; "" without dates.
        lower: the least value of a quantile; None for none.

    Raises:
        InputError: when saved, loaded or called, for arrays or a panel that do not fit it.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> class Level(jaxcast.series.DirectNetwork):
        ...     own_config = {}
        ...     def raw_outputs(self, inputs, key):
        ...         shape = (*inputs.scale.shape, self.sizes.num_leads, self.head.num_parameters)
        ...         return jnp.zeros(shape).at[..., 0].set(1.0), {}
        >>> sizes = jaxcast.series.PanelSizes(history_size=4, num_leads=2)
        >>> network = Level(sizes, head="normal", levels=(0.1, 0.5, 0.9), key=jax.random.key(0))
        >>> model = jaxcast.series.PanelModel(network, jnp.zeros((2, 3)), jnp.zeros(0), jnp.ones(0))
        >>> model.forecast(jaxcast.series.series_panel([[1.0, 3.0], [5.0]])).forecast.tolist()
        [[2.0, 2.0], [5.0, 5.0]]
    """

    network: PanelNetwork
    shifts: Float[Array, "lead level"]
    covariates_mean: Float[Array, " covariate"]
    covariates_std: Float[Array, " covariate"]
    past_covariates: tuple[str, ...] = static(default=())
    future_covariates: tuple[str, ...] = static(default=())
    static_covariates: tuple[str, ...] = static(default=())
    category_names: tuple[str, ...] = static(default=())
    category_values: tuple[tuple[str, ...], ...] = static(default=())
    time_features: tuple[str, ...] = static(default=())
    cyclic: bool = static(default=False)
    step: str = static(default="")
    lower: float | int | None = static(default=None)

    @property
    def sizes(self) -> PanelSizes:
        """The sizes of its windows."""
        return self.network.sizes

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of its quantiles."""
        return self.network.levels

    @property
    def _covariates(self) -> CovariateNames:
        return CovariateNames(self.past_covariates, self.future_covariates, self.static_covariates)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a model."""
        check_model(self.network)
        check_floats({"shifts": self.shifts, "mean": self.covariates_mean, "std": self.covariates_std})
        check_positive(covariates_std=self.covariates_std)
        for name, texts in (self._covariates._asdict() | {"category_names": self.category_names}).items():
            check_texts(name, texts, least=0)
        for values in self.category_values:
            check_texts("values of a category", values)
        check_flag("cyclic", self.cyclic)
        if self.lower is not None:
            check_number("lower", self.lower)
        sizes, known = self.sizes, num_time_features(self.time_features, self.cyclic) + len(self.future_covariates)
        own = (len(self.past_covariates), known, len(self.static_covariates), tuple(map(len, self.category_values)))
        if own != (sizes.num_past, sizes.num_known, sizes.num_static, sizes.cardinalities):
            raise InputError(f"the covariates and categories are not those of a network of {sizes}")
        if len(self.category_names) != len(self.category_values):
            raise InputError("expected values for each category")
        if self.shifts.shape != (sizes.num_leads, len(self.levels)):
            raise InputError(f"shifts must be of {sizes.num_leads} leads and {len(self.levels)} levels")
        count = sizes.num_past + len(self.future_covariates) + sizes.num_static
        if self.covariates_mean.shape != (count,) or self.covariates_std.shape != (count,):
            raise InputError(f"covariates_mean and covariates_std must be of {count} covariates")

    def forecast(
        self,
        panel: SeriesPanel,
        *,
        newest: Any = None,
        num_paths: int = 0,
        seed: int = 0,
        batch_size: int = 256,
        with_info: bool = False,
        what: str = "the panel",
    ) -> PanelForecast:
        """Forecasts all series of a panel, also such as it has not learned from.

        Args:
            panel: with the covariates and categories that the model has learned from.
            newest: the newest step that is seen of each series, counted from its first value; by
                default its last value.
            num_paths: how many paths are sampled of each series.
            seed: of the paths.
            batch_size: how many series are forecast at once.
            with_info: whether to return what else the network tells, such as the weights of its
                attention, which may be large.
            what: what to call the panel in a message.

        Returns:
            The forecasts, recalibrated, and paths that were moved alike.

        Raises:
            InputError: for other covariates, categories or steps, a series without a value that is
                seen, a covariate that is not known ahead, or a forecast that is not finite.
        """
        check_whole("num_paths", num_paths, least=0)
        check_whole("batch_size", batch_size)
        panel = self.arranged(panel, what)
        newest = panel.newest if newest is None else whole_numbers("newest", newest)
        self.check_seen(panel, newest, what)
        parts: list[tuple[Any, ...]] = []
        for number, own in enumerate(_batches(len(panel.names), batch_size)):
            windows = self.windows(panel, own, newest[own])
            key = jax.random.fold_in(jax.random.key(seed), number)
            parts.append(self._of_windows(windows, num_paths, key, with_info))
        columns = [_joined(column, len(panel.names)) for column in zip(*parts, strict=True)]
        quantiles, paths, info = columns
        self._check_finite(panel, quantiles)
        rows = (panel.starts + newest)[:, None] + np.arange(1, self.sizes.num_leads + 1)
        dates = rows if panel.calendar is None else panel.calendar.dates(rows)
        middle = quantiles[..., middle_of(self.levels)]
        paths = np.moveaxis(paths, 1, 0) if num_paths else None
        return PanelForecast(panel.names, newest, dates, self.levels, middle, quantiles, paths, info)

    def windows(
        self, panel: SeriesPanel, series: Int[np.ndarray, " window"], newest: Int[np.ndarray, " window"]
    ) -> PanelWindows:
        """Cuts windows of a panel as the network takes them, with standardised covariates.

        Args:
            panel: as `arranged` returns it.
            series: the number of each window's series.
            newest: its newest step.

        Returns:
            The windows.
        """
        windows = gathered(
            panel,
            series,
            newest,
            sizes=(self.sizes.history_size, self.sizes.num_leads),
            features=self.time_features,
            cyclic=self.cyclic,
            dtype=float,
        )
        windows = standardised(windows, np.asarray(self.covariates_mean), np.asarray(self.covariates_std))
        return jax.tree.map(lambda a: a if a.dtype.kind == "i" else a.astype(self.network.dtype), windows)

    def arranged(self, panel: SeriesPanel, what: str = "the panel") -> SeriesPanel:
        """Numbers the categories of a panel as the model does; 0 for values that it has not seen.

        Args:
            panel: with the covariates, categories and steps that it has learned from.
            what: what to call it in a message.

        Returns:
            The panel.

        Raises:
            InputError: for other covariates, categories or steps.
        """
        for kind, own in self._covariates._asdict().items():
            given = panel.covariates._asdict()[kind]
            if tuple(given) != own:
                raise InputError(
                    f"{what} has the {kind} {shown(tuple(given))}, expected {shown(own)}, which the model learned from"
                )
        step = "" if panel.calendar is None else panel.calendar.step
        if step != self.step:
            raise InputError(
                f"{what} has {f'a date every {step}' if step else 'no dates'}, the model learned from "
                f"{f'a date every {self.step}' if self.step else 'steps without dates'}"
            )
        check_time_features([name for name in self.time_features if name != AGE], panel.calendar)
        return with_categories(panel, self.category_names, self.category_values, what)

    def raw_quantiles(self, windows: PanelWindows, batch_size: int = 256) -> Float[np.ndarray, "window lead level"]:
        """Returns the quantiles of the network, which are not recalibrated.

        Args:
            windows: as the network takes them.
            batch_size: how many are forecast at once.
        """
        parts = [
            np.asarray(
                _output(self.network, jax.tree.map(lambda a, own=own: a[own], windows), with_info=False)["quantiles"]
            )
            for own in _batches(len(windows.targets), batch_size)
        ]
        return np.concatenate(parts)[: len(windows.targets)].astype(float)

    def _of_windows(self, windows: PanelWindows, num_paths: int, key: Any, with_info: bool) -> tuple[Any, ...]:
        """Returns quantiles, paths with the series first, and info of windows."""
        output = _output(self.network, windows, with_info=with_info)
        history, before = np.asarray(windows.history, float), np.asarray(output["quantiles"], float)
        quantiles = recalibrated(before, history, np.asarray(self.shifts, float), self.lower)
        info = {name: np.asarray(array) for name, array in output.items() if name != "quantiles"}
        if not num_paths:
            return quantiles, np.empty((len(history), 0)), info
        paths = moved_paths(_paths(self.network, windows, key, num_paths=num_paths), before, quantiles)
        paths = np.moveaxis(np.asarray(paths), 0, 1)
        paths = np.rint(paths) if self.network.head.is_count else paths
        return quantiles, paths if self.lower is None else np.maximum(paths, self.lower), info

    def check_seen(self, panel: SeriesPanel, newest: Int[np.ndarray, " series"], what: str = "the panel") -> None:
        """Checks that a panel has what forecasts of all its series need.

        Args:
            panel: as `arranged` returns it.
            newest: the newest step that is seen of each series.
            what: what to call the panel in a message.

        Raises:
            InputError: for a series without a value that is seen, or a covariate that is not known
                ahead.
        """
        if newest.shape != (len(panel.names),):
            raise InputError(f"expected a newest step for each of {len(panel.names)} series, got shape {newest.shape}")
        history_size, num_leads = self.sizes.history_size, self.sizes.num_leads
        last = np.clip(newest, -1, panel.lengths - 1)
        places = np.arange(1 - history_size, 1) + last[:, None]
        flat = panel.offsets[:, None] + np.maximum(places, 0)
        seen = ((places >= 0) & np.isfinite(panel.values[np.minimum(flat, len(panel.values) - 1)])).any(1)
        bad = ~seen | (newest != last)
        if bad.any():
            name = shown(repr(panel.names[int(np.argmax(bad))]))
            raise InputError(
                f"series {name} of {what} has no value in the {history_size} steps that the forecast sees; give its "
                "values, or leave it out"
            )
        ahead = newest[:, None] + np.arange(1, num_leads + 1)
        is_row = ahead < panel.num_rows[:, None]
        flat = panel.offsets[:, None] + np.where(is_row, ahead, 0)
        for k, name in enumerate(self.future_covariates):
            lacks = ~(is_row & np.isfinite(panel.future_covariates[flat, k]))
            if lacks.any():
                series, lead = np.argwhere(lacks)[0]
                raise InputError(
                    f"the covariate {shown(repr(name))} has no value on {panel.date(int(series), int(ahead[series, lead]))} "
                    f"for series {shown(repr(panel.names[series]))}, which the forecast needs; give it in {what}"
                )

    def _check_finite(self, panel: SeriesPanel, quantiles: np.ndarray) -> None:
        bad = ~np.isfinite(quantiles).all(-1)
        if bad.any():
            series, lead = np.argwhere(bad)[0]
            raise InputError(
                f"the forecast of series {shown(repr(panel.names[series]))} is not finite at lead {lead + 1}; look at its "
                "newest values, or train another network"
            )


@partial(jax.jit, static_argnames="with_info")
def _output(network: PanelNetwork, windows: PanelWindows, *, with_info: bool) -> dict[str, Array]:
    info: dict[str, Any] = dict(network(windows).info)
    return {name: value for name, value in info.items() if with_info or name == "quantiles"}


@partial(jax.jit, static_argnames="num_paths")
def _paths(network: Any, windows: PanelWindows, key: Array, *, num_paths: int) -> Array:
    paths: Array = network.paths(windows, num_paths, key)
    return paths


def _batches(num: int, size: int) -> Iterator[np.ndarray]:
    """Yields numbers in batches of one size, a power of two where all fit into it; the last are repeated."""
    size = min(size, 1 << (num - 1).bit_length())
    for start in range(0, num, size):
        yield np.minimum(np.arange(start, start + size), num - 1)


def _joined(parts: tuple[Any, ...], num: int) -> Any:
    """Joins the results of batches; what is not of windows, such as a learned graph, is that of the first."""
    size = -(-num // len(parts))

    def joined(*arrays: np.ndarray) -> np.ndarray:
        of_windows = arrays[0].ndim > 0 and len(arrays[0]) >= size
        return np.concatenate(arrays)[:num] if of_windows else arrays[0]

    return jax.tree.map(joined, *parts)
