"""Four-dimensional variational assimilation with a perfect model, as a cell with a window."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcast.assimilation.checks import check_all, check_covariance
from jaxcast.assimilation.ensemble_cell import ObservingCell
from jaxcast.assimilation.gauss_newton import minimise
from jaxcast.assimilation.members import MemberModel, checked_model, checked_parameters
from jaxcast.assimilation.observation import as_operator, weights_of
from jaxcast.assimilation.smoothing import Estimate, Smoothable
from jaxcast.assimilation.start import check_operator
from jaxcast.assimilation.windows import along_window, empty_window, push
from jaxcast.checks import check_whole
from jaxcast.precision import product
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Input, Output
from jaxcast.types import Info

SMALLEST_ROOT = 1e-5
"""Relative size of what counts in a root: a perfect model forgets what does not grow."""
NUM_DRAWS = 256
"""Draws of the unknown parameters; their mean and covariance are the background."""


class VariationalCarry(NamedTuple):
    """The carry of a `VariationalFilter`.

    Args:
        guess: of the state at the start of the window, and the variables of parameters.
        analyses: at the last lag + 1 values, oldest first.
        roots: of the covariances of their errors.
        values: the last lag + 1, divided by the noise.
        weights: of these, 1 / noise; 0 where there is no observation.
        exogenous: of the steps of the window, oldest first.
        num_seen: number of values so far.
    """

    guess: Float[Array, " number"]
    analyses: Float[Array, "value number"]
    roots: Float[Array, "value number number"]
    values: Float[Array, "value observation"]
    weights: Float[Array, "value observation"]
    exogenous: Any
    num_seen: Int[Array, ""]


class _Analysis(NamedTuple):
    """States at both ends of a window, with the variables of parameters, and roots of their covariances."""

    start: Array
    start_root: Array
    end: Array
    end_root: Array


class VariationalFilter(ObservingCell, Smoothable, FrozenPytree, name="variational_filter"):
    """Strong-constraint 4D-Var over a window that moves with the newest value.

        J(u) = |u - background|_B^2 / 2 + sum_k |y_k - h(model^k(u))|_R^2 / 2

    u is the state lag steps before the newest value. It is found by Gauss-Newton steps in
    coordinates in which B is the unit matrix, damped where a step would not lower J, from the
    solution of the window before. The background of a window is the analysis that was made at its
    start, which has seen no value of the window, so that no value counts twice. Until lag steps
    have passed the window starts at the first value, and the background is the one given.

    Gradients are JAX's, forward through the model: the cost of an iteration is that of dim model
    runs. Unknown parameters are part of u, with the mean and the covariance of their initial
    distribution as the background; within a window they follow their dynamics without noise.

    `info` holds "analysis", the state at the newest value, and "reanalysis", that at the start of
    the window, (dim,); "regime", the parameters; "analysis_spread", "reanalysis_spread",
    "regime_deviation" and "spread", of the forecast, standard deviations by the tangent of the
    model and the Hessian of J.

    Args:
        model: u (dim,) -> u one step later, or (u, exogenous), for which exogenous is the time;
            with unknown parameters (u, parameters (parameter,)).
        observation_noise: standard deviation of an observation, a number or (observation,).
        background: (dim,), the state expected at the first value, such as a climatological mean.
        background_covariance: (dim, dim), B of that background.
        parameters: the dynamics of each unknown parameter.
        operator: what of a state is observed; None for the whole state.
        lag: steps of a window.
        analysis_covariance: B of all later backgrounds, of the state and the variables of its
            parameters; None for the covariance that the tangent of the model gives them.
        inflation: factor, at least 1, of the standard deviations of that covariance.
        num_iterations: Gauss-Newton steps of an analysis.

    Raises:
        InputError: for covariances of another size or without a root, noise that is not positive, a
            lag or a number of iterations below 1, and a model or an operator of another size.

    Source:
        Courtier, Thepaut and Hollingsworth, Q. J. R. Meteorol. Soc. 120, 1367-1387 (1994); Pires,
        Vautard and Talagrand, Tellus A 48, 96-121 (1996), for guesses from the window before.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> system = jaxcast.Lorenz63()
        >>> truth = jaxcast.simulate(system, [1.0, 1.0, 20.0], num_samples=40, dt=0.1, transient=5.0).states
        >>> cell = jaxcast.assimilation.VariationalFilter(
        ...     jaxcast.flow_map(system, dt=0.1), observation_noise=1.0, background=truth.mean(0),
        ...     background_covariance=jnp.cov(truth.T), lag=4, inflation=1.1,
        ... )
        >>> values = truth + jax.random.normal(jax.random.key(1), truth.shape)
        >>> errors = jaxcast.open_loop(cell, values).info["analysis"] - truth
        >>> bool((errors[20:] ** 2).mean() < 0.3)
        True
    """

    model: Callable[..., Any]
    observation_noise: Any
    background: Float[Any, " dim"]
    background_covariance: Float[Any, "dim dim"]
    parameters: Any = ()
    operator: Any = None
    lag: int = static(default=10)
    analysis_covariance: Any = None
    inflation: Any = 1.0
    num_iterations: int = static(default=5)

    warmup = 0
    smallest_root = SMALLEST_ROOT

    def __post_init__(self) -> None:
        check_whole("lag", self.lag, least=1)
        check_whole("num_iterations", self.num_iterations, least=1)
        check_all("observation_noise", self.observation_noise, above=0)
        check_all("inflation", self.inflation, least=1)
        check_all("background", self.background)
        object.__setattr__(self, "parameters", checked_parameters(self.parameters))
        dim = jnp.size(self.background)
        whole = dim + MemberModel(None, self.parameters, 0.0).num_variables
        check_covariance("background_covariance", self.background_covariance, dim)
        check_covariance("analysis_covariance", self.analysis_covariance, whole)
        object.__setattr__(self, "operator", as_operator(self.operator))
        object.__setattr__(self, "model", checked_model(self.model))

    @property
    def member_model(self) -> MemberModel:
        """The model with the dynamics of its parameters, without noise."""
        return MemberModel(self.model, self.parameters, 0.0)

    def init_carry(self, value: Float[Array, " observation"], exogenous: Any = None) -> VariationalCarry:
        state = jnp.asarray(self.background, value.dtype)
        self.member_model.check_model(state, exogenous)
        check_operator(self.operator, self.observation_noise, state, value)
        background, root = self._prior(value.dtype)
        analyses, roots, values = empty_window((background, root, jnp.zeros_like(value)), self.lag + 1)
        exogenous = empty_window(exogenous, self.lag)
        return VariationalCarry(background, analyses, roots, values, values, exogenous, jnp.asarray(0))

    def check_first(self, value: Float[Any, " observation"], known: Bool[Any, "..."]) -> None:
        """Accepts any first value, as the background takes the place of what is unknown.

        Args:
            value: the first value.
            known: whether it is the truth.
        """

    def __call__(self, carry: VariationalCarry, x: Input) -> tuple[VariationalCarry, Output]:
        return self._step(carry, x)[:2]

    def estimate(self, carry: VariationalCarry, x: Input) -> tuple[VariationalCarry, Output, Estimate, Estimate]:
        """Takes a step.

        Args:
            carry: the window before the newest value.
            x: the newest value and what comes with it.

        Returns:
            The next window, the output, and the estimates at the start of the window and one step
            later.
        """
        oldest = jax.tree.map(lambda a: a[0], carry.exogenous)
        carry, output, found = self._step(carry, x)
        now = Estimate(found.start, found.start_root.T)
        return carry, output, now, self.moved(now, oldest)

    def moved(self, estimate: Estimate, exogenous: Any) -> Estimate:
        """Returns an estimate one step later, by the tangent of the model.

        Args:
            estimate: before the step.
            exogenous: of the step.
        """
        step = self.member_model.step
        later, root = _tangents(lambda member: step(member, exogenous), estimate.mean, estimate.anomalies.T)
        return Estimate(later, root.T)

    def parameters_of(self, estimate: Estimate) -> tuple[Array, Array]:
        """Returns mean and standard deviation of the unknown parameters.

        Args:
            estimate: of the state and their variables.
        """
        dim, values = jnp.size(self.background), self.member_model.values
        mean, root = _tangents(lambda member: values(member[dim:]), estimate.mean, estimate.anomalies.T)
        return mean, jnp.linalg.norm(root, axis=1)

    def tapers(self, num_numbers: int, dtype: Any) -> None:
        """Returns None: there is no localisation.

        Args:
            num_numbers: of a member.
            dtype: not used.
        """

    def _step(self, carry: VariationalCarry, x: Input) -> tuple[VariationalCarry, Output, _Analysis]:
        is_finite = jnp.isfinite(carry.analyses).all() & jnp.isfinite(carry.roots).all()
        carry = self.begun_anew(carry, x, ~is_finite, from_value=False)
        newest = weights_of(x.known, x.value, self.observation_noise)
        values = push(carry.values, jnp.where(newest > 0, x.value, 0) * newest)
        found = self._analyse(carry, newest, values)
        step = self.member_model.step
        later, ahead = _tangents(lambda member: step(member, x.exogenous), found.end, found.end_root)
        info = self._report(found, later, ahead)
        oldest = jax.tree.map(lambda a: a[0], carry.exogenous)
        guess = jnp.where(carry.num_seen >= self.lag, step(found.start, oldest), found.start)
        carry = VariationalCarry(
            guess,
            push(carry.analyses, found.end),
            push(carry.roots, self._root_of(found.end_root)),
            values,
            push(carry.weights, newest),
            push(carry.exogenous, x.exogenous),
            carry.num_seen + 1,
        )
        return carry, Output(later[: jnp.size(self.background)], info), found

    def _analyse(self, carry: VariationalCarry, newest: Array, values: Array) -> _Analysis:
        """Returns the analysis of the values of a window; `newest` are the weights of the last of them."""
        weights = push(carry.weights, newest)
        num_steps = jnp.minimum(carry.num_seen, self.lag)
        is_moving = carry.num_seen > self.lag
        # The background of a moving window has seen the value at its start.
        weights = weights.at[0].multiply(jnp.where(is_moving, 0, 1))
        background, root = self._prior(values.dtype)
        background = jnp.where(is_moving, carry.analyses[1], background)
        root = jnp.where(is_moving, carry.roots[1], root)
        dim = jnp.size(self.background)

        def states_from(start: Array) -> Array:
            return along_window(self.member_model.step, start, carry.exogenous, self.lag, num_steps)

        def observed(control: Array) -> tuple[Array, Array]:
            states = states_from(background + product(root, control))
            return (jax.vmap(self.operator)(states[:, :dim]) * weights).ravel(), states[-1]

        goal = (values * (weights > 0)).ravel()
        begin = product(jnp.linalg.pinv(root, rtol=SMALLEST_ROOT), carry.guess - background)
        found = minimise(observed, begin, goal, self.num_iterations)
        seen = (newest > 0).any()
        start = jnp.where(seen, background + product(root, found.control), carry.guess)
        end = jnp.where(seen, found.end, states_from(start)[-1])
        return _Analysis(start, product(root, found.root), end, found.end_root)

    def _report(self, found: _Analysis, later: Array, ahead: Array) -> Info:
        """Returns the entries of `Info`; later is the member one step later, and ahead the root of its covariance."""
        dim = jnp.size(self.background)
        regime, of_regime = _tangents(lambda member: self.member_model.values(member[dim:]), later, ahead)
        return {
            "analysis": found.end[:dim],
            "analysis_spread": jnp.linalg.norm(found.end_root[:dim], axis=1),
            "reanalysis": found.start[:dim],
            "reanalysis_spread": jnp.linalg.norm(found.start_root[:dim], axis=1),
            "spread": jnp.linalg.norm(ahead[:dim], axis=1),
            "regime": regime,
            "regime_deviation": jnp.linalg.norm(of_regime, axis=1),
        }

    def _prior(self, dtype: Any) -> tuple[Array, Array]:
        """Returns the background of the first window, with the parameters' variables, and the root of its B."""
        variables = self.member_model.draw(jax.random.key(0), NUM_DRAWS, dtype)
        background = jnp.concatenate([jnp.asarray(self.background, dtype), variables.mean(0)])
        first = jnp.linalg.cholesky(jnp.asarray(self.background_covariance, dtype))
        if not self.parameters:
            return background, first
        others = (variables - variables.mean(0)) / NUM_DRAWS**0.5
        second = jnp.linalg.qr(others, mode="r").T
        return background, jax.scipy.linalg.block_diag(first, second)

    def _root_of(self, end_root: Array) -> Array:
        """Returns the root of the covariance of an analysis, as the background of a later window."""
        if self.analysis_covariance is not None:
            return jnp.linalg.cholesky(jnp.asarray(self.analysis_covariance, end_root.dtype))
        return jnp.asarray(self.inflation, end_root.dtype) * end_root


def _tangents(function: Callable[[Array], Array], at: Array, root: Array) -> tuple[Array, Array]:
    """Returns the value of a function, and the root of the covariance of it, by its tangent."""
    value, tangent = jax.linearize(function, at)
    return value, jax.vmap(tangent, 1, 1)(root)
