"""Attention over candidate models with a recurrent memory instead of delays."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_sizes
from jaxcast.errors import InputError, shown
from jaxcast.nn.gru import GRU
from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.lstm import LSTM
from jaxcast.nn.network import Network
from jaxcast.nn.standardizer import Standardizer
from jaxcast.pooling.memory import PoolMemory
from jaxcast.pooling.pool import ComponentWeights
from jaxcast.pooling.scales import StandardizedInputs
from jaxcast.rollout import Input, Output

_CELLS: dict[str, Any] = {"gru": GRU, "lstm": LSTM}


class RecurrentState(NamedTuple):
    """The state of a `RecurrentMemory`.

    Args:
        value: the newest state, (*batch, dim).
        hidden: the output of the recurrent cell for each candidate, (*batch, model, hidden).
        carry: the carry of the recurrent cell for each candidate.
        seen: whether any value was observed, (*batch,).
    """

    value: Any
    hidden: Any
    carry: Any
    seen: Any


@dataclasses.dataclass(frozen=True)
class RecurrentMemory(PoolMemory):
    """A recurrent cell over [u, e_i], with its own carry for each candidate i.

    `RecurrentAttention` makes it. The first value of a series has no errors and changes no carry.

    Args:
        cell: the recurrent layer.
        scales: of the inputs.
        num_warmup: outputs that pass before a forecast counts.

    Raises:
        InputError: where there are no candidates.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> pool = jaxcast.pooling.RecurrentAttention(dim=1, hidden_size=4, key=jax.random.key(0))
        >>> kept = pool.memory.init(jnp.zeros(1), jnp.zeros((2, 1)))  # for one component and two candidates
        >>> for value in (1.0, 2.0):
        ...     x = jaxcast.Input(jnp.asarray([value]), known=True)
        ...     kept = pool.memory.observe(kept, x, pending=jnp.asarray([[2.5], [3.0]]))
        >>> kept.hidden.shape
        (2, 4)
    """

    cell: Any
    scales: StandardizedInputs
    num_warmup: int

    def init(self, value: Float[Array, "*batch dim"], forecasts: Any) -> RecurrentState:
        if forecasts is None:
            raise InputError("attention needs candidates: give the Forecaster a forecast map")
        carry = self.cell.init_carry(*forecasts.shape[:-1])
        hidden = jnp.zeros((*forecasts.shape[:-1], len(self.cell.recurrent_kernel)), self.cell.bias.dtype)
        return RecurrentState(jnp.zeros_like(value), hidden, carry, jnp.zeros(value.shape[:-1], bool))

    def observe(self, memory: RecurrentState, x: Input, pending: Float[Array, "*batch model dim"]) -> RecurrentState:
        inputs = self.inputs(x.value, pending - x.value[..., None, :])
        newest = self.cell.step(memory.carry, inputs)
        carry, hidden = jax.tree.map(
            lambda new, old: jnp.where(memory.seen[..., None, None], new, old), newest, (memory.carry, memory.hidden)
        )
        return RecurrentState(x.value, hidden, carry, jnp.ones_like(memory.seen))

    def newest(self, memory: RecurrentState) -> Float[Array, "*batch dim"]:
        return memory.value

    def inputs(
        self, values: Float[Array, "*batch dim"], errors: Float[Array, "*batch model dim"]
    ) -> Float[Array, "*batch model size"]:
        """Computes the inputs of the recurrent cell for each candidate, of order one.

        Args:
            values: the newest states.
            errors: of the candidates at them.
        """
        errors = self.scales.errors(errors)
        # Divided by the spread of the candidates, an error tells where among them the truth lay.
        spread = ((errors - errors.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1)[..., None] + 1e-6
        shared = jnp.concatenate([self.scales.states(values), jnp.log(spread)], -1)[..., None, :]
        shared = jnp.broadcast_to(shared, (*errors.shape[:-1], shared.shape[-1]))
        return jnp.concatenate([shared, errors / jnp.sqrt(spread)[..., None, :]], -1)

    def warmup(self, with_errors: bool) -> int:
        return self.num_warmup


class RecurrentAttention(ComponentWeights, Checked, Network, name="recurrent_attention"):
    """Attention whose keys are hidden states of a recurrent network over each candidate's errors.

        h_i <- cell(h_i, [u, e_i])                      e_i = F_i - u, parameters shared by all i
        s_i = W_2 tanh(W_1 [h_i, mean_k h_k, u] + b)    one score, or one for each component d
        a_(d,i) = softmax_i s_(d,i),    y_d = sum_i a_(d,i) F_(d,i)

    Candidates may come in any order and number: permuting them permutes the weights. Train it on
    `sequence_chunks` with the loss `error_over_time`.

    Args:
        dim: components of a state.
        hidden_size: units of the recurrent cell, for each candidate, and of the scoring layer.
        cell: the recurrent layer, "gru" or "lstm".
        per_component: whether each component has separate weights.
        num_warmup: outputs that pass before a forecast counts. Five delays need as many.
        scales: of the inputs, as from `input_scales`; stored with the parameters. By default inputs
            are not standardised.
        key: random key for the initial parameters.
        dtype: of the network; softmax and sum keep the forecasts' dtype.

    Raises:
        InputError: for sizes below one, an unknown cell, scales of another size, or no candidates.

    Source:
        Patel and Wikner (2023), section 2.2, suggest recurrent memory as an alternative to delays;
        Cho et al. (2014) and Hochreiter and Schmidhuber (1997) for the cells.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=40)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> scales = jaxcast.pooling.input_scales(truth, candidates)
        >>> pool = jaxcast.pooling.RecurrentAttention(dim=3, hidden_size=8, scales=scales, key=jax.random.key(0))
        >>> cell = jaxcast.Forecaster(pool, candidates)
        >>> jaxcast.forecast(cell, truth.states, num_leads=5).info["component_weights"].shape
        (5, 3, 2)
    """

    @checked
    def __init__(
        self,
        *,
        dim: int,
        hidden_size: int,
        cell: Literal["gru", "lstm"] = "gru",
        per_component: bool = True,
        num_warmup: int = 5,
        scales: Standardizer | None = None,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(dim=dim, hidden_size=hidden_size, num_warmup=num_warmup)
        if cell not in _CELLS:
            raise InputError(f"cell must be one of {', '.join(_CELLS)}, got {shown(repr(cell))}")
        of_cell, of_scores = jax.random.split(key)
        self.num_warmup = num_warmup
        self.scales = StandardizedInputs(scales, dim)
        self.cell = _CELLS[cell](input_size=2 * dim + 1, hidden_size=hidden_size, key=of_cell, dtype=jnp.dtype(dtype))
        rngs, size = nnx.Rngs(of_scores), 2 * hidden_size + dim
        self.hidden = uniform_linear(size, hidden_size, fan_in=size, rngs=rngs, dtype=dtype)
        self.score = uniform_linear(
            hidden_size, dim if per_component else 1, fan_in=hidden_size, rngs=rngs, dtype=dtype, use_bias=False
        )

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        self.scales.check()

    @property
    def memory(self) -> RecurrentMemory:
        return RecurrentMemory(self.cell, self.scales, self.num_warmup)

    @property
    def config(self) -> dict[str, Any]:
        dim = self.cell.input_kernel.shape[-2] // 2
        (cell,) = (name for name, kind in _CELLS.items() if type(self.cell) is kind)
        return {
            "dim": dim,
            "hidden_size": self.hidden.out_features,
            "cell": cell,
            "per_component": self.score.out_features == dim,
            "num_warmup": self.num_warmup,
            "dtype": jnp.dtype(self.hidden.param_dtype).name,
        }

    @checked
    def weigh(
        self, memory: RecurrentState, forecasts: Float[Array, "*batch model dim"]
    ) -> Float[Array, "*batch dim model"]:
        hidden = memory.hidden
        state = self.scales.states(memory.value).astype(hidden.dtype)[..., None, :]
        shared = jnp.concatenate([hidden.mean(-2, keepdims=True), state], -1)
        shared = jnp.broadcast_to(shared, (*hidden.shape[:-1], shared.shape[-1]))
        inputs = jnp.concatenate([hidden, shared], -1)
        # One plain matrix product for all candidates, as in AdditiveAttention.
        scores = self.score(jnp.tanh(self.hidden(inputs.reshape(-1, inputs.shape[-1]))))
        scores = scores.reshape(*hidden.shape[:-1], -1).astype(forecasts.dtype)
        weights = jnp.swapaxes(jax.nn.softmax(scores, axis=-2), -1, -2)
        return jnp.broadcast_to(weights, (*forecasts.shape[:-2], forecasts.shape[-1], forecasts.shape[-2]))

    def along(
        self,
        values: Float[Array, "*batch time dim"],
        errors: Float[Array, "*batch time model dim"],
        forecasts: Float[Array, "*batch time model dim"],
    ) -> Output:
        """Forecasts at every step of a chunk, as a rolled cell that saw one value before it.

        Args:
            values: the newest state u_(j-1) of each step.
            errors: of the candidates at it, F_(j-1) - u_(j-1).
            forecasts: of the candidates for the next value, F_j.
        """
        inputs = jnp.swapaxes(self.memory.inputs(values, errors), -3, -2)
        _, hidden = self.cell(inputs)
        return self(RecurrentState(values, jnp.swapaxes(hidden, -3, -2), None, None), forecasts)
