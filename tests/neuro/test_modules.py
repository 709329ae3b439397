"""k-means against scikit-learn, and the modules that it finds."""

import numpy as np
import pytest
import sklearn.cluster

import jaxcast
from jaxcast.numerics.k_means import k_means


def test_clusters_are_as_good_as_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 3)) + rng.normal(size=(5, 3))[rng.integers(5, size=60)]
    ours = k_means(values, 5)
    theirs = sklearn.cluster.KMeans(5, n_init=20, random_state=0).fit(values)
    assert ours.squared_error == pytest.approx(theirs.inertia_, rel=0.01)
    nearest = np.square(values[:, None] - ours.centres).sum(-1).argmin(1)
    assert (nearest == ours.labels).all()
    np.testing.assert_allclose(ours.centres, [values[ours.labels == k].mean(0) for k in range(5)])
    assert ours.squared_error == pytest.approx(np.square(values - ours.centres[ours.labels]).sum())


def test_no_cluster_is_empty_and_each_is_numbered_where_it_first_occurs():
    values = np.repeat(np.arange(4.0), [20, 1, 1, 1])[:, None]
    assert k_means(values, 4, num_starts=1).labels.tolist() == [0] * 20 + [1, 2, 3]
    with pytest.raises(jaxcast.InputError, match="at least 5 different samples"):
        k_means(values, 5)


def test_regions_of_one_module_share_a_number():
    rng = np.random.default_rng(0)
    modules = np.asarray([0, 1, 2, 1, 0, 2, 2])
    series = rng.normal(size=(3, 80, 3))[..., modules] + 0.5 * rng.normal(size=(3, 80, 7))
    subjects = jaxcast.neuro.subject_series(series, [0, 1, 1])
    found = jaxcast.neuro.region_modules(jaxcast.neuro.correlations(subjects), 3)
    assert found.tolist() == modules.tolist()
