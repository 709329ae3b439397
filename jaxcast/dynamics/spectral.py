"""Fields in one periodic dimension of space, whose linear part is diagonal in Fourier space."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.checks import Checked, check_positive
from jaxcast.dynamics.schedules import Parameter, Schedule
from jaxcast.dynamics.semilinear import SplitSystem
from jaxcast.errors import InputError
from jaxcast.pytrees import static
from jaxcast.tracing import is_traced
from jaxcast.types import Scalar


class SpectralSystem(SplitSystem):
    """A periodic field u(x) with du/dt = L u + N(t, u), where L is diagonal in Fourier space.

    Its states are values at evenly spaced points. They are integrated in Fourier space by an
    exponential Runge-Kutta method of order four (ETDRK4), which solves the linear part exactly. So
    h is not limited by the fastest decay, as it is in an explicit method.

    A subclass has the fields `num_points` and `length`, and writes the linear and the nonlinear
    part of the coefficients of `jnp.fft.rfft`. Parameters are as in `System`.

    Source:
        Cox and Matthews, Journal of Computational Physics 176, 430-455 (2002).

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> class Burgers(jaxcast.dynamics.SpectralSystem):
        ...     viscosity: jaxcast.dynamics.Parameter = 0.1
        ...     length: jaxcast.dynamics.Parameter = 6.283185307179586
        ...     num_points: int = jaxcast.static(default=16)
        ...     def linear_part(self, wavenumbers):
        ...         return -self.viscosity * wavenumbers**2
        ...     def nonlinear_part(self, t, modes, wavenumbers):
        ...         squares = self.to_modes(self.to_points(modes) ** 2)
        ...         return -0.5j * wavenumbers * squares
        >>> times, states = jaxcast.simulate(Burgers(), jnp.sin(jnp.arange(16.0)), num_samples=3)
        >>> states.shape
        (3, 16)
    """

    @property
    @abc.abstractmethod
    def num_points(self) -> int:
        """The number of points, even."""

    @property
    @abc.abstractmethod
    def length(self) -> Any:
        """The length of the domain."""

    @abc.abstractmethod
    def linear_part(self, wavenumbers: Array) -> Array:
        """Computes the eigenvalues of L from parameters that are numbers.

        Args:
            wavenumbers: 2 pi k / length for k = 0, ..., num_points / 2, with a trailing axis if a
                parameter has one.

        Returns:
            The real or complex eigenvalue of each mode.
        """

    @abc.abstractmethod
    def nonlinear_part(self, t: Scalar, modes: Array, wavenumbers: Array) -> Array:
        """Computes the Fourier coefficients of N(t, u) from parameters that are numbers.

        Args:
            t: the time.
            modes: the Fourier coefficients of the field.
            wavenumbers: those of odd derivatives, as in `linear_part`: the last, which has no sign,
                is 0.

        Returns:
            The coefficients.
        """

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the points."""
        return tuple(f"u{k + 1}" for k in range(self.num_points))

    @property
    def is_diagonal(self) -> bool:
        """True."""
        return True

    def nonlinear_slopes(self, t: Scalar, modes: Array) -> Array:
        """Computes N(t, u).

        Args:
            t: the time.
            modes: the Fourier coefficients of the field.

        Returns:
            Its coefficients.
        """
        k = self._numbers()
        odd = jnp.where(k == self.num_points // 2, 0, self._wavenumbers(k))
        return self.nonlinear_part(t, modes.reshape(*modes.shape, *[1] * (odd.ndim - modes.ndim)), odd)

    def linear_operator(self) -> Array:
        """Computes the eigenvalues of L.

        Returns:
            One for each mode; with a trailing axis in a stack.
        """
        return self.linear_part(self._wavenumbers(self._numbers()))

    def to_modes(self, u: Array) -> Array:
        """Computes the Fourier coefficients of a field.

        Args:
            u: the field at the points, which come first.

        Returns:
            The coefficients, which come first.
        """
        return jnp.fft.rfft(u, axis=0)

    def to_points(self, modes: Array) -> Array:
        """Computes a field from its Fourier coefficients.

        Args:
            modes: the coefficients, which come first.

        Returns:
            The field at the points, which come first.
        """
        return jnp.fft.irfft(modes, self.num_points, axis=0)

    def _numbers(self) -> Array:
        """Returns k, with a trailing axis for each that a parameter has."""
        num_axes = max([0, *map(np.ndim, jax.tree.leaves(self))])
        return jnp.arange(self.num_points // 2 + 1).reshape(-1, *[1] * num_axes)

    def _wavenumbers(self, k: Array) -> Array:
        unit = 2 * jnp.pi / jnp.asarray(self.length)
        return k.astype(unit.dtype) * unit


class KuramotoSivashinsky(SpectralSystem, Checked, name="kuramoto_sivashinsky"):
    """The Kuramoto-Sivashinsky equation on a periodic domain.

        u_t = -u u_x - u_xx - viscosity u_xxxx

    The state holds u at evenly spaced points. Long waves grow, short ones are damped, and the
    nonlinear term moves energy between them: chaos in space and time. The mean of u stays what it
    is at the start. Steps of h = 0.25 are usual. Without dealiasing, two points for a unit of
    length suffice at a viscosity of 1.

    Args:
        length: of the domain; more positive Lyapunov exponents the longer it is.
        viscosity: the damping of short waves.
        num_points: an even number of at least 8.

    Raises:
        InputError: for fewer points, an odd number, and a length or viscosity that is not positive.

    Source:
        Kuramoto, Progress of Theoretical Physics Supplement 64, 346-367 (1978); Sivashinsky, Acta
        Astronautica 4, 1177-1206 (1977); Kassam and Trefethen, SIAM Journal on Scientific Computing
        26, 1214-1233 (2005) for the integrator.

    Example:
        >>> import jax, jaxcast
        >>> system = jaxcast.KuramotoSivashinsky(length=22.0, num_points=32)
        >>> start = jax.random.normal(jax.random.key(0), (32,))
        >>> times, states = jaxcast.simulate(system, start, num_samples=5, dt=1.0, h=0.25)
        >>> states.shape
        (5, 32)
    """

    length: Parameter = 22.0
    viscosity: Parameter = 1.0
    num_points: int = static(default=32)

    def check(self) -> None:
        if self.num_points < 8 or self.num_points % 2:
            raise InputError(f"num_points must be an even number of at least 8, got {self.num_points}")
        for name, value in (("length", self.length), ("viscosity", self.viscosity)):
            if not isinstance(value, Schedule) and not is_traced(value):
                check_positive(**{name: value})

    def linear_part(self, wavenumbers: Array) -> Array:
        squares = wavenumbers**2
        return squares - self.viscosity * squares**2

    def nonlinear_part(self, t: Scalar, modes: Array, wavenumbers: Array) -> Array:
        return -0.5j * wavenumbers * self.to_modes(self.to_points(modes) ** 2)
