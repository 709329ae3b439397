"""The cell that adds a learned residual to the forecast of a base."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_flag, check_floats, check_model, check_whole, sizes_of
from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap, candidate_shapes
from jaxcast.errors import InputError
from jaxcast.forecasters.readout import Readout
from jaxcast.pooling.cell import ForecasterCarry
from jaxcast.pooling.hybrid.channels import Channels
from jaxcast.pooling.hybrid.feature_maps import FeatureMap
from jaxcast.pooling.hybrid.stencil import Stencil
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Input, Output
from jaxcast.types import Info


class HybridMemory(NamedTuple):
    """What a hybrid remembers besides its base.

    Args:
        states: newest first.
        errors: of the base, newest first.
        differences: of the candidates from the base, newest first.
        pending: the base's forecast of the next value.
        features: the state of the feature map.
    """

    states: Float[Array, "lag dim"]
    errors: Float[Array, "error_lag dim"]
    differences: Float[Array, "difference_lag mode dim"]
    pending: Float[Array, " dim"]
    features: Any


class HybridCarry(NamedTuple):
    """The carry of a `HybridForecaster`.

    Args:
        base: the carry of the base.
        memory: of the residual.
    """

    base: Any
    memory: HybridMemory


class HybridForecaster(CandidateCell, Checked, FrozenPytree, name="hybrid"):
    """A base's forecast plus a learned residual, from delays, candidates' forecasts and errors.

        y = base(u) + error * (W' g + b)
        g = features of [z_n, ..., z_(n-k+1); y_n - u_n; F_n - y_n; y_(n-1) - u_n, ...]

    z are the standardised states, y the forecasts of the base and F those of the candidates, which
    are seen through the principal components of their differences. The candidates' errors are the
    base's and these differences one step earlier. Each site of a field sees these
    at its neighbours, and all sites share W, b and the feature map. `info` is the base's, with
    "correction", (dim,), added. `fit_hybrid` returns it.

    Args:
        base: a cell, such as a `Forecaster`, without its candidates.
        channels: scales of what the residual sees.
        stencil: the neighbours of each site.
        features: g, such as polynomials or the nodes of a reservoir.
        readout: W and b.
        forecast_map: the candidates, for the base too.
        num_delays: k.
        num_errors: last errors of the base that the residual sees.
        candidate_errors: whether it sees those of the candidates, too.

    Raises:
        InputError: when saved or loaded, for arrays that do not match or settings out of range.

    Source:
        Pathak et al., Chaos 28, 041101 (2018); Wikner et al., Chaos 30, 053111 (2020); for stencils
        Pathak, Hunt, Girvan, Lu and Ott, Phys. Rev. Lett. 120, 024102 (2018).

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=400)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (30.0, 34.0)]))
        >>> cell = jaxcast.pooling.fit_hybrid(truth, candidates, num_delays=1, penalties=(1e-6,))
        >>> output = jaxcast.forecast(cell, truth.states[:5], 3, truth.times[:7])
        >>> output.info["correction"].shape
        (3, 3)
    """

    base: CandidateCell
    channels: Channels
    stencil: Stencil
    features: FeatureMap
    readout: Readout
    forecast_map: ForecastMap | None = None
    num_delays: int = static(default=1)
    num_errors: int = static(default=0)
    candidate_errors: bool = static(default=False)

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        for part in (self.base, self.channels, self.stencil, self.features):
            check_model(part)
        check_floats(self.readout)
        check_whole("num_delays", self.num_delays)
        check_whole("num_errors", self.num_errors, least=0)
        check_flag("candidate_errors", self.candidate_errors)
        sizes = sizes_of(self.readout, {".weights": "feature component", ".bias": "component"})
        num_sites, _, num_components = self.stencil.table.shape
        if sizes["component"] != num_components or len(self.channels.mean) != num_sites * num_components:
            raise InputError(
                f"expected a readout of {num_components} components and channels of {num_sites * num_components}, got "
                f"{sizes['component']} and {len(self.channels.mean)}"
            )
        if self.num_features != sizes["feature"]:
            raise InputError(f"expected a readout of {self.num_features} features, got {sizes['feature']}")

    @property
    def num_features(self) -> int:
        """Features of a site."""
        num_sites, num_neighbours, num_components = self.stencil.table.shape
        num_modes = self._num_differences * self.channels.modes.shape[1]
        num_channels = self.num_delays + 1 + self.num_errors + num_modes
        seen = jnp.zeros((num_sites, num_channels * num_neighbours * num_components), self.channels.mean.dtype)
        _, features = jax.eval_shape(self.features, self.features.init(num_sites), seen)
        return int(features.shape[-1])

    @property
    def warmup(self) -> int:
        return self.base_warmup + self.own_warmup

    @property
    def base_warmup(self) -> int:
        """Steps before the base's forecast counts."""
        return int(self._base.warmup)

    @property
    def own_warmup(self) -> int:
        """Steps before the residual's memory is full."""
        return max(self.num_delays - 1, self.num_errors)

    @property
    def _num_differences(self) -> int:
        """Steps of which the candidates' differences from the base are seen."""
        return 1 + self.num_errors * self.candidate_errors

    @property
    def _base(self) -> Any:
        base: Any = self.base
        return dataclasses.replace(base, forecast_map=self.forecast_map)

    def init_base(self, value: Float[Array, " dim"], exogenous: Any = None) -> Any:
        """Returns the base's carry before any value.

        Args:
            value: for its shape and dtype.
            exogenous: what comes with it.
        """
        candidate_shapes(self.forecast_map, value, exogenous)
        return self._base.init_carry(value, exogenous)

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> HybridCarry:
        return HybridCarry(self.init_base(value, exogenous), self.empty_memory(value))

    def empty_memory(self, value: Float[Array, " dim"]) -> HybridMemory:
        """Returns what is remembered before any value.

        Args:
            value: for its shape and dtype.
        """
        if value.shape != self.channels.mean.shape:
            raise InputError(f"it was trained on values of shape {self.channels.mean.shape}, got {value.shape}")
        none = jnp.zeros_like(value)
        states = jnp.broadcast_to(none, (self.num_delays, *value.shape))
        errors = jnp.broadcast_to(none, (self.num_errors, *value.shape))
        differences = jnp.broadcast_to(none, (self._num_differences, self.channels.modes.shape[1], *value.shape))
        return HybridMemory(states, errors, differences, none, self.features.init(self.stencil.table.shape[0]))

    def see(
        self,
        memory: HybridMemory,
        value: Float[Array, " dim"],
        forecast: Float[Array, " dim"],
        candidates: Float[Array, "model dim"] | None,
    ) -> tuple[HybridMemory, Float[Array, "site seen"]]:
        """Remembers a value, and collects what each site sees.

        Args:
            memory: before the value.
            value: the newest one.
            forecast: the base's, of the next value.
            candidates: theirs.

        Returns:
            The memory with that value, but the features' state from before it, and what is seen.
        """
        states = jnp.concatenate([value[None], memory.states])[: self.num_delays]
        errors = jnp.concatenate([(memory.pending - value)[None], memory.errors])[: self.num_errors]
        newest = self.channels.differences(forecast, candidates)[None]
        differences = jnp.concatenate([newest, memory.differences])[: self._num_differences]
        seen = self.stencil.gather(self.channels(states, errors, forecast, differences))
        return HybridMemory(states, errors, differences, forecast, memory.features), seen

    def observe(
        self, memory: HybridMemory, value: Array, forecast: Array, candidates: Any
    ) -> tuple[HybridMemory, Float[Array, "site feature"]]:
        """Remembers a value, and computes the features of the next one's residual.

        Args:
            memory: before the value.
            value: the newest one, as for `see`.
            forecast: the base's.
            candidates: theirs.

        Returns:
            The memory with that value, and the features of each site.
        """
        memory, seen = self.see(memory, value, forecast, candidates)
        state, features = self.features(memory.features, seen)
        return memory._replace(features=state), features

    def run_base(self, carry: Any, x: Input) -> tuple[Any, Output, Float[Array, "model dim"] | None]:
        """Does a step of the base.

        Args:
            carry: of the base.
            x: the newest value.

        Returns:
            The base's carry and output, and the candidates' forecasts.
        """
        carry, output = self._base(carry, x)
        if isinstance(carry, ForecasterCarry):  # it has run the candidates
            return carry, output, carry.pending
        return carry, output, None if self.forecast_map is None else self.forecast_map(x.value, x.exogenous)

    def __call__(self, carry: HybridCarry, x: Input) -> tuple[HybridCarry, Output]:
        base, output, candidates = self.run_base(carry.base, x)
        memory, features = self.observe(carry.memory, x.value, output.forecast, candidates)
        correction = self.channels.error * self.stencil.scatter(self.readout(features))
        info: Info = {**output.info, "correction": correction}
        return HybridCarry(base, memory), Output((output.forecast + correction).astype(x.value.dtype), info)
