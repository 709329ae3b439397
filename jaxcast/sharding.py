"""The one place that knows about devices and hosts.

Everything is spread along one axis, of seeds, windows or trajectories, over the devices of a mesh; by default over all,
those of other processes too once `start_process` has joined them.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced

_GRACE_S = 3.0
"""Process 0 ends last, because JAX aborts the others, whatever they are about to say, when it does."""


def start_process(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins this process to the others of a run, before anything else is computed; `jax.distributed.initialize` checked.

    Args:
        coordinator: host:port of process 0, reachable from all.

    Raises:
        InputError: for an address without a port, a process number out of range, or another process that ends meanwhile.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"expected the coordinator as host:port, got {shown(repr(coordinator))}")
    if not 0 <= process_id < num_processes:
        raise InputError(f"process_id must be from 0 to {num_processes - 1}, got {process_id}")
    jax.distributed.initialize(coordinator, num_processes, process_id)
    wait_for_all("join")  # which connects them: from now on each notices at once when another ends


def local_mesh() -> Mesh:
    """The devices of this process."""
    return Mesh(np.asarray(jax.local_devices()), ("device",))


def wait_for_all(name: str) -> None:
    """Nothing, once every process has come here; `name` is the same in all.

    Raises:
        InputError: where another process has ended.
    """
    if jax.process_count() > 1:
        try:
            multihost_utils.sync_global_devices(name)
        except jax.errors.JaxRuntimeError:
            raise InputError(
                "another process of this run has ended; fix what it reports, and start the same command in all of them again"
            ) from None


def end_process(code: int) -> None:
    """Ends this process with an exit code, without the others where there are any.

    The usual end waits for the others, which may wait for this one, until JAX aborts them all after minutes.
    """
    if not jax.distributed.is_initialized():
        sys.exit(code)
    if jax.process_index() == 0:
        time.sleep(_GRACE_S)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def devices_for(mesh: Mesh | None, *args: PyTree) -> Mesh:
    """The mesh; by default all devices, or only the first where the arguments belong to a program of the user's, which
    then decides about devices."""
    if mesh is None and is_traced(args):
        return Mesh(np.asarray(jax.devices()[:1]), ("device",))
    return _flat(mesh)


def map_shards(function: Callable[[Any, Any], Any], split: PyTree, shared: PyTree, mesh: Mesh) -> PyTree:
    """function(split, shared) with the leading axis of `split` dealt out over the devices, results joined alike.

    Call it inside `jax.jit`. Where the axis does not divide evenly, the last entries are computed more than once.
    """
    length = len(jax.tree.leaves(split)[0])
    if mesh.size == 1:
        return function(split, shared)
    padded = jax.tree.map(lambda a: _pad(a, -length % mesh.size), split)
    own, same = PartitionSpec(mesh.axis_names), PartitionSpec()
    mapped = jax.shard_map(function, mesh=mesh, in_specs=(own, same), out_specs=own, check_vma=False)(padded, shared)
    return jax.tree.map(lambda a: a[:length] if length % mesh.size else a, mapped)


def spread_seeds(per_seed: PyTree, mesh: Mesh | None = None) -> PyTree:
    """The arrays with their leading seed axis dealt out to the devices, for `map_seeds`.

    Where the seeds do not divide evenly, the first ones are repeated at the end; `gather_seeds` drops them again.
    `jax.config.update("jax_num_cpu_devices", n)`, called before anything is computed, makes n devices of a CPU.
    """
    num_seeds = len(jax.tree.leaves(per_seed)[0])
    mesh = _seed_mesh(num_seeds, mesh)
    if num_seeds % mesh.size:
        index = np.resize(np.arange(num_seeds), num_seeds + -num_seeds % mesh.size)
        per_seed = jax.jit(lambda tree: jax.tree.map(lambda a: a[index], tree))(per_seed)
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return jax.device_put(per_seed, sharding) if jax.process_count() == 1 else _put_everywhere(per_seed, sharding)


def _put_everywhere(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """`jax.device_put` of what every process holds alike, onto devices of all; it goes by way of NumPy, keys too."""
    is_key = jax.tree.map(lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key), tree)
    plain = jax.tree.map(lambda a, key: np.asarray(jax.random.key_data(a) if key else a), tree, is_key)

    def restored(plain: PyTree) -> PyTree:
        return jax.tree.map(lambda a, key: jax.random.wrap_key_data(a) if key else a, plain, is_key)

    return jax.jit(restored, out_shardings=sharding)(plain)


def map_seeds(
    function: Callable[[Any, Any], Any], per_seed: PyTree, shared: PyTree, mesh: Mesh | None = None
) -> PyTree:
    """function(one, shared) for every leading index of what `spread_seeds` returned, results stacked and spread alike.

    Call it inside `jax.jit`. On each CPU device the seeds run one after the other, which is faster there than
    `jax.vmap`; on each accelerator they are vmapped.
    """
    on_cpu = jax.default_backend() == "cpu"

    def on_one_device(per_seed: PyTree, shared: PyTree) -> PyTree:
        if on_cpu:
            return jax.lax.map(lambda one: function(one, shared), per_seed)
        return jax.vmap(function, in_axes=(0, None))(per_seed, shared)

    mesh = _seed_mesh(len(jax.tree.leaves(per_seed)[0]), mesh)
    spread, same = PartitionSpec(mesh.axis_names), PartitionSpec()
    mapped = jax.shard_map(on_one_device, mesh=mesh, in_specs=(spread, same), out_specs=spread, check_vma=False)
    return mapped(per_seed, shared)


def gather_seeds(per_seed: PyTree, num_seeds: int) -> PyTree:
    """The first num_seeds entries of arrays that were spread, in every process, free to mix with any others."""
    return jax.tree.map(lambda a: jnp.asarray(everywhere(a)[:num_seeds]), per_seed)


def everywhere(a: Any) -> np.ndarray:
    """The whole of an array that is spread over devices, and perhaps processes."""
    if isinstance(a, jax.Array) and not a.is_fully_addressable:
        a = multihost_utils.process_allgather(a, tiled=True)
    return np.asarray(a)


def _flat(mesh: Mesh | None) -> Mesh:
    """The mesh, with axes that shard_map alone decides about."""
    return Mesh(np.asarray(jax.devices()), ("device",)) if mesh is None else Mesh(mesh.devices, mesh.axis_names)


def _seed_mesh(num_seeds: int, mesh: Mesh | None) -> Mesh:
    """No more devices than seeds, except where every process must have its part."""
    devices = _flat(mesh).devices.ravel()
    if jax.process_count() == 1:
        devices = devices[:num_seeds]
    return Mesh(devices, ("seed",))


def _pad(a: Any, num: int) -> Any:
    return jnp.concatenate([a, jnp.broadcast_to(a[-1:], (num, *a.shape[1:]))]) if num else a
