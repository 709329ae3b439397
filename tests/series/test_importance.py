"""Importance of inputs: known dependences, NumPy by loops, the picture and the command."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.series import coefficient_sizes, permutation_importance, series_importance

LENGTH = 120
DATES = np.datetime64("2015-01", "M") + np.arange(LENGTH)


class Known(jaxcast.series.WindowForecaster, jaxcast.FrozenPytree):
    """Twice the value two steps back of the first series, and one covariate."""

    @property
    def signature(self):
        return jaxcast.series.WindowSignature(1, leads=(1,))

    def __call__(self, history, covariates=None):
        first = 2 * history[..., -3, :1] + covariates[..., :, 1] * jnp.ones(2)
        return jaxcast.Output(jnp.broadcast_to(first[..., None, :], (*history.shape[:-2], 1, 2)), {})


class Newest(jaxcast.series.WindowForecaster, jaxcast.FrozenPytree):
    """The newest value of the second variable, of windows that were cut at lags."""

    @property
    def signature(self):
        return jaxcast.series.WindowSignature(1, target_features=(1,))

    def __call__(self, history, covariates=None, lags=None):
        assert lags.steps == (6, 1, 0)
        return jaxcast.Output(history[..., -1:, :, 1:2], {})


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    return jaxcast.series.series_windows(
        rng.normal(size=(80, 2)), history_size=4, leads=(1,), newest_covariates=rng.normal(size=(80, 2, 2))
    )


@pytest.mark.slow
def test_only_inputs_that_the_forecast_reads_matter(windows):
    targets = Known()(windows.history, windows.covariates).forecast
    perfect = windows._replace(targets=targets * windows.weights)
    found = permutation_importance(Known(), perfect, series=("north", "south"), covariates={"one": (0,), "two": (1,)})
    assert found.loss == pytest.approx(0, abs=1e-7)
    assert found.kinds == ("lag",) * 4 + ("series",) * 2 + ("covariate",) * 2
    assert found.names == ("0", "1", "2", "3", "north", "south", "one", "two")
    assert (found.mean > 0.3).tolist() == [False, False, True, False, True, False, False, True]
    np.testing.assert_allclose(found.mean[[0, 1, 3, 5, 6]], 0, atol=1e-7)
    assert (found.spread[[2, 4, 7]] > 0).all()
    again = permutation_importance(Known(), perfect, kinds=("lag",), lags=(2,))
    assert again.mean[0] == pytest.approx(found.mean[2])  # the same permutations for any set of inputs


@pytest.mark.slow
def test_the_loss_is_that_of_permuted_blocks_by_loops(windows):
    found = permutation_importance(
        Known(), windows, kinds=("covariate",), num_repeats=3, block_size=10, seed=4, scale=np.asarray([1.0, 2.0])
    )
    count = len(windows.targets)
    blocks = [np.arange(start, min(start + 10, count)) for start in range(0, count, 10)]
    rng = np.random.default_rng(4)
    history, covariates = np.asarray(windows.history), np.asarray(windows.covariates)
    targets, weights = np.asarray(windows.targets), np.asarray(windows.weights)

    def loss(of):
        forecast = 2 * history[:, -3, :1] + of[:, :, 1]
        return (weights[:, 0] * np.abs(forecast - targets[:, 0]) / [1.0, 2.0]).sum() / weights.sum()

    rises = []
    for _ in range(3):
        order = np.concatenate([blocks[n] for n in rng.permutation(len(blocks))])
        changed = covariates.copy()
        changed[..., 1] = covariates[order][..., 1]
        rises.append(loss(changed) - loss(covariates))
    assert found.loss == pytest.approx(loss(covariates), rel=1e-5)
    np.testing.assert_allclose(found.mean, [0, np.mean(rises)], atol=1e-6)
    np.testing.assert_allclose(found.spread, [0, np.std(rises)], atol=1e-6)


@pytest.mark.slow
def test_variables_and_lags_that_were_cut_have_their_names():
    values = np.random.default_rng(1).normal(size=(60, 2, 3))
    windows = jaxcast.series.series_windows(values, lags=(0, 1, 6), leads=(1,), targets=(1,))
    found = permutation_importance(Newest(), windows, kinds=("variable", "lag"), num_repeats=2)
    assert found.names == ("1", "2", "3", "0", "1", "6")
    assert (np.abs(found.mean) > 1e-3).tolist() == [False, True, False, True, False, False]


def table(length=LENGTH):
    rng = np.random.default_rng(2)
    heat = rng.normal(size=LENGTH)
    walk = np.cumsum(rng.normal(size=(LENGTH, 2)), 0) / 5 + 3 * heat[:, None]
    useless = rng.normal(size=(LENGTH, 2, 1))
    ahead = np.repeat(heat[:, None, None], 2, 1)
    return jaxcast.series.series_table(
        walk[:length],
        DATES[:length],
        names=("north", "south"),
        past_covariates=useless[:length],
        future_covariates=ahead[:length],
    )


@pytest.fixture(scope="module")
def model():
    return jaxcast.series.fit_series(
        table(90), horizon=2, history_size=3, season=0, methods=("ridge",), levels=(0.1, 0.5, 0.9)
    ).model


@pytest.mark.slow
def test_a_model_of_a_table_names_its_covariates_over_all_leads(model):
    found = series_importance(model, table(), kinds=("covariate",))
    assert found.names == ("past 1", "future 1")
    assert found.mean[1] > 0.3
    assert found.mean[1] > 10 * abs(found.mean[0])
    with pytest.raises(jaxcast.InputError, match="nothing to score from 2022-07-01 on"):
        series_importance(model, table(90))
    assert series_importance(model, table(90), since="2021-01-01", kinds=("lag",)).names == ("0", "1", "2")


@pytest.mark.slow
def test_sizes_of_coefficients_are_weights_times_deviations(model):
    regression = model.forecaster.forecaster
    windows = model.windows(table())
    mean, std = model.forecaster.covariates_mean, model.forecaster.covariates_std
    windows = windows._replace(covariates=(windows.covariates - mean) / std)
    found = coefficient_sizes(regression, windows, covariates=("useless", "heat 1", "heat 2"))
    lags = ("lag 0", "lag 1", "lag 2")
    assert found.names == (*lags, *(f"neighbours, {lag}" for lag in lags), "useless", "heat 1", "heat 2")
    assert found.sizes.shape == (2, 9)
    assert np.abs(found.sizes[0]).argmax() == 7  # the covariate of each lead's own date
    assert np.abs(found.sizes[1, 6:]).argmax() == 2
    with pytest.raises(jaxcast.InputError, match="expected names of 3 covariates"):
        coefficient_sizes(regression, windows, covariates=("heat",))
    cosines = jaxcast.series.PolynomialFeatures(2)
    with pytest.raises(jaxcast.InputError, match="permutation_importance takes any"):
        coefficient_sizes(jaxcast.series.LagRegression(regression.inputs, cosines, regression.weights, regression.bias, True, False), windows)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("trend",)}, "kinds"),
        ({"lags": (4,)}, r"hold no lag 4; they hold \[0, 1, 2, 3\]"),
        ({"series": ("north",)}, "names of 2 series, got 1"),
        ({"covariates": {"x": (5,)}}, "'x' must be numbers below 2"),
        ({"kinds": ("variable",)}, "no input of the kinds variable"),
        ({"num_repeats": 0}, "num_repeats"),
        ({"block_size": 60}, "block_size"),
    ],
)
def test_wrong_options_are_refused(windows, options, message):
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        permutation_importance(Known(), windows, **options)
    assert "\n" not in str(caught.value)


def test_the_picture_shows_the_largest_on_top():
    ax = jaxcast.plotting.plot_importance(Figure().subplots(), list("abc"), [0.1, 0.3, -0.1], [0.1, 0.1, 0.1], most=2)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]
    assert [patch.get_width() for patch in ax.patches] == [0.3, 0.1]
    assert ax.yaxis_inverted()
    with pytest.raises(jaxcast.InputError, match="for each of 1 names"):
        jaxcast.plotting.plot_importance(Figure().subplots(), ["a"], [0.1, 0.2])


@pytest.mark.slow
def test_the_command_writes_a_table_and_a_picture(tmp_path, capsys):
    rng = np.random.default_rng(3)
    walk = np.cumsum(rng.normal(size=(LENGTH, 2)), 0)
    lines = [f"{date}-01,{one!r},{two!r}" for date, (one, two) in zip(DATES, walk.tolist(), strict=True)]
    for name, length in (("old", 90), ("new", LENGTH)):
        (tmp_path / f"{name}.csv").write_text("date,north,south\n" + "\n".join(lines[:length]) + "\n")
    options = [
        "--horizon",
        1,
        "--season",
        0,
        "--history-size",
        3,
        "--method",
        "last_value",
        "--out",
        tmp_path / "model",
    ]

    def run(*args):
        parse(["series", *map(str, args)]).run()

    run("train", tmp_path / "old.csv", *options)
    capsys.readouterr()
    measure = ["importance", tmp_path / "new.csv", "--model", tmp_path / "model", "--num-repeats", 2]
    run(*measure, "--out", tmp_path / "i.csv", "--plot", tmp_path / "i.png")
    assert "when an input is" in capsys.readouterr().out
    with (tmp_path / "i.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["input"]) for row in rows] == [
        ("lag", "0"), ("lag", "1"), ("lag", "2"), ("series", "north"), ("series", "south")
    ]  # fmt: skip
    assert (tmp_path / "i.png").read_bytes().startswith(b"\x89PNG")
    means = [float(row["mean"]) for row in rows]
    assert means[0] == max(means)
    with pytest.raises(jaxcast.InputError, match="exists; choose another name"):
        run(*measure, "--out", tmp_path / "i.csv")
    run(*measure, "--out", tmp_path / "i.csv", "--overwrite")
    with pytest.raises(jaxcast.InputError, match="nothing to score"):
        run("importance", tmp_path / "old.csv", "--model", tmp_path / "model", "--out", tmp_path / "j.csv")
    assert not (tmp_path / "j.csv").exists()
