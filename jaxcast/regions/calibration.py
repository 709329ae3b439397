"""Quantile forecasts of several series that held-out windows have set right."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_floats, check_model, check_number, check_positive, sizes_of
from jaxcast.errors import InputError
from jaxcast.pytrees import register
from jaxcast.regions.samples import LeadSamples
from jaxcast.rollout import Output

# So many errors of the usual size are counted to those of each series, of which there may be few, or none.
PRIOR_COUNT = 5
_NEWEST = 9
_LEAST_WIDTH = 0.25


@register
@dataclasses.dataclass(frozen=True)
class CalibratedForecaster:
    """A forecaster of several series, and how far each of its quantiles is off at each lead.

        q_(h,r)(tau) = base_(h,r)(tau) + width_r^p shift_(h,r)(tau),    then sorted, and not below `lower`

    Source: see `held_out_shifts`.

    base: the forecaster's own quantiles at the same levels, or its point forecast at all. shifts: by `held_out_shifts`. width: see
    `recent_widths`, of what a series usually moves, `usual_change`; p: `width_power`, 0 for quantiles as far apart at all times.
    Covariates are standardised before the forecaster gets them. The forecast is the level nearest to 0.5, and
    `info["quantiles"]` is (*batch, lead, region, level).

    Raises:
        InputError: for levels that do not rise within (0, 1), a bound that is no number, or a negative width_power; when
            saved or loaded, for arrays that do not fit each other.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> shifts = jnp.asarray([-1.0, 0.0, 1.0]).reshape(1, 1, 3)
        >>> model = jaxcast.CalibratedForecaster(jaxcast.LastValue((1,)), shifts, levels=(0.1, 0.5, 0.9))
        >>> model(jnp.asarray([[2.0], [4.0]])).info["quantiles"].tolist()
        [[[3.0, 4.0, 5.0]]]
    """

    forecaster: Any
    shifts: Float[Array, "lead region level"]
    given_mean: Any = 0.0
    given_std: Any = 1.0
    levels: tuple[float, ...] = dataclasses.field(default=(0.5,), metadata={"static": True})
    lower: float | None = dataclasses.field(default=None, metadata={"static": True})
    usual_change: Any = 1.0
    width_power: float = dataclasses.field(default=0.0, metadata={"static": True})

    def __post_init__(self) -> None:
        check_levels(self.levels)
        if self.lower is not None:
            check_number("lower", self.lower)
        check_number("width_power", self.width_power, least=0)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a forecaster."""
        check_model(self.forecaster)
        own = {name: getattr(self, name) for name in ("shifts", "given_mean", "given_std", "usual_change")}
        check_floats(own)
        by_region = jnp.ndim(self.usual_change) > 0
        sizes = sizes_of(
            {name: own[name] for name in ("shifts", "usual_change")},
            {"['shifts']": f"lead region {len(self.levels)}", "['usual_change']": "region" if by_region else ""},
        )
        self._check_given()
        check_number("usual_change", float(jnp.min(jnp.asarray(self.usual_change))), least=0)
        self._check_forecaster(sizes)

    def _check_given(self) -> None:
        """Raises InputError unless what is given has a mean and a scale for each number, or one for all."""
        shape, other = jnp.shape(self.given_mean), jnp.shape(self.given_std)
        size = getattr(getattr(self.forecaster, "inputs", self.forecaster), "given_size", None)
        if shape != other or 0 in shape or (size is not None and shape[-1:] not in ((), (size,))):
            raise InputError(
                f"given_mean and given_std must be of {size or 'the'} given numbers, got {shape} and {other}"
            )
        check_positive(given_std=self.given_std)

    def _check_forecaster(self, sizes: dict[str, int]) -> None:
        """Raises InputError unless the forecaster is one of as many leads and regions, above the lower bound."""
        leads = getattr(self.forecaster, "leads", None)
        num_leads = getattr(self.forecaster, "num_leads", sizes["lead"] if leads is None else len(leads))
        if num_leads != sizes["lead"]:
            raise InputError(f"shifts must be of {num_leads} leads, as the forecaster, got {sizes['lead']}")
        mean = getattr(getattr(self.forecaster, "inputs", self.forecaster), "mean", None)
        if mean is None:
            return
        if len(mean) != sizes["region"]:
            raise InputError(f"shifts must be of {len(mean)} regions, as the forecaster, got {sizes['region']}")
        if self.lower is not None and self.lower > float(jnp.min(mean)) * (1 + 1e-5 * jnp.sign(jnp.min(mean))):
            raise InputError(f"lower must not be above the mean of a series, got {self.lower:g}")

    @checked
    def __call__(self, history: Float[Array, "*batch time region"], given: Any = None) -> Output:
        if given is not None:
            given = (given - self.given_mean) / self.given_std
        base = base_quantiles(self.forecaster, history, given)
        quantiles = shifted(base, self.shifts, self._widths(history), self.lower)
        return Output(quantiles[..., middle_of(self.levels)], {"quantiles": quantiles})

    def _widths(self, history: Array) -> Any:
        return recent_widths(history, self.usual_change) ** self.width_power if self.width_power else 1.0


@checked
def recent_widths(
    history: Float[Array, "*batch time region"], usual: Float[Any, " region"]
) -> Float[Array, "*batch region"]:
    """How much each series moved lately, in units of what is usual for it; a quarter at least, and 1 where nothing is known.

    The mean absolute change between the newest nine values of the window, over that of the series.

    Source: errors over a local scale, as in Lei, G'Sell, Rinaldo, Tibshirani and Wasserman (2018), section 5.2; the scale is our own.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.recent_widths(jnp.asarray([[0.0, 0.0], [2.0, 0.0], [0.0, 0.1]]), jnp.asarray([1.0, 1.0])).tolist()
        [2.0, 0.25]
    """
    steps = jnp.abs(jnp.diff(history[..., -_NEWEST:, :], axis=-2))
    known = jnp.isfinite(steps)
    recent = jnp.where(known, steps, 0).sum(-2) / jnp.maximum(known.sum(-2), 1)
    usual = jnp.asarray(usual, history.dtype)
    width = jnp.maximum(recent / jnp.where(usual > 0, usual, 1), _LEAST_WIDTH)
    return jnp.where(known.any(-2) & (usual > 0), width, 1)


@checked
def usual_changes(samples: LeadSamples) -> Float[Array, " region"]:
    """The mean absolute change of each series from step to step, over the windows that are learned from; 0 where none is known.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> samples = jaxcast.lead_samples(2.0 * jnp.arange(9.0)[:, None], window_size=3, leads=(1,))
        >>> jaxcast.usual_changes(samples).tolist()
        [2.0]
    """
    steps = jnp.abs(jnp.diff(samples.history, axis=-2))
    known = jnp.isfinite(steps) & (samples.weights > 0).any((-2, -1))[:, None, None]
    return jnp.where(known, steps, 0).sum((0, 1)) / jnp.maximum(known.sum((0, 1)), 1)


def shifted(
    base: Float[Any, "*batch lead region one_or_level"],
    shifts: Float[Any, "lead region level"],
    widths: Any,
    lower: float | None,
) -> Float[Array, "*batch lead region level"]:
    """Quantiles set right: see `CalibratedForecaster`; widths (*batch, region), or one number."""
    if jnp.ndim(widths):
        widths = widths[..., None, :, None]
    quantiles = jnp.sort(base + widths * shifts, -1)
    return quantiles if lower is None else jnp.maximum(quantiles, lower)


def base_quantiles(
    forecaster: Any, history: Float[Array, "*batch time region"], given: Any = None
) -> Float[Array, "*batch lead region level"]:
    """A forecaster's own quantiles; where it has none its point forecast, as the only level."""
    output = forecaster(history) if given is None else forecaster(history, given)
    return output.info.get("quantiles", output.forecast[..., None])


def middle_of(levels: Sequence[float]) -> int:
    """Which level is nearest to 0.5."""
    return min(range(len(levels)), key=lambda k: abs(levels[k] - 0.5))


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """The levels.

    Raises:
        InputError: unless there is one, and they rise within (0, 1).
    """
    levels = tuple(map(float, levels))
    if not levels or not all(0 < level < 1 for level in levels) or sorted(set(levels)) != list(levels):
        raise InputError(f"levels must rise and lie between 0 and 1, got {levels}")
    return levels


@checked
def held_out_shifts(
    base: Float[Any, "sample lead region one_or_level"],
    samples: LeadSamples,
    *,
    levels: Sequence[float],
    std: Float[Any, " region"],
    widths: Float[Any, "sample region"] | None = None,
) -> Float[np.ndarray, "lead region level"]:
    """How far each level has to be moved so that its share of the held-out values lies below it.

        shift_(h,r)(tau) = s_(h,r) Q_(h,tau)( (y - base(tau)) / s_(h,r) ),    s_(h,r) = mean over samples of |y - base(1/2)|

    with Q_(h,tau) the tau-quantile over all samples and regions of a lead (the k-th smallest of n is that of k / (n + 1), so
    that a further value lies below with the probability tau): only the size of errors is each region's own. Five errors of the usual
    size, in units of std, are added to the mean s. Where no region has a known value at a lead, shifts are NaN.

    Args:
        base: of windows that the forecaster has not learned from; a single level stands for all. samples: the same windows.
            std: of each series. widths: what errors are first divided by, where they are larger at some times than at others;
            a shift is then that of a width of one.

    Raises:
        InputError: for levels that do not rise within (0, 1), a base of other levels, or widths of another shape or not positive.

    Source: split conformal prediction, after Romano, Patterson and Candes (2019), each level by itself.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.random.default_rng(0).normal(size=(2000, 1))
        >>> samples = jaxcast.lead_samples(values, window_size=1, leads=(1,))
        >>> shifts = jaxcast.held_out_shifts(np.zeros((1999, 1, 1, 1)), samples, levels=(0.1, 0.9), std=np.ones(1))
        >>> bool(abs(shifts - np.asarray([-1.28, 1.28])).max() < 0.1)
        True
    """
    levels, base, std = check_levels(levels), np.asarray(base), np.asarray(std)
    if base.shape[-1] not in (1, len(levels)) or base.shape[:-1] != samples.targets.shape:
        raise InputError(
            f"expected base (*{samples.targets.shape}, level) with one or {len(levels)} levels, got {base.shape}"
        )
    base = np.broadcast_to(base, (*base.shape[:-1], len(levels)))
    known = np.asarray(samples.weights) > 0
    errors = np.where(known[..., None], np.asarray(samples.targets)[..., None] - base, 0)
    if widths is not None:
        widths = np.asarray(widths)
        if widths.shape != (len(errors), errors.shape[2]) or not (widths > 0).all():
            raise InputError(f"expected positive widths {(len(errors), errors.shape[2])}, got shape {widths.shape}")
        errors = errors / widths[:, None, :, None]
    off = np.abs(errors[..., middle_of(levels)])
    usual = (off / std).sum((0, 2)) / np.maximum(known.sum((0, 2)), 1)
    scale = (off.sum(0) + PRIOR_COUNT * usual[:, None] * std) / (known.sum(0) + PRIOR_COUNT)
    scale = np.where(scale > 0, scale, 1)
    shifts = np.full((*scale.shape, len(levels)), np.nan)
    for lead, mask in enumerate(known.transpose(1, 0, 2)):
        if mask.any():
            relative = (errors[:, lead] / scale[lead, :, None])[mask]
            found = [np.quantile(relative[:, k], level, method="weibull") for k, level in enumerate(levels)]
            shifts[lead] = scale[lead, :, None] * np.asarray(found)
    return shifts
