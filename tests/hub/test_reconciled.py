"""Forecasts of a hub's locations that add up, in Python and by the command."""

import dataclasses

import jax
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.hierarchy import fit_reconciliation, hierarchy_from_parents, hierarchy_of_total

LEVELS = np.asarray([0.025, 0.25, 0.5, 0.75, 0.975])
PLACES = ("01", "02", "US", "PR")
DATES = np.datetime64("2024-01-06") + 7 * np.arange(40)


def made():
    rng = np.random.default_rng(0)
    states = 50 + np.cumsum(rng.normal(size=(2, 40)), 1)
    truth = np.stack([*states, states.sum(0), 5 + rng.normal(size=40)])
    quantiles = truth[..., None] + rng.normal(size=(4, 40, 1)) * 2 + np.asarray([-4, -1.4, 0, 1.4, 4])
    return jaxcast.hub.Hub(
        quantiles[:, :, None], truth, truth[..., None], PLACES, DATES, ("one",), LEVELS, 2, target="wk inc x"
    )


def test_the_last_date_is_reconciled_by_the_errors_of_those_that_were_known():
    hub = made()
    forecasts = hub.quantiles[:, :, 0]
    tree = hierarchy_of_total(("01", "02"))
    found = jaxcast.hub.reconcile_locations(forecasts, hub, hierarchy=tree)
    np.testing.assert_array_equal(found[3], forecasts[3, -1])  # PR is in no sum
    order = [2, 0, 1]
    errors = (hub.truth - forecasts[..., 2])[order, :38].T  # horizon 2: the last two targets come later
    template = jaxcast.hierarchy.reconcile_quantiles(
        forecasts[order, -1],
        reconciliation=fit_reconciliation(tree, residuals=errors, nonnegative=True),
        levels=LEVELS.tolist(),
        template=errors,
        key=jax.random.key(0),
    )
    np.testing.assert_allclose(found[order], template.quantiles, rtol=1e-9)
    later = hub.truth.copy()
    later[:, 38:] = np.nan
    replayed = jaxcast.hub.reconcile_locations(
        forecasts, jaxcast.hub.Hub(**{**vars(hub), "truth": later}), hierarchy=tree
    )
    np.testing.assert_array_equal(replayed, found)
    by_default = jaxcast.hub.reconcile_locations(forecasts, hub, method="bottom_up")
    assert abs(by_default[2, 2] - by_default[[0, 1, 3], 2].sum()) < 1


def test_sums_are_reconciled_by_errors_against_the_release_of_the_round():
    hub = made()
    forecasts, tree = hub.quantiles[:, :, 0], hierarchy_of_total(("01", "02"))
    releases = np.stack([hub.truth * 1.1, hub.truth])
    days = np.asarray(["2024-01-01", "2024-12-01"], "datetime64[D]")
    revised = dataclasses.replace(hub, releases=releases, as_of=days, release_of=np.zeros(40, int))
    found = jaxcast.hub.reconcile_locations(forecasts, revised, hierarchy=tree)
    final = dataclasses.replace(hub, truth=hub.truth * 1.1)
    np.testing.assert_array_equal(found, jaxcast.hub.reconcile_locations(forecasts, final, hierarchy=tree))
    assert (found != jaxcast.hub.reconcile_locations(forecasts, hub, hierarchy=tree)).any()


def test_what_does_not_add_up_is_refused():
    hub = made()
    forecasts = hub.quantiles[:, :, 0].copy()
    with pytest.raises(jaxcast.InputError, match="no location '03' of the hierarchy"):
        jaxcast.hub.reconcile_locations(forecasts, hub, hierarchy=hierarchy_from_parents({"03": "US", "01": "US"}))
    parts = jaxcast.hub.Hub(**{**vars(hub), "locations": ("01", "02", "03", "PR")})
    with pytest.raises(jaxcast.InputError, match="no location 'US' to be the sum"):
        jaxcast.hub.reconcile_locations(forecasts, parts)
    unknown = jaxcast.hub.Hub(**{**vars(hub), "truth": np.where(np.arange(4)[:, None] == 1, np.nan, hub.truth)})
    with pytest.raises(jaxcast.InputError, match="most are lacking for '02'"):
        jaxcast.hub.reconcile_locations(forecasts, unknown)
    with pytest.raises(jaxcast.InputError, match="expected forecasts"):
        jaxcast.hub.reconcile_locations(forecasts[:, :3], hub)
    forecasts[0, -1] = np.nan
    with pytest.raises(jaxcast.InputError, match="'01' has no forecast on 2024-10-05"):
        jaxcast.hub.reconcile_locations(forecasts, hub)


def test_a_nation_is_not_the_sum_of_some_of_its_states():
    hub = made().only(["one"])
    few = dataclasses.replace(
        hub, quantiles=hub.quantiles[1:], truth=hub.truth[1:], observed=hub.observed[1:], locations=PLACES[1:]
    )
    share = np.median((few.truth[0] + few.truth[2])[:38] / few.truth[1, :38])
    message = f"not the sum of the 2 other locations, whose target data add up to {share:.0%} of it; .*--hierarchy"
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.hub.reconcile_locations(few.quantiles[:, :, 0], few, method="bottom_up")


def test_the_command_writes_forecasts_that_add_up(tmp_path, capsys):
    hub = made()
    rows = [
        f"one,{place},{date},1,{level},{float(hub.quantiles[r, t, 0, q])!r}"
        for r, place in enumerate(PLACES[:3])
        for t, date in enumerate(DATES)
        for q, level in enumerate(LEVELS)
    ]
    forecasts, truth = tmp_path / "forecasts.csv", tmp_path / "truth.csv"
    forecasts.write_text("\n".join(["model,location,target_end_date,horizon,quantile,value", *rows]))
    values = [f"{place},{DATES[t]},{float(hub.truth[r, t])!r}" for r, place in enumerate(PLACES[:3]) for t in range(39)]
    truth.write_text("\n".join(["location,date,value", *values]))
    command = ["hub", "forecast", "--forecasts", forecasts, "--truth", truth, "--target-name", "wk inc x"]
    command += ["--method", "equal_mean", "--model", "us-pool", "--out"]
    parse([*map(str, [*command, tmp_path / "out", "--reconcile", "mint"])]).run()
    assert "reconciled by mint" in capsys.readouterr().out
    written = jaxcast.load_hub(tmp_path / "out", truth)
    read = jaxcast.load_hub(forecasts, truth)
    np.testing.assert_allclose(
        written.quantiles[:, -1, 0], jaxcast.hub.reconcile_locations(read.quantiles[:, :, 0], read), rtol=1e-8
    )
    gaps = [abs(table.quantiles[2, -1, 0, 2] - table.quantiles[:2, -1, 0, 2].sum()) for table in (written, read)]
    assert gaps[0] < gaps[1] / 3
    tree = tmp_path / "tree.csv"
    tree.write_text("child,parent\n01,US\n09,US\n")
    with pytest.raises(jaxcast.InputError, match="no location '09'"):
        parse([*map(str, [*command, tmp_path / "other", "--hierarchy", tree])]).run()
