"""All cells of a grid or all pairs of zones, of which a table may hold those that change alone."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_floats, check_model
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.files.sensors import RegionKind
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature


class WholeRegions(NamedTuple):
    """The cells of a grid, or the pairs of zones, to which the series of a table belong.

    Args:
        kind: "grid" or "trips".
        rows: of the grid; the number of zones.
        fill: the value of each cell or pair; that of those that are no series is taken.
        kept: number of the cell or pair of each series, rising.
        adjacency: which zones touch, or None.
    """

    kind: RegionKind
    rows: int
    fill: Float[np.ndarray, " whole"]
    kept: tuple[int, ...]
    adjacency: Float[np.ndarray, "zone other"] | None = None

    def spread(self, windows: SeriesWindows) -> SeriesWindows:
        """Returns windows of all cells or pairs; those that are no series have no weight.

        Args:
            windows: of the series.
        """
        mask = is_kept(self.kept, len(self.fill))
        parts = (windows.history, windows.targets, windows.weights)
        history, targets, weights = (spread(part, self.kept, len(self.fill)) for part in parts)
        fill = jnp.asarray(self.fill, history.dtype)
        return windows._replace(
            history=jnp.where(mask, history, fill),
            targets=jnp.where(mask, targets, fill),
            weights=jnp.where(mask, weights, 0),
            covariates=of_whole(windows.covariates, self.kept, len(self.fill)),
        )


def is_kept(kept: tuple[int, ...], size: int) -> np.ndarray:
    """Returns which cells or pairs are series.

    Args:
        kept: their numbers.
        size: how many cells or pairs there are.
    """
    return np.isin(np.arange(size), kept)


def spread(values: Array, kept: tuple[int, ...], size: int, axis: int = -1) -> Array:
    """Puts series in the places of their cells or pairs; the others get the values of the first.

    Args:
        values: of series.
        kept: the places of these.
        size: how many places there are.
        axis: of the series.
    """
    source = np.zeros(size, int)
    source[list(kept)] = np.arange(len(kept))
    return jnp.take(values, source, axis)


def of_whole(covariates: Any, kept: tuple[int, ...], size: int) -> Any:
    """Returns covariates of all cells or pairs; those of all alike, (sample, covariate), stay.

    Args:
        covariates: of series, or None.
        kept: the places of these.
        size: how many places there are.
    """
    if covariates is None or np.ndim(covariates) < 3:
        return covariates
    return spread(covariates, kept, size, axis=1)


class PartOfRegions(WindowForecaster, Checked, FrozenPytree, name="part_of_regions"):
    """A network of all cells or pairs as a forecaster of some of them.

    Args:
        network: of all.
        fill: the values of those that it does not forecast.
        kept: the numbers of those that it does, rising.

    Raises:
        InputError: when saved or loaded, for numbers that the network does not have.
    """

    network: Any
    fill: Float[Any, " whole"]
    kept: tuple[int, ...] = static()

    def check(self) -> None:
        """Raises InputError unless the numbers are those of regions of the network."""
        check_model(self.network)
        check_floats({"fill": self.fill})
        size = self.network.num_regions
        if np.shape(self.fill) != (size,) or sorted({*self.kept} & {*range(size)}) != list(self.kept) or not self.kept:
            raise InputError(f"expected rising numbers of some of {size} regions and a value for each, got {self.kept}")

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        whole: WindowSignature = self.network.signature
        return whole._replace(mean=whole.mean[np.asarray(self.kept)])

    def __call__(self, history: Float[Array, "..."], covariates: Any = None, *, lags: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region).
            covariates: (*batch, region, covariate) or (*batch, covariate).
            lags: of windows that were cut at lags; see `WindowNetwork`.

        Returns:
            What the network forecasts of these regions.
        """
        size, kept = len(self.fill), np.asarray(self.kept)
        whole = jnp.where(is_kept(self.kept, size), spread(history, self.kept, size), self.fill)
        if covariates is not None and np.ndim(covariates) == np.ndim(history):
            covariates = spread(covariates, self.kept, size, axis=-2)
        output = self.network(whole.astype(history.dtype), covariates, lags=lags)
        quantiles = {name: a[..., kept, :] for name, a in output.info.items() if name == "quantiles"}
        return Output(output.forecast[..., kept], output.info | quantiles)
