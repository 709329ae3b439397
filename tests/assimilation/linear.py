"""A linear system, and the Kalman filter and the smoother of Rauch, Tung and Striebel in NumPy."""

import jax.numpy as jnp
import numpy as np

STEP = np.asarray([[0.9, 0.3, 0.0], [-0.2, 0.95, 0.1], [0.1, 0.0, 1.02]])
SEEN = np.asarray([[1.0, 0.0, 0.0], [0.5, 1.0, -0.5]])
NOISE = np.asarray([0.3, 0.5])


def step(u):
    return jnp.asarray(STEP, u.dtype) @ u


def record(num_steps=12, seed=0):
    """Observations of two combinations, some of them NaN, and the first not whole."""
    rng, u, values = np.random.default_rng(seed), np.asarray([1.0, -1.0, 0.5]), []
    for _ in range(num_steps):
        values.append(SEEN @ u + NOISE * rng.normal(size=2))
        u = STEP @ u
    values = np.asarray(values)
    values[rng.random(values.shape) < 0.3] = np.nan
    values[5] = np.nan
    return values


def kalman(mean, cov, values, model_noise=0.0):
    """Means and covariances before and after each analysis, and those of the smoother."""
    disturbance = np.diag(np.broadcast_to(model_noise, 3) ** 2)
    before, after = [], []
    for value in values:
        before.append((mean, cov))
        known = ~np.isnan(value)
        if known.any():
            operator, noise = SEEN[known], np.diag(NOISE[known] ** 2)
            gain = cov @ operator.T @ np.linalg.inv(operator @ cov @ operator.T + noise)
            mean = mean + gain @ (value[known] - operator @ mean)
            cov = cov - gain @ operator @ cov
        after.append((mean, cov))
        mean, cov = STEP @ mean, STEP @ cov @ STEP.T + disturbance
    smooth = [after[-1]]
    for (prior, prior_cov), (now, now_cov) in zip(before[:0:-1], after[-2::-1], strict=True):
        gain = now_cov @ STEP.T @ np.linalg.inv(prior_cov)
        later, later_cov = smooth[0]
        smooth.insert(0, (now + gain @ (later - prior), now_cov + gain @ (later_cov - prior_cov) @ gain.T))
    return [(np.stack([m for m, _ in found]), np.stack([c for _, c in found])) for found in (before, after, smooth)]


def deviations(covariances):
    return np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
