"""The parameter in which candidates differ, read from their flow map."""

from typing import Any

import numpy as np

from jaxcast.dynamics.candidates import unstack_systems
from jaxcast.dynamics.parse import candidate_coordinates
from jaxcast.dynamics.trajectories import FlowMap


def coordinates_of(forecast_map: Any) -> tuple[str, np.ndarray] | None:
    """Returns the parameter in which candidates differ and its values.

    Args:
        forecast_map: The candidates.

    Returns:
        Name and values; None where the candidates are not jaxcast's systems.
    """
    return candidate_coordinates(unstack_systems(forecast_map.system)) if isinstance(forecast_map, FlowMap) else None
