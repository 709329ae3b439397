"""The loss that trains networks of several series."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_flag, check_number
from jaxcast.numerics.levels import pinball_of
from jaxcast.rollout import Output
from jaxcast.series.features import of_targets
from jaxcast.series.samples import SeriesWindows, lags_given, learned_from

SMALLEST_RATE = 1e-6


@dataclasses.dataclass(frozen=True)
class WindowLoss:
    """The loss that `fit` trains networks of several series by: the mean error over what is known.

    A network with the head of a distribution has its negative log likelihood, in the units of the
    data. Other errors are in units of the network's standard deviations: with quantile levels the
    pinball loss, else the loss of the error e = (y - f) / std:

        squared: e^2,    absolute: |e|
        huber: e^2 / 2 where |e| < 1, |e| - 1 / 2 elsewhere
        poisson: y ln(y / f) - y + f, of counts as they are
        pinball: max( level e, (level - 1) e )

    Args:
        error: "squared", "absolute", "huber" or "poisson".
        relative: the weight of the squared relative error, ((y - f) / max(|y|, std / 10))^2, that
            is added.
        teacher_forcing: whether a network of stages sees the true values of earlier stages in
            training, that is in steps that have a key (`fit(..., with_key=True)`); a validation
            loss has none.

    Raises:
        InputError: for another error or a negative weight.

    Source:
        Yao et al. (2018), Deep Multi-View Spatial-Temporal Network, eq. 10, for the relative error.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 5))
        >>> network = jaxcast.series.GlobalNetwork(samples, hidden_size=4, levels=(0.1, 0.9), key=jax.random.key(0))
        >>> bool(jaxcast.series.WindowLoss()(network, samples) > 0)
        True
    """

    error: Literal["squared", "absolute", "huber", "poisson"] = "squared"
    relative: float | int = 0.0
    teacher_forcing: bool = False

    def __post_init__(self) -> None:
        check_choice("error", self.error, ("squared", "absolute", "huber", "poisson"))
        check_number("relative", self.relative, least=0)
        check_flag("teacher_forcing", self.teacher_forcing)

    @checked
    def __call__(self, model: Any, samples: SeriesWindows, key: Any = None, num_leads: Any = None) -> Float[Array, ""]:
        """Computes the loss.

        Args:
            model: a network.
            samples: what to forecast; where a weight is 0 the target does not matter.
            key: switches dropout on.
            num_leads: how many of the first leads count; None for all.

        Returns:
            The loss; 0 where nothing is known.
        """
        samples = learned_from(samples)
        weights = samples.weights
        if num_leads is not None:
            is_counted = jnp.arange(weights.shape[1]) < num_leads
            weights = weights * is_counted.reshape(-1, *[1] * (weights.ndim - 2))
        given = (samples.history, samples.covariates)
        seen: dict[str, Any] = lags_given(samples) | {"key": key}
        if self.teacher_forcing and key is not None:
            seen["truth"] = jnp.where(samples.weights > 0, samples.targets, jnp.nan)
        if model.head_name == "quantiles":
            errors = self.errors(model, model(*given, **seen), samples.targets)
        else:
            errors = model.distribution(*given, **seen)[0].loss(samples.targets)
        return jnp.sum(weights * errors) / jnp.maximum(jnp.sum(weights), 1)

    def errors(self, model: Any, outputs: Output, targets: Array) -> Array:
        """Returns the loss of every target.

        Args:
            model: a network.
            outputs: its forecasts.
            targets: what was forecast.
        """
        std = of_targets(model.std[...], model.target_features)
        if model.levels:
            off = (targets[..., None] - outputs.info["quantiles"]) / std[..., None]
            return pinball_of(off, jnp.asarray(model.levels, off.dtype)).mean(-1)
        difference = targets - outputs.forecast
        errors = self._point_errors(difference / std, targets, outputs.forecast)
        if not self.relative:
            return errors
        return errors + self.relative * (difference / jnp.maximum(jnp.abs(targets), std / 10)) ** 2

    def _point_errors(self, scaled: Array, targets: Array, forecasts: Array) -> Array:
        if self.error == "squared":
            return scaled**2
        if self.error == "absolute":
            return jnp.abs(scaled)
        if self.error == "huber":
            return optax.losses.huber_loss(scaled)
        rate = jnp.maximum(forecasts, SMALLEST_RATE)
        return jax.scipy.special.xlogy(targets, targets) - targets * jnp.log(rate) - targets + rate
