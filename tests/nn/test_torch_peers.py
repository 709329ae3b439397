"""The same weights in PyTorch's recurrent layers: outputs and gradients. Needs the `peers` extra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcast.nn import GRU, LSTM, RNN, LSTMCarry, SelfAttention, Stack
from jaxcast.nn.stack import LAYERS as LAYER_CLASSES

torch = pytest.importorskip("torch", reason="the peers extra is not installed")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]

LAYERS = {
    "lstm": (LSTM, {}, torch.nn.LSTM, {}),
    "gru": (GRU, {}, torch.nn.GRU, {}),
    "rnn_tanh": (RNN, dict(activation="tanh"), torch.nn.RNN, dict(nonlinearity="tanh")),
    "rnn_relu": (RNN, dict(activation="relu"), torch.nn.RNN, dict(nonlinearity="relu")),
}
PRECISION = {"float64": 1e-12, "float32": 1e-6}


def make(kind, input_size, hidden_size, dtype):
    ours, options, peer, peer_options = LAYERS[kind]
    torch.manual_seed(0)
    peer = peer(input_size, hidden_size, batch_first=True, dtype=getattr(torch, dtype), **peer_options)
    layer = ours(input_size=input_size, hidden_size=hidden_size, key=jax.random.key(0), dtype=dtype, **options)
    return layer.load_torch({name: a.numpy() for name, a in peer.state_dict().items()}), peer


def assert_close(a, b, dtype):
    """Relative to the largest element."""
    b = b.detach().numpy()
    assert a.dtype == b.dtype == dtype
    np.testing.assert_allclose(a, b, rtol=0, atol=PRECISION[dtype] * np.abs(b).max())


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("batch", "num_steps", "input_size", "hidden_size"), [(32, 20, 3, 50), (1, 9, 16, 8)])
def test_outputs_and_gradients(kind, dtype, batch, num_steps, input_size, hidden_size):
    layer, peer = make(kind, input_size, hidden_size, dtype)
    rng = np.random.default_rng(0)
    xs, factors = (rng.normal(size=(batch, num_steps, n)).astype(dtype) for n in (input_size, hidden_size))
    starts = rng.normal(size=(1 + (kind == "lstm"), batch, hidden_size)).astype(dtype)
    as_carry = (lambda parts: LSTMCarry(*parts)) if kind == "lstm" else (lambda parts: parts[0])

    def loss(layer, xs, carry):
        end, outputs = layer(xs, carry)
        return jnp.mean(factors * outputs) + sum(jnp.mean(a**2) for a in jax.tree.leaves(end)), (end, outputs)

    arguments = layer, jnp.asarray(xs), as_carry(list(map(jnp.asarray, starts)))
    (of_layer, of_xs, of_carry), (end, outputs) = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(*arguments)

    peer_xs = torch.tensor(xs, requires_grad=True)
    peer_starts = [torch.tensor(a[None], requires_grad=True) for a in starts]
    peer_outputs, peer_end = peer(peer_xs, tuple(peer_starts) if kind == "lstm" else peer_starts[0])
    peer_end = peer_end if kind == "lstm" else [peer_end]
    ((torch.tensor(factors) * peer_outputs).mean() + sum((a**2).mean() for a in peer_end)).backward()

    assert_close(outputs, peer_outputs, dtype)
    assert_close(of_xs, peer_xs.grad, dtype)
    for a, b in zip(jax.tree.leaves(end), peer_end, strict=True):
        assert_close(a, b[0], dtype)
    for a, b in zip(jax.tree.leaves(of_carry), peer_starts, strict=True):
        assert_close(a, b.grad[0], dtype)
    assert_close(of_layer.input_kernel[...].T, peer.weight_ih_l0.grad, dtype)
    assert_close(of_layer.recurrent_kernel[...].T, peer.weight_hh_l0.grad, dtype)
    assert_close(of_layer.bias[...], peer.bias_ih_l0.grad, dtype)
    if kind == "gru":
        assert_close(of_layer.recurrent_bias[...], peer.bias_hh_l0.grad[-hidden_size:], dtype)


@pytest.mark.parametrize("kind", LAYERS)
def test_our_weights_in_torch(kind):
    ours, options, _, _ = LAYERS[kind]
    layer = ours(input_size=3, hidden_size=5, key=jax.random.key(0), dtype=jnp.float64, **options)
    _, peer = make(kind, 3, 5, "float64")
    peer.load_state_dict({name: torch.tensor(a) for name, a in layer.to_torch().items()})
    xs = np.random.default_rng(1).normal(size=(4, 7, 3))
    assert_close(layer(jnp.asarray(xs))[1], peer(torch.tensor(xs))[0], "float64")


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_two_layers_of_variable_lengths(kind, bidirectional, dtype):
    """Outputs and gradients of weights and inputs, beside packed sequences."""
    ours, options, peer, peer_options = LAYERS[kind]
    torch.manual_seed(1)
    peer = peer(
        3, 16, num_layers=2, bidirectional=bidirectional, batch_first=True, dtype=getattr(torch, dtype), **peer_options
    )
    name = next(name for name, layer in LAYER_CLASSES.items() if layer is ours)
    stack = Stack(
        name, input_size=3, hidden_size=16, num_layers=2, bidirectional=bidirectional, key=jax.random.key(0), dtype=dtype,
        **options,
    ).load_torch({name: a.numpy() for name, a in peer.state_dict().items()})  # fmt: skip
    rng = np.random.default_rng(0)
    lengths = np.asarray([20, 13, 5, 1])
    xs = rng.normal(size=(4, 20, 3)).astype(dtype)
    factors = rng.normal(size=(4, 20, 16 * (1 + bidirectional))).astype(dtype)
    mask = jnp.arange(20) < lengths[:, None]

    def loss(stack, xs):
        end, outputs = stack(xs, mask=mask)
        return jnp.mean(factors * outputs) + sum(jnp.mean(a**2) for a in jax.tree.leaves(end)), outputs

    (of_stack, of_xs), outputs = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(stack, jnp.asarray(xs))

    peer_xs = torch.tensor(xs, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(peer_xs, lengths, batch_first=True)
    packed_outputs, peer_end = peer(packed)
    peer_outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_outputs, batch_first=True)
    ends = [state for part in (peer_end if kind == "lstm" else [peer_end]) for state in part]
    ((torch.tensor(factors) * peer_outputs).mean() + sum((a**2).mean() for a in ends)).backward()

    assert_close(outputs, peer_outputs, dtype)
    assert_close(of_xs, peer_xs.grad, dtype)
    gradients = of_stack.to_torch()
    for name, weights in peer.named_parameters():
        if "bias_hh" not in name:  # of two biases that are only added up, ours is one
            assert_close(gradients[name], weights.grad, dtype)


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention(causal, dtype):
    torch.manual_seed(0)
    peer = torch.nn.MultiheadAttention(16, 4, batch_first=True, dtype=getattr(torch, dtype))
    attention = SelfAttention(size=16, num_heads=4, causal=causal, residual=False, key=jax.random.key(0), dtype=dtype)
    attention = attention.load_torch({name: a.numpy() for name, a in peer.state_dict().items()})
    xs = np.random.default_rng(0).normal(size=(2, 9, 16)).astype(dtype)
    lengths = np.asarray([9, 6])
    mask = jnp.arange(9) < lengths[:, None]

    def loss(attention, xs):
        outputs, weights = attention(xs, mask)
        return jnp.sum(outputs**2), (outputs, weights)

    (of_attention, of_xs), (outputs, weights) = jax.grad(loss, argnums=(0, 1), has_aux=True)(attention, jnp.asarray(xs))
    peer_xs = torch.tensor(xs, requires_grad=True)
    hidden = torch.tensor(~np.asarray(mask))
    after = torch.triu(torch.ones(9, 9, dtype=bool), 1) if causal else None
    peer_outputs, peer_weights = peer(
        peer_xs, peer_xs, peer_xs, key_padding_mask=hidden, attn_mask=after, average_attn_weights=False
    )
    shown = (~hidden)[..., None]
    ((peer_outputs * shown) ** 2).sum().backward()
    assert_close(outputs, peer_outputs * shown, dtype)
    assert_close(weights, peer_weights * shown[:, None], dtype)
    assert_close(of_xs, peer_xs.grad, dtype)
    for name, gradient in of_attention.to_torch().items():
        assert_close(gradient, dict(peer.named_parameters())[name].grad, dtype)
