"""Diagonal noise: stochastic differential equations dX_i = f_i(t, X) dt + g_i(X_i) dW_i.

The W_i are independent Brownian motions, and the integrals are those of Ito.
"""

import abc
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.conversion import as_parameter
from jaxcast.dynamics.systems import Components, System
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree
from jaxcast.tracing import is_traced


class Noise(FrozenPytree):
    """Noise that enters each component on its own, with an amplitude g_i(X_i).

    A subclass writes `amplitude`, elementwise, as `System.vector_field` is written.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> class Demographic(jaxcast.dynamics.Noise):
        ...     scale: jaxcast.dynamics.Parameter = 0.1
        ...     def amplitude(self, u):
        ...         return jax.tree.map(lambda x: self.scale * jnp.sqrt(jnp.abs(x)), u)
        >>> [round(float(g), 2) for g in Demographic()((1.0, 4.0))]
        [0.1, 0.2]
    """

    @abc.abstractmethod
    def amplitude(self, u: Components) -> Components:
        """Computes the amplitudes g_i(u_i).

        Args:
            u: the components of one state or of many.

        Returns:
            One for each component; for noise that does not depend on the state, numbers suffice.
        """

    def __call__(self, u: Components) -> Components:
        """Computes the amplitudes of a state.

        Args:
            u: the components.

        Returns:
            One for each.
        """
        return self.amplitude(u)


class AdditiveNoise(Noise, name="additive"):
    """Noise of the same amplitude in every state.

        dX_i = f_i(t, X) dt + scale_i dW_i

    Args:
        scale: the standard deviation per square root of a time unit: one for all components, or one
            for each.

    Raises:
        InputError: for a scale that is negative or not finite.

    Example:
        >>> import jax, jaxcast
        >>> times, states = jaxcast.simulate(
        ...     jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=5,
        ...     noise=jaxcast.dynamics.AdditiveNoise(0.5), key=jax.random.key(0),
        ... )
        >>> states.shape
        (5, 3)
    """

    scale: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _numbers(self.scale))

    def amplitude(self, u: Components) -> Components:
        return _for_each(self.scale, u)


class MultiplicativeNoise(Noise, name="multiplicative"):
    """Noise in proportion to each component.

        dX_i = f_i(t, X) dt + scale_i X_i dW_i

    Args:
        scale: the relative standard deviation per square root of a time unit: one for all
            components, or one for each.

    Raises:
        InputError: for a scale that is negative or not finite.

    Example:
        >>> import jaxcast
        >>> noise = jaxcast.dynamics.MultiplicativeNoise([0.5, 0.0])
        >>> [float(g) for g in noise((2.0, 3.0))]
        [1.0, 0.0]
    """

    scale: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _numbers(self.scale))

    def amplitude(self, u: Components) -> Components:
        return jax.tree.map(lambda g, x: g * x, _for_each(self.scale, u), u)


def _numbers(scale: Any) -> Any:
    """Returns a number, or a tuple of numbers: leaves of their own, as lanes come first in arrays."""
    scale = as_parameter("scale", scale)
    if np.ndim(scale) > 1:
        raise InputError(f"scale must be one number, or one for each component, got shape {np.shape(scale)}")
    if not is_traced(scale) and not (np.isfinite(scale) & (np.asarray(scale) >= 0)).all():
        raise InputError(f"scale of the noise must be finite and at least 0, got {shown(np.asarray(scale).tolist())}")
    if isinstance(scale, np.ndarray):
        scale = scale.tolist()
    return tuple(scale) if np.ndim(scale) else scale


def _for_each(scale: Any, u: Components) -> Components:
    """Returns a scale for each component, in the form of the state."""
    if isinstance(scale, tuple) and len(scale) != len(u):
        raise InputError(f"expected a scale of the noise for each of {len(u)} components, got {len(scale)}")
    if isinstance(u, tuple | list):
        return tuple(scale) if isinstance(scale, tuple) else (scale,) * len(u)
    if not isinstance(scale, tuple):
        return jnp.asarray(scale)
    together = jnp.stack(scale)
    return together.reshape(*together.shape, *[1] * (jnp.asarray(u).ndim - together.ndim))


class NoisySystem(NamedTuple):
    """A system with noise, in the place of a system in `solve`.

    Args:
        system: one system, or a stack, in which all models then have the same path of noise.
        noise: how much.
        seed: two words of 32 bits; arrays if each state has its own path.
    """

    system: System
    noise: Noise
    seed: tuple[Any, Any]

    @property
    def dim(self) -> int:
        """The number of components of a state."""
        return self.system.dim

    def __call__(self, t: Any, u: Components) -> Components:
        """Returns the drift, with the amplitudes added: something of the shape of a state's change."""
        drift = self.system(t, u)
        amplitude = self.noise.amplitude(tuple(u) if isinstance(drift, tuple | list) else jnp.asarray(u))
        if isinstance(drift, tuple | list):
            return tuple(f + g for f, g in zip(drift, amplitude, strict=True))
        return jnp.asarray(drift) + jnp.asarray(amplitude)


AnySystem: TypeAlias = System | NoisySystem
"""What `solve` integrates."""


def with_noise(system: System, noise: Noise | None, key: Any) -> AnySystem:
    """Joins a system and its noise.

    Args:
        system: one system, or a stack.
        noise: how much; None for none.
        key: for the noise; several if each state has its own.

    Returns:
        What `solve` integrates.

    Raises:
        InputError: for noise without a key, or a key without noise.
    """
    if noise is None and key is None:
        return system
    if noise is None or key is None:
        raise InputError(
            "noise needs a key, and a key noise: give both, such as noise=jaxcast.dynamics.AdditiveNoise(0.5), "
            "key=jax.random.key(0)"
        )
    return NoisySystem(system, noise, _words(key))


def check_one_key(key: Any) -> None:
    """Refuses several keys where one trajectory is simulated.

    Args:
        key: for the noise, or None.

    Raises:
        InputError: with their number.
    """
    if key is not None and np.ndim(key) != (0 if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else 1):
        raise InputError(f"expected one key for one trajectory, got {len(key)}; simulate_ensemble takes several")


@jax.jit
def _words(key: Any) -> tuple[Any, Any]:
    """Draws two words of each key."""
    typed = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    words = jax.vmap(lambda one: jax.random.bits(one, (2,), jnp.uint32))(typed.reshape(-1))
    return words[:, 0].reshape(typed.shape), words[:, 1].reshape(typed.shape)
