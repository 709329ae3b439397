"""What learns: plain least squares, refused NaN, schedules written out, masks of their own, no leaks into a choice."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcast
from jaxcast.regime.emulator import _pairs

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)


class Line(nnx.Module):
    def __init__(self, key):
        self.weights = nnx.Param(jax.random.normal(key, (3, 1)))

    def __call__(self, x):
        return x @ self.weights[...]


def squared(model, batch):
    return jnp.mean((model(batch["x"]) - batch["y"]) ** 2)


def masked(model, batch):
    y = jnp.where(batch["known"], batch["y"], 0)
    return jnp.mean(jnp.where(batch["known"], (model(batch["x"]) - y) ** 2, 0))


def along(model, carry, chunk):
    return squared(model, chunk), carry


class LineOverTime(Line):
    def init_carry(self, *batch):
        return jnp.zeros(batch)


@pytest.fixture
def data():
    x = np.random.default_rng(0).normal(size=(16, 3))
    return {"x": jnp.asarray(x), "y": jnp.asarray(x.sum(1, keepdims=True)), "known": jnp.ones((16, 1), bool)}


def train(data, loss=squared, rate=1e-2, **options):
    settings = {"keys": KEY[None], "optimizer": optax.sgd(rate), "num_epochs": 3, "batch_size": 4}
    return jaxcast.fit(data, init=Line, loss=loss, **settings | options)


@pytest.mark.parametrize("leaf", ["x", "y"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_training_on_what_is_not_finite_names_the_sample(data, leaf, bad):
    spoilt = data | {leaf: data[leaf].at[5, 0].set(bad)}
    with pytest.raises(jaxcast.InputError, match=rf"in data\['{leaf}'\] at sample 5"):
        train(spoilt)
    with pytest.raises(jaxcast.InputError, match=rf"in validation\['{leaf}'\] at sample 5"):
        train(data, validation=spoilt)
    streams = jax.tree.map(lambda a: a[None], spoilt)
    with pytest.raises(jaxcast.InputError, match=rf"in data\['{leaf}'\] at step 5 of stream 0"):
        jaxcast.fit(
            streams,
            init=LineOverTime,
            keys=KEY[None],
            optimizer=optax.sgd(1e-2),
            num_epochs=1,
            chunk_size=8,
            loss=along,
        )


def test_what_a_loss_masks_may_be_anything(data):
    hidden = data | {"known": data["known"].at[5].set(False)}
    wanted = train(hidden, masked)
    for rubbish in (1e9, np.nan):
        trained = train(hidden | {"y": hidden["y"].at[5].set(rubbish)}, masked)
        np.testing.assert_array_equal(trained.losses, wanted.losses)
        np.testing.assert_array_equal(trained.models.weights[...], wanted.models.weights[...])


def test_a_loss_that_becomes_nan_is_reported_with_seed_and_epoch(data):
    with pytest.raises(jaxcast.InputError, match=r"the loss of seed 0 is \S+ in epoch \d+ of 60 .* 2 of 2 seeds"):
        train(data, rate=1e3, keys=jax.random.split(KEY, 2), num_epochs=60)
    # A seed that has stopped early has no loss any more, and that is no divergence.
    stopped = train(data, rate=0.3, num_epochs=40, validation=data | {"y": -data["y"]}, patience=1)
    assert np.isnan(stopped.losses[0, -1])


def test_every_closed_form_fit_refuses_nan(without_type_checks):
    states = np.random.default_rng(0).normal(size=(90, 2))
    states[7, 1] = np.nan
    forecasts = np.stack([states + 1, states - 1], 1)
    good, times = np.nan_to_num(states), np.arange(90.0)
    samples = jaxcast.pooling.OneStepSamples(
        jaxcast.pooling.Memory(good[:, None], np.ones((90, 1, 2, 2))), forecasts, good
    )
    pool = jaxcast.equal_weights(2)
    lstm = jaxcast.nn.LSTM(input_size=2, hidden_size=2, key=KEY)
    fits = {
        "fit_ridge": lambda: jaxcast.pooling.fit_ridge(forecasts, good, penalty=1.0),
        "fit_linear_regression": lambda: jaxcast.pooling.fit_linear_regression(np.nan_to_num(forecasts), states),
        "fit_fixed_share": lambda: jaxcast.pooling.fit_fixed_share(forecasts, good),
        "fit_interacting_models": lambda: jaxcast.pooling.fit_interacting_models(forecasts, good),
        "fit_regime_interpolation": lambda: jaxcast.pooling.fit_regime_interpolation(samples),
        "fit_correction": lambda: jaxcast.pooling.fit_correction(samples, pool=pool),
        "fit_nvar": lambda: jaxcast.forecasters.fit_nvar(states),
        "fit_reservoir": lambda: jaxcast.forecasters.fit_reservoir(states, num_nodes=8, num_discarded=5, key=KEY),
        "fit_delay_kernel_ridge": lambda: jaxcast.forecasters.fit_delay_kernel_ridge(states, lag_weights=np.ones(2)),
        "fit_recurrent_readout": lambda: jaxcast.forecasters.fit_recurrent_readout(
            states, layers=lstm, num_discarded=2
        ),
        "fit_recurrent_forecaster": lambda: jaxcast.forecasters.fit_recurrent_forecaster(
            states, layers=lstm, num_discarded=2, chunk_size=9
        ),
        "fit_emulator": lambda: jaxcast.regime.fit_emulator(states, forecasts=forecasts, dt=0.1),
        "fit_regime": lambda: jaxcast.fit_regime(
            jaxcast.Trajectory(times, states), forecast_map=lambda u, t: jnp.stack([u, u])
        ),
        "one_step_samples": lambda: jaxcast.one_step_samples(jaxcast.Trajectory(times, states), 2),
        "training_windows": lambda: jaxcast.training.training_windows(
            jaxcast.Trajectory(times, states), num_leads=2, history_size=2
        ),
        "input_scales": lambda: jaxcast.pooling.input_scales(
            jaxcast.Trajectory(times, states), lambda u, t: jnp.stack([u, u])
        ),
    }
    for name, fit in fits.items():
        with pytest.raises(jaxcast.InputError) as caught:
            fit()
        assert "7" in str(caught.value), (name, str(caught.value))
        assert "\n" not in str(caught.value), name


@pytest.mark.usefixtures("without_type_checks")
def test_without_a_penalty_a_regression_is_plain_least_squares():
    rng = np.random.default_rng(0)
    forecasts, targets = rng.normal(size=(40, 3, 2)), rng.normal(size=(40, 2))
    twice = np.concatenate([forecasts, forecasts[:, :1]], 1)  # singular: the least of many solutions
    for each in (forecasts, twice):
        features = each.reshape(40, -1)
        wanted = np.linalg.lstsq(features - features.mean(0), targets - targets.mean(0), rcond=None)[0]
        pool = jaxcast.pooling.fit_ridge(each, targets, penalty=0)
        np.testing.assert_allclose(np.asarray(pool.weights).reshape(2, -1).T, wanted, atol=1e-12)
    sequence = rng.normal(size=(60, 2))
    cell = jaxcast.forecasters.fit_nvar(sequence, num_delays=2, degree=1, penalty=0)
    scaled = (sequence - sequence.mean(0)) / sequence.std(0)
    lags, steps = np.hstack([scaled[1:-1], scaled[:-2]]), np.diff(scaled, axis=0)[1:]
    wanted = np.linalg.lstsq(lags - lags.mean(0), steps - steps.mean(0), rcond=None)[0]
    np.testing.assert_allclose(cell.readout.weights, wanted, atol=1e-12)
    samples = jaxcast.series.series_windows(sequence, history_size=3, leads=(1,))
    inputs = jaxcast.series.lag_inputs(
        samples, lags=range(3), neighbour_weights=np.ones((2, 2, 1)) * np.eye(2)[:, None], centred=False
    )
    model = jaxcast.series.fit_lag_regression(
        samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=0, error_weighting=0.0
    )
    features = np.asarray(inputs(samples.history).features).reshape(-1, inputs.num_features)
    values = (np.asarray(samples.targets)[:, 0] / np.asarray(inputs.std)).ravel()
    wanted = np.linalg.lstsq(features - features.mean(0), values - values.mean(), rcond=None)[0]
    np.testing.assert_allclose(model.weights[0], wanted, atol=1e-10)


@pytest.mark.parametrize(("schedule", "warmup"), list(itertools.product(["constant", "cosine", "linear"], [0, 3])))
def test_every_schedule_with_and_without_warm_up_is_optax_written_out(schedule, warmup):
    peak, total = 1e-2, 10

    def rate(step):
        if step < warmup:
            return peak * step / warmup
        share = min((step - warmup) / (total - warmup), 1)
        return peak * {"constant": 1, "cosine": 0.5 * (1 + np.cos(np.pi * share)), "linear": 1 - share}[schedule]

    optimizer = jaxcast.training.make_optimizer(peak, schedule=schedule, num_optimizer_steps=total, warmup_steps=warmup)
    parameters, gradient = jnp.ones(2), jnp.asarray([3.0, -4.0])
    state = optimizer.init(parameters)
    for step in range(total + 2):
        updates, state = optimizer.update(gradient, state, parameters)
        np.testing.assert_allclose(updates, -rate(step) * np.asarray([1, -1]), rtol=1e-6, atol=1e-12)


def test_a_checkpoint_of_another_hidden_size_is_refused(tmp_path):
    truth = jaxcast.Trajectory(jnp.arange(20.0), jnp.sin(jnp.arange(20.0))[:, None])
    samples = jaxcast.one_step_samples(truth, 1)

    def of_size(size):
        def init(key):
            return jaxcast.pooling.FeedForward(dim=1, num_delays=1, hidden_size=size, key=key)

        return jaxcast.fit(
            samples, init=init, loss=jaxcast.pooling.mean_squared_error, keys=KEY[None], optimizer=optax.sgd(0.1), num_epochs=1, batch_size=4,
            checkpoint=tmp_path / "checkpoint",
        )  # fmt: skip

    of_size(3)
    with pytest.raises(jaxcast.InputError, match="checkpoint of another model or optimizer"):
        of_size(4)


def test_dropout_has_a_mask_of_its_own_between_any_two_layers():
    size, kept = 3000, 0.6
    stack = jaxcast.nn.Stack(
        "rnn", input_size=2, hidden_size=size, num_layers=3, dropout=1 - kept, key=KEY, activation="relu"
    )
    identity, nothing = jnp.eye(size), jnp.zeros((size, size))
    for k, layer in enumerate(stack.layers):
        layer.input_kernel = nnx.Param(jnp.full((2, size), 0.5) if k == 0 else identity)
        layer.recurrent_kernel, layer.bias = nnx.Param(nothing), nnx.Param(jnp.zeros(size))
    _, outputs = stack(jnp.ones((1, 2)), key=jax.random.key(1))
    through = np.asarray(outputs[0])
    share = 1 - round((1 - kept) * 2**16) / 2**16  # masks are drawn from 16 bits a component
    np.testing.assert_allclose(np.unique(through), [0, share**-2], rtol=1e-6)
    assert abs((through > 0).mean() - kept**2) < 0.04  # kept, 0.6, where both masks are one


def test_how_many_to_average_is_judged_by_blocks_that_chose_nothing():
    rng = np.random.default_rng(0)
    differ = 0
    for _ in range(40):
        truth, forecasts = rng.normal(size=12), rng.normal(size=(6, 12))
        errors = {honest: np.zeros(3) for honest in (True, False)}
        for block in np.array_split(np.arange(12), 3):
            for honest, (k, size) in itertools.product(errors, enumerate((1, 2, 4))):
                rows = np.setdiff1d(np.arange(12), block) if honest else np.arange(12)
                order = np.argsort(((forecasts - truth)[:, rows] ** 2).sum(1), kind="stable")[:size]
                errors[honest][k] += ((forecasts[order].mean(0) - truth)[block] ** 2).sum()
        size = (1, 2, 4)[int(np.argmin(errors[True]))]
        differ += size != (1, 2, 4)[int(np.argmin(errors[False]))]
        assert len(jaxcast.training.select_average(forecasts, truth, sizes=(1, 2, 4))) == size
    assert differ > 3


@pytest.mark.usefixtures("without_type_checks")
def test_an_emulator_is_judged_on_pairs_that_it_was_not_fitted_to():
    """Drawn by the seed; the root of their mean square over pairs and components, in deviations of the state."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(40, 2)) * [1.0, 20.0]
    forecasts = np.stack([0.9 * states, 1.1 * states], 1) + rng.normal(size=(40, 2, 2)) * [1.0, 20.0]
    emulator = jaxcast.regime.fit_emulator(
        states,
        forecasts=forecasts,
        dt=1.0,
        coordinates=[0.0, 1.0],
        degrees=[(1, 1)],
        num_substeps=1,
        num_pairs=40,
        seed=5,
    )
    by_pairs = []
    for u, model, forecast in _pairs(jnp.asarray(states), jnp.asarray(forecasts), 40, 5):
        made = jax.vmap(lambda u, m: emulator(u, emulator.system.coordinates[m]))(u, model)
        by_pairs.append(float(jnp.sqrt((((made - forecast) / states.std(0)) ** 2).mean())))
    fitted, held = by_pairs
    assert abs(held - fitted) > 0.05 * fitted
    assert float(emulator.error) == pytest.approx(held, rel=0.01)
    first, other = (_pairs(jnp.asarray(states), jnp.asarray(forecasts), 40, seed)[0][0] for seed in (0, 5))
    assert not np.array_equal(first, other)


def test_dense_connections_show_each_layer_all_before_it():
    stack = jaxcast.nn.Stack("lstm", input_size=2, hidden_size=3, num_layers=3, dense=True, key=KEY, dtype=jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (4, 7, 2), jnp.float64)
    seen, ends = xs, []
    for layer in stack.layers:
        assert layer.input_kernel.shape[0] == seen.shape[-1]
        carry, steps = layer.init_carry(4), []
        for n in range(7):
            carry, output = layer.step(carry, seen[:, n])
            steps.append(output)
        outputs, ends = jnp.stack(steps, 1), [*ends, carry]
        seen = jnp.concatenate([seen, outputs], -1)
    carry, made = stack(xs)
    np.testing.assert_allclose(made, outputs, atol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), carry, tuple(ends))
    carry, by_steps = stack.init_carry(4), []
    for n in range(7):
        carry, output = stack.step(carry, xs[:, n])
        by_steps.append(output)
    np.testing.assert_allclose(jnp.stack(by_steps, 1), outputs, atol=1e-12)
    again = jaxcast.nn.Stack(**stack.config, key=KEY)
    assert [layer.input_kernel.shape for layer in again.layers] == [(2, 12), (5, 12), (8, 12)]
    for wrong, message in (({"skips": True}, "choose one of the two"), ({"num_layers": 0}, "num_layers")):
        with pytest.raises(jaxcast.InputError, match=message):
            jaxcast.nn.Stack(
                **{"kind": "gru", "input_size": 2, "hidden_size": 3, "num_layers": 2, "dense": True, "key": KEY} | wrong
            )
    with pytest.raises(jaxcast.InputError, match="no stack with dense connections"):
        stack.to_torch()


def test_the_simple_language_model_with_a_sigmoid_is_its_equations():
    model = jaxcast.text.LanguageModel(
        num_tokens=5, hidden_size=4, num_layers=1, embedding_size=3, kind="rnn", activation="sigmoid", key=KEY,
        dtype=jnp.float64,
    )  # fmt: skip
    tokens, layer = jnp.asarray([0, 3, 4, 1]), model.stack.layers[0]
    h, wanted = np.zeros(4), []
    for token in tokens:
        h = 1 / (
            1
            + np.exp(
                -(
                    h @ layer.recurrent_kernel[...]
                    + model.embedding[...][token] @ layer.input_kernel[...]
                    + layer.bias[...]
                )
            )
        )
        logits = h @ model.readout.kernel[...] + model.readout.bias[...]
        wanted.append(np.exp(logits) / np.exp(logits).sum())
    np.testing.assert_allclose(jax.nn.softmax(model(tokens)[1], -1), wanted, atol=1e-12)
    assert model.config["activation"] == "sigmoid"
    again = jaxcast.text.LanguageModel(**model.config, key=KEY)
    np.testing.assert_array_equal(again(tokens)[1], model(tokens)[1])
    with pytest.raises(jaxcast.InputError, match="only kind='rnn' has a choice of activation"):
        jaxcast.text.LanguageModel(num_tokens=5, hidden_size=4, num_layers=1, activation="sigmoid", key=KEY)
