import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast


@pytest.fixture(scope="module")
def samples(trajectory, candidates):
    return jaxcast.one_step_samples(trajectory, 3, candidates)


@pytest.fixture(scope="module")
def interpolation(samples):
    return jaxcast.pooling.fit_regime_interpolation(samples)


@pytest.fixture(scope="module")
def component(trajectory, candidates):
    scales = jaxcast.pooling.input_scales(trajectory, candidates)
    sizes = dict(dim=3, num_models=11, num_delays=3, hidden_sizes=(8, 7), dtype=jnp.float64)
    pool = jaxcast.pooling.ComponentAttention(**sizes, scales=scales, errors="all", num_states=2, key=jax.random.key(0))
    pool.score.kernel[...] *= 10
    return pool


@pytest.mark.slow
def test_component_attention_is_its_equation(component, samples):
    for n in (0, 31):
        states, errors = (np.asarray(a[n]) for a in samples.memory)
        scales = component.scales
        hidden = np.concatenate([
            ((states[:2] - scales.mean[...]) / scales.std[...]).ravel(), (errors / scales.error[...]).ravel()
        ])  # fmt: skip
        for layer in component.hidden:
            hidden = np.tanh(hidden @ layer.kernel[...] + layer.bias[...])
        scores = (hidden @ component.score.kernel[...] + component.score.bias[...]).reshape(3, 11)
        weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        forecasts = samples.forecasts[n]
        output = component(jax.tree.map(lambda a, n=n: a[n], samples.memory), forecasts)
        np.testing.assert_allclose(output.info["component_weights"], weights, rtol=1e-9)
        np.testing.assert_allclose(output.info["weights"], weights.mean(0), rtol=1e-9)
        np.testing.assert_allclose(output.forecast, [weights[d] @ forecasts[:, d] for d in range(3)], rtol=1e-10)


@pytest.mark.slow
def test_the_position_is_where_the_truth_lay_between_the_ends():
    pool = jaxcast.pooling.ComponentAttention(
        dim=2, num_models=3, num_delays=1, key=jax.random.key(0), dtype=jnp.float64
    )
    first, last = jnp.asarray([-1.0, -2.0]), jnp.asarray([3.0, 6.0])
    memory = jaxcast.pooling.Memory(jnp.zeros((1, 2)), jnp.stack([first, 7 * first, last])[None])
    assert np.isclose(pool.inputs(memory)[2], -0.5)  # a quarter of the way
    assert np.isfinite(pool.inputs(memory._replace(errors=memory.errors * 0))).all()


@pytest.mark.slow
def test_the_regime_is_the_one_that_the_truth_has(candidates, trajectory):
    """With a truth of constant parameter, which the candidates surround, it is told from any one step."""
    rhos = np.arange(28, 50, 2.0)
    for rho in (31.0, 44.0):
        truth = jaxcast.simulate(jaxcast.Lorenz63(rho=rho), trajectory.states[3], num_samples=60)
        samples = jaxcast.one_step_samples(truth, 2, candidates)
        pool = jaxcast.pooling.fit_regime_interpolation(samples, num_directions=2)
        output = pool(samples.memory, samples.forecasts)
        np.testing.assert_allclose(output.info["weights"].sum(-1), 1, rtol=1e-9)
        np.testing.assert_allclose(np.median(output.info["weights"] @ rhos), rho, atol=0.2)
        before = samples.forecasts.mean(1) - samples.targets
        assert np.mean((output.forecast - samples.targets) ** 2) < 0.02 * np.mean(before**2)
        assert output.info["position"].shape == (57, 4)


@pytest.mark.slow
def test_reversing_candidates_turns_the_direction_and_changes_no_forecast(interpolation, samples):
    backwards = samples._replace(
        memory=samples.memory._replace(errors=samples.memory.errors[:, :, ::-1]), forecasts=samples.forecasts[:, ::-1]
    )
    turned = jaxcast.pooling.fit_regime_interpolation(backwards)
    np.testing.assert_allclose(
        turned(backwards.memory, backwards.forecasts).forecast,
        interpolation(samples.memory, samples.forecasts).forecast,
        rtol=1e-7,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kernel", "polynomial"])
def test_a_correction_is_ridge_regression(interpolation, samples, kind):
    options = dict(lengths=(0.5,), degrees=(2,), penalties=(1e-3,), stretches=(0.5,))
    pool = jaxcast.pooling.fit_correction(samples, pool=interpolation, kind=kind, **options)
    pooled = interpolation(samples.memory, samples.forecasts)
    missing = np.asarray(samples.targets - pooled.forecast)
    x = np.asarray(pool.features(samples.memory.states[:, 0], pooled.info))
    assert x.shape == (len(missing), 6)
    assert np.abs(x[:, :3]).max() <= 1 + 1e-12
    assert np.abs(x[:, 3:]).max() <= 0.5 + 1e-12
    if kind == "kernel":
        gram = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / (2 * 0.5**2))
        expected = gram @ np.linalg.solve(gram + 1e-3 * np.eye(len(x)), missing)
    else:
        terms = [np.ones(len(x)), *x.T]
        terms += [2 * x[:, i] ** 2 - 1 if i == j else x[:, i] * x[:, j] for i in range(6) for j in range(i, 6)]
        terms = np.stack(terms, 1)
        expected = terms @ np.linalg.solve(terms.T @ terms + 1e-3 * np.eye(terms.shape[1]), terms.T @ missing)
    output = pool(samples.memory, samples.forecasts)
    np.testing.assert_allclose(output.info["correction"], expected, atol=1e-7)
    np.testing.assert_allclose(output.forecast, pooled.forecast + expected, atol=1e-7)


@pytest.mark.slow
def test_the_settings_are_those_that_forecast_the_last_samples_best(interpolation, samples):
    """Chosen by hand: fitted on the first part, judged on the last, fitted again on all."""
    grid = [(length, penalty) for length in (0.4, 1.5) for penalty in (1e-6, 1e-2)]
    cut = int(len(samples.targets) * 0.8)

    def fixed(length, penalty, part):
        some = jax.tree.map(lambda a: a[part], samples)
        return jaxcast.pooling.fit_correction(some, pool=interpolation, lengths=(length,), penalties=(penalty,))

    late = jax.tree.map(lambda a: a[cut:], samples)
    scale = np.asarray(samples.targets.std(0))

    def score(setting):
        forecasts = fixed(*setting, np.s_[:cut])(late.memory, late.forecasts).forecast
        return np.mean(((forecasts - late.targets) / scale) ** 2)

    best = min(grid, key=score)
    chosen = jaxcast.pooling.fit_correction(samples, pool=interpolation, lengths=(0.4, 1.5), penalties=(1e-6, 1e-2))
    assert chosen.correction.length == best[0]
    expected = fixed(*best, np.s_[:])(samples.memory, samples.forecasts).forecast
    np.testing.assert_allclose(chosen(samples.memory, samples.forecasts).forecast, expected, atol=1e-9)


@pytest.mark.slow
def test_fewer_centres_than_samples_do_almost_as_well(interpolation, samples):
    options = dict(lengths=(0.6,), penalties=(1e-4,))
    errors = [
        jaxcast.pooling.one_step_errors(
            jaxcast.pooling.fit_correction(samples, pool=interpolation, **options, max_centres=number), samples
        ).mean()
        for number in (4000, 250)
    ]
    before = jaxcast.pooling.one_step_errors(interpolation, samples).mean()
    assert errors[0] < errors[1] < 0.1 * before


@pytest.mark.slow
def test_any_pool_can_be_corrected_and_rolled(attention, trajectory, candidates):
    samples = jaxcast.one_step_samples(trajectory, 5, candidates)
    options = dict(kind="polynomial", degrees=(2,), penalties=(1e-2,))
    for pool, info in ((attention, ("weights",)), (jaxcast.equal_weights(11), None)):
        corrected = jaxcast.pooling.fit_correction(samples, pool=pool, info=info, **options)
        before, after = (jaxcast.pooling.one_step_errors(p, samples).mean() for p in (pool, corrected))
        assert after < before
        cell = jaxcast.Forecaster(corrected, candidates)
        rolled = jaxcast.forecast(cell, trajectory.states[:20], 60).forecast
        assert np.isfinite(rolled).all()
        few = jax.tree.map(lambda a: a[14], samples)  # of which the newest state is the last known one
        np.testing.assert_allclose(corrected(few.memory, few.forecasts).forecast, rolled[0], rtol=1e-7)


@pytest.mark.slow
def test_bad_settings_are_refused(interpolation, component, samples, attention, without_type_checks):
    with pytest.raises(jaxcast.InputError, match="kind must be 'kernel' or 'polynomial', got 'cubic'"):
        jaxcast.pooling.fit_correction(samples, pool=interpolation, kind="cubic")
    with pytest.raises(jaxcast.InputError, match="expected positive lengths"):
        jaxcast.pooling.fit_correction(samples, pool=interpolation, lengths=(0.0,))
    with pytest.raises(jaxcast.InputError, match="the pool returns no phase; its info holds position, weights"):
        jaxcast.pooling.fit_correction(samples, pool=interpolation, info=("phase",))
    alone = samples._replace(forecasts=samples.forecasts[:, :1])
    with pytest.raises(jaxcast.InputError, match="expected at least two, got 1"):
        jaxcast.pooling.fit_regime_interpolation(alone)
    with pytest.raises(jaxcast.InputError, match="num_directions must be from 1 to 10 for 11 candidates"):
        jaxcast.pooling.fit_regime_interpolation(samples, num_directions=11)
    short = jax.tree.map(lambda a: a[:, :2], samples.memory)
    with pytest.raises(jaxcast.InputError, match="the memory holds 2 delays, the pool was made for 3"):
        interpolation(short, samples.forecasts)
    with pytest.raises(jaxcast.InputError, match="expected 33 forecasts of all candidates, got 10 by 3"):
        component(samples.memory, samples.forecasts[:, :10])
    with pytest.raises(jaxcast.InputError, match="expected errors of position, ends, all"):
        jaxcast.pooling.ComponentAttention(dim=3, num_models=11, num_delays=3, errors="some", key=jax.random.key(0))
