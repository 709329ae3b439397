"""The picture of `jaxcast simulate`."""

from pathlib import Path

import numpy as np

from jaxcast.cli.figures import figure_of
from jaxcast.cli.pool.pictures import MOST_COMPONENTS, some_of
from jaxcast.dynamics.parse import describe_system
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.io.files import save_figure

MOST_SAMPLES = 200
MOST_LETTERS = 120
"""Of samples and of the system's description in one picture."""


def draw_trajectory(path: Path, system: System, trajectory: Trajectory) -> None:
    """Draws the first 200 samples of up to six components.

    Args:
        path: Name of the picture.
        system: The system.
        trajectory: The trajectory.
    """
    from jaxcast.plotting.trajectories import plot_series

    shown = list(system.components)[:MOST_COMPONENTS]
    figure = figure_of(height=1.3 * len(shown) + 1)
    axes = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
    for i, (ax, name) in enumerate(zip(axes, shown, strict=True)):
        plot_series(ax, trajectory.times[:MOST_SAMPLES], trajectory.states[:MOST_SAMPLES, i], label=name)
    axes[-1].set_xlabel("time (MTU)")
    left_out = some_of(len(shown), len(system.components), "components")
    left_out += some_of(MOST_SAMPLES, len(trajectory.times), "samples")
    text = describe_system(system)
    axes[0].set_title((text if len(text) < MOST_LETTERS else f"{text[:MOST_LETTERS]} ...") + left_out, fontsize=8)
    save_figure(path, figure)
