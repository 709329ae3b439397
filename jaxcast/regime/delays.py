"""A regime whose next value is learned from its last ones."""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.dynamics.schedules import Schedule
from jaxcast.numerics.distances import squared_distances
from jaxcast.numerics.k_means import k_means
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.regime.kalman import GaussianState
from jaxcast.regime.motions import PAST_KNOTS, Motion, path_through

DELAYS = ((4, 1), (4, 2), (4, 4), (6, 4), (4, 8))
"""Numbers of delays and the samples between two of them, the shortest memory first."""
POWERS = (0.5, 1.0)
LENGTHS = (1.0, 3.0)
PENALTIES = (1e-9, 1e-6, 1e-3, 1.0)
MOST_CENTRES = 600
RIDGE = 1e-10
"""Added to the diagonal of the kernel, so that it has a root where centres nearly coincide."""
MARGIN = 0.25
SIMILAR = 3.0
"""A shorter memory is preferred as long as its errors are at most this many times those of the best."""


class DelayMotion(Motion, FrozenPytree, name="delay_motion"):
    """A regime whose next value is a function of delays, learned by kernel ridge.

        c_(n+1) = c_n + a + B z + sum_k w_k exp(-|z - z_k|^2 / 2),  z = W (x - m)
        x = (c_n, c_(n-s), c_(n-2s), ...)

    The values pass unchanged from one sample to the next. Within a step the regime is a cubic.

    Args:
        mean: m, (delay coordinate,).
        whitening: W^T, (delay coordinate, feature).
        centres: z_k, (centre, feature).
        weights: a, B and w, (1 + feature + centre, coordinate).
        lowest: the least value of each coordinate, (coordinate,).
        highest: the greatest.
        dt: interval between samples.
        num_delays: values in x.
        stride: s, samples between two of them.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md; Sauer, Yorke and Casdagli (1991)
        for the delays.
    """

    mean: Float[Array, " delayed"]
    whitening: Float[Array, "delayed feature"]
    centres: Float[Array, "centre feature"]
    weights: Float[Array, "term coordinate"]
    lowest: Float[Array, " coordinate"]
    highest: Float[Array, " coordinate"]
    dt: Float[Array, ""]
    num_delays: int = static()
    stride: int = static()

    @property
    def memory(self) -> int:
        """Values of the regime that are carried."""
        return memory_of(self.num_delays, self.stride)

    def described(self) -> str:
        return f"moves as learned from {self.num_delays} of its last values, {self.stride} samples apart"

    def at(self, time: Any) -> None:
        """Returns None: the motion has no clock.

        Args:
            time: not used.
        """

    def path(self, numbers: Float[Array, " number"]) -> Schedule:
        values = self._values(numbers)
        return path_through(jnp.concatenate([values[:PAST_KNOTS][::-1], self._next(values)[None]]), self.dt)

    def later(self, numbers: Float[Array, " number"]) -> Float[Array, " number"]:
        values = self._values(numbers)
        return jnp.concatenate([self._next(values)[None], values[:-1]]).ravel()

    def now(self, numbers: Float[Array, " number"]) -> Float[Array, " coordinate"]:
        return self._values(numbers)[0]

    def _values(self, numbers: Array) -> Array:
        return numbers.reshape(self.memory, -1)

    def _next(self, values: Array) -> Array:
        x = values[: self.stride * self.num_delays : self.stride].ravel()
        z = (x - self.mean) @ self.whitening
        terms = jnp.concatenate([jnp.ones(1, z.dtype), z, jnp.exp(-jnp.sum((z - self.centres) ** 2, 1) / 2)])
        return jnp.clip(values[0] + terms @ self.weights, self.lowest, self.highest)


def memory_of(num_delays: int, stride: int) -> int:
    """Returns how many values of the regime delays need.

    Args:
        num_delays: values.
        stride: samples between two of them.
    """
    return max((num_delays - 1) * stride + 1, PAST_KNOTS)


def delay_vectors(values: Float[np.ndarray, "time coordinate"], size: int, stride: int) -> np.ndarray:
    """Returns the delays up to each sample, newest first, (time, size * coordinate).

    Args:
        values: of the regime.
        size: delays.
        stride: samples between two of them.
    """
    first = (size - 1) * stride
    number = np.arange(first, len(values))[:, None] - stride * np.arange(size)
    return values[number].reshape(len(number), -1)


def fit_delays(
    values: Float[np.ndarray, "time coordinate"], *, num_delays: int, stride: int, power: float, length: float, dt: Any
) -> dict[float, tuple[DelayMotion, np.ndarray]]:
    """Fits a `DelayMotion` to a regime's values, for each penalty.

    Args:
        values: of the regime at every sample.
        num_delays: values that predict the next.
        stride: samples between two of them.
        power: each principal component of the delays is divided by its deviation to this power.
        length: of the kernel, in the deviations that are left of the first component.
        dt: interval between samples.

    Returns:
        For every penalty the motion and the deviations of its residuals.
    """
    x = delay_vectors(values[:-1], num_delays, stride)
    target = values[1:][-len(x) :] - values[:-1][-len(x) :]
    mean = x.mean(0)
    _, singular, axes = np.linalg.svd(x - mean, full_matrices=False)
    deviation = np.maximum(singular / np.sqrt(len(x)), 1e-9 * singular[0] / np.sqrt(len(x)))
    whitening = axes.T / (length * deviation[0] * (deviation / deviation[0]) ** power)
    z = (x - mean) @ whitening
    centres = z[np.random.default_rng(0).permutation(len(z))[: min(MOST_CENTRES, len(z) // 2)]]
    linear = np.concatenate([np.ones((len(z), 1)), z], 1)
    rows = np.concatenate([linear, np.exp(-squared_distances(z, centres) / 2)], 1)
    gram = np.exp(-squared_distances(centres, centres) / 2) + RIDGE * np.eye(len(centres))
    root = np.linalg.cholesky(gram).T
    span = np.ptp(values, axis=0)
    found = {}
    # One reduction for all penalties.
    q, r = np.linalg.qr(rows)
    seen = q.T @ target
    scale = max(float(np.mean(target.var(0))), np.finfo(float).tiny)
    for penalty in PENALTIES:
        blank = np.zeros((len(centres), linear.shape[1]))
        both = np.concatenate([r, np.concatenate([blank, np.sqrt(penalty) * root], 1)])
        weights = np.linalg.lstsq(both, np.concatenate([seen, np.zeros((len(centres), target.shape[1]))]), rcond=1e-14)[
            0
        ]
        motion = DelayMotion(
            jnp.asarray(mean),
            jnp.asarray(whitening),
            jnp.asarray(centres),
            jnp.asarray(weights),
            jnp.asarray(values.min(0) - MARGIN * span),
            jnp.asarray(values.max(0) + MARGIN * span),
            jnp.asarray(dt),
            num_delays,
            stride,
        )
        found[penalty] = (motion, np.sqrt(np.mean((rows @ weights - target) ** 2, 0) + 1e-20 * scale))
    return found


@jax.jit
def closed_loop_errors(motion: DelayMotion, starts: Array, truth: Array) -> Array:
    """Runs a motion in closed loop.

    Args:
        motion: the motion.
        starts: its numbers at each start.
        truth: the values that follow, (start, lead, coordinate).

    Returns:
        Mean squared errors, (lead,).
    """

    def one(numbers: Array, later: Array) -> Array:
        def step(numbers: Array, value: Array) -> tuple[Array, Array]:
            numbers = motion.later(numbers)
            return numbers, jnp.mean((motion.now(numbers) - value) ** 2)

        return jax.lax.scan(step, numbers, later)[1]

    return jnp.mean(jax.vmap(one)(starts, truth), 0)


def choose_delays(values: Float[np.ndarray, "time coordinate"], dt: Any) -> dict[str, Any] | None:
    """Chooses the settings that carry the last quarter of the values furthest in closed loop.

    Args:
        values: of the regime at every sample.
        dt: interval between samples.

    Returns:
        The settings of `fit_delays` and the penalty; None for too few values.
    """
    num_late = len(values) // 4
    head = values[: len(values) - num_late]
    scored = []
    for num_delays, stride in DELAYS:
        memory = memory_of(num_delays, stride)
        num_leads = min(60, num_late // 4)
        if memory > num_late // 4 or len(head) < 10 * memory:
            continue
        firsts = np.unique(np.linspace(len(head) + memory, len(values) - num_leads - 1, 40).astype(int))
        starts = delay_vectors(values, memory, 1)[firsts - (memory - 1)]
        truth = values[firsts[:, None] + 1 + np.arange(num_leads)]
        for power, length in product(POWERS, LENGTHS):
            settings: dict[str, Any] = {"num_delays": num_delays, "stride": stride, "power": power, "length": length}
            for penalty, (motion, _) in fit_delays(head, dt=dt, **settings).items():
                errors = np.asarray(closed_loop_errors(motion, jnp.asarray(starts), jnp.asarray(truth)))
                loss = np.mean(np.log(np.where(np.isfinite(errors), errors, 1e9) + 1e-20)) / 2
                scored.append((memory, float(loss), settings | {"penalty": penalty}))
    if not scored:
        return None
    least = min(loss for _, loss, _ in scored)
    good = [one for one in scored if one[1] <= least + np.log(SIMILAR)]
    return min(good, key=lambda one: one[:2])[2]


def starting_beliefs(
    values: Float[np.ndarray, "time coordinate"], memory: int, num_beliefs: int
) -> tuple[GaussianState, np.ndarray]:
    """Returns clusters of the values that a motion carries, as normal distributions.

    Args:
        values: of the regime at every sample.
        memory: values that are carried.
        num_beliefs: how many.

    Returns:
        The distributions, with a leading axis, and their logarithmic weights.
    """
    vectors = delay_vectors(values, memory, 1)
    found = k_means(vectors, num_beliefs, num_starts=2)
    means, roots, weights = [], [], []
    for k, centre in enumerate(found.centres):
        own = vectors[found.labels == k] - centre
        _, singular, axes = np.linalg.svd(own / np.sqrt(len(own)), full_matrices=False)
        root = np.zeros((vectors.shape[1], vectors.shape[1]))
        root[:, : len(singular)] = axes.T * singular
        means.append(centre)
        roots.append(root)
        weights.append(np.log(len(own) / len(vectors)))
    return GaussianState(jnp.asarray(means), jnp.asarray(roots)), np.asarray(weights)
