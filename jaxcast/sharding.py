"""The one place that knows about devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import PyTree


def map_seeds(function: Callable[[Any, Any], Any], per_seed: PyTree, shared: PyTree) -> PyTree:
    """function(one, shared) for every leading index of `per_seed`, results stacked; call it inside `jax.jit`.

    On CPU the seeds are dealt out to the devices (`jax.config.update("jax_num_cpu_devices", n)` makes n of them) and
    run one after the other on each, which is faster there than `jax.vmap`; on accelerators they are vmapped.
    """
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return jax.vmap(function, in_axes=(0, None))(per_seed, shared)
    num_seeds = jax.tree.leaves(per_seed)[0].shape[0]
    num_devices = min(len(devices), num_seeds)
    fill = -num_seeds % num_devices
    padded = jax.tree.map(lambda a: jnp.concatenate([a, a[:fill]]) if fill else a, per_seed)
    mesh = jax.sharding.Mesh(np.asarray(devices[:num_devices]), ("seed",))
    dealt = jax.shard_map(
        lambda per_seed, shared: jax.lax.map(lambda one: function(one, shared), per_seed),
        mesh=mesh,
        in_specs=(PartitionSpec("seed"), PartitionSpec()),
        out_specs=PartitionSpec("seed"),
        check_vma=False,
    )(padded, shared)
    return jax.tree.map(lambda a: a[:num_seeds], dealt)


def gather(tree: PyTree) -> PyTree:
    """The same arrays on the default device, free to be combined with any others."""
    return jax.tree.map(lambda a: a if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else jnp.asarray(np.asarray(a)), tree)
