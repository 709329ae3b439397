"""Folders of pools that somebody or something has changed: refused in one line, or what they say is what is forecast."""

import dataclasses
import io
import json
import os
import shutil
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.checks import check_leads, check_number, check_texts, check_whole
from jaxcast.io.reading import parse_json
from jaxcast.training.checkpoint import load_checkpoint, save_checkpoint
from tests.saving.tampering import contents, other_arrays, other_bytes, other_json, rewrite
from tests.saving.test_pools import makers

pytestmark = pytest.mark.slow

VALUES = np.cumsum(np.random.default_rng(0).normal(size=(40, 3)), 0) + 100
LEVELS = (0.1, 0.5, 0.9)


def series():
    """Forecasters of every shape, calibrated by hand."""
    samples = jaxcast.series.series_windows(VALUES, history_size=6, leads=(1, 3))
    inputs = jaxcast.series.lag_inputs(samples, lags=(0, 2), num_components=2)
    expansion = jaxcast.series.random_fourier_features(inputs.num_features, 8, bandwidth=0.5, key=jax.random.key(0))
    inner = {
        "drift": jaxcast.series.Drift((1, 3)),
        "season": jaxcast.series.SeasonalLastValue((1, 3), 5),
        "fourier": jaxcast.series.LagRegression(
            inputs, expansion, jnp.ones((2, inputs.num_features + 8)), jnp.ones(2), True, True
        ),
        "network": jaxcast.series.GlobalNetwork(
            samples, hidden_size=2, kind="gru", levels=LEVELS, key=jax.random.key(0)
        ),
    }
    shifts = jnp.ones((2, 3, 3)) * jnp.asarray([-1.0, 0, 1])
    return {
        f"series {name}": jaxcast.series.CalibratedForecaster(
            one, shifts, levels=LEVELS, lower=0.0, usual_change=jnp.ones(3), width_power=0.5
        )
        for name, one in inner.items()
    }


def cells():
    """Forecasters of one series' own past, fitted or made by hand."""
    wave = jnp.sin(0.3 * jnp.arange(60.0))[:, None] * jnp.asarray([1.0, 2.0])
    gru = jaxcast.nn.GRU(input_size=2, hidden_size=3, key=jax.random.key(0))
    readout = {"weights": jnp.ones((5, 2)), "bias": jnp.ones(2)}
    return {
        "nvar": jaxcast.forecasters.fit_nvar(wave, num_delays=2, degree=2),
        "reservoir": jaxcast.forecasters.fit_reservoir(wave, num_nodes=8, num_discarded=5, key=jax.random.key(0)),
        "delay_kernel_ridge": jaxcast.forecasters.fit_delay_kernel_ridge(wave, lag_weights=jnp.ones(3), penalty=1e-3),
        "recurrent": jaxcast.forecasters.RecurrentForecaster(
            gru, **readout, standardizer=jaxcast.pooling.Standardizer(jnp.zeros(2), jnp.ones(2))
        ),
        "language_model": jaxcast.text.LanguageModel(num_tokens=5, hidden_size=3, num_layers=2, key=jax.random.key(0)),
        "adaptive": jaxcast.hub.AdaptivePool(),
        "quantile_average": jaxcast.hub.TrainedQuantileAverage.untrained(3),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind of model, and the models."""
    base, models = (
        tmp_path_factory.mktemp("sound"),
        {name: make() for name, make in makers().items()} | cells() | series(),
    )
    for name, model in models.items():
        jaxcast.save_model(base / name, model, attributes={"leads": [1, 3], "window": 6})
    return base, models


def refused(folder, match="train and save it again"):
    with pytest.raises(jaxcast.InputError, match=match) as caught:
        jaxcast.load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 900
    assert folder.name in message


def same(ours, theirs):
    if jax.tree.structure(ours) != jax.tree.structure(theirs):
        return False
    return all(map(np.array_equal, jax.tree.leaves(ours), jax.tree.leaves(theirs)))


def outcome(folder):
    """The model that a folder gives, or the message why it gives none."""
    try:
        return jaxcast.load_model(folder).pool
    except jaxcast.InputError as error:
        return str(error)


def test_whatever_changes_in_a_file_is_refused_or_changes_nothing(folders, tmp_path):
    """By the checksums: no model is loaded that is not the one that was saved."""
    base, models = folders
    rng, refusals = np.random.default_rng(5), 0
    for k, name in enumerate(models):
        folder = shutil.copytree(base / name, tmp_path / str(k))
        for file in ("pool.json", "arrays.npz"):
            (folder / file).write_bytes(other_bytes((base / name / file).read_bytes(), rng))
            found = outcome(folder)
            assert str(folder) in found if isinstance(found, str) else same(found, models[name])
            refusals += isinstance(found, str)
            shutil.copy(base / name / file, folder / file)
    assert refusals > len(models)


def test_settings_and_arrays_that_no_class_has_are_refused_even_with_a_fitting_checksum(folders, tmp_path):
    """Nothing but a refusal, or a model that could have been saved as it is."""
    base, models = folders
    rng, refusals = np.random.default_rng(6), 0
    for name in models:
        config, arrays = contents(base / name)
        for settings, kept in ((other_json(config, rng)[0], arrays), (config, other_arrays(arrays, rng)[0])):
            rewrite(tmp_path, settings, kept)
            found = outcome(tmp_path)
            if isinstance(found, str):
                refusals += 1
                assert tmp_path.name in found
                assert "\n" not in found
            else:
                jaxcast.save_model(tmp_path / "again", found)
                assert same(jaxcast.load_model(tmp_path / "again").pool, found)
    assert refusals > len(models)


def one_inf(array):
    return np.where(np.arange(array.size).reshape(array.shape) == array.size - 1, np.inf, array)


@pytest.mark.parametrize(
    "change",
    [one_inf, lambda a: a.astype(complex), lambda a: np.stack([a, a])],
    ids=["inf", "complex", "double"],
)
def test_every_array_of_every_kind_is_checked(folders, tmp_path, change, without_type_checks):
    """Each alone, as an eager hand could change it; a copy is not a pool of several seeds."""
    base, models = folders
    for name in models:
        config, arrays = contents(base / name)
        seeds = name not in ("persistence", "simplex_least_squares") and len(arrays) == 1
        for array in [array for array in arrays if arrays[array].dtype.kind == "f" and not seeds][:2]:
            rewrite(tmp_path, config, arrays | {array: change(arrays[array])})
            refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("series drift", ("forecaster", "arguments", "leads"), [3, 1]),
        ("series drift", ("forecaster", "arguments", "leads"), [1, 1]),
        ("series drift", ("forecaster", "arguments", "leads"), [0, 3]),
        ("series season", ("forecaster", "arguments", "period"), "x"),
        ("series season", ("forecaster", "arguments", "period"), 2.0),
        ("series fourier", ("lower",), 1e9),
        ("series drift", ("lower",), "0"),
        ("series drift", ("levels",), [0.1, 0.9, 0.5]),
        ("series drift", ("levels",), [0.1, 0.5, 1.5]),
        ("series drift", ("width_power",), True),
        ("series network", ("forecaster", "arguments", "num_regions"), 10**15),
        ("series network", ("forecaster", "arguments", "num_layers"), 10**9),
        ("series network", ("forecaster", "arguments", "dropout"), 1.0),
        ("series fourier", ("forecaster", "arguments", "inputs", "lags"), [0, -2]),
        ("series fourier", ("forecaster", "arguments", "inputs", "transform"), "cube"),
        ("series fourier", ("forecaster", "arguments", "difference"), 1),
        ("regime_interpolation", ("num_delays",), 0),
        ("simplex_least_squares", ("num_delays",), 10**30),
        ("simplex_least_squares", ("num_delays",), True),
        ("additive_attention", ("hidden_size",), 10**15),
        ("corrected", ("correction", "arguments", "degree"), 10**9),
        ("regime", ("emulator", "num_substeps"), 10**9),
        ("regime", ("interpolation_degree",), 10**9),
        ("nvar", ("degree",), 10**9),
        ("nvar", ("skip",), -1),
        ("reservoir", ("squared",), "yes"),
        ("adaptive", ("rates",), [2.0, 0.9, 0.9]),
        ("adaptive", ("clip",), -1.0),
        ("quantile_average", ("clip",), "x"),
        ("recurrent", ("of_layers", "hidden_size"), 10**12),
    ],
)
def test_settings_that_train_refuses_are_refused(folders, tmp_path, name, setting, value, without_type_checks):
    config, arrays = contents(folders[0] / name)
    inner = config["arguments"]
    for part in setting[:-1]:
        inner = inner[part]
    inner[setting[-1]] = value
    rewrite(tmp_path, config, arrays)
    refused(tmp_path)


def test_numbers_out_of_range_are_refused(folders, tmp_path, without_type_checks):
    base, _ = folders
    for name, array, value in (
        ("fixed_share", ".share", 1.5),
        ("fixed_share", ".scale", np.asarray([1.0, 0, 1])),
        ("interacting_models", ".transition", np.asarray([[0.5, 0.6], [0.5, 0.5]])),
        ("interacting_models", ".prior", np.asarray([1.5, -0.5])),
        ("interacting_models", ".covariances", -np.stack([np.eye(3)] * 2)),
        ("regime_interpolation", ".scale", np.asarray([1.0, -1, 1])),
        ("regime_interpolation", ".directions", np.zeros((11, 1))),
        ("corrected", ".features.half", np.zeros(3)),
        ("corrected by a kernel", ".correction.length", np.asarray(0.0)),
        ("reservoir", ".network.sources", np.full((8, 6), 8)),
        ("reservoir", ".leak", np.asarray(2.0)),
        ("nvar", ".standardizer.std", np.asarray([1.0, 0.0])),
        ("delay_kernel_ridge", ".bandwidth", np.asarray(-1.0)),
        ("series fourier", ".forecaster.inputs.std", np.zeros(3)),
        ("series drift", ".covariates_std", np.asarray(0.0)),
        ("regime", ".emulator.dt", np.asarray(0.0)),
        ("regime", ".value_noise", -np.ones(3)),
    ):
        config, arrays = contents(base / name)
        assert array in arrays, (name, list(arrays))
        rewrite(tmp_path, config, arrays | {array: value})
        refused(tmp_path)


def test_the_two_files_belong_together(folders, tmp_path):
    """Of two sound folders of one kind, each with its own checksum, one's arrays are not taken for the other's."""
    for part, rho in (("one", 0.25), ("two", 0.75)):
        jaxcast.save_model(tmp_path / part, jaxcast.pooling.FixedWeights(jnp.asarray([rho, 1 - rho])))
    shutil.copy(tmp_path / "two/arrays.npz", tmp_path / "one/arrays.npz")
    with pytest.raises(jaxcast.InputError, match=r"one/arrays.npz does not belong to the pool.json beside it"):
        jaxcast.load_model(tmp_path / "one")


def npz(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)


def npy(array, shape=None):
    """The bytes of an .npy, perhaps with a header that promises another shape."""
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array) | ({"shape": shape} if shape else {})
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def test_archives_that_ask_for_memory_or_run_code_are_refused(folders, tmp_path):
    shutil.copytree(folders[0] / "fixed_weights", tmp_path, dirs_exist_ok=True)
    file, weights = tmp_path / "arrays.npz", np.ones(2)
    pickled = io.BytesIO()
    np.save(pickled, np.asarray([print], object), allow_pickle=True)
    for members, compression in (
        ([(".weights.npy", npy(weights, (10**15,)))], zipfile.ZIP_STORED),
        ([(".weights.npy", npy(weights, (-1,)))], zipfile.ZIP_STORED),
        ([(".weights.npy", npy(np.zeros(10**6)))], zipfile.ZIP_DEFLATED),
        ([(".weights.npy", pickled.getvalue())], zipfile.ZIP_STORED),
        ([(".weights", npy(weights))], zipfile.ZIP_STORED),
        ([], zipfile.ZIP_STORED),
    ):
        npz(file, members, compression)
        refused(tmp_path, "missing, cut off or not written by jaxcast")
    file.unlink()
    for make in (lambda: os.mkfifo(file), lambda: file.mkdir(), lambda: file.symlink_to(tmp_path / "none")):
        make()
        refused(tmp_path, "missing, cut off or not written by jaxcast")
        file.rmdir() if file.is_dir() else file.unlink()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 15000, "nested too deeply"),
        ("[" * 60 + "]" * 60, "nested too deeply"),
        ('{"a": {"b": NaN}}', "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("1e400", "beyond the range"),
        ('{"a": 1, "a": 2}', "a name twice"),
        ("9" * 5000, "digits"),
        ('"\\ud800"', "surrogates"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_not_ours_is_refused(text, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)
    (tmp_path / "pool.json").write_text(text)
    refused(tmp_path)


def test_what_is_not_json_is_no_attribute(tmp_path):
    for attributes in ({"a": float("nan")}, {"a": {1, 2}}, {"a": "\ud800"}):
        with pytest.raises(jaxcast.InputError, match="attributes must be JSON values"):
            jaxcast.save_model(tmp_path / "pool", jaxcast.equal_weights(2), attributes=attributes)
    assert not (tmp_path / "pool").exists()


def test_what_would_not_be_loaded_is_not_saved(tmp_path, without_type_checks):
    lasting = series()["series drift"]
    for pool, reason in (
        (jaxcast.pooling.FixedWeights(jnp.asarray([0.5, jnp.nan])), r"\.weights must be finite, got 1 of 2"),
        (jaxcast.pooling.LinearRegression(jnp.ones((3, 2, 3)), jnp.ones(2)), "bias must be"),
        (dataclasses.replace(lasting, shifts=lasting.shifts[:1]), "2 leads"),
        (dataclasses.replace(lasting, forecaster=jaxcast.series.HistoryMean((1, 2, 3))), "3 leads"),
    ):
        with pytest.raises(jaxcast.InputError, match=reason):
            jaxcast.save_model(tmp_path / "pool", pool)
    assert not (tmp_path / "pool").exists()


def test_settings_are_checked_where_a_model_is_made(without_type_checks):
    for make, reason in (
        (lambda: jaxcast.series.LastValue((3, 1)), "leads must rise"),
        (lambda: jaxcast.series.Drift((0, 1)), "every lead must be at least 1"),
        (lambda: jaxcast.series.SeasonalLastValue((1,), 0), "period must be at least 1"),
        (lambda: jaxcast.series.PolynomialFeatures(0), "degree must be at least 1"),
        (lambda: jaxcast.hub.AdaptivePool(clip=-1.0), "clip must be"),
        (lambda: jaxcast.pooling.SimplexLeastSquares(2.5), "must be a whole number, got 2.5"),
        (lambda: jaxcast.series.CalibratedForecaster(None, None, levels=(0.9, 0.1)), "levels must increase"),
        (lambda: jaxcast.series.CalibratedForecaster(None, None, lower=float("nan")), "lower must be a finite number"),
    ):
        with pytest.raises(jaxcast.InputError, match=reason):
            make()


def test_checks_of_settings():
    for check, value in (
        (check_whole, True), (check_whole, 1.0), (check_whole, 0), (check_whole, 2**31), (check_whole, "1"),
        (check_number, True), (check_number, "1"), (check_number, float("inf")), (check_number, None),
        (check_texts, ["a", "a"]), (check_texts, ["a", ""]), (check_texts, "ab"), (check_texts, [1]),
    ):  # fmt: skip
        with pytest.raises(jaxcast.InputError, match="it must"):
            check("it", value)
    for leads in ((), (1, 1), (2, 1), (True,), (1.0,), "12", None):
        with pytest.raises(jaxcast.InputError, match="lead"):
            check_leads(leads)
    check_whole("it", np.int64(3), most=3)
    check_number("it", np.float32(0.5), above=0, most=0.5)
    check_texts("it", ("a", "b"))
    check_leads((1, 2, 30))


def test_candidates_that_no_pool_was_trained_over_are_refused(tmp_path):
    candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
    jaxcast.save_model(tmp_path, jaxcast.equal_weights(2), candidates)
    config, arrays = contents(tmp_path)
    for change in (
        {"dt": 0.0}, {"dt": "0.01"}, {"h": -1.0}, {"dt": 1e9}, {"h": 3e-3}, {"systems": []}, {"systems": "lorenz63()"},
        {"systems": ["lorenz63(rho=1e999)"]}, {"systems": ["lorenz63()", "rossler()"]}, {"systems": ["(" * 5000]},
        {"more": 1}, {"callable": "f"},
    ):  # fmt: skip
        rewrite(tmp_path, config | {"candidates": config["candidates"] | change}, arrays)
        refused(tmp_path)
    assert json.loads((tmp_path / "pool.json").read_text())["format"] == "jaxcast pool 3"


def test_notes_of_trajectories_that_are_hostile_are_no_notes(tmp_path):
    """The numbers are whole; what stands beside them is that of another program."""
    wave = jaxcast.Trajectory(0.5 * np.arange(9.0), np.arange(18.0).reshape(9, 2))
    jaxcast.save_trajectory(tmp_path / "sound.npz", wave)
    jaxcast.save_trajectory(tmp_path / "sound.csv", wave)
    arrays, lines = dict(np.load(tmp_path / "sound.npz")), (tmp_path / "sound.csv").read_text().splitlines()
    for notes in ("[" * 15000, '{"a": NaN}', '{"a": 1, "a": 2}'):
        np.savez(tmp_path / "deep.npz", **arrays | {"attributes": np.asarray(notes)})
        (tmp_path / "deep.csv").write_text("\n".join([f"# {notes}", *lines[1:], ""]))
        for name in ("deep.npz", "deep.csv"):
            stored = jaxcast.load_trajectory(tmp_path / name)
            assert stored.attributes == {}
            np.testing.assert_array_equal(stored.trajectory.states, wave.states)
    npz(tmp_path / "vast.npz", [("times.npy", npy(wave.times)), ("states.npy", npy(wave.states, (10**15, 2)))])
    with pytest.raises(jaxcast.InputError, match=r"is not a whole \.npz archive"):
        jaxcast.load_trajectory(tmp_path / "vast.npz")


def test_a_checkpoint_or_a_stage_that_was_changed_is_refused(tmp_path):
    tree = {"weights": jnp.arange(3.0), "count": jnp.asarray(2)}
    save_checkpoint(tmp_path / "c", {"data": "a"}, 4, tree)
    done, kept = load_checkpoint(tmp_path / "c", {"data": "a"}, tree)
    assert done == 4
    np.testing.assert_array_equal(kept["weights"], tree["weights"])
    arrays = dict(np.load(tmp_path / "c"))
    with (tmp_path / "c").open("wb") as file:
        np.savez(file, **arrays | {"['weights']": np.asarray([0.0, 1.0, 3.0])})
    with pytest.raises(jaxcast.InputError, match="was changed after it was written"):
        load_checkpoint(tmp_path / "c", {"data": "a"}, tree)
    save_checkpoint(tmp_path / "c", {"data": "a"}, -1, tree)
    with pytest.raises(jaxcast.InputError, match="another model or optimizer"):
        load_checkpoint(tmp_path / "c", {"data": "a"}, tree)
    save_checkpoint(tmp_path / "c", {"data": "a"}, 4, tree | {"count": jnp.asarray(2.0)})
    with pytest.raises(jaxcast.InputError, match="another model or optimizer"):
        load_checkpoint(tmp_path / "c", {"data": "a"}, tree)
