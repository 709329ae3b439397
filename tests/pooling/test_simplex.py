import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import nnls

import jaxcast


def shortfall(errors, weights):
    """By how much weights miss the KKT conditions, as a share of the errors' summed squares."""
    slope = errors @ (errors.T @ weights)
    return (weights @ slope - slope.min()) / np.sum(errors**2)


def simplex_weights(errors):
    """For errors (model, number) of one step."""
    memory = jaxcast.pooling.Memory(jnp.zeros((1, errors.shape[1])), jnp.asarray(errors)[None])
    return jaxcast.pooling.SimplexLeastSquares(1).weigh(memory, memory.errors[0])


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_simplex_weights_are_those_of_scipy(scale):
    rng = np.random.default_rng(0)
    for _ in range(20):
        errors = rng.normal(size=(6, 15)) + rng.normal()
        sum_row = 1e5
        expected, _ = nnls(np.vstack([errors.T, np.full((1, 6), sum_row)]), np.r_[np.zeros(15), sum_row])
        np.testing.assert_allclose(simplex_weights(scale * errors), expected / expected.sum(), atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(11, 3), (11, 15), (40, 3), (1, 3), (100, 30)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 6e-5)])
def test_simplex_weights_are_optimal_whatever_the_rank(shape, dtype, tolerance):
    rng = np.random.default_rng(1)
    plain = rng.normal(size=shape)
    line = np.linspace(-1, 2, shape[0])[:, None] * rng.normal(size=shape[1])
    for errors in (plain, plain + 3, np.repeat(plain[: -(-shape[0] // 2)], 2, axis=0)[: shape[0]], line):
        weights = simplex_weights(errors.astype(dtype))
        assert weights.dtype == dtype
        assert (weights >= 0).all()
        assert float(weights.sum()) == pytest.approx(1, abs=10 * float(np.finfo(dtype).eps))
        assert shortfall(errors, np.asarray(weights, np.float64)) < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_simplex_weights_are_equal_where_all_do_equally_well(dtype):
    for errors in (np.zeros((60, 3)), np.ones((60, 3)), np.asarray([[3.0], [-1.0], [-2.0]])):
        np.testing.assert_allclose(simplex_weights(errors.astype(dtype)), 1 / len(errors), rtol=1e-2)


@pytest.mark.slow
def test_simplex_weights_find_a_perfect_candidate(truth, trajectory, candidates):
    def with_truth(value, time):
        own = jaxcast.flow_map(jaxcast.stack_systems([truth]))(value, time)
        return jnp.concatenate([candidates(value), own])

    samples = jaxcast.one_step_samples(trajectory, 2, with_truth)
    weights = jaxcast.pooling.SimplexLeastSquares(2)(samples.memory, samples.forecasts).info["weights"]
    assert np.median(weights[:, -1]) > 1 - 1e-6
    assert (weights[:, -1] > 0.99).mean() > 0.99


@pytest.mark.slow
def test_the_gradient_of_simplex_weights_agrees_with_differences():
    for seed in range(4):
        errors = jax.random.normal(jax.random.key(seed), (6, 4)) + 0.3
        assert 1 < (simplex_weights(errors) > 0).sum() < 6
        check_grads(simplex_weights, (errors,), order=1, modes=["rev"], rtol=1e-5)


def test_simplex_weights_of_diverged_candidates_are_nan():
    errors = np.ones((3, 4, 2))
    errors[1, 2, 0] = np.nan
    errors[2, 1] = np.inf
    memory = jaxcast.pooling.Memory(jnp.zeros((3, 1, 2)), jnp.asarray(errors)[:, None])
    weights = jaxcast.pooling.SimplexLeastSquares(1)(memory, jnp.ones((3, 4, 2))).info["weights"]
    np.testing.assert_array_equal(np.isnan(weights), np.repeat([[False], [True], [True]], 4, axis=1))
