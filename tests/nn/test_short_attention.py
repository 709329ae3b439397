"""Attention over short sequences against its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcast.nn.short_attention import short_attention


def equations(queries, keys, values, causal=False):
    """For each head and sequence, softmax(q k^T / sqrt(size)) v."""
    scores = jnp.einsum("hdqs,hdks->hqks", queries, keys) / np.sqrt(queries.shape[1])
    if causal:
        num_queries, num_steps = scores.shape[1:3]
        is_later = np.arange(num_steps) > np.arange(num_steps - num_queries, num_steps)[:, None]
        scores = jnp.where(is_later[..., None], -jnp.inf, scores)
    weights = jax.nn.softmax(scores, 2)
    return jnp.einsum("hqks,hdks->hdqs", weights, values), weights


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(2, 3, steps, 4))) for steps in (2, 5, 5)]


@pytest.mark.parametrize("causal", [False, True])
def test_is_softmax_attention_for_each_sequence(arrays, causal):
    for got, expected in zip(short_attention(*arrays, causal), equations(*arrays, causal), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_has_the_gradient_of_the_equations(arrays, causal):
    target = jnp.asarray(np.random.default_rng(1).normal(size=arrays[0].shape))

    def gradient(attend):
        return jax.jit(jax.grad(lambda arrays: jnp.sum((attend(*arrays, causal)[0] - target) ** 2)))(arrays)

    for got, expected in zip(gradient(short_attention), gradient(equations), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_maps_over_a_batch(arrays):
    several = [jnp.stack([array, 2 * array]) for array in arrays]
    got, _ = jax.jit(jax.vmap(short_attention))(*several)
    np.testing.assert_allclose(got[1], equations(*(2 * array for array in arrays))[0], rtol=1e-12)
