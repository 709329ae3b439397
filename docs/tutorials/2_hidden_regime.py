# %% [markdown]
# # A hidden regime
#
# In the [first tutorial](1_pool_lorenz.py) the weights of a pool followed a parameter that moves
# with time. Here we infer that parameter itself, the *regime*, model how it evolves, and forecast
# until the end of every window.

# %%
import jax
import jaxcast
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

truth = jaxcast.Lorenz63(
    rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132)
)
train = jaxcast.simulate(
    truth, [1.0, 2.0, 20.0], num_samples=2000, dt=0.1, h=0.01, transient=50.0
)
rhos = np.arange(28.0, 50.0, 2.0)
ensemble = jaxcast.stack_systems(
    [jaxcast.Lorenz63(rho=float(rho)) for rho in rhos]
)
candidates = jaxcast.flow_map(ensemble, dt=0.1, h=0.01)

# %% [markdown]
# ## Fit
#
# `fit_regime` needs the training trajectory and the candidates, nothing else: no period, no shape,
# no name of what varies. With `coordinates`, one number for each candidate, the regime comes out in
# their unit; without them it finds coordinates from how the candidates' forecasts differ.

# %%
cell = jaxcast.fit_regime(train, forecast_map=candidates, coordinates=rhos)
for period, amplitude in zip(cell.periods, cell.amplitudes[:, 0], strict=True):
    print(f"period {float(period):.6f}, amplitude {abs(float(amplitude)):.3f}")

# %% [markdown]
# The truth has period 1.577132 and amplitude 10.
#
# ## Forecast
#
# The forecaster sees six true samples of a trajectory that it has not met, works out state and
# regime with a Kalman filter, and carries both forward.

# %%
test = jaxcast.simulate(
    truth,
    [3.0, -1.0, 25.0],
    num_samples=6 + 10 * 128,
    dt=0.1,
    h=0.01,
    transient=50.0,
)
windows = jaxcast.cut_windows(test, num_windows=10, num_leads=128, history_size=6)
outputs = jaxcast.forecast_windows(cell, windows)
valid = jax.vmap(lambda f, t: jaxcast.valid_time(f, t, dt=0.1, threshold=40.0))
times = valid(outputs.forecast, windows.truth)
print(f"median valid time {float(np.median(times.time)):.2f} in windows of 12.80")
print(
    f"forecasts valid to the end of their window: {int(times.censored.sum())} of 10"
)

# %% One component of a window; the forecast covers the truth
forecast_at = np.asarray(windows.times[0])
figure, axes = plt.subplots(figsize=(8, 2.8))
jaxcast.plotting.plot_forecast(
    axes,
    (forecast_at[:6], np.asarray(windows.history[0, :, 0])),
    (forecast_at[6:], np.asarray(outputs.forecast[0, :, 0])),
    truth=(forecast_at[6:], np.asarray(windows.truth[0, :, 0])),
    label="x",
)
_ = axes.set_xlabel("time")

# %% The inferred regime, carried forward, and the true parameter
figure, axes = plt.subplots(figsize=(8, 2.8))
regime = np.asarray(outputs.info["regime"][0, :, 0])
jaxcast.plotting.plot_regime(
    axes,
    forecast_at[6:],
    regime,
    np.asarray(outputs.info["regime_deviation"][0, :, 0]),
    truth=(
        forecast_at[6:],
        np.asarray(jax.vmap(truth.rho)(forecast_at[6:] - 0.05)),
    ),
    label="ρ",
)
_ = axes.set_xlabel("time")

# %% [markdown]
# ## When it works
#
# Truth and candidates come from one family of polynomial systems here, so that the fit is exact to
# rounding. [How the regime is found](../explanation/regime.md) says what happens where they do not,
# and when attention is the better choice.
