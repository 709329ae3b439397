"""Linear-time attention against the same weights in quadratic form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import InputError
from jaxcast.nn.taylor_attention import unit_norm

RNG = np.random.default_rng(0)


def of_unit_norm(*shape):
    xs = RNG.normal(size=shape)
    return xs / np.linalg.norm(xs, axis=-1, keepdims=True)


def quadratic(queries, keys, values, mask=None):
    """Weights 1 + q . k of every pair, over their sum."""
    weights = 1 + queries @ np.swapaxes(keys, -1, -2)
    weights = weights if mask is None else weights * mask[..., None, :]
    return weights @ values / weights.sum(-1, keepdims=True)


@pytest.mark.slow
def test_is_its_quadratic_form():
    queries, keys, values = of_unit_norm(3, 50, 8), of_unit_norm(3, 70, 8), RNG.normal(size=(3, 70, 5))
    expected = quadratic(queries, keys, values)
    found = jaxcast.nn.linear_attention(*map(jnp.asarray, (queries, keys, values)))
    np.testing.assert_allclose(found, expected, atol=1e-13)
    single = jaxcast.nn.linear_attention(*(jnp.asarray(a, jnp.float32) for a in (queries, keys, values)))
    np.testing.assert_allclose(single, expected, atol=1e-6)


def test_what_is_masked_changes_nothing():
    queries, keys, values = of_unit_norm(4, 6), of_unit_norm(9, 6), RNG.normal(size=(9, 2))
    mask = np.arange(9) % 3 > 0
    expected = quadratic(queries, keys, values, mask)
    keys[~mask], values[~mask] = np.nan, np.nan
    found = jaxcast.nn.linear_attention(*map(jnp.asarray, (queries, keys, values, mask)))
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.slow
def test_weights_that_cancel_give_zeros_and_finite_gradients():
    queries, keys, values = jnp.asarray([[1.0, 0]]), jnp.asarray([[-1.0, 0]] * 3), jnp.ones((3, 2))
    run = jax.value_and_grad(lambda keys: jaxcast.nn.linear_attention(queries, keys, values).sum())
    value, slope = run(keys)
    assert float(value) == 0
    assert np.isfinite(slope).all()


def test_its_operations_grow_linearly_up_to_ten_thousand_nodes():
    def operations(num_nodes):
        shape = jax.ShapeDtypeStruct((num_nodes, 8), jnp.float32)
        return jax.jit(jaxcast.nn.linear_attention).lower(shape, shape, shape).compile().cost_analysis()["flops"]

    assert operations(10_000) / operations(1000) == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("scale", [2.0, 0.0, np.nan])
def test_refuses_vectors_that_are_not_of_unit_norm(scale):
    vectors = jnp.asarray(of_unit_norm(4, 3))
    for wrong in ((scale * vectors, vectors), (vectors, vectors.at[2].multiply(scale))):
        with pytest.raises(InputError, match="of unit norm, without which weights may be negative"):
            jaxcast.nn.linear_attention(*wrong, vectors)
    with pytest.raises(InputError, match="3 along the axis node, where keys has 4"):
        jaxcast.nn.linear_attention(vectors, vectors, vectors[:3])


@pytest.mark.slow
def test_scaled_vectors_have_unit_norm_even_where_they_were_zero():
    xs = jnp.asarray(RNG.normal(size=(5, 4))).at[0].set(0)
    np.testing.assert_allclose(jnp.linalg.norm(unit_norm(xs), axis=-1), 1, atol=1e-12)
    assert np.isfinite(jax.grad(lambda xs: unit_norm(xs).sum())(xs)).all()
