import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import neuro


@pytest.fixture(scope="module")
def atlas():
    """Two regions of a small volume with a hole."""
    labels = np.ones((3, 4, 2), int)
    labels[:, 2:] = 2
    labels[0, 0, 0] = 0
    return labels


@pytest.fixture(scope="module")
def signal(atlas):
    return np.random.default_rng(0).normal(size=(int((atlas != 0).sum()), 5))


def laplacian_of(atlas, *, periodic, across_regions):
    """The matrix, edge by edge."""
    places = [tuple(place) for place in np.argwhere(atlas != 0)]
    numbers = {place: n for n, place in enumerate(places)}
    matrix = np.zeros((len(places), len(places)))
    for place, n in numbers.items():
        for axis in range(atlas.ndim):
            for step in (-1, 1):
                other = list(place)
                other[axis] += step
                if periodic:
                    other[axis] %= atlas.shape[axis]
                m = numbers.get(tuple(other))
                if m is not None and m != n and (across_regions or atlas[place] == atlas[tuple(other)]):
                    matrix[n, m] += 1
                    matrix[n, n] -= 1
    return matrix


@pytest.mark.slow
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("across_regions", [False, True])
def test_the_laplacian_is_that_of_the_grid(atlas, signal, periodic, across_regions):
    graph = neuro.grid_graph(atlas, periodic=periodic, across_regions=across_regions)
    matrix = laplacian_of(atlas, periodic=periodic, across_regions=across_regions)
    np.testing.assert_allclose(graph.laplacian(signal), matrix @ signal, atol=1e-12)
    assert np.abs(np.linalg.eigvalsh(matrix)).max() <= graph.bound


def test_a_whole_periodic_volume_is_that_of_the_fourier_transform():
    values = np.random.default_rng(0).normal(size=(4, 3, 5))
    kernel = np.zeros((4, 3, 5))
    kernel[0, 0, 0] = -6
    for axis in range(3):
        for step in (-1, 1):
            kernel[tuple(step if a == axis else 0 for a in range(3))] += 1
    expected = np.fft.ifftn(np.fft.fftn(kernel) * np.fft.fftn(values)).real
    graph = neuro.grid_graph(np.ones((4, 3, 5)), periodic=True)
    np.testing.assert_allclose(graph.laplacian(values.reshape(-1, 1))[:, 0], expected.reshape(-1), atol=1e-12)
    assert float(graph.bound) ** 2 == 144  # the largest squared gain of the original


@pytest.mark.slow
def test_a_graph_of_regions_has_its_laplacian(signal):
    random = np.random.default_rng(1)
    weights = np.triu(random.random((6, 6)) * (random.random((6, 6)) < 0.5), 1)
    weights += weights.T
    graph = neuro.region_graph(weights, modules=np.asarray([4, 4, 7, 7, 7, 4]))
    matrix = weights - np.diag(weights.sum(1))
    np.testing.assert_allclose(graph.laplacian(signal[:6]), matrix @ signal[:6], atol=1e-12)
    sums = np.stack([signal[[0, 1, 5]].sum(0), signal[2:5].sum(0)])
    np.testing.assert_allclose(graph.sums_by_region(signal[:6]), sums, atol=1e-12)


@pytest.mark.slow
def test_tikhonov_solves_its_system(atlas, signal):
    term = neuro.Tikhonov(neuro.grid_graph(atlas), penalty=3.0)
    matrix = laplacian_of(atlas, periodic=False, across_regions=False)
    expected = np.linalg.solve(np.eye(len(matrix)) + 2 * 3.0 * matrix.T @ matrix, signal)
    found, _ = term.prox(jnp.asarray(signal), jnp.ones(len(signal)), 2, term.start(jnp.asarray(signal)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_structured_sparsity_is_optimal(atlas, signal):
    term = neuro.StructuredSparsity(neuro.grid_graph(atlas), penalty=0.3, num_iterations=3000)
    level = np.linspace(0.5, 1.5, len(signal))
    found, dual = term.prox(jnp.asarray(signal), jnp.asarray(level), 1, term.start(jnp.asarray(signal)))
    matrix = laplacian_of(atlas, periodic=False, across_regions=False)
    np.testing.assert_allclose(found, signal - matrix.T @ dual, atol=1e-10)
    labels = atlas[atlas != 0]
    for region in (1, 2):
        own = labels == region
        radius = 0.3 * np.sqrt(np.sum(level[own] ** 2))
        norms = np.linalg.norm(np.asarray(dual)[own], axis=0)
        rough = (matrix @ np.asarray(found))[own]
        sizes = np.linalg.norm(rough, axis=0)
        assert norms.max() <= radius * (1 + 1e-9)
        # Where the norm is not zero, the dual is on the ball, along the Laplacian.
        np.testing.assert_allclose((np.asarray(dual)[own] * rough).sum(0), radius * sizes, atol=1e-6)


@pytest.mark.slow
def test_both_terms_find_the_least_of_their_sum():
    atlas = np.ones((2, 3), int)
    graph = neuro.grid_graph(atlas)
    data = neuro.simulate_activity(np.zeros(6, int), num_scans=30, snr=0.0, key=jax.random.key(1))
    term = neuro.Tikhonov(graph, penalty=2.0)
    found = neuro.total_activation(
        data.series,
        repetition_time=1.0,
        penalty=0.4,
        spatial=term,
        tolerance=1e-9,
        max_iterations=500,
        num_outer_iterations=1000,
        outer_tolerance=1e-9,
    )
    matrix = neuro.haemodynamic_filter(repetition_time=1.0).matrix(30)
    laplacian = laplacian_of(atlas, periodic=False, across_regions=False)

    series, signal = np.asarray(data.series, float), np.asarray(found.signal, float)
    quadratic = np.eye(6) + 2 * laplacian.T @ laplacian

    def objective(signal):
        smooth = np.square(signal @ laplacian.T).sum()
        return 0.5 * np.square(series - signal).sum() + 0.4 * np.abs(matrix @ signal).sum() + smooth

    # Any z with |z| <= 0.4 bounds the least value from below:
    # min_x 1/2 |y - x|^2 + |Lap x|^2 + <z, A x>, which a linear system solves.
    dual = np.clip(np.linalg.solve(matrix.T, series - signal @ quadratic), -0.4, 0.4)
    left_over = series - matrix.T @ dual
    bound = 0.5 * np.square(series).sum() - 0.5 * (left_over * np.linalg.solve(quadratic, left_over.T).T).sum()
    assert 0 <= objective(signal) - bound < 1e-5 * bound
    assert objective(np.asarray(series)) > 1.01 * bound


@pytest.mark.slow
def test_the_spatial_term_helps_to_recover_activity():
    graph = neuro.grid_graph(np.ones((3, 3, 3), int))
    data = neuro.simulate_activity(np.zeros(27, int), num_scans=60, snr=0.0, key=jax.random.key(5))
    errors = []
    for term in (None, neuro.StructuredSparsity(graph, num_iterations=30)):
        found = neuro.total_activation(
            data.series,
            repetition_time=1.0,
            noise_level=data.noise_level,
            spatial=term,
            max_iterations=100,
            num_outer_iterations=5,
        )
        errors.append(np.linalg.norm(found.activity - data.activity) / np.linalg.norm(data.activity))
    assert errors[1] < 0.85 * errors[0]


@pytest.mark.slow
def test_space_alone_needs_no_time(signal, atlas):
    term = neuro.Tikhonov(neuro.grid_graph(atlas), penalty=3.0)
    series = np.random.default_rng(0).normal(size=(20, len(signal)))
    found = neuro.total_activation(series, repetition_time=1.0, noise_level=1.0, temporal=False, spatial=term)
    matrix = laplacian_of(atlas, periodic=False, across_regions=False)
    expected = np.linalg.solve(np.eye(len(matrix)) + 3.0 * matrix.T @ matrix, series.T).T
    np.testing.assert_allclose(found.signal, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: neuro.grid_graph(np.zeros((2, 2))), "0 everywhere"),
        (lambda: neuro.grid_graph(np.ones(4)), "2 or 3 axes"),
        (lambda: neuro.grid_graph(np.full((2, 2), 0.5)), "whole numbers"),
        (lambda: neuro.region_graph(np.eye(3)), "at least one edge"),
        (lambda: neuro.region_graph(np.triu(np.ones((3, 3)))), "symmetric"),
        (lambda: neuro.region_graph(np.ones((3, 2))), "region"),
        (lambda: neuro.region_graph(np.ones((3, 3)), modules=np.zeros(2, int)), "module of each of 3"),
    ],
)
def test_graphs_that_are_none_are_refused(without_type_checks, make, message):
    with pytest.raises(jaxcast.InputError, match=message):
        make()
