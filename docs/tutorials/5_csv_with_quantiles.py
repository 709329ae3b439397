# %% [markdown]
# # Forecast a table with quantiles
#
# A table of dated series is enough for forecasts with quantiles. We make one: weekly cases in three
# regions, with a season that is never quite the same, and a few missing weeks.

# %%
from pathlib import Path

import jax
import jaxcast
import numpy as np

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
weeks = np.arange(np.datetime64("2018-01-06"), np.datetime64("2024-01-06"), 7)
season = 1 + 0.9 * np.cos(2 * np.pi * (np.arange(len(weeks)) - 3) / 52)
growth = np.exp(np.cumsum(rng.normal(0, 0.06, (len(weeks), 3)), axis=0) * 0.5)
cases = rng.poisson(np.array([120, 80, 40]) * season[:, None] * growth)
rows = [
    ",".join([str(week), *map(str, row)])
    for week, row in zip(weeks, cases, strict=True)
]
rows[100] = f"{weeks[100]},,{cases[100, 1]},{cases[100, 2]}"  # a missing value
Path("cases.csv").write_text("\n".join(["date,north,middle,south", *rows]))

table = jaxcast.read_series("cases.csv")
print(table.values.shape, "weeks and series, missing:", table.missing)
