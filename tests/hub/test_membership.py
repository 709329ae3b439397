import datetime

import numpy as np
import pytest

import jaxcast

DATES = np.datetime64("2024-01-06") + 7 * np.arange(3)
LEVELS = np.asarray([0.25, 0.5, 0.75])


def make():
    rng = np.random.default_rng(0)
    values = np.sort(rng.normal(10, 1, (2, 3, 4, 3)), -1)
    values[0, 0, 1], values[1, 1] = np.nan, np.nan
    values[0, 2, 3] = 9e9  # an outlier
    return jaxcast.hub.Hub(
        values, np.full((2, 3), 10.0), np.ones((2, 3, 1)), ("01", "02"), DATES, tuple("abcd"), LEVELS, 2
    )


def test_a_row_for_each_location_round_and_model():
    hub = make()
    pool = jaxcast.hub.TrainedQuantileAverage.untrained(4)
    weights = np.asarray(jaxcast.hub.pool_forecasts(pool, hub.forecasts()).info["weights"])
    table = jaxcast.hub.membership_table(hub, weights)
    assert len(table) == 5 * 4  # nobody forecast 02 on the second date
    rows = {(row["location"], str(row["target_end_date"]), row["model"]): row for row in table.to_dicts()}
    assert ("02", "2024-01-13", "a") not in rows
    for (place, date, model), row in rows.items():
        i, t, m = (
            hub.locations.index(place),
            int(np.flatnonzero(np.datetime64(date) == DATES)[0]),
            hub.models.index(model),
        )
        expected = "absent" if (i, t, m) == (0, 0, 1) else "left out" if (i, t, m) == (0, 2, 3) else "pooled"
        assert row["status"] == expected
        assert row["weight"] == (None if expected == "absent" else weights[i, t, m])
        assert (row["horizon"], row["reference_date"]) == (2, row["target_end_date"] - datetime.timedelta(14))
    pl = pytest.importorskip("polars")
    sums = table.group_by("location", "target_end_date").agg(pl.col("weight").sum())["weight"]
    np.testing.assert_allclose(sums, 1, rtol=1e-12)


def test_a_pool_without_weights_has_members_all_the_same():
    table = jaxcast.hub.membership_table(make())
    assert table["weight"].null_count() == len(table)
    assert table["status"].value_counts().sort("status").rows() == [("absent", 1), ("pooled", 19)]
    with pytest.raises(jaxcast.InputError, match=r"expected weights \(2, 3, 4\)"):
        jaxcast.hub.membership_table(make(), np.ones((2, 3, 3)))
