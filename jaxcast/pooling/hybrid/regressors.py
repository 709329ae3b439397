"""Regressors of a hybrid: how the features of its readout are found."""

import dataclasses
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from jaxcast.checks import check_number, check_sizes, check_whole
from jaxcast.errors import InputError
from jaxcast.forecasters.readout import Readout
from jaxcast.forecasters.reservoir import Network, random_network
from jaxcast.pooling.hybrid.feature_maps import FeatureMap, KernelMap, NetworkMap, PolynomialMap, ReservoirMap


class SeenSamples(NamedTuple):
    """What sites see along a trajectory, and what the base misses next.

    Args:
        seen: by each site at each time, the states first.
        targets: the base's errors that follow, scaled.
        num_states: entries of `seen` that are states.
    """

    seen: Float[Array, "sample seen"]
    targets: Float[Array, "sample component"]
    num_states: int


class Regressor(ABC):
    """Base of a hybrid's regressors: `make` finds the features, a ridge the readout."""

    @property
    def num_discarded(self) -> int:
        """First steps, in which the features forget their initial state."""
        return 0

    @abstractmethod
    def make(self, samples: SeenSamples, key: Key[Array, ""]) -> FeatureMap:
        """Makes the features.

        Args:
            samples: of training.
            key: random key.

        Returns:
            The map from what a site sees to its features.
        """


@dataclasses.dataclass(frozen=True)
class PolynomialRegressor(Regressor):
    """All monomials of the states that a site sees, up to a degree; the rest enters linearly.

    It makes a nonlinear vector autoregression.

    Args:
        degree: the highest degree.

    Raises:
        InputError: for a degree below one.

    Source:
        Gauthier, Bollt, Griffith and Barbosa, Nature Communications 12, 5564 (2021).

    Example:
        >>> import jaxcast
        >>> jaxcast.pooling.PolynomialRegressor(degree=3)
        PolynomialRegressor(degree=3)
    """

    degree: int = 2

    def __post_init__(self) -> None:
        check_whole("degree", self.degree)

    def make(self, samples: SeenSamples, key: Key[Array, ""]) -> FeatureMap:
        states = samples.seen[:, : samples.num_states]
        return PolynomialMap(states.min(0), states.max(0), self.degree)


@dataclasses.dataclass(frozen=True)
class KernelRegressor(Regressor):
    """Gaussian kernels around training samples, evenly spaced in time.

    Args:
        num_centres: how many.
        bandwidth: in units of the root mean square distance of the samples from their mean.

    Raises:
        InputError: for no centres, or a bandwidth that is not positive.

    Source:
        Hamzi and Owhadi, Physica D 421, 132817 (2021), for chaotic series.

    Example:
        >>> import jaxcast
        >>> jaxcast.pooling.KernelRegressor(num_centres=200)
        KernelRegressor(num_centres=200, bandwidth=1.0)
    """

    num_centres: int = 1000
    bandwidth: float | int = 1.0

    def __post_init__(self) -> None:
        check_whole("num_centres", self.num_centres)
        check_number("bandwidth", self.bandwidth, above=0)

    def make(self, samples: SeenSamples, key: Key[Array, ""]) -> FeatureMap:
        seen = samples.seen
        rows = np.unique(np.linspace(0, len(seen) - 1, self.num_centres).round().astype(int))
        size = jnp.sqrt(((seen - seen.mean(0)) ** 2).sum(-1).mean())
        return KernelMap(seen[rows], self.bandwidth * size)


@dataclasses.dataclass(frozen=True)
class ReservoirRegressor(Regressor):
    """The nodes of a fixed random recurrent network, which everything that a site sees drives.

    Args:
        num_nodes: nodes of the network.
        connections: connections into each node.
        spectral_radius: modulus of the largest eigenvalue of A.
        input_scale: bound of the uniform input weights.
        bias_scale: bound of the uniform biases.
        leak: 1 for no leak.
        num_discarded: first steps, in which the network forgets its initial state; a forecast needs
            as many values as history to be as good as in training.

    Raises:
        InputError: for sizes or scales out of range, or more connections than nodes.

    Source:
        Pathak et al., Chaos 28, 041101 (2018).

    Example:
        >>> import jaxcast
        >>> jaxcast.pooling.ReservoirRegressor(num_nodes=300).leak
        1.0
    """

    num_nodes: int = 300
    connections: int = 6
    spectral_radius: float | int = 0.5
    input_scale: float | int = 0.1
    bias_scale: float | int = 0.5
    leak: float | int = 1.0
    num_discarded: int = 20

    def __post_init__(self) -> None:
        check_sizes(num_nodes=self.num_nodes, connections=self.connections)
        check_whole("num_discarded", self.num_discarded, least=0)
        for name in ("spectral_radius", "input_scale", "bias_scale"):
            check_number(name, vars(self)[name], least=0)
        check_number("leak", self.leak, above=0, most=1)
        if self.connections > self.num_nodes:
            raise InputError(f"expected at most {self.num_nodes} connections, as many as nodes, got {self.connections}")

    def make(self, samples: SeenSamples, key: Key[Array, ""]) -> FeatureMap:
        dtype = samples.seen.dtype
        network = random_network(
            samples.seen.shape[1],
            self.num_nodes,
            connections=self.connections,
            spectral_radius=self.spectral_radius,
            input_scale=self.input_scale,
            bias_scale=self.bias_scale,
            key=key,
        )
        numbers = (jnp.asarray(a, dtype) for a in network[1:])
        return ReservoirMap(Network(network.sources, *numbers), jnp.asarray(self.leak, dtype))


@dataclasses.dataclass(frozen=True)
class NetworkRegressor(Regressor):
    """Two hidden layers, trained on one-step errors.

    Adam, whose rate falls to zero along a half cosine, trains the layers and a linear readout,
    which a ridge then replaces.

    Args:
        hidden_size: units of each layer.
        num_optimizer_steps: steps of Adam.
        learning_rate: Adam's, before its decay.
        weight_decay: at each step every parameter shrinks by this times the learning rate.
        batch_size: samples of a minibatch.

    Raises:
        InputError: for sizes or rates out of range.

    Example:
        >>> import jaxcast
        >>> jaxcast.pooling.NetworkRegressor(hidden_size=16).num_optimizer_steps
        4000
    """

    hidden_size: int = 64
    num_optimizer_steps: int = 4000
    learning_rate: float | int = 3e-3
    weight_decay: float | int = 1e-2
    batch_size: int = 512

    def __post_init__(self) -> None:
        check_sizes(
            hidden_size=self.hidden_size, num_optimizer_steps=self.num_optimizer_steps, batch_size=self.batch_size
        )
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, least=0)

    def make(self, samples: SeenSamples, key: Key[Array, ""]) -> FeatureMap:
        return _trained(samples.seen, samples.targets, key, regressor=self)


@partial(jax.jit, static_argnames="regressor")
def _trained(seen: Array, targets: Array, key: Key[Array, ""], *, regressor: NetworkRegressor) -> NetworkMap:
    """Trains a network in single precision, which is enough for features."""
    size, dtype = regressor.hidden_size, seen.dtype
    seen, targets = seen.astype(jnp.float32), targets.astype(jnp.float32)
    keys = jax.random.split(key, 3)
    layers = NetworkMap(_layer(keys[0], seen.shape[1], size), _layer(keys[1], size, size))
    zeros = Readout(
        jnp.zeros((seen.shape[1] + size, targets.shape[1]), jnp.float32), jnp.zeros(targets.shape[1], jnp.float32)
    )

    def loss(model: tuple[NetworkMap, Readout], rows: Array) -> Array:
        _, features = model[0]((), seen[rows])
        return ((model[1](features) - targets[rows]) ** 2).mean()

    rate = optax.cosine_decay_schedule(regressor.learning_rate, regressor.num_optimizer_steps)
    optimizer = optax.adamw(rate, weight_decay=regressor.weight_decay)

    def update(state: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
        model, moments = state
        rows = jax.random.randint(key, (regressor.batch_size,), 0, len(seen))
        changes, moments = optimizer.update(jax.grad(loss)(model, rows), moments, model)
        return (optax.apply_updates(model, changes), moments), None

    model = (layers, zeros)
    steps = jax.random.split(keys[2], regressor.num_optimizer_steps)
    ((layers, _), _), _ = jax.lax.scan(update, (model, optimizer.init(model)), steps)
    return jax.tree.map(lambda a: a.astype(dtype), layers)


def _layer(key: Key[Array, ""], input_size: int, size: int) -> Readout:
    weights = jax.random.normal(key, (input_size, size), jnp.float32) / input_size**0.5
    return Readout(weights, jnp.zeros(size, jnp.float32))
