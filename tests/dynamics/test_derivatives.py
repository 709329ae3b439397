"""Derivatives as a GPU computes them, block by block, against those of the plain program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.clock import split
from jaxcast.dynamics import loops
from jaxcast.dynamics import solve as programs
from jaxcast.dynamics.plan import SolvePlan

U0 = jnp.asarray([[1.0, 2.0, 20.0], [-3.0, 1.0, 25.0]])


@pytest.fixture
def as_on_gpu(monkeypatch):
    """Makes this CPU take a GPU's program for derivatives, in blocks of two steps; returns what asked for one."""
    seen = []

    def chosen(default, *args, cuda):
        seen.append(default)
        return jax.lax.platform_dependent(*args, default=default, cpu=cuda)

    def rolled_up(*args, unroll=1, **kwargs):  # a CPU takes minutes to compile unrolled steps of many states
        return scan(*args, **kwargs)

    def counted(*args, **kwargs):
        seen.append("block")
        return checkpoint(*args, **kwargs)

    scan, checkpoint = jax.lax.scan, jax.checkpoint
    monkeypatch.setattr(jax, "checkpoint", counted)
    monkeypatch.setattr(jax.lax, "scan", rolled_up)
    monkeypatch.setattr(programs, "differentiable_by_platform", chosen)
    monkeypatch.setattr(loops, "_MOST_IN_BLOCK", 400)
    jax.clear_caches()
    yield seen
    jax.clear_caches()


def looped(solve):
    """Returns two flow maps of five steps in a loop, from two states, with a drifting parameter each."""

    def ends(rhos, u0, t0=0.3, h=0.01):
        def step(u, _):
            return each(rhos, u), None

        def one(rho, u):
            system = jaxcast.Lorenz63(rho=jaxcast.Cosine(rho, 1.0, 2.0))
            return solve(SolvePlan(0, None, 5), system, u, split(t0, u.dtype), split(h, u.dtype))

        each = jax.vmap(one)
        return jnp.sin(jax.lax.scan(step, u0, length=2)[0] / 10)

    return ends


ARGS = jnp.asarray([28.0, 40.0]), U0, 0.3, 0.01
KINDS = {
    "backward": lambda ends: jax.grad(lambda *args: ends(*args).sum(), argnums=(0, 1, 2, 3))(*ARGS),
    "forward": lambda ends: jax.jvp(ends, ARGS, (jnp.ones(2), U0, 1.0, 0.1))[1],
    "columns": lambda ends: jax.jacfwd(ends, argnums=1)(*ARGS),
    "many": lambda ends: jax.vmap(jax.grad(lambda h: ends(*ARGS[:3], h).sum()))(jnp.asarray([0.01, 0.02])),
    "second": lambda ends: jax.hessian(lambda u: ends(ARGS[0], u).sum())(U0),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "backward" else pytest.mark.slow) for kind in KINDS]
)
def test_derivatives_of_blocks_are_those_of_the_plain_program(as_on_gpu, kind):
    found = jax.jit(lambda: KINDS[kind](looped(programs.solve)))()
    assert "block" in as_on_gpu
    expected = jax.jit(lambda: KINDS[kind](looped(programs.solve_reference)))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * np.abs(b).max()), found, expected)
