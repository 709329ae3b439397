# %% [markdown]
# # Your own candidates
#
# Candidates need not be systems of jaxcast. A *forecast map* is any function that takes the newest
# value to one forecast for each model, `(model, dim)`: a formula, a trained network, rows that
# somebody else computed, or a simulator outside of JAX.

# %%
import jax
import jax.numpy as jnp
import jaxcast
import numpy as np

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# The truth is a noisy rotation in the plane. Our two models turn too slowly and too fast.


# %%
def rotation(angle):
    return np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )


rng = np.random.default_rng(0)
values = [np.array([1.0, 0.0])]
for _ in range(299):
    values.append(rotation(0.3) @ values[-1] + 0.01 * rng.normal(size=2))
truth = jaxcast.Trajectory(np.arange(300.0), np.stack(values))

# %% [markdown]
# ## A function of JAX


# %%
def slow_and_fast(value):
    return jnp.stack([rotation(0.2) @ value, rotation(0.35) @ value])


samples = jaxcast.one_step_samples(
    truth, num_delays=1, forecast_map=slow_and_fast
)
pool = jaxcast.pooling.fit_linear_regression(samples.forecasts, samples.targets)
cell = jaxcast.Forecaster(pool, slow_and_fast)

windows = jaxcast.cut_windows(truth, num_windows=10, num_leads=20, history_size=6)


def rmse(cell):
    errors = jaxcast.forecast_windows(cell, windows).forecast - windows.truth
    return float(jnp.sqrt(jnp.mean(errors**2)))


print(f"RMSE of linear regression {rmse(cell):.3f}")
print(
    f"RMSE of equal weights     {rmse(jaxcast.Forecaster(jaxcast.equal_weights(2), slow_and_fast)):.3f}"
)

# %% [markdown]
# ## A simulator outside of JAX
#
# `ExternalCandidates` calls any Python function from inside a compiled program, a binding to C or a
# subprocess, say. It has no gradient and says so when one is asked for.


# %%
def simulator(value):  # whatever it calls
    return np.stack([rotation(0.2) @ value, rotation(0.35) @ value])


outside = jaxcast.dynamics.ExternalCandidates(simulator, num_models=2)
print(f"RMSE of linear regression {rmse(jaxcast.Forecaster(pool, outside)):.3f}")

# %% [markdown]
# ## Forecasts that somebody else made
#
# A forecast map may take a second argument, `exogenous`: whatever comes with a step. Let it be the
# rows of forecasts themselves, and the pool weighs forecasts of models that you never see.


# %%
def delivered(value, exogenous):
    return exogenous


rows = jnp.stack(
    [truth.states @ rotation(0.2).T, truth.states @ rotation(0.35).T], axis=1
)
cell = jaxcast.Forecaster(pool, delivered)
outputs = jaxcast.open_loop(cell, truth.states, rows)
print(
    f"one-step RMSE {float(jnp.sqrt(jnp.mean((outputs.forecast[:-1] - truth.states[1:]) ** 2))):.4f}"
)

# %% [markdown]
# The noise alone has a standard deviation of 0.01. More on simulators:
# [External simulators](../how_to/external_simulators.md).
