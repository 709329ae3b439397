"""Graph convolutions with nodes spread over devices, against one device."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.sharding import spread_nodes


def compare_with_one_device(num_nodes=16):
    """Checks outputs and gradients, and that every device holds its nodes alone; returns how many devices there are."""
    random = np.random.default_rng(0)
    graph = random.random((num_nodes, num_nodes)) * (random.random((num_nodes, num_nodes)) < 0.4)
    laplacian = jaxcast.nn.rescaled_laplacian(graph)[None]
    settings = dict(key=jax.random.key(1), dtype=jnp.float64)
    for kind, sizes, operators in (  # one multiplies by the graph first, the other by the kernel
        (jaxcast.nn.ChebyshevConvolution, (2, 3), laplacian),
        (jaxcast.nn.DiffusionConvolution, (3, 2), jaxcast.nn.both_transitions(graph)),
    ):
        layer = kind(input_size=sizes[0], output_size=sizes[1], order=3, **settings)
        inputs = jnp.asarray(random.normal(size=(4, num_nodes, sizes[0])))

        @jax.jit
        def run(layer, inputs, operators):
            def loss(layer):
                outputs = layer(inputs, operators)
                return jnp.sum(jnp.sin(outputs)), outputs

            return jax.value_and_grad(loss, has_aux=True)(layer)

        spread = spread_nodes((inputs, operators))
        (value, outputs), slope = run(layer, *spread)
        (expected, expected_outputs), expected_slope = run(layer, inputs, operators)
        np.testing.assert_allclose(outputs, expected_outputs, atol=1e-12)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for ours, theirs in zip(jax.tree.leaves(slope), jax.tree.leaves(expected_slope), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-11)
        own = num_nodes // len(outputs.addressable_shards)
        for array in (*spread, outputs):
            assert {shard.data.shape[-2] for shard in array.addressable_shards} == {own}
    return len(outputs.addressable_shards)


@pytest.mark.slow
def test_nodes_on_two_devices():
    assert compare_with_one_device() == 2


@pytest.mark.slow
def test_nodes_on_eight_devices():
    script = (
        "import jax; jax.config.update('jax_num_cpu_devices', 8); jax.config.update('jax_enable_x64', True);"
        "from tests.nn.test_graph_sharding import compare_with_one_device as run; assert run() == 8"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_devices_that_do_not_divide_the_nodes():
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("device",))
    with pytest.raises(jaxcast.InputError, match="2 devices cannot share 5 nodes evenly; take 1"):
        spread_nodes(jnp.ones((5, 3)), mesh)
    assert len(spread_nodes(jnp.ones((5, 3))).addressable_shards) == 1
    with pytest.raises(jaxcast.InputError, match=r"of the same nodes, got \[4, 5\]"):
        spread_nodes((jnp.ones((5, 3)), jnp.ones((4, 4))))
