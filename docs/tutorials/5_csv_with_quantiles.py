# %% [markdown]
# # Forecast a table with quantiles
#
# A table of dated series is enough for forecasts with quantiles. We make one: weekly cases in three
# regions, with a season that is never quite the same, and a missing week.

# %%
from pathlib import Path

import jax
import jaxcast
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
weeks = np.arange(np.datetime64("2018-01-06"), np.datetime64("2024-01-06"), 7)
season = 1 + 0.9 * np.cos(2 * np.pi * (np.arange(len(weeks)) - 3) / 52)
growth = np.exp(np.cumsum(rng.normal(0, 0.03, (len(weeks), 3)), axis=0))
cases = rng.poisson(np.array([120, 80, 40]) * season[:, None] * growth)
rows = [
    f"{week},{a},{b},{c}" for week, (a, b, c) in zip(weeks, cases, strict=True)
]
rows[100] = f"{weeks[100]},,{cases[100, 1]},{cases[100, 2]}"  # a missing value
Path("cases.csv").write_text("\n".join(["date,north,middle,south", *rows]))

table = jaxcast.read_series("cases.csv")
table.values.shape  # date, series

# %% [markdown]
# ## Fit
#
# `fit_series` tries several methods. All learn from the first 60 % of the weeks, and the one that
# forecasts the next 20 % best is chosen. All are then scored on the last 20 %, which plays no part
# in the choice. The chosen one is refitted on all weeks, and its quantiles are calibrated by its
# errors on the held-out parts.

# %%
fit = jaxcast.series.fit_series(table, horizon=8, lower=0.0)
print("chosen:", fit.model.method)
print("method                 MAE, validation   MAE, test")
for row in fit.scores:
    print(f"{row.method:22} {row.validation_mae:15.3f} {row.test.mae:11.3f}")

# %% [markdown]
# Errors are in units of each series' standard deviation. Are the intervals as wide as they should
# be? On the test part they covered

# %%
fit.scores[0].test.coverage

# %% [markdown]
# ## Forecast
#
# From the newest date of the table, or from any other.

# %% Forecasts of eight weeks from two dates
figure, axes = plt.subplots(figsize=(8, 3))
for at in ("2023-09-30", None):
    forecast = fit.model.forecast(table, **({} if at is None else {"at": at}))
    dates = np.asarray(forecast.dates, dtype="datetime64[D]")
    observed = (weeks[-60:], cases[-60:, 0]) if at is None else None
    jaxcast.plotting.plot_fan(
        axes,
        dates,
        forecast.quantiles[:, 0],
        np.asarray(forecast.levels),
        truth=observed,
    )
axes.set_ylabel("weekly cases, north")
handles, labels = axes.get_legend_handles_labels()
_ = axes.legend(handles[-5:], labels[-5:], frameon=False, fontsize=8)

# %% [markdown]
# ## Keep it
#
# The model is a folder of settings and arrays. It knows its columns, so a newer table with the same
# columns is all that it needs.

# %%
jaxcast.save_model("model", fit.model)
model = jaxcast.load_model("model").pool
np.round(model.forecast(table).forecast[0])  # one week ahead, each series

# %% [markdown]
# ## From the command line
#
# ```sh
# jaxcast series train --data cases.csv --horizon 8 --lower 0 --out model
# jaxcast series forecast --model model --data cases.csv --out forecasts.csv --plot forecast.png
# jaxcast series evaluate --model model --data newer.csv --out scores
# ```
#
# More: [choose a series forecaster](../how_to/choose_a_series_forecaster.md),
# [covariates and gaps](../how_to/covariates_and_gaps.md),
# [calibrate quantiles](../how_to/calibrate_quantiles.md).
