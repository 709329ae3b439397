"""What comes in at the public edges: whole numbers, NaN, wrong things; what learns sees neither weights of 0 nor the future."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core.primitives import dot_general_p

import jaxcast
from jaxcast.dynamics.trajectory_checks import stored
from jaxcast.io.conventions import in_order
from tests.public_calls import CALLS

# Numbers of any kind, as a user gives them.
pytestmark = [pytest.mark.usefixtures("without_type_checks"), pytest.mark.slow]

KEY = jax.random.key(0)


def as_integers(leaf):
    """A float, or an array of floats, that are whole, as integers."""
    if not isinstance(leaf, float | np.ndarray) or np.asarray(leaf).dtype.kind != "f":
        return leaf
    array = np.asarray(leaf)
    is_whole = array.size and np.isfinite(array).all() and (array == np.round(array)).all()
    return leaf if not is_whole else int(leaf) if isinstance(leaf, float) else array.astype(int)


def assert_same(first, second):
    first, second = jax.tree.leaves(first), jax.tree.leaves(second)
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        if isinstance(one, str) or jnp.issubdtype(getattr(one, "dtype", float), jax.dtypes.prng_key):
            continue
        assert np.asarray(one).dtype.kind == np.asarray(other).dtype.kind
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9)


# Networks, and what maps over them and differentiates them: their products have the user's precision.
# Dispatch evaluates programs whose products were seen where they were traced.
NETWORKS = (
    "backends/dispatch.py",
    "nn/",
    "training/",
    "rollout.py",
    "pooling/attention.py",
    "pooling/baselines.py",
    "series/abstract_network.py",
)


@pytest.fixture
def rounded_products(monkeypatch):
    """Lists where, outside of networks, products are traced that accelerators would round."""
    found, bind, root = [], dot_general_p.bind, f"{Path(jaxcast.__file__).parent}/"

    def spied(*args, **options):
        if options["precision"] is None and all(jnp.issubdtype(a.dtype, jnp.inexact) for a in args):
            frame = sys._getframe(1)
            while frame is not None and not frame.f_code.co_filename.startswith(root):
                frame = frame.f_back
            place = "" if frame is None else f"{frame.f_code.co_filename.removeprefix(root)}:{frame.f_lineno}"
            if place and not place.startswith(NETWORKS):
                found.append(place)
        return bind(*args, **options)

    monkeypatch.setattr(dot_general_p, "bind", spied)
    return found


@pytest.mark.parametrize("name", CALLS)
def test_whole_numbers_give_what_floats_give_in_full_precision(name, rounded_products):
    function, arguments, options = CALLS[name]()
    wanted = function(*arguments, **options)
    key = {"key": options["key"]} if "key" in options else {}
    integers = jax.tree.map(as_integers, (arguments, options))
    assert_same(wanted, function(*integers[0], **integers[1] | key))
    assert not rounded_products


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, list, jnp.int32])
def test_every_kind_of_whole_number_is_welcome(dtype):
    counts = np.asarray([[1.0], [2.0], [9.0], [0.0]])
    given = (
        counts.astype(int).tolist()
        if dtype is list
        else jnp.asarray(counts, dtype)
        if dtype is jnp.int32
        else counts.astype(dtype)
    )
    valid = jaxcast.valid_time(given, np.zeros((4, 1)), dt=0.1, threshold=np.int16(40))
    assert float(valid.time) == pytest.approx(0.2)
    assert float(jaxcast.saturation_error(given)) == pytest.approx(2 * counts.var(), rel=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jaxcast.simulate("lorenz63", [1.0, 2.0, 3.0], num_samples=3), "must be a System, got 'lorenz63'; make one, such as jaxcast.Lorenz63"),
        (lambda: jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 2.0, 3.0], num_samples=3, t0=np.nan), "t0 of simulate must be a finite number, got nan"),
        (lambda: jaxcast.final_states(jaxcast.Lorenz63(), np.ones((2, 3)), duration=1.0, t0=np.inf), "t0 of final_states must be a finite number, got inf"),
        (lambda: jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 2.0, "3"], num_samples=3), "u0 of simulate must be numbers"),
        (lambda: jaxcast.stack_systems(["lorenz63()"]), "must be a System, got 'lorenz63"),
        (lambda: jaxcast.valid_time("far", [[0.0]], dt=0.1, threshold=1.0), "forecast of valid_time must be numbers, got 'far'"),
        (lambda: jaxcast.valid_time(None, [[0.0]], dt=0.1, threshold=1.0), "forecast of squared_error is missing, got None"),
        (lambda: jaxcast.saturation_error([]), r"must have the shape \(time, dim\)|must not be empty"),
        (lambda: jaxcast.saturation_error([[1.0 + 2.0j]]), "must be real numbers, got"),
        (lambda: jaxcast.saturation_error(np.asarray([[1], ["a"]], object)), "must be real numbers, got an array of object"),
        (lambda: jaxcast.saturation_error([[1.0], [1.0, 2.0]]), "rows of one length"),
        (lambda: jaxcast.median_interval([1.0, 2.0], confidence=np.nan), "confidence of median_interval must be a finite number"),
        (lambda: jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), 2.5, key=KEY), "num of random_starts must be a whole number, got 2.5"),
        (lambda: jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), 2, key=7), "must be a key of jax.random"),
        (lambda: jaxcast.one_step_samples(np.ones((9, 3)), 2), "must be a Trajectory, got an array of float64"),
        (lambda: jaxcast.series.fit_lag_regression("samples", inputs=None, expansion=jaxcast.series.LinearFeatures(), penalty=1.0), "must be a SeriesWindows"),
        (lambda: jaxcast.series.neighbour_weights(2, everyone="no"), "everyone of neighbour_weights must be True or False, got 'no'"),
        (lambda: jaxcast.scores.squared_error(np.ones(3), np.ones(3)), "one window"),
        (lambda: jaxcast.assimilation.parameter_map(jaxcast.Lorenz63(), "rho"), "must be a list of texts"),
    ],
)  # fmt: skip
def test_wrong_things_are_refused_in_one_line(call, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


NEVER_RIGHT = {
    "text": "text", "bytes": b"x", "a ragged list": [[1.0], [1.0, 2.0]], "complex": 1j, "a dict": {}, "a function": as_integers,
    "a class": int, "objects": np.asarray([1, "a"], object), "a date": np.datetime64("2024-01-01"),
    "masked": np.ma.masked_array([1.0, 2.0], [True, False]),
}  # fmt: skip
WALKED = (
    "valid_time", "squared_error", "saturation_error", "median_interval", "parameter_tracking", "lead_errors", "spread_and_error",
    "pinball_loss", "interval_score", "interval_coverage", "count_crossings", "relative_score", "diebold_mariano", "FixedWeights",
    "LinearRegression", "fit_ridge", "LastValue", "neighbour_weights", "one_step_errors", "delay_embed", "forecast_windows", "Cosine",
    "LinearRamp", "AdditiveAttention", "simulate", "rolled_samples", "one_step_samples", "cut_windows", "lag_inputs", "HubForecasts",
)  # fmt: skip


@pytest.mark.parametrize("name", WALKED)
def test_no_single_argument_makes_anything_but_an_input_error(name, without_type_checks):
    """Each in turn by four things, drawn by a seed, that it can never be."""
    function, arguments, options = CALLS[name]()
    rng = np.random.default_rng(sum(map(ord, name)))
    for place in (*range(len(arguments)), *options):
        for wrong in rng.choice([*NEVER_RIGHT], 4, replace=False):
            changed, named = list(arguments), dict(options)
            where = changed if isinstance(place, int) else named
            if callable(where[place]) and wrong in ("a function", "a class"):
                continue  # what a user's function does is the user's
            where[place] = NEVER_RIGHT[wrong]
            with pytest.raises(jaxcast.InputError) as caught:
                function(*changed, **named)
            assert str(caught.value).isprintable(), (place, wrong)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jaxcast.hub.TrimmedMean(None), "trim of TrimmedMean is missing"),
        (lambda: jaxcast.series.LastValue("12"), "leads of LastValue must be a list of whole numbers, got '12'"),
        (lambda: jaxcast.Lorenz96(dim="5"), "dim of Lorenz96 must be a whole number, got '5'"),
        (lambda: jaxcast.Lorenz63(rho={}), "rho must be numbers, got a dict"),
        (lambda: jaxcast.Cosine(1.0, 2.0, 0), "period must not be 0, got 0.0"),
        (lambda: jaxcast.pooling.FixedWeights(int), "weights of FixedWeights must be numbers, got a type"),
        (lambda: jaxcast.equal_weights(True), "num_models of equal_weights must be a whole number, got True"),
        (lambda: jaxcast.scores.diebold_mariano(np.ones((9, 3)), np.ones((8, 3))), "8 along the axis week, where first has 9|alike|shape"),
        (lambda: jaxcast.one_step_samples(jaxcast.Trajectory(np.arange(9.0), np.ones((8, 2))), 2), "8 along the axis time, where times has 9|times"),
        (lambda: jaxcast.scores.paired_test(np.ones(9), np.ones(9), key=KEY, num_resamples=0), "num_resamples must be at least 1, got 0"),
        (lambda: jaxcast.pooling.fit_ridge(np.ones((9, 3, 2), np.float16), np.ones((9, 2), np.float16), penalty=1.0), "give float32 or float64"),
    ],
)  # fmt: skip
def test_what_fits_nowhere_is_refused_in_one_line(call, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message):
        call()


def test_a_wrong_call_is_pythons_own_error():
    with pytest.raises(TypeError, match=r"valid_time\(\) .*unexpected keyword argument 'bogus'"):
        jaxcast.valid_time([[1.0]], [[1.0]], dt=0.1, threshold=1.0, bogus=3)


class Branching(jaxcast.System):
    components = ("x",)

    def vector_field(self, t, u):
        return (-u[0] if u[0] > 0 else 0.0,)


class Floating(jaxcast.System):
    components = ("x",)

    def vector_field(self, t, u):
        return (-float(u[0]),)


@pytest.mark.parametrize("system", [Branching(), Floating()])
def test_a_vector_field_that_cannot_be_traced_is_refused_with_the_way_out(system):
    for call in (
        lambda: jaxcast.simulate(system, [1.0], num_samples=2),
        lambda: jaxcast.flow_map(system)([1.0]),
        lambda: jaxcast.simulate_ensemble(system, np.ones((2, 1)), num_samples=2),
    ):
        with pytest.raises(jaxcast.InputError, match=r"write it in jax\.numpy"):
            call()


def test_candidates_of_another_dimension_are_refused(trajectory):
    def of_four(value, time):
        return jnp.ones((2, 4))

    for call in (
        lambda: jaxcast.one_step_samples(trajectory, 2, of_four),
        lambda: jaxcast.dynamics.forecasts_along(of_four, trajectory),
        lambda: jaxcast.forecast(jaxcast.Forecaster(jaxcast.equal_weights(2), of_four), trajectory.states[:4], 2),
    ):
        with pytest.raises(
            jaxcast.InputError, match=r"of shape \(3,\), got forecasts \(model, dim\) of shape \(2, 4\)"
        ):
            call()


def test_what_an_external_simulator_raises_is_reported(trajectory):
    def out_of_licences(value, time):
        raise RuntimeError("no licence left")

    external = jaxcast.dynamics.ExternalCandidates(out_of_licences, num_models=2)
    cell = jaxcast.Forecaster(jaxcast.equal_weights(2), external)
    early = jaxcast.Trajectory(trajectory.times[:8], trajectory.states[:8])
    for call in (
        lambda: jaxcast.one_step_samples(early, 1, external),
        lambda: jaxcast.open_loop(cell, early.states, early.times),
    ):
        with pytest.raises(
            jaxcast.InputError, match="external function raised RuntimeError: no licence left"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_named_columns_are_found_by_name():
    states = np.arange(6.0).reshape(2, 3)
    record = stored("a.csv", [0.0, 1.0], states, ("x", "y", "z"))
    turned = in_order(record, ("z", "x", "y"), "a.csv", "the pool has")
    assert turned.components == ("z", "x", "y")
    np.testing.assert_array_equal(turned.trajectory.states, states[:, [2, 0, 1]])
    with pytest.raises(jaxcast.InputError, match=r"a.csv has 3 components \(x, y, z\), the pool has 3 \(x, y, w\)"):
        in_order(record, ("x", "y", "w"), "a.csv", "the pool has")
    unnamed = stored("a.npz", [0.0, 1.0], states, ("u0", "u1", "u2"))
    assert in_order(unnamed, ("u1", "u2", "u3"), "a.npz", "the pool has") is unnamed


def test_two_zeros_have_the_ratio_one_and_a_zero_to_more_is_left_out():
    score = jaxcast.scores.relative_score(np.asarray([[0.0, 0.0, 5.0], [0.0, 0.0, 3.0]]), baseline=2)
    assert score.relative.tolist() == [0, 0, 1]
    assert score.left_out.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    ties = jaxcast.scores.relative_score(np.zeros((2, 2)), baseline=0)
    assert ties.relative.tolist() == [1, 1]
    assert not ties.left_out.any()
    with_zero = jaxcast.scores.relative_score(np.asarray([[0.0, 1.0, 3.0]]), baseline=1)
    np.testing.assert_allclose(with_zero.relative, [0, 1, 3], rtol=1e-12)
    to_zero = jaxcast.scores.relative_score(np.asarray([[0.0, 1.0, 0.0]]), baseline=0).relative
    np.testing.assert_array_equal(to_zero, [1, np.nan, 1])


def test_a_zero_in_a_few_common_tasks_does_not_decide_about_other_models():
    scores = np.asarray([[0.0, 2.0, 4.0], [6.0, np.nan, 3.0], [6.0, np.nan, 3.0]])
    relative = jaxcast.scores.relative_score(scores).relative
    ratio = 12 / 10  # of the first and the last; those of the first and the second are left out, 0 to 2
    np.testing.assert_allclose(relative, [ratio**0.5, 0.5**0.5, (2 / ratio) ** (1 / 3)], rtol=1e-12)


# What weights of 0 cover, and what comes after the training part, changes nothing.


@pytest.fixture(scope="module")
def series():
    return 5 + np.random.default_rng(0).normal(size=(60, 2)).cumsum(0)


def with_rubbish(samples, rubbish):
    return samples._replace(targets=jnp.where(samples.weights > 0, samples.targets, rubbish))


def learners(samples):
    """name -> what is learned from, or said of, samples."""
    inputs = jaxcast.series.lag_inputs(samples, lags=range(4))
    network = jaxcast.series.GlobalNetwork(samples, hidden_size=2, levels=(0.2, 0.8), key=KEY)
    point = jaxcast.series.GlobalNetwork(samples, hidden_size=2, key=KEY)
    shifts = {"levels": (0.2, 0.8), "std": np.ones(2)}
    return {
        "lag_inputs": lambda: inputs,
        "fit_lag_regression": lambda: jaxcast.series.fit_lag_regression(
            samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-2
        ),
        "each region": lambda: jaxcast.series.fit_lag_regression(
            samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=0.0, each_region=True
        ),
        "conformal_shifts": lambda: jaxcast.series.conformal_shifts(
            np.zeros((*samples.targets.shape, 1)), samples, **shifts
        ),
        "typical_change": lambda: jaxcast.series.typical_change(samples),
        "errors_by_lead": lambda: jaxcast.series.errors_by_lead(jnp.ones(samples.targets.shape), samples),
        "quantile loss": lambda: jax.value_and_grad(jaxcast.series.WindowLoss())(network, samples),
        "squared loss": lambda: jax.value_and_grad(jaxcast.series.WindowLoss())(point, samples),
    }


LEARNERS = (
    "lag_inputs", "fit_lag_regression", "each region", "conformal_shifts", "typical_change", "errors_by_lead", "quantile loss",
    "squared loss",
)  # fmt: skip


@pytest.fixture(scope="module")
def part(series):
    values = series.copy()
    values[7, 1] = np.nan
    return jaxcast.series.series_windows(values, history_size=6, leads=(1, 4), stop=45)


@pytest.mark.parametrize("name", LEARNERS)
def test_where_a_weight_is_zero_anything_may_stand(part, name):
    assert (part.weights == 0).any()
    wanted = learners(part)[name]()
    for rubbish in (1e6, np.nan):
        assert_same(wanted, learners(with_rubbish(part, rubbish))[name]())


@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_later_than_the_part_is_learned_from(series, name):
    def learned(values):
        return learners(jaxcast.series.series_windows(values, history_size=6, leads=(1, 4), stop=45))[name]()

    later = series.copy()
    later[45:] *= -3
    assert_same(learned(series), learned(later))


def hub_course(truth):
    forecasts = np.sort(np.random.default_rng(1).normal(10, 2, (2, 14, 3, 3)), -1)
    return jaxcast.hub.HubForecasts.of(forecasts, truth, np.asarray([0.25, 0.5, 0.75]))


PROTOCOLS = {
    "rolling_origin": lambda hub_forecasts: jaxcast.hub.rolling_origin(hub_forecasts, pool=jaxcast.hub.TrainedQuantileAverage.untrained(3), num_optimizer_steps=1).forecast,
    "adaptive": lambda hub_forecasts: jaxcast.hub.pool_forecasts(jaxcast.hub.AdaptivePool(), hub_forecasts).forecast,
    "track_coverage": lambda hub_forecasts: jaxcast.hub.track_coverage(hub_forecasts.quantiles[:, :, 0], hub_forecasts),
    "aggregate_experts": lambda hub_forecasts: jaxcast.hub.aggregate_experts(jnp.moveaxis(hub_forecasts.quantiles, 2, 0), hub_forecasts).forecast,
    "pool_forecasts": lambda hub_forecasts: jaxcast.hub.pool_forecasts(jaxcast.hub.InverseScoreWeights(), hub_forecasts).forecast,
}  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_forecast_of_a_hub_sees_the_truth_of_its_own_week_or_later(name):
    truth = np.random.default_rng(2).normal(10, 2, (2, 14))
    later = truth.copy()
    later[:, 9:] += 50
    first, second = (PROTOCOLS[name](hub_course(t)) for t in (truth, later))
    np.testing.assert_allclose(second[:, :10], first[:, :10], rtol=1e-9)
    assert np.abs(np.asarray(second[:, 10:] - first[:, 10:])).max() > 0


def test_scaled_wis_and_best_average_see_nothing_where_the_weight_is_zero():
    truth = np.random.default_rng(0).normal(10, 2, (2, 6))
    truth[0, 2] = np.nan
    hub_forecasts = jaxcast.hub.HubForecasts.of(
        np.sort(np.random.default_rng(1).normal(10, 2, (2, 6, 4, 3)), -1), truth, [0.25, 0.5, 0.75]
    )
    samples = jaxcast.hub.quantile_samples(hub_forecasts, num_delays=2, scale=np.ones(2))
    samples = jax.tree.map(lambda a: a.reshape(12, *a.shape[2:]), samples)
    pool = jaxcast.AdditiveAttention(dim=3, query_dim=1, num_delays=2, hidden_size=4, key=KEY)
    assert (samples.weight == 0).sum() == 1
    wanted = jax.value_and_grad(jaxcast.hub.scaled_wis)(pool, samples)
    for rubbish in (1e6, np.nan):
        spoilt = samples._replace(target=jnp.where(samples.weight > 0, samples.target, rubbish))
        assert_same(wanted, jax.value_and_grad(jaxcast.hub.scaled_wis)(pool, spoilt))
    values = np.random.default_rng(3).normal(size=12)
    forecasts = values + np.random.default_rng(4).normal(size=(5, 12))
    weights = np.tile([1.0, 0.0, 2.0], 4)
    chosen = jaxcast.training.select_average(forecasts, values, weights, sizes=(1, 2, 3))
    for rubbish in (1e6, np.nan):
        spoilt = np.where(weights > 0, values, rubbish)
        np.testing.assert_array_equal(
            jaxcast.training.select_average(forecasts, spoilt, weights, sizes=(1, 2, 3)), chosen
        )


def test_samples_of_weight_zero_change_neither_losses_nor_fits(part):
    def longer(name, leaf):
        first = leaf[:5]
        return jnp.concatenate([leaf, 0 * first if name == "weights" else first + 3 if name != "rows" else first])

    more = jaxcast.series.SeriesWindows(**{n: None if a is None else longer(n, a) for n, a in part._asdict().items()})
    inputs = jaxcast.series.lag_inputs(part, lags=range(4))
    for levels in ((), (0.2, 0.8)):
        network = jaxcast.series.GlobalNetwork(part, hidden_size=2, levels=levels, key=KEY, dtype=jnp.float64)
        assert_same(*(jax.value_and_grad(jaxcast.series.WindowLoss())(network, samples) for samples in (part, more)))
    for each in (False, True):
        options = {"penalty": 1e-2, "each_region": each}
        fits = (
            jaxcast.series.fit_lag_regression(s, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), **options)
            for s in (part, more)
        )
        assert_same(*fits)
    assert_same(*(jaxcast.series.errors_by_lead(jnp.ones(s.targets.shape), s) for s in (part, more)))
    shifts = {"levels": (0.2, 0.8), "std": np.ones(2)}
    assert_same(*(jaxcast.series.conformal_shifts(np.zeros((*s.targets.shape, 1)), s, **shifts) for s in (part, more)))


def test_forecasts_of_eight_bits_in_samples_do_not_wrap():
    _, (samples,), _ = CALLS["fit_regime_interpolation"]()
    narrow = samples._replace(forecasts=np.asarray(samples.forecasts).astype(np.uint8))
    wide = samples._replace(forecasts=narrow.forecasts.astype(float))
    assert_same(*map(jaxcast.pooling.fit_regime_interpolation, (wide, narrow)))
