import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcast

DT = 0.04


def field(u, rho):
    x, y, z = u
    return jnp.stack([10 * (y - x), x * (rho - z) - y, x * y - 8 / 3 * z])


def step(u, rho):
    """Two steps of the midpoint rule: chaos enough, and compiled in no time."""
    for _ in range(2):
        u = u + DT / 2 * field(u + DT / 4 * field(u, rho), rho)
    return u


def candidates(u, t):
    return jnp.stack([step(u, rho) for rho in (28.0, 38.0, 48.0)])


def simulate(start, num_samples):
    def body(u, t):
        return step(u, 38 - 10 * jnp.cos(2 * jnp.pi * t)), u

    times = DT * jnp.arange(num_samples + 100)
    states = jax.lax.scan(body, jnp.asarray(start), times)[1]
    return jaxcast.Trajectory(times[100:], states[100:])


def make_cell(pool):
    return jaxcast.Forecaster(pool, candidates)


@pytest.fixture(scope="module")
def trajectory():
    return simulate([1.0, 2.0, 20.0], 400)


@pytest.fixture(scope="module")
def trained(trajectory):
    """Two seeds after a short training on one step."""

    def make(key):
        sizes = dict(dim=3, num_models=3, num_delays=2, hidden_sizes=(12,), scales=scales, dtype=jnp.float64)
        return jaxcast.pooling.ComponentAttention(**sizes, key=key)

    samples = jaxcast.one_step_samples(trajectory, 2, candidates)
    scales = jaxcast.pooling.input_scales(trajectory, candidates)
    return jaxcast.fit(
        samples, init=make, loss=jaxcast.pooling.mean_squared_error, keys=jax.random.split(jax.random.key(0), 2),
        optimizer=optax.adam(3e-3), num_epochs=40, batch_size=32,
    ).models  # fmt: skip


def first(models):
    return jax.tree.map(lambda a: a[0], models)


@pytest.mark.slow
def test_the_loss_is_that_of_forecasts_fed_back(trained, trajectory):
    windows = jaxcast.training.training_windows(trajectory, num_leads=6, history_size=4, stride=60)
    pool, tolerance = first(trained), 0.05
    scores = []
    std = np.asarray(trajectory.states).std(0)
    for history, truth, times, _ in zip(*map(np.asarray, windows), strict=True):
        forecast = np.asarray(jaxcast.forecast(make_cell(pool), jnp.asarray(history), 6, jnp.asarray(times)).forecast)
        off = np.clip((forecast - truth) / std, -2 * 0.06**0.5, 2 * 0.06**0.5)
        errors = np.mean(off**2, -1)
        valid = np.cumprod(np.concatenate([[1], errors[:-1] < 0.02]))  # the first that diverged counts, none behind it
        scores.append(np.mean(valid * np.log1p(errors / tolerance**2)))
    loss = jaxcast.training.closed_loop_loss(make_cell, tolerance, 0.02)
    np.testing.assert_allclose(loss(pool, windows), np.mean(scores), rtol=1e-9)
    assert 0 < np.mean(scores) < 10


@pytest.mark.slow
def test_the_gradient_through_a_closed_loop_is_that_of_differences(trained, trajectory):
    windows = jaxcast.training.training_windows(trajectory, num_leads=5, history_size=3, stride=100)
    loss = jax.jit(jaxcast.training.closed_loop_loss(make_cell))
    pool = first(trained)
    gradient = jax.jit(jax.grad(loss))(pool, windows)
    leaves, structure = jax.tree.flatten(pool)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    direction = [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]

    def along(step):
        moved = [leaf + step * towards for leaf, towards in zip(leaves, direction, strict=True)]
        return loss(jax.tree.unflatten(structure, moved), windows)

    expected = (along(1e-7) - along(-1e-7)) / 2e-7
    found = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), direction, strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_fine_tuning_lowers_the_closed_loop_error_of_windows_it_never_saw(trained, trajectory, count_compilations):
    held_out = simulate([-3.0, 2.0, 25.0], 300)
    windows = jaxcast.training.training_windows(held_out, num_leads=6, history_size=3, stride=2)

    def run(seed):
        keys = jax.random.split(jax.random.key(seed), 2)
        options = dict(num_leads=(2, 6), num_epochs=3, batch_size=32, learning_rate=2e-3)
        return jaxcast.training.fine_tune(trajectory, models=trained, make_cell=make_cell, keys=keys, **options)

    tuned = run(0)
    assert tuned.losses.shape == (2, 6)
    loss = jaxcast.training.closed_loop_loss(make_cell)
    errors = jax.jit(lambda models: jax.lax.map(lambda model: loss(model, windows), models))
    for before, after in zip(errors(trained), errors(tuned.models), strict=True):
        assert after < 0.97 * before
    count_compilations()
    run(1)
    assert count_compilations() == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e3, 1e200])
def test_windows_that_diverge_give_finite_gradients(trajectory, size):
    """Of two windows one is thrown far off, or out of all numbers: its gradient is what it was up to there."""
    windows = jaxcast.training.training_windows(trajectory, num_leads=8, history_size=2, stride=300)

    def thrown(u, t):
        return candidates(u, t) + jnp.where(t == windows.times[0, 4], size, 0.0)

    def loss(weights, windows, forecast_map):
        score = jaxcast.training.closed_loop_loss(lambda pool: jaxcast.Forecaster(pool, forecast_map))
        return score(jaxcast.pooling.FixedWeights(weights), windows)

    gradient = jax.jit(jax.grad(loss), static_argnums=2)
    weights = jnp.asarray([0.2, 0.5, 0.3])
    both = gradient(weights, windows, thrown)
    short, other = (jax.tree.map(lambda a, n=n: a[n : n + 1], windows) for n in range(2))
    short = short._replace(truth=short.truth[:, :3], times=short.times[:, :4])
    expected = gradient(weights, other, candidates) / 2 + gradient(weights, short, candidates) * 3 / 8 / 2
    assert np.abs(expected).min() > 1e-3
    np.testing.assert_allclose(both, expected, rtol=1e-3)


@pytest.mark.slow
def test_the_gradient_program_of_twenty_steps_is_small(trained, trajectory):
    """It is a scan: of any horizon the program is as large."""
    loss = jaxcast.training.closed_loop_loss(make_cell)

    def size(horizon):
        windows = jaxcast.training.training_windows(trajectory, num_leads=horizon, history_size=3, stride=50)
        return len(str(jax.make_jaxpr(jax.grad(loss))(first(trained), windows)))

    assert size(20) < 1.02 * size(4)


@pytest.mark.slow
def test_bad_settings_are_refused(trained, trajectory):
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(jaxcast.InputError, match="num_leads, num_epochs and stride of at least 1"):
        jaxcast.training.fine_tune(trajectory, models=trained, make_cell=make_cell, keys=keys, num_leads=())
    with pytest.raises(jaxcast.InputError, match="trajectory of at least 403 samples, got 400"):
        jaxcast.training.fine_tune(trajectory, models=trained, make_cell=make_cell, keys=keys, num_leads=(400,))
    with pytest.raises(jaxcast.InputError, match="leading axis of the 3 keys"):
        jaxcast.training.fine_tune(
            trajectory, models=trained, make_cell=make_cell, keys=jax.random.split(keys[0], 3), num_leads=(1,)
        )


def drifting(model):
    """A cell in no time: the newest value and a learned step."""
    return jaxcast.Forecaster(model)


def walk(num_samples):
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.normal(size=(num_samples, 2)) * [1.0, 30.0], 0)
    return jaxcast.Trajectory(0.5 * jnp.arange(float(num_samples)), jnp.asarray(states))


@pytest.mark.slow
def test_the_loss_counts_leads_up_to_the_first_that_diverged_and_cuts_what_is_far():
    """Of persistence, by a loop; every third lead or so diverges, many are farther off than what counts."""
    course, tolerance, diverged = walk(40), 0.05, 0.02
    windows = jaxcast.training.training_windows(course, num_leads=5, history_size=2, stride=3)
    assert len(windows.truth) == 12
    states, scores, num_far = np.asarray(course.states), [], 0
    std, far = states.std(0), 2 * np.sqrt(2 * diverged)
    for start in range(0, 34, 3):
        score = 0.0
        for lead in range(5):
            off = (states[start + 1] - states[start + 2 + lead]) / std
            num_far += (abs(off) > far).sum()
            error = np.mean(np.clip(off, -far, far) ** 2)
            score += np.log1p(error / tolerance**2)
            if error >= diverged:
                break
        scores.append(score / 5)
    loss = jaxcast.training.closed_loop_loss(drifting, tolerance, diverged)(jaxcast.pooling.Persistence(), windows)
    assert float(loss) == pytest.approx(np.mean(scores), rel=1e-9)
    assert num_far > 5


@pytest.mark.slow
def test_each_horizon_is_a_training_of_its_own_with_other_shuffling_and_a_new_cosine():
    course, keys = walk(30), jax.random.split(jax.random.key(3), 2)
    sizes = dict(dim=2, num_delays=1, hidden_size=2, dtype=jnp.float64)
    models = jax.vmap(lambda key: jaxcast.pooling.FeedForward(**sizes, key=key))(keys)
    options = dict(num_epochs=2, batch_size=4)
    tuned = jaxcast.training.fine_tune(
        course,
        models=models,
        make_cell=drifting,
        keys=keys,
        num_leads=(1, 3),
        learning_rate=0.05,
        clip_norm=0.5,
        stride=2,
        **options,
    )
    expected, losses = jaxcast.training.FitResult(models, None), []
    for n, horizon in enumerate((1, 3)):
        windows = jaxcast.training.training_windows(course, num_leads=horizon, history_size=1, stride=2)
        num_steps = 2 * (len(windows.truth) // 4)
        optimizer = jaxcast.training.make_optimizer(
            0.05, schedule="cosine", num_optimizer_steps=num_steps, clip_norm=0.5
        )
        own = jnp.stack([jax.random.fold_in(key, n) for key in keys])
        loss = jaxcast.training.closed_loop_loss(drifting)
        expected = jaxcast.fit(windows, init=expected, keys=own, optimizer=optimizer, loss=loss, **options)
        losses.append(expected.losses)
    np.testing.assert_allclose(tuned.losses, np.concatenate(losses, 1), rtol=1e-9)
    for ours, theirs in zip(jax.tree.leaves(tuned.models), jax.tree.leaves(expected.models), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
