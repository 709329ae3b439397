"""A picture of segments: what lies where, and what is left out."""

import numpy as np
import pytest

import jaxcast
from jaxcast import plotting

figure = pytest.importorskip("matplotlib.figure")


def test_segments_lie_at_their_time_and_absent_ones_are_left_out():
    values = np.asarray([[0.1, 0.2, 0.3, 9.0], [-0.4, 0.0, 0.1, 9.0]])
    ax = plotting.plot_segments(
        figure.Figure().subplots(), [0, 15, 30, 0], [30, 30, 30, 0], values, weights=[0.2, 0.5, 0.3, 0.0]
    )
    mesh = ax.collections[0]
    np.testing.assert_allclose(mesh.get_array().reshape(2, 3), values[:, :3])
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [0, 15, 30, 60])
    assert mesh.get_clim() == (-0.4, 0.4)
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], [-0.4, -1.0, -0.6])
    np.testing.assert_allclose([(bar.get_x(), bar.get_width()) for bar in ax.patches], [(0, 15), (15, 15), (30, 30)])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["weight\n(0 to 0.5)", "0", "1"]
    ax = plotting.plot_segments(figure.Figure().subplots(), [0, 15], [15, 30], values[:, :2], limits=(-1.0, 1.0))
    assert ax.collections[0].get_clim() == (-1, 1)
    assert not ax.patches


@pytest.mark.parametrize(
    ("starts", "options", "message"),
    [
        ([0, 5], {}, "the same segments"),
        ([0, 5, 3], {}, "must rise"),
        ([0, 5, 9], {"names": ["one"]}, "1 names"),
        ([0, 5, 9], {"weights": [1.0]}, "the same segments"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(starts, options, message):
    with pytest.raises(jaxcast.InputError, match=message):
        plotting.plot_segments(figure.Figure().subplots(), starts, [3, 3, 3], np.ones((2, 3)), **options)
