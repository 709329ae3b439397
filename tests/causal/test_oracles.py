"""Double machine learning against NumPy and statsmodels, fold by fold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.causal.estimates import Groups, Regression, over_repeats, regress

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def data():
    found = jaxcast.causal.simulate_confounded(160, key=KEY)
    return tuple(np.asarray(a) for a in (found.outcome, found.treatment, found.covariates[:, :3]))


def ridge_by_hand(x, y, penalty):
    """Slopes and level with mean |y - b - x W|^2 + penalty |W|^2 smallest."""
    mean, level = x.mean(0), y.mean(0)
    w = np.linalg.solve((x - mean).T @ (x - mean) / len(x) + penalty * np.eye(x.shape[1]), (x - mean).T @ y / len(x))
    return w, level - mean @ w


def gcv_by_hand(x, y, penalty):
    """Generalised cross-validation from the hat matrix."""
    centred = x - x.mean(0)
    inner = np.linalg.inv(centred.T @ centred + len(x) * penalty * np.eye(x.shape[1]))
    hat = centred @ inner @ centred.T + 1 / len(x)
    return np.mean((y - hat @ y) ** 2) / (1 - np.trace(hat) / len(x)) ** 2


@pytest.mark.slow
def test_ridge_is_that_of_every_fold_by_hand_with_the_penalty_of_the_smallest_gcv(data):
    y, _, x = data
    penalties = (1e-3, 0.1, 3.0)
    nuisance = jaxcast.causal.RidgeNuisance(basis=jaxcast.causal.PolynomialBasis(degree=2), penalties=penalties)
    splits = jaxcast.causal.random_splits(len(y), num_folds=4, num_repeats=2, key=KEY)
    among = np.arange(len(y)) % 5 > 0
    found = nuisance.predict_held_out(
        jnp.asarray(x), jnp.asarray(y)[:, None], splits, among=jnp.asarray(among), key=KEY
    )
    z = (x - x.mean(0)) / x.std(0)
    z = np.concatenate([z, np.stack([z[:, i] * z[:, j] for i in range(3) for j in range(i, 3)], -1)], -1)
    z = (z - z.mean(0)) / z.std(0)
    for repeat in range(2):
        for fold in range(4):
            out = np.asarray(splits.fold[repeat]) == fold
            own = ~out & among
            best = min(penalties, key=lambda penalty: gcv_by_hand(z[own], y[own], penalty))
            slopes, level = ridge_by_hand(z[own], y[own], best)
            np.testing.assert_allclose(found[repeat, out, 0], z[out] @ slopes + level, rtol=1e-8, atol=1e-9)


@pytest.mark.slow
def test_natural_splines_are_those_of_the_book_and_linear_outside():
    x = np.random.default_rng(0).normal(size=(200, 1))
    basis = jaxcast.causal.SplineBasis(num_knots=5)
    places = basis.places(jnp.asarray(x))
    z, t = (x[:, 0] - x.mean()) / x.std(), np.quantile((x - x.mean()) / x.std(), np.linspace(0.05, 0.95, 5))
    d = [(np.maximum(z - t[k], 0) ** 3 - np.maximum(z - t[4], 0) ** 3) / (t[4] - t[k]) for k in range(4)]
    by_hand = np.stack([z, *(d[k] - d[3] for k in range(3))], -1)
    np.testing.assert_allclose(basis.expand(jnp.asarray(x), places), by_hand, atol=1e-10)
    far = basis.expand(jnp.asarray([[50.0], [60.0], [70.0], [-50.0], [-60.0], [-70.0]]), places)
    np.testing.assert_allclose(far[0] - 2 * far[1] + far[2], 0, atol=1e-6)
    np.testing.assert_allclose(far[3] - 2 * far[4] + far[5], 0, atol=1e-6)
    two = jnp.asarray([[0.0], [1.0], [1.0], [0.0]])
    assert np.isfinite(basis.expand(two, basis.places(two))).all()


@pytest.mark.slow
def test_logistic_regression_has_no_slope_of_its_objective_left_and_aic_chooses(data):
    _, treatment, x = data
    target = (treatment > 0).astype(float)
    z = (x - x.mean(0)) / x.std(0)
    splits = jaxcast.causal.random_splits(len(z), num_folds=2, key=KEY)
    penalties = (1e-4, 0.02, 5.0)

    def predictions(chosen):
        nuisance = jaxcast.causal.LogisticNuisance(basis=jaxcast.causal.LinearBasis(), penalties=chosen)
        everyone = jnp.ones(len(z), bool)
        return np.asarray(
            nuisance.predict_held_out(jnp.asarray(x), jnp.asarray(target)[:, None], splits, among=everyone, key=KEY)
        )[0, :, 0]

    def by_hand(own, penalty):
        b, design = np.zeros(4), np.concatenate([z[own], np.ones((own.sum(), 1))], -1)
        ridge = np.diag([penalty] * 3 + [0.0])
        for _ in range(50):
            p = 1 / (1 + np.exp(-design @ b))
            curve = (design * (p * (1 - p))[:, None]).T @ design / own.sum()
            b = b - np.linalg.solve(curve + ridge, design.T @ (p - target[own]) / own.sum() + ridge @ b)
        likelihood = target[own] * np.log(p) + (1 - target[own]) * np.log(1 - p)
        return b, -2 * likelihood.sum() + 2 * np.trace(np.linalg.solve(curve + ridge, curve))

    together, one = predictions(penalties), predictions(penalties[1:2])
    for fold in range(2):
        out = np.asarray(splits.fold[0]) == fold
        fits = [by_hand(~out, penalty) for penalty in penalties]
        at = lambda b: 1 / (1 + np.exp(-(z[out] @ b[:3] + b[3])))  # noqa: B023, E731
        np.testing.assert_allclose(one[out], at(fits[1][0]), atol=1e-9)
        np.testing.assert_allclose(together[out], at(min(fits, key=lambda fit: fit[1])[0]), atol=1e-9)


@pytest.mark.slow
def test_standard_errors_are_double_sums_of_scores_by_hand():
    random = np.random.default_rng(0)
    v, times = random.normal(size=(40, 2)), np.sort(random.integers(0, 12, 40))
    times = np.unique(times, return_inverse=True)[1]
    u = v @ [0.5, -1.0] + np.repeat(random.normal(size=20), 2)
    effect, bread = np.linalg.lstsq(v, u)[0], np.linalg.inv(v.T @ v)
    scores = v * (u - v @ effect)[:, None]
    for number, num_lags in ((None, 0), (None, 3), (times, 0), (times, 2)):
        steps = np.arange(40) if number is None else times
        weights = np.maximum(1 - np.abs(steps[:, None] - steps) / (num_lags + 1), 0)
        groups = Groups(
            number if number is None else jnp.asarray(number), num_groups=int(steps.max()) + 1, num_lags=num_lags
        )
        found = regress(jnp.asarray(u), jnp.asarray(v), groups)
        np.testing.assert_allclose(found.coefficients, effect, rtol=1e-10)
        np.testing.assert_allclose(found.covariance, bread @ scores.T @ weights @ scores @ bread, rtol=1e-9)


@pytest.mark.peers
def test_effect_and_errors_are_those_of_statsmodels():
    """Heteroscedastic, clustered, autocorrelated, and several samples a time step."""
    import statsmodels.api as models
    from statsmodels.stats.sandwich_covariance import cov_nw_groupsum

    random = np.random.default_rng(0)
    v = random.normal(size=(90, 2))
    u = v @ [0.5, -1.0] + random.normal(size=90) * (1 + v[:, 0] ** 2)
    times = np.sort(random.integers(0, 30, 90))
    times = np.unique(times, return_inverse=True)[1]
    ols = models.OLS(u, v)
    options = {"use_correction": False}
    cases = [
        (None, 90, 0, ols.fit(cov_type="HC0").cov_params()),
        (None, 90, 4, ols.fit(cov_type="HAC", cov_kwds={"maxlags": 4, **options}).cov_params()),
        (times, times.max() + 1, 0, ols.fit(cov_type="cluster", cov_kwds={"groups": times, **options}).cov_params()),
        (times, times.max() + 1, 3, cov_nw_groupsum(ols.fit(), 3, times, use_correction=0)),
    ]
    for number, num_groups, num_lags, wanted in cases:
        groups = Groups(None if number is None else jnp.asarray(number), num_groups=int(num_groups), num_lags=num_lags)
        found = regress(jnp.asarray(u), jnp.asarray(v), groups)
        np.testing.assert_allclose(found.coefficients, ols.fit().params, rtol=1e-10)
        np.testing.assert_allclose(found.covariance, wanted, rtol=1e-9)


def test_repeats_are_joined_by_medians():
    effects, variances = np.asarray([1.0, 3.0, 2.0, 9.0]), np.asarray([0.1, 0.2, 0.3, 0.4])
    one = over_repeats(Regression(jnp.asarray(effects)[:, None], jnp.asarray(variances)[:, None, None]))
    assert one.coefficients[0] == 2.5
    assert one.covariance[0, 0] == pytest.approx(np.median(variances + (effects - 2.5) ** 2))
    random = np.random.default_rng(1)
    roots = random.normal(size=(3, 2, 2))
    each = Regression(jnp.asarray(random.normal(size=(3, 2))), jnp.asarray(roots @ roots.transpose(0, 2, 1)))
    several = over_repeats(each)
    apart = np.asarray(each.coefficients) - np.median(each.coefficients, 0)
    spread = np.asarray(each.covariance) + apart[:, :, None] * apart[:, None]
    largest = np.linalg.norm(spread, 2, axis=(1, 2))
    np.testing.assert_allclose(several.covariance, spread[np.argsort(largest)[1]])


@pytest.mark.slow
def test_learners_of_scikit_learn_give_what_cross_fitting_by_hand_gives(data):
    """With the residuals of every fold; the learner given is left as it was."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    y, d, x = data
    treated = (d > 0).astype(float)
    splits = jaxcast.causal.random_splits(len(y), num_folds=3, num_repeats=3, key=KEY)
    regressor, classifier = LinearRegression(), LogisticRegression(max_iter=200)
    found = jaxcast.causal.fit_partially_linear(
        y, treated, x, nuisance=regressor, treatment_nuisance=classifier, splits=splits, key=KEY
    )
    interactive = jaxcast.causal.fit_interactive(
        y, treated, x, nuisance=regressor, propensity=classifier, clip=0.3, splits=splits, key=KEY
    )
    on_treated = jaxcast.causal.fit_interactive(
        y, treated, x, nuisance=regressor, propensity=classifier, effect_on="treated", splits=splits, key=KEY
    )
    assert not vars(regressor).keys() & {"coef_"}
    effects, errors, means, spreads, of_treated = [], [], [], [], []
    for fold in np.asarray(splits.fold):
        u, v, gain, other = (np.empty(len(y)) for _ in range(4))
        for number in range(3):
            out, own = fold == number, fold != number
            p = LogisticRegression(max_iter=200).fit(x[own], treated[own]).predict_proba(x[out])[:, 1]
            u[out] = y[out] - LinearRegression().fit(x[own], y[own]).predict(x[out])
            v[out] = treated[out] - p
            g0, g1 = (
                LinearRegression().fit(x[own & (treated == k)], y[own & (treated == k)]).predict(x[out]) for k in (0, 1)
            )
            t, e = treated[out], np.clip(p, 0.3, 0.7)
            gain[out] = g1 - g0 + t * (y[out] - g1) / e - (1 - t) * (y[out] - g0) / (1 - e)
            e = np.clip(p, 0.01, 0.99)
            other[out] = (t - e * (1 - t) / (1 - e)) * (y[out] - g0) / treated.mean()
        effects.append(v @ u / (v @ v))
        errors.append(np.mean(v**2 * (u - v * effects[-1]) ** 2) / np.mean(v**2) ** 2 / len(y))
        means.append(gain.mean())
        spreads.append(gain.var() / len(y))
        of_treated.append(other.mean())
    np.testing.assert_allclose(found.effects, effects, rtol=1e-8)
    np.testing.assert_allclose(found.standard_errors**2, errors, rtol=1e-8)
    middle = np.median(effects)
    assert float(found.effect) == pytest.approx(middle)
    assert float(found.standard_error) ** 2 == pytest.approx(np.median(errors + (effects - middle) ** 2))
    np.testing.assert_allclose(interactive.effects, means, rtol=1e-8)
    np.testing.assert_allclose(interactive.standard_errors**2, spreads, rtol=1e-8)
    assert 0.1 < float(interactive.clipped_share) < 0.9
    np.testing.assert_allclose(on_treated.effects, of_treated, rtol=1e-8)


def test_indicators_of_all_but_the_reference():
    found = jaxcast.causal.treatment_indicators(np.asarray([3, 1, 1, 2]))
    assert (found.levels, found.reference) == ((2, 3), 1)
    np.testing.assert_array_equal(found.values, [[0, 1], [0, 0], [0, 0], [1, 0]])
    of_texts = jaxcast.causal.treatment_indicators(np.asarray(["sun", "rain", "sun"], object))  # as in data frames
    assert (of_texts.levels, of_texts.reference) == (("rain",), "sun")
    with pytest.raises(jaxcast.InputError, match="got shape \\(2,\\) of object"):
        jaxcast.causal.treatment_indicators(np.asarray(["sun", None], object))
