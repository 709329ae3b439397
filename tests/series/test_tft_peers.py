"""The temporal fusion transformer in PyTorch, with the same weights. Needs the `peers` extra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcast.series import TFT, PanelWindows

torch = pytest.importorskip("torch", reason="the peers extra is not installed")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]


def put(parameter, array):
    parameter.data = torch.tensor(np.array(array)).reshape(parameter.shape)


def put_linear(layer, ours, n=...):
    put(layer.weight, np.asarray(ours.kernel[...])[n].T)
    if ours.bias is not None:
        put(layer.bias, np.asarray(ours.bias[...])[n])


def put_norm(layer, ours, n=...):
    put(layer.weight, np.asarray(ours.scale[...])[n])
    put(layer.bias, np.asarray(ours.bias[...])[n])


def put_skip(layer, ours):
    put_linear(layer.gate.linear, ours.gate.linear)
    put_norm(layer.norm, ours.norm)


def put_residual(layer, ours, n=...):
    put_linear(layer.first, ours.first, n)
    put_linear(layer.second, ours.second, n)
    put_linear(layer.gate.linear, ours.gate.linear, n)
    put_norm(layer.norm, ours.norm, n)
    if ours.of_context is not None:
        put_linear(layer.context, ours.of_context)
    if ours.skip is not None:
        put_linear(layer.skip, ours.skip)


def put_selection(layer, ours):
    put_residual(layer.weighting, ours.weighting)
    for n, one in enumerate(layer.variables):
        put_residual(one, ours.variables, n)


def put_all(peer, network):
    pairs = ((peer.of_static, network.of_static), (peer.of_past, network.of_past), (peer.of_known, network.of_known))
    for layers, ours in pairs:
        for n, one in enumerate(layers):
            put(one.weight, ours.kernel[n])
            put(one.bias, ours.bias[n])
    for name in ("static_selection", "past_selection", "future_selection"):
        put_selection(getattr(peer, name), getattr(network, name))
    for n, one in enumerate(peer.contexts):
        put_residual(one, network.contexts, n)
    for name in ("encoder", "decoder"):
        state = {key: torch.tensor(array) for key, array in getattr(network, name).to_torch().items()}
        getattr(peer, name).load_state_dict(state)
    for name in ("lstm_skip", "attention_skip", "output_skip"):
        put_skip(getattr(peer, name), getattr(network, name))
    for name in ("enrichment", "position_wise"):
        put_residual(getattr(peer, name), getattr(network, name))
    for name in ("query", "key", "value", "out"):
        put_linear(getattr(peer.attention, name), getattr(network.attention, name))
    put_linear(peer.out, network.out)


@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-12), ("float32", 5e-6)])
def test_the_whole_network_is_that_of_pytorch(dtype, close):
    from benchmarks.tft_torch import Peer

    rng = np.random.default_rng(0)
    windows = PanelWindows.plain(rng.normal(size=(3, 7)) + 2, np.ones((3, 4)))
    windows = windows._replace(known=rng.normal(size=(3, 11, 2)), static=rng.normal(size=(3, 1)))
    windows = jax.tree.map(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, windows)
    network = TFT(windows.sizes(), hidden_size=6, num_heads=2, key=jax.random.key(0), dtype=dtype)
    graph, state = nnx.split(network)  # layer norms that are not those of the start
    network = nnx.merge(graph, jax.tree.map(lambda a: a + jnp.asarray(0.2 * rng.normal(size=a.shape), dtype), state))
    peer = Peer(num_known=2, num_static=2, num_leads=4, num_quantiles=11, hidden_size=6, num_heads=2)
    peer = peer.to(getattr(torch, dtype)).eval()
    put_all(peer, network)
    inputs = network.inputs(windows)
    raw, info = network.raw_outputs(inputs, None)
    own = (inputs.values, inputs.is_known, inputs.known, inputs.static)
    with torch.inference_mode():
        expected, expected_info = peer(*(torch.tensor(np.array(a)) for a in own))
    np.testing.assert_allclose(raw, expected.numpy(), rtol=0, atol=close)
    for name, weights in expected_info.items():
        np.testing.assert_allclose(info[name], weights.numpy(), rtol=0, atol=close)
