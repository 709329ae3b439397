"""The iterative ensemble Kalman smoother, as a cell that carries the start of its window."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxcast.assimilation.checks import check_all
from jaxcast.assimilation.ensemble_cell import EnsembleCell, SmoothableEnsemble
from jaxcast.assimilation.members import moments
from jaxcast.assimilation.observation import weights_of
from jaxcast.assimilation.smoothing import Estimate, of_members
from jaxcast.assimilation.start import around_value
from jaxcast.assimilation.transforms import rotate, transform
from jaxcast.assimilation.windows import along_window, empty_window, push
from jaxcast.checks import check_whole
from jaxcast.precision import product
from jaxcast.pytrees import static
from jaxcast.rollout import Input, Output
from jaxcast.types import Info


class SmootherCarry(NamedTuple):
    """The carry of an `IterativeEnsembleSmoother`.

    Args:
        members: of the ensemble at the start of the window.
        ahead: the same members now, as they were forecast.
        exogenous: of the steps of the window, oldest first.
        num_seen: number of values so far.
        key: random key of all steps.
    """

    members: Float[Array, "member number"]
    ahead: Float[Array, "member number"]
    exogenous: Any
    num_seen: Int[Array, ""]
    key: Key[Array, ""]


class IterativeEnsembleSmoother(EnsembleCell, SmoothableEnsemble, name="iterative_ensemble_smoother"):
    """The iterative ensemble Kalman smoother (IEnKS): the newest value corrects the state lag steps ago.

        w* = argmin (M - 1) |w|^2 / 2 + |y - h(u_now(mean + w X))|_R^2 / 2
        start of the window <- mean + w* X + (square root of the inverse Hessian) X

    u_now is the model over the whole window, linearised anew at each of the Gauss-Newton steps. The
    window then moves on by one step. The nonlinearity of the model is met where it matters: for
    sparse observations of a chaotic system the error is about half that of an
    `EnsembleKalmanFilter`. The model must be differentiable. While observations come it counts as
    free of errors within a window; without, the ensemble goes on from its last forecast, with the
    model noise of every step.

    `info` holds what `EnsembleKalmanFilter` reports, and "reanalysis" and "reanalysis_spread", mean
    and standard deviation of the state at the start of the window, lag steps before the newest
    value (or the first state, until then).

    Args:
        model: u (dim,) -> u one step later, or (u, exogenous); with unknown parameters
            (u, parameters (parameter,)).
        observation_noise: standard deviation of an observation, a number or (observation,).
        key: random key of the initial ensemble, of all noise and of the rotations.
        parameters: the dynamics of each unknown parameter.
        operator: what of a state is observed; None for the whole state.
        model_noise: standard deviation of the model error at each step.
        num_members: M.
        initial_ensemble: (member, dim), states of the members just before the first value; without
            it the ensemble starts around the first value.
        lag: steps of the window.
        inflation: factor, at least 1, of the anomalies before each analysis.
        num_iterations: Gauss-Newton steps of an analysis.

    Raises:
        InputError: as `EnsembleKalmanFilter` does, and for a lag or a number of iterations below 1.

    Source:
        Bocquet and Sakov, Q. J. R. Meteorol. Soc. 140, 1521-1535 (2014); Sakov, Oliver and Bertino,
        Mon. Wea. Rev. 140, 1988-2004 (2012), for a lag of one step.

    Example:
        >>> import jax, jaxcast
        >>> system = jaxcast.Lorenz63()
        >>> truth = jaxcast.simulate(system, [1.0, 1.0, 20.0], num_samples=40, dt=0.25, transient=5.0).states
        >>> cell = jaxcast.assimilation.IterativeEnsembleSmoother(
        ...     jaxcast.flow_map(system, dt=0.25), observation_noise=1.0, key=jax.random.key(0), num_members=10, lag=2
        ... )
        >>> values = truth + jax.random.normal(jax.random.key(1), truth.shape)
        >>> errors = jaxcast.open_loop(cell, values).info["analysis"] - truth
        >>> bool((errors[20:] ** 2).mean() < 0.3)
        True
    """

    num_members: int = static(default=20)
    lag: int = static(default=1)
    inflation: Any = 1.0
    num_iterations: int = static(default=5)

    def check_analysis(self) -> None:
        """Refuses a lag, an inflation or a number of iterations that it cannot have.

        Raises:
            InputError: for such a setting.
        """
        check_whole("lag", self.lag, least=1)
        check_whole("num_iterations", self.num_iterations, least=1)
        check_all("inflation", self.inflation, least=1)

    def init_carry(self, value: Float[Array, " observation"], exogenous: Any = None) -> SmootherCarry:
        states, variables = self._start_members(value, exogenous)
        members = jnp.concatenate([states, variables], 1)
        return SmootherCarry(members, members, empty_window(exogenous, self.lag), jnp.asarray(0), self.key)

    def __call__(self, carry: SmootherCarry, x: Input) -> tuple[SmootherCarry, Output]:
        return self._step(carry, x)[:2]

    def estimate(self, carry: SmootherCarry, x: Input) -> tuple[SmootherCarry, Output, Estimate, Estimate]:
        """Takes a step.

        Args:
            carry: the ensemble at the start of the window.
            x: the newest value and what comes with it.

        Returns:
            The ensemble of the next window, the output, and the estimates at the starts of both.
        """
        carry, output, members = self._step(carry, x)
        return carry, output, of_members(members), of_members(carry.members)

    def tapers(self, num_numbers: int, dtype: Any) -> None:
        """Returns None: the smoother has no localisation.

        Args:
            num_numbers: of a member.
            dtype: not used.
        """

    def _step(self, carry: SmootherCarry, x: Input) -> tuple[SmootherCarry, Output, Array]:
        """Returns the next carry, the output, and the members at the start of the window."""
        is_lost = ~(jnp.isfinite(carry.members).all() & jnp.isfinite(carry.ahead).all())
        carry = self.begun_anew(carry, x, is_lost, from_value=self.initial_ensemble is None)
        weights = weights_of(x.known, x.value, self.observation_noise)
        seen = (weights > 0).any()
        keys = jax.random.split(jax.random.fold_in(carry.key, carry.num_seen + 1), 3)
        dim = carry.members.shape[1] - self.member_model.num_variables
        num_steps = jnp.minimum(carry.num_seen, self.lag)

        def until_now(member: Array) -> Array:
            return along_window(self.member_model.step, member, carry.exogenous, self.lag, num_steps)[-1]

        def observed(member: Array) -> Array:
            seen_of: Array = self.operator(until_now(member)[:dim])
            return seen_of * weights

        values = jnp.where(weights > 0, x.value, 0) * weights
        members = jnp.where(seen, rotate(self._analyse(carry.members, observed, values), keys[0]), carry.members)
        if self.initial_ensemble is None:
            around = around_value(x.value, self.observation_noise, self.num_members, keys[1])
            around = jnp.concatenate([around, carry.members[:, dim:]], 1)
            is_first = carry.num_seen == 0
            members, seen = jnp.where(is_first, around, members), seen | is_first
        # Without an observation nothing corrects the noise of the steps of the window.
        now = self.recover_lost(jnp.where(seen, jax.vmap(until_now)(members), carry.ahead), keys[1])
        in_history = jnp.any(x.known)
        later = self.recover_lost(self.member_model.disturbed_step(now, x.exogenous, in_history, keys[2]), keys[1])
        info, forecast = self._report(members[:, :dim], now[:, :dim], later, dim)
        oldest = jax.tree.map(lambda a: a[0], carry.exogenous)
        moved = self.recover_lost(self.member_model.disturbed_step(members, oldest, in_history, keys[2]), keys[1])
        moved = jnp.where(carry.num_seen >= self.lag, moved, members)
        carry = SmootherCarry(moved, later, push(carry.exogenous, x.exogenous), carry.num_seen + 1, carry.key)
        return carry, Output(forecast, info), members

    def _analyse(self, prior: Array, observed: Callable[[Array], Array], values: Array) -> Array:
        k = self.num_members - 1
        mean = prior.mean(0)
        anomalies = jnp.asarray(self.inflation, prior.dtype) * (prior - mean)

        def linearise(w: Array) -> tuple[Array, Array]:
            """Returns the observed anomalies at mean + w X, and the innovation seen from the mean."""
            expected, tangent = jax.linearize(observed, mean + product(w, anomalies))
            seen = jax.vmap(tangent)(anomalies)
            return seen, values - expected + product(w, seen)

        def iterate(w: Array, _: Any) -> tuple[Array, None]:
            seen, innovation = linearise(w)
            hessian = k * jnp.eye(len(w), dtype=w.dtype) + product(seen, seen.T)
            return jax.scipy.linalg.solve(hessian, product(seen, innovation), assume_a="pos"), None

        w, _ = jax.lax.scan(iterate, jnp.zeros(len(prior), prior.dtype), length=self.num_iterations - 1)
        return transform(mean + anomalies, *linearise(w))

    def _report(self, start: Array, now: Array, later: Array, dim: int) -> tuple[Info, Array]:
        info: Info = self.member_model.report(later)
        info["analysis"], info["analysis_spread"] = moments(now, None)
        info["reanalysis"], info["reanalysis_spread"] = moments(start, None)
        forecast, info["spread"] = moments(later[:, :dim], None)
        return info, forecast
