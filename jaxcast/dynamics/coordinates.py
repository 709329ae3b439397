"""The parameter in which candidates differ, read from their flow map."""

import dataclasses
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


def varying_parameters(forecast_map: Any) -> tuple[tuple[str, ...], np.ndarray] | None:
    """Returns all numbers in which candidates differ, as coordinates of an emulator.

    Args:
        forecast_map: The candidates.

    Returns:
        Names and values (model, parameter); None where the candidates are not jaxcast's systems,
        differ in something else than numbers, or are too few to tell the parameters apart.
    """
    if (found := coordinates_of(forecast_map)) is not None:
        return (found[0],), found[1][:, None]
    if not isinstance(forecast_map, FlowMap):
        return None
    systems = unstack_systems(forecast_map.system)
    columns = {field.name: [vars(system)[field.name] for system in systems] for field in dataclasses.fields(systems[0])}
    if any(np.ndim(value) or callable(value) for column in columns.values() for value in column):
        return None
    values = {name: np.asarray(column, float) for name, column in columns.items()}
    varying = {name: column for name, column in values.items() if np.ptp(column) > 0}
    matrix = np.stack(list(varying.values()), 1) if varying else np.zeros((len(systems), 0))
    centred = matrix - matrix.mean(0)
    if not varying or np.linalg.matrix_rank(centred / matrix.std(0)) < matrix.shape[1]:
        return None
    return tuple(varying), matrix
