"""What a hybrid sees at each component of the state: states, candidates' forecasts and errors."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_floats, check_positive, sizes_of
from jaxcast.pooling.hybrid.stencil import Stencil
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree

ROUNDING = 100.0
"""Modes of the candidates are kept down to this many roundings of the state."""


class Channels(Checked, FrozenPytree):
    """The scales of a hybrid's channels, each a field of the state's shape.

    The candidates' forecasts differ from the base's by few patterns, which are the principal
    components of F - y over the axis of models. Each is scaled to size one, so that a small one,
    which interpolates to a higher order, is not lost in a penalty.

    Args:
        mean: of the states.
        std: of the states.
        step: root mean square of the base's forecast of the change.
        error: root mean square of the base's errors.
        modes: patterns over the models.
        spread: root mean squares of these patterns.
    """

    mean: Float[Array, " dim"]
    std: Float[Array, " dim"]
    step: Float[Array, " dim"]
    error: Float[Array, " dim"]
    modes: Float[Array, "model mode"]
    spread: Float[Array, "mode dim"]

    def check(self) -> None:
        """Raises InputError for arrays out of range."""
        check_floats(self)
        shapes = {f".{name}": "dim" for name in ("mean", "std", "step", "error")}
        sizes_of(self, shapes | {".modes": "model mode", ".spread": "mode dim"}, may_be_empty=("model", "mode"))
        check_positive(std=self.std, step=self.step, error=self.error)

    def __call__(
        self,
        states: Float[Array, "lag dim"],
        errors: Float[Array, "error_lag dim"],
        forecast: Float[Array, " dim"],
        differences: Float[Array, "difference_lag mode dim"],
    ) -> Float[Array, "channel dim"]:
        """Scales all channels.

        Args:
            states: newest first.
            errors: of the base, newest first.
            forecast: of the base.
            differences: as `differences` returns them, newest first.
        """
        return jnp.concatenate(
            [
                (states - self.mean) / self.std,
                (forecast - states[:1]) / self.step,
                errors / self.error,
                differences.reshape(-1, len(self.mean)),
            ]
        )

    @highest
    def differences(
        self, forecast: Float[Array, " dim"], candidates: Float[Array, "model dim"] | None
    ) -> Float[Array, "mode dim"]:
        """Computes how the candidates differ from the base, in patterns of size one.

        Args:
            forecast: of the base.
            candidates: theirs.
        """
        if candidates is None:
            return jnp.zeros((0, *forecast.shape), forecast.dtype)
        return jnp.einsum("mr,md->rd", self.modes, candidates - forecast) / self.spread


def no_channels() -> Channels:
    """Returns channels that are still to be measured."""
    none = jnp.zeros(0)
    return Channels(none, none, none, none, none[None], none[None])


def measure_channels(
    states: Float[Array, "time dim"],
    forecasts: Float[Array, "time dim"],
    candidates: Float[Array, "time model dim"] | None,
    stencil: Stencil,
) -> Channels:
    """Measures the scales along a trajectory; sites of a stencil share theirs.

    Args:
        states: of the truth.
        forecasts: of the base from them.
        candidates: their forecasts.
        stencil: of the sites.

    Returns:
        The channels.
    """

    def size(values: Array) -> Array:
        return _positive(jnp.sqrt(stencil.pooled((values**2).mean(0))))

    mean = stencil.pooled(states.mean(0))
    std = size(states - mean)
    modes, patterns = _modes(forecasts, candidates, std)
    spread = jnp.stack([size(patterns[:, mode]) for mode in range(modes.shape[1])]) if modes.size else patterns[0]
    return Channels(mean, std, size(forecasts - states), size(forecasts[:-1] - states[1:]), modes, spread)


@highest
def _modes(forecasts: Array, candidates: Any, std: Array) -> tuple[Array, Array]:
    """Returns the principal components over models, and their coefficients at each time (time, mode, dim)."""
    if candidates is None:
        return jnp.zeros((0, 0), std.dtype), jnp.zeros((1, 0, len(std)), std.dtype)
    off = candidates - forecasts[:, None]
    scaled = np.moveaxis(np.asarray(off / std, np.float64), 1, -1).reshape(-1, off.shape[1])
    _, values, patterns = np.linalg.svd(np.linalg.qr(scaled, mode="r"), full_matrices=False)
    kept = values / len(scaled) ** 0.5 > ROUNDING * float(jnp.finfo(std.dtype).eps)
    modes = jnp.asarray(patterns[kept].T, std.dtype)
    return modes, jnp.einsum("mr,tmd->trd", modes, off)


def _positive(values: Array) -> Array:
    return jnp.where(values > 0, values, 1)
