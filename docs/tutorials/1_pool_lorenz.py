# %% [markdown]
# # Simulate and pool Lorenz
#
# We simulate a Lorenz system whose parameter ρ moves with time, and forecast it with eleven Lorenz
# models whose ρ is constant. None of them is right. A *pool* gives each model a weight at every
# step, by how well it has just forecast.
#
# Chaotic dynamics need float64. jaxcast never changes JAX's settings, so we do.

# %%
import jax
import jaxcast
import matplotlib.pyplot as plt
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The truth and the candidates
#
# Any parameter of a system takes a number or a *schedule*. Here ρ follows a cosine. `h` is the
# integrator's step and `dt` the interval at which states are recorded; `transient` is run first and
# dropped.

# %% A non-stationary Lorenz trajectory
truth = jaxcast.Lorenz63(
    rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132)
)
train = jaxcast.simulate(
    truth, [1.0, 2.0, 20.0], num_samples=2000, dt=0.1, h=0.01, transient=50.0
)

figure, axes = plt.subplots(figsize=(8, 2.5))
jaxcast.plotting.plot_series(
    axes, train.times[:200], train.states[:200, 0], label="x"
)
_ = axes.set_xlabel("time")

# %% [markdown]
# The candidates are one system with eleven values of ρ. Their *flow map* takes a state to the
# eleven states that they forecast for `dt` later.

# %%
ensemble = jaxcast.stack_systems(
    [jaxcast.Lorenz63(rho=float(rho)) for rho in range(28, 50, 2)]
)
candidates = jaxcast.flow_map(ensemble, dt=0.1, h=0.01)
candidates(train.states[0]).shape

# %% [markdown]
# ## Train a pool
#
# Additive attention scores each candidate by its last `num_delays` errors and turns the scores into
# weights. It learns in *open loop*: from one-step forecasts along the training trajectory, where
# the truth is always known. `fit` trains one model for each key, all at once.


# %%
def init(key):
    return jaxcast.AdditiveAttention(dim=3, num_delays=5, hidden_size=60, key=key)


samples = jaxcast.one_step_samples(train, num_delays=5, forecast_map=candidates)
keys = jax.random.split(jax.random.key(0), 1)
fit = jaxcast.fit(
    samples,
    init=init,
    loss=jaxcast.pooling.mean_squared_error,
    keys=keys,
    optimizer=optax.adam(1e-3),
    num_epochs=60,
    batch_size=64,
)
pool = jax.tree.map(lambda leaf: leaf[0], fit.models)
print(
    f"mean squared error: {fit.losses[0, 0]:.2f} after 1 epoch, {fit.losses[0, -1]:.3f} after 60"
)

# %% [markdown]
# ## Forecast in closed loop
#
# A `Forecaster` is the pool together with its candidates. In *closed loop* it feeds on its own
# forecasts. We cut 20 windows from another trajectory: the forecaster sees six true samples of
# each, then has to forecast 64 more.

# %%
cell = jaxcast.Forecaster(pool, candidates)
test = jaxcast.simulate(
    truth,
    [3.0, -1.0, 25.0],
    num_samples=6 + 20 * 64,
    dt=0.1,
    h=0.01,
    transient=50.0,
)
windows = jaxcast.cut_windows(test, num_windows=20, num_leads=64, history_size=6)
outputs = jaxcast.forecast_windows(cell, windows)
outputs.forecast.shape  # window, lead, component

# %% [markdown]
# *Valid time* is how long a forecast's squared error stays below a threshold. 40 is the threshold
# of the paper whose method this is
# ([Patel and Wikner, 2023](https://arxiv.org/abs/2310.16231)).

# %%
valid = jax.vmap(lambda f, t: jaxcast.valid_time(f, t, dt=0.1, threshold=40.0))
median = jaxcast.median_interval(valid(outputs.forecast, windows.truth).time)
print(
    f"median valid time {median.median:.2f}, 95 % interval {median.low:.2f} to {median.high:.2f}"
)

# %% [markdown]
# Equal weights show what the attention is worth:

# %%
equal = jaxcast.Forecaster(jaxcast.equal_weights(11), candidates)
times = valid(
    jaxcast.forecast_windows(equal, windows).forecast, windows.truth
).time
print(f"median valid time of equal weights {float(np.median(times)):.2f}")

# %% [markdown]
# ## What the weights reveal
#
# No candidate's parameter moves, and the pool is never shown that the truth's does. Its weights
# follow ρ all the same. The picture begins where the forecast does: from its left edge on, the pool
# sees no truth any more.

# %% Attention weights of one window; the dashed line is the true parameter
weights = np.asarray(outputs.info["weights"][3])
first = 6 + 3 * 64
start = float(test.times[first - 1])
edges = start + 0.1 * np.arange(31)
fine = np.linspace(edges[0], edges[-1], 200)
figure, axes = plt.subplots(figsize=(8, 3))
jaxcast.plotting.plot_weights(
    axes,
    edges,
    weights[:30],
    np.arange(28.0, 50.0, 2.0),
    truth=(fine, jax.vmap(truth.rho)(fine)),
    restarts=[start],
    coordinate_label="candidate's ρ",
    truth_label="true ρ",
)
_ = axes.set_xlabel("time")

# %% [markdown]
# The [next tutorial](2_hidden_regime.py) goes one step further: it infers ρ, models how it evolves,
# and forecasts whole windows.
