"""Quantile forecasts of several series, calibrated on held-out windows."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_model, check_number, check_positive, sizes_of
from jaxcast.errors import InputError, shown
from jaxcast.numerics.levels import check_levels, middle_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.features import check_history, flat, of_targets, target_features_of
from jaxcast.series.samples import SeriesWindows, quantiles_of
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature

_NEWEST = 9
_LEAST_WIDTH = 0.25


class CalibratedForecaster(WindowForecaster, Checked, FrozenPytree, name="calibrated"):
    """A forecaster of several series whose quantiles are calibrated on held-out windows.

        q_(h,r)(tau) = base_(h,r)(tau) + width_r^p shift_(h,r)(tau),    then sorted, at least
        `lower`

    The base are the forecaster's own quantiles, or its point forecast at all levels. The forecast
    is the level nearest to 0.5, and `info["quantiles"]` is (*batch, lead, region, level).

    Args:
        forecaster: that is calibrated.
        shifts: of each lead, series and level, by `conformal_shifts`.
        covariates_mean: taken off covariates before the forecaster gets them.
        covariates_std: covariates are then divided by.
        levels: quantile levels, rising.
        lower: the least value of a quantile; None for none.
        usual_change: of each series, by `typical_change`; see `recent_volatility` for the width.
        width_power: p; 0 for quantiles that are equally far apart at all times.

    Raises:
        InputError: for levels that do not rise within (0, 1), a bound that is not a number, or a
            negative width_power; when saved or loaded, for arrays that do not fit each other.

    Source:
        See `conformal_shifts`.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> shifts = jnp.asarray([-1.0, 0.0, 1.0]).reshape(1, 1, 3)
        >>> model = jaxcast.series.CalibratedForecaster(jaxcast.series.LastValue((1,)), shifts, levels=(0.1, 0.5, 0.9))
        >>> model(jnp.asarray([[2.0], [4.0]])).info["quantiles"].tolist()
        [[[3.0, 4.0, 5.0]]]
    """

    forecaster: WindowForecaster
    shifts: Float[Array, "lead region *target level"]
    covariates_mean: Any = 0.0
    covariates_std: Any = 1.0
    levels: tuple[float, ...] = static(default=(0.5,))
    lower: float | None = static(default=None)
    usual_change: Any = 1.0
    width_power: float = static(default=0.0)

    def __post_init__(self) -> None:
        check_levels(self.levels)
        if self.lower is not None:
            check_number("lower", self.lower)
        check_number("width_power", self.width_power, least=0)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a forecaster."""
        check_model(self.forecaster)
        own = {name: getattr(self, name) for name in ("shifts", "covariates_mean", "covariates_std", "usual_change")}
        check_floats(own)
        by_region = jnp.ndim(self.usual_change) > 0
        series = f"region {len(self.target_features)}" if self.target_features else "region"
        sizes = sizes_of(
            {name: own[name] for name in ("shifts", "usual_change")},
            {"['shifts']": f"lead {series} {len(self.levels)}", "['usual_change']": series if by_region else ""},
        )
        self._check_covariates()
        check_number("usual_change", float(jnp.min(jnp.asarray(self.usual_change))), least=0)
        self._check_forecaster(sizes)
        self._check_shapes(sizes["region"])

    def _check_covariates(self) -> None:
        """Raises InputError unless the covariates have a mean and a scale for each number, or one for all."""
        shape, other = jnp.shape(self.covariates_mean), jnp.shape(self.covariates_std)
        size = self.forecaster.signature.num_covariates
        if shape != other or 0 in shape or (size is not None and shape[-1:] not in ((), (size,))):
            raise InputError(
                f"covariates_mean and covariates_std must be of {size or 'the'} covariates, got {shape} and "
                f"{shown(other)}"
            )
        check_positive(covariates_std=self.covariates_std)

    def _check_forecaster(self, sizes: dict[str, int]) -> None:
        """Raises InputError unless the forecaster is one of as many leads and regions, above the lower bound."""
        signature = self.forecaster.signature
        num_leads, mean = signature.num_leads, signature.mean
        if num_leads != sizes["lead"]:
            raise InputError(f"shifts must be of {num_leads} leads, as the forecaster, got {sizes['lead']}")
        if mean is None:
            return
        if len(mean) != sizes["region"]:
            raise InputError(f"shifts must be of {len(mean)} regions, as the forecaster, got {sizes['region']}")
        mean = of_targets(mean, self.target_features)
        if self.lower is not None and self.lower > float(jnp.min(mean)) * (1 + 1e-5 * jnp.sign(jnp.min(mean))):
            raise InputError(f"lower must not be above the mean of a series, got {self.lower:g}")

    def _check_shapes(self, num_regions: int) -> None:
        """Refuses arrays of other sizes, which might broadcast silently."""
        signature, targets = self.forecaster.signature, self.target_features
        series = signature.series or (num_regions, *[max(targets, default=0) + 1] * bool(targets))
        covariates = jnp.ones((num_regions, signature.num_covariates)) if signature.num_covariates else None
        output = jax.eval_shape(self, jnp.ones((max(signature.least_history, 2), *series)), covariates)
        if output.info["quantiles"].shape != self.shifts.shape:
            raise InputError(f"quantiles must be {self.shifts.shape}, got {output.info['quantiles'].shape}")

    @property
    def signature(self) -> WindowSignature:
        """The forecaster's, with the levels and the least value of this one."""
        return self.forecaster.signature._replace(levels=self.levels, lower=self.lower)

    @property
    def target_features(self) -> tuple[int, ...]:
        """The features that are forecast; () where histories have no feature axis."""
        return self.forecaster.signature.target_features

    @checked
    def __call__(self, history: Float[Array, "..."], covariates: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            history: as the forecaster takes it.
            covariates: as in the samples, before they are standardised.

        Returns:
            The middle level, (*batch, lead, region), with a last axis of targets where histories
            have one of features; and in `info["quantiles"]` all levels, on one more axis, beside
            what else the forecaster tells.

        Raises:
            InputError: for histories of another shape.
        """
        check_history(history, self.target_features, series=self.forecaster.signature.series)
        if covariates is not None:
            covariates = (covariates - self.covariates_mean) / self.covariates_std
        output = self.forecaster(history) if covariates is None else self.forecaster(history, covariates)
        base = quantiles_of(output)
        quantiles = shifted(base, self.shifts, self._widths(history), self.lower)
        return Output(quantiles[..., middle_of(self.levels)], output.info | {"quantiles": quantiles})

    def _widths(self, history: Array) -> Any:
        if not self.width_power:
            return 1.0
        return recent_volatility(of_targets(history, self.target_features), self.usual_change) ** self.width_power


@checked
def recent_volatility(history: Float[Array, "..."], usual: Float[Any, "*series"]) -> Float[Array, "..."]:
    """Measures how much each series moved lately, relative to its usual change.

    It is the mean absolute change between the newest nine values of the window, over that of the
    series; at least 0.25, and 1 where nothing is known.

    Args:
        history: (*batch, time, region), or (*batch, time, region, target) where usual is (region,
            target).
        usual: of each series, see `typical_change`.

    Returns:
        The widths, (*batch, region) or (*batch, region, target).

    Source:
        Errors over a local scale, as in Lei, G'Sell, Rinaldo, Tibshirani and Wasserman (2018),
        section 5.2; the scale is our own.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.series.recent_volatility(
        ...     jnp.asarray([[0.0, 0.0], [2.0, 0.0], [0.0, 0.1]]), jnp.asarray([1.0, 1.0])
        ... ).tolist()
        [2.0, 0.25]
    """
    if jnp.ndim(usual) > 1:
        widths = recent_volatility(flat(history), jnp.ravel(jnp.asarray(usual)))
        return widths.reshape(*widths.shape[:-1], *jnp.shape(usual))
    steps = jnp.abs(jnp.diff(history[..., -_NEWEST:, :], axis=-2))
    known = jnp.isfinite(steps)
    recent = jnp.where(known, steps, 0).sum(-2) / jnp.maximum(known.sum(-2), 1)
    usual = jnp.asarray(usual, history.dtype)
    width = jnp.maximum(recent / jnp.where(usual > 0, usual, 1), _LEAST_WIDTH)
    return jnp.where(known.any(-2) & (usual > 0), width, 1)


@checked
def typical_change(samples: SeriesWindows) -> Float[Array, " region *target"]:
    """Measures the mean absolute change of each series from step to step.

    Args:
        samples: training samples; windows without any weight do not count.

    Returns:
        The changes, of what is forecast; 0 where none is known.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> samples = jaxcast.series.series_windows(2.0 * jnp.arange(9.0)[:, None], history_size=3, leads=(1,))
        >>> jaxcast.series.typical_change(samples).tolist()
        [2.0]
    """
    steps = jnp.abs(jnp.diff(of_targets(samples.history, target_features_of(samples)), axis=1))
    learned = (samples.weights > 0).any(tuple(range(1, samples.weights.ndim)))
    known = jnp.isfinite(steps) & learned.reshape(-1, *[1] * (steps.ndim - 1))
    return jnp.where(known, steps, 0).sum((0, 1)) / jnp.maximum(known.sum((0, 1)), 1)


def shifted(
    base: Float[Any, "..."], shifts: Float[Any, "lead region *target level"], widths: Any, lower: float | None
) -> Float[Array, "..."]:
    """Adds shifts to quantiles; see `CalibratedForecaster`.

    Args:
        base: quantiles, (*batch, lead, region, level) or (*batch, lead, region, target, level), or
            one level for all.
        shifts: of each lead, series and level.
        widths: (*batch, region) or (*batch, region, target), or one number.
        lower: the least value, or None.

    Returns:
        The quantiles, sorted.
    """
    if jnp.ndim(widths):
        widths = jnp.expand_dims(widths, 1 - jnp.ndim(shifts))[..., None]
    quantiles = jnp.sort(base + widths * shifts, -1)
    return quantiles if lower is None else jnp.maximum(quantiles, lower)
