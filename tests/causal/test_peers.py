"""Double machine learning against the packages doubleml and econml, where they are installed, with the same folds."""

import jax
import numpy as np
import pytest

from jaxcast import causal

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def data():
    found = causal.simulate_confounded(300, key=KEY)
    return tuple(np.asarray(a) for a in (found.outcome, found.treatment, found.covariates[:, :4]))


def ours(data, splits):
    from sklearn.linear_model import LinearRegression

    return causal.fit_partially_linear(*data, nuisance=LinearRegression(), splits=splits, key=KEY)


def pairs(splits):
    fold = np.asarray(splits.fold[0])
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(fold.max() + 1)]


def test_doubleml_finds_the_same(data):
    doubleml = pytest.importorskip("doubleml")
    from sklearn.linear_model import LinearRegression

    y, d, x = data
    splits = causal.random_splits(len(y), key=KEY)
    table = doubleml.DoubleMLData.from_arrays(x, y, d)
    model = doubleml.DoubleMLPLR(table, LinearRegression(), LinearRegression(), n_folds=5)
    model.set_sample_splitting([pairs(splits)])
    model.fit()
    found = ours(data, splits)
    assert float(found.effect) == pytest.approx(model.coef[0], rel=1e-8)
    assert float(found.standard_error) == pytest.approx(model.se[0], rel=1e-8)


def test_econml_finds_the_same(data):
    dml = pytest.importorskip("econml.dml")
    from sklearn.linear_model import LinearRegression

    y, d, x = data
    splits = causal.random_splits(len(y), key=KEY)
    model = dml.LinearDML(model_y=LinearRegression(), model_t=LinearRegression(), cv=pairs(splits))
    model.fit(y, d, X=None, W=x)
    assert float(ours(data, splits).effect) == pytest.approx(float(np.squeeze(model.const_marginal_ate())), rel=1e-8)
