"""Echo state networks: a fixed random recurrent layer, read out in closed form."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_flag, check_floats, check_number, check_positive, check_whole, sizes_of
from jaxcast.errors import InputError
from jaxcast.forecasters.readout import Readout, as_series, check_dim, fit_readout, scaled_readout
from jaxcast.limits import check_arrays
from jaxcast.nn.standardizer import Standardizer, standardizer_of
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import DeterministicCell, Input, Output
from jaxcast.types import Scalar


class Network(NamedTuple):
    """The fixed random network of a reservoir.

    Args:
        sources: nodes from which each node has connections.
        strengths: of these connections.
        inputs: weights of the input, W_in.
        bias: c.
    """

    sources: Int[Array, "node connection"]
    strengths: Float[Array, "node connection"]
    inputs: Float[Array, "node dim"]
    bias: Float[Array, " node"]


class Reservoir(DeterministicCell, Checked, FrozenPytree, name="reservoir"):
    """An echo state network: a fixed sparse random recurrent layer with a ridge readout.

        r_n = (1 - leak) r_(n-1) + leak tanh(A r_(n-1) + W_in z_n + c)
        g_n = [z_n, r_n], with every second component of r_n squared where `squared`
        u_(n+1) = mean + std * (W' g_n + b)

    z are the standardised values. It sees no candidates. It forgets its initial state slowly, so
    give a forecast tens to hundreds of values as history. `fit_reservoir` returns it.

    Args:
        network: A, W_in and c.
        readout: W and b.
        standardizer: of the training values.
        leak: 1 for no leak.
        squared: whether every second component of r_n is squared in the features.

    Raises:
        InputError: when rolled with values of another length.

    Source:
        Jaeger, GMD Report 148 (2001); Pathak, Hunt, Girvan, Lu and Ott, Phys. Rev. Lett. 120,
        024102 (2018).

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=400, dt=0.05)
        >>> cell = jaxcast.forecasters.fit_reservoir(truth.states, num_nodes=50, key=jax.random.key(0))
        >>> jaxcast.forecast(cell, truth.states[:100], num_leads=5).forecast.shape
        (5, 3)
    """

    network: Network
    readout: Readout
    standardizer: Standardizer
    leak: Scalar
    squared: bool = static(default=True)

    warmup = 0

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self, whole=(".network.sources",))
        network = {"sources": "node connection", "strengths": "node connection", "inputs": "node dim", "bias": "node"}
        shapes = {f".network.{name}": axes for name, axes in network.items()}
        sizes = sizes_of(self, shapes | scaled_readout("feature") | {".leak": ""}, seeds=True)
        if sizes["feature"] != sizes["node"] + sizes["dim"]:
            raise InputError(f"the readout must have {sizes['node'] + sizes['dim']} features, got {sizes['feature']}")
        for number in (int(self.network.sources.min()), int(self.network.sources.max())):
            check_whole("every source", number, least=0, most=sizes["node"] - 1)
        for leak in np.ravel(self.leak):
            check_number("leak", float(leak), least=0, most=1)
        check_flag("squared", self.squared)
        check_positive(std=self.standardizer.std)

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> Float[Array, " node"]:
        check_dim(value, self.standardizer)
        return jnp.zeros(self.network.bias.shape, value.dtype)

    @checked
    def __call__(self, carry: Float[Array, " node"], x: Input) -> tuple[Float[Array, " node"], Output]:
        scaled = self.standardizer.apply(x.value)
        nodes = excite(self.network, self.leak, carry, scaled)
        forecast = self.standardizer.mean + self.standardizer.std * self.readout(_read(nodes, scaled, self.squared))
        return nodes, Output(forecast.astype(x.value.dtype), {})


@highest
def excite(
    network: Network, leak: Scalar, nodes: Float[Array, " node"], scaled: Float[Array, " dim"]
) -> Float[Array, " node"]:
    """Updates the nodes by one step.

    Args:
        network: of the reservoir.
        leak: of the nodes.
        nodes: before the step.
        scaled: the standardised input.
    """
    heard = (network.strengths * nodes[network.sources]).sum(-1)
    heard = heard + network.inputs @ scaled + network.bias
    return jnp.asarray((1 - leak) * nodes + leak * jnp.tanh(heard), nodes.dtype)


def random_network(
    dim: int,
    num_nodes: int,
    *,
    connections: int = 6,
    spectral_radius: Scalar = 0.9,
    input_scale: Scalar = 0.5,
    bias_scale: Scalar = 0.5,
    key: Key[Array, ""],
) -> Network:
    """Draws a random network.

    Args:
        dim: components of the input.
        num_nodes: nodes.
        connections: connections into each node, of strengths uniform from -1 to 1 before scaling.
        spectral_radius: modulus of the largest eigenvalue of A after scaling.
        input_scale: bound of the uniform input weights.
        bias_scale: bound of the uniform biases.
        key: random key.
    """
    check_arrays(
        f"a network of {num_nodes} nodes", (num_nodes, num_nodes), (num_nodes, num_nodes)
    )  # and its eigenvalues
    drawn = _draw_network(key, dim=dim, num_nodes=num_nodes, connections=connections)
    matrix = np.zeros((num_nodes, num_nodes))
    matrix[np.arange(num_nodes)[:, None], np.asarray(drawn.sources)] = np.asarray(drawn.strengths)
    radius = max(abs(np.linalg.eigvals(matrix)))
    return Network(
        drawn.sources,
        drawn.strengths * (spectral_radius / radius),
        drawn.inputs * input_scale,
        drawn.bias * bias_scale,
    )


@partial(jax.jit, static_argnames=("dim", "num_nodes", "connections"))
def _draw_network(key: Key[Array, ""], *, dim: int, num_nodes: int, connections: int) -> Network:
    """Draws a network of scale one."""
    keys = jax.random.split(key, 4)
    others = jax.vmap(lambda key: jax.random.choice(key, num_nodes, (connections,), replace=False))
    return Network(
        others(jax.random.split(keys[0], num_nodes)),
        jax.random.uniform(keys[1], (num_nodes, connections), minval=-1),
        jax.random.uniform(keys[2], (num_nodes, dim), minval=-1),
        jax.random.uniform(keys[3], (num_nodes,), minval=-1),
    )


@checked
def fit_reservoir(
    values: Float[Any, "time dim"],
    *,
    key: Key[Array, ""],
    num_nodes: int = 500,
    connections: int = 6,
    spectral_radius: Scalar = 0.9,
    input_scale: Scalar = 0.5,
    bias_scale: Scalar = 0.5,
    leak: Scalar = 1.0,
    penalty: Scalar = 1e-6,
    num_discarded: int = 100,
    squared: bool = True,
) -> Reservoir:
    """Fits a reservoir to one series, in closed form.

        W, b = argmin sum_n |z_(n+1) - W' g_n - b|^2 + penalty |W|^2

    Args:
        values: a series, evenly sampled.
        key: random key for the network.
        num_nodes: nodes of the network.
        connections: connections into each node.
        spectral_radius: modulus of the largest eigenvalue of A.
        input_scale: bound of the uniform weights W_in.
        bias_scale: bound of the uniform biases c.
        leak: 1 for no leak.
        penalty: for the sum over all samples.
        num_discarded: first steps, in which the network forgets its initial state.
        squared: whether every second component of r_n is squared in the features.

    Returns:
        The forecaster.

    Raises:
        InputError: for sizes below one, more connections than nodes, a penalty below zero, or a
            series that is too short or not finite.

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> wave = jnp.sin(0.3 * jnp.arange(500.0))[:, None]
        >>> cell = jaxcast.forecasters.fit_reservoir(wave, num_nodes=50, penalty=1e-4, key=jax.random.key(0))
        >>> forecast = jaxcast.forecast(cell, wave[:200], num_leads=50).forecast
        >>> bool(abs(forecast - wave[200:250]).max() < 0.05)
        True
    """
    if not 1 <= connections <= num_nodes or num_discarded < 0:
        raise InputError(
            f"expected 1 to num_nodes connections and num_discarded of at least 0, got {connections} connections, "
            f"{num_nodes} nodes and {num_discarded} discarded"
        )
    states = as_series(values, num_discarded + 3, penalty)
    network = random_network(
        states.shape[1],
        num_nodes,
        connections=connections,
        spectral_radius=spectral_radius,
        input_scale=input_scale,
        bias_scale=bias_scale,
        key=key,
    )
    network = jax.tree.map(lambda a: a.astype(states.dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, network)
    readout, standardizer = _fit_reservoir(network, states, leak, penalty, num_discarded=num_discarded, squared=squared)
    return Reservoir(network, readout, standardizer, leak, squared)


@partial(jax.jit, static_argnames=("num_discarded", "squared"))
def _fit_reservoir(
    network: Network, states: Array, leak: Scalar, penalty: Scalar, *, num_discarded: int, squared: bool
) -> tuple[Readout, Standardizer]:
    standardizer = standardizer_of(states)
    scaled = standardizer.apply(states)

    def step(nodes: Array, one: Array) -> tuple[Array, Array]:
        nodes = excite(network, leak, nodes, one)
        return nodes, _read(nodes, one, squared)

    _, features = jax.lax.scan(step, jnp.zeros(network.bias.shape, states.dtype), scaled[:-1])
    return fit_readout(features[num_discarded:], scaled[num_discarded + 1 :], penalty), standardizer


def _read(nodes: Array, scaled: Array, squared: bool) -> Array:
    """Computes the features of the readout."""
    # With tanh alone a network cannot tell a state from its mirror image (Pathak et al., 2018).
    if squared:
        nodes = nodes.at[1::2].multiply(nodes[1::2])
    return jnp.concatenate([scaled, nodes])
