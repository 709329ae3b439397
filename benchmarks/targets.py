"""Accelerators to compile for, present or not, and their limits.

XLA compiles for a device that is not there: for a TPU with the package libtpu, for an NVIDIA card with the packages
jax-cuda12-plugin and jax-cuda12-pjrt (the extra `aot`; no driver is needed).
"""

import dataclasses
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from jaxcast.errors import InputError

# Without these libtpu asks the machine's metadata server which TPU it runs on, and waits for the answer.
_NO_TPU_HERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no process holds a TPU
}

_CARD = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: {memory}
  shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 minor: 0 }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 patch: 0 }}
device_description_str: "{kind}"
"""


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that is run on an accelerator."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    num_steps: int
    """Steps of time, or of training, in a run: what kernels, bytes and operations are counted by."""
    width: int = 1
    """Trajectories, windows or sequences that make a step together."""
    plain: Callable[..., Any] | None = None
    """The same without kernels of our own."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A device and its limits, from the vendors' data sheets."""

    kind: str
    """As jax names it (`device_kind`), at least the beginning."""
    platform: str
    bandwidth: float
    """Bytes per second of the device's memory."""
    memory: int
    """Bytes of it."""
    operations: float
    """Operations on float32 numbers outside products of matrices, per second; a multiply-add is one."""
    product_flops: float
    """Operations per second in products of float32 matrices at their default precision; a multiply-add is two."""
    launch_s: float
    """What starting a kernel costs, an assumption: 2 us on a GPU, nothing on a TPU, whose compiler counts cycles."""
    clock: float
    """Cycles per second."""

    def devices(self) -> list[Any]:
        """Returns devices to compile for.

        Raises:
            InputError: without the packages of the extra `aot`.
        """
        try:
            return list(_topology(self).devices)
        except Exception as error:  # a missing package is any of three errors, by platform
            raise InputError(f"compiling for {self.kind} takes the extra `aot`: {error}") from error

    def mesh(self, num_devices: int = 1) -> Mesh:
        """Returns a mesh of some devices to compile for."""
        return Mesh(np.asarray(self.devices()[:num_devices]), ("device",))

    def lower(self, function: Callable[..., Any], *args: Any) -> jax.stages.Lowered:
        """Lowers function(*args) for one device.

        Args:
            function: of arrays, in any trees.
            args: arrays, or anything with their shape and dtype.
        """
        mesh = self.mesh()
        sharding = NamedSharding(mesh, PartitionSpec())
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a), sharding=sharding), args)
        # Pallas asks the mesh which TPU it writes a kernel for; without axes it leaves `shard_map` alone.
        context = AbstractMesh((), (), abstract_device=mesh.abstract_mesh.abstract_device)
        with jax.sharding.use_abstract_mesh(context):
            return jax.jit(function).lower(*shapes)

    def compile(self, function: Callable[..., Any], *args: Any, dump: str | None = None) -> jax.stages.Compiled:
        """Compiles function(*args) for one device; nothing runs.

        Args:
            function: of arrays, in any trees.
            args: arrays, or anything with their shape and dtype.
            dump: a folder for what XLA writes about its programs, among it the PTX of a GPU.
        """
        return compiled(self.lower(function, *args), dump)


def compiled(lowered: jax.stages.Lowered, dump: str | None = None) -> jax.stages.Compiled:
    """Compiles what was lowered; `dump` as for `Target.compile`."""
    options: dict[str, Any] = {"xla_dump_to": dump} if dump else {}
    try:
        return lowered.compile(options)
    except jax.errors.JaxRuntimeError as error:
        if "Couldn't find output tile sizes" not in str(error):
            raise
        # Without a card nobody tries which tiles fit a product; the library's products need none.
        return lowered.compile(options | {"xla_gpu_enable_triton_gemm": False})


@cache  # a device made twice is two devices
def _topology(target: Target) -> topologies.TopologyDescription:
    if target.platform == "tpu":
        for name, value in _NO_TPU_HERE.items():
            os.environ.setdefault(name, value)
        return topologies.get_topology_desc(topology_name="v5e:2x2", platform="tpu")
    text = _CARD.format(bandwidth=int(target.bandwidth), memory=target.memory, kind=target.kind)
    return topologies.get_topology_desc("", "cuda", topology="1x1x1", target_config=text)


# 132 multiprocessors of 128 lanes at 1.98 GHz; products in TF32, without sparsity.
_H100 = Target("NVIDIA H100 80GB HBM3", "cuda", 3.35232e12, 84_942_979_072, 132 * 128 * 1.98e9, 494.7e12, 2e-6, 1.98e9)
TARGETS = {
    "h100": _H100,
    "h200": dataclasses.replace(_H100, kind="NVIDIA H200", bandwidth=4.8e12, memory=150_754_820_096),
    # Four units of 8 x 128 lanes at 1.5 GHz; products in one pass of bfloat16.
    "v5e": Target("TPU v5 lite", "tpu", 8.19e11, 16 * 2**30, 4 * 8 * 128 * 1.5e9, 197e12, 0.0, 1.5e9),
}
