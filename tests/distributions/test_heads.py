"""Heads: parameters by their formulas, and gradients that are finite whatever a network returns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.distributions import MixtureHead, NegativeBinomialHead, QuantileHead, StudentTHead, make_head

NAMES = ("quantiles", "normal", "student_t", "negative_binomial", "poisson", "mixture")
LEVELS = (0.1, 0.25, 0.5, 0.9)
RAW = np.asarray([-1e4, -200.0, -30.0, -1.0, 0.0, 2.0, 40.0, 1e4])


def softplus(x):
    return np.logaddexp(0, x)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients_are_finite_everywhere(name):
    head = make_head(name, LEVELS)
    heads = [head, MixtureHead(NegativeBinomialHead(), 2)] if name == "mixture" else [head]
    for head in heads:
        size = head.num_parameters
        # All pairs of values for two of the numbers, the others at 0.5.
        raw = np.full((len(RAW), len(RAW), size), 0.5)
        raw[..., 0] = RAW[:, None]
        raw[..., -1] = RAW
        for dtype in (jnp.float32, jnp.float64):
            values, scale = (
                jnp.asarray(raw.reshape(-1, 1, size), dtype),
                jnp.asarray([1e-2, 1.0, 1e4], dtype)[:, None, None],
            )

            def loss(values, head=head, scale=scale):
                targets = jnp.asarray([0.0, 1.0, 1e5] if head.is_count else [0.0, -3.0, 1e5], values.dtype)
                return head(values, scale).loss(targets).sum()

            found, gradient = jax.jit(jax.value_and_grad(loss))(values)
            assert found.dtype == dtype
            assert np.isfinite(found)
            assert np.isfinite(gradient).all()
            assert abs(gradient).max() > 0


@pytest.mark.slow
def test_parameters_follow_the_formulas():
    raw, scale, shift = jax.random.normal(jax.random.key(0), (4, 3), float), np.asarray([1.0, 2.0, 5.0, 0.1]), 3.0
    normal = make_head("normal")(raw, scale, shift)
    np.testing.assert_allclose(normal.loc, 3 + scale * raw[:, 0])
    np.testing.assert_allclose(normal.scale, scale * softplus(raw[:, 1]))
    student = StudentTHead()(raw, scale, shift)
    np.testing.assert_allclose(student.df, 2 + softplus(raw[:, 2]))
    np.testing.assert_allclose(student.scale, scale * softplus(raw[:, 1]))
    counts = NegativeBinomialHead()(raw, scale)
    np.testing.assert_allclose(counts.rate, scale * softplus(raw[:, 0]))
    np.testing.assert_allclose(counts.dispersion, softplus(raw[:, 1]) / np.sqrt(scale))
    poisson = make_head("poisson")(raw, scale, shift)
    np.testing.assert_allclose(poisson.rate, scale * softplus(raw[:, 0] + shift / scale))
    mixture = MixtureHead(make_head("poisson"), 2)
    numbers = jax.random.normal(jax.random.key(1), (4, 4), float)
    found = mixture(numbers, scale)
    np.testing.assert_allclose(found.weights, np.exp(numbers[:, :2]) / np.exp(numbers[:, :2]).sum(-1, keepdims=True))
    np.testing.assert_allclose(found.components.rate, scale[:, None] * softplus(numbers[:, 2:]))


@pytest.mark.slow
def test_learned_quantiles_never_cross():
    head = QuantileHead(LEVELS)
    raw = 100 * np.random.default_rng(0).normal(size=(500, 4))
    for dtype in (np.float32, np.float64):
        found = head(jnp.asarray(raw, dtype), 2.0, 10.0)
        assert (np.diff(found.values) >= 0).all()
        np.testing.assert_array_equal(found.quantiles(LEVELS), found.values)
    gaps = 2 * softplus(raw)
    np.testing.assert_allclose(found.values[:, 2], 10 + 2 * raw[:, 2])
    np.testing.assert_allclose(np.diff(found.values), gaps[:, [0, 1, 3]], atol=1e-9)


@pytest.mark.slow
def test_heads_are_hashable_and_known_by_name():
    for name in NAMES:
        head = make_head(name, LEVELS)
        assert head.name == name
        assert hash(head) == hash(make_head(name, LEVELS))
        distribution = head(jnp.zeros((3, head.num_parameters)), 1.0)
        assert head.is_count == distribution.is_discrete
        assert distribution.mean.shape == (3,)
    assert [make_head(name, LEVELS).is_count for name in NAMES] == [False, False, False, True, True, False]
    with pytest.raises(jaxcast.InputError, match="head must be one of"):
        make_head("gamma")
    with pytest.raises(jaxcast.InputError, match="levels must increase"):
        make_head("quantiles")
    with pytest.raises(jaxcast.InputError, match="head of one distribution"):
        MixtureHead(QuantileHead(LEVELS))
