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
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import DeterministicCell, Input, Output
from jaxcast.types import Scalar


class Network(NamedTuple):
    """The fixed random part of a reservoir: who each node hears (node, connection) and how loudly, what it hears of the
    input (node, dim), and its bias (node,)."""

    sources: Int[Array, "node connection"]
    strengths: Float[Array, "node connection"]
    inputs: Float[Array, "node dim"]
    bias: Float[Array, " node"]


class Reservoir(DeterministicCell, Checked, FrozenPytree, name="reservoir"):
    """An echo state network: a fixed sparse random recurrent layer, read out by ridge regression.

        r_n = (1 - leak) r_(n-1) + leak tanh(A r_(n-1) + W_in z_n + c),    u_(n+1) = mean + std * (W' g_n + b)
        g_n = [z_n, r_n], with every second component of r_n squared where `squared`

    with z the standardised values. Made by `fit_reservoir`. It sees no candidates. It forgets how it started only slowly:
    give a forecast a history of many values (tens to hundreds), or it starts from a state that it was not trained on.

    Source: Jaeger, GMD Report 148 (2001); Pathak, Hunt, Girvan, Lu and Ott, Phys. Rev. Lett. 120, 024102 (2018).

    Args:
        network: A, W_in and c. readout: W and b. standardizer: of the training values. leak: 1 for none.

    Raises:
        InputError: when rolled with values of another length.

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
        """A reservoir at rest."""
        check_dim(value, self.standardizer)
        return jnp.zeros(self.network.bias.shape, value.dtype)

    @checked
    def __call__(self, carry: Float[Array, " node"], x: Input) -> tuple[Float[Array, " node"], Output]:
        scaled = self.standardizer.apply(x.value)
        nodes = excite(self.network, self.leak, carry, scaled)
        forecast = self.standardizer.mean + self.standardizer.std * self.readout(_read(nodes, scaled, self.squared))
        return nodes, Output(forecast.astype(x.value.dtype), {})


def excite(
    network: Network, leak: Scalar, nodes: Float[Array, " node"], scaled: Float[Array, " dim"]
) -> Float[Array, " node"]:
    """The nodes one step later, having heard each other and the standardised input."""
    heard = (network.strengths * nodes[network.sources]).sum(-1)
    heard = heard + jnp.matmul(network.inputs, scaled, precision="highest") + network.bias
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
    """A network in which every node hears so many others, each as loudly as a uniform draw from -1 to 1, scaled until the
    largest eigenvalue of A has the modulus `spectral_radius`; inputs and biases are uniform within their scales."""
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
    """Of scale one; strengths as they were drawn."""
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
    """A reservoir trained on one series, in closed form.

        W, b = argmin sum_n |z_(n+1) - W' g_n - b|^2 + penalty |W|^2

    Args:
        values: a series sampled at even intervals. key: for the random network. num_nodes, connections: the network's
            size, and how many nodes each hears. spectral_radius: the modulus of A's largest eigenvalue. input_scale,
            bias_scale: W_in and c are uniform within them. penalty: for the sum over all samples. num_discarded: the
            first steps, in which the network forgets that it began at rest. squared: see `Reservoir`.

    Raises:
        InputError: for sizes below one, more connections than nodes, a penalty below zero, or a series that
            is too short or not finite.

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
    """The features; with tanh alone a network cannot tell a state from its mirror image (Pathak et al., 2018)."""
    if squared:
        nodes = nodes.at[1::2].multiply(nodes[1::2])
    return jnp.concatenate([scaled, nodes])
