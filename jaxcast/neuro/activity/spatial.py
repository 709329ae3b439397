"""The spatial part of Total Activation: signals that vary little between neighbours."""

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_number, check_whole
from jaxcast.neuro.activity.voxel_graphs import VoxelGraph
from jaxcast.pytrees import FrozenPytree, static

CG_TOLERANCE = 1e-5


class SpatialTerm(FrozenPytree, Checked):
    """What the signals of all voxels cost at one scan; its proximal operator brings that down."""

    @property
    @abstractmethod
    def num_voxels(self) -> int:
        """The number of voxels or regions."""

    @abstractmethod
    def start(self, signal: Float[Array, "voxel time"]) -> Any:
        """Returns what the first call of `prox` starts with.

        Args:
            signal: of each voxel, over time.
        """

    @abstractmethod
    def prox(
        self, signal: Float[Array, "voxel time"], noise_level: Float[Array, " voxel"], weight: float | int, begin: Any
    ) -> tuple[Float[Array, "voxel time"], Any]:
        """Returns the signal that is near the given one and costs little.

        Args:
            signal: of each voxel, over time.
            noise_level: standard deviation of each voxel's noise.
            weight: factor of the penalty.
            begin: of `start`, or of the call before.

        Returns:
            The signal, and what the next call starts with.
        """


class _GraphTerm(SpatialTerm):
    """A spatial term of a graph with one penalty, minimised step by step."""

    graph: VoxelGraph
    penalty: Float[Any, ""]
    num_iterations: int = static(default=100)

    def check(self) -> None:
        """Refuses a penalty below zero or fewer than one iteration."""
        check_number("penalty", float(self.penalty), least=0)
        check_whole("num_iterations", self.num_iterations)

    @property
    def num_voxels(self) -> int:
        """The number of voxels or regions."""
        return self.graph.num_voxels


class Tikhonov(_GraphTerm):
    """Squares of the Laplacian.

        prox(v) = argmin_x  1/2 |x - v|^2 + penalty/2 |Lap x|^2  =  (I + penalty Lap' Lap)^-1 v

    It is linear, and smooths across the whole graph. The original takes 100 small steps towards it;
    here conjugate gradients solve it.

    Args:
        graph: the neighbours of each voxel.
        penalty: of the squared Laplacian.
        num_iterations: the most steps of conjugate gradients.

    Example:
        >>> import jaxcast, numpy as np
        >>> term = jaxcast.neuro.Tikhonov(jaxcast.neuro.grid_graph(np.ones((3, 3))), penalty=100.0)
        >>> term.num_voxels
        9
    """

    penalty: Float[Any, ""] = 10.0

    def start(self, signal: Float[Array, "voxel time"]) -> Any:
        return signal

    def prox(
        self, signal: Float[Array, "voxel time"], noise_level: Float[Array, " voxel"], weight: float | int, begin: Any
    ) -> tuple[Float[Array, "voxel time"], Any]:
        laplacian, strength = self.graph.laplacian, weight * self.penalty

        def system(x: Array) -> Array:
            return x + strength * laplacian(laplacian(x))

        found, _ = jax.scipy.sparse.linalg.cg(system, signal, x0=begin, tol=CG_TOLERANCE, maxiter=self.num_iterations)
        return found, found


class _Dual(NamedTuple):
    dual: Array
    earlier: Array
    theta: Array


class StructuredSparsity(_GraphTerm):
    """Norms of the Laplacian over whole regions: a mixed l2,1 norm.

        prox(v) = argmin_x  1/2 |x - v|^2 + sum_(t, r) lambda_r |(Lap x_t)_r|_2
        lambda_r = penalty sigma_r sqrt(voxels of r)

    At a scan where a region is smooth its norm is exactly zero; where there is detail, it may stay.
    The noise level sigma_r makes the penalty a number without unit; the root, as in a group lasso,
    makes regions of all sizes equal.

    Args:
        graph: the neighbours of each voxel, and its region.
        penalty: factor of the norms.
        num_iterations: steps of the dual projected gradient, with momentum.

    Source:
        Karahanoglu et al., NeuroImage 73, 121-134 (2013), where lambda_r does not depend on r.

    Example:
        >>> import jaxcast, numpy as np
        >>> atlas = np.repeat([[1, 1, 2, 2]], 3, 0)
        >>> term = jaxcast.neuro.StructuredSparsity(jaxcast.neuro.grid_graph(atlas))
        >>> term.num_voxels
        12
    """

    penalty: Float[Any, ""] = 0.3

    def start(self, signal: Float[Array, "voxel time"]) -> Any:
        return jnp.zeros_like(signal)

    def prox(
        self, signal: Float[Array, "voxel time"], noise_level: Float[Array, " voxel"], weight: float | int, begin: Any
    ) -> tuple[Float[Array, "voxel time"], Any]:
        # FISTA on the dual: x = v - Lap' z with |z_r| <= lambda_r at each scan.
        laplacian, regions = self.graph.laplacian, self.graph.regions
        sums = self.graph.sums_by_region
        radius = weight * self.penalty * jnp.sqrt(sums(noise_level[:, None] ** 2))
        step = 1 / self.graph.bound.astype(signal.dtype) ** 2

        def advance(_: Any, now: _Dual) -> _Dual:
            theta = (1 + jnp.sqrt(1 + 4 * now.theta**2)) / 2
            point = now.dual + (now.theta - 1) / theta * (now.dual - now.earlier)
            moved = point + step * laplacian(signal - laplacian(point))
            norms = jnp.sqrt(sums(moved**2))
            return _Dual(moved * jnp.minimum(1, radius / jnp.maximum(norms, 1e-30))[regions], now.dual, theta)

        first = _Dual(begin, begin, jnp.ones((), signal.dtype))
        dual = jax.lax.fori_loop(0, self.num_iterations, advance, first).dual
        return signal - laplacian(dual), dual
