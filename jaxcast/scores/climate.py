"""The climate of a long forecast: which states it visits and how fast it moves, whatever the phase.

After the valid time a forecast of a chaotic system is wrong at every moment and may still be right
on the whole. Here two long series of states are compared as clouds of points and by their spectra.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.precision import highest


class ClimateScores(NamedTuple):
    """Distances between the climates of two series of states; zero where they agree.

    Args:
        histogram: mean of `histogram_distance` over components, from 0 to 1.
        spectrum: mean of `spectrum_distance` over components, from 0 to 1.
        divergence: `attractor_divergence`, in nats.
        wasserstein: `sliced_wasserstein_distance`, in standard deviations of the truth.
    """

    histogram: Float[Array, ""]
    spectrum: Float[Array, ""]
    divergence: Float[Array, ""]
    wasserstein: Float[Array, ""]


@checked
def climate_scores(
    forecast: Float[Array, "time dim"],
    truth: Float[Array, "time dim"],
    *,
    key: Key[Array, ""],
    scale: Shaped[ArrayLike, "..."] | None = None,
) -> ClimateScores:
    """Compares the climate of a rollout with that of the truth.

    Args:
        forecast: states at equal steps.
        truth: as many true states, which need not be at the same times.
        key: for the samples and directions of two of the distances.
        scale: divides all states; one number or one per component, by default the standard
            deviations of the truth.

    Returns:
        Four distances. They are not zero between two true series of finite length: compare them
        with those of another part of the truth. NaN where a component of the truth is constant or
        not finite.

    Raises:
        InputError: for series of different shapes.

    Example:
        >>> import jax, jaxcast
        >>> starts = jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), 2, key=jax.random.key(0))
        >>> one, other = jaxcast.simulate_ensemble(jaxcast.Lorenz63(), starts, num_samples=500, transient=20.0).states
        >>> same = jaxcast.scores.climate_scores(one, other, key=jax.random.key(1))
        >>> collapsed = jaxcast.scores.climate_scores(0.5 * one, other, key=jax.random.key(1))
        >>> bool(same.divergence < collapsed.divergence), bool(same.wasserstein < collapsed.wasserstein)
        (True, True)
    """
    scale = truth.std(0) if scale is None else jnp.asarray(scale, truth.dtype)
    forecast, truth = forecast / scale, truth / scale
    samples, directions = jax.random.split(key)
    return ClimateScores(
        histogram_distance(forecast, truth).mean(),
        spectrum_distance(forecast, truth).mean(),
        attractor_divergence(forecast, truth, key=samples),
        sliced_wasserstein_distance(forecast, truth, key=directions),
    )


@checked
def histogram_distance(
    forecast: Float[Array, "time dim"], truth: Float[Array, "other_time dim"], *, num_bins: int = 50
) -> Float[Array, " dim"]:
    """Returns the Hellinger distance between the histograms of each component.

        H = sqrt(1 - sum_b sqrt(p_b q_b))

    Bins of equal width span the values of the truth; two more hold what lies outside of them.

    Args:
        forecast: states; those that are not finite lie outside.
        truth: true states.
        num_bins: how many bins span the truth.

    Returns:
        For each component a number from 0 (equal) to 1 (disjoint); NaN for a truth that is constant
        or not finite.

    Raises:
        InputError: for series of other shapes, or fewer bins than one.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> truth = jnp.asarray([[0.0], [1.0]])
        >>> distance = jaxcast.scores.histogram_distance(jnp.zeros((4, 1)), truth, num_bins=2)
        >>> round(float(distance[0] ** 2), 3)  # 1 - sqrt(1 / 2)
        0.293
    """
    if num_bins < 1:
        raise InputError(f"num_bins must be at least 1, got {num_bins}")

    def shares(values: Array, edges: Array) -> Array:
        bins = jnp.searchsorted(edges, values, side="right")
        bins = jnp.where(values == edges[-1], num_bins, bins)  # the last bin holds its upper edge
        return jnp.zeros(num_bins + 2).at[bins].add(1.0 / len(values))

    def distance(forecast: Array, truth: Array) -> Array:
        edges = jnp.linspace(truth.min(), truth.max(), num_bins + 1)
        return jnp.where(_varies(truth), _hellinger(shares(forecast, edges), shares(truth, edges)), jnp.nan)

    return jax.vmap(distance, in_axes=1)(forecast, truth)


@checked
@highest
def spectrum_distance(
    forecast: Float[Array, "time dim"], truth: Float[Array, "time dim"], *, smoothing: float | int = 2.0
) -> Float[Array, " dim"]:
    """Returns the Hellinger distance between the power spectra of each component.

    Spectra of the deviations from the mean, under a Hann window, are smoothed over frequencies by a
    Gaussian and divided by their sums: amplitudes do not matter.

    Args:
        forecast: states at equal steps.
        truth: as many true states at equal steps.
        smoothing: standard deviation of the Gaussian, in frequencies of the discrete transform.

    Returns:
        For each component a number from 0 (equal) to 1 (disjoint); 1 for a forecast that is
        constant or not finite, NaN for such a truth.

    Raises:
        InputError: for series of different shapes, or a smoothing below zero.

    Source:
        Mikhaeil, Monfared and Durstewitz, Advances in Neural Information Processing Systems 35
        (2022).

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> turns = 2 * jnp.pi * jnp.arange(400)[:, None] / 400
        >>> slow, fast = jnp.sin(20 * turns), jnp.cos(80 * turns)
        >>> spectrum_distance = jaxcast.scores.spectrum_distance
        >>> round(float(spectrum_distance(fast, slow)[0]), 2), round(float(spectrum_distance(3 * slow, slow)[0]), 2)
        (1.0, 0.0)
    """
    if smoothing < 0:
        raise InputError(f"smoothing must not be negative, got {smoothing}")
    window = jnp.hanning(len(truth))[:, None]
    reach = jnp.arange(-int(4 * smoothing) - 1, int(4 * smoothing) + 2)
    kernel = jnp.exp(-0.5 * (reach / max(smoothing, 1e-3)) ** 2)

    def shares(values: Array) -> Array:
        power = jnp.abs(jnp.fft.rfft(window * (values - values.mean(0)), axis=0)) ** 2
        smooth = jax.vmap(lambda one: jnp.convolve(one, kernel, mode="same"), in_axes=1)(power)
        return smooth / smooth.sum(1, keepdims=True)

    distances = jax.vmap(_hellinger)(shares(forecast), shares(truth))
    return jnp.where(_varies(truth), distances, jnp.nan)


def _varies(truth: Array) -> Array:
    """Returns whether a truth, or each of its components, is finite and not constant."""
    return truth.max(0) - truth.min(0) > 0


def _hellinger(p: Array, q: Array) -> Array:
    overlap = jnp.sqrt(p * q).sum()
    return jnp.where(jnp.isfinite(overlap), jnp.sqrt(jnp.clip(1 - overlap, 0)), 1.0)


@checked
def attractor_divergence(
    forecast: Float[Array, "time dim"],
    truth: Float[Array, "other_time dim"],
    *,
    key: Key[Array, ""],
    width: float | int = 1.0,
    num_draws: int = 1000,
) -> Float[Array, ""]:
    """Estimates the Kullback-Leibler divergence between the states that two series visit.

        D = (1 / N) sum_i log(p(x_i) / q(x_i)),    x_i from p
        p(x) = mean_t N(x; truth_t, width^2 I),    q(x) = mean_t N(x; forecast_t, width^2 I)

    Args:
        forecast: states, in units in which the width is fine enough, such as standard deviations.
        truth: true states, in the same units.
        key: for the draws x from the truth.
        width: standard deviation of the Gaussians around the states.
        num_draws: how many; the error of the estimate falls with their root.

    Returns:
        The divergence in nats; infinite for a forecast that is not finite, NaN for such a truth.

    Raises:
        InputError: for series of other shapes, or a width or number of draws that is not positive.

    Source:
        Hess, Monfared, Brenner and Durstewitz, International Conference on Machine Learning (2023).

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> forecast, truth = jnp.asarray([[0.0, 0.0]]), jnp.asarray([[3.0, 0.0]])
        >>> divergence = jaxcast.scores.attractor_divergence(forecast, truth, key=jax.random.key(0))
        >>> abs(float(divergence) - 3.0**2 / 2) < 0.5
        True
    """
    if not width > 0 or num_draws < 1:
        raise InputError(f"width and num_draws must be positive, got {width} and {num_draws}")
    choice, noise = jax.random.split(key)
    centers = truth[jax.random.randint(choice, (num_draws,), 0, len(truth))]
    draws = centers + width * jax.random.normal(noise, centers.shape, truth.dtype)

    def log_density(x: Array, states: Array) -> Array:
        exponents = -((x - states) ** 2).sum(-1) / (2 * width**2)
        return jax.scipy.special.logsumexp(exponents) - jnp.log(len(states))

    # One draw at a time against all states: memory holds no matrix of both.
    ratios = jax.lax.map(lambda x: log_density(x, truth) - log_density(x, forecast), draws, batch_size=16)
    return _of_finite(ratios.mean(), forecast, truth)


@checked
def wasserstein_distance(
    forecast: Float[Array, "time dim"], truth: Float[Array, "other_time dim"]
) -> Float[Array, " dim"]:
    """Returns the Wasserstein distance between the values of each component.

        W = integral |F(x) - G(x)| dx

    with the two distribution functions: the mean distance over which values must be moved. It is
    exact.

    Args:
        forecast: states.
        truth: true states, of any number.

    Returns:
        The distance of each component, in its unit; infinite for a forecast that is not finite, NaN
        for such a truth.

    Raises:
        InputError: for series of other shapes.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> forecast, truth = jnp.asarray([[0.0], [2.0]]), jnp.asarray([[1.0], [3.0], [1.0], [3.0]])
        >>> float(jaxcast.scores.wasserstein_distance(forecast, truth)[0])
        1.0
    """
    return jax.vmap(_distance, in_axes=1)(forecast, truth)


@checked
@highest
def sliced_wasserstein_distance(
    forecast: Float[Array, "time dim"],
    truth: Float[Array, "other_time dim"],
    *,
    key: Key[Array, ""],
    num_directions: int = 100,
) -> Float[Array, ""]:
    """Returns the mean Wasserstein distance between projections of the states on random directions.

    Unlike the distances of single components, it sees how components depend on each other.

    Args:
        forecast: states, in units in which all components count alike.
        truth: true states, of any number, in the same units.
        key: for the directions, which are uniform.
        num_directions: how many.

    Returns:
        The distance; infinite for a forecast that is not finite, NaN for such a truth.

    Raises:
        InputError: for series of other shapes, or no directions.

    Source:
        Bonneel, Rabin, Peyre and Pfister, J. Math. Imaging Vis. 51, 22-45 (2015).

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> truth = jnp.asarray([[0.0], [1.0], [2.0]])
        >>> round(float(jaxcast.scores.sliced_wasserstein_distance(truth + 3.0, truth, key=jax.random.key(0))), 4)
        3.0
    """
    if num_directions < 1:
        raise InputError(f"num_directions must be at least 1, got {num_directions}")
    directions = jax.random.normal(key, (num_directions, truth.shape[1]), truth.dtype)
    directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    return jax.lax.map(lambda one: _distance(forecast @ one, truth @ one), directions).mean()


def _distance(forecast: Array, truth: Array) -> Array:
    values = jnp.sort(jnp.concatenate([forecast, truth]))

    def share_below(one: Array) -> Array:
        return jnp.searchsorted(jnp.sort(one), values[:-1], side="right").astype(values.dtype) / len(one)

    distance = (jnp.abs(share_below(forecast) - share_below(truth)) * jnp.diff(values)).sum()
    return _of_finite(distance, forecast, truth)


def _of_finite(distance: Array, forecast: Array, truth: Array) -> Array:
    distance = jnp.where(jnp.isfinite(forecast).all(), distance, jnp.inf)
    return jnp.where(jnp.isfinite(truth).all(), distance, jnp.nan)
