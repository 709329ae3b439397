"""Devices and hosts.

Work is spread along one axis, of seeds, windows, trajectories or nodes, over the devices of a mesh.
By default these are all devices, including those of other processes after `start_process`.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxcast.backends.one_by_one import one_by_one
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced

_GRACE_S = 3.0
"""Process 0 ends last, because JAX then aborts the others before their last messages."""


def num_cores() -> int:
    """Returns the number of cores that this process may use; 1 where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def start_process(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins this process to the others of a run: `jax.distributed.initialize` with checks.

    Call it before anything is computed.

    Args:
        coordinator: host:port of process 0, reachable from all.
        num_processes: how many processes the run has.
        process_id: the number of this one, from 0.

    Raises:
        InputError: for an address without a port, a process number out of range, or if another
            process ends meanwhile.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"expected the coordinator as host:port, got {shown(repr(coordinator))}")
    if not 0 <= process_id < num_processes:
        raise InputError(f"process_id must be from 0 to {num_processes - 1}, got {process_id}")
    jax.distributed.initialize(coordinator, num_processes, process_id)
    wait_for_all("join")  # from now on each notices at once when another ends


def local_mesh() -> Mesh:
    """Returns a mesh of the devices of this process."""
    return Mesh(np.asarray(jax.local_devices()), ("device",))


def wait_for_all(name: str) -> None:
    """Waits until every process has called this.

    Args:
        name: of this point of the program, the same in all processes.

    Raises:
        InputError: if another process has ended.
    """
    if jax.process_count() > 1:
        try:
            multihost_utils.sync_global_devices(name)
        except jax.errors.JaxRuntimeError:
            raise InputError(
                "another process of this run has ended; fix what it reports, and start the same command in all of "
                "them again"
            ) from None


def end_process(code: int) -> None:
    """Ends this process without waiting for others.

    The usual end waits for the others, which may wait for this one, until JAX aborts them all after
    minutes.

    Args:
        code: the exit code.
    """
    if not jax.distributed.is_initialized():
        sys.exit(code)
    if jax.process_index() == 0:
        time.sleep(_GRACE_S)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def devices_for(mesh: Mesh | None, *args: PyTree) -> Mesh:
    """Chooses the devices for a computation.

    Args:
        mesh: the user's choice.
        args: arguments of the computation. If they are traced, or it is part of a program of the
            user's, that program decides about devices.

    Returns:
        The mesh; by default all devices, the first one in a program.
    """
    if mesh is None and _is_in_program(args):
        return Mesh(np.asarray(jax.devices()[:1]), ("device",))
    return _flat(mesh)


def map_shards(function: Callable[[Any, Any], Any], split: PyTree, shared: PyTree, mesh: Mesh) -> PyTree:
    """Computes function(split, shared) with the leading axis of `split` spread over devices.

    Call it inside `jax.jit`; devices then need nothing of each other. If the axis does not divide
    evenly, every device gets `split` whole, and the last entry is computed more than once. Call
    `with_repeated` first, so that each device gets its part alone; `without_repeated` drops the
    surplus.

    Args:
        function: of one device's part and the shared arguments.
        split: a pytree with a leading axis.
        shared: a pytree that every device gets whole.
        mesh: the devices.

    Returns:
        The results, joined along their leading axis.
    """
    length = len(jax.tree.leaves(split)[0])
    if mesh.size == 1:
        return function(split, shared)
    own, same = PartitionSpec(mesh.axis_names), PartitionSpec()

    def on_part(split: PyTree, shared: PyTree) -> PyTree:
        part = -(-length // mesh.size)
        numbers = jax.lax.axis_index(mesh.axis_names) * part + jnp.arange(part)
        return function(jax.tree.map(lambda a: a[jnp.minimum(numbers, length - 1)], split), shared)

    # Padding would move parts between devices: each takes its own from the whole instead.
    run, spec = (on_part, same) if length % mesh.size else (function, own)
    run = _beside_others(run, mesh)
    return jax.shard_map(run, mesh=mesh, in_specs=(spec, same), out_specs=own, check_vma=False)(split, shared)


def with_repeated(split: PyTree, mesh: Mesh) -> PyTree:
    """Repeats the last entry until the devices divide the leading axis evenly.

    It costs one copy of the arrays. Inside a program of the user's, such as under `jax.jit`, it
    would move parts between devices, and changes nothing.

    Args:
        split: a pytree with a leading axis.
        mesh: the devices.

    Returns:
        The arrays, for `map_shards`.
    """
    num_missing = -len(jax.tree.leaves(split)[0]) % mesh.size
    return split if not num_missing or _is_in_program(split) else _longer(split, num_missing)


@partial(jax.jit, static_argnames="num_missing")
def _longer(tree: PyTree, num_missing: int) -> PyTree:
    return jax.tree.map(lambda a: jnp.concatenate([a, jnp.repeat(a[-1:], num_missing, axis=0)]), tree)


def without_repeated(mapped: PyTree, length: int) -> PyTree:
    """Drops what was computed for entries that were repeated.

    Call it outside of `jax.jit`, so that a program without messages between devices stays one.

    Args:
        mapped: what `map_shards` returned.
        length: of the axis that was spread.

    Returns:
        The first results, one for each entry.
    """
    return mapped if len(jax.tree.leaves(mapped)[0]) == length else _first(mapped, length)


@partial(jax.jit, static_argnames="length")
def _first(tree: PyTree, length: int) -> PyTree:
    return jax.tree.map(lambda a: a[:length], tree)


def spread_seeds(per_seed: PyTree, mesh: Mesh | None = None) -> PyTree:
    """Spreads arrays with a leading seed axis over devices, for `map_seeds`.

    If the seeds do not divide evenly, the first ones are repeated at the end; `gather_seeds` drops
    them.

    Args:
        per_seed: a pytree with a leading seed axis.
        mesh: the devices; by default all, but no more than seeds.

    Returns:
        The spread arrays.
    """
    num_seeds = len(jax.tree.leaves(per_seed)[0])
    mesh = _seed_mesh(num_seeds, mesh)
    if num_seeds % mesh.size:
        index = np.resize(np.arange(num_seeds), num_seeds + -num_seeds % mesh.size)
        per_seed = jax.jit(lambda tree: jax.tree.map(lambda a: a[index], tree))(per_seed)
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return jax.device_put(per_seed, sharding) if jax.process_count() == 1 else _put_everywhere(per_seed, sharding)


def _put_everywhere(tree: PyTree, sharding: PyTree) -> PyTree:
    """Puts what every process holds onto the devices of all, by way of NumPy, keys included."""
    is_key = jax.tree.map(lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key), tree)
    plain = jax.tree.map(lambda a, key: np.asarray(jax.random.key_data(a) if key else a), tree, is_key)

    def restored(plain: PyTree) -> PyTree:
        return jax.tree.map(lambda a, key: jax.random.wrap_key_data(a) if key else a, plain, is_key)

    return jax.jit(restored, out_shardings=sharding)(plain)


def map_seeds(
    function: Callable[[Any, Any], Any], per_seed: PyTree, shared: PyTree, mesh: Mesh | None = None
) -> PyTree:
    """Computes function(one, shared) for each seed of what `spread_seeds` returned.

    Call it inside `jax.jit`. On a CPU device the seeds run one after the other, which is faster
    there than `jax.vmap`; on an accelerator they are vmapped. The devices of the mesh decide.

    Args:
        function: of one seed's part and the shared arguments.
        per_seed: what `spread_seeds` returned.
        shared: a pytree that every seed gets whole.
        mesh: the devices, as for `spread_seeds`.

    Returns:
        The results, stacked and spread in the same way.
    """
    mesh = _seed_mesh(len(jax.tree.leaves(per_seed)[0]), mesh)
    on_cpu = mesh.devices.flat[0].platform == "cpu"

    def on_one_device(per_seed: PyTree, shared: PyTree) -> PyTree:
        if on_cpu:
            return jax.lax.map(lambda one: function(one, shared), per_seed)
        return jax.vmap(function, in_axes=(0, None))(per_seed, shared)

    spread, same = PartitionSpec(mesh.axis_names), PartitionSpec()
    run = _beside_others(on_one_device, mesh)
    mapped = jax.shard_map(run, mesh=mesh, in_specs=(spread, same), out_specs=spread, check_vma=False)
    return mapped(per_seed, shared)


def gather_seeds(per_seed: PyTree, num_seeds: int) -> PyTree:
    """Gathers spread arrays in every process.

    Args:
        per_seed: what `map_seeds` returned.
        num_seeds: how many seeds there are, without repeated ones.

    Returns:
        The arrays of these seeds.
    """
    return jax.tree.map(lambda a: jnp.asarray(everywhere(a)[:num_seeds]), per_seed)


def spread_nodes(arrays: PyTree, mesh: Mesh | None = None) -> PyTree:
    """Spreads features and operators of a graph over devices, each with some of the nodes.

    What is computed of them inside `jax.jit`, such as a graph convolution, its loss and gradients,
    is spread alike: a device holds the rows of its nodes, and gets the features of all others when
    a product needs them. Parameters stay whole.

    Args:
        arrays: a pytree whose arrays have the nodes on the last axis but one, such as features
            (*batch, node, feature) and operators (operator, node, node).
        mesh: the devices; by default all, or the largest number of them that divides the number of
            nodes.

    Returns:
        The spread arrays.

    Raises:
        InputError: for arrays of several numbers of nodes, or a number that the devices do not
            divide evenly.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> from jaxcast.sharding import spread_nodes
        >>> convolution = jaxcast.nn.DiffusionConvolution(input_size=3, output_size=8, key=jax.random.key(0))
        >>> inputs, operators = spread_nodes((jnp.ones((4, 6, 3)), jaxcast.nn.both_transitions(jnp.ones((6, 6)))))
        >>> jax.jit(convolution)(inputs, operators).shape
        (4, 6, 8)
    """
    sizes = sorted({array.shape[-2] if array.ndim > 1 else 0 for array in jax.tree.leaves(arrays)})
    if len(sizes) != 1 or not sizes[0]:
        raise InputError(f"expected arrays (..., node, feature) of the same nodes, got {sizes} of them")
    found = _flat(mesh)
    fitting = next(number for number in range(found.size, 0, -1) if sizes[0] % number == 0)
    if mesh is None and jax.process_count() == 1:
        found = Mesh(found.devices.ravel()[:fitting], ("device",))
    elif fitting != found.size:
        raise InputError(
            f"{found.size} devices cannot share {sizes[0]} nodes evenly; take {fitting} of them, or add isolated nodes"
        )
    shardings = jax.tree.map(
        lambda a: NamedSharding(found, PartitionSpec(*[None] * (a.ndim - 2), found.axis_names, None)), arrays
    )
    if jax.process_count() > 1:
        return _put_everywhere(arrays, shardings)
    return jax.tree.map(jax.device_put, arrays, shardings)


def everywhere(a: Any) -> np.ndarray:
    """Gathers an array that is spread over devices, and perhaps processes.

    Args:
        a: an array.

    Returns:
        NumPy's array of all of it.
    """
    if isinstance(a, jax.Array) and not a.is_fully_addressable:
        a = multihost_utils.process_allgather(a, tiled=True)
    return np.asarray(a)


def _is_in_program(args: PyTree) -> bool:
    """Tells whether a computation is part of a program of the user's, where even a new array is a tracer."""
    return is_traced(args, jnp.zeros(()))


def _beside_others(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Makes a computation safe on several CPU devices at once."""
    return one_by_one(function) if mesh.size > 1 and mesh.devices.flat[0].platform == "cpu" else function


def _flat(mesh: Mesh | None) -> Mesh:
    """Returns the mesh, with axes for shard_map alone."""
    return Mesh(np.asarray(jax.devices()), ("device",)) if mesh is None else Mesh(mesh.devices, mesh.axis_names)


def _seed_mesh(num_seeds: int, mesh: Mesh | None) -> Mesh:
    """Returns a mesh of no more devices than seeds, unless every process needs its part."""
    devices = _flat(mesh).devices.ravel()
    if jax.process_count() == 1:
        devices = devices[:num_seeds]
    return Mesh(devices, ("seed",))
