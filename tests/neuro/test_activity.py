import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.signal

import jaxcast
from jaxcast import neuro
from jaxcast.neuro.activity.filters import HaemodynamicModel
from tests.real_data import real_data

NUM_SCANS = 40


@pytest.fixture(scope="module")
def data():
    """Three series, two of one region."""
    return neuro.simulate_activity(np.asarray([0, 0, 1]), num_scans=NUM_SCANS, snr=6.0, key=jax.random.key(2))


@pytest.fixture(scope="module")
def found(data):
    return neuro.total_activation(
        data.series, repetition_time=1.0, noise_level=data.noise_level, tolerance=1e-9, max_iterations=20_000
    )


@pytest.mark.parametrize(
    ("model", "activity", "numerator", "denominator", "gain"),
    [
        (
            "balloon",
            "block",
            [1, -2.639165427154841, 2.678459114317751, -1.271489046879362, 0.240744669196138, -0.008549309479686],
            [1, -6.80326819034631e-06],
            61.439213877334566,
        ),
        (
            "balloon",
            "spike",
            [1, -1.639165427154841, 1.039293687162910, -0.232195359716452, 0.008549309479686],
            [1, -6.80326819034631e-06],
            15.359839612498687,
        ),
        (
            "spm",
            "block",
            [1, -3.743302542144524, 5.602622595496687, -4.208280624690792, 1.593250384416538, -0.244289813077911],
            [1, -0.874939970605710],
            76.43137631298086,
        ),
        (
            "spm",
            "spike",
            [1, -2.743302542144524, 2.859320053352163, -1.348960571338628, 0.244289813077911],
            [1, -0.874939970605710],
            19.10788904092744,
        ),
    ],
)
def test_filters_have_the_digits_of_the_original(model, activity, numerator, denominator, gain):
    made = neuro.haemodynamic_filter(model, repetition_time=1.0, activity=activity)
    np.testing.assert_allclose(made.numerator, numerator, rtol=1e-12)
    np.testing.assert_allclose(made.denominator, denominator, rtol=1e-12)
    assert made.largest_squared_gain == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("repetition_time", [0.7, 2.0])
def test_filters_at_other_repetition_times_are_those_of_scipy(repetition_time):
    made = neuro.haemodynamic_filter("spm", repetition_time=repetition_time)
    roots = [1.0, *np.exp(neuro.spm_model().poles * repetition_time)]
    numerator, denominator = np.poly(roots).real, np.poly(np.exp(neuro.spm_model().zeros.real * repetition_time))
    values = np.random.default_rng(0).normal(size=NUM_SCANS)
    np.testing.assert_allclose(
        made.matrix(NUM_SCANS) @ values, scipy.signal.lfilter(numerator, denominator, values), rtol=1e-10, atol=1e-10
    )


def test_a_response_is_undone_by_its_filter_even_backward_in_time():
    growing = HaemodynamicModel(np.asarray([-0.3 + 0j, -0.5]), np.asarray([0.4 + 0j]))
    for model in ("balloon", "spm", growing):
        response = neuro.haemodynamic_response(model, repetition_time=1.0, num_scans=30)
        spikes = neuro.haemodynamic_filter(model, repetition_time=1.0, activity="spike").matrix(30)
        np.testing.assert_allclose((spikes @ response)[:28], np.eye(30)[0, :28], atol=1e-6)
    assert np.abs(neuro.haemodynamic_filter(growing, repetition_time=1.0).matrix(30)).max() < 10


def test_the_noise_level_is_that_of_mirrored_wavelet_coefficients():
    series = np.random.default_rng(0).normal(size=(31, 2))
    kernel = [0.035226291882100656, -0.08544127388224149, -0.13501102001039084]
    kernel = np.asarray([*kernel, 0.4598775021193313, 0.8068915093133388, 0.3326705529509569])
    kernel = kernel[::-1] * (-1) ** np.arange(1, 7)  # the quadrature mirror of the low-pass filter
    for n in range(2):
        padded = np.pad(series[:, n], 5, mode="symmetric")
        coefficients = np.convolve(padded, kernel, mode="valid")[1::2]
        expected = np.median(np.abs(coefficients - np.median(coefficients))) / 0.8095
        assert neuro.wavelet_noise_level(series)[n] == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_the_residual_has_the_level_of_the_noise(data, found):
    np.testing.assert_allclose(found.residual_level, data.noise_level, rtol=1e-9)
    np.testing.assert_allclose(found.residual_level, (data.series - found.signal).std(0), rtol=0.1)


@pytest.mark.slow
def test_no_other_signal_costs_less(data, found):
    matrix = neuro.haemodynamic_filter(repetition_time=1.0).matrix(NUM_SCANS)

    def objective(signal, n):
        difference = data.series[:, n] - signal
        return 0.5 * difference @ difference + found.penalty[n] * np.abs(matrix @ signal).sum()

    # The subgradient: lambda A' z leaves the residual, with z the signs of the innovations.
    for n in range(3):
        z = np.linalg.solve(matrix.T, np.asarray(data.series - found.signal)[:, n] / found.penalty[n])
        assert np.abs(z).max() <= 1 + 1e-6
        jumps = np.abs(found.innovations[:, n]) > 1e-3
        np.testing.assert_allclose(z[jumps], np.sign(found.innovations[jumps, n]), atol=1e-2)
        for shift in np.random.default_rng(n).normal(size=(5, NUM_SCANS)) / 100:
            assert objective(found.signal[:, n] + shift, n) > objective(found.signal[:, n], n)
    assert found.gap.max() <= 1e-9


@pytest.mark.slow
def test_the_activity_is_the_signal_through_the_filter_for_spikes(found):
    spikes = neuro.haemodynamic_filter(repetition_time=1.0, activity="spike").matrix(NUM_SCANS)
    np.testing.assert_allclose(found.activity, spikes @ found.signal, atol=1e-12)
    np.testing.assert_allclose(found.innovations[1:], np.diff(found.activity, axis=0), atol=1e-12)


@pytest.mark.slow
def test_voxels_know_nothing_of_each_other_and_of_their_axes(data):
    settings = dict(repetition_time=1.0, max_iterations=200)
    many = jnp.tile(data.series, (1, 30))  # more than one block
    together = neuro.total_activation(many, noise_level=jnp.tile(data.noise_level, 30), **settings)
    for n in range(3):
        alone = neuro.total_activation(data.series[:, n], noise_level=data.noise_level[n], **settings)
        np.testing.assert_allclose(together.signal[:, 84 + n], alone.signal, atol=1e-10)
        assert together.num_iterations[84 + n] == alone.num_iterations
    assert alone.penalty.shape == ()


@pytest.mark.slow
def test_a_penalty_of_ones_own_stays(data):
    fixed = neuro.total_activation(data.series, repetition_time=1.0, penalty=0.3, max_iterations=50)
    np.testing.assert_allclose(fixed.penalty, 0.3)


def test_noise_alone_is_no_activity(data):
    found = neuro.total_activation(data.series, repetition_time=1.0, noise_level=1e3, max_iterations=50)
    assert not np.asarray(found.activity).any()
    assert np.isinf(found.penalty).all()


def test_wiener_leaves_over_the_noise(data):
    activity = np.asarray(neuro.wiener_activity(data.series, repetition_time=1.0, noise_level=data.noise_level))
    response = neuro.haemodynamic_response(repetition_time=1.0, num_scans=NUM_SCANS)
    system = scipy.linalg.toeplitz(response, np.zeros(NUM_SCANS))
    residual = np.asarray(data.series) - system @ activity
    np.testing.assert_allclose(np.sqrt(np.mean(residual**2, 0)), data.noise_level, rtol=1e-6)
    # The gradient of ridge regression vanishes: H' r is a multiple of u.
    slopes = system.T @ residual
    np.testing.assert_allclose(slopes / activity, np.broadcast_to((slopes / activity)[0], slopes.shape), rtol=1e-4)


@pytest.mark.slow
def test_simulated_signals_have_their_ratio_to_the_noise():
    data = neuro.simulate_activity(np.arange(4), num_scans=300, snr=6.0, key=jax.random.key(0))
    ratio = 20 * np.log10(np.asarray(data.signal).std(0) / np.asarray(data.series - data.signal).std(0))
    np.testing.assert_allclose(ratio, 6, atol=0.8)
    spikes = neuro.haemodynamic_filter(repetition_time=1.0, activity="spike").matrix(300)
    np.testing.assert_allclose(spikes @ data.signal, data.activity, atol=1e-9)
    for activity in np.asarray(data.activity).T:
        edges = np.flatnonzero(np.diff(np.r_[0, activity, 0]))
        lengths = np.diff(edges)[::2][:-1]
        rests = np.diff(edges)[1::2]
        assert lengths.min() >= 5
        assert lengths.max() <= 25
        assert rests.min() >= 10
        assert rests.max() <= 30
        heights = np.abs(activity[activity != 0])
        assert 0.5 <= heights.min() <= heights.max() <= 1.5


def test_the_stored_output_of_the_original():
    arrays = np.load(real_data("total_activation") / "phantom_10x10x10.npz")
    series, theirs = (arrays[name][:, ::100].astype(float) for name in ("bold", "matlab_block_temporal"))
    found = neuro.total_activation(series, repetition_time=1.0, restarts=False, tolerance=0.0, max_iterations=2500)
    assert np.sqrt(np.mean((found.signal - theirs) ** 2, 0)).max() < 3e-4
    np.testing.assert_allclose(found.noise_level, np.sqrt(np.mean((series - theirs) ** 2, 0)), rtol=2e-4)


@pytest.mark.parametrize(
    ("series", "settings", "message"),
    [
        (np.ones((8, 2)), {}, "at least 12 scans, got shape"),
        (np.ones((40, 2)), {}, "2 constant voxels of 2"),
        (np.full((40, 2), np.nan), {}, "NaN or infinity in 2 voxels of 2"),
        (np.random.default_rng(0).normal([0.0, 800], size=(40, 2)), {}, "mean removed, .* first in voxel 1"),
        (None, dict(repetition_time=0.0), "repetition_time must be"),
        (None, dict(noise_level=-1.0), "noise levels must be positive"),
        (None, dict(noise_level=np.ones(5)), "one noise level or one for each voxel"),
        (None, dict(penalty=0.0), "penalty must be positive"),
        (None, dict(temporal=False), "got neither"),
        (None, dict(model="bold"), "model must be one of balloon, spm"),
        (None, dict(spatial=neuro.Tikhonov(neuro.grid_graph(np.ones((2, 2))))), "is for 4 voxels"),
    ],
)
def test_what_cannot_be_deconvolved_is_refused(series, settings, message):
    series = np.random.default_rng(0).normal(size=(40, 2)) if series is None else series
    with pytest.raises(jaxcast.InputError, match=message):
        neuro.total_activation(series, **(dict(repetition_time=1.0) | settings))


@pytest.mark.parametrize(
    ("poles", "zeros"), [([0.3], [-0.1]), ([-0.3 + 0.1j], [-0.1]), ([-0.3], [0.0]), ([-np.inf], [-0.1])]
)
def test_other_poles_and_zeros_are_refused(poles, zeros):
    model = HaemodynamicModel(np.asarray(poles, complex), np.asarray(zeros, complex))
    with pytest.raises(jaxcast.InputError, match=r"poles|zeros"):
        neuro.haemodynamic_filter(model, repetition_time=1.0)


@pytest.mark.slow
def test_single_precision_stays_and_agrees(data):
    settings = dict(repetition_time=1.0, max_iterations=200)
    single = neuro.total_activation(data.series.astype(jnp.float32), **settings)
    double = neuro.total_activation(data.series, **settings)
    assert single.signal.dtype == jnp.float32
    np.testing.assert_allclose(single.signal, double.signal, atol=1e-3)
