from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcast

ADAM = optax.adam(1e-2)
MSE = jaxcast.pooling.mean_squared_error


def init(key):
    return jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=6, key=key, dtype=jnp.float64)


@pytest.fixture(scope="module")
def samples(trajectory, candidates):
    return jaxcast.one_step_samples(trajectory, 2, candidates)


def keys(num_seeds):
    return jax.random.split(jax.random.key(7), num_seeds)


@pytest.mark.slow
def test_fit_is_a_plain_loop_of_minibatches(samples):
    fit = jaxcast.fit(
        samples,
        init=init,
        loss=MSE,
        keys=keys(1),
        optimizer=ADAM,
        num_epochs=3,
        batch_size=50,
    )
    key = keys(1)[0]
    model, shuffle = init(jax.random.fold_in(key, 0)), jax.random.fold_in(key, 1)
    state = ADAM.init(model)
    num_samples = len(samples.targets)
    for epoch in range(3):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(shuffle, epoch), num_samples))
        losses = []
        for batch in np.split(order[: num_samples // 50 * 50], num_samples // 50):
            minibatch = jax.tree.map(lambda a, batch=batch: a[batch], samples)
            loss, gradient = jax.value_and_grad(jaxcast.pooling.mean_squared_error)(model, minibatch)
            updates, state = ADAM.update(gradient, state, model)
            model = optax.apply_updates(model, updates)
            losses.append(loss)
        np.testing.assert_allclose(fit.losses[0, epoch], np.mean(losses), rtol=1e-10)
    for ours, theirs in zip(jax.tree.leaves(fit.models), jax.tree.leaves(model), strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_same_key_gives_the_same_model_whatever_trains_beside_it(samples):
    run = partial(jaxcast.fit, samples, init=init, loss=MSE, optimizer=ADAM, num_epochs=3, batch_size=50)
    three = run(keys=keys(3))
    again = run(keys=keys(3))
    alone = run(keys=keys(3)[2:])
    for many, same, one in zip(*map(jax.tree.leaves, (three.models, again.models, alone.models)), strict=True):
        np.testing.assert_array_equal(many, same)
        np.testing.assert_allclose(many[2], one[0], rtol=1e-12)
        assert not np.allclose(many[0], many[1])
    assert three.losses.shape == (3, 3)


@pytest.mark.slow
def test_reporting_progress_changes_nothing(samples):
    run = partial(jaxcast.fit, samples, init=init, loss=MSE, keys=keys(3), optimizer=ADAM, num_epochs=5, batch_size=50)
    reports = []
    watched = run(on_progress=lambda done, losses: reports.append((done, losses)), num_reports=3)
    plain = run()
    assert [done for done, _ in reports] == [2, 4, 5]
    np.testing.assert_array_equal([losses for _, losses in reports], np.asarray(plain.losses)[:, [1, 3, 4]].T)
    for a, b in zip(jax.tree.leaves(watched.models), jax.tree.leaves(plain.models), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_second_fit_compiles_nothing(samples, count_compilations):
    def run(seed):
        seeds = jax.random.split(jax.random.key(seed), 2)
        return jaxcast.fit(
            samples,
            init=init,
            loss=MSE,
            keys=seeds,
            optimizer=ADAM,
            num_epochs=4,
            batch_size=40,
        )

    run(0)
    assert count_compilations() > 0
    run(1)
    assert count_compilations() == 0


@pytest.mark.slow
def test_any_optimizer_and_any_loss(samples):
    def absolute_error(model, batch):
        return jnp.abs(model(batch.memory, batch.forecasts).forecast - batch.targets).mean()

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(optax.cosine_decay_schedule(0.1, 40)))
    fit = jaxcast.fit(
        samples, init=init, keys=keys(1), optimizer=optimizer, num_epochs=10, batch_size=50, loss=absolute_error
    )
    assert fit.losses[0, -1] < 0.9 * fit.losses[0, 0]


def test_bad_settings_are_refused(samples):
    with pytest.raises(jaxcast.InputError, match="batch_size must be from 1 to the 397 samples there are, got 400"):
        jaxcast.fit(
            samples,
            init=init,
            loss=MSE,
            keys=keys(1),
            optimizer=ADAM,
            num_epochs=1,
            batch_size=400,
        )
    with pytest.raises(jaxcast.InputError, match="must be at least 1, got 0 and 20"):
        jaxcast.fit(
            samples,
            init=init,
            loss=MSE,
            keys=keys(1),
            optimizer=ADAM,
            num_epochs=0,
            batch_size=4,
        )


def test_misaligned_data_and_missing_keys_are_refused(samples, without_type_checks):
    run = partial(jaxcast.fit, init=init, loss=MSE, optimizer=ADAM, num_epochs=1, batch_size=4)
    with pytest.raises(jaxcast.InputError, match=r"one leading sample axis, got lengths \[\(367,\), \(397,\)\]"):
        run(samples._replace(targets=samples.targets[:-30]), keys=keys(1))
    with pytest.raises(jaxcast.InputError, match=r"one key for each seed, \(seed,\), got shape \(\); try key\[None\]"):
        run(samples, keys=jax.random.key(0))


class Killed(Exception):
    """Stands for the end of the process between two reports."""


def kill_after(num_epochs):
    def report(done, losses):
        if done >= num_epochs:
            raise Killed

    return report


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_run_that_was_killed_goes_on_to_the_same_numbers_to_the_bit(samples, tmp_path, num_seeds):
    optimizer = jaxcast.training.make_optimizer(
        1e-2, schedule="cosine", num_optimizer_steps=60, weight_decay=1e-3, clip_norm=1.0
    )
    run = partial(
        jaxcast.fit,
        samples,
        init=init,
        loss=MSE,
        keys=keys(num_seeds),
        optimizer=optimizer,
        num_epochs=7,
        batch_size=40,
        num_reports=7,
    )
    whole = run()
    file = tmp_path / "checkpoint"
    for num_epochs in (1, 3, 4):
        with pytest.raises(Killed):
            run(checkpoint=file, on_progress=kill_after(num_epochs))
    reports = []
    resumed = run(checkpoint=file, on_progress=lambda done, losses: reports.append(done))
    assert reports == [5, 6, 7]
    finished = run(checkpoint=file)
    for other in (resumed, finished):
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_checkpoint_of_another_run_or_none_is_refused_and_kept(samples, tmp_path):
    file = tmp_path / "checkpoint"
    run = partial(jaxcast.fit, init=init, loss=MSE, optimizer=ADAM, checkpoint=file)
    run(samples, keys=keys(1), num_epochs=2, batch_size=50)
    content = file.read_bytes()
    moved = samples._replace(targets=samples.targets + 1e-9)
    for data, changes, name in (
        (samples, {"num_epochs": 3}, "num_epochs"),
        (samples, {"batch_size": 40}, "batch_size"),
        (samples, {"keys": keys(2)[1:]}, "keys"),
        (moved, {}, "data"),
    ):
        settings = {"keys": keys(1), "num_epochs": 2, "batch_size": 50} | changes
        with pytest.raises(jaxcast.InputError, match=f"checkpoint of another run, with other {name};"):
            run(data, **settings)
    settings = {"keys": keys(1), "num_epochs": 2, "batch_size": 50}
    with pytest.raises(jaxcast.InputError, match="another model or optimizer"):
        jaxcast.fit(
            samples,
            init=init,
            loss=MSE,
            optimizer=optax.sgd(1e-2),
            checkpoint=file,
            **settings,
        )
    for end in (*range(0, len(content), 997), len(content) - 1):
        file.write_bytes(content[:end])
        with pytest.raises(jaxcast.InputError, match="missing, cut off or not written by jaxcast; delete it"):
            run(samples, **settings)
    np.savez(tmp_path / "foreign.npz", a=np.arange(3))
    file.write_bytes((tmp_path / "foreign.npz").read_bytes())
    with pytest.raises(jaxcast.InputError, match="not written by jaxcast"):
        run(samples, **settings)


@pytest.mark.slow
def test_the_optimizer_is_what_its_options_say(samples):
    parameters = {"w": jnp.asarray([1.0, -2.0])}
    gradient = {"w": jnp.asarray([30.0, 40.0])}

    def steps(optimizer, num_steps):
        state, moved = optimizer.init(parameters), []
        for _ in range(num_steps):
            updates, state = optimizer.update(gradient, state, parameters)
            moved.append(updates["w"])
        return np.asarray(moved)

    plain = steps(jaxcast.training.make_optimizer(1e-2), 8)
    np.testing.assert_allclose(plain, -0.01 * np.ones((8, 2)), rtol=1e-6)  # Adam with a constant gradient
    cosine = steps(jaxcast.training.make_optimizer(1e-2, schedule="cosine", num_optimizer_steps=8), 8)
    np.testing.assert_allclose(cosine, plain * (0.5 * (1 + np.cos(np.pi * np.arange(8) / 8)))[:, None], rtol=1e-6)
    linear = steps(jaxcast.training.make_optimizer(1e-2, schedule="linear", num_optimizer_steps=8, warmup_steps=4), 8)
    np.testing.assert_allclose(linear, plain * np.asarray([0, 1, 2, 3, 4, 3, 2, 1])[:, None] / 4, rtol=1e-6, atol=1e-12)
    decayed = steps(jaxcast.training.make_optimizer(1e-2, weight_decay=0.1), 1)
    np.testing.assert_allclose(decayed[0], plain[0] - 1e-2 * 0.1 * parameters["w"], rtol=1e-6)
    clipped = jaxcast.training.make_optimizer(1e-2, clip_norm=1.0)
    state = clipped.init(parameters)
    _, state = clipped.update(gradient, state, parameters)
    first_moments = state[1][0].mu["w"]
    np.testing.assert_allclose(first_moments, 0.1 * np.asarray([0.6, 0.8]), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "expected a positive, finite learning_rate"),
        ({"learning_rate": float("nan")}, "expected a positive, finite learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"schedule": "step"}, "schedule must be constant, cosine or linear, got 'step'"),
        ({"schedule": "cosine"}, "a cosine schedule needs num_optimizer_steps above the 0 of warm-up, got None"),
        ({"schedule": "linear", "num_optimizer_steps": 5, "warmup_steps": 5}, "above the 5 of warm-up, got 5"),
    ],
)
def test_impossible_optimizers_are_refused(options, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.training.make_optimizer(**{"learning_rate": 1e-3} | options)


def test_the_same_options_are_the_same_optimizer():
    assert jaxcast.training.make_optimizer(1e-3, clip_norm=1.0) is jaxcast.training.make_optimizer(1e-3, clip_norm=1.0)


class Number(nnx.Module):
    """One parameter, and a carry that counts."""

    def __init__(self, key):
        self.value = nnx.Param(jnp.asarray(2.0) + 0 * jax.random.uniform(key))

    def init_carry(self, num_streams):
        return jnp.zeros(num_streams)


def heads(number, *batch, key=None):
    tossed = 0.0 if key is None else jax.random.bernoulli(key).astype(float)
    return 0 * number.value[...] + tossed


def heads_over_time(number, carry, chunk, key=None):
    return heads(number, key=key), carry


@pytest.mark.slow
@pytest.mark.parametrize("over_time", [False, True])
def test_the_key_of_a_loss_is_another_at_every_step_and_in_every_epoch(over_time):
    """Tossed once an epoch, all steps would be heads or all tails."""
    options = dict(keys=jax.random.key(0)[None], optimizer=optax.sgd(0.1), num_epochs=4, with_key=True)
    if over_time:
        fit = jaxcast.fit(jnp.ones((1, 40)), init=Number, chunk_size=1, loss=heads_over_time, **options)
    else:
        fit = jaxcast.fit(jnp.ones(40), init=Number, batch_size=1, loss=heads, **options)
    shares = np.asarray(fit.losses[0])
    assert ((shares > 0.2) & (shares < 0.8)).all()
    assert len(set(shares.tolist())) > 1


def counting(number, carry, chunk):
    """The sum of the values so far, whatever the parameter is."""
    carry = carry + chunk.sum(1)
    return carry.mean() + 0 * number.value[...], carry


def test_a_validation_loss_over_time_is_the_mean_of_chunks_with_the_carry_handed_on():
    validation = jnp.asarray([[1.0, 2, 3, 4, 5, 6, 100.0]])
    fit = jaxcast.fit(
        jnp.ones((2, 6)), init=Number, keys=jax.random.key(0)[None], optimizer=optax.sgd(0.1), num_epochs=2, chunk_size=2,
        loss=counting, validation=validation,
    )  # fmt: skip
    np.testing.assert_allclose(fit.validation_losses, [[(3 + 10 + 21) / 3] * 2])
    np.testing.assert_allclose(fit.losses, [[(2 + 4 + 6) / 3] * 2])


def off_by(number, batch):
    return jnp.mean((number.value[...] - batch) ** 2)


def flat(number, batch):
    """The same for every parameter where the batch says so."""
    return jnp.where(batch[0] > 5, 1.0 + 0 * number.value[...], off_by(number, batch))


@pytest.mark.slow
@pytest.mark.parametrize("patience", [1, 2])
def test_of_equal_epochs_the_first_is_the_best_and_patience_counts_from_it(patience):
    options = dict(keys=jax.random.key(0)[None], optimizer=optax.sgd(0.1), num_epochs=6, batch_size=2)
    fit = jaxcast.fit(jnp.zeros(4), init=Number, loss=flat, validation=10 * jnp.ones(2), patience=patience, **options)
    once = jaxcast.fit(jnp.zeros(4), init=Number, loss=flat, **options | {"num_epochs": 1})
    assert float(fit.models.value[...][0]) == pytest.approx(float(once.models.value[...][0]))
    assert np.isfinite(fit.losses[0]).sum() == 1 + patience
    last = jaxcast.fit(jnp.zeros(4), init=Number, loss=flat, validation=10 * jnp.ones(2), keep="last", **options)
    assert abs(float(last.models.value[...][0])) < abs(float(once.models.value[...][0]))


def test_the_average_of_the_parameters_is_validated_and_returned():
    decay, target = 0.8, 2.0
    options = dict(keys=jax.random.key(0)[None], num_epochs=5, batch_size=2, loss=off_by, init=Number)
    optimizer = jaxcast.training.average_parameters(optax.sgd(0.1), decay)
    fit = jaxcast.fit(jnp.full(4, target), validation=jnp.full(2, target), optimizer=optimizer, keep="last", **options)
    number = average = float(Number(jax.random.fold_in(options["keys"][0], 0)).value[...])
    held_out = []
    for step in range(10):  # two minibatches an epoch
        number -= 0.1 * 2 * (number - target)
        share = min(decay, (1 + step) / (10 + step))
        average = share * average + (1 - share) * number
        held_out.append((average - target) ** 2)
    np.testing.assert_allclose(fit.models.value[...], [average], rtol=1e-5)
    np.testing.assert_allclose(fit.validation_losses, [held_out[1::2]], rtol=1e-5)


def test_a_checkpoint_of_other_validation_data_or_patience_is_refused(tmp_path):
    options = dict(keys=jax.random.key(0)[None], optimizer=optax.sgd(0.1), num_epochs=3, batch_size=2, loss=off_by)
    run = partial(jaxcast.fit, jnp.zeros(4), init=Number, checkpoint=tmp_path / "run", **options)
    run(validation=jnp.ones(2), patience=2)
    for changes, name in (({"validation": 2 * jnp.ones(2)}, "validation"), ({"patience": 1}, "patience")):
        with pytest.raises(jaxcast.InputError, match=f"of another run, with other {name};"):
            run(**{"validation": jnp.ones(2), "patience": 2} | changes)


@pytest.mark.parametrize("sizes", [{}, {"batch_size": 2, "chunk_size": 2}])
def test_a_fit_needs_either_minibatches_or_chunks(sizes):
    options = dict(keys=jax.random.key(0)[None], optimizer=ADAM, num_epochs=1, loss=heads, init=Number)
    with pytest.raises(jaxcast.InputError, match="give batch_size, or chunk_size to train through time"):
        jaxcast.fit(jnp.zeros(4), **options, **sizes)
