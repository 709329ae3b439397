import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcast


class Networks(nnx.Module):
    """Two models that a user has trained: a state to (2, dim) forecasts."""

    def __init__(self, rngs):
        self.layer = nnx.Linear(3, 6, rngs=rngs, param_dtype=jnp.float64)

    def __call__(self, value):
        return self.layer(value).reshape(2, 3)


def in_numpy(value, time):
    """What an external simulator might do; it would fail on anything that JAX traces."""
    return np.stack([np.asarray(value) * float(np.cos(time)), np.flip(np.asarray(value))])


def in_jax(value, time):
    return jnp.stack([value * jnp.cos(time), jnp.flip(value)])


EXTERNAL = jaxcast.dynamics.ExternalCandidates(in_numpy, num_models=2)


@pytest.mark.slow
def test_an_external_simulator_does_what_the_same_function_in_jax_does(trajectory):
    for run in (
        lambda candidates: jaxcast.dynamics.forecasts_along(candidates, trajectory),
        lambda candidates: jaxcast.one_step_samples(trajectory, 3, candidates).memory.errors,
        lambda candidates: (
            jaxcast.forecast(
                jaxcast.Forecaster(jaxcast.equal_weights(2), candidates), trajectory.states[:5], 4, trajectory.times[:8]
            ).forecast
        ),
    ):
        np.testing.assert_allclose(run(EXTERNAL), run(in_jax), rtol=1e-12)


@pytest.mark.slow
def test_a_pool_trains_over_an_external_simulator(trajectory):
    samples = jaxcast.one_step_samples(trajectory, 2, EXTERNAL)

    def init(key):
        return jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=8, key=key, dtype=jnp.float64)

    keys = jax.random.split(jax.random.key(0), 1)
    fit = jaxcast.fit(
        samples,
        init=init,
        loss=jaxcast.pooling.mean_squared_error,
        keys=keys,
        optimizer=optax.adam(1e-2),
        num_epochs=5,
        batch_size=32,
    )
    assert fit.losses[0, -1] < fit.losses[0, 0]


def test_an_external_simulator_has_no_gradient_and_says_so(trajectory):
    cell = jaxcast.Forecaster(jaxcast.equal_weights(2), EXTERNAL)

    def end(history):
        return jaxcast.forecast(cell, history, 3, trajectory.times[:7]).forecast.sum()

    with pytest.raises(jaxcast.InputError, match="external candidates have no gradient"):
        jax.grad(end)(trajectory.states[:5])


def test_what_an_external_simulator_gets_wrong_is_named(trajectory):
    wrong = jaxcast.dynamics.ExternalCandidates(lambda value: np.zeros(3), num_models=2)
    with pytest.raises(jaxcast.InputError, match=r"expected forecasts \(2, 3\) of the external function, got \(3,\)"):
        jaxcast.dynamics.forecasts_along(wrong, trajectory)


def test_numpy_on_what_jax_traces_is_refused_with_the_way_out(trajectory):
    with pytest.raises(jaxcast.InputError, match=r"wrap it: jaxcast.dynamics\.ExternalCandidates"):
        jaxcast.dynamics.forecasts_along(in_numpy, trajectory)
    with pytest.raises(jaxcast.InputError, match=r"wrap it: jaxcast.dynamics\.ExternalCandidates"):
        jaxcast.forecast(jaxcast.Forecaster(jaxcast.equal_weights(2), in_numpy), trajectory.states, 2)


@pytest.mark.slow
def test_a_trained_network_is_a_candidate_and_has_its_gradient(trajectory):
    networks = Networks(nnx.Rngs(0))
    np.testing.assert_allclose(
        jaxcast.dynamics.forecasts_along(networks, trajectory)[7], networks(trajectory.states[7]), rtol=1e-12
    )

    def end(networks):
        cell = jaxcast.Forecaster(jaxcast.equal_weights(2), networks)
        return jaxcast.forecast(cell, trajectory.states[:3] / 10, 4).forecast.sum()

    gradient = jax.grad(end)(networks).layer.bias[...]
    for i in range(6):
        moved = []
        for step in (1e-6, -1e-6):
            other = Networks(nnx.Rngs(0))
            other.layer.bias[...] = other.layer.bias[...].at[i].add(step)
            moved.append(end(other))
        np.testing.assert_allclose(gradient[i], (moved[0] - moved[1]) / 2e-6, rtol=1e-5)


def test_unstack_is_the_inverse_of_stack():
    systems = [jaxcast.Lorenz63(rho=jaxcast.Cosine(m, 1.0, 2.0)) for m in (28.0, 30.0)]
    again = jaxcast.dynamics.unstack_systems(jaxcast.stack_systems(systems))
    assert [jaxcast.dynamics.describe_system(a) for a in again] == [
        jaxcast.dynamics.describe_system(a) for a in systems
    ]
    with pytest.raises(jaxcast.InputError, match="expected a stack of systems, got one Lorenz63"):
        jaxcast.dynamics.unstack_systems(systems[0])
