"""Stencils: the neighbours that each site of a field sees."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_whole, sizes_of
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree


class Stencil(Checked, FrozenPytree):
    """The neighbours that each site of a field sees; all sites share what is learned from them.

    Args:
        table: the number, in the state, of every component of every neighbour of every site; the
            first neighbour is the site itself.
    """

    table: Int[Array, "site neighbour component"]

    def check(self) -> None:
        """Raises InputError unless every component of the state belongs to one site."""
        check_floats(self, whole=(".table",))
        sizes_of(self, {".table": "site neighbour component"})
        own = np.sort(np.ravel(self.table[:, 0]))
        if not np.array_equal(own, np.arange(len(own))):
            raise InputError(f"every component of the state must belong to one site, got {own.size} numbers")
        for number in (int(self.table.min()), int(self.table.max())):
            check_whole("every number in the stencil", number, least=0, most=len(own) - 1)

    @property
    def dim(self) -> int:
        """Components of the state."""
        return self.table.shape[0] * self.table.shape[2]

    def gather(self, channels: Float[Array, "*batch channel dim"]) -> Float[Array, "*batch site feature"]:
        """Collects what each site sees.

        Args:
            channels: fields.
        """
        seen = jnp.moveaxis(channels[..., self.table], -4, -3)
        return seen.reshape(*seen.shape[:-3], -1)

    def scatter(self, values: Float[Array, "*batch site component"]) -> Float[Array, "*batch dim"]:
        """Puts values of sites where they belong in the state.

        Args:
            values: of the sites' own components.
        """
        order = jnp.argsort(self.table[:, 0].ravel())
        return values.reshape(*values.shape[:-2], -1)[..., order]

    def pooled(self, values: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """Replaces values by their means over all sites.

        Args:
            values: of the components of the state.
        """
        own = values[..., self.table[:, 0]]
        return self.scatter(jnp.broadcast_to(own.mean(-2, keepdims=True), own.shape))


@checked
def ring_stencil(
    num_sites: int, radius: int, *, num_components: int = 1
) -> Int[np.ndarray, "site neighbour component"]:
    """Makes the table of neighbours of sites on a ring.

    Args:
        num_sites: sites on the ring.
        radius: neighbours on either side that a site sees.
        num_components: components at each site; a state holds all sites of the first one, then all
            of the second, and so on.

    Returns:
        The table; the order of the neighbours is 0, 1, -1, 2, -2, ...

    Raises:
        InputError: for sizes below one, or neighbours that the ring does not have.

    Example:
        >>> import jaxcast
        >>> jaxcast.pooling.ring_stencil(5, 1)[:, :, 0].tolist()
        [[0, 1, 4], [1, 2, 0], [2, 3, 1], [3, 4, 2], [4, 0, 3]]
    """
    for name, size in {"num_sites": num_sites, "num_components": num_components}.items():
        check_whole(name, size)
    check_whole("radius", radius, least=0, most=(num_sites - 1) // 2)
    offsets = [0, *(sign * distance for distance in range(1, radius + 1) for sign in (1, -1))]
    sites = (np.arange(num_sites)[:, None] + offsets) % num_sites
    return sites[..., None] + num_sites * np.arange(num_components)


def as_stencil(stencil: Any, dim: int) -> Stencil:
    """Reads what a user gave as a stencil.

    Args:
        stencil: None for one site with all components, a radius on a ring, or a table.
        dim: components of the state.

    Returns:
        The stencil.

    Raises:
        InputError: for a table that does not cover the state.
    """
    if stencil is None:
        return Stencil(jnp.arange(dim)[None, None])
    table = ring_stencil(dim, stencil) if isinstance(stencil, int) else np.asarray(stencil)
    if table.ndim != 3 or table.shape[0] * table.shape[2] != dim:
        raise InputError(f"expected a stencil (site, neighbour, component) for {dim} components, got {table.shape}")
    made = Stencil(jnp.asarray(table))
    made.check()
    return made
