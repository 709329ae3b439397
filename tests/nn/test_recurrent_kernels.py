"""The loop over time in one kernel, against the plain program, in Pallas' interpret mode; and where it runs."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcast.backends.dispatch import by_platform
from jaxcast.nn import GRU, LSTM, RNN, Bidirectional

KINDS = {"lstm": LSTM, "gru_after": GRU, "gru_before": partial(GRU, reset_after=False)}


@cache
def make(kind, hidden_size=5, input_size=3, dtype=jnp.float32):
    make_layer = KINDS.get(kind, RNN)
    return make_layer(input_size=input_size, hidden_size=hidden_size, key=jax.random.key(1), dtype=dtype)


def inputs(layer, batch, num_steps, has_gaps=False):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), layer.bias.dtype)  # noqa: E731
    carry = jax.tree.map(lambda a: draw(*a.shape), layer.init_carry(batch))
    mask = jnp.asarray(rng.random((batch, num_steps)) > 0.3) if has_gaps else None
    return draw(batch, num_steps, len(layer.weights.input)), carry, mask


def loss(result):
    """Depends on every output and on the final carry, each differently."""
    return sum(jnp.sum(jnp.sin(jnp.arange(a.size).reshape(a.shape) + a)) for a in jax.tree.leaves(result))


def results_and_gradients(layer, xs, carry, mask):
    def run(layer, xs, carry):
        result = layer(xs, carry, mask)
        return loss(result), result

    return jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True))(layer, xs, carry)


def assert_close(actual, expected, tolerance=2e-6):
    """Relative to the largest element of each array."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1e-3, np.abs(b).max(initial=0.0)))


@pytest.fixture
def kernels_here(monkeypatch):
    """Returns what makes the kernels of GPUs run on this CPU from then on."""

    def in_kernel(default, *args, cpu=None, cuda=None, tpu=None):
        return by_platform(default, *args, cpu=partial(cuda, interpret=True))

    def switch():
        monkeypatch.setattr("jaxcast.nn.over_time.by_platform", in_kernel)
        jax.clear_caches()

    yield switch
    jax.clear_caches()


def check(kernels_here, layer, batch, num_steps, *, has_gaps=False):
    arguments = inputs(layer, batch, num_steps, has_gaps)
    expected = results_and_gradients(layer, *arguments)
    kernels_here()
    assert_close(results_and_gradients(layer, *arguments), expected)


@pytest.mark.parametrize(("kind", "has_gaps"), [("lstm", True), ("gru_after", False), ("gru_before", True)])
def test_the_kernel_does_the_same(kind, has_gaps, kernels_here):
    check(kernels_here, make(kind), 3, 4, has_gaps=has_gaps)
