"""The Lorenz '96 equations with two scales: slow variables, each coupled to a ring of fast ones."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.checks import Checked
from jaxcast.dynamics.schedules import Parameter
from jaxcast.dynamics.systems import Components, System
from jaxcast.errors import InputError
from jaxcast.pytrees import static
from jaxcast.types import Scalar


class TwoScaleLorenz96(System, Checked, name="two_scale_lorenz96"):
    """The Lorenz '96 equations with two scales: K slow variables X and K J fast ones Y.

        dX_k/dt = -X_(k-1) (X_(k-2) - X_(k+1)) - X_k + F - (h c / b) sum_j Y_(j,k)
        dY_(j,k)/dt = -c b Y_(j+1,k) (Y_(j+2,k) - Y_(j-1,k)) - c Y_(j,k) + (h c / b) X_k

    A state is X_1, ..., X_K and then Y_(1,1), ..., Y_(J,1), Y_(1,2), ...; both are rings, so that
    Y_(J+1,k) is Y_(1,k+1). Where only the slow variables are seen, the fast ones are an error that
    no `Lorenz96` can describe: `Trajectory(times, states[:, :num_slow])`. Steps of h = 0.005 are
    fine enough at the default.

    Args:
        num_slow: the number K of slow variables, at least four.
        num_fast: the number J of fast variables beside each; K J at least four.
        forcing: the F of the slow variables.
        coupling: the h between the scales.
        time_ratio: how many times faster the fast variables are, c.
        amplitude_ratio: how many times smaller they are, b.

    Raises:
        InputError: for fewer than four slow variables, or no fast ones.

    Source:
        Lorenz, Proceedings of the Seminar on Predictability, ECMWF (1996), equations 2 and 3.

    Example:
        >>> import jaxcast
        >>> system = jaxcast.dynamics.TwoScaleLorenz96(num_slow=4, num_fast=2)
        >>> system.dim, system.components[:6]
        (12, ('x1', 'x2', 'x3', 'x4', 'y1_1', 'y2_1'))
    """

    num_slow: int = static(default=8)
    num_fast: int = static(default=16)
    forcing: Parameter = 18.0
    coupling: Parameter = 1.0
    time_ratio: Parameter = 10.0
    amplitude_ratio: Parameter = 10.0

    def check(self) -> None:
        if self.num_slow < 4 or self.num_fast < 1:
            raise InputError(
                "TwoScaleLorenz96 needs at least 4 slow variables and 1 fast one beside each, got "
                f"num_slow={self.num_slow}, num_fast={self.num_fast}"
            )

    @property
    def components(self) -> tuple[str, ...]:
        slow = tuple(f"x{k + 1}" for k in range(self.num_slow))
        return slow + tuple(f"y{j + 1}_{k + 1}" for k in range(self.num_slow) for j in range(self.num_fast))

    def vector_field(self, t: Scalar, u: Components) -> Components:
        u = jnp.asarray(u)
        num_axes = max(np.ndim(leaf) for leaf in jax.tree.leaves(self))
        u = u.reshape(*u.shape, *[1] * (num_axes + 1 - u.ndim))
        x, y = u[: self.num_slow], u[self.num_slow :]
        exchange = self.coupling * self.time_ratio / self.amplitude_ratio
        blocks = y.reshape(self.num_slow, self.num_fast, *y.shape[1:])
        forces = jnp.broadcast_to(x[:, None], blocks.shape).reshape(y.shape)
        # Slices of padded copies; on a CPU, rolls are several times slower.
        slow = jnp.concatenate([x[-2:], x, x[:1]])
        fast = jnp.concatenate([y[-1:], y, y[:2]])
        dx = (slow[3:] - slow[:-3]) * slow[1:-2] - x + self.forcing - exchange * blocks.sum(1)
        advection = fast[2:-1] * (fast[:-3] - fast[3:])
        dy = self.time_ratio * (self.amplitude_ratio * advection - y) + exchange * forces
        return jnp.concatenate([dx, dy])
