"""The numbers in which candidates differ."""

import numpy as np

import jaxcast
from jaxcast.dynamics.coordinates import varying_parameters


def flow(*systems):
    return jaxcast.flow_map(jaxcast.stack_systems(list(systems)))


def test_all_parameters_that_vary_are_coordinates_where_the_candidates_tell_them_apart():
    numbers = [(8.0, 30.0), (9.0, 45.0), (12.0, 33.0)]
    names, values = varying_parameters(flow(*(jaxcast.Lorenz63(sigma=s, rho=r) for s, r in numbers)))
    assert names == ("sigma", "rho")
    np.testing.assert_array_equal(values, numbers)
    names, values = varying_parameters(flow(*(jaxcast.Lorenz63(rho=r) for r in (28.0, 30.0))))
    assert (names, values.tolist()) == (("rho",), [[28.0], [30.0]])
    line = (jaxcast.Lorenz63(sigma=8.0 + n, rho=30.0 + 2 * n) for n in range(4))
    assert varying_parameters(flow(*line)) is None
    waves = (jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=30.0, amplitude=a, period=1.0)) for a in (1.0, 2.0))
    assert varying_parameters(flow(*waves)) is None
    assert varying_parameters(lambda u, t: u[None]) is None
