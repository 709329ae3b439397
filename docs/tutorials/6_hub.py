# %% [markdown]
# # Score and pool a hub
#
# Many teams submit quantile forecasts of the same targets, week by week. We score them, pool them
# without hindsight, and write the next ensemble file.
#
# First a small hub: four teams, six locations, sixty weeks. One team is too low, one too sure, one
# noisy, one good.

# %%
import jax
import jaxcast
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(1)
levels = np.array([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
normal = np.array([-1.96, -1.28, -0.67, 0.0, 0.67, 1.28, 1.96])
dates = np.arange(np.datetime64("2023-01-07"), np.datetime64("2024-03-02"), 7)
week = np.arange(len(dates))
truth = (
    60 + 40 * np.sin(2 * np.pi * week / 40) + rng.normal(0, 6, (6, len(dates)))
)

teams = ("low", "sure", "noisy", "good")
bias, error, spread = (
    np.array([-15, 0, 0, 0]),
    np.array([6, 9, 20, 7]),
    np.array([8, 3, 20, 8]),
)
centre = truth[..., None] + bias + error * rng.normal(size=(6, len(dates), 4))
forecasts = centre[..., None] + spread[:, None] * normal
forecasts[2, 10:20, 3] = np.nan  # the good team missed ten weeks in one location
forecasts.shape  # location, week, team, quantile

# %% [markdown]
# Real hubs are read from their folders: `jaxcast.load_hub("model-output/", "truth.csv")` returns a
# `Hub` with the same arrays, and reports crossing quantiles, duplicates and gaps with file and row.
#
# ## Score
#
# The weighted interval score (WIS) is in the unit of the target; lower is better. The relative WIS
# compares each pair of teams on the tasks that both forecast.

# %%
by_team = {team: forecasts[:, :, number] for number, team in enumerate(teams)}
for row in jaxcast.hub.score_forecasters(
    by_team, truth, levels, baseline="noisy"
):
    print(
        f"{row['method']:6} WIS {row['wis']:6.2f}, relative {row['relative_wis']:.2f}, tasks {row['num_tasks']}"
    )

# %% [markdown]
# ## Pool
#
# Missing forecasts are masked. Simple pools need no training.

# %%
hub = jaxcast.hub.HubForecasts.of(forecasts, truth, levels)
pools = {
    "mean": jaxcast.hub.pool_forecasts(
        pool=jaxcast.hub.QuantileMean(), forecasts=hub
    ),
    "median": jaxcast.hub.pool_forecasts(
        pool=jaxcast.hub.QuantileMedian(), forecasts=hub
    ),
    "past scores": jaxcast.hub.pool_forecasts(
        pool=jaxcast.hub.InverseScoreWeights(power=1.0), forecasts=hub
    ),
}

# %% [markdown]
# The adaptive pool weighs the teams, every week anew, by the weeks whose truth was known by then.

# %%
adaptive = jaxcast.hub.pool_forecasts(
    pool=jaxcast.hub.AdaptivePool(), forecasts=hub
)
pools["adaptive"] = adaptive
late = slice(20, None)  # after a start in which nothing is known
scored = {name: pooled.forecast[:, late] for name, pooled in pools.items()}
for row in jaxcast.hub.score_forecasters(
    scored, truth[:, late], levels, baseline="mean"
):
    print(
        f"{row['method']:12} WIS {row['wis']:5.2f}, 95 % intervals cover {row['coverage95']:.2f}"
    )

# %% [markdown]
# Is the difference more than chance? A block bootstrap over weeks says so:

# %%
test = jaxcast.hub.compare_forecasters(
    scored["adaptive"], scored["mean"], truth[:, late], levels
)
print(
    f"ratio {test['ratio']:.3f}, 95 % interval {test['low']:.3f} to {test['high']:.3f}"
)

# %% Weights of the teams in one location
weights = np.asarray(adaptive.info["weights"][0])
figure, axes = plt.subplots(figsize=(8, 2.8))
for number, team in enumerate(teams):
    axes.plot(dates, weights[:, number], label=team)
axes.set(ylabel="weight", ylim=(0, 1))
_ = axes.legend(frameon=False, ncols=4)

# %% [markdown]
# ## From the command line
#
# ```sh
# jaxcast hub score --forecasts hub/ --truth truth.csv --baseline COVIDhub-baseline
# jaxcast hub pool --forecasts hub/ --truth truth.csv --out pool
# jaxcast hub forecast --forecasts hub/ --truth truth.csv --model team-ensemble --out model-output
# ```
#
# The last line writes a hubverse file, ready to be submitted. What a pool may know is explained in
# [Rolling origin without hindsight](../explanation/rolling_origin.md).
