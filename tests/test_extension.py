"""A stranger's classes, in modules of their own: saved, loaded, and named on the command line, jaxcast untouched.

The modules are those that the how-to pages show.
"""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from experiments.hub.synthetic import write_synthetic_hub
from jaxcast.cli.command import take_flags
from jaxcast.cli.main import parse

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "docs/how_to/examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """The modules of the examples, imported from a folder of a stranger's."""
    folder = tmp_path_factory.mktemp("mine")
    for name in NAMES:
        shutil.copy(EXAMPLES / f"{name}.py", folder)
    sys.path.insert(0, str(folder))
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(str(folder))


def command(folder, *args):
    """What `jaxcast` does in a folder: exit code, output and errors."""
    path = str(Path(jaxcast.__file__).parents[1])
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    compiling = {name: value for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_FLAGS"))}
    run = [sys.executable, "-m", "jaxcast.cli.main", *map(str, args)]
    done = subprocess.run(run, cwd=folder, env=env | compiling, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def kept_as_it_is(model, folder, *, forecast_map=None):
    jaxcast.save_model(folder, model, forecast_map)
    stored = jaxcast.load_model(folder)
    assert type(stored.pool) is type(model)
    assert jax.tree.structure(stored.pool) == jax.tree.structure(model)
    for ours, theirs in zip(jax.tree.leaves(stored.pool), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    return stored


def candidates(mine):
    systems = [mine["my_system"].Halvorsen(a=a) for a in (1.6, 1.8)]
    return jaxcast.flow_map(jaxcast.stack_systems(systems), dt=0.1, h=0.02)


def truth(mine):
    return jaxcast.simulate(mine["my_system"].Halvorsen(a=1.7), [1.0, 0.0, 0.0], num_samples=60, dt=0.1, h=0.02)


def test_the_examples_are_short_and_need_public_names_alone():
    longest = {"my_system": 15, "my_forecaster": 40, "my_cell": 25, "my_pool": 50, "my_quantile_pool": 20}
    assert sorted(longest) == NAMES
    for name, most in longest.items():
        text = (EXAMPLES / f"{name}.py").read_text()
        assert len(text.splitlines()) <= most
        assert not re.search(r"jaxcast\.\w*\._|from jaxcast|import jaxcast\.", text)
        for path in re.findall(r"jaxcast(?:\.\w+)+", text):
            thing = jaxcast
            for part in path.split(".")[1:]:
                assert part in vars(thing) or isinstance(thing, type), path
                thing = getattr(thing, part)


def test_a_system_is_its_text(mine):
    system = jaxcast.dynamics.parse_system("halvorsen(a=linear_ramp(start=1.6, stop=1.8, begin=0, end=9))")
    assert type(system) is mine["my_system"].Halvorsen
    text = jaxcast.dynamics.describe_system(system)
    assert jaxcast.dynamics.describe_system(jaxcast.dynamics.parse_system(text)) == text
    x, y, z = 1.0, 2.0, 3.0
    expected = [-1.7 * x - 4 * y - 4 * z - y**2, -1.7 * y - 4 * z - 4 * x - z**2, -1.7 * z - 4 * x - 4 * y - x**2]
    np.testing.assert_allclose(mine["my_system"].Halvorsen(a=1.7)(0.0, (x, y, z)), expected, rtol=1e-12)


class Halfway(jaxcast.dynamics.SmoothSchedule, name="halfway"):
    """Between two values at all times."""

    first: jaxcast.dynamics.Parameter
    second: jaxcast.dynamics.Parameter

    def __call__(self, t):
        return (self.first + self.second) / 2


def test_a_schedule_is_its_text_and_kept_with_candidates(tmp_path):
    text = "lorenz63(rho=halfway(first=[26, 28], second=30))"
    with pytest.raises(jaxcast.InputError, match="first must be one number"):
        jaxcast.dynamics.parse_candidates(text)
    systems = [jaxcast.dynamics.parse_system(f"lorenz63(rho=halfway(first={first}, second=30))") for first in (26, 28)]
    assert [float(system.at(0.0).rho) for system in systems] == [28.0, 29.0]
    ensemble = jaxcast.flow_map(jaxcast.stack_systems(systems), dt=0.1, h=0.02)
    stored = kept_as_it_is(jaxcast.equal_weights(2), tmp_path, forecast_map=ensemble)
    assert jax.tree.structure(stored.forecast_map) == jax.tree.structure(ensemble)
    (needed,) = json.loads((tmp_path / "pool.json").read_text())["candidates"]["classes"]
    assert needed == {"class": "halfway", "module": __name__, "arguments": {}}


def test_a_pool_over_a_system_is_kept_with_it(mine, tmp_path):
    trajectory, ensemble = truth(mine), candidates(mine)
    samples = jaxcast.one_step_samples(trajectory, 2, ensemble)
    pool = mine["my_pool"].InverseErrors.fit(samples)
    stored = kept_as_it_is(pool, tmp_path, forecast_map=ensemble)
    assert jax.tree.structure(stored.forecast_map) == jax.tree.structure(ensemble)
    ours, theirs = (
        jaxcast.forecast(cell, trajectory.states[:5], 4) for cell in (stored.cell, jaxcast.Forecaster(pool, ensemble))
    )
    np.testing.assert_array_equal(ours.forecast, theirs.forecast)
    np.testing.assert_allclose(ours.info["weights"].sum(-1), 1)


def test_a_network_is_kept_with_its_seeds(mine, tmp_path):
    init = lambda key: mine["my_pool"].LearnedErrors(dim=3, num_delays=2, key=key)  # noqa: E731
    kept_as_it_is(init(jax.random.key(0)), tmp_path / "one")
    kept_as_it_is(jax.vmap(init)(jax.random.split(jax.random.key(0), 3)), tmp_path / "three")


def test_a_cell_is_kept(mine, tmp_path):
    cell = mine["my_cell"].Momentum(jnp.asarray(0.5))
    stored = kept_as_it_is(cell, tmp_path)
    assert jaxcast.forecast(stored.cell, jnp.asarray([[0.0], [1.0]]), 3).forecast[:, 0].tolist() == [1.5, 1.75, 1.875]


def test_a_forecaster_is_fitted_by_its_name_and_kept(mine, tmp_path):
    rng = np.random.default_rng(0)
    values, noise = np.zeros((120, 2)), rng.normal(size=(120, 2))
    for n in range(1, 120):
        values[n] = 0.6 * values[n - 1] + noise[n]
    dates = np.arange("2021-01", "2031-01", dtype="datetime64[M]")
    table = jaxcast.series.series_table(values + 5, dates)
    fitted = jaxcast.series.fit_series(table, horizon=2, methods=("last_value", "mean_reversion"), season=0)
    assert fitted.model.method == "mean_reversion"
    inner = fitted.model.forecaster.forecaster
    assert type(inner) is mine["my_forecaster"].MeanReversion
    np.testing.assert_allclose(inner.share, 0.6, atol=0.2)
    stored = kept_as_it_is(fitted.model.forecaster, tmp_path)
    history = jnp.asarray(values[-20:] + 5)
    quantiles = [model(history).info["quantiles"] for model in (stored.pool, fitted.model.forecaster)]
    np.testing.assert_array_equal(*quantiles)


def test_a_quantile_pool_is_kept(mine, tmp_path):
    quantiles = np.sort(np.random.default_rng(0).normal(size=(2, 5, 3, 3)), -1)
    forecasts = jaxcast.hub.HubForecasts.of(quantiles, np.ones((2, 5)), np.asarray([0.1, 0.5, 0.9]))
    stored = kept_as_it_is(mine["my_quantile_pool"].Widest(), tmp_path)
    pooled = jaxcast.hub.pool_forecasts(stored.pool, forecasts).forecast
    np.testing.assert_allclose(pooled[..., 0], quantiles[..., 0].min(2))
    np.testing.assert_allclose(pooled[..., 2], quantiles[..., 2].max(2))


@pytest.mark.slow
def test_on_the_command_line_from_a_system_to_a_forecast(mine, tmp_path):
    """Another process knows of nothing but what --import names; without it the message does."""
    for name in ("my_system", "my_pool"):
        shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
    both = ("--import", "my_system", "--import=my_pool")
    sizes = ("--num-samples", "60", "--dt", "0.1", "--h", "0.02", "--transient", "5")
    made = command(
        tmp_path, "simulate", "--import", "my_system", "--system", "halvorsen(a=1.7)", *sizes, "--out", "t.npz"
    )
    assert made[0] == 0, made[2]
    learned = ("--trajectory", "t.npz", "--candidates", "halvorsen(a=[1.6, 1.8])", "--h", "0.02", "--out", "pool")
    trained = command(tmp_path, "pool", "train", *both, *learned, "--pool", "inverse_errors", "--num-delays", "2")
    assert trained[0] == 0, trained[2]
    config = json.loads((tmp_path / "pool/pool.json").read_text())
    assert (config["class"], config["module"]) == ("inverse_errors", "my_pool")
    changed = (tmp_path / "my_pool.py").read_text().replace("(1, 3)", "(1, -1)")
    (tmp_path / "my_pool.py").write_text(changed)
    again = command(tmp_path, "pool", "train", *both, *learned, "--pool", "inverse_errors", "--num-delays", "2")
    assert again[0] == 2, "other code of a user's own would make another pool"
    assert "code" in again[2]
    forecast = ("pool", "forecast", "--pool", "pool", "--history", "t.npz", "--num-leads", "3", "--out", "f.csv")
    done = command(tmp_path, *forecast, *both)
    assert done[0] == 0, done[2]
    stored = jaxcast.load_model(tmp_path / "pool")
    states = jaxcast.load_trajectory(tmp_path / "t.npz").trajectory.states
    expected = jaxcast.forecast(stored.cell, jnp.asarray(states), 3).forecast
    found = jaxcast.load_trajectory(tmp_path / "f.csv").trajectory.states
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    code, _, error = command(tmp_path, *forecast, "--import", "my_pool", "--overwrite")
    assert (code, error.count("\n")) == (2, 1)
    assert "needs the class 'halvorsen' of the module my_system" in error
    assert "--import my_system" in error


def test_on_the_command_line_a_cell_takes_the_place_of_a_pool(mine, tmp_path):
    """As written in write_a_cell.md: saved in Python, forecast with and measured in another process."""
    shutil.copy(EXAMPLES / "my_cell.py", tmp_path)
    cell = mine["my_cell"].Momentum(jnp.asarray(0.8))
    jaxcast.save_model(tmp_path / "momentum", cell)
    trajectory = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=60, dt=0.05, h=0.01)
    jaxcast.save_trajectory(tmp_path / "truth.npz", trajectory)
    forecast = ("pool", "forecast", "--import", "my_cell", "--pool", "momentum", "--history", "truth.npz", "--at", "1")
    done = command(tmp_path, *forecast, "--num-leads", "20", "--out", "y.csv", "--plot", "y.png")
    assert done[0] == 0, done[2]
    found = jaxcast.load_trajectory(tmp_path / "y.csv").trajectory
    np.testing.assert_allclose(found.times, 1.05 + 0.05 * np.arange(20), rtol=1e-9)
    np.testing.assert_allclose(found.states, jaxcast.forecast(cell, trajectory.states[:21], 20).forecast, rtol=1e-9)
    evaluate = ("pool", "evaluate", "--import", "my_cell", "--pool", "momentum", "--trajectory", "truth.npz")
    done = command(tmp_path, *evaluate, "--num-leads", "10", "--out", "scores")
    assert done[0] == 0, done[2]
    rows = json.loads((tmp_path / "scores/results.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["pool", "persistence"]


class Biased(jaxcast.DeterministicCell, jaxcast.FrozenPytree, name="biased"):
    """Adds numbers to the value, and reports of its own under names that pools give a meaning."""

    bias: object
    warmup = 0

    def init_carry(self, value, exogenous=None):
        return None

    def __call__(self, carry, x):
        mine = {"weights": jnp.ones(()), "regime": {"a": jnp.ones(2)}, "spread": jnp.ones(1)}
        return carry, jaxcast.Output(x.value + self.bias, mine)


@pytest.fixture
def biased(tmp_path):
    """A function that runs a command on a saved cell and a file of three components."""
    jaxcast.save_model(tmp_path / "cell", Biased(jnp.arange(3.0)))
    truth = jaxcast.Trajectory(0.5 * np.arange(30), np.arange(90.0).reshape(30, 3) % 7)
    jaxcast.save_trajectory(tmp_path / "t.npz", truth, components=["a", "b", "c"])

    def run(command, *args, pool="cell", file="t.npz", out="o.csv"):
        option = "--history" if command == "forecast" else "--trajectory"
        given = ["pool", command, "--pool", tmp_path / pool, option, tmp_path / file, "--out", tmp_path / out, *args]
        parse(list(map(str, given))).run()

    return run


def test_what_a_cell_reports_is_not_taken_for_a_pools(biased, tmp_path):
    biased("forecast", "--num-leads", 4, "--plot", tmp_path / "o.png")
    stored = jaxcast.load_trajectory(tmp_path / "o.csv")
    assert stored.components == ("a", "b", "c")
    last = np.arange(87, 90) % 7
    np.testing.assert_allclose(stored.trajectory.states, last + np.arange(1, 5)[:, None] * np.arange(3.0))
    jaxcast.save_model(tmp_path / "other", Biased(-jnp.arange(3.0)))
    biased("evaluate", "--num-leads", 4, "--against", tmp_path / "other", out="scores")
    results = json.loads((tmp_path / "scores/results.json").read_text())
    assert len(results["paired"]) == 1
    assert results.keys().isdisjoint({"tracking", "spread"})


def test_what_needs_a_pool_is_refused_for_a_cell_in_one_line(biased, tmp_path):
    jaxcast.save_model(tmp_path / "two", Biased(jnp.arange(2.0)))
    systems = jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)])
    candidates = jaxcast.flow_map(systems, dt=0.1)
    jaxcast.save_model(tmp_path / "step", jaxcast.Forecaster(jaxcast.equal_weights(2), candidates))
    jaxcast.save_model(tmp_path / "pool", jaxcast.equal_weights(2), candidates)
    for args, pool, message in (
        (["--weights", tmp_path / "w.csv"], "cell", "has no candidate weights; leave out --weights"),
        (["--regime", tmp_path / "r.csv"], "cell", "infers no regime; leave out --regime"),
        (["--seed-index", 1], "cell", "seed_index must be from 0 to 0"),
        ([], "two", "the cell biased cannot forecast the 3 components"),
        ([], "step", r"is sampled every 0.5, the cell forecaster steps by 0.1"),
        ([], "pool", r"not saved by `jaxcast pool train`; save it as a cell"),
    ):
        with pytest.raises(jaxcast.InputError, match=message) as caught:
            biased("forecast", "--num-leads", 4, *args, pool=pool)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "o.csv").exists()


@pytest.mark.slow
def test_on_the_command_line_for_series_and_hubs(mine, tmp_path):
    for name in ("my_forecaster", "my_quantile_pool"):
        shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
    rng = np.random.default_rng(0)
    rows = [f"2021-{month:02}-{day:02},{rng.normal(5):.4f}" for month in range(1, 9) for day in range(1, 29)]
    (tmp_path / "t.csv").write_text("date,a\n" + "\n".join(rows) + "\n")
    imported = ("--import", "my_forecaster")
    train = ("series", "train", "--data", "t.csv", "--horizon", "2", "--season", "0", "--out", "model")
    code, _, error = command(tmp_path, *train, *imported, "--method", "mean_reversion")
    assert code == 0, error
    done = command(tmp_path, "series", "forecast", *imported, "--model", "model", "--data", "t.csv", "--out", "f.csv")
    assert done[0] == 0, done[2]
    code, _, error = command(tmp_path, "series", "forecast", "--model", "model", "--data", "t.csv", "--out", "g.csv")
    assert code == 2
    assert "'mean_reversion' of the module my_forecaster" in error
    made = write_synthetic_hub(tmp_path / "hub", num_weeks=16, num_locations=2)
    forecasts, target = made.forecasts, made.truth
    rows = [row for row in target.read_text().splitlines() if "2021-04-17" not in row]
    target.write_text("\n".join(rows) + "\n")
    hub = ("hub", "forecast", "--forecasts", forecasts, "--truth", target, "--out", "out", "--method", "widest")
    hub += ("--target-name", "wk inc case")
    code, _, error = command(tmp_path, *hub, "--import", "my_quantile_pool")
    assert code == 0, error
    assert list((tmp_path / "out").rglob("*.csv"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--import", "no_such_module"), r"cannot import no_such_module \(ModuleNotFoundError: "),
        (("--import",), "--import needs the name of a module"),
        (("--import", "--quiet"), "--import needs the name of a module"),
        (("--import", "broken"), r"cannot import broken \(ZeroDivisionError: "),
        (
            ("--import", "taken"),
            "cannot import taken: the name 'lorenz63' is taken by jaxcast.dynamics.systems.Lorenz63",
        ),
    ],
)
def test_modules_that_cannot_be_used_are_refused_in_one_line(args, message, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "taken.py").write_text("import jaxcast\nclass Mine(jaxcast.System, name='lorenz63'):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        take_flags([*args, "simulate"] if len(args) > 1 and args[1] != "--quiet" else [*args])
    assert "\n" not in str(caught.value)


def test_names_are_checked(tmp_path):
    with pytest.raises(jaxcast.InputError, match="must be letters, digits and underscores, got 'my pool'"):

        class Spaced(jaxcast.Pool, name="my pool"):
            pass

    class Once(jaxcast.System, name="once_only"):
        components = ("x",)

    with pytest.raises(jaxcast.InputError, match="the class once_only does not define vector_field yet"):
        jaxcast.dynamics.parse_system("once_only()")

    with pytest.raises(jaxcast.InputError, match=r"the name 'once_only' is taken by .*Once; give .*Twice another"):

        class Twice(jaxcast.System, name="once_only"):
            components = ("x",)

    class Nameless(jaxcast.pooling.WeightedSum, jaxcast.FrozenPytree):
        memory = jaxcast.pooling.DelayMemory(0)

        def weigh(self, memory, forecasts):
            return jnp.ones(forecasts.shape[:-1])

    with pytest.raises(jaxcast.InputError, match="cannot save a Nameless: its class has no name"):
        jaxcast.save_model(tmp_path / "pool", Nameless())
    with pytest.raises(jaxcast.InputError, match="cannot save a Nameless"):
        jaxcast.save_model(tmp_path / "pool", jaxcast.pooling.CorrectedPool(Nameless(), *corrections()))
    assert not (tmp_path / "pool").exists()


def corrections():
    from jaxcast.pooling.corrected import Features, PolynomialCorrection

    features = Features(jnp.zeros(1), jnp.ones(1), jnp.ones(()), ())
    return features, PolynomialCorrection(jnp.zeros((2, 1)), 1)


def test_a_class_defined_again_takes_the_place_of_the_first():
    """As where a cell of a notebook is run again."""
    made = []
    for _ in range(2):

        class Again(jaxcast.System, name="defined_again"):
            components = ("x",)

            def vector_field(self, t, u):
                return u

        made.append(Again)
    assert type(jaxcast.dynamics.parse_system("defined_again()")) is made[1]
    assert jaxcast.dynamics.describe_system(made[0]()) == "defined_again()"


def test_a_method_that_is_not_there_lists_those_that_are(mine):
    with pytest.raises(jaxcast.InputError, match=r"got 'inverse_error' \(did you mean inverse_errors\?\).*--import"):
        parse(["pool", "train", "--trajectory", "t.npz", "--out", "o", "--pool", "inverse_error"])
    with pytest.raises(jaxcast.InputError, match=r"got 'wide'.*--import"):
        parse(["hub", "forecast", "--forecasts", "f.csv", "--truth", "t.csv", "--method", "wide"])
    with pytest.raises(jaxcast.InputError, match=r"got 'rige' \(did you mean ridge\?\).*--import"):
        parse(["series", "train", "--data", "t.csv", "--out", "o", "--method", "drift", "rige"])
    made = parse(["series", "train", "--data", "t.csv", "--out", "o", "--method", "drift", "mean_reversion"])
    assert made.method == ("drift", "mean_reversion")


@pytest.mark.parametrize("name", ["momentum", "nvar"])
def test_a_cell_is_not_trained_by_its_name(name, mine):
    with pytest.raises(jaxcast.InputError, match=f"--pool cannot be {name}, which is a cell; save it by") as caught:
        parse(["pool", "train", "--trajectory", "t.npz", "--out", "o", "--pool", name])
    assert "\n" not in str(caught.value)


class ReadsFirstAxis(jaxcast.pooling.WeightedSum, jaxcast.pooling.DelayPool, jaxcast.nn.Network, name="first_axis"):
    """Its `config` is right for one network, but not for those of several seeds."""

    num_delays = 1

    def __init__(self, *, dim, key):
        self.b = nnx.Param(jnp.zeros(dim))

    @property
    def config(self):
        return {"dim": self.b.shape[0]}

    def weigh(self, memory, forecasts):
        return jnp.ones(forecasts.shape[:-1]) / forecasts.shape[-2]


def test_a_config_that_reads_the_axis_of_seeds_is_refused_before_anything_is_written(tmp_path):
    init = lambda key: ReadsFirstAxis(dim=3, key=key)  # noqa: E731
    kept_as_it_is(init(jax.random.key(0)), tmp_path / "one")
    trained = jax.vmap(init)(jax.random.split(jax.random.key(0), 1))
    message = r"cannot save a ReadsFirstAxis: .*\.b\S* must have the shape \(1, 1\), got \(1, 3\)"
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        jaxcast.save_model(tmp_path / "seeds", trained)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "seeds").exists()


def test_such_a_pool_is_refused_before_it_is_trained(tmp_path, monkeypatch):
    truth = jaxcast.simulate(jaxcast.Lorenz63(rho=28.0), [1.0, 1.0, 20.0], num_samples=60, dt=0.1, h=0.05)
    jaxcast.save_trajectory(tmp_path / "t.npz", truth)
    args = [
        "--trajectory",
        str(tmp_path / "t.npz"),
        "--candidates",
        "lorenz63(rho=[26, 30])",
        "--h",
        "0.05",
        "--batch-size",
        "8",
    ]
    train = parse(["pool", "train", *args, "--out", str(tmp_path / "out"), "--pool", "first_axis"])
    monkeypatch.setattr("jaxcast.cli.pool.networks.fit", lambda *args, **kwargs: pytest.fail("it was trained"))
    with pytest.raises(jaxcast.InputError, match="cannot save a ReadsFirstAxis"):
        train.run()
    assert not (tmp_path / "out").exists()


def test_folders_name_the_module_that_they_need(mine, tmp_path, monkeypatch):
    jaxcast.save_model(tmp_path, mine["my_pool"].InverseErrors(jnp.asarray(0.1), 2), candidates(mine))
    from jaxcast.registry import _CLASSES

    monkeypatch.delitem(_CLASSES, "inverse_errors")
    with pytest.raises(jaxcast.InputError, match="needs the class 'inverse_errors' of the module my_pool") as caught:
        jaxcast.load_model(tmp_path)
    assert "\n" not in str(caught.value)
