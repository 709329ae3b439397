import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from jaxcast.training import fit_stream


class Line(nnx.Module):
    def __init__(self, key):
        self.slope = nnx.Param(jax.random.normal(key, (3,)))


def init(key):
    return Line(key)


def loss(line, batch, key=None):
    noise = 0 if key is None else jax.random.normal(key) / 100
    return jnp.mean((batch[0] @ line.slope[...] + noise - batch[1]) ** 2)


def draw(epoch):
    inputs = np.random.default_rng(epoch).normal(size=(24, 3))
    return inputs, inputs @ np.arange(3.0)


KEYS = jax.random.split(jax.random.key(1), 2)
OPTIMIZER = jaxcast.training.make_optimizer(1e-1)
OPTIONS = {"init": init, "loss": loss, "keys": KEYS, "optimizer": OPTIMIZER, "batch_size": 8, "with_key": True}


@pytest.mark.slow
def test_the_same_data_in_every_epoch_are_trained_on_as_by_fit():
    validation = jax.tree.map(jnp.asarray, draw(99))
    streamed = fit_stream(lambda epoch: draw(0), **OPTIONS, num_epochs=6, validation=validation, patience=2)
    plain = jaxcast.fit(draw(0), **OPTIONS, num_epochs=6, validation=validation, patience=2)
    for one, other in zip(jax.tree.leaves(streamed), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_one_program_serves_all_epochs_and_new_data_are_learned_from():
    drawn, traces, traces_so_far = [], [], []

    def counted_draw(epoch):
        drawn.append(epoch)
        return draw(epoch)

    def counted_loss(*args, **kwargs):
        traces.append(1)
        return loss(*args, **kwargs)

    fit = fit_stream(
        counted_draw,
        **OPTIONS | {"loss": counted_loss},
        num_epochs=60,
        validation=draw(99),
        on_progress=lambda done, losses: traces_so_far.append(len(traces)),
    )
    assert drawn == list(range(60))
    assert len(set(traces_so_far)) == 1  # traced for the first epoch, and never again
    np.testing.assert_allclose(fit.models.slope[...], [[0, 1, 2]] * 2, atol=0.02)


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(done, losses):
        if done == 4:
            raise Interrupted

    options = OPTIONS | {"num_epochs": 8, "validation": draw(99), "num_reports": 4}
    whole = fit_stream(draw, **options)
    with pytest.raises(Interrupted):
        fit_stream(draw, **options, checkpoint=tmp_path / "run", on_progress=interrupt)
    again = fit_stream(draw, **options, checkpoint=tmp_path / "run")
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(jaxcast.InputError, match="another run, with other data"):
        fit_stream(lambda epoch: draw(epoch + 1), **options, checkpoint=tmp_path / "run")


@pytest.mark.slow
def test_seeds_that_no_longer_improve_end_the_run():
    reported = []
    options = OPTIONS | {"optimizer": jaxcast.training.make_optimizer(1e-12)}
    fit = fit_stream(
        draw,
        **options,
        num_epochs=50,
        validation=(np.zeros((2, 3)), np.zeros(2)),  # never better than in the first epoch
        patience=3,
        on_progress=lambda done, losses: reported.append(done),
        num_reports=50,
    )
    assert reported[-1] == 5
    assert np.isfinite(np.asarray(fit.losses)).sum(1).tolist() == [4, 4]


def bad_in_epoch_2(epoch):
    inputs, targets = draw(epoch)
    targets[5] = np.nan if epoch == 2 else targets[5]
    return inputs, targets


BAD = {
    "data": ({"draw": bad_in_epoch_2}, r"data must be finite where the loss sees it.* in data\[1\] at sample 5"),
    "divergence": ({"optimizer": jaxcast.training.make_optimizer(1e200)}, "the training diverges: the loss of seed 0"),
    "shapes": ({"draw": lambda epoch: draw(0) if epoch < 2 else jax.tree.map(lambda a: a[1:], draw(0))}, "same shapes"),
    "batch": ({"batch_size": 25}, "batch_size must be from 1 to the 24 samples"),
    "patience": ({"patience": 2}, "patience must be at least 1 and needs validation data"),
    "data of no arrays": ({"draw": lambda epoch: [1, 2]}, "must be a tree of arrays"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_bad_streams_are_refused_in_one_line(case):
    changed, message = BAD[case]
    options = {"draw": draw, "num_epochs": 6} | OPTIONS | changed
    with pytest.raises(jaxcast.InputError, match=message) as error:
        fit_stream(options.pop("draw"), **options)
    assert "\n" not in str(error.value)
