"""The attention read-out against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.nn import AttentionReadOut


@pytest.mark.slow
def test_the_mean_is_that_of_numpy_and_ignores_what_is_masked(without_type_checks):
    read_out = AttentionReadOut(size=4, key=jax.random.key(0), dtype=jnp.float64)
    states = np.random.default_rng(0).normal(size=(3, 5, 4))
    mask = np.arange(5) < np.asarray([5, 2, 0])[:, None]
    hidden = np.tanh(states @ np.asarray(read_out.hidden.kernel[...]) + np.asarray(read_out.hidden.bias[...]))
    scores = np.exp(hidden @ np.asarray(read_out.score.kernel[...])[:, 0]) * mask
    expected = scores / np.maximum(scores.sum(1, keepdims=True), 1e-300)
    state, weights = read_out(jnp.where(mask[..., None], states, jnp.nan), jnp.asarray(mask))
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    np.testing.assert_allclose(state, np.einsum("bs,bsh->bh", expected, states), rtol=1e-12)
    np.testing.assert_allclose(read_out(jnp.asarray(states))[0][0], state[0], rtol=1e-12)
    with pytest.raises(jaxcast.InputError, match=r"expected states \(\*batch, state, 4\)"):
        read_out(jnp.ones((2, 3)))
