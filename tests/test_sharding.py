"""Devices of a CPU, each case in a process of its own: they are set before anything is computed."""

import os
import subprocess
import sys

import pytest

import jaxcast
from jaxcast import InputError

DECOMPOSE = """
import jax, jax.numpy as jnp, jaxcast

jaxcast.sharding.split_cpu(2)
step = lambda x, _: (jnp.linalg.qr(x + 1e-3 * x.swapaxes(1, 2), mode="r"), None)
all_steps = jax.jit(lambda x: jax.lax.scan(step, x, None, length=100)[0])
many = jax.random.normal(jax.random.key(0), (2000, 12, 12))
jax.block_until_ready([all_steps(jax.device_put(many, device)) for device in jax.devices()])
print(len(jax.devices()))
"""


@pytest.mark.slow
def test_two_devices_that_decompose_many_matrices_at_once_come_to_an_end():
    """Without the thread more, this program stood still within seconds on two cores, every time."""
    environment = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"}
    command = [sys.executable, "-c", DECOMPOSE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.strip() == "2"


def test_no_device_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"num_devices must be at least 1, got 0"):
        jaxcast.sharding.split_cpu(0)
