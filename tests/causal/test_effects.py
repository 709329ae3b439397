"""What double machine learning sees and finds: folds, leaks, known effects, and bad input."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import causal
from jaxcast.causal.estimates import normal_interval

KEY = jax.random.key(0)
LINEAR = causal.RidgeNuisance(basis=causal.LinearBasis(), penalties=(1e-4,))


def held_out(splits):
    return np.asarray(splits.fold)[:, None] == np.arange(splits.train.shape[1])[:, None]


@pytest.mark.slow
def test_random_folds_are_of_equal_size_and_keep_clusters_together():
    splits = causal.random_splits(23, num_folds=5, num_repeats=3, key=KEY)
    assert sorted(held_out(splits)[0].sum(-1)) == [4, 4, 5, 5, 5]
    np.testing.assert_array_equal(splits.train, ~held_out(splits))
    assert (np.asarray(splits.fold)[0] != np.asarray(splits.fold)[1]).any()
    names = np.repeat(np.asarray(["c", "a", "b", "d"], object), [2, 3, 4, 1])
    fold = np.asarray(causal.random_splits(10, num_folds=2, num_repeats=4, clusters=names, key=KEY).fold)
    assert all(len(np.unique(row[names == name])) == 1 for row in fold for name in "abcd")
    assert fold.min() == 0
    assert fold.max() == 1


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_nobody_learns_within_the_gap_of_a_block(gap):
    times = np.random.default_rng(0).permutation(np.repeat(np.arange(100, 131), 2))
    splits = causal.block_splits(62, num_folds=4, num_repeats=5, gap=gap, times=times, key=KEY)
    train, out = np.asarray(splits.train), held_out(splits)
    for repeat, fold in np.ndindex(5, 4):
        tested = np.unique(times[out[repeat, fold]])
        wanted = np.abs(times[:, None] - tested).min(1) > gap
        np.testing.assert_array_equal(train[repeat, fold], wanted)
        pieces = 1 + (np.diff(tested) > 1).sum()
        assert pieces == 1 or (repeat > 0 and {tested[0], tested[-1]} == {100, 130})
    assert {held.sum() for held in out[0]} <= {14, 16}
    assert (out[1:] != out[0]).any()


def nuisances():
    from sklearn.linear_model import LinearRegression

    yield "ridge", causal.RidgeNuisance()
    yield "logistic", causal.LogisticNuisance(basis=causal.LinearBasis(), penalties=(0.1, 1.0))
    yield "network", causal.NetworkNuisance(hidden_sizes=(3,), num_epochs=2, batch_size=16)
    yield "learner", causal.nuisance.LearnerNuisance(LinearRegression())


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("network", marks=pytest.mark.slow), "ridge", "logistic", "learner"])
def test_held_out_targets_and_those_of_others_are_not_learned_from(name):
    nuisance = dict(nuisances())[name]
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(40, 2)))
    y = jnp.asarray(random.integers(0, 2, (40, 1)).astype(float))
    splits = causal.random_splits(40, num_folds=2, key=KEY)
    among = jnp.asarray(random.random(40) < 0.8)
    run = lambda targets: nuisance.predict_held_out(x, targets, splits, among=among, key=KEY)  # noqa: E731
    out = splits.fold[0] == 0
    before = run(y)[0, out]
    hidden = out | ~among
    after = run(jnp.where(hidden[:, None], 1 - y, y))[0, out]
    np.testing.assert_allclose(before, after, atol=1e-9)
    seen = run(jnp.where(hidden[:, None], y, 1 - y))[0, out]
    assert np.abs(seen - before).max() > 1e-3


@pytest.mark.slow
def test_a_data_set_under_vmap_gives_what_it_gives_alone():
    simulate = lambda key: causal.simulate_confounded(60, key=key)  # noqa: E731
    data = jax.vmap(simulate)(jax.random.split(KEY, 2))

    def run(one, key):
        return causal.fit_partially_linear(
            one.outcome, one.treatment, one.covariates[:, :3], nuisance=LINEAR, num_folds=2, num_repeats=2, key=key
        )

    keys = jax.random.split(jax.random.key(1), 2)
    together = jax.jit(jax.vmap(run))(data, keys)
    for number in range(2):
        alone = run(jax.tree.map(lambda a, number=number: a[number], data), keys[number])
        np.testing.assert_allclose(together.effect[number], alone.effect, rtol=1e-9)
        np.testing.assert_allclose(together.standard_error[number], alone.standard_error, rtol=1e-9)


@pytest.mark.slow
def test_levels_of_a_treatment_are_told_apart_from_what_drives_them():
    random = np.random.default_rng(0)
    x = random.normal(size=(1500, 2))
    level = (x[:, 0] + random.normal(size=1500) > 0).astype(int) + (x[:, 1] + random.normal(size=1500) > 0.5)
    indicators = causal.treatment_indicators(np.asarray(["none", "some", "much"])[level], reference="none")
    truth = np.asarray([{"some": 1.0, "much": -2.0}[name] for name in indicators.levels])
    y = indicators.values @ truth + 2 * x.sum(1) + random.normal(size=1500)
    found = causal.fit_partially_linear(y, indicators.values, x, nuisance=LINEAR, key=KEY)
    assert found.effect.shape == (2,)
    assert (np.abs(found.effect - truth) < 3 * found.standard_error).all()
    raw = y[level == 2].mean() - y[level == 0].mean()
    assert abs(raw - truth[indicators.levels.index("much")]) > 2
    np.testing.assert_allclose(found.standard_error**2, np.diagonal(found.covariance))
    low, high = found.interval(0.9)
    np.testing.assert_allclose((high - low) / 2, 1.6448536 * found.standard_error, rtol=1e-6)
    assert (np.asarray(found.p_value()) < 1e-6).all()
    table = np.asarray([line.split() for line in str(found).splitlines()[1:]], float)
    np.testing.assert_allclose(table[:, :2], np.stack([found.effect, found.standard_error], 1), rtol=1e-3)
    np.testing.assert_allclose(table[:, 2:4], np.stack(found.interval(), 1), rtol=1e-3)


@pytest.mark.slow
def test_the_r_learner_is_a_regression_on_products_and_at_its_mean_near_the_average():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 3))
    d = x[:, :2] + random.normal(size=(300, 2))
    y = d[:, 0] * (1 + 2 * x[:, 2]) - d[:, 1] + x.sum(1) + random.normal(size=300)
    average = causal.fit_partially_linear(y, d, x, nuisance=LINEAR, key=KEY)
    effect = causal.fit_r_learner(average, x[:, 2:])
    u, v = np.asarray(average.outcome_residuals[0]), np.asarray(average.treatment_residuals[0])
    z = (x[:, 2] - x[:, 2].mean()) / x[:, 2].std()
    design = np.stack([v[:, 0], v[:, 1], z * v[:, 0], z * v[:, 1]], -1)
    by_hand = np.linalg.lstsq(design, u)[0]
    np.testing.assert_allclose(np.ravel(effect.coefficients), by_hand, rtol=1e-8)
    bread, scores = np.linalg.inv(design.T @ design), design * (u - design @ by_hand)[:, None]
    covariance = bread @ scores.T @ scores @ bread
    at = np.asarray([[1.5]])
    point = np.asarray([1.0, (1.5 - x[:, 2].mean()) / x[:, 2].std()])
    for number in range(2):
        own = covariance[number::2, number::2]
        assert float(effect(at)[0, number]) == pytest.approx(by_hand[number::2] @ point)
        assert float(effect.standard_errors(at)[0, number]) == pytest.approx(np.sqrt(point @ own @ point))
    low, high = effect.interval(at)
    assert (np.asarray(low) < [[4.0, -1.0]]).all()
    assert (np.asarray(high) > [[4.0, -1.0]]).all()
    single = causal.fit_r_learner(average._replace(treatment_residuals=average.treatment_residuals[..., 0]), x[:, 2:])
    alone = np.linalg.lstsq(design[:, ::2], u)[0]
    np.testing.assert_allclose(single(at), alone @ point, rtol=1e-8)


@pytest.mark.slow
def test_networks_learn_an_effect_that_bends():
    random = np.random.default_rng(0)
    x, v = random.normal(size=(400, 1)), random.normal(size=(1, 400))
    truth = 3 + np.abs(x[:, 0])
    found = causal.fit_partially_linear(truth * v[0], v[0], x, nuisance=LINEAR, key=KEY)
    found = found._replace(outcome_residuals=jnp.asarray(truth * v), treatment_residuals=jnp.asarray(v))
    settings = causal.NetworkNuisance(hidden_sizes=(16,), num_epochs=60, batch_size=32, learning_rate=1e-2)
    effect = causal.fit_r_learner_network(found, x, network=settings, key=KEY)
    assert np.abs(np.asarray(effect(x)) - truth).mean() < 0.15
    linear = causal.fit_r_learner(found, x)
    assert np.abs(np.asarray(linear(x)) - truth).mean() > 0.3


DATA = causal.simulate_confounded(40, key=KEY)
Y, D, X = (np.asarray(a) for a in DATA[:3])
TREATED = (D > 0).astype(float)


def partially(**changes):
    given = {"outcome": Y, "treatment": D, "covariates": X[:, :2], "nuisance": LINEAR, "key": KEY} | changes
    return causal.fit_partially_linear(**given)


def interactive(**changes):
    given = {"outcome": Y, "treatment": TREATED, "covariates": X[:, :2], "key": KEY} | changes
    return causal.fit_interactive(**given)


BAD = [
    (partially, {"treatment": np.ones(40)}, "treatments that vary, got 1 everywhere in the treatment; leave it out"),
    (partially, {"treatment": np.stack([D, 2 * D], -1)}, "linear combinations of each other"),
    (partially, {"treatment": np.stack([TREATED, 1 - TREATED], -1)}, "of indicators leave one level out"),
    (partially, {"treatment": X[:, 0] * 2}, "the covariates determine treatment 0 entirely"),
    (partially, {"outcome": np.zeros(40)}, "outcome that varies, got 0 everywhere"),
    (partially, {"outcome": Y[:39]}, r"of the same samples, got shapes \(39,\), \(40,\) and \(40, 2\)"),
    (partially, {"covariates": X[:, 0]}, r"covariates .*\(sample, covariate\)"),
    (partially, {"outcome": np.where(np.arange(40) == 3, np.nan, Y)}, "NaN or infinity in 1 of 40 samples of outcome"),
    (partially, {"treatment": np.where(np.arange(40) == 3, np.inf, D)}, "samples of treatment, first in sample 3"),
    (partially, {"covariates": np.full((40, 2), np.nan)}, "40 of 40 samples of covariates"),
    (partially, {"num_folds": 41}, "at least as many samples as the 41 folds, got 40"),
    (partially, {"num_folds": 1}, "num_folds must be at least 2, got 1"),
    (partially, {"num_repeats": 0}, "num_repeats must be at least 1, got 0"),
    (partially, {"blocks": True, "gap": 16}, "gap of 16 around blocks of 8 of 40 time steps; give a smaller gap"),
    (partially, {"gap": 2}, "a gap of 2 belongs to blocks; give blocks=True"),
    (partially, {"clusters": np.zeros(40, int)}, "at least two different clusters or times"),
    (partially, {"clusters": np.arange(40) % 4}, "at least as many clusters as the 5 folds, got 4"),
    (partially, {"clusters": np.arange(40), "blocks": True}, "give clusters, or times and blocks"),
    (partially, {"clusters": np.arange(40), "num_lags": 2}, "num_lags must be 0, got 2"),
    (partially, {"times": np.arange(39)}, "times must hold .* for each of 40 samples, got shape"),
    (partially, {"num_lags": 40}, "num_lags must be at most 39"),
    (partially, {"nuisance": "ridge"}, "an object with fit and predict, got 'ridge'"),
    (partially, {"nuisance": causal.RidgeNuisance}, "a nuisance must be one of jaxcast.causal"),
    (partially, {"nuisance": causal.RidgeNuisance(penalties=(0.0,))}, "penalties must be positive, got 0"),
    (partially, {"nuisance": causal.RidgeNuisance(basis=causal.SplineBasis(num_knots=2))}, "num_knots .* at least 3"),
    (partially, {"nuisance": causal.LogisticNuisance()}, "predicts targets from 0 to 1, got -"),
    (partially, {"nuisance": causal.NetworkNuisance(num_epochs=0)}, "num_epochs must be at least 1"),
    (partially, {"splits": causal.random_splits(39, key=KEY)}, "expected splits of 40 samples"),
    (interactive, {"treatment": D}, "needs a treatment of 0 and 1, got"),
    (interactive, {"treatment": TREATED + 1}, r"got \[1\.0, 2\.0\]; code it so, or use fit_partially_linear"),
    (interactive, {"treatment": TREATED[:, None]}, r"one treatment \(sample,\) of 0 and 1, got shape \(40, 1\)"),
    (interactive, {"treatment": (np.arange(40) < 2).astype(float)}, "treated and untreated samples to learn from"),
    (interactive, {"clip": 0.5}, "clip must be a finite number"),
    (interactive, {"effect_on": "some"}, "effect_on"),
    (causal.treatment_indicators, {"treatment": np.ones(3)}, "at least two levels, got only 1"),
    (causal.treatment_indicators, {"treatment": np.asarray([1.0, np.nan])}, "got 1 that are NaN"),
    (causal.treatment_indicators, {"treatment": [1, 2], "reference": 3}, "reference must be one of the levels"),
]


@pytest.mark.parametrize(("function", "changes", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_refused_in_one_line(function, changes, message, without_type_checks):
    with pytest.raises(jaxcast.InputError) as caught:
        function(**changes)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "covariates", [np.ones((40, 1)), np.stack([X[:, 0], X[:, 0]], -1), np.stack([X[:, 0], 1 - 3 * X[:, 0]], -1)]
)
def test_the_r_learner_refuses_covariates_that_follow_from_others(covariates):
    with pytest.raises(jaxcast.InputError, match="follow from others or never change"):
        causal.fit_r_learner(partially(), covariates)


class Broken:
    def fit(self, x, y):
        return self

    def predict(self, x):
        return np.full(len(x), np.nan)


@pytest.mark.slow
def test_learners_that_do_not_predict_are_refused(without_type_checks):
    with pytest.raises(jaxcast.InputError, match="one finite prediction of the nuisance"):
        partially(nuisance=Broken())
    found = causal.fit_partially_linear(Y, D, X[:, :2], nuisance=LINEAR, key=KEY)
    for covariates, message in ((X[:39], "of the 40 samples"), (np.full((40, 1), np.nan), "40 of 40 samples")):
        with pytest.raises(jaxcast.InputError, match=message):
            causal.fit_r_learner(found, covariates)
    with pytest.raises(jaxcast.InputError, match="fewer coefficients than the 40 samples, got 61"):
        causal.fit_r_learner(found, X, basis=causal.SplineBasis(num_knots=4))
    effect = causal.fit_r_learner(found, X[:, :1])
    with pytest.raises(jaxcast.InputError, match="1 covariates that the effect was fitted to"):
        effect(X)
    with pytest.raises(jaxcast.InputError, match="level must be"):
        found.interval(95)


@pytest.mark.slow
def test_intervals_cover_the_effect_where_plain_regression_is_biased():
    """The published design, 500 data sets of 2000 samples."""

    def one(key):
        of_data, of_folds = jax.random.split(key)
        data = causal.simulate_confounded(2000, key=of_data)
        found = causal.fit_partially_linear(*data[:3], nuisance=LINEAR, key=of_folds)
        centred = data.treatment - data.treatment.mean()
        return found.effect, found.standard_error, centred @ data.outcome / (centred @ centred)

    effects, errors, plain = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(KEY, 500))
    assert 0.93 <= float((jnp.abs(effects - 0.5) < 1.96 * errors).mean()) <= 0.97
    assert float(plain.mean()) == pytest.approx(0.67, abs=0.005)
    assert float(effects.mean()) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_an_interval_is_of_a_level_between_0_and_1(level):
    with pytest.raises(jaxcast.InputError, match=f"level must be a finite number and above 0 and below 1, got {level}"):
        normal_interval(jnp.ones(2), jnp.ones(2), level)
