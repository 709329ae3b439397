"""Maximum likelihood for switching pools, by expectation maximisation (Baum-Welch)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_finite
from jaxcast.errors import InputError
from jaxcast.pooling.switching import FixedShare, InteractingModels, gaussian_log_density
from jaxcast.precision import highest
from jaxcast.types import Scalar


class Smoothed(NamedTuple):
    """The smoothed chain, given all observations.

    Args:
        posterior: p(z_n = i | all).
        transitions: expected number of each transition.
        log_likelihood: of all observations, up to the constant of the given log-densities.
    """

    posterior: Float[Array, "time model"]
    transitions: Float[Array, "model model"]
    log_likelihood: Float[Array, ""]


@checked
def fit_fixed_share(
    forecasts: Float[Array, "time model dim"], targets: Float[Array, "time dim"], *, num_iterations: int = 100
) -> FixedShare:
    """Fits `FixedShare` by maximum likelihood.

        share <- expected switches / (time - 1)
        s_d^2 <- sum_(n,i) p(z_n = i) (F_(n,d)^(i) - u_(n,d))^2 / time

    Args:
        forecasts: of the candidates at consecutive steps, such as those of `one_step_samples`.
        targets: the true values of these steps.
        num_iterations: of expectation maximisation; each increases the likelihood.

    Returns:
        The pool.

    Raises:
        InputError: unless there are at least two steps and two candidates, with a row of each for
            every step, all finite.

    Source:
        Dempster, Laird and Rubin (1977); Rabiner, Proc. IEEE 77, 257-286 (1989).

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> forecasts = jnp.tile(jnp.asarray([[0.0], [10.0]]), (200, 1, 1))
        >>> regime = jnp.arange(200) // 10 % 2  # changes 19 times in 199 steps
        >>> targets = 10.0 * regime[:, None] + 0.5 * jax.random.normal(jax.random.key(0), (200, 1))
        >>> pool = jaxcast.pooling.fit_fixed_share(forecasts, targets)
        >>> round(float(pool.share), 3), round(float(pool.scale[0]), 1)
        (0.095, 0.5)
    """
    share, scale = _fit_fixed_share(_errors(forecasts, targets), num_iterations)
    return FixedShare(share, scale)


@jax.jit
@highest
def _fit_fixed_share(errors: Array, num_iterations: Any) -> tuple[Array, Array]:
    num_steps, num_models, _ = errors.shape
    uniform = jnp.full(num_models, 1 / num_models, errors.dtype)
    smallest = _smallest(errors)

    def improve(_: Any, numbers: tuple[Array, Array]) -> tuple[Array, Array]:
        pool = FixedShare(*numbers)
        densities = -0.5 * ((errors / pool.scale) ** 2).sum(-1) - jnp.log(pool.scale).sum()
        smoothed = smooth(densities, uniform, pool.transition_of(num_models))
        share = 1 - jnp.trace(smoothed.transitions) / (num_steps - 1)
        scale = jnp.sqrt(jnp.einsum("nm,nmd->d", smoothed.posterior, errors**2) / num_steps)
        return jnp.clip(share, 1e-6, 1 - 1e-6), jnp.maximum(scale, smallest)

    start = jnp.asarray(0.5, errors.dtype), jnp.sqrt(_squares_of_best(errors).mean(0)) + smallest
    share, scale = jax.lax.fori_loop(0, num_iterations, improve, start)
    return share, scale


@checked
def fit_interacting_models(
    forecasts: Float[Array, "time model dim"],
    targets: Float[Array, "time dim"],
    *,
    num_iterations: int = 100,
    pseudo_count: Scalar = 0.1,
) -> InteractingModels:
    """Fits `InteractingModels` by maximum likelihood.

        T_ij <- (expected transitions from i to j + c) / their sum over j
        C_i <- (sum_n p(z_n = i) e_n^(i) e_n^(i)' + (dim + 1) C) / (sum_n p(z_n = i) + dim + 1)
        e = F - u

    C is the same mean over all candidates, so that one that is seldom right keeps a sensible
    covariance. The prior is the stationary distribution of T.

    Args:
        forecasts: of the candidates at consecutive steps, such as those of `one_step_samples`.
        targets: the true values of these steps.
        num_iterations: of expectation maximisation; each increases the likelihood.
        pseudo_count: c, which keeps unseen transitions possible.

    Returns:
        The pool.

    Raises:
        InputError: unless there are at least two steps and two candidates, with a row of each for
            every step, all finite.

    Source:
        Baum, Petrie, Soules and Weiss (1970); Rabiner, Proc. IEEE 77, 257-286 (1989).

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> forecasts = jnp.tile(jnp.asarray([[0.0], [10.0], [20.0]]), (300, 1, 1))
        >>> targets = 10.0 * (jnp.arange(300) % 3)[:, None] + jax.random.normal(jax.random.key(0), (300, 1))
        >>> pool = jaxcast.pooling.fit_interacting_models(forecasts, targets)
        >>> [round(float(p), 2) for p in pool.transition[0]]  # 0 is followed by 10
        [0.0, 1.0, 0.0]
    """
    transition, covariances = _fit_interacting(_errors(forecasts, targets), num_iterations, pseudo_count)
    return InteractingModels(transition, covariances, stationary(transition))


@jax.jit
@highest
def _fit_interacting(errors: Array, num_iterations: Any, pseudo_count: Scalar) -> tuple[Array, Array]:
    _, num_models, dim = errors.shape
    floor = jnp.diag(_smallest(errors) ** 2)

    def improve(_: Any, numbers: tuple[Array, Array]) -> tuple[Array, Array]:
        transition, covariances = numbers
        smoothed = smooth(gaussian_log_density(errors, covariances), stationary(transition), transition)
        counts = smoothed.transitions + pseudo_count
        scatter = jnp.einsum("nm,nmd,nme->mde", smoothed.posterior, errors, errors)
        often = smoothed.posterior.sum(0)[:, None, None]
        shared = scatter.sum(0) / often.sum()
        return counts / counts.sum(1, keepdims=True), (scatter + (dim + 1) * shared) / (often + dim + 1) + floor

    first = jnp.tile(jnp.diag(_squares_of_best(errors).mean(0)) + floor, (num_models, 1, 1))
    even = FixedShare(0.5, 1.0).transition_of(num_models).astype(errors.dtype)
    transition, covariances = jax.lax.fori_loop(0, num_iterations, improve, (even, first))
    return transition, covariances


@highest
def stationary(transition: Float[Array, "model model"]) -> Float[Array, " model"]:
    """Computes the stationary distribution of a chain: pi = pi T.

    T itself may be periodic, so a damped chain with the same distribution is squared repeatedly.

    Args:
        transition: T.
    """
    damped = 0.5 * (transition + jnp.eye(len(transition), dtype=transition.dtype))
    power = jax.lax.fori_loop(0, 30, lambda _, power: _rows_to_one(power @ power), damped)
    return power.mean(0)


@highest
def smooth(
    log_densities: Float[Array, "time model"], prior: Float[Array, " model"], transition: Float[Array, "model model"]
) -> Smoothed:
    """Runs the forward-backward algorithm, with each step scaled to a sum of one.

    Args:
        log_densities: log p(observation n | z_n = i).
        prior: p(z_1 = i).
        transition: T.

    Source:
        Rabiner, Proc. IEEE 77, 257-286 (1989), section V.
    """
    largest = log_densities.max(1, keepdims=True)
    densities = jnp.exp(log_densities - largest)

    def forward(predicted: Array, density: Array) -> tuple[Array, tuple[Array, Array]]:
        joint = predicted * density
        total = joint.sum()
        return (joint / total) @ transition, (joint / total, total)

    _, (filtered, totals) = jax.lax.scan(forward, prior, densities)

    def backward(later: Array, step: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        density, total = step
        evidence = density * later / total
        return transition @ evidence, (later, evidence)

    _, (later, evidence) = jax.lax.scan(backward, jnp.ones_like(prior), (densities, totals), reverse=True)
    transitions = transition * jnp.einsum("ni,nj->ij", filtered[:-1], evidence[1:])
    return Smoothed(filtered * later, transitions, jnp.log(totals).sum() + largest.sum())


def _rows_to_one(matrix: Array) -> Array:
    return matrix / matrix.sum(1, keepdims=True)


def _squares_of_best(errors: Array) -> Array:
    """Returns the squared errors of the best candidate at each step, (time, dim)."""
    squares = errors**2
    size = (squares / jnp.maximum(squares.mean((0, 1)), jnp.finfo(errors.dtype).tiny)).sum(-1)
    return jnp.take_along_axis(squares, jnp.argmin(size, 1)[:, None, None], axis=1)[:, 0]


def _smallest(errors: Array) -> Array:
    """Returns the least standard deviation, (dim,), so that all densities are finite."""
    return 1e-6 * jnp.sqrt((errors**2).mean((0, 1))) + jnp.finfo(errors.dtype).tiny ** 0.25


def _errors(forecasts: Array, targets: Array) -> Array:
    if forecasts.ndim != 3 or targets.shape != (forecasts.shape[0], forecasts.shape[2]) or min(forecasts.shape[:2]) < 2:
        raise InputError(
            "expected forecasts (time, model, dim) of at least 2 steps and 2 candidates and targets (time, dim), "
            f"got {forecasts.shape} and {targets.shape}"
        )
    check_finite({"forecasts": forecasts, "targets": targets}, "step")
    return forecasts - targets[:, None]
