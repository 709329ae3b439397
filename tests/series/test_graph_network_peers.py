"""The same weights in PyTorch, written as the authors' code does. Needs the `peers` extra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast

torch = pytest.importorskip("torch", reason="the peers extra is not installed")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]

NUM_NODES = 5
RNG = np.random.default_rng(0)
GRAPHS = (RNG.random((2, NUM_NODES, NUM_NODES)) < 0.6) * RNG.random((2, NUM_NODES, NUM_NODES))
GRAPHS = np.maximum(GRAPHS, GRAPHS.swapaxes(1, 2)) * (1 - np.eye(NUM_NODES))
VALUES = RNG.normal(size=(30, NUM_NODES)).cumsum(0)
INPUTS = RNG.normal(size=(3, 12, NUM_NODES, 2))


def samples():
    return jaxcast.series.series_windows(VALUES, history_size=12, leads=(1, 2))


def put(parameter, array):
    parameter.data = torch.tensor(np.array(array))


def put_steps(convolution, layer):
    """A convolution of ours is (step, in, out), PyTorch's (out, in, step, 1)."""
    put(convolution.weight, np.asarray(layer.kernel).transpose(2, 1, 0)[..., None])
    put(convolution.bias, layer.bias)


def put_linear(layer, ours, shape=()):
    put(layer.weight, np.asarray(ours.kernel).T.reshape(*ours.kernel.shape[::-1], *shape))
    if ours.bias is not None:
        put(layer.bias, ours.bias)


def put_temporal(layer, ours):
    put_steps(layer.convolution, ours.convolution)
    if ours.projection is not None:
        put_linear(layer.projection, ours.projection, (1, 1))


def put_norm(layer, ours):
    put(layer.norm.weight, ours.factor)
    put(layer.norm.bias, ours.offset)


def random_norms(model):
    """Factors and offsets that are not those of the start."""
    graph, state = nnx.split(model)
    state = jax.tree.map(lambda a: a + 0.3 * RNG.normal(size=a.shape) if a.ndim == 2 else a, state)
    return nnx.merge(graph, state)


def polynomials():
    from benchmarks.torch_graph_networks import chebyshev

    laplacians = jaxcast.nn.rescaled_laplacian(GRAPHS)
    return torch.stack([chebyshev(torch.tensor(np.array(laplacian))) for laplacian in laplacians])


def check(ours, peer):
    """Forecasts, and the gradient of their squares by the inputs."""
    xs = torch.tensor(INPUTS, requires_grad=True)
    outputs = peer(xs)
    (outputs**2).sum().backward()
    known = jaxcast.series.KnownInputs(None, None)
    steps = lambda xs: ours.steps(xs, known, None)[0][..., 0]  # noqa: E731
    found, pull = jax.vjp(steps, jnp.asarray(INPUTS))
    np.testing.assert_allclose(found, outputs.detach().numpy(), atol=1e-10)
    np.testing.assert_allclose(pull(2 * found)[0], xs.grad.numpy(), atol=1e-10)


def test_stgcn_has_the_outputs_of_pytorch():
    from benchmarks.torch_graph_networks import STGCN

    ours = random_norms(jaxcast.series.STGCN(samples(), graphs=GRAPHS[0], key=jax.random.key(0), dtype=np.float64))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        peer = STGCN(polynomials()[0], 12, 2, num_leads=2)
    finally:
        torch.set_default_dtype(default)
    for k, block in enumerate(ours.blocks):
        first, graph, second, norm = peer.layers[4 * k : 4 * k + 4]
        put_temporal(first, block.first)
        put(graph.kernel, block.graph.convolution.kernel)
        put(graph.bias, block.graph.convolution.bias)
        put_temporal(second, block.second)
        put_norm(norm, block.norm)
    over_time, norm, layer = peer.layers[8:]
    put_temporal(over_time, ours.output.over_time)
    put_norm(norm, ours.output.norm)
    put_linear(layer.convolution, ours.output.layer, (1, 1))
    put_linear(peer.read_out, ours.output.read_out, (1, 1))
    put(peer.bias, np.asarray(ours.output.bias).T[:, None])
    check(ours, peer)


def test_st_mgcn_has_the_outputs_of_pytorch():
    from benchmarks.torch_graph_networks import STMGCN

    options = {"hidden_size": 6, "num_layers": 3, "dtype": np.float64}
    ours = random_norms(jaxcast.series.STMGCN(samples(), graphs=GRAPHS, key=jax.random.key(0), **options))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        peer = STMGCN(polynomials(), 12, 2, hidden_size=6, num_leads=2)
    finally:
        torch.set_default_dtype(default)
    for branch, own, convolution in zip(peer.branches, ours.branches, peer.convolutions, strict=True):
        for theirs, layer in ((branch.context, own.gate.context), (convolution, own.convolution)):
            put(theirs.kernel, np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1]))
            put(theirs.bias, layer.bias)
        put_linear(branch.squeeze, own.gate.squeeze)
        put_linear(branch.excite, own.gate.excite)
        branch.lstm.load_state_dict({name: torch.tensor(a) for name, a in own.stack.to_torch().items()})
    put_linear(peer.read_out, ours.read_out)
    check(ours, peer)
