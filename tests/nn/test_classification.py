"""The cross-entropy of classes against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcast.nn import class_cross_entropy


@pytest.mark.slow
def test_the_loss_is_its_definition_and_padding_has_no_gradient():
    rng = np.random.default_rng(0)
    logits, labels, weights = rng.normal(size=(6, 4)), rng.integers(0, 4, 6), np.asarray([1.0, 2, 0, 1, 0, 3])
    log_p = (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[np.arange(6), labels]
    loss = class_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(loss, -log_p.mean(), rtol=1e-12)
    weighted = class_cross_entropy(jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(weights))
    np.testing.assert_allclose(weighted, -(weights * log_p).sum() / weights.sum(), rtol=1e-12)
    slopes = jax.grad(class_cross_entropy)(jnp.asarray(logits), jnp.asarray(labels), jnp.zeros(6))
    np.testing.assert_array_equal(slopes, np.zeros((6, 4)))
