"""Hierarchies and reconciliation against NumPy's closed forms, their conditions, and a simulation."""

import itertools

import jax
import numpy as np
import pytest
from scipy import optimize, stats

import jaxcast
from jaxcast.hierarchy import (
    Hierarchy,
    fit_reconciliation,
    hierarchy_from_groups,
    hierarchy_from_parents,
    hierarchy_of_total,
    read_hierarchy,
    reconcile_quantiles,
    shrunk_covariance,
    shuffled_paths,
)
from jaxcast.hierarchy.nonnegative import nonnegative_least_squares

PARENTS = {"a": "north", "b": "north", "c": "south", "d": "south", "e": "south", "north": "all", "south": "all"}
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def tree():
    return hierarchy_from_parents(PARENTS)


@pytest.fixture(scope="module")
def errors():
    """Residuals of eight series that are no sums of each other, as those of separate forecasts are."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)) * [9, 5, 5, 1, 1, 2, 2, 2]


def of_rows(tree, weights):
    """G by the normal equations."""
    inverse = np.linalg.inv(weights)
    summing = tree.summing
    return np.linalg.inv(summing.T @ inverse @ summing) @ summing.T @ inverse


def test_a_tree_of_parents(tree):
    assert tree.names == ("all", "north", "south", "a", "b", "c", "d", "e")
    assert (tree.aggregates, tree.bottom) == (("all", "north", "south"), tuple("abcde"))
    np.testing.assert_array_equal(tree.summing[:3], [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    assert tree.members("south") == ("c", "d", "e")
    np.testing.assert_array_equal(tree.sums([1.0, 2.0, np.nan, 4.0, 5.0])[:3], [np.nan, 3, np.nan])
    assert tree.is_coherent(tree.sums(np.arange(10.0).reshape(2, 5)))
    assert not tree.is_coherent(np.ones(8))


def test_branches_of_unlike_depth_and_sums_of_one():
    tree = hierarchy_from_parents({"a": "x", "x": "all", "b": "all"})
    assert tree.names == ("all", "x", "a", "b")
    np.testing.assert_array_equal(tree.sums([1.0, 2.0]), [3, 1, 1, 2])


def test_groups_give_every_combination_once():
    labels = {"place": list("nnss"), "sex": list("fmfm")}
    crossed = hierarchy_from_groups(tuple("abcd"), labels)
    assert crossed.names == ("total", "n", "s", "f", "m", *"abcd")  # n / f is the series a alone
    np.testing.assert_array_equal(crossed.sums([1.0, 2.0, 4.0, 8.0])[:5], [15, 3, 12, 5, 10])
    nested = hierarchy_from_groups(
        tuple("abcd"), {"place": list("nnss"), "town": list("uuvw")}, sums_over=((), ("place", "town"))
    )
    assert nested.names == ("total", "n / u", *"abcd")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hierarchy_from_parents({"a": "b", "b": "c", "c": "a"}), "part of itself: 'b' is part of 'c' is part of 'a' is part of 'b'"),
        (lambda: hierarchy_from_parents({"a": "a"}), "'a' is part of 'a'"),
        (lambda: hierarchy_from_parents({}), "at least one series"),
        (lambda: hierarchy_from_parents({"a": ""}), "got an empty one"),
        (lambda: hierarchy_from_groups(("a", "a"), {}), "different names"),
        (lambda: hierarchy_from_groups(("a", "b"), {"x": ["1"]}), "expected 2 labels"),
        (lambda: hierarchy_from_groups(("a", "b"), {"x": ["1", "1"]}, sums_over=[["y"]]), "unknown column 'y'"),
        (lambda: hierarchy_from_groups(tuple("abcd"), {"x": list("1122"), "y": list("1212")}), "'1' would name two"),
        (lambda: hierarchy_of_total(("US",)), "at least one part of 'US'"),
        (lambda: Hierarchy(np.ones((2, 1)), ("a",)), "2 different names"),
        (lambda: Hierarchy(np.ones((2, 2)), ("a", "b")), "end with the identity"),
        (lambda: Hierarchy(np.asarray([[2.0], [1.0]]), ("a", "b")), "consist of 0 and 1"),
    ],
)  # fmt: skip
def test_structures_that_are_none_are_refused(make, message):
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_files_of_parents_and_of_groups(tmp_path):
    parents, groups = tmp_path / "parents.csv", tmp_path / "groups.csv"
    parents.write_text("child,parent\n" + "".join(f"{child},{parent}\n" for child, parent in PARENTS.items()))
    assert read_hierarchy(parents).names == hierarchy_from_parents(PARENTS).names
    groups.write_text("series,place,sex\na,n,f\nb,n,m\nc,s,f\nd,s,m\n")
    assert read_hierarchy(groups).aggregates == ("total", "n", "s", "f", "m")
    for text, message in (
        ("x,y\n1,2\n", "must have the columns child and parent"),
        ("child,parent\na,b\na,c\n", "'a' is named twice"),
        ("child,parent\na,\n", "parents.csv, line 2: parent is empty"),
        ("child,parent\na,n\n,n\n", "parents.csv, line 3: child is empty"),
        ("series,sex\na,f\nb,\n", "parents.csv, line 3: sex is empty"),
        ("child,parent\na,b\nb,a\n", "parents.csv: a series cannot be part of itself"),
        ("child,parent,note\na,n,x\nb,n,y\n", "has the column 'note' beside child and parent"),
        ("state,country\na,n\nb,n\n", "must have the columns child and parent"),
    ):
        parents.write_text(text)
        with pytest.raises(jaxcast.InputError, match=message) as caught:
            read_hierarchy(parents)
        assert str(caught.value).count("parents.csv") == 1


@pytest.mark.parametrize(
    ("text", "aggregates"),
    [
        ("child,parent\nall,\nn,all\na,n\nb,n\n", ("all", "n")),  # the sum of all has an empty parent
        ("Parent,Child\nn,a\nn,b\n", ("n",)),
        ("location,parent\na,n\nb,n\n", ("n",)),
        ("region,unique_id\nn,a\nn,b\ns,c\ns,d\n", ("total", "n", "s")),
        ("region,location\nn,a\nn,b\ns,c\ns,d\n", ("total", "n", "s")),
    ],
)
def test_columns_have_the_names_that_tables_of_series_use(tmp_path, text, aggregates):
    (tmp_path / "tree.csv").write_text(text)
    assert read_hierarchy(tmp_path / "tree.csv").aggregates == aggregates


def test_projections_are_the_generalised_least_squares_of_numpy(tree, errors):
    shrunk = shrunk_covariance(errors).covariance
    sample = errors.T @ errors / len(errors)
    for method, weights in {
        "ols": np.eye(8),
        "structural": np.diag(tree.summing.sum(1)),
        "variance": np.diag(np.diag(sample)),
        "mint": shrunk,
        "mint_sample": sample,
    }.items():
        found = fit_reconciliation(tree, method=method, residuals=errors)
        np.testing.assert_allclose(found.projection, of_rows(tree, weights), rtol=1e-9, atol=1e-9, err_msg=method)
        base = np.random.default_rng(2).normal(size=(4, 8))
        reconciled = found(base)
        np.testing.assert_allclose(reconciled, base @ found.projection.T @ tree.summing.T, rtol=1e-12)
        assert tree.is_coherent(reconciled, tolerance=1e-12)
        np.testing.assert_allclose(found(reconciled), reconciled, rtol=1e-10, atol=1e-10)  # S G is idempotent
        coherent = tree.sums(base[:, :5])
        np.testing.assert_allclose(found(coherent), coherent, rtol=1e-10, atol=1e-10)


def test_generalised_least_squares_by_whitening_gives_the_same(tree, errors):
    lower = np.linalg.cholesky(shrunk_covariance(errors).covariance)
    base = np.random.default_rng(3).normal(size=8)
    bottom = np.linalg.lstsq(np.linalg.solve(lower, tree.summing), np.linalg.solve(lower, base), rcond=None)[0]
    np.testing.assert_allclose(fit_reconciliation(tree, residuals=errors)(base)[3:], bottom, rtol=1e-9)


def test_bottom_up_sums_and_top_down_shares_out(tree):
    base = np.arange(8.0)
    np.testing.assert_array_equal(fit_reconciliation(tree, method="bottom_up")(base), tree.sums(base[3:]))
    history = np.random.default_rng(0).uniform(1, 9, size=(20, 8))
    shares = history[:, 3:].sum(0) / history[:, 3:].sum()
    found = fit_reconciliation(tree, method="top_down", history=history)(base + 10)
    np.testing.assert_allclose(found, tree.sums(10 * shares), rtol=1e-12)


def test_each_lead_has_its_own_projection(tree, errors):
    twice = np.stack([errors, errors[:, ::-1]], 1)
    found = fit_reconciliation(tree, method="variance", residuals=twice)
    base = np.random.default_rng(0).normal(size=(3, 2, 8))
    for lead in range(2):
        alone = fit_reconciliation(tree, method="variance", residuals=twice[:, lead])
        np.testing.assert_allclose(found(base)[:, lead], alone(base[:, lead]), rtol=1e-12)


def test_series_without_a_forecast_become_the_sums_of_their_members(tree):
    some = ("south", *"abcde")
    found = fit_reconciliation(tree, method="ols", base=some)(np.asarray([9.0, 1, 2, 1, 2, 3]))
    summing = tree.summing[[2, 3, 4, 5, 6, 7]]
    bottom = np.linalg.lstsq(summing, np.asarray([9.0, 1, 2, 1, 2, 3]), rcond=None)[0]
    np.testing.assert_allclose(found, tree.sums(bottom), rtol=1e-12)
    bottom_alone = fit_reconciliation(tree, method="ols", base=tree.bottom)
    np.testing.assert_allclose(bottom_alone(np.arange(5.0)), tree.sums(np.arange(5.0)), atol=1e-12)


@pytest.mark.parametrize("method", ["variance", "mint", "mint_sample"])
@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_a_series_without_errors_keeps_its_forecast_and_the_others_are_reconciled(tree, errors, method, scale):
    errors, base = scale * np.where(np.arange(8) == 7, 0.0, errors), scale * np.arange(8.0)
    found = fit_reconciliation(tree, method=method, residuals=errors)(base)
    assert tree.is_coherent(found)
    assert abs(found[7] - base[7]) < 1e-3 * scale
    smaller = hierarchy_from_parents({child: parent for child, parent in PARENTS.items() if child != "e"})
    rest = fit_reconciliation(smaller, method=method, residuals=errors[:, :7])(
        base[:7] - [base[7], 0, base[7], 0, 0, 0, 0]
    )
    np.testing.assert_allclose(found[3:7], rest[3:], rtol=0, atol=1e-3 * scale)
    nothing = fit_reconciliation(tree, method=method, residuals=0 * errors)
    np.testing.assert_allclose(nothing.projection, fit_reconciliation(tree, method="ols").projection, atol=1e-12)


def test_shrinkage_is_that_of_schaefer_and_strimmer_by_loops():
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(12, 4)) + rng.normal(size=(12, 1))
    found = shrunk_covariance(noise)
    n, size = noise.shape
    scaled = noise / np.sqrt((noise**2).mean(0))
    above = below = 0.0
    for i, j in itertools.permutations(range(size), 2):
        products = scaled[:, i] * scaled[:, j]
        above += ((products - products.mean()) ** 2).sum() / (n * (n - 1))
        below += products.mean() ** 2
    assert found.shrinkage == pytest.approx(above / below)
    sample = noise.T @ noise / n
    off = ~np.eye(size, dtype=bool)
    np.testing.assert_allclose(np.diag(found.covariance), np.diag(sample))
    np.testing.assert_allclose(found.covariance[off], (1 - found.shrinkage) * sample[off])
    few = rng.normal(size=(5, 9))  # more series than samples
    assert np.linalg.eigvalsh(shrunk_covariance(few).covariance).min() > 0
    with pytest.raises(jaxcast.InputError, match="series number 1 are all 0, so they have no correlations"):
        shrunk_covariance(np.ones((9, 2)) * [1.0, 0.0])


def test_minimum_trace_has_smaller_errors_than_base_forecasts(tree):
    """Unbiased base forecasts, whose errors correlate: the shrunk covariance of 100 dates, judged on 4000."""
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(8, 8)) * np.asarray([3, 2, 2, 1, 1, 1, 1, 1])[:, None]
    truth = tree.sums(rng.normal(10, 3, size=(4100, 5)))
    base = truth + rng.normal(size=(4100, 8)) @ mixing.T
    learned, judged = slice(0, 100), slice(100, None)
    error = {}
    for method in ("bottom_up", "ols", "structural", "variance", "mint"):
        found = fit_reconciliation(tree, method=method, residuals=(truth - base)[learned])
        error[method] = ((found(base[judged]) - truth[judged]) ** 2).sum(1).mean()
    own = ((base[judged] - truth[judged]) ** 2).sum(1).mean()
    assert error["mint"] < error["variance"] < own
    assert error["mint"] < 0.5 * own
    assert error["mint"] == min(error.values())
    # The covariance of the reconciled errors is S (S' W^-1 S)^-1 S', of the least trace.
    weights = mixing @ mixing.T
    best = np.trace(
        tree.summing @ np.linalg.inv(tree.summing.T @ np.linalg.inv(weights) @ tree.summing) @ tree.summing.T
    )
    assert best < error["mint"] < 1.25 * best


def test_nonnegative_forecasts_fulfil_the_conditions_of_karush_kuhn_and_tucker(tree, errors):
    rng = np.random.default_rng(6)
    found = fit_reconciliation(tree, residuals=errors, nonnegative=True)
    base = rng.normal(0.5, 2.0, size=(200, 8))
    reconciled = found(base)
    bottom, free = reconciled[:, 3:], base @ found.projection.T
    assert (reconciled >= 0).all()
    assert tree.is_coherent(reconciled, tolerance=1e-12)
    gradient = (bottom - free) @ found.precision
    scale = np.abs(found.precision).max()
    assert (free < 0).any(1).sum() > 100
    assert gradient.min() > -1e-9 * scale
    assert np.abs(gradient * bottom).max() < 1e-9 * scale  # free numbers have no gradient
    is_free = (free >= 0).all(1)
    np.testing.assert_allclose(reconciled[is_free], tree.sums(free[is_free]), rtol=1e-12)
    lower = np.linalg.cholesky(found.precision)
    for number in range(5):
        expected = optimize.nnls(lower.T, lower.T @ free[number])[0]
        np.testing.assert_allclose(bottom[number], expected, atol=1e-9)


def test_exchanges_end_on_hard_problems():
    """Nearly collinear problems, on which all changes at once can go in circles."""
    rng = np.random.default_rng(7)
    for size in (3, 12, 40):
        factor = rng.normal(size=(size, size)) + 5 * rng.normal(size=(1, size))
        matrix = factor @ factor.T + 1e-3 * np.eye(size)
        targets = rng.normal(size=(10, size))
        found = nonnegative_least_squares(matrix, targets)
        lower = np.linalg.cholesky(matrix)
        expected = np.stack([optimize.nnls(lower.T, lower.T @ target)[0] for target in targets])
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_paths_have_the_quantiles_of_the_forecast_and_the_ranks_of_the_template():
    rng = np.random.default_rng(8)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    means, deviations = np.asarray([[1.0, 2, 3], [4, 5, 6]]), np.asarray([[1.0, 2, 1], [3, 1, 2]])
    quantiles = means[..., None] + deviations[..., None] * stats.norm.ppf(levels)
    template = rng.normal(size=(50, 6)) @ np.linalg.cholesky(0.2 * np.eye(6) + 0.8).T
    paths = shuffled_paths(quantiles, levels=levels, template=template.reshape(50, 2, 3), num_paths=1000, key=KEY)
    assert paths.shape == (1000, 2, 3)
    points = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)  # of a normal also beyond the levels
    np.testing.assert_allclose(np.sort(paths, 0), means + deviations * points[:, None, None], rtol=1e-9)
    before = stats.spearmanr(template).statistic
    np.testing.assert_allclose(stats.spearmanr(paths.reshape(1000, 6)).statistic, before, atol=0.03)
    same = shuffled_paths(quantiles, levels=levels, template=template.reshape(50, 2, 3), num_paths=1000, key=KEY)
    np.testing.assert_array_equal(paths, same)
    thin = shuffled_paths(quantiles, levels=levels, template=template.reshape(50, 2, 3), num_paths=50, key=KEY)
    np.testing.assert_array_equal(thin.reshape(50, 6).argsort(0), template.argsort(0))


def test_quantiles_of_a_sum_are_those_of_the_joint_distribution():
    """Normal parts with a correlation of one half: the sum has the variance 1 + 1 + 1."""
    rng = np.random.default_rng(9)
    levels = (0.1, 0.5, 0.9)
    tree = hierarchy_of_total(("x", "y"), total="all")
    parts = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=4000)
    template = np.column_stack([parts.sum(1), parts])
    quantiles = stats.norm.ppf(levels) * np.asarray([[9.0], [1.0], [1.0]])  # of the sum far too wide
    found = reconcile_quantiles(
        quantiles,
        reconciliation=fit_reconciliation(tree, method="bottom_up"),
        levels=levels,
        template=template,
        num_paths=4000,
        key=KEY,
    )
    np.testing.assert_allclose(found.quantiles[0], np.sqrt(3) * stats.norm.ppf(levels), atol=0.06)
    np.testing.assert_allclose(found.quantiles[1:], quantiles[1:], atol=1e-3)
    assert tree.is_coherent(found.paths, tolerance=1e-12)
    assert tree.is_coherent(found.mean, tolerance=1e-9)
    assert found.quantiles[1:, 2].sum() - found.quantiles[0, 2] > 0.2  # quantiles themselves do not add up


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "mint needs residuals"),
        ({"method": "best"}, "method of fit_reconciliation must be|method must be one of"),
        ({"residuals": np.ones((1, 8))}, "at least 2 samples"),
        ({"residuals": np.ones((9, 7))}, r"of 8 series, got shape \(9, 7\)"),
        ({"residuals": np.full((9, 8), np.nan)}, "must be finite, got nan in sample 0 of 'all'"),
        ({"method": "mint_sample", "residuals": np.random.default_rng(0).normal(size=(6, 8))}, "is singular; use mint"),
        ({"method": "ols", "base": ("all", "a", "b", "c")}, "do not determine 5 bottom series"),
        ({"method": "ols", "base": ("north", "south", "a", "c", "x")}, "unknown series 'x'"),
        ({"method": "ols", "base": ("north", "a", "b", "c", "d")}, "do not determine 5 bottom series"),
        ({"method": "bottom_up", "base": ("all", "a", "b", "c", "d")}, "needs a forecast of 'e'"),
        ({"method": "top_down"}, "needs a history"),
        ({"method": "top_down", "history": np.ones((3, 5)), "base": ("all", "a", "b", "c", "d")}, "forecast of 'e'"),
        ({"method": "top_down", "history": np.zeros((3, 8))}, "sum to nothing"),
    ],
)
def test_what_cannot_be_reconciled_is_refused(tree, options, message):
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        fit_reconciliation(tree, **options)
    assert "\n" not in str(caught.value)


def test_forecasts_of_other_series_and_missing_ones_are_refused(tree):
    ols = fit_reconciliation(tree, method="ols")
    with pytest.raises(jaxcast.InputError, match=r"of shape \(..., 8,\), got \(7,\)"):
        ols(np.ones(7))
    with pytest.raises(jaxcast.InputError, match="infinity for 'south'"):
        ols(np.where(np.arange(8) == 2, np.nan, 1.0))
    with pytest.raises(jaxcast.InputError, match="at least 2"):
        shuffled_paths(np.ones((8, 1)), levels=(0.5,), template=np.ones((9, 8)), key=KEY)
    with pytest.raises(jaxcast.InputError, match="template of at least 2 samples"):
        shuffled_paths(np.ones((8, 3)), levels=(0.1, 0.5, 0.9), template=np.ones((1, 8)), key=KEY)
