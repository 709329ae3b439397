"""A hidden regime along a trajectory, inferred by penalised least squares through the emulator."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import cho_solve_banded, cholesky_banded

from jaxcast.regime.emulator import Emulator
from jaxcast.regime.harmonics import Steps
from jaxcast.regime.motions import PAST_KNOTS, path_through

MOST_ITERATIONS = 8
NUM_SEARCHES = 4
NUM_KNOTS = PAST_KNOTS + 1
ROUGHNESSES = 10.0 ** np.arange(-10.0, 9.0)


class InferredRegime(NamedTuple):
    """A regime along a trajectory.

    Args:
        values: at every sample, (time, coordinate).
        misfits: of every step, in standard deviations of the state, (step, dim).
        penalty: of the roughness; 0 would pass through all residuals.
    """

    values: np.ndarray
    misfits: np.ndarray
    penalty: float


def infer_regime(emulator: Emulator, steps: Steps, start: Float[np.ndarray, "step coordinate"]) -> InferredRegime:
    """Infers the regime at every sample from the steps of a trajectory.

    In every step the regime is the cubic through its values at four samples, c_(n-2) to c_(n+1).
    The values minimise

        sum_n |Phi(u_n; c) - u_(n+1)|^2 + penalty sum_n |c_(n+1) - 2 c_n + c_(n-1)|^2

    with errors in standard deviations of the state, by Gauss-Newton. The penalty has the largest
    marginal likelihood under an integrated random walk.

    Args:
        emulator: of the ensemble.
        steps: of the trajectory.
        start: a first guess for each step.

    Returns:
        The regime.
    """
    num = start.shape[1]
    knots = np.concatenate([np.repeat(start[:1], PAST_KNOTS - 1, 0), start, start[-1:]])
    roughness = _roughness(len(knots), num)
    penalty, misfits = 1.0, np.zeros((0, 0))
    for n in range(MOST_ITERATIONS):
        misfits, slopes = (np.asarray(a, float) for a in _linearised(emulator, jnp.asarray(knots), steps))
        weighted = slopes * np.asarray(steps.weight, float)[:, None, None]
        equations = _banded(weighted, len(knots), num)
        offsets = np.einsum("ndk,nk->nd", slopes, _at_steps(knots)) - misfits
        right = np.zeros(knots.size)
        np.add.at(right, _columns(len(misfits), num), np.einsum("ndk,nd->nk", weighted, offsets))
        squares = float(np.asarray(steps.weight) @ np.sum(offsets**2, 1))
        if n < NUM_SEARCHES:
            penalty = _best_penalty(equations, roughness, right, squares, int(steps.weight.sum()) * misfits.shape[1])
        factor = cholesky_banded(equations + penalty * roughness, lower=True)
        moved = cho_solve_banded((factor, True), right).reshape(knots.shape)
        change, knots = np.abs(moved - knots).max(), moved
        if change < 1e-9:
            break
    left, _ = _linearised(emulator, jnp.asarray(knots), steps)
    return InferredRegime(knots[PAST_KNOTS - 1 :], np.asarray(left), penalty)


@jax.jit
def _linearised(emulator: Emulator, knots: Array, steps: Steps) -> tuple[Array, Array]:
    """Returns the misfit of each step, and its slope in the four values of the step's regime."""

    def one(step: Any, own: Array) -> tuple[Array, Array]:
        def missed(flat: Array) -> tuple[Array, Array]:
            path = path_through(flat.reshape(own.shape), emulator.dt)
            value = (emulator(step.before, path) - step.after) / emulator.system.scale
            return value, value

        slope, value = jax.jacfwd(missed, has_aux=True)(own.ravel())
        return value, slope

    number = jnp.arange(len(steps.time))[:, None] + jnp.arange(NUM_KNOTS)
    return jax.vmap(one)(steps, knots[number])


def _at_steps(knots: np.ndarray) -> np.ndarray:
    number = np.arange(len(knots) - NUM_KNOTS + 1)[:, None] + np.arange(NUM_KNOTS)
    return knots[number].reshape(len(number), -1)


def _columns(num_steps: int, num: int) -> np.ndarray:
    return np.arange(num_steps)[:, None] * num + np.arange(NUM_KNOTS * num)


def _banded(slopes: np.ndarray, num_knots: int, num: int) -> np.ndarray:
    """Returns J^T J as lower bands."""
    width = slopes.shape[-1]
    bands = np.zeros((width, num_knots * num))
    columns = _columns(len(slopes), num)
    for lag in range(width):
        products = np.einsum("ndk,ndk->nk", slopes[..., lag:], slopes[..., : width - lag])
        np.add.at(bands[lag], columns[:, : width - lag], products)
    return bands


def _roughness(num_knots: int, num: int) -> np.ndarray:
    """Returns D^T D of second differences as lower bands, with a trace of a prior for the level."""
    bands = np.zeros((NUM_KNOTS * num, num_knots * num))
    weights = (1.0, -2.0, 1.0)
    for i in range(3):
        for j in range(i + 1):
            rows = np.arange(num_knots - 2)[:, None] + j
            columns = (rows * num + np.arange(num)).ravel()
            np.add.at(bands[(i - j) * num], columns, weights[i] * weights[j])
    bands[0] += 1e-9
    return bands


def _best_penalty(
    equations: np.ndarray, roughness: np.ndarray, right: np.ndarray, squares: float, num_values: int
) -> float:
    """Returns the penalty of the largest marginal likelihood of the linearised problem."""

    def cost(penalty: float) -> float:
        factor = cholesky_banded(equations + penalty * roughness, lower=True)
        # The least value of the penalised sum.
        left = max(squares - right @ cho_solve_banded((factor, True), right), 1e-28 * num_values)
        size = equations.shape[1]
        return float(num_values * np.log(left) + 2 * np.log(factor[0]).sum() - size * np.log(penalty))

    return float(min(ROUGHNESSES, key=cost))
