# %% [markdown]
# # From a table of model forecasts to a calibrated pool
#
# Several models forecast the same quantity every month, some months ahead: climate centres, teams of
# a company, vendors. Their forecasts lie in a table, observations in another. We pool them without
# hindsight, and say how sure the pool is.
#
# First two tables. Four models of the mean of three months; one joins late, one sees two leads
# only, and all run too warm for a while.

# %%
from pathlib import Path

import jax
import jaxcast
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(3)
months = np.datetime64("2008-01") + np.arange(186)
value = np.zeros(len(months))
for t in range(1, len(months)):
    value[t] = 0.92 * value[t - 1] + rng.normal(0, 0.35)
season = np.convolve(value, np.ones(3) / 3, "valid")  # dated by its first month
bias = 0.5 * np.sin(2 * np.pi * np.arange(len(months)) / 90)

rows = ["issue,model,lead,target,value"]
for t in range(3, 180):
    for number, model in enumerate(("alder", "birch", "cedar", "dogwood")):
        if (model == "dogwood" and t < 80) or (model == "cedar" and t == 100):
            continue
        for lead in range(1, 3 if model == "birch" else 5):
            guess = value[t - 1] * 0.92 ** (lead + 1) + bias[t]
            guess += rng.normal(0, 0.2 + 0.1 * number)
            rows.append(
                f"{months[t]},{model},{lead},{months[t + lead - 1]},{guess:.3f}"
            )
Path("forecasts.csv").write_text("\n".join(rows))
observed = [
    f"{month},{mean:.3f}"
    for month, mean in zip(months[:180], season[:180], strict=True)
]
Path("observations.csv").write_text("\n".join(["date,value", *observed]))
print("\n".join(rows[:4]))

# %% [markdown]
# ## Read
#
# A mean of three months is known when its last month is over: three steps after its date. So the
# forecast with lead 4 that was issued in January is first verified in July, and nothing may be
# learned from it before. `verified` says so. Where values come irregularly, a column `known_from`
# in the observations gives the issue at which each is known.
#
# Leads count from 1 here: lead 1 is the month of the issue itself, as the column `target` says.
# Without that column lead 1 is the month after the issue, and lead 0 its own: whoever leaves
# `target` out has to count from 0.

# %%
ensemble = jaxcast.ensemble.read_ensemble(
    "forecasts.csv", "observations.csv", verified=3
)
forecasts = ensemble.forecasts
print(ensemble.models, ensemble.leads, ensemble.issues[0], ensemble.issues[-1])
print("known at issue 20, by lead:", forecasts.is_verified(20).sum(0))

# %% [markdown]
# Missing forecasts are masked. Models that stop at an early lead are carried on by the pools that
# want it (`carry_leads`): otherwise the mean jumps where a warm or a cold model ends.
#
# ## Pool
#
# Every pool forecasts all issues, each from what was verified by then.

# %%
e = jaxcast.ensemble
pools = {
    "mean": e.EnsembleMean(),
    "median": e.EnsembleMedian(),
    "weights by errors": e.SkillWeights(),
    "ridge to the mean": e.RidgeToMean(4),
    "adaptive": e.AdaptiveEnsemble(),
}
outputs = {name: e.pool_ensemble(pool, forecasts) for name, pool in pools.items()}
pooled = {name: np.asarray(output.forecast) for name, output in outputs.items()}
spreads = {name: e.error_spread(each, forecasts) for name, each in pooled.items()}

# %% [markdown]
# ## Score
#
# The RMSE is averaged over leads, and compared with the equally weighted mean, which is hard to
# beat. CRPS and coverage judge the normal distribution around each forecast, whose spread is that
# of its own verified errors.

# %%
late = np.arange(len(ensemble.issues)) >= 48  # after a start of four years
for row in e.score_ensemble(
    pooled,
    forecasts,
    reference="mean",
    blocks=ensemble.years,
    spreads=spreads,
    is_scored=late,
):
    low, high = row["ratio_ci95"]
    print(
        f"{row['method']:18} ratio {row['ratio']:.3f} ({low:.3f} to {high:.3f}), "
        f"CRPS {row['crps']:.3f}, 90 % intervals cover {row['coverage90']:.1%}"
    )

# %% [markdown]
# The adaptive pool corrects its experts by their newest errors, so it learns that the models run
# warm. It is drawn to the mean until there is evidence, and stays there where there is none.
#
# ## Forecast

# %% The newest issue: models, pool, and its 50 and 90 % bands
issue = len(ensemble.issues) - 1
values = np.where(forecasts.present[issue], forecasts.values[issue], np.nan)
figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
_ = jaxcast.plotting.plot_plume(
    axes,
    ensemble.targets[issue],
    values,
    pooled["adaptive"][issue],
    np.asarray(spreads["adaptive"])[issue],
)
_ = axes.set(xlabel="first month of the season", ylabel="value")

# %% [markdown]
# Probabilities of categories follow from the distribution:

# %%
probabilities = e.category_probabilities(
    pooled["adaptive"][issue], spreads["adaptive"][issue], (-0.5, 0.5)
)
for target, row in zip(ensemble.targets[issue], probabilities, strict=True):
    print(
        f"{target}: below {row[0]:.2f}, between {row[1]:.2f}, above {row[2]:.2f}"
    )

# %% [markdown]
# ## From the command line
#
# ```sh
# jaxcast ensemble score --forecasts forecasts.csv --observations observations.csv --verified 3
# jaxcast ensemble pool --forecasts forecasts.csv --observations observations.csv --verified 3 \
#     --score-from 2012-01 --thresholds -0.5 0.5 --out pool
# jaxcast ensemble forecast --forecasts forecasts.csv --observations observations.csv \
#     --verified 3 --thresholds -0.5 0.5 --out newest.csv
# ```
#
# On twenty years of real forecasts of El Niño: [results](../results/enso/index.md).
