"""Computations on several devices of a CPU."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcast.backends.one_by_one import one_by_one

DECOMPOSE = """
import jax, jax.numpy as jnp, numpy as np, jaxcast

jax.config.update("jax_num_cpu_devices", 2)

class Implicit(jaxcast.System):
    components = tuple("abcdefghijkl")

    def vector_field(self, t, u):
        u = jnp.stack(u)
        matrix = 12 * jnp.eye(12) + jnp.outer(u, u)
        return tuple(-jnp.linalg.cholesky(matrix) @ u - jnp.linalg.svd(matrix)[1])

states = jaxcast.final_states(Implicit(), np.random.default_rng(0).normal(size=(1000, 12)), duration=0.5)
print(len(states.sharding.device_set), bool(jnp.isfinite(states).all()))
"""


@pytest.mark.slow
def test_two_devices_that_decompose_many_matrices_at_once_come_to_an_end():
    """In batches, jaxlib 0.10 stood still within seconds on two cores, every time."""
    environment = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"}
    command = [sys.executable, "-c", DECOMPOSE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.split() == ["2", "True"]


def batch_sizes(program):
    """The shapes of all matrices that LAPACK gets, without the last two axes, in a lowered program."""
    found = []
    for line in program.splitlines():
        if "custom_call @lapack" in line:
            types = line.rsplit(" : (", 1)[1].split(")")[0]
            found += [tuple(map(int, size.strip()[len("tensor<") :].split("x")[:-3])) for size in types.split(", ")[:1]]
    return found


@pytest.mark.slow
def test_matrices_are_decomposed_one_by_one_wherever_a_program_does_so():
    def decompose(x):
        def step(x, _):
            return jax.lax.cond(x.sum() > 0, lambda x: jnp.linalg.qr(x)[0], jnp.linalg.inv, x), None

        positive = x @ x.mT + jnp.eye(4)
        turned = jax.lax.scan(jax.checkpoint(step), x + jnp.eye(4), length=2)[0]
        return turned, jnp.linalg.cholesky(positive), jnp.linalg.eigh(positive), jnp.linalg.svd(x)[1]

    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 4))
    assert (2, 3) in batch_sizes(jax.jit(decompose).lower(x).as_text())
    program = jax.jit(one_by_one(decompose)).lower(x).as_text()
    assert set(batch_sizes(program)) == {()}
    jax.tree.map(np.testing.assert_array_equal, jax.jit(decompose)(x), jax.jit(one_by_one(decompose))(x))


@pytest.mark.slow
def test_gradients_pass_through_decompositions_one_by_one():
    def loss(x):
        return jnp.sum(jnp.sin(jnp.linalg.solve(x, x**2))) + jnp.sum(jnp.cos(jnp.linalg.qr(x, mode="r")))

    x = jax.random.normal(jax.random.key(0), (3, 4, 4)) + 4 * jnp.eye(4)
    np.testing.assert_allclose(jax.grad(one_by_one(loss))(x), jax.grad(loss)(x), rtol=1e-12)
