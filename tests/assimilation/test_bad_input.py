"""What no filter can use: one clear error each, and nothing under tracing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import assimilation as da
from tests.assimilation.linear import step

KEY = jax.random.key(0)
ENSEMBLE = np.random.default_rng(3).normal(size=(6, 3))
RING = da.localise_ring(4, radius=1.0)


def kalman(**changes):
    return da.EnsembleKalmanFilter(step, **dict(observation_noise=1.0, key=KEY, num_members=6) | changes)


def particles(**changes):
    return da.ParticleFilter(step, **dict(observation_noise=1.0, key=KEY, num_members=6) | changes)


def smoother(**changes):
    return da.IterativeEnsembleSmoother(step, **dict(observation_noise=1.0, key=KEY, num_members=6) | changes)


def variational(**changes):
    settings = dict(observation_noise=1.0, background=np.zeros(3), background_covariance=np.eye(3))
    return da.VariationalFilter(step, **settings | changes)


def harmonic(**changes):
    settings = dict(low=1.0, high=2.0, amplitude=1.0, shortest=5.0, longest=10.0)
    return da.HarmonicParameter(**settings | changes)


@pytest.mark.parametrize("made", [kalman, particles, smoother, variational])
@pytest.mark.parametrize("noise", [-1.0, 0.0, float("nan"), np.asarray([1.0, 0.0, 1.0])])
def test_observation_noise_must_be_positive(made, noise):
    with pytest.raises(jaxcast.InputError, match="observation_noise must be a finite number and above 0"):
        made(observation_noise=noise)


@pytest.mark.parametrize("made", [kalman, particles, smoother, variational])
def test_noise_must_fit_the_values(made):
    cell = made(observation_noise=np.ones(2))
    with pytest.raises(jaxcast.InputError, match=r"observation_noise must be a number or \(3,\), got shape \(2,\)"):
        jaxcast.open_loop(cell, jnp.ones((3, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kalman(model_noise=-0.1), "model_noise must be a finite number and at least 0, got -0.1"),
        (lambda: kalman(analysis=3), "expected an analysis, got int|analysis of EnsembleKalmanFilter"),
        (lambda: da.EnsembleTransform(inflation=-1.0), "inflation must be a finite number and at least 1, got -1.0"),
        (lambda: da.EnsembleTransform(inflation=float("nan")), "inflation must be a finite number"),
        (lambda: da.EnsembleTransform(certainty=0.0), "certainty must be a finite number and above 0"),
        (lambda: da.LocalEnsembleTransform(RING, inflation=0.5), "inflation must be"),
        (lambda: da.PerturbedObservations(inflation=0.5), "inflation must be"),
        (lambda: particles(resampling_share=5.0), "resampling_share must be a finite number and at least 0 and at most"),
        (lambda: particles(jitter=-1.0), "jitter must be a finite number and at least 0"),
        (lambda: smoother(inflation=0.5), "inflation must be"),
        (lambda: variational(inflation=0.5), "inflation must be"),
        (lambda: variational(background_covariance=-np.eye(3)), "symmetric, with positive eigenvalues"),
        (lambda: variational(background_covariance=np.full((3, 3), np.nan)), "background_covariance must be a finite"),
        (lambda: variational(analysis_covariance=np.eye(2)), r"analysis_covariance must be \(3, 3\), got shape \(2, 2\)"),
        (lambda: variational(background=np.full(3, np.nan)), "background must be a finite number, got nan"),
        (lambda: da.RandomWalk(2.0, 1.0, 0.1), "low must be at most high, got 2.0 and 1.0"),
        (lambda: da.RandomWalk(1.0, 2.0, -0.1), "deviation must be a finite number and at least 0"),
        (lambda: da.ConstantParameter(float("nan"), 1.0), "low must be a finite number"),
        (lambda: harmonic(shortest=0.0), "shortest must be a finite number and above 0"),
        (lambda: harmonic(longest=4.0), "shortest must be at most longest"),
        (lambda: harmonic(least_amplitude=2.0), "least_amplitude must be at most amplitude"),
        (lambda: da.ObservedComponents((0, -1)), "number of an observed component must be at least 0, got -1"),
        (lambda: da.ObservedComponents((5,))(jnp.ones(3)), r"\(5,\) are numbered from 0, got a state of 3"),
        (lambda: da.ObservationMatrix(np.ones((1, 2)))(jnp.ones(3)), r"expected an observation matrix \(observation, 3\)"),
        (lambda: da.ObservationMatrix(np.full((1, 2), np.nan)), "matrix must be a finite number"),
        (lambda: da.gaspari_cohn([-9.0], radius=1.0), "distances must be a finite number and at least 0, got -9"),
        (lambda: da.localise(np.ones((2, 1)), np.ones((1, 1)), radius=1.0, period=0.0), "period must be .* above 0"),
        (lambda: da.localise_ring(4, radius=1.0, observed=[9]), "an observed site must be at most 3, got 9"),
        (lambda: da.localise_ring(0, radius=1.0), "num_sites must be at least 1"),
        (lambda: da.Localisation(-np.ones((2, 1)), np.ones((1, 1))), "to_components must be .* at least 0"),
        (lambda: RING.of_members(3, 4, float), r"state of at most 3, got \(4, 4\)"),
        (lambda: RING.of_members(5, 3, float), "expected tapers of 3 observations"),
    ],
)  # fmt: skip
def test_what_a_setting_cannot_be_is_refused(make, message):
    with pytest.raises(jaxcast.InputError, match=message):
        make()


def test_an_assimilated_cell_has_two_cells(without_type_checks):
    with pytest.raises(jaxcast.InputError, match="expected two cells, a filter and a forecaster, got int"):
        da.AssimilatedCell(3, 4)


@pytest.mark.slow
def test_traced_settings_pass():
    """As under a gradient by the noise, where numbers are unknown."""

    def error(noise):
        cell = kalman(
            observation_noise=noise, analysis=da.EnsembleTransform(inflation=noise),
            parameters=(), model_noise=noise, initial_ensemble=ENSEMBLE,
        )  # fmt: skip
        return jaxcast.open_loop(cell, jnp.ones((3, 3))).forecast.sum()

    assert np.isfinite(jax.grad(error)(0.7))


@pytest.mark.slow
def test_a_particle_that_leaves_the_range_of_the_model_has_no_weight():
    """The others go on as a filter without it, and members that were lost come back at a resampling."""

    def model(u):
        return jnp.where(u > 1.5, jnp.nan, 0.9 * u)

    ensemble = np.linspace(-1.0, 2.0, 20)[:, None]
    cell = da.ParticleFilter(model, 1.0, KEY, num_members=20, initial_ensemble=ensemble, resampling_share=0.2)
    values = np.asarray([[1.0], [0.5], [0.4], [np.nan], [0.2], [0.1]])
    outputs = jaxcast.open_loop(cell, jnp.asarray(values))
    alive = ensemble[ensemble[:, 0] <= 1.5, 0]
    logs, forecasts = np.zeros(len(alive)), []
    for n, value in enumerate(values[:, 0]):
        logs = logs if np.isnan(value) else logs - (value - 0.9**n * alive) ** 2 / 2
        shares = np.exp(logs) / np.exp(logs).sum()
        forecasts.append(shares @ (0.9 ** (n + 1) * alive))
    np.testing.assert_allclose(outputs.forecast[:, 0], forecasts, rtol=1e-5)
    lost = jnp.asarray([[np.nan], [1.0], [2.0]])
    settings = dict(num_members=3, resampling_share=1.0, jitter=0.0)
    found = da.ParticleFilter(model, 1.0, KEY, **settings).analyse(lost, jnp.zeros(3), lost, jnp.asarray([1.9]), KEY)
    assert np.isin(found[0], [1.0, 2.0]).all()
    np.testing.assert_array_equal(found[1], np.zeros(3))
