"""The same weights in PyTorch's nn.LSTM. Needs the `peers` extra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcast.series import MQRNN, DeepAR, PanelWindows
from tests.series.recurrent_panels import scrambled

torch = pytest.importorskip("torch", reason="the peers extra is not installed")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]

HISTORY, NUM_LEADS, LAGS = 12, 3, (1, 2, 5)
RNG = np.random.default_rng(0)
WINDOWS = PanelWindows.plain(20 * (2 + RNG.random((5, HISTORY))), 20 * (2 + RNG.random((5, NUM_LEADS))))._replace(
    known=RNG.normal(size=(5, HISTORY + NUM_LEADS, 3))
)
DTYPES = pytest.mark.parametrize(("dtype", "precision"), [(jnp.float64, 1e-12), (jnp.float32, 1e-6)])


def tensors(dtype):
    kind = torch.float64 if dtype == jnp.float64 else torch.float32
    return [torch.tensor(np.array(a), dtype=kind) for a in (WINDOWS.history, WINDOWS.targets, WINDOWS.known)]


def windows(dtype):
    return jax.tree.map(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, WINDOWS)


def put(layers, stack):
    layers.load_state_dict({name: torch.tensor(np.array(a)) for name, a in stack.to_torch().items()})


def put_linear(layer, ours):
    layer.weight.data, layer.bias.data = (torch.tensor(np.array(a)) for a in (ours.kernel[...].T, ours.bias[...]))


@DTYPES
def test_likelihood_and_gradient_of_deepar_are_those_of_pytorch(dtype, precision):
    from benchmarks.deepar_torch import Peer

    network = DeepAR(WINDOWS.sizes(), lags=LAGS, hidden_size=6, dropout=0.0, key=jax.random.key(0), dtype=dtype)
    network = scrambled(network)
    peer = Peer(WINDOWS.sizes(), lags=LAGS, hidden_size=6, dropout=0.0).to(tensors(dtype)[0].dtype)
    put(peer.layers, network.layers)
    put_linear(peer.out, network.out)
    theirs = peer.loss(*tensors(dtype))
    theirs.backward()
    loss, gradient = jax.value_and_grad(lambda network: network.loss(windows(dtype), jax.random.key(0)))(network)
    np.testing.assert_allclose(float(loss), theirs.item(), rtol=precision)
    own = gradient.out.kernel[...].T, gradient.layers.layers[0].input_kernel[...].T
    for ours, of_peer in zip(own, (peer.out.weight.grad, peer.layers.weight_ih_l0.grad), strict=True):
        np.testing.assert_allclose(ours, of_peer, rtol=100 * precision, atol=precision)


@DTYPES
def test_paths_of_deepar_are_distributed_as_those_of_pytorch(dtype, precision):
    del precision
    from benchmarks.deepar_torch import Peer

    network = DeepAR(WINDOWS.sizes(), lags=LAGS, hidden_size=6, key=jax.random.key(0), dtype=dtype)
    network = scrambled(network)
    peer = Peer(WINDOWS.sizes(), lags=LAGS, hidden_size=6).to(tensors(dtype)[0].dtype).eval()
    put(peer.layers, network.layers)
    put_linear(peer.out, network.out)
    torch.manual_seed(0)
    history, _, known = tensors(dtype)
    theirs = peer.paths(history, known, 3000).detach().numpy().transpose(1, 0, 2)
    ours = np.asarray(network.paths(windows(dtype), 3000, jax.random.key(1)))
    levels = [0.1, 0.3, 0.5, 0.7, 0.9]
    spread = np.quantile(theirs, 0.9, 0) - np.quantile(theirs, 0.1, 0)
    assert (abs(np.quantile(ours, levels, 0) - np.quantile(theirs, levels, 0)) < 0.1 * spread).all()


@DTYPES
def test_quantiles_of_mqrnn_are_those_of_pytorch(dtype, precision):
    levels = (0.1, 0.5, 0.9)
    network = MQRNN(WINDOWS.sizes(), hidden_size=6, context_size=4, levels=levels, key=jax.random.key(0), dtype=dtype)
    network = scrambled(network)
    encoder = torch.nn.LSTM(2 + 3 + 1, 6, 1, batch_first=True)
    of_global, of_local = torch.nn.Linear(6 + 3 * NUM_LEADS, 4 * (NUM_LEADS + 1)), torch.nn.Linear(4 + 4 + 3, 4)
    out = torch.nn.Linear(4, 3)
    history, _, known = tensors(dtype)
    for layer in (encoder, of_global, of_local, out):
        layer.to(history.dtype)
    put(encoder, network.encoder)
    for layer, ours in ((of_global, network.global_decoder), (of_local, network.local_decoder), (out, network.out)):
        put_linear(layer, ours)
    scale = history.abs().mean(-1)
    once = scale.log()[:, None, None].expand(-1, HISTORY, 1)
    values = (history / scale[:, None])[..., None]
    hidden, _ = encoder(torch.cat([values, torch.ones_like(values), known[:, :HISTORY], once], -1))
    ahead = known[:, HISTORY:]
    contexts = torch.relu(of_global(torch.cat([hidden[:, -1], ahead.flatten(1)], -1))).reshape(-1, NUM_LEADS + 1, 4)
    shared = contexts[:, -1:].expand(-1, NUM_LEADS, -1)
    raw = out(torch.relu(of_local(torch.cat([contexts[:, :-1], shared, ahead], -1))))
    gaps = torch.nn.functional.softplus(raw)
    theirs = torch.stack([raw[..., 1] - gaps[..., 0], raw[..., 1], raw[..., 1] + gaps[..., 2]], -1)
    theirs = theirs * scale[:, None, None]
    ours = network(windows(dtype)).info["quantiles"]
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=precision, atol=40 * precision)  # of scales
