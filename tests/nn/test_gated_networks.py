"""Gated residual networks, variable selection and interpretable attention against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcast import InputError
from jaxcast.nn import (
    GatedLinearUnit,
    GatedResidual,
    GatedSkip,
    InterpretableAttention,
    NumberEmbedding,
    VariableSelection,
)
from jaxcast.nn import variable_selection as module
from jaxcast.nn.dropout import Dropout

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
PRECISIONS = pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-12), ("float32", 2e-6)])


def arrays(*shape):
    return RNG.normal(size=shape)


def of(parameter):
    return np.asarray(parameter[...], float)


def linear(layer, xs, n=...):
    bias = 0 if layer.bias is None else of(layer.bias)[n][0] if n is not ... else of(layer.bias)[0]
    return xs @ of(layer.kernel)[n] + bias


def sigmoid(xs):
    return 1 / (1 + np.exp(-xs))


def glu(layer, xs, n=...):
    both = linear(layer.linear, xs, n)
    half = both.shape[-1] // 2
    return both[..., :half] * sigmoid(both[..., half:])


def norm(layer, xs, n=...):
    scale, bias = (of(a)[n].reshape(-1) for a in (layer.scale, layer.bias))
    return (xs - xs.mean(-1, keepdims=True)) / np.sqrt(xs.var(-1, keepdims=True) + 1e-5) * scale + bias


def grn(network, xs, context=None, n=...):
    sums = linear(network.first, xs, n)
    if context is not None:
        sums = sums + context @ of(network.of_context.kernel)
    hidden = linear(network.second, np.where(sums > 0, sums, np.expm1(sums)), n)
    skipped = xs if network.skip is None else linear(network.skip, xs, n)
    return norm(network.norm, skipped + glu(network.gate, hidden, n), n)


def softmax(xs):
    shares = np.exp(xs - xs.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def selected(selection, embedded, context=None):
    weights = softmax(grn(selection.weighting, embedded.reshape(*embedded.shape[:-2], -1), context))
    each = [grn(selection.variables, embedded[..., n, :], n=n) for n in range(embedded.shape[-2])]
    return sum(weights[..., n, None] * one for n, one in enumerate(each)), weights


def with_norms(network):
    """Scales and offsets of layer norms that are not those of the start."""
    found = [network.norm] if not isinstance(network, VariableSelection) else []
    if isinstance(network, VariableSelection):
        found = [network.weighting.norm, network.variables.norm]
    for one in found:
        one.scale[...] += 0.3 * arrays(*one.scale.shape).astype(one.scale.dtype)
        one.bias[...] += arrays(*one.bias.shape).astype(one.bias.dtype)
    return network


@pytest.mark.slow
@PRECISIONS
def test_gates_are_those_of_the_equations(dtype, close):
    xs, outputs, context = arrays(4, 5, 3), arrays(4, 5, 3), arrays(4, 1, 2)
    unit = GatedLinearUnit(input_size=3, output_size=6, key=KEY, dtype=dtype)
    skip = with_norms(GatedSkip(size=3, key=KEY, dtype=dtype))
    network = with_norms(
        GatedResidual(input_size=3, hidden_size=7, output_size=5, context_size=2, key=KEY, dtype=dtype)
    )
    same = GatedResidual(input_size=3, output_size=3, key=KEY, dtype=dtype)
    own = [jnp.asarray(a, dtype) for a in (xs, outputs, context)]
    pairs = [
        (unit(own[0]), glu(unit, xs)),
        (skip(*own[:2]), norm(skip.norm, xs + glu(skip.gate, outputs))),
        (network(own[0], own[2]), grn(network, xs, context)),
        (same(own[0]), grn(same, xs)),
    ]
    for ours, expected in pairs:
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, expected, rtol=0, atol=close)


@pytest.mark.slow
@PRECISIONS
@pytest.mark.parametrize("chunk", [2**18, 40])
def test_variables_are_selected_as_by_the_equations(dtype, close, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_SIZE", chunk)
    xs, context = arrays(5, 4, 3), arrays(5, 2)
    selection = with_norms(VariableSelection(num_variables=3, size=4, context_size=2, key=KEY, dtype=dtype))
    embedding = NumberEmbedding(num_variables=3, size=4, key=KEY, dtype=dtype)
    embedded = xs[..., None] * of(embedding.kernel) + of(embedding.bias)
    expected = selected(selection, embedded, context[:, None])
    own = jnp.asarray(xs, dtype), jnp.asarray(context, dtype)
    general = selection(embedding(own[0]), own[1][:, None])
    quick = selection.of_numbers(own[0], embedding.vectors, own[1])
    for found in (general, quick):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=3 * close)
    np.testing.assert_allclose(quick.weights.sum(-1), 1, rtol=0, atol=close)


@pytest.mark.slow
def test_numbers_and_vectors_have_the_same_gradients(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_SIZE", 40)
    selection = VariableSelection(num_variables=2, size=3, context_size=2, key=KEY, dtype="float64")
    vectors = NumberEmbedding(num_variables=2, size=3, key=KEY, dtype="float64").vectors
    xs, context = jnp.asarray(arrays(5, 3, 2)), jnp.asarray(arrays(5, 2))

    def quick(vectors, xs, context):
        return jnp.sin(selection.of_numbers(xs, vectors, context).selected).sum()

    def general(vectors, xs, context):
        embedded = xs[..., None] * vectors.kernel + vectors.bias
        return jnp.sin(selection(embedded, context[:, None]).selected).sum()

    found = [jax.grad(function, (0, 1, 2))(vectors, xs, context) for function in (quick, general)]
    for ours, theirs in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_dropout_keeps_the_mean_of_a_selection():
    """In a network whose outputs are linear in what is dropped, the mean over masks is the value."""
    drop = Dropout(0.25, KEY, 4000)
    kept = drop.kept((1000, 4))
    assert abs(float(kept.mean()) - 0.75) < 0.03
    np.testing.assert_allclose(drop.applied(jnp.ones((1000, 4)), kept).mean(), 1, atol=0.04)
    selection = VariableSelection(num_variables=2, size=3, context_size=2, key=KEY)
    xs, context = jnp.ones((5, 3, 2)), jnp.ones((5, 2))
    vectors = NumberEmbedding(num_variables=2, size=3, key=KEY).vectors
    passes = [
        selection.of_numbers(xs, vectors, context, Dropout(0.5, key, selection.num_dropped(5, 3))).selected
        for key in jax.random.split(KEY)
    ]
    assert float(abs(passes[0] - passes[1]).max()) > 1e-3
    assert float(passes[0].std(0).max()) > 1e-3  # every sample has a mask of its own


@pytest.mark.slow
@PRECISIONS
def test_attention_is_that_of_the_equations(dtype, close):
    queries, steps = arrays(2, 3, 6), arrays(2, 5, 6)
    visible = np.tri(3, 5, 2, dtype=bool)
    attention = InterpretableAttention(size=6, num_heads=2, key=KEY, dtype=dtype)
    q, k = queries @ of(attention.query.kernel), steps @ of(attention.key.kernel)
    values = steps @ of(attention.value.kernel)
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        scores = q[..., part] @ k[..., part].swapaxes(1, 2) / np.sqrt(3)
        heads.append(softmax(np.where(visible, scores, -np.inf)))
    expected = np.mean([weights @ values for weights in heads], 0) @ of(attention.out.kernel)
    outputs, weights = attention(jnp.asarray(queries, dtype), jnp.asarray(steps, dtype), jnp.asarray(visible))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=close)
    np.testing.assert_allclose(weights, np.mean(heads, 0), rtol=0, atol=close)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="num_heads must divide the size 6, got 4"):
        InterpretableAttention(size=6, num_heads=4, key=KEY)
    with pytest.raises(InputError, match="size must be at least 2, got 1"):
        VariableSelection(num_variables=2, size=1, key=KEY)
    with pytest.raises(InputError, match="output_size must be at least 1, got 0"):
        GatedLinearUnit(input_size=2, output_size=0, key=KEY)
