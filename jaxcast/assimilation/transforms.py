"""Transforms of an ensemble: square-root analysis, finite-size inflation, random rotation."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.precision import highest

NUM_BISECTIONS = 40
LARGEST_SQUARE = 10.0
"""Of the finite-size inflation."""

Decomposition = tuple[Array, Array, Array]


@highest
def transform(
    prior: Float[Array, "member variable"],
    observed: Float[Array, "member observation"],
    innovation: Float[Array, " observation"],
    inflation: Any = 1.0,
    *,
    is_finite_size: bool = False,
    certainty: Any = 1.0,
) -> Float[Array, "member variable"]:
    """Analyses an ensemble by the ensemble transform Kalman filter with the symmetric square root.

        X <- l X,    Y R^(-1/2) = U S V',    k = M - 1
        mean <- mean + X' U S / (k + S^2) V' R^(-1/2) (y - mean Y)
        X' <- X' (I + U (sqrt(k / (k + S^2)) - 1) U')

    A thin decomposition avoids factoring a matrix of members by members.

    Args:
        prior: the ensemble.
        observed: anomalies of what is observed of each member, divided by the noise.
        innovation: observations less the ensemble's mean, divided by the noise; both are 0 where
            there is no observation.
        inflation: l, factor of the anomalies before the analysis.
        is_finite_size: whether the factor is multiplied by `finite_size_inflation`.
        certainty: of its prior.

    Returns:
        The ensemble after the analysis.

    Source:
        Hunt, Kostelich and Szunyogh (2007), eq. 24.
    """
    mean = prior.mean(0)
    u, s, vt = jnp.linalg.svd(jax.lax.stop_gradient(observed), full_matrices=False)
    factor = jnp.asarray(inflation, prior.dtype)
    if is_finite_size:
        surprise = vt @ jax.lax.stop_gradient(innovation)
        factor = factor * finite_size_inflation(jax.lax.stop_gradient(factor) * s, surprise, len(prior), certainty)
    parts = (u, jax.lax.stop_gradient(factor) * s, vt)
    shift, anomalies = _transformed(parts, factor * observed, innovation, factor * (prior - mean))
    return mean + shift + anomalies


@jax.custom_jvp
@highest
def _transformed(parts: Decomposition, observed: Array, innovation: Array, anomalies: Array) -> tuple[Array, Array]:
    """Returns the shift of the mean, (variable,), and the anomalies after the analysis."""
    return _shift(parts, innovation, len(anomalies) - 1) @ anomalies, _shrunk(parts, anomalies)


@_transformed.defjvp
@highest
def _transformed_jvp(primals: Any, tangents: Any) -> Any:
    """Differentiates by divided differences, finite where singular values are equal or zero.

    With K = Y Y' and its eigenvectors U, the rest of space having the eigenvalue 0:
    dT = U (q[i, j] * U' dK U) U' + U q[i, 0] U' dK (I - U U') + transposed.
    """
    parts, observed, innovation, anomalies = primals
    _, d_observed, d_innovation, d_anomalies = tangents
    u, s, vt = parts
    k = len(anomalies) - 1
    weights = _shift(parts, innovation, k)

    def outside(a: Array) -> Array:
        return a - u @ (u.T @ a)

    half = d_observed @ (observed.T @ weights) + observed @ (d_observed.T @ weights)
    force = d_observed @ innovation + observed @ d_innovation - half
    d_weights = (force - u @ (s**2 / (k + s**2) * (u.T @ force))) / k
    d_shift = d_weights @ anomalies + weights @ d_anomalies

    root = jnp.sqrt(k + s**2)
    total = root[:, None] + root
    within = u.T @ (d_observed @ (vt.T @ jnp.diag(s)))
    within = -jnp.sqrt(k) / (root[:, None] * root * total) * (within + within.T)
    # U' dK (I - U U') = S V' dY' (I - U U'), as Y' has nothing outside of U.
    across = -jnp.sqrt(k) / (root * jnp.sqrt(k) * (root + jnp.sqrt(k))) * s
    of_rest = across[:, None] * (vt @ (d_observed.T @ outside(anomalies)))
    to_rest = outside(d_observed @ (vt.T @ (across[:, None] * (u.T @ anomalies))))
    d_shrunk = u @ (within @ (u.T @ anomalies) + of_rest) + to_rest
    primal = (weights @ anomalies, _shrunk(parts, anomalies))
    return primal, (d_shift, d_shrunk + _shrunk(parts, d_anomalies))


def _shift(parts: Decomposition, innovation: Array, k: int) -> Array:
    u, s, vt = parts
    return u @ (s / (k + s**2) * (vt @ innovation))


def _shrunk(parts: Decomposition, anomalies: Array) -> Array:
    u, s, _ = parts
    k = len(anomalies) - 1
    return anomalies + (u * (jnp.sqrt(k / (k + s**2)) - 1)) @ (u.T @ anomalies)


def finite_size_inflation(
    sizes: Float[Array, " direction"], surprise: Float[Array, " direction"], num_members: int, certainty: Any = 1.0
) -> Float[Array, ""]:
    """Computes the inflation that accounts for a covariance estimated from few members.

    It minimises, with k = M - 1,

        sum_i d_i^2 / (1 + s_i^2 l^2 / k) + certainty (1 + 1/M) k (1 / l^2 + log l^2)

    over the inflation l from 1 to the root of 10, the dual cost of a prior in which the true mean
    and covariance are unknown. The factor of the logarithm makes l = 1 the mode of the prior.

    Args:
        sizes: s, singular values of the observed anomalies, divided by the noise.
        surprise: d, the innovation along the same directions, divided by the noise.
        num_members: M.
        certainty: above 1, the inflation answers less to the surprises of single steps.

    Returns:
        l.

    Source:
        Bocquet, Nonlin. Processes Geophys. 18, 735-750 (2011); Bocquet, Raanes and Hannart,
        Nonlin. Processes Geophys. 22, 645-662 (2015), for the dual cost; Raanes, Bocquet and
        Carrassi, Q. J. R. Meteorol. Soc. 145, 53-75 (2019), for the factor of the logarithm.
    """
    k = num_members - 1
    certainty = jnp.asarray(certainty, sizes.dtype)

    def slope(log_square: Array) -> Array:
        """The derivative by log l^2, negative below the minimum and positive above."""
        square = jnp.exp(log_square)
        gain = sizes**2 * square / k
        informed = (surprise**2 * gain / (1 + gain) ** 2).sum()
        return certainty * (1 + 1 / num_members) * k * (1 - 1 / square) - informed

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        is_below = slope(middle) < 0
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    # Surprises can only raise l; a single one must not throw the members out of the model's range.
    ends = (jnp.zeros((), sizes.dtype), jnp.log(jnp.asarray(LARGEST_SQUARE, sizes.dtype)))
    low, high = jax.lax.fori_loop(0, NUM_BISECTIONS, halve, ends)
    return jnp.exp((low + high) / 4)


@highest
def rotate(members: Float[Array, "member variable"], key: Key[Array, ""]) -> Float[Array, "member variable"]:
    """Rotates the members about their mean at random, which keeps mean and covariance.

    Of anomalies U S V' a rotation changes U alone. One that is uniform among those that keep the
    vector of ones makes U uniform among the frames orthogonal to the ones, so that such a frame is
    drawn: the orthogonal factor of Gaussian numbers without their mean. That costs members times
    variables squared, the whole matrix members cubed.

    Args:
        members: the ensemble.
        key: of the rotation.

    Returns:
        The rotated ensemble.

    Source:
        Sakov and Oke (2008), section 4; Chikuse, Statistics on Special Manifolds (2003), theorem
        2.4.1, for the factor.
    """
    rank = min(len(members) - 1, members.shape[1])
    mean = members.mean(0)
    anomalies = members - mean
    left, _, _ = jnp.linalg.svd(jax.lax.stop_gradient(anomalies), full_matrices=False)
    gaussian = jax.random.normal(key, (len(members), rank), members.dtype)
    frame, _, right = jnp.linalg.svd(gaussian - gaussian.mean(0), full_matrices=False)
    # The frame of the anomalies is a choice, so that the rotation counts as independent of them.
    return mean + frame @ right @ (left[:, :rank].T @ anomalies)
