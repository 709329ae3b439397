"""Interpolation between candidates along the few directions in which they differ."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_finite, check_floats, check_positive, check_whole, sizes_of
from jaxcast.errors import InputError
from jaxcast.pooling.memory import Memory
from jaxcast.pooling.pool import DelayPool, WeightedPool
from jaxcast.pooling.samples import OneStepSamples
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.types import Info

RANGE = 1.2
"""How far a position may lie outside of the candidates', in multiples of the farthest one."""
RIDGE = 1e-6
"""Ridge of the least squares for the position, which is zero where all candidates agree."""


class RegimeInterpolation(WeightedPool, DelayPool, Checked, FrozenPytree, name="regime_interpolation"):
    """Affine weights from the regime that the last errors reveal, by least squares.

        F_i(u) = Fbar(u) + sum_k C_(i,k) g_k(u)                 candidates, in few directions k
        z_n = argmin_z |u_n - Fbar_n - sum_k z_k g_(n,k)|^2     position of the step to u_n
        y = Fbar + sum_k z_(j-1,k) g_k

    For candidates that differ in one parameter, the first direction orders them, and z is the
    position of the truth among them; neither the parameter nor its values are given.
    `info["position"]`, (*batch, lag * k), holds z of the last l steps, newest first, from which a
    `CorrectedPool` or a filter can learn. `fit_regime_interpolation` returns it.

    Args:
        directions: C, with columns orthogonal to each other and to ones.
        scale: the size of each component.
        num_delays: l.

    Raises:
        InputError: for less than one delay, a memory of another number of delays or candidates, or
            no candidates.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> pool = jaxcast.pooling.RegimeInterpolation(jnp.asarray([[-1.0], [1.0]]), jnp.ones(1), num_delays=1)
        >>> memory = jaxcast.pooling.Memory(states=jnp.zeros((1, 1)), errors=jnp.asarray([[[-3.0], [1.0]]]))
        >>> [round(float(w), 3) for w in pool(memory, jnp.zeros((2, 1))).info["weights"]]
        [0.25, 0.75]
    """

    directions: Float[Array, "model direction"]
    scale: Float[Array, " dim"]
    num_delays: int = static()

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes = sizes_of(self, {".directions": "model direction", ".scale": "dim"})
        check_whole("the number of directions", sizes["direction"], most=sizes["model"] - 1)
        check_positive(scale=self.scale, length_of_directions=(self.directions**2).sum(0))

    @highest
    def position(self, memory: Memory) -> Float[Array, "*batch lag direction"]:
        """Computes the position z of every step in the memory.

        Args:
            memory: of the last states and errors.
        """
        errors = self.errors_in(memory)
        if errors.shape[-2:] != (len(self.directions), len(self.scale)):
            raise InputError(
                f"expected errors of {len(self.directions)} candidates with {len(self.scale)} components, "
                f"got shape {errors.shape[-2:]}"
            )
        errors = errors / self.scale
        directions = self._normed(self.directions)
        along = jnp.einsum("mk,...md->...kd", directions, errors)
        gram = jnp.einsum("...kd,...jd->...kj", along, along)
        missing = -jnp.einsum("...kd,...d->...k", along, errors.mean(-2))
        ridge = RIDGE * jnp.eye(gram.shape[-1], dtype=gram.dtype)
        position = jnp.linalg.solve(gram + ridge, missing[..., None])[..., 0]
        farthest = RANGE * jnp.abs(self.directions).max(0)
        return jnp.clip(position, -farthest, farthest)

    @checked
    @highest
    def weigh(self, memory: Memory, forecasts: Float[Array, "*batch model dim"]) -> Info:
        position = self.position(memory)
        weights = 1 / len(self.directions) + position[..., 0, :] @ self._normed(self.directions).T
        return {"weights": weights.astype(forecasts.dtype), "position": position.reshape(*position.shape[:-2], -1)}

    @highest
    def combine(self, weights: Info, forecasts: Float[Array, "*batch model dim"]) -> Output:
        return Output(jnp.einsum("...m,...md->...d", weights["weights"], forecasts), weights)

    @staticmethod
    def _normed(directions: Array) -> Array:
        return directions / (directions**2).sum(0)


@checked
def fit_regime_interpolation(samples: OneStepSamples, *, num_directions: int = 1) -> RegimeInterpolation:
    """Finds the directions in which candidates differ most, by a singular value decomposition.

    The mean over candidates is subtracted from the forecasts, which are divided by their root mean
    square for each component. Each direction is scaled so that the farthest candidate is at 1 or
    -1.

    Args:
        samples: with forecasts of the candidates.
        num_directions: 1 for candidates that differ in one parameter.

    Returns:
        The pool.

    Raises:
        InputError: without candidates, for forecasts that are not finite, or for as many directions
            as candidates or more.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(rho=29.0), [1.0, 1.0, 20.0], num_samples=50)
        >>> rhos = (26.0, 28.0, 30.0)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in rhos]))
        >>> samples = jaxcast.one_step_samples(truth, 1, candidates)
        >>> pool = jaxcast.pooling.fit_regime_interpolation(samples)
        >>> weights = pool(samples.memory, samples.forecasts).info["weights"]
        >>> [round(float(weights[n] @ jnp.asarray(rhos)), 1) for n in (5, 25)]
        [29.0, 29.0]
    """
    if samples.forecasts is None:
        raise InputError("interpolation needs candidates: make the samples with a forecast map")
    check_finite({"forecasts": samples.forecasts})
    num_models = samples.forecasts.shape[-2]
    if num_models < 2:
        raise InputError(f"interpolation needs candidates that differ: expected at least two, got {num_models}")
    if not 1 <= num_directions < num_models:
        raise InputError(f"num_directions must be from 1 to {num_models - 1} for {num_models} candidates")
    directions, scale = _directions(samples.forecasts, num_directions)
    return RegimeInterpolation(directions, scale, samples.memory.states.shape[-2])


@partial(jax.jit, static_argnames="num_directions")
@highest
def _directions(forecasts: Float[Array, "sample model dim"], num_directions: int) -> tuple[Array, Array]:
    centred = forecasts - forecasts.mean(1, keepdims=True)
    scale = jnp.sqrt((centred**2).mean((0, 1)))
    scale = jnp.where(scale > 0, scale, 1)
    rows = jnp.moveaxis(centred / scale, 1, 0).reshape(forecasts.shape[1], -1)
    # Of the small model-by-model matrix: only the few leading directions are needed.
    _, vectors = jnp.linalg.eigh(rows @ rows.T)
    leading = vectors[:, ::-1][:, :num_directions]
    farthest = jnp.take_along_axis(leading, jnp.abs(leading).argmax(0)[None], 0)
    # The sign is free: the one in which the first candidate is not above the last.
    sign = jnp.where(leading[0] > leading[-1], -1, 1)
    return leading / jnp.abs(farthest) * sign, scale
