"""Emulators: a polynomial vector field whose flow forecasts as an ensemble of candidates does."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.clock import HasStep
from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.dynamics.runge_kutta import rk4_step
from jaxcast.dynamics.schedules import Parameter
from jaxcast.dynamics.systems import Components, System
from jaxcast.errors import InputError
from jaxcast.limits import as_size, check_memory
from jaxcast.numerics.least_squares import levenberg_marquardt, sum_of_squares
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.precision import highest
from jaxcast.progress import detail
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.regime.checks import check_coordinates, check_forecasts
from jaxcast.types import Scalar

SUBSTEPS = (10, 20, 5, 4, 8, 2, 25, 50, 1)
SMALL_ERROR = 1e-4
DEGREES = ((2, 1), (3, 1), (2, 2), (4, 1), (5, 1))
NUM_PAIRS = 800
BATCH_SIZE = 256
"""Pairs whose derivatives are computed at once, as `levenberg_marquardt` does by default."""
MOST_SUBSTEPS = 1000
"""Most substeps of a stored emulator; `fit_emulator` tries up to 50."""


class PolynomialSystem(System):
    """A system du/dt = f(u, c) that is polynomial in the state u and in coordinates c.

        f(u, c)_d = s_d sum_kq theta_kqd phi_k((u - m) / s) psi_q(c)

    phi and psi are all monomials up to a degree in the state and in the coordinates. For a field on
    a ring of sites, phi are monomials of the sites around d, and theta is the same for all of them.

    Args:
        theta: coefficients, (state feature, coordinate feature, dim); of a field (.., .., 1).
        origin: m, (dim,).
        scale: s, (dim,).
        coordinates: c, (coordinate,), numbers or a schedule.
        state_factors: the variables, counted from 1, whose product each phi is; 0 stands for 1.
            Those of a field are the sites around d, in their order.
        coordinate_factors: the same for psi.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> theta = jnp.asarray([[[0.0], [0.0]], [[0.0], [-1.0]]])  # du/dt = -c u
        >>> factors = ((0,), (1,))
        >>> decay = jaxcast.regime.PolynomialSystem(
        ...     theta, jnp.zeros(1), jnp.ones(1), jnp.asarray([2.0]), factors, factors
        ... )
        >>> decay.vector_field(0.0, [3.0]).tolist()
        [-6.0]
    """

    theta: Parameter
    origin: Parameter
    scale: Parameter
    coordinates: Parameter
    state_factors: tuple[tuple[int, ...], ...] = static()
    coordinate_factors: tuple[tuple[int, ...], ...] = static()

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(f"u{d}" for d in range(len(self.origin)))

    @property
    def num_variables(self) -> int:
        """Numbers of the state that each phi may multiply."""
        neighbourhood = self.neighbourhood
        return len(self.origin) if neighbourhood is None else 2 * neighbourhood + 1

    @property
    def neighbourhood(self) -> int | None:
        """How many sites to either side move one site of a field; None for what is no field."""
        if self.theta.shape[-1] == len(self.origin):
            return None
        return (max(map(max, self.state_factors)) - 1) // 2

    @highest
    def vector_field(self, t: Scalar, u: Components) -> Components:
        scaled = (jnp.asarray(u) - self.origin) / self.scale
        theta = jnp.einsum("q,kqd->kd", products(self.coordinates, self.coordinate_factors), self.theta)
        if self.neighbourhood is None:
            return self.scale * (products(scaled, self.state_factors) @ theta)
        phi = products(neighbours(scaled, self.neighbourhood), self.state_factors)
        return self.scale * (phi @ theta)[:, 0]


def neighbours(values: Float[Array, " site"], size: int) -> Float[Array, "site neighbour"]:
    """Returns the sites around each site of a ring.

    Args:
        values: at the sites.
        size: sites to either side.
    """
    return jnp.stack([jnp.roll(values, -shift) for shift in range(-size, size + 1)], -1)


class Emulator(FrozenPytree, HasStep):
    """An ensemble as one system: at candidate i's coordinates, its flow is candidate i's forecast.

    Unlike those of a candidate, the coordinates may change between two samples. `fit_emulator`
    returns it.

    Args:
        system: with the standardised coordinates of every candidate, (model, coordinate).
        offset: of the coordinates; those of the user are offset + unit c.
        unit: of the coordinates.
        dt: interval between samples.
        error: root mean squared misfit to held-out forecasts, in standard deviations of the state.
        num_substeps: Runge-Kutta steps in dt.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> factors = ((0,), (1,))
        >>> theta = jnp.asarray([[[0.0], [0.0]], [[0.0], [-1.0]]])  # du/dt = -c u
        >>> coordinates = jnp.asarray([[-1.0], [1.0]])
        >>> system = jaxcast.regime.PolynomialSystem(theta, jnp.zeros(1), jnp.ones(1), coordinates, factors, factors)
        >>> dt, none = jnp.asarray(0.1), jnp.asarray(0.0)
        >>> emulator = jaxcast.regime.Emulator(system, jnp.zeros(1), jnp.ones(1), dt, none, num_substeps=4)
        >>> round(float(emulator(jnp.ones(1), jnp.asarray([1.0]))[0]), 4)  # exp(-0.1)
        0.9048
    """

    system: PolynomialSystem
    offset: Float[Array, " coordinate"]
    unit: Float[Array, " coordinate"]
    dt: Float[Array, ""]
    error: Float[Array, ""]
    num_substeps: int = static()

    def sampling_step(self) -> Float[Array, ""]:
        """Returns dt."""
        return self.dt

    @property
    def is_exact(self) -> bool:
        """Whether it differs from the candidates by rounding alone."""
        return bool(self.error < 1e4 * jnp.finfo(self.system.theta.dtype).eps)

    @checked
    def __call__(self, u: Float[Array, " dim"], coordinates: Any) -> Float[Array, " dim"]:
        """Computes the state dt later.

        Args:
            u: the state.
            coordinates: (coordinate,), or their schedule from time 0.
        """
        h = self.dt / self.num_substeps
        system = dataclasses.replace(self.system, coordinates=coordinates)

        def step(u: Array, n: Array) -> tuple[Array, None]:
            return jnp.asarray(rk4_step(system, n * h, u, h)), None

        return jax.lax.scan(step, u, jnp.arange(self.num_substeps))[0]

    def misses(
        self, forecast_map: ForecastMap, u: Float[Array, " dim"], exogenous: Any = None
    ) -> Float[Array, "model dim"]:
        """Computes what the emulator misses in each candidate's forecast.

        Args:
            forecast_map: of the candidates.
            u: the state from which they forecast.
            exogenous: of the candidates.
        """
        return forecast_map(u, exogenous) - jax.vmap(self, (None, 0))(u, self.system.coordinates)


@checked
def fit_emulator(
    states: Float[Array, "time dim"],
    *,
    forecasts: Float[Array, "time model dim"],
    dt: float,
    coordinates: Shaped[ArrayLike, "..."] | None = None,
    degrees: Sequence[tuple[int, int]] = DEGREES,
    num_substeps: int | None = None,
    num_pairs: int = NUM_PAIRS,
    neighbourhood: int | None = None,
    seed: int = 0,
) -> Emulator:
    """Fits an emulator to the forecasts of an ensemble.

    It is nonlinear least squares through the Runge-Kutta flow, for pairs of a state and a
    candidate. The degrees and steps that forecast held-out pairs best are selected; candidates that
    are polynomial, with such steps, are recovered to rounding. Without coordinates, one for each
    candidate is found from the first principal component of the differences between forecasts.

    Args:
        states: from which the candidates forecast.
        forecasts: of the candidates; row n starts from state n.
        dt: interval that a forecast spans.
        coordinates: (model,) or (model, coordinate), one number or more for every candidate, such
            as the parameter in which they differ.
        degrees: in the state and in the coordinates, tried in turn until one is exact.
        num_substeps: Runge-Kutta steps in dt; by default the best of 1 to 50.
        num_pairs: pairs of a state and a candidate to fit, and as many to validate.
        neighbourhood: for a field on a ring of sites that are all moved alike: how many sites to
            either side move one; None for any other state.
        seed: of the draw of pairs.

    Returns:
        The emulator.

    Raises:
        InputError: for arrays that do not match, NaN, candidates that diverge or do not differ,
            fewer than two of them, or fewer states than a polynomial of the first degrees needs.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md; Levenberg (1944) and Marquardt
        (1963) for the least squares.

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> states = jax.random.normal(jax.random.key(0), (50, 1))
        >>> rates = jnp.asarray([0.5, 1.0, 1.5])
        >>> forecasts = states[:, None] * jnp.exp(-0.1 * rates)[:, None]  # of three decays
        >>> emulator = jaxcast.regime.fit_emulator(
        ...     states, forecasts=forecasts, dt=0.1, coordinates=rates, degrees=[(1, 1)], num_substeps=2
        ... )
        >>> bool(emulator.error < 1e-6)
        True
    """
    states, forecasts = jnp.asarray(states), jnp.asarray(forecasts)
    check_ensemble(states, forecasts, coordinates, degrees=degrees, num_pairs=num_pairs, neighbourhood=neighbourhood)
    given = _standardised(states, forecasts, None if coordinates is None else jnp.asarray(coordinates, states.dtype))
    train, held = _pairs(states, forecasts, num_pairs, seed)
    best: Emulator | None = None
    for degree in degrees:
        start = _start(given, states, train, dt, *degree, neighbourhood)
        if best is not None and start.system.theta.size > len(train[0]) * states.shape[1] // 3:
            continue
        for steps in (num_substeps,) if num_substeps else SUBSTEPS if best is None else (best.num_substeps,):
            emulator = _fit(dataclasses.replace(start, num_substeps=steps), train, held, coordinates is None)
            is_better = best is None or emulator.error < 0.8 * best.error
            best = emulator if best is None or is_better else best
            if best.is_exact or not (is_better or best.error < SMALL_ERROR):
                break  # a larger error is due to the polynomial, not to the steps
            start = emulator
        assert best is not None
        if best.is_exact:
            break
    assert best is not None
    return best


def check_ensemble(
    states: Any,
    forecasts: Any,
    coordinates: Any,
    *,
    degrees: Sequence[tuple[int, int]] = DEGREES,
    num_pairs: int = NUM_PAIRS,
    neighbourhood: int | None = None,
) -> None:
    """Checks the input of `fit_emulator`.

    Args:
        states: from which the candidates forecast.
        forecasts: of the candidates.
        coordinates: of the candidates, or None.
        degrees: to try.
        num_pairs: to fit.
        neighbourhood: of a field, or None.

    Raises:
        InputError: for what `fit_emulator` cannot fit.
    """
    check_forecasts(states, forecasts)
    check_coordinates(coordinates, forecasts.shape[1])
    if not degrees:
        raise InputError("degrees must name at least one (degree in the state, degree in the coordinates), got none")
    num_states, num_models, dim = forecasts.shape
    num_coordinates = 1 if coordinates is None else np.asarray(coordinates).reshape(num_models, -1).shape[1]
    if neighbourhood is not None:
        check_whole("neighbourhood", neighbourhood, most=(dim - 1) // 2)
    num_variables = dim if neighbourhood is None else 2 * neighbourhood + 1
    needed = len(monomials(num_variables, degrees[0][0])) * len(monomials(num_coordinates, degrees[0][1]))
    num_outputs = dim if neighbourhood is None else 1
    # A batch of derivatives, the normal equations and their solution.
    num_numbers = BATCH_SIZE * dim * needed * num_outputs + 4 * (needed * num_outputs) ** 2
    num_bytes = num_numbers * np.dtype(states.dtype).itemsize
    detail(
        f"the emulator of {num_models} candidates needs {needed} pairs of a state and a candidate, of "
        f"{num_states * num_models}, and {as_size(num_bytes)} of memory"
    )
    check_memory(
        num_bytes,
        f"an emulator of {dim} components with {needed * num_outputs} coefficients"
        + (" (a field on a ring has fewer, with neighbourhood=2)" if neighbourhood is None and dim > 4 else ""),
    )
    # A pair tells one equation for the coefficients of a component, of a field one for each site.
    needed = needed if neighbourhood is None else -(-needed // dim)
    if num_states * num_models < 2 * needed:
        raise InputError(
            f"the emulator of {num_models} candidates with {dim} components needs at least "
            f"{-(-2 * needed // num_models)} states, got {num_states}; give a longer trajectory"
        )
    if num_pairs < needed:
        raise InputError(f"num_pairs must be at least {needed} for {dim} components, got {num_pairs}")


@jax.jit
@highest
def _standardised(states: Array, forecasts: Array, coordinates: Any) -> tuple[Array, Array, Array]:
    """Returns standardised coordinates, their origin and their unit."""
    if coordinates is None:
        differences = (forecasts - forecasts.mean(1, keepdims=True)) / states.std(0)
        gram = jnp.einsum("nid,njd->ij", differences, differences)
        values = jnp.linalg.eigh(gram)[1][:, -1:]
    else:
        values = coordinates[:, None] if coordinates.ndim == 1 else coordinates
    origin, unit = values.mean(0), values.std(0)
    return (values - origin) / unit, origin, unit


def _pairs(states: Array, forecasts: Array, num_pairs: int, seed: int) -> tuple[Any, Any]:
    """Draws triples (state, candidate, forecast) to fit, and as many to validate."""
    num_states, num_models = forecasts.shape[:2]
    drawn = np.random.default_rng(seed).permutation(num_states * num_models)[: 2 * num_pairs]
    times, models = drawn // num_models, drawn % num_models
    pairs = (np.asarray(states)[times], models, np.asarray(forecasts)[times, models])
    half = (len(drawn) + 1) // 2
    return tuple(jnp.asarray(a[:half]) for a in pairs), tuple(jnp.asarray(a[half:]) for a in pairs)


@partial(jax.jit, static_argnames=("state_degree", "coordinate_degree", "neighbourhood"))
def _start(
    given: Any,
    states: Array,
    pairs: Any,
    dt: Scalar,
    state_degree: int,
    coordinate_degree: int,
    neighbourhood: int | None,
) -> Emulator:
    """Starts from a linear regression of mean slopes on features halfway."""
    coordinates, offset, unit = given
    u, model, forecast = pairs
    center, scale = states.mean(0), states.std(0)
    if neighbourhood is not None:
        # All sites are moved alike.
        center, scale = (jnp.broadcast_to(value, scale.shape) for value in (states.mean(), states.std()))
    num_variables = states.shape[1] if neighbourhood is None else 2 * neighbourhood + 1
    factors = monomials(num_variables, state_degree), monomials(coordinates.shape[1], coordinate_degree)

    def features(u: Array, c: Array) -> Array:
        around = u if neighbourhood is None else neighbours(u, neighbourhood)
        phi = products(around, factors[0])
        return (phi[..., None] * products(c, factors[1])).reshape(*phi.shape[:-1], -1)

    rows = jax.vmap(features)(((u + forecast) / 2 - center) / scale, coordinates[model])
    targets = (forecast - u) / scale / dt
    if neighbourhood is not None:
        rows, targets = rows.reshape(-1, rows.shape[-1]), targets.reshape(-1, 1)
    theta = jnp.linalg.lstsq(rows, targets)[0].reshape(*map(len, factors), -1)
    system = PolynomialSystem(theta, center, scale, coordinates, *factors)
    return Emulator(system, offset, unit, jnp.asarray(dt, states.dtype), jnp.asarray(jnp.inf, states.dtype), 1)


def _fit(start: Emulator, train: Any, held: Any, free: bool) -> Emulator:
    begin = (start.system.theta, start.system.coordinates if free else None)
    target = train[2].size * (10 * float(jnp.finfo(train[2].dtype).eps)) ** 2
    (theta, coordinates), _ = levenberg_marquardt(_misfit, begin, start, train, target=target)
    squares = sum_of_squares(_misfit, (theta, coordinates), start, held)
    coordinates = start.system.coordinates if coordinates is None else coordinates
    system = dataclasses.replace(start.system, theta=theta, coordinates=coordinates)
    return dataclasses.replace(start, system=system, error=jnp.sqrt(jnp.mean(squares) / len(start.system.scale)))


def _misfit(params: Any, emulator: Emulator, pair: Any) -> Array:
    theta, coordinates = params
    u, model, forecast = pair
    coordinates = emulator.system.coordinates if coordinates is None else coordinates
    tried = dataclasses.replace(emulator, system=dataclasses.replace(emulator.system, theta=theta))
    return (tried(u, coordinates[model]) - forecast) / emulator.system.scale
