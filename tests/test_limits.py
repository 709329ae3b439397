"""Sizes beyond memory and disk are refused before anything is asked for, with the estimate."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import limits
from jaxcast.cli.main import parse
from jaxcast.limits import as_size, check_arrays, check_disk, check_memory

KEY = jax.random.key(0)
HUGE = 10**15
WAVE = jnp.sin(0.3 * jnp.arange(50.0))[:, None]
CELL = jaxcast.Forecaster(jaxcast.pooling.Persistence())


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 KB"), (999_600, "1 MB"), (1.5e9, "1.5 GB"), (8e12, "8 TB"), (2e21, "2e+03 EB")],
)  # fmt: skip
def test_sizes_are_reported_with_three_digits(num_bytes, text):
    assert as_size(num_bytes) == text


def test_memory_is_that_of_the_machine_and_of_its_container(monkeypatch, tmp_path):
    there_is, where = limits.memory()
    assert where == "this machine"
    assert 2**28 < there_is < 2**50
    check_memory(there_is, "it")
    with pytest.raises(
        jaxcast.InputError, match=r"^it would need \S+ \S+ of memory, this machine has \S+ \S+; ask for less$"
    ):
        check_memory(there_is + 1, "it")
    check_arrays("it", (there_is // 8,))
    check_arrays("it", (there_is // 4,), dtype="float32")
    for shapes in [[(there_is // 8 + 1,)], [(there_is // 16 + 1,)] * 2]:
        with pytest.raises(jaxcast.InputError):
            check_arrays("it", *shapes)
    free = limits.free_disk(tmp_path / "not/there")
    with pytest.raises(jaxcast.InputError, match=r"x\.zarr has .* left; ask for less, or write to another disk"):
        check_disk(tmp_path / "x.zarr", 2 * free, "it")
    check_disk(tmp_path / "x.zarr", free // 2, "it")


def small_network(key):
    return jaxcast.pooling.FeedForward(dim=1, num_delays=1, hidden_size=2, key=key)


def pool_of(kind, **sizes):
    return lambda: kind(**{"dim": 3, "num_delays": 5, "hidden_size": 8, "key": KEY} | sizes)


ABSURD = {
    "simulate": lambda: jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 2.0, 3.0], num_samples=HUGE),
    "simulate_ensemble": lambda: jaxcast.simulate_ensemble(jaxcast.Lorenz63(), jnp.ones((4, 3)), num_samples=HUGE),
    "random_starts": lambda: jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), HUGE, key=KEY),
    "forecast": lambda: jaxcast.forecast(CELL, WAVE, HUGE),
    "closed_loop": lambda: jaxcast.closed_loop(CELL, jaxcast.spin_up(CELL, WAVE), HUGE),
    "delay_embed": lambda: jaxcast.dynamics.delay_embed(np.broadcast_to(0.0, (10**6, 3)), 5 * 10**5),
    "additive": pool_of(jaxcast.AdditiveAttention, hidden_size=2 * 10**9),
    "dot_product": pool_of(jaxcast.pooling.ScaledDotProductAttention, num_delays=2 * 10**9),
    "heads": pool_of(jaxcast.pooling.MultiHeadAttention, score="additive", num_heads=2 * 10**9),
    "feed_forward": pool_of(jaxcast.pooling.FeedForward, hidden_size=2 * 10**9),
    "rnn": lambda: jaxcast.nn.RNN(input_size=1, hidden_size=10**9, key=KEY),
    "gru": lambda: jaxcast.nn.GRU(input_size=1, hidden_size=10**6, key=KEY),
    "lstm": lambda: jaxcast.nn.LSTM(input_size=2 * 10**9, hidden_size=2000, key=KEY),
    "stack": lambda: jaxcast.nn.Stack("lstm", input_size=1, hidden_size=1000, num_layers=10**9, key=KEY),
    "self_attention": lambda: jaxcast.nn.SelfAttention(size=10**6, key=KEY),
    "language": lambda: jaxcast.text.LanguageModel(num_tokens=10**9, hidden_size=8, num_layers=1, key=KEY),
    "reservoir": lambda: jaxcast.forecasters.fit_reservoir(jnp.tile(WAVE, (4, 1)), num_nodes=10**6, key=KEY),
    "polynomial": lambda: jaxcast.forecasters.fit_nvar(jnp.tile(WAVE, (4, 9)), num_delays=3, degree=20),
    "members": lambda: jaxcast.assimilation.EnsembleKalmanFilter(jnp.sin, 0.1, KEY, num_members=HUGE),
    "cosines": lambda: jaxcast.series.random_fourier_features(3, HUGE, bandwidth=1.0, key=KEY),
    "resamples": lambda: jaxcast.scores.paired_test(np.arange(5.0), np.ones(5), key=KEY, num_resamples=2 * 10**9),
    "seeds": lambda: jaxcast.fit(
        jaxcast.one_step_samples(jaxcast.Trajectory(jnp.arange(50.0), WAVE), 1), init=small_network, loss=jaxcast.pooling.mean_squared_error, keys=KEY[None],
        optimizer=None, num_epochs=HUGE, batch_size=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_sizes_are_refused_before_memory_is_asked_for(name, without_type_checks):
    with pytest.raises(jaxcast.InputError) as caught:
        ABSURD[name]()
    said = str(caught.value)
    assert re.search(r"would need \S+ \S+ of memory, \S.* has \S+ \S+; ask for less", said), said


def test_a_store_larger_than_the_disk_is_refused(tmp_path):
    with pytest.raises(
        jaxcast.InputError, match=r"1000000000000 x 5 samples of 3 components would need 120 TB of disk"
    ):
        jaxcast.io.TrajectoryWriter(
            tmp_path / "x.zarr",
            times=np.arange(5.0),
            num_trajectories=10**12,
            components=["x", "y", "z"],
            batch_size=10,
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_commands_refuse_absurd_options_before_they_begin(tmp_path, refused_in_one_line, monkeypatch):
    def run(*args):
        parse([str(arg) for arg in args]).run()

    monkeypatch.chdir(tmp_path)
    run("simulate", "--num-samples", 60, "--transient", 1, "--out", "t.npz")
    candidates = ["--trajectory", "t.npz", "--candidates", "lorenz63(rho=[28, 30])", "--pool"]
    run("pool", "train", *candidates, "equal_weights", "--out", "pool")
    (tmp_path / "s.csv").write_text("date,a\n" + "".join(f"2024-01-{day:02d},{day % 7}\n" for day in range(1, 31)))
    network = ["pool", "train", *candidates, "additive_attention", "--batch-size", 8, "--out", "x"]
    for args, message in [
        (["pool", "forecast", "--pool", "pool", "--history", "t.npz", "--out", "f.npz", "--num-leads", HUGE], "leads of 3 components would"),
        ([*network, "--hidden-size", 10**9, "--num-delays", 20], "a layer from 120 to 1000000000 units would need 480 GB of"),
        ([*network, "--num-seeds", 2 * 10**9], "training 2000000000 seeds over 500 epochs would need"),
        ([*network, "--num-epochs", HUGE], "num_epochs must be at most 2147483647, got 1000000000000000"),
        (["series", "train", "--data", "s.csv", "--out", "x", "--horizon", 10**9], "horizon must be below the 30 dates of s.csv"),
        (["series", "train", "--data", "s.csv", "--out", "x", "--history-size", 10**9], "need at least .* dates to learn from"),
    ]:  # fmt: skip
        with refused_in_one_line(tmp_path, message):
            run(*args)
