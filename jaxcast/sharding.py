"""The one place that knows about devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

_SEED = "seed"


def spread_seeds(per_seed: PyTree) -> PyTree:
    """The arrays with their leading seed axis dealt out to the local devices, for `map_seeds`.

    Where the seeds do not divide evenly, the first ones are repeated at the end; `gather_seeds` drops them again.
    `jax.config.update("jax_num_cpu_devices", n)`, called before anything is computed, makes n devices of a CPU.
    """
    num_seeds = len(jax.tree.leaves(per_seed)[0])
    mesh = _seed_mesh(num_seeds)
    if num_seeds % mesh.size:
        index = np.resize(np.arange(num_seeds), num_seeds + -num_seeds % mesh.size)
        per_seed = jax.jit(lambda tree: jax.tree.map(lambda a: a[index], tree))(per_seed)
    return jax.device_put(per_seed, NamedSharding(mesh, PartitionSpec(_SEED)))


def map_seeds(function: Callable[[Any, Any], Any], per_seed: PyTree, shared: PyTree) -> PyTree:
    """function(one, shared) for every leading index of what `spread_seeds` returned, results stacked and spread alike.

    Call it inside `jax.jit`. On each CPU device the seeds run one after the other, which is faster there than
    `jax.vmap`; on each accelerator they are vmapped.
    """
    on_cpu = jax.default_backend() == "cpu"

    def on_one_device(per_seed: PyTree, shared: PyTree) -> PyTree:
        if on_cpu:
            return jax.lax.map(lambda one: function(one, shared), per_seed)
        return jax.vmap(function, in_axes=(0, None))(per_seed, shared)

    spread, same = PartitionSpec(_SEED), PartitionSpec()
    mesh = _seed_mesh(len(jax.tree.leaves(per_seed)[0]))
    mapped = jax.shard_map(on_one_device, mesh=mesh, in_specs=(spread, same), out_specs=spread, check_vma=False)
    return mapped(per_seed, shared)


def gather_seeds(per_seed: PyTree, num_seeds: int) -> PyTree:
    """The first num_seeds entries of arrays that were spread, on the default device and free to mix with any others."""
    return jax.tree.map(lambda a: jnp.asarray(np.asarray(a)[:num_seeds]), per_seed)


def _seed_mesh(num_seeds: int) -> Mesh:
    devices = jax.local_devices()
    return Mesh(np.asarray(devices[: min(len(devices), num_seeds)]), (_SEED,))
