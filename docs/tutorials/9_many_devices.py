# %% [markdown]
# # Many devices and hosts
#
# Trajectories, forecast windows and training seeds are spread over all devices. Results do not
# depend on how many there are, to rounding.
#
# On a CPU, JAX has one device unless told otherwise *before the first computation*:

# %%
import jax
import jaxcast
import numpy as np

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
jax.devices()

# %% [markdown]
# ## An ensemble on all devices
#
# There is nothing else to do: `simulate_ensemble` splits the trajectories among the devices, and
# the result lies where it was computed.

# %%
system = jaxcast.Lorenz63()
starts = jaxcast.dynamics.random_starts(system, 4000, key=jax.random.key(0))
states = jaxcast.simulate_ensemble(system, starts, num_samples=20).states
print(states.shape, "on", len(states.sharding.device_set), "devices")

# %% [markdown]
# ## Some of the devices
#
# A mesh says which. The numbers are the same.

# %%
mesh = jax.make_mesh((1,), ("trajectory",), devices=jax.devices()[:1])
alone = jaxcast.simulate_ensemble(
    system, starts, num_samples=20, mesh=mesh
).states
print(
    len(alone.sharding.device_set),
    "device, largest difference",
    np.abs(alone - states).max(),
)

# %% [markdown]
# ## Several hosts
#
# Processes join with `jaxcast.sharding.start_process`, which is `jax.distributed.initialize` with
# its arguments checked. After it, the same calls spread over the devices of all processes. The
# command line does this by itself. On two hosts that see the same disk, run one line on each:
#
# ```sh
# jaxcast simulate --num-trajectories 1000000 --num-samples 100 --out /shared/runs.zarr \
#     --processes 2 --coordinator host0:8476 --process-id 0
# jaxcast simulate --num-trajectories 1000000 --num-samples 100 --out /shared/runs.zarr \
#     --processes 2 --coordinator host0:8476 --process-id 1
# ```
#
# Each process writes batches of its own. When one is killed the others end, too, and the same
# commands resume.
