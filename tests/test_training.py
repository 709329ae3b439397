from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcast

ADAM = optax.adam(1e-2)


def init(key):
    return jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=6, key=key, dtype=jnp.float64)


@pytest.fixture(scope="module")
def samples(trajectory, candidates):
    return jaxcast.one_step_samples(trajectory, 2, candidates)


def keys(num_seeds):
    return jax.random.split(jax.random.key(7), num_seeds)


def test_fit_is_a_plain_loop_of_minibatches(samples):
    fit = jaxcast.fit(init, samples, keys=keys(1), optimizer=ADAM, num_epochs=3, batch_size=50)
    key = keys(1)[0]
    model, shuffle = init(jax.random.fold_in(key, 0)), jax.random.fold_in(key, 1)
    state = ADAM.init(model)
    num_samples = len(samples.targets)
    for epoch in range(3):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(shuffle, epoch), num_samples))
        losses = []
        for batch in np.split(order[: num_samples // 50 * 50], num_samples // 50):
            minibatch = jax.tree.map(lambda a, batch=batch: a[batch], samples)
            loss, gradient = jax.value_and_grad(jaxcast.mean_squared_error)(model, minibatch)
            updates, state = ADAM.update(gradient, state, model)
            model = optax.apply_updates(model, updates)
            losses.append(loss)
        np.testing.assert_allclose(fit.losses[0, epoch], np.mean(losses), rtol=1e-10)
    for ours, theirs in zip(jax.tree.leaves(fit.model), jax.tree.leaves(model), strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=1e-9, atol=1e-12)


def test_the_same_key_gives_the_same_model_whatever_trains_beside_it(samples):
    run = partial(jaxcast.fit, init, samples, optimizer=ADAM, num_epochs=3, batch_size=50)
    three = run(keys=keys(3))
    again = run(keys=keys(3))
    alone = run(keys=keys(3)[2:])
    for many, same, one in zip(*map(jax.tree.leaves, (three.model, again.model, alone.model)), strict=True):
        np.testing.assert_array_equal(many, same)
        np.testing.assert_allclose(many[2], one[0], rtol=1e-12)
        assert not np.allclose(many[0], many[1])
    assert three.losses.shape == (3, 3)


def test_reporting_progress_changes_nothing(samples):
    run = partial(jaxcast.fit, init, samples, keys=keys(3), optimizer=ADAM, num_epochs=5, batch_size=50)
    reports = []
    watched = run(on_progress=lambda done, losses: reports.append((done, losses)), num_reports=3)
    plain = run()
    assert [done for done, _ in reports] == [2, 4, 5]
    np.testing.assert_array_equal([losses for _, losses in reports], np.asarray(plain.losses)[:, [1, 3, 4]].T)
    for a, b in zip(jax.tree.leaves(watched.model), jax.tree.leaves(plain.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_second_fit_compiles_nothing(samples, count_compilations):
    def run(seed):
        seeds = jax.random.split(jax.random.key(seed), 2)
        return jaxcast.fit(init, samples, keys=seeds, optimizer=ADAM, num_epochs=4, batch_size=40)

    run(0)
    assert count_compilations() > 0
    run(1)
    assert count_compilations() == 0


def test_any_optimizer_and_any_loss(samples):
    def absolute_error(model, batch):
        return jnp.abs(model(batch.memory, batch.forecasts).forecast - batch.targets).mean()

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(optax.cosine_decay_schedule(0.1, 40)))
    fit = jaxcast.fit(
        init, samples, keys=keys(1), optimizer=optimizer, num_epochs=10, batch_size=50, loss=absolute_error
    )
    assert fit.losses[0, -1] < 0.9 * fit.losses[0, 0]


def test_bad_settings_are_refused(samples):
    with pytest.raises(jaxcast.InputError, match="batch_size must be from 1 to the 397 samples there are, got 400"):
        jaxcast.fit(init, samples, keys=keys(1), optimizer=ADAM, num_epochs=1, batch_size=400)
    with pytest.raises(jaxcast.InputError, match="must be at least 1, got 0 and 20"):
        jaxcast.fit(init, samples, keys=keys(1), optimizer=ADAM, num_epochs=0, batch_size=4)


def test_misaligned_data_and_missing_keys_are_refused(samples, without_type_checks):
    run = partial(jaxcast.fit, init, optimizer=ADAM, num_epochs=1, batch_size=4)
    with pytest.raises(jaxcast.InputError, match=r"one leading sample axis, got lengths \[\(367,\), \(397,\)\]"):
        run(samples._replace(targets=samples.targets[:-30]), keys=keys(1))
    with pytest.raises(jaxcast.InputError, match=r"one key for each seed, \(seed,\), got shape \(\); try key\[None\]"):
        run(samples, keys=jax.random.key(0))
