"""Features of a hybrid's readout: functions of what a site sees."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_floats, check_positive, check_whole, sizes_of
from jaxcast.forecasters.readout import Readout
from jaxcast.forecasters.reservoir import Network, excite
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.numerics.ridge import gaussian_kernel
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.registry import Saveable
from jaxcast.types import Scalar

MARGIN = 1.1
"""How far variables may leave their training range before they are clipped."""


class FeatureMap(Saveable):
    """Base of maps from what a site sees to the features of a linear readout.

    What it sees is itself among the features. A map may have a state, such as the nodes of a
    reservoir.
    """

    @abstractmethod
    def init(self, num_sites: int) -> Any:
        """Returns the state before anything was seen.

        Args:
            num_sites: sites of the field.
        """

    @abstractmethod
    def __call__(self, state: Any, seen: Float[Array, "site seen"]) -> tuple[Any, Float[Array, "site feature"]]:
        """Computes the features.

        Args:
            state: before the step.
            seen: what each site sees.

        Returns:
            The state after the step, and the features.
        """


class NoMap(FeatureMap, FrozenPytree, name="hybrid_linear"):
    """What a site sees, as it is."""

    def init(self, num_sites: int) -> Any:
        return ()

    def __call__(self, state: Any, seen: Float[Array, "site seen"]) -> tuple[Any, Float[Array, "site feature"]]:
        return state, seen


class PolynomialMap(FeatureMap, Checked, FrozenPytree, name="hybrid_polynomials"):
    """All that a site sees, and all monomials of degree 2 to p in the first variables of it.

    In the monomials these are clipped a little outside of their training range.

    Args:
        low: the least training value of each variable.
        high: the greatest.
        degree: p.
    """

    low: Float[Array, " variable"]
    high: Float[Array, " variable"]
    degree: int = static()

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".low": "variable", ".high": "variable"})
        check_whole("degree", self.degree, most=100)

    def init(self, num_sites: int) -> Any:
        return ()

    def __call__(self, state: Any, seen: Float[Array, "site seen"]) -> tuple[Any, Float[Array, "site feature"]]:
        num_variables = len(self.low)
        margin = (MARGIN - 1) / 2 * (self.high - self.low)
        variables = jnp.clip(seen[:, :num_variables], self.low - margin, self.high + margin)
        curved = monomials(num_variables, self.degree)[num_variables + 1 :]
        return state, jnp.concatenate([seen, products(variables, curved)], -1) if curved else seen


class KernelMap(FeatureMap, Checked, FrozenPytree, name="hybrid_kernel"):
    """All that a site sees, and Gaussian kernels of it around centres.

    Args:
        centres: seen in training.
        length: of the kernel.
    """

    centres: Float[Array, "centre seen"]
    length: Scalar

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".centres": "centre seen", ".length": ""})
        check_positive(length=self.length)

    def init(self, num_sites: int) -> Any:
        return ()

    def __call__(self, state: Any, seen: Float[Array, "site seen"]) -> tuple[Any, Float[Array, "site feature"]]:
        return state, jnp.concatenate([seen, gaussian_kernel(seen, self.centres, self.length)], -1)


class NetworkMap(FeatureMap, Checked, FrozenPytree, name="hybrid_network"):
    """All that a site sees, and the second hidden layer of a network.

        h = gelu(W_2' gelu(W_1' x + b_1) + b_2)

    Args:
        first: W_1 and b_1.
        second: W_2 and b_2.
    """

    first: Readout
    second: Readout

    def check(self) -> None:
        """Raises InputError for arrays that do not fit each other."""
        check_floats(self)
        shapes = {".first.weights": "seen hidden", ".first.bias": "hidden"}
        sizes_of(self, shapes | {".second.weights": "hidden out", ".second.bias": "out"})

    def init(self, num_sites: int) -> Any:
        return ()

    def __call__(self, state: Any, seen: Float[Array, "site seen"]) -> tuple[Any, Float[Array, "site feature"]]:
        hidden = jax.nn.gelu(self.second(jax.nn.gelu(self.first(seen))))
        return state, jnp.concatenate([seen, hidden], -1)


class ReservoirMap(FeatureMap, Checked, FrozenPytree, name="hybrid_reservoir"):
    """All that a site sees, and the nodes of a reservoir that it drives; sites share the network.

        r_n = (1 - leak) r_(n-1) + leak tanh(A r_(n-1) + W_in x_n + c)

    Every second node is squared.

    Args:
        network: A, W_in and c.
        leak: 1 for no leak.
    """

    network: Network
    leak: Scalar

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self, whole=(".network.sources",))
        shapes = {"sources": "node connection", "strengths": "node connection", "inputs": "node seen", "bias": "node"}
        sizes = sizes_of(self, {f".network.{name}": axes for name, axes in shapes.items()} | {".leak": ""})
        for number in (int(self.network.sources.min()), int(self.network.sources.max())):
            check_whole("every source", number, least=0, most=sizes["node"] - 1)
        check_positive(leak=self.leak)

    def init(self, num_sites: int) -> Any:
        return jnp.zeros((num_sites, *self.network.bias.shape), self.network.bias.dtype)

    def __call__(self, state: Any, seen: Float[Array, "site seen"]) -> tuple[Any, Float[Array, "site feature"]]:
        nodes = jax.vmap(excite, (None, None, 0, 0))(self.network, self.leak, state, seen)
        # With tanh alone a network cannot tell a state from its mirror image (Pathak et al., 2018).
        features = nodes.at[:, 1::2].multiply(nodes[:, 1::2])
        return nodes, jnp.concatenate([seen, features], -1)
