"""Networks of texts: their equations in numpy and in PyTorch, and padding, which changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from jaxcast.text import ConvolutionalTextNetwork, MeanTextNetwork, RecurrentTextNetwork

SIZES = {"num_classes": 3, "num_trained": 4, "num_fixed": 5, "embedding_size": 6}
TOKENS = np.asarray([[2, 3, 8, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0], [5, 6, 7, 8, 2, 3, 1]], np.int32)
LENGTHS = (TOKENS > 0).sum(1)
NETWORKS = {
    "mean": lambda key: MeanTextNetwork(**SIZES, key=key),
    "cnn": lambda key: ConvolutionalTextNetwork(**SIZES, widths=(2, 5), num_maps=4, key=key),
    **{
        name: lambda key, readout=name, kind=kind: RecurrentTextNetwork(
            **SIZES, kind=kind, hidden_size=4, num_layers=2, readout=readout, key=key
        )
        for name, kind in (("last", "lstm"), ("max", "gru"), ("attention", "lstm"))
    },
}


def vectors_of(network, tokens):
    trained, fixed, _ = network.vectors.sizes
    table = np.concatenate([np.asarray(network.vectors.trained[...]), np.asarray(network.vectors.fixed[...])])
    assert table.shape == (trained + fixed, 6)
    return table[tokens]


def outputs_of(network, tokens):
    """Compiled whole: eager operations would each be compiled alone."""
    return jax.jit(lambda tokens: network(tokens))(jnp.asarray(tokens))


@pytest.fixture(scope="module", params=list(NETWORKS))
def made(request):
    network = NETWORKS[request.param](jax.random.key(3))
    return request.param, network, outputs_of(network, TOKENS)


@pytest.mark.slow
def test_padding_changes_nothing(made):
    name, network, output = made
    longer = np.pad(TOKENS, ((0, 0), (0, 4)))
    found = outputs_of(network, longer)
    np.testing.assert_allclose(found.logits, output.logits, rtol=1e-5, atol=1e-6)
    if name == "attention":
        np.testing.assert_allclose(output.attention.sum(-1), 1, rtol=1e-5)
        assert not np.asarray(output.attention)[TOKENS == 0].any()
    else:
        assert output.attention is None


def test_settings_make_the_same_network_again(made):
    _, network, _ = made
    arrays = jaxcast.pytrees.named_leaves(network)
    again = type(network).from_config(network.config, arrays)
    assert type(again) is type(network)
    assert again.config == network.config
    for one, other in zip(arrays.values(), jaxcast.pytrees.named_leaves(again).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_convolution_is_its_definition():
    network = NETWORKS["cnn"](jax.random.key(0))
    maxima = np.zeros((3, 8))
    for row, length in enumerate(LENGTHS):
        vectors = vectors_of(network, TOKENS[row, :length])
        for k, one in enumerate(network.convolutions):
            kernel, bias = np.asarray(one.kernel[...]), np.asarray(one.bias[...])
            more = len(kernel) - 1
            text = np.pad(vectors, ((more, more), (0, 0)))
            windows = [np.einsum("wi,wio->o", text[t : t + more + 1], kernel) + bias for t in range(length + more)]
            maxima[row, 4 * k : 4 * k + 4] = np.maximum(windows, 0).max(0)
    expected = maxima @ np.asarray(network.readout.kernel[...]) + np.asarray(network.readout.bias[...])
    np.testing.assert_allclose(outputs_of(network, TOKENS).logits, expected, rtol=1e-4, atol=1e-5)


def test_attention_is_its_definition_on_the_layers_outputs():
    network = NETWORKS["attention"](jax.random.key(1))
    _, hs = network.stack(
        jnp.asarray(vectors_of(network, TOKENS)) * (TOKENS > 0)[..., None], mask=jnp.asarray(TOKENS > 0)
    )
    hs, attention = np.asarray(hs), network.attention
    hidden = np.tanh(hs @ np.asarray(attention.hidden.kernel[...]) + np.asarray(attention.hidden.bias[...]))
    scores = np.where(TOKENS > 0, (hidden @ np.asarray(attention.score.kernel[...]))[..., 0], -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    features = (shares[..., None] * hs).sum(1)
    expected = features @ np.asarray(network.readout.kernel[...]) + np.asarray(network.readout.bias[...])
    output = outputs_of(network, TOKENS)
    np.testing.assert_allclose(output.attention, shares, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(output.logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_padding_and_fixed_vectors_have_no_gradient():
    network = NETWORKS["mean"](jax.random.key(0))
    graph, params, rest = nnx.split(network, nnx.Param, ...)

    def loss(params):
        return (nnx.merge(graph, params, rest)(jnp.asarray(TOKENS)).logits ** 2).sum()

    slopes = jaxcast.pytrees.named_leaves(jax.grad(loss)(params))
    (own,) = [slope for name, slope in slopes.items() if "vectors" in name]
    assert own.shape == (4, 6)
    assert not np.asarray(own)[0].any()
    assert np.asarray(own)[1:].any(-1).all()


@pytest.mark.slow
def test_dropped_words_are_unknown_ones():
    network = MeanTextNetwork(**SIZES, key=jax.random.key(0), word_dropout=0.5)
    text = jnp.full((1, 400), 5)
    plain = network(text).logits[0]
    unknown = network(jnp.full((1, 400), 1)).logits[0]
    mixed = network(text, key=jax.random.key(1)).logits[0]
    share = np.asarray((mixed - plain) / (unknown - plain))
    np.testing.assert_allclose(share, share[0], rtol=1e-3)
    assert 0.4 < share[0] < 0.6


def test_a_convolution_drops_components_of_vectors_in_training():
    network = ConvolutionalTextNetwork(**SIZES, dropout=0.0, vector_dropout=0.5, key=jax.random.key(0))
    trained = jax.jit(lambda key: network(jnp.asarray(TOKENS), key=key).logits)
    assert np.abs(trained(jax.random.key(0)) - trained(jax.random.key(1))).max() > 1e-3
    assert network.config["vector_dropout"] == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: ConvolutionalTextNetwork(**SIZES, vector_dropout=1.0, key=key), "vector_dropout"),
        (lambda key: RecurrentTextNetwork(**SIZES, readout="mean", key=key), "readout"),
        (lambda key: MeanTextNetwork(**SIZES, dropout=1.0, key=key), "dropout"),
        (lambda key: ConvolutionalTextNetwork(**SIZES, widths=(), key=key), "widths"),
        (lambda key: MeanTextNetwork(**SIZES | {"num_classes": 1}, key=key), "num_classes"),
    ],
)
def test_bad_settings_are_refused(call, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message):
        call(jax.random.key(0))


@pytest.mark.peers
@pytest.mark.parametrize(("kind", "readout"), [("lstm", "last"), ("gru", "max")])
def test_recurrent_read_outs_are_pytorchs_on_packed_sequences(kind, readout):
    torch = pytest.importorskip("torch")
    network = RecurrentTextNetwork(
        **SIZES, kind=kind, hidden_size=4, num_layers=2, readout=readout, key=jax.random.key(5)
    )
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](6, 4, 2, batch_first=True, bidirectional=True)
    module.load_state_dict({name: torch.tensor(np.asarray(a)) for name, a in network.stack.to_torch().items()})
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(vectors_of(network, TOKENS)), LENGTHS, batch_first=True, enforce_sorted=False
    )
    outputs, last = module(packed)
    outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, padding_value=-np.inf)
    hidden = last[0] if kind == "lstm" else last
    features = torch.cat([hidden[-2], hidden[-1]], -1) if readout == "last" else outputs.max(1).values
    expected = features.detach().numpy() @ np.asarray(network.readout.kernel[...]) + np.asarray(
        network.readout.bias[...]
    )
    np.testing.assert_allclose(outputs_of(network, TOKENS).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.peers
def test_a_convolution_is_pytorchs():
    torch = pytest.importorskip("torch")
    network = NETWORKS["cnn"](jax.random.key(2))
    vectors = torch.tensor(vectors_of(network, TOKENS[2:])).swapaxes(1, 2)
    maxima = []
    for one in network.convolutions:
        kernel = torch.tensor(np.asarray(one.kernel[...])).permute(2, 1, 0)
        found = torch.nn.functional.conv1d(
            vectors, kernel, torch.tensor(np.asarray(one.bias[...])), padding=kernel.shape[2] - 1
        )
        maxima.append(torch.relu(found).max(2).values)
    features = torch.cat(maxima, 1).numpy()
    expected = features @ np.asarray(network.readout.kernel[...]) + np.asarray(network.readout.bias[...])
    np.testing.assert_allclose(outputs_of(network, TOKENS[2:]).logits, expected, rtol=1e-4, atol=1e-5)
