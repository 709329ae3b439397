"""Systems with a linear part, which exponential and implicit steps treat apart."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.dynamics.systems import Components, System
from jaxcast.precision import highest
from jaxcast.types import Scalar


class SplitSystem(System):
    """A system du/dt = L u + N(t, u), in coordinates in which L is simple.

    Derive yours from `SpectralSystem` or `SemilinearSystem`.
    """

    @property
    @abc.abstractmethod
    def is_diagonal(self) -> bool:
        """Whether L multiplies each coordinate with a number."""

    @abc.abstractmethod
    def to_modes(self, u: Array) -> Array:
        """Computes the coordinates of a state.

        Args:
            u: the components, which come first.

        Returns:
            The coordinates, which come first.
        """

    @abc.abstractmethod
    def to_points(self, modes: Array) -> Array:
        """Computes a state from its coordinates.

        Args:
            modes: the coordinates, which come first.

        Returns:
            The components, which come first.
        """

    @abc.abstractmethod
    def linear_operator(self) -> Array:
        """Computes L from parameters that are numbers.

        Returns:
            The numbers of a diagonal, or a matrix, with a trailing axis in a stack.
        """

    @abc.abstractmethod
    def nonlinear_slopes(self, t: Scalar, modes: Array) -> Array:
        """Computes N(t, u) from parameters that are numbers.

        Args:
            t: the time.
            modes: the coordinates.

        Returns:
            Its coordinates, with a trailing axis in a stack.
        """

    def vector_field(self, t: Scalar, u: Components) -> Components:
        """Computes du/dt.

        Args:
            t: the time.
            u: the components.

        Returns:
            The derivative.
        """
        modes = self.to_modes(jnp.asarray(u))
        slopes = self.nonlinear_slopes(t, modes)
        modes = modes.reshape(*modes.shape, *[1] * (slopes.ndim - modes.ndim))
        return self.to_points(self.product(self.linear_operator(), modes) + slopes)

    @highest
    def product(self, operator: Array, modes: Array) -> Array:
        """Applies L, or a function of it.

        Args:
            operator: as `linear_operator` returns it.
            modes: the coordinates.

        Returns:
            The coordinates of the product.
        """
        if self.is_diagonal:
            return operator.reshape(*operator.shape, *[1] * (modes.ndim - operator.ndim)) * modes
        if operator.ndim == 2:
            return jnp.tensordot(operator, modes, 1)
        return jnp.einsum("ij...,j...->i...", operator, modes)


class SemilinearSystem(SplitSystem):
    """A system du/dt = A u + N(t, u) with a matrix A, which may be stiff.

    It is integrated by an exponential Runge-Kutta method of order four (ETDRK4), which solves the
    linear part exactly: h is not limited by the fastest decay. A subclass names its `components`
    and writes both parts; parameters are as in `System`.

    Source:
        Cox and Matthews, Journal of Computational Physics 176, 430-455 (2002).

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> class Stiff(jaxcast.dynamics.SemilinearSystem):
        ...     components = ("slow", "fast")
        ...     rate: jaxcast.dynamics.Parameter = 1000.0
        ...     def linear_part(self):
        ...         return jnp.stack([jnp.stack([-1.0, 0.0]), jnp.stack([self.rate, -self.rate])])
        ...     def nonlinear_part(self, t, u):
        ...         return jnp.stack([jnp.sin(u[1]), 0 * u[1]])
        >>> times, states = jaxcast.simulate(Stiff(), [1.0, 0.0], num_samples=3, dt=0.5, h=0.1)
        >>> bool(abs(states[-1, 0] - states[-1, 1]) < 1e-2)  # the fast one follows
        True
    """

    @abc.abstractmethod
    def linear_part(self) -> Array:
        """Computes A of one system from parameters that are numbers.

        Returns:
            The matrix, (dim, dim).
        """

    @abc.abstractmethod
    def nonlinear_part(self, t: Scalar, u: Array) -> Array:
        """Computes N(t, u) from parameters that are numbers, elementwise as `System.vector_field`.

        Args:
            t: the time.
            u: the components, which come first.

        Returns:
            The components of N, which come first.
        """

    @property
    def is_diagonal(self) -> bool:
        """False."""
        return False

    def to_modes(self, u: Array) -> Array:
        """Returns the state.

        Args:
            u: the components.
        """
        return u

    def to_points(self, modes: Array) -> Array:
        """Returns the state.

        Args:
            modes: the components.
        """
        return modes

    def linear_operator(self) -> Array:
        """Computes A.

        Returns:
            The matrix; with a trailing axis in a stack.
        """
        axes: Any = jax.tree.map(lambda leaf: 0 if np.ndim(leaf) else None, self)
        if not jax.tree.leaves(axes):
            return jnp.asarray(self.linear_part())
        return jnp.moveaxis(jax.vmap(lambda one: one.linear_part(), in_axes=(axes,))(self), 0, -1)

    def nonlinear_slopes(self, t: Scalar, modes: Array) -> Array:
        """Computes N(t, u).

        Args:
            t: the time.
            modes: the components.

        Returns:
            The components of N.
        """
        num_axes = max([0, *map(np.ndim, jax.tree.leaves(self))])
        return jnp.asarray(self.nonlinear_part(t, modes.reshape(*modes.shape, *[1] * (num_axes + 1 - modes.ndim))))
