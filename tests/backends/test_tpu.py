"""float64 asked of a TPU, by lowering for one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.training.run import FitSettings, run_epochs, started_run

SYSTEM = jaxcast.Lorenz63()


def simulated(u0):
    return jaxcast.simulate(SYSTEM, u0[0], num_samples=2).states


def ensemble(u0):
    return jaxcast.final_states(SYSTEM, u0, duration=0.1)


def rolled(u0):
    cell = jaxcast.Forecaster(jaxcast.equal_weights(2), lambda u, _: jnp.stack([u, u]))
    return jaxcast.forecast(cell, u0, 2).forecast


def differentiated(u0):
    return jax.grad(lambda u0: ensemble(u0).sum())(u0)


def lowered(function, platform, dtype):
    u0 = np.ones((2, 3), dtype)
    return jax.jit(function).trace(u0).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
    "function", [ensemble, rolled, simulated, pytest.param(differentiated, marks=pytest.mark.slow)]
)
def test_float64_is_refused_in_one_line(function):
    with pytest.raises(jaxcast.InputError, match="a TPU computes in float32, got float64 numbers of shape") as caught:
        lowered(function, "tpu", np.float64)
    assert "\n" not in str(caught.value)
    assert "or compute on a CPU or GPU" in str(caught.value)
    lowered(function, "tpu", np.float32), lowered(function, "cuda", np.float64)


@pytest.mark.slow
def test_float64_parameters_are_refused():
    def init(key):
        return jaxcast.pooling.FeedForward(dim=2, num_delays=1, hidden_size=3, key=key, dtype=dtype)

    dtype = jnp.float64
    samples = jnp.ones((4, 1, 2)), jnp.ones((4, 2))
    optimizer = jaxcast.training.make_optimizer(1e-2)
    graph, run = started_run(init, None, jax.random.split(jax.random.key(0), 1), optimizer, 1, False)
    loss = lambda model, batch: jnp.mean(model.hidden(batch[0].reshape(4, -1)) ** 2)  # noqa: E731
    settings = dict(graph=graph, optimizer=optimizer, settings=FitSettings(loss, 4, 1), mesh=None)
    with pytest.raises(jaxcast.InputError, match="got float64 numbers of shape"):
        run_epochs.trace(run, samples, None, 0, 1, **settings).lower(lowering_platforms=("tpu",))
