"""Emulators of fields on a ring of sites, in which neighbours alone move a site."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.dynamics.candidates import ForecastMap, as_forecast_map
from jaxcast.errors import InputError
from jaxcast.regime.emulator import DEGREES, SUBSTEPS, Emulator, fit_emulator

MOST_DENSE = 12
"""Components of a state up to which a polynomial of all of them is fitted."""
NEIGHBOURHOODS = (2, 1, 3)
"""Sites to either side that are tried, in turn."""
NUM_FIELD_PAIRS = 40
"""Pairs of a state and a candidate; each has as many values as the field has sites."""
SHIFTS = (1, 5)
MOST_ERROR = 0.1
"""Misfit of a useful emulator, in deviations of the state."""


def emulated(forecast_map: ForecastMap, states: Array, **settings: Any) -> Emulator:
    """Fits the emulator of candidates, of a field with the neighbourhood that forecasts best.

    Args:
        forecast_map: of the candidates.
        states: from which they forecast.
        **settings: of `fit_emulator`.
    """
    neighbourhoods = (settings.pop("neighbourhood"),) if "neighbourhood" in settings else tried(forecast_map, states)
    if neighbourhoods == (None,):
        return fit_emulator(states, **settings)
    settings = {"num_pairs": NUM_FIELD_PAIRS} | settings
    probe: dict[str, Any] = {"degrees": DEGREES[:1], "num_substeps": SUBSTEPS[0]} | settings
    best = fit_emulator(states, **probe, neighbourhood=neighbourhoods[0])
    if not best.error < MOST_ERROR:
        raise InputError(
            f"no polynomial of neighbours forecasts as these candidates do (it misses {float(best.error):.2g} "
            "deviations of the state in a step), as of a stiff field; take a hybrid, as by fit_hybrid"
        )
    for neighbourhood in neighbourhoods:
        if best.is_exact:
            break
        emulator = fit_emulator(states, **settings, neighbourhood=neighbourhood)
        best = emulator if emulator.error < 0.8 * best.error else best
    return best


def tried(forecast_map: ForecastMap, states: Array) -> tuple[int | None, ...]:
    """Returns the neighbourhoods to try: None alone, unless many sites are all moved alike.

    Args:
        forecast_map: of the candidates.
        states: from which they forecast.
    """
    dim = states.shape[1]
    if dim <= MOST_DENSE or not _moves_sites_alike(forecast_map, states):
        return (None,)
    return tuple(size for size in NEIGHBOURHOODS if 2 * size < dim)


def _moves_sites_alike(forecast_map: ForecastMap, states: Array) -> bool:
    """Returns whether the forecast of a ring that is turned is the forecast, turned."""
    candidates = as_forecast_map(forecast_map)
    for state in (states[0], states[len(states) // 2]):
        forecast = candidates(state, None)
        tolerance = 1e3 * float(jnp.finfo(states.dtype).eps) * float(jnp.abs(forecast).max())
        for shift in SHIFTS:
            turned = candidates(jnp.roll(state, shift), None)
            if not jnp.abs(turned - jnp.roll(forecast, shift, -1)).max() <= tolerance:
                return False
    return True
