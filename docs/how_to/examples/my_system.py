"""A system of your own: Halvorsen's attractor, with three cyclic equations."""

import jaxcast


class Halvorsen(jaxcast.System, name="halvorsen"):
    """du1/dt = -a u1 - 4 u2 - 4 u3 - u2^2, and so on around the circle."""

    components = ("x", "y", "z")
    a: jaxcast.dynamics.Parameter = 1.89

    def vector_field(self, t, u):
        return tuple(-self.a * u[i] - 4 * u[i - 2] - 4 * u[i - 1] - u[i - 2] ** 2 for i in range(3))
