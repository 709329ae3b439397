"""Calls of the public functions that take numbers, in whole numbers written as floats."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 1)
LEVELS = np.asarray([0.25, 0.5, 0.75])


def whole(*shape, low=1, high=9, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(float)


class Decay(jaxcast.System):
    components = ("x", "y")
    rate: jaxcast.dynamics.Parameter = 1.0

    def vector_field(self, t, u):
        return -self.rate * u[0] / 8, (t - u[1]) / 4


def two_forecasts(value, given):
    return jnp.stack([value + 1, value - 1])


def optimizer():
    return jaxcast.training.make_optimizer(1e-2)


def feed_forward(key):
    return jaxcast.pooling.FeedForward(dim=2, num_delays=1, hidden_size=3, key=key)


def network(key):
    return jaxcast.series.GlobalNetwork(series_windows(), hidden_size=2, key=key)


@cache
def trajectory(length=14):
    return jaxcast.Trajectory(np.arange(float(length)), whole(length, 2))


@cache
def samples():
    return jax.tree.map(np.asarray, jaxcast.one_step_samples(trajectory(), 1, two_forecasts))


@cache
def series():
    return whole(40, 2, high=99)


@cache
def series_windows():
    return jax.tree.map(np.asarray, jaxcast.series.series_windows(series(), history_size=4, leads=(1, 3)))


@cache
def inputs():
    return jaxcast.series.lag_inputs(series_windows(), lags=range(4))


@cache
def quantiles(*shape, seed=0):
    return np.sort(whole(*shape, 3, seed=seed), -1)


@cache
def hub_forecasts():
    return jaxcast.hub.HubForecasts.of(quantiles(2, 8, 3), whole(2, 8), LEVELS)


@cache
def windows():
    return jax.tree.map(np.asarray, jaxcast.cut_windows(trajectory(), num_windows=2, num_leads=3, history_size=4))


def network_lstm():
    return jaxcast.nn.LSTM(input_size=2, hidden_size=3, key=KEY, dtype=jnp.float64)


def cell():
    return jaxcast.Forecaster(jaxcast.equal_weights(2), two_forecasts)


# name: (function, arguments, options); what is called is the public name up to the first space.
CALLS = {
    "simulate": lambda: (
        jaxcast.simulate,
        (Decay(3.0), whole(2)),
        {"num_samples": 3, "dt": 1.0, "h": 1.0, "t0": 2.0, "transient": 1.0},
    ),
    "simulate_ensemble": lambda: (
        jaxcast.simulate_ensemble,
        (Decay(), whole(3, 2)),
        {"num_samples": 3, "dt": 1.0, "h": 1.0, "t0": 2.0},
    ),
    "final_states": lambda: (jaxcast.final_states, (Decay(), whole(3, 2)), {"duration": 2.0, "h": 1.0, "t0": 2.0}),
    "flow_map": lambda: (
        lambda u, t, dt, h: jaxcast.flow_map(Decay(), dt=dt, h=h)(u, t),
        (whole(2), 3.0, 2.0, 1.0),
        {},
    ),
    "reference_solution": lambda: (
        jaxcast.dynamics.reference_solution,
        (Decay(), whole(2), np.arange(3.0)),
        {"rtol": 1e-6, "atol": 1e-6},
    ),
    "rk4_step": lambda: (jaxcast.dynamics.rk4_step, (Decay(), 2.0, tuple(whole(2)), 1.0), {}),
    "lyapunov_exponent": lambda: (
        jaxcast.dynamics.lyapunov_exponent,
        (Decay(), whole(2)),
        {"duration": 3.0, "key": KEY, "h": 1.0, "dt": 1.0, "t0": 1.0, "transient": 2.0},
    ),
    "Lorenz63 stacked": lambda: (
        lambda *rho: jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=r) for r in rho]))([1.0, 1.0, 20.0]),
        (28.0, 30.0),
        {},
    ),
    "Cosine": lambda: (lambda *a: jaxcast.Cosine(*a)(0.25), (9.0, 3.0, 2.0), {}),
    "SumOfCosines": lambda: (lambda *a: jaxcast.SumOfCosines(*a)(0.25), (9.0, whole(2), whole(2), whole(2)), {}),
    "LinearRamp": lambda: (lambda *a: jaxcast.LinearRamp(*a)(4.0), (9.0, 3.0, 2.0, 9.0), {}),
    "PiecewiseConstant": lambda: (
        lambda *a: jaxcast.PiecewiseConstant(*a)(4.0),
        (np.asarray([2.0, 5.0]), whole(3)),
        {},
    ),
    "forecasts_along": lambda: (jaxcast.dynamics.forecasts_along, (two_forecasts, trajectory()), {}),
    "one_step_samples": lambda: (jaxcast.one_step_samples, (trajectory(), 2, two_forecasts), {}),
    "rolled_samples": lambda: (
        jaxcast.pooling.rolled_samples,
        (jaxcast.equal_weights(2), trajectory(), two_forecasts),
        {},
    ),
    "sequence_chunks": lambda: (jaxcast.pooling.sequence_chunks, (trajectory(), two_forecasts), {"length": 3}),
    "delay_embed": lambda: (jaxcast.dynamics.delay_embed, (series(), 2), {}),
    "cut_windows": lambda: (
        jaxcast.cut_windows,
        (trajectory(),),
        {"num_windows": 2, "num_leads": 3, "history_size": 4},
    ),
    "forecast_windows": lambda: (jaxcast.forecast_windows, (cell(), windows()), {}),
    "training_windows": lambda: (
        jaxcast.training.training_windows,
        (trajectory(),),
        {"num_leads": 2, "history_size": 3},
    ),
    "forecast": lambda: (jaxcast.forecast, (cell(), whole(4, 2), 3), {}),
    "open_loop": lambda: (jaxcast.open_loop, (cell(), whole(4, 2)), {}),
    "spin_up": lambda: (lambda v: jaxcast.spin_up(cell(), v).output, (whole(4, 2),), {}),
    "roll": lambda: (lambda v: jaxcast.roll(cell(), jaxcast.Input(v, np.arange(5) < 3))[1], (whole(5, 2),), {}),
    "one_step_forecasts": lambda: (jaxcast.pooling.one_step_forecasts, (jaxcast.equal_weights(2), samples()), {}),
    "one_step_errors": lambda: (jaxcast.pooling.one_step_errors, (jaxcast.equal_weights(2), samples()), {}),
    "mean_squared_error": lambda: (jaxcast.pooling.mean_squared_error, (jaxcast.equal_weights(2), samples()), {}),
    "squared_error": lambda: (jaxcast.scores.squared_error, (whole(4, 2), whole(4, 2, seed=1)), {"scale": whole(2)}),
    "valid_time": lambda: (
        jaxcast.valid_time,
        (whole(4, 2), whole(4, 2, seed=1)),
        {"dt": 1.0, "threshold": 9.0, "scale": 2.0},
    ),
    "saturation_error": lambda: (jaxcast.saturation_error, (whole(9, 2),), {}),
    "median_interval": lambda: (jaxcast.median_interval, (whole(9),), {}),
    "parameter_tracking": lambda: (
        jaxcast.scores.parameter_tracking,
        (np.eye(3)[[0, 1, 2, 1]], whole(3), whole(4)),
        {},
    ),
    "lead_errors": lambda: (jaxcast.scores.lead_errors, (whole(3, 4, 2), whole(3, 4, 2, seed=1)), {"scale": 3.0}),
    "spread_and_error": lambda: (
        jaxcast.scores.spread_and_error,
        (whole(3, 3, 4, 2), whole(3, 4, 2, seed=1)),
        {"scale": 3.0},
    ),
    "spread_factors": lambda: (
        jaxcast.scores.spread_factors,
        (whole(3, 4, 2), whole(3, 4, 2, seed=2), whole(3, 4, 2, seed=1)),
        {"scale": 3.0},
    ),
    "paired_test": lambda: (
        jaxcast.scores.paired_test,
        (whole(9), whole(9, seed=1)),
        {"key": KEY, "num_resamples": 50},
    ),
    "FixedWeights": lambda: (
        lambda w, f: jaxcast.pooling.FixedWeights(w)(None, f),
        (np.asarray([1.0, 0.0, 0.0]), whole(3, 2)),
        {},
    ),
    "LinearRegression": lambda: (
        lambda *a: jaxcast.pooling.LinearRegression(*a[:2])(None, a[2]),
        (whole(2, 3, 2), whole(2), whole(3, 2)),
        {},
    ),
    "fit_linear_regression": lambda: (
        jaxcast.pooling.fit_linear_regression,
        (whole(30, 3, 2), whole(30, 2, seed=1)),
        {},
    ),
    "fit_ridge": lambda: (jaxcast.pooling.fit_ridge, (whole(30, 3, 2), whole(30, 2, seed=1)), {"penalty": 2.0}),
    "fit_fixed_share": lambda: (
        jaxcast.pooling.fit_fixed_share,
        (whole(30, 3, 2), whole(30, 2, seed=1)),
        {"num_iterations": 2},
    ),
    "fit_interacting_models": lambda: (
        jaxcast.pooling.fit_interacting_models,
        (whole(30, 3, 2), whole(30, 2, seed=1)),
        {"num_iterations": 2, "pseudo_count": 1.0},
    ),
    "FixedShare": lambda: (
        lambda s: (
            jaxcast.open_loop(
                jaxcast.Forecaster(jaxcast.pooling.FixedShare(0.1, s), two_forecasts), whole(4, 2)
            ).forecast
        ),
        (whole(2),),
        {},
    ),
    "fit_regime_interpolation": lambda: (jaxcast.pooling.fit_regime_interpolation, (samples(),), {}),
    "fit_correction": lambda: (
        jaxcast.pooling.fit_correction,
        (samples(),),
        {"pool": jaxcast.equal_weights(2), "kind": "polynomial", "degrees": (1,), "penalties": (1.0,)},
    ),
    "input_scales": lambda: (jaxcast.pooling.input_scales, (trajectory(), two_forecasts), {}),
    "SimplexLeastSquares": lambda: (
        jaxcast.pooling.SimplexLeastSquares(2),
        (jaxcast.pooling.Memory(whole(2, 3), whole(2, 4, 3)), whole(4, 3)),
        {},
    ),
    "fit_nvar": lambda: (jaxcast.forecasters.fit_nvar, (series(),), {"penalty": 2.0}),
    "fit_reservoir": lambda: (
        jaxcast.forecasters.fit_reservoir,
        (series(),),
        {"key": KEY, "num_nodes": 8, "penalty": 2.0, "num_discarded": 3, "leak": 1.0},
    ),
    "fit_delay_kernel_ridge": lambda: (
        jaxcast.forecasters.fit_delay_kernel_ridge,
        (series(),),
        {"lag_weights": np.ones(2), "bandwidth": 2.0, "penalty": 1.0},
    ),
    "fit_recurrent_readout": lambda: (
        jaxcast.forecasters.fit_recurrent_readout,
        (series(),),
        {"layers": network_lstm(), "penalty": 2.0, "num_discarded": 3},
    ),
    "fit_recurrent_forecaster": lambda: (
        jaxcast.forecasters.fit_recurrent_forecaster,
        (series(),),
        {"layers": network_lstm(), "num_optimizer_steps": 1, "num_discarded": 2, "chunk_size": 9, "penalty": 1.0},
    ),
    "LSTM": lambda: (lambda x: network_lstm()(x), (whole(5, 2),), {}),
    "SelfAttention": lambda: (jaxcast.nn.SelfAttention(size=4, key=KEY), (whole(5, 4),), {}),
    "Stack": lambda: (jaxcast.nn.Stack("gru", input_size=2, hidden_size=3, num_layers=2, key=KEY), (whole(5, 2),), {}),
    "AdditiveAttention": lambda: (
        jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=4, key=KEY),
        (jaxcast.pooling.Memory(whole(2, 3), whole(2, 4, 3)), whole(4, 3)),
        {},
    ),
    "fit": lambda: (
        lambda data: (
            jaxcast.fit(
                data,
                init=feed_forward,
                loss=jaxcast.pooling.mean_squared_error,
                keys=KEYS,
                optimizer=optimizer(),
                num_epochs=1,
                batch_size=4,
            ).losses
        ),
        (samples(),),
        {},
    ),
    "fine_tune": lambda: (
        lambda t: (
            jaxcast.training.fine_tune(
                t,
                models=jax.vmap(feed_forward)(KEYS),
                make_cell=jaxcast.Forecaster,
                keys=KEYS,
                num_leads=(1,),
                num_epochs=1,
                batch_size=4,
            ).losses
        ),
        (trajectory(),),
        {},
    ),
    "closed_loop_loss": lambda: (
        lambda w: jaxcast.training.closed_loop_loss(jaxcast.Forecaster)(jaxcast.pooling.Persistence(), w),
        (jax.tree.map(np.asarray, jaxcast.training.training_windows(trajectory(), num_leads=2, history_size=1)),),
        {},
    ),
    "select_average": lambda: (
        jaxcast.training.select_average,
        (whole(4, 12), whole(12, seed=1), whole(12, seed=2)),
        {},
    ),
    "series_windows": lambda: (
        jaxcast.series.series_windows,
        (series(),),
        {"history_size": 4, "leads": (1, 3), "newest_covariates": whole(40, 1), "future_covariates": whole(44, 1)[:40]},
    ),
    "errors_by_lead": lambda: (
        jaxcast.series.errors_by_lead,
        (whole(*series_windows().targets.shape), series_windows()),
        {},
    ),
    "neighbour_weights": lambda: (jaxcast.series.neighbour_weights, (3, whole(3, 3)), {}),
    "lag_inputs": lambda: (
        lambda s, m: jaxcast.series.lag_inputs(s, lags=range(4), neighbour_weights=m)(s.history),
        (series_windows(), jaxcast.series.neighbour_weights(2, everyone=True).round() + 1),
        {},
    ),
    "fit_lasso": lambda: (
        lambda s: jaxcast.series.fit_lasso(s, inputs=inputs(), penalty=0.1),
        (series_windows(),),
        {},
    ),
    "fit_lasso_path": lambda: (
        lambda s: jaxcast.series.fit_lasso_path(s, inputs=inputs(), penalties=(0.1, 0.01)),
        (series_windows(),),
        {},
    ),
    "fit_var": lambda: (lambda s: jaxcast.series.fit_var(s, penalty=0.1), (series_windows(),), {}),
    "fit_var_path": lambda: (
        lambda s: jaxcast.series.fit_var_path(s, penalties=(0.1, 1.0)).forecasts(s),
        (series_windows(),),
        {},
    ),
    "fit_star": lambda: (
        lambda s, g: jaxcast.series.fit_star(s, graph=g),
        (series_windows(), whole(2, 2)),
        {},
    ),
    "fit_lag_regression": lambda: (
        jaxcast.series.fit_lag_regression,
        (series_windows(),),
        {"inputs": inputs(), "expansion": jaxcast.series.LinearFeatures(), "penalty": 1.0},
    ),
    "WindowLoss": lambda: (lambda s: jaxcast.series.WindowLoss()(network(KEY), s), (series_windows(),), {}),
    "conformal_shifts": lambda: (
        jaxcast.series.conformal_shifts,
        (whole(*series_windows().targets.shape, 1), series_windows()),
        {"levels": (0.1, 0.9), "std": whole(2)},
    ),
    "recent_volatility": lambda: (jaxcast.series.recent_volatility, (series(), whole(2)), {}),
    "typical_change": lambda: (jaxcast.series.typical_change, (series_windows(),), {}),
    "LastValue": lambda: (jaxcast.series.LastValue((1, 2)), (series(),), {}),
    "HistoryMean": lambda: (jaxcast.series.HistoryMean((1, 2)), (series(),), {}),
    "Drift": lambda: (jaxcast.series.Drift((1, 2)), (series(),), {}),
    "SeasonalLastValue": lambda: (jaxcast.series.SeasonalLastValue((1, 2), 4), (series(),), {}),
    "HistoricalAverage": lambda: (
        jaxcast.series.HistoricalAverage((1, 2), num_recent=2, num_days=1, slots_per_day=4),
        (series(),),
        {},
    ),
    "SlotMean": lambda: (
        lambda m, h, c: jaxcast.series.SlotMean(m, (1, 2))(h, c),
        (whole(14, 2), series(), whole(1)),
        {},
    ),
    "fit_slot_mean": lambda: (
        lambda v, s: jaxcast.series.fit_slot_mean(v, s, slots_per_day=2, leads=(1,)),
        (series(), np.arange(40.0) % 14),
        {},
    ),
    "random_fourier_features": lambda: (
        lambda x, b: jaxcast.series.random_fourier_features(2, 4, bandwidth=b, key=KEY)(x),
        (whole(3, 2), 2.0),
        {},
    ),
    "PolynomialFeatures": lambda: (jaxcast.series.PolynomialFeatures(2), (whole(3, 2),), {}),
    "HubForecasts": lambda: (jaxcast.hub.HubForecasts.of, (quantiles(2, 8, 3), whole(2, 8), LEVELS), {}),
    "pinball_loss": lambda: (jaxcast.scores.pinball_loss, (quantiles(4), whole(4), LEVELS), {}),
    "weighted_interval_score": lambda: (jaxcast.scores.weighted_interval_score, (quantiles(4), whole(4), LEVELS), {}),
    "interval_score": lambda: (jaxcast.scores.interval_score, (whole(4), whole(4) + 3, whole(4, seed=1), 0.5), {}),
    "interval_coverage": lambda: (jaxcast.scores.interval_coverage, (quantiles(4), whole(4), LEVELS), {"nominal": 0.5}),
    "quantile_bias": lambda: (jaxcast.scores.quantile_bias, (quantiles(4), whole(4), LEVELS), {}),
    "pit_interval": lambda: (jaxcast.scores.pit_interval, (quantiles(4), whole(4), LEVELS), {}),
    "pit_histogram": lambda: (jaxcast.scores.pit_histogram, (quantiles(4), whole(4), LEVELS), {}),
    "quantile_coverage": lambda: (jaxcast.scores.quantile_coverage, (quantiles(4), whole(4), LEVELS), {}),
    "coverage_curve": lambda: (
        jaxcast.scores.coverage_curve,
        (quantiles(2, 9), whole(2, 9), LEVELS),
        {"num_resamples": 9},
    ),
    "count_crossings": lambda: (jaxcast.scores.count_crossings, (quantiles(4)[..., ::-1],), {}),
    "relative_score": lambda: (jaxcast.scores.relative_score, (whole(9, 3),), {"baseline": 1}),
    "diebold_mariano": lambda: (jaxcast.scores.diebold_mariano, (whole(9, 3), whole(9, 3, seed=1)), {}),
    "block_bootstrap": lambda: (
        jaxcast.scores.block_bootstrap,
        (whole(9, 3), whole(9, 3, seed=1)),
        {"key": KEY, "num_resamples": 20},
    ),
    "shrunk_covariance": lambda: (jaxcast.hierarchy.shrunk_covariance, (whole(9, 3),), {}),
    "fit_reconciliation": lambda: (
        lambda forecasts, residuals: jaxcast.hierarchy.fit_reconciliation(
            jaxcast.hierarchy.hierarchy_from_parents({"a": "all", "b": "all"}), residuals=residuals
        )(forecasts),
        (whole(4, 3), whole(9, 3, seed=1)),
        {},
    ),
    "shuffled_paths": lambda: (
        jaxcast.hierarchy.shuffled_paths,
        (quantiles(2),),
        {"levels": (0.1, 0.5, 0.9), "template": whole(9, 2, high=999), "num_paths": 20, "key": KEY},
    ),
    "flow_scores": lambda: (jaxcast.scores.flow_scores, (whole(9, 3), whole(9, 3, seed=1)), {}),
    "weighted_mape": lambda: (jaxcast.scores.weighted_mape, (whole(9, 3), whole(9, 3, seed=1)), {}),
    "common_part_of_commuters": lambda: (
        jaxcast.scores.common_part_of_commuters,
        (whole(9, 3), whole(9, 3, seed=1)),
        {},
    ),
    "compare_forecasters": lambda: (
        jaxcast.hub.compare_forecasters,
        (quantiles(2, 8), quantiles(2, 8, seed=1), whole(2, 8), LEVELS),
        {"num_resamples": 20},
    ),
    "score_forecasters": lambda: (
        lambda f, t: [
            list(map(str, row.values())) for row in jaxcast.hub.score_forecasters({"a": f, "b": f}, t, LEVELS)
        ],
        (quantiles(2, 8), whole(2, 8)),
        {},
    ),
    "quantile_samples": lambda: (
        jaxcast.hub.quantile_samples,
        (hub_forecasts(),),
        {"num_delays": 2, "scale": whole(2)},
    ),
    "track_coverage": lambda: (jaxcast.hub.track_coverage, (quantiles(2, 8), hub_forecasts()), {}),
    "aggregate_experts": lambda: (jaxcast.hub.aggregate_experts, (quantiles(2, 2, 8), hub_forecasts()), {}),
    "score_log_likelihoods": lambda: (jaxcast.text.score_log_likelihoods, (-whole(4),), {}),
    "fit_emulator": lambda: (
        jaxcast.regime.fit_emulator,
        (whole(30, 1, high=99),),
        {
            "forecasts": whole(30, 1, high=99)[:, None] + np.arange(3.0)[:, None],
            "dt": 1.0,
            "coordinates": np.arange(3.0),
            "degrees": [(1, 1)],
            "num_substeps": 1,
            "num_pairs": 30,
        },
    ),
    "EnsembleKalmanFilter": lambda: (
        lambda noise, v: (
            jaxcast.open_loop(
                jaxcast.assimilation.EnsembleKalmanFilter(lambda u: u / 2, noise, KEY, num_members=4), v
            ).forecast
        ),
        (np.ones(1), whole(4, 1)),
        {},
    ),
}
