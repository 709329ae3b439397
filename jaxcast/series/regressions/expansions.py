"""Feature maps for lag regressions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_whole, sizes_of
from jaxcast.errors import InputError
from jaxcast.forecasters.reservoir import Network, excite, random_network
from jaxcast.limits import check_arrays
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.types import Scalar

Expansion = Callable[[Array], Array]


class LinearFeatures(FrozenPytree, name="linear_features"):
    """The features themselves: a linear regression.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.series.LinearFeatures()(jnp.asarray([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """

    @checked
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch feature"]:
        return features


class PolynomialFeatures(FrozenPytree, name="polynomial_features"):
    """All products of 1 to `degree` features, as in next-generation reservoir computing (`NVAR`).

    Args:
        degree: of the polynomial.

    Raises:
        InputError: for a degree below one.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.series.PolynomialFeatures(2)(jnp.asarray([2.0, 3.0])).tolist()
        [2.0, 3.0, 4.0, 6.0, 9.0]
    """

    degree: int = static()

    def __post_init__(self) -> None:
        check_whole("degree", self.degree)

    @checked
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch monomial"]:
        return products(features, monomials(features.shape[-1], self.degree)[1:])


class RandomFourierFeatures(Checked, FrozenPytree, name="random_fourier_features"):
    """Random cosines, whose inner products approach a Gaussian kernel; by `random_fourier_features`.

        phi(x) = [ sqrt(2 d / m) cos(W x + c), linear x ]
        phi(x) . phi(y) ~ d exp(-bandwidth^2 |x - y|^2 / 2 d) + linear^2 x . y

    with d features x and m cosines: kernel ridge regression for any number of samples.

    Args:
        frequencies: W for a bandwidth of sqrt(d).
        phases: c.
        bandwidth: the larger, the finer the kernel.
        linear: factor of the features themselves.

    Source:
        Rahimi and Recht (2007).

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> expansion = jaxcast.series.random_fourier_features(
        ...     2, 4000, bandwidth=1.0, linear=0.0, key=jax.random.key(0)
        ... )
        >>> x, y = expansion(jnp.asarray([[0.0, 0.0], [1.0, 1.0]]))
        >>> bool(abs(x @ y / 2 - jnp.exp(-0.5)) < 0.05)
        True
    """

    frequencies: Float[Array, "feature cosine"]
    phases: Float[Array, " cosine"]
    bandwidth: Scalar
    linear: Scalar

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a expansion."""
        check_floats(self)
        sizes_of(self, {".frequencies": "feature cosine", ".phases": "cosine", ".bandwidth": "", ".linear": ""})

    @checked
    @highest
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch expanded"]:
        size, num_cosines = self.frequencies.shape
        waves = jnp.cos(features @ (self.frequencies * (self.bandwidth / size**0.5)) + self.phases)
        return jnp.concatenate([waves * (2 * size / num_cosines) ** 0.5, features * self.linear], -1)


@checked
def random_fourier_features(
    num_features: int, num_cosines: int, *, bandwidth: Scalar, linear: Scalar = 1.0, key: Key[Array, ""]
) -> RandomFourierFeatures:
    """Draws random cosines of a Gaussian kernel, beside the features themselves.

    Args:
        num_features: d.
        num_cosines: m.
        bandwidth: the larger, the finer the kernel.
        linear: factor of the features themselves; 0 for none.
        key: for W and c.

    Returns:
        The feature map.

    Example:
        >>> import jax, jaxcast
        >>> jaxcast.series.random_fourier_features(3, 100, bandwidth=0.5, key=jax.random.key(0)).frequencies.shape
        (3, 100)
    """
    check_arrays(f"{num_cosines} cosines of {num_features} features", (num_features, num_cosines))
    of_waves, of_phases = jax.random.split(key)
    frequencies = jax.random.normal(of_waves, (num_features, num_cosines))
    phases = jax.random.uniform(of_phases, (num_cosines,), maxval=2 * jnp.pi)
    return RandomFourierFeatures(frequencies, phases, jnp.asarray(bandwidth), jnp.asarray(linear))


class ReservoirFeatures(FrozenPytree):
    """The state of a reservoir after it has run over a window from rest, and the features.

        r_k = (1 - leak) r_(k+1) + leak tanh(A r_(k+1) + W_in x_k + c),    phi(x) = [r_0, x]

    with x_k the groups at lag k, oldest first; all lags must be there, 0 to num_lags - 1. Made by
    `random_reservoir_features`.

    Args:
        network: A, W_in and c.
        leak: 1 for none.
        num_lags: lags of each group.

    Source:
        See `Reservoir`, whose network it is.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> echoes = jaxcast.series.random_reservoir_features(
        ...     num_features=6, num_lags=3, num_nodes=10, key=jax.random.key(0)
        ... )
        >>> echoes(jnp.ones((4, 6))).shape
        (4, 16)
    """

    network: Network
    leak: Scalar
    num_lags: int = static()

    @checked
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch expanded"]:
        def run(inputs: Float[Array, "lag group"]) -> Array:
            rest = jnp.zeros(self.network.bias.shape, inputs.dtype)
            return jax.lax.scan(lambda r, x: (excite(self.network, self.leak, r, x), None), rest, inputs)[0]

        newest_first = features.reshape(-1, features.shape[-1] // self.num_lags, self.num_lags)
        nodes = jax.vmap(run)(jnp.flip(jnp.swapaxes(newest_first, 1, 2), 1))
        return jnp.concatenate([nodes.reshape(*features.shape[:-1], -1), features], -1)


@checked
def random_reservoir_features(
    *, num_features: int, num_lags: int, num_nodes: int, leak: Scalar = 0.5, key: Key[Array, ""]
) -> ReservoirFeatures:
    """Draws a random reservoir for windows.

    Args:
        num_features: of the inputs, all lags of every group.
        num_lags: lags of each group.
        num_nodes: of the reservoir.
        leak: 1 for none.
        key: for A, W_in and c.

    Returns:
        The feature map.

    Raises:
        InputError: for a number of features that is no multiple of num_lags.

    Example:
        >>> import jax, jaxcast
        >>> jaxcast.series.random_reservoir_features(
        ...     num_features=6, num_lags=3, num_nodes=10, key=jax.random.key(0)
        ... ).network.inputs.shape
        (10, 2)
    """
    if num_features % num_lags:
        raise InputError(f"expected {num_lags} lags of each group, and no other feature, got {num_features} features")
    network = random_network(num_features // num_lags, num_nodes, connections=min(6, num_nodes), key=key)
    return ReservoirFeatures(network, jnp.asarray(leak), num_lags)


def expansion_size(expansion: Expansion, num_features: int) -> int:
    """Returns the output size of a feature map.

    Args:
        expansion: the feature map.
        num_features: its input size.
    """
    return jax.eval_shape(expansion, jax.ShapeDtypeStruct((num_features,), jnp.result_type(float))).shape[-1]
