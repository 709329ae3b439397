import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.numerics.polynomials import monomials
from jaxcast.pooling.corrected import Features, KernelCorrection, PolynomialCorrection
from jaxcast.registry import names_of
from tests.saving.tampering import contents, rewrite

SIZES = dict(dim=3, num_delays=2, hidden_size=4)
SCALES = jaxcast.pooling.Standardizer(jnp.arange(3.0), jnp.arange(1.0, 4.0), jnp.full(3, 0.5))


def makers():
    """How to make one of every kind that can be saved, and two of several seeds."""
    key = jax.random.key(1)
    additive = lambda key: jaxcast.AdditiveAttention(**SIZES, key=key)  # noqa: E731
    heads = lambda key: jaxcast.pooling.MultiHeadAttention(score="scaled_dot_product", num_heads=2, **SIZES, key=key)  # noqa: E731
    return {
        "additive_attention": lambda: additive(key),
        "component_attention": lambda: jaxcast.pooling.ComponentAttention(
            dim=3, num_models=11, num_delays=2, hidden_sizes=(4, 5), scales=SCALES, errors="ends", key=key
        ),
        "recurrent_attention": lambda: jaxcast.pooling.RecurrentAttention(
            dim=3, hidden_size=4, cell="lstm", num_warmup=3, scales=SCALES, key=key
        ),
        "regime_interpolation": lambda: jaxcast.pooling.RegimeInterpolation(
            jnp.ones((11, 1)), jnp.ones(3), num_delays=2
        ),
        "scaled_dot_product_attention": lambda: jaxcast.pooling.ScaledDotProductAttention(
            **SIZES, key=key, dtype=jnp.float64
        ),
        "multi_head_attention": lambda: heads(key),
        "feed_forward": lambda: jaxcast.pooling.FeedForward(**SIZES, key=key),
        "simplex_least_squares": lambda: jaxcast.pooling.SimplexLeastSquares(3),
        "linear_regression": lambda: jaxcast.pooling.LinearRegression(jax.random.normal(key, (3, 2, 3)), jnp.ones(3)),
        "fixed_weights": lambda: jaxcast.equal_weights(2),
        "persistence": lambda: jaxcast.pooling.Persistence(),
        "best_candidate": lambda: jaxcast.pooling.BestCandidate(jaxcast.equal_weights(2)),
        "regime": lambda: regime(),
        "fixed_share": lambda: jaxcast.pooling.FixedShare(0.1, jnp.ones(3)),
        "interacting_models": lambda: jaxcast.pooling.InteractingModels(
            jnp.full((2, 2), 0.5), jnp.stack([jnp.eye(3)] * 2), jnp.ones(2) / 2
        ),
        "corrected": lambda: corrected(additive(key)),
        "corrected by a kernel": lambda: corrected(
            jaxcast.pooling.RegimeInterpolation(jnp.ones((2, 1)), jnp.ones(3), 2), kernel=True
        ),
        "additive seeds": lambda: jax.vmap(additive)(jax.random.split(key, 3)),
        "multi-head seeds": lambda: jax.vmap(heads)(jax.random.split(key, 3)),
    }


def made(name):
    return makers()[name]()


def corrected(pool, kernel=False):
    """A correction that sees the state, and for a kernel the two positions that the pool shows, made by hand."""
    size = 5 if kernel else 3
    features = Features(jnp.zeros(size), 9 * jnp.ones(size), jnp.asarray(0.5), ("position",) if kernel else ())
    terms = 0.1 * jax.random.normal(jax.random.key(2), (10, 3))
    if kernel:
        return jaxcast.pooling.CorrectedPool(
            pool, features, KernelCorrection(jnp.ones((10, 5)), terms, jnp.asarray(0.4))
        )
    return jaxcast.pooling.CorrectedPool(pool, features, PolynomialCorrection(terms, degree=2))


def regime(forecast_map=None):
    """One of two candidates and one oscillation, made by hand."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(0.01 * rng.normal(size=shape))  # noqa: E731
    factors = monomials(3, 2), monomials(1, 1)
    theta = normal(len(factors[0]), len(factors[1]), 3)
    system = jaxcast.regime.PolynomialSystem(
        theta, jnp.zeros(3), 8 * jnp.ones(3), jnp.asarray([[-1.0], [1.0]]), *factors
    )
    emulator = jaxcast.regime.Emulator(system, jnp.ones(1), 2 * jnp.ones(1), jnp.asarray(0.1), jnp.asarray(1e-15), 4)
    schedules = [
        jaxcast.regime.HarmonicSchedule(normal(1), normal(1), jnp.asarray([4.0]), abs(normal(1, 1)), abs(normal(1, 1)))
        for _ in range(3)
    ]
    noises = 1e-3 * jnp.ones(3), 1e-4 * jnp.ones(3)
    return jaxcast.RegimeForecaster(emulator, *schedules, *noises, jnp.asarray([[0.5, 0.5], [-0.5, 0.5]]), forecast_map)


@pytest.fixture(scope="module")
def candidates():
    systems = [jaxcast.Lorenz63(rho=jaxcast.Cosine(mean, -10.0, 1.6)) for mean in (28.0, 30.0)]
    return jaxcast.flow_map(jaxcast.stack_systems(systems), dt=0.1, h=0.02)


@pytest.mark.slow
def test_every_kind_can_be_saved():
    own = {name for name, cls in names_of(jaxcast.Pool).items() if cls.__module__.startswith("jaxcast.")}
    assert own | {"regime"} == {name for name in makers() if " " not in name}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in makers() if "seeds" not in name])
def test_outputs_keep_the_precision_of_pool_and_values(name):
    """With float64 switched on; without compiling anything."""
    own = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in range(sizes_of(name))]))
    narrow = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)  # noqa: E731
    pool = made(name)
    cell = narrow(
        pool
        if name == "regime"
        else jaxcast.Forecaster(pool, own if name not in ("feed_forward", "persistence") else None)
    )
    states = jnp.ones((6, 3), jnp.float32)
    outputs = jax.eval_shape(
        lambda cell, u: jaxcast.forecast(cell, u, 3, jnp.arange(8, dtype=jnp.float32)), cell, states
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype("float32")}


def sizes_of(name):
    """Of how many candidates the pool is made."""
    many = {"component_attention": 11, "regime_interpolation": 11}
    return many.get(name, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", makers())
def test_what_is_loaded_is_what_was_saved(name, candidates, tmp_path):
    pool, own = made(name), candidates
    if name == "regime":
        pool, own = dataclasses.replace(pool, forecast_map=candidates), None
    jaxcast.save_model(tmp_path, pool, own, attributes={"why": "a test", "numbers": [1, 2.5]})
    stored = jaxcast.load_model(tmp_path)
    assert jax.tree.structure(stored.pool) == jax.tree.structure(pool)
    assert jax.tree.structure(stored.forecast_map) == jax.tree.structure(candidates)
    for ours, theirs in ((stored.pool, pool), (stored.forecast_map, candidates)):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.asarray(a).dtype == np.asarray(b).dtype
    assert stored.attributes == {"why": "a test", "numbers": [1, 2.5]}
    assert {path.name for path in tmp_path.iterdir()} == {"pool.json", "arrays.npz"}


@pytest.mark.slow
def test_another_process_forecasts_the_same(candidates, trajectory, tmp_path):
    pool = made("additive_attention")
    jaxcast.save_model(tmp_path / "pool", pool, candidates)
    np.save(tmp_path / "history.npy", trajectory.states[:4])
    script = (
        "import sys, jax, numpy as np; jax.config.update('jax_enable_x64', True); import jaxcast;"
        "stored = jaxcast.load_model(sys.argv[1] + '/pool'); history = np.load(sys.argv[1] + '/history.npy');"
        "cell = jaxcast.Forecaster(stored.pool, stored.forecast_map);"
        "np.save(sys.argv[1] + '/out.npy', jaxcast.forecast(cell, history, 5, 0.1 * np.arange(8)).forecast)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    expected = jaxcast.forecast(jaxcast.Forecaster(pool, candidates), trajectory.states[:4], 5, 0.1 * np.arange(8))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected.forecast, rtol=1e-10)


@pytest.mark.slow
def test_a_regime_forecasts_the_same_to_the_bit(candidates, trajectory, tmp_path):
    for name, cell in (("with", regime(candidates)), ("without", regime())):
        jaxcast.save_model(tmp_path / name, cell)
        stored = jaxcast.load_model(tmp_path / name)
        assert type(stored.cell) is jaxcast.RegimeForecaster
        ours, theirs = (
            jaxcast.forecast(each, trajectory.states[:4], 5, 0.1 * jnp.arange(8)) for each in (stored.cell, cell)
        )
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "additive_attention",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("corrected", "corrected by a kernel", "interacting_models")
        ),
    ],
)
def test_what_is_stored_rolls_whatever_it_is(name, candidates, trajectory, tmp_path):
    pool = made(name)
    jaxcast.save_model(tmp_path, pool, candidates)
    cell = jaxcast.load_model(tmp_path).cell
    ours, theirs = (
        jaxcast.forecast(each, trajectory.states[:4], 5, 0.1 * jnp.arange(8)).forecast
        for each in (cell, jaxcast.Forecaster(pool, candidates))
    )
    assert np.isfinite(ours).all()
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corrected", "corrected by a kernel"])
def test_a_correction_of_other_sizes_is_refused(name, tmp_path, without_type_checks):
    jaxcast.save_model(tmp_path, made(name))
    config, arrays = contents(tmp_path)
    for part, other in (
        ("pool", {"class": "sum", "module": None, "arguments": {}}),
        ("pool", {"class": "lorenz63", "module": None, "arguments": {}}),
        ("features", {}),
        ("correction", {"class": "polynomial_correction", "module": None, "arguments": {"degree": 3}}),
    ):
        changed = config | {"arguments": config["arguments"] | {part: other}}
        rewrite(tmp_path, changed, arrays)
        with pytest.raises(jaxcast.InputError, match="train and save it again"):
            jaxcast.load_model(tmp_path)
    for array in [array for array in arrays if array.startswith((".features.m", ".features.h", ".correction.c"))]:
        for others in ({array: np.concatenate([arrays[array]] * 2)}, {f"{array}2": arrays[array]}):
            rewrite(tmp_path, config, arrays | others)
            with pytest.raises(jaxcast.InputError, match="train and save it again"):
                jaxcast.load_model(tmp_path)


def test_folders_of_an_earlier_format_are_refused(tmp_path):
    """They had no checksums."""
    config = {
        "format": "jaxcast pool 1",
        "pool": "fixed_weights",
        "arguments": {},
        "candidates": None,
        "attributes": {},
    }
    (tmp_path / "pool.json").write_text(json.dumps(config))
    np.savez(tmp_path / "arrays.npz", **{".weights": np.ones(2) / 2})
    with pytest.raises(jaxcast.InputError, match=r"has the format 'jaxcast pool 1'.* train and save it again"):
        jaxcast.load_model(tmp_path)


def simulator(value, given):
    return jnp.stack([value, value])


@pytest.mark.slow
@pytest.mark.parametrize("forecast_map", [simulator, jaxcast.dynamics.ExternalCandidates(simulator, 2)])
def test_a_pool_over_the_users_own_code_asks_for_it(forecast_map, tmp_path):
    jaxcast.save_model(tmp_path, made("additive_attention"), forecast_map)
    with pytest.raises(jaxcast.InputError, match=r"your own code, simulator; give them: jaxcast.load_model"):
        jaxcast.load_model(tmp_path)
    assert jaxcast.load_model(tmp_path, forecast_map).forecast_map is forecast_map


@pytest.mark.parametrize(
    "forecast_map", [simulator, lambda value: simulator(value, None), jaxcast.dynamics.ExternalCandidates(simulator, 2)]
)
def test_so_does_a_regime(forecast_map, tmp_path):
    jaxcast.save_model(tmp_path, regime(forecast_map))
    with pytest.raises(jaxcast.InputError, match=r"your own code, (simulator|<lambda>); give them: jaxcast.load_model"):
        jaxcast.load_model(tmp_path)
    stored = jaxcast.load_model(tmp_path, forecast_map)
    assert stored.cell.forecast_map(jnp.ones(3), None).shape == (2, 3)


def test_a_regime_brings_its_candidates(candidates, tmp_path):
    with pytest.raises(jaxcast.InputError, match="brings its candidates"):
        jaxcast.save_model(tmp_path / "pool", regime(candidates), candidates)
    assert not (tmp_path / "pool").exists()


@pytest.mark.slow
@pytest.mark.parametrize("of_seeds", [False, True])
def test_a_cell_is_kept_with_its_candidates(of_seeds, candidates, trajectory, tmp_path):
    init = lambda key: jaxcast.AdditiveAttention(**SIZES, key=key)  # noqa: E731
    pools = jax.vmap(init)(jax.random.split(jax.random.key(1), 3))
    cell = (
        jaxcast.pooling.SeedEnsemble(pools, candidates)
        if of_seeds
        else jaxcast.Forecaster(init(jax.random.key(1)), candidates)
    )
    jaxcast.save_model(tmp_path, cell)
    stored = jaxcast.load_model(tmp_path).cell
    assert jax.tree.structure(stored) == jax.tree.structure(cell)
    ours, theirs = (
        jaxcast.forecast(each, trajectory.states[:4], 5, 0.1 * jnp.arange(8)).forecast for each in (stored, cell)
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_regime_of_other_sizes_is_refused(candidates, tmp_path, without_type_checks):
    jaxcast.save_model(tmp_path, regime(candidates))
    config, arrays = contents(tmp_path)
    arguments = config["arguments"]
    for other in (
        {},
        {"nonsense": 5},
        {"interpolation_degree": 2},
        {"emulator": {"num_substeps": 4}},
        {
            "emulator": {
                **arguments["emulator"],
                "system": {"state_factors": [[0, 0]], "coordinate_factors": [[0], [1]]},
            }
        },
    ):
        changed = arguments | other if other else {}
        rewrite(tmp_path, config | {"arguments": changed}, arrays)
        with pytest.raises(jaxcast.InputError, match="train and save it again"):
            jaxcast.load_model(tmp_path)
    for name in arrays:
        if arrays[name].ndim:
            rewrite(tmp_path, config, arrays | {name: np.concatenate([arrays[name]] * 2)})
            with pytest.raises(jaxcast.InputError, match="train and save it again"):
                jaxcast.load_model(tmp_path)
        rewrite(tmp_path, config, {other: array for other, array in arrays.items() if other != name})
        with pytest.raises(jaxcast.InputError, match="train and save it again"):
            jaxcast.load_model(tmp_path)


def test_a_users_own_system_is_code_too(tmp_path):
    class Decay(jaxcast.System):
        components = ("x", "y", "z")
        rate: jaxcast.dynamics.Parameter = 1.0

        def vector_field(self, t, u):
            return tuple(-self.rate * x for x in u)

    candidates = jaxcast.flow_map(jaxcast.stack_systems([Decay(1.0), Decay(2.0)]))
    jaxcast.save_model(tmp_path, made("additive_attention"), candidates)
    with pytest.raises(jaxcast.InputError, match="your own code, Decay"):
        jaxcast.load_model(tmp_path)


def test_a_users_own_pool_is_refused(tmp_path):
    cell = jaxcast.pooling.HeldWeights(jaxcast.Forecaster(jaxcast.equal_weights(2)))
    with pytest.raises(jaxcast.InputError, match="cannot save a HeldWeights: its class has no name"):
        jaxcast.save_model(tmp_path / "pool", cell)
    assert not (tmp_path / "pool").exists()


def test_missing_cut_off_and_foreign_folders_are_refused(candidates, tmp_path):
    with pytest.raises(jaxcast.InputError, match="holds no saved model"):
        jaxcast.load_model(tmp_path)
    jaxcast.save_model(tmp_path, made("additive_attention"), candidates)
    for name in ("pool.json", "arrays.npz"):
        file = tmp_path / name
        content = file.read_bytes()
        for end in range(0, len(content) - 1, 101):
            file.write_bytes(content[:end])
            with pytest.raises(jaxcast.InputError, match=name) as caught:
                jaxcast.load_model(tmp_path)
            assert "\n" not in str(caught.value)
        file.write_bytes(content)
    config, _ = contents(tmp_path)
    rewrite(tmp_path, config, {"a": np.arange(3)})
    with pytest.raises(jaxcast.InputError, match=r"holds no sound additive_attention"):
        jaxcast.load_model(tmp_path)
    for foreign in ({"my": "own"}, [1], {"format": "jaxcast pool 3", "class": "sum", "arguments": {}}):
        (tmp_path / "pool.json").write_text(json.dumps(foreign))
        with pytest.raises(jaxcast.InputError, match="train and save it again"):
            jaxcast.load_model(tmp_path)


def test_other_sizes_are_refused(candidates, tmp_path):
    jaxcast.save_model(tmp_path, made("additive_attention"), candidates)
    config, arrays = contents(tmp_path)
    for arguments in (config["arguments"] | {"hidden_size": 5}, config["arguments"] | {"nonsense": 5}):
        rewrite(tmp_path, config | {"arguments": arguments}, arrays)
        with pytest.raises(jaxcast.InputError, match="train and save it again"):
            jaxcast.load_model(tmp_path)


def test_an_unwritable_place_is_refused():
    with pytest.raises(jaxcast.InputError, match="choose a folder you can write to"):
        jaxcast.save_model("/dev/null/pool", made("fixed_weights"))
