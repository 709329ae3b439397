"""The base of cells that run candidate models."""

from jaxcast.dynamics.candidates import ForecastMap, as_forecast_map
from jaxcast.rollout import DeterministicCell


class CandidateCell(DeterministicCell):
    """Base of cells with a field `forecast_map`, which are frozen pytrees.

    A plain function becomes a pytree, so that the cell can be an argument of a compiled function.

    Args:
        forecast_map: the candidates; None without candidates.

    Raises:
        InputError: for candidates that cannot be called with a value.
    """

    forecast_map: ForecastMap | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "forecast_map", as_forecast_map(self.forecast_map))
