"""Attention over candidate models: weights recomputed at each step from their latest errors."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.backends.dispatch import by_platform
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.nn.layers import check_input, shares_of, uniform_linear
from jaxcast.nn.network import Network
from jaxcast.pooling.memory import Memory
from jaxcast.pooling.pool import DelayPool, WeightedPool, WeightedSum
from jaxcast.precision import highest
from jaxcast.rollout import Output

Present = Bool[Array, "*batch model"] | None


class AdditiveAttention(WeightedSum, DelayPool, Network, name="additive_attention"):
    """Single-head additive attention: a convex combination of the candidate forecasts.

        a_i = softmax_i [ w_v . tanh(W_q q + W_k k_i + b) ],    y = sum_i a_i F_i
        q = [u_(j-1), ..., u_(j-l)],    k_i = [F_(j-1)^(i) - u_(j-1), ..., F_(j-l)^(i) - u_(j-l)]

    There is one key for each candidate and one query for all; all components of the state share the
    weights. Initialisation is uniform within 1/sqrt(fan-in).

    Args:
        dim: components of a state.
        num_delays: l, the past states and errors that the pool sees.
        hidden_size: rows of W_q and W_k (in the paper 600 / l).
        query_dim: components of a state in the query; by default `dim`. Over a hub's quantiles the
            query has one observation, while a candidate has an error for each level.
        key: random key for the initial parameters.
        dtype: of the network; softmax and sum keep the forecasts' dtype.

    Raises:
        InputError: for sizes below one, a memory of another size, or no candidates.

    Source:
        Patel and Wikner (2023), eq. 1, 2, 4 and 8; Bahdanau, Cho and Bengio (2015) for the score.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> pool = jaxcast.AdditiveAttention(dim=3, num_delays=5, hidden_size=120, key=jax.random.key(0))
        >>> memory = jaxcast.pooling.Memory(states=jnp.ones((5, 3)), errors=jnp.ones((5, 11, 3)))
        >>> forecast, info = pool(memory, jnp.ones((11, 3)))
        >>> forecast.shape, info["weights"].shape
        ((3,), (11,))
    """

    @checked
    def __init__(
        self,
        *,
        dim: int,
        num_delays: int,
        hidden_size: int,
        query_dim: int | None = None,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        query_dim = dim if query_dim is None else query_dim
        check_sizes(dim=dim, num_delays=num_delays, hidden_size=hidden_size, query_dim=query_dim)
        self.num_delays = num_delays
        self.query_dim = query_dim
        rngs = nnx.Rngs(key)
        size = num_delays * dim
        # [W_q, W_k] and b in one layer, each initialised by its own fan-in.
        self.hidden = uniform_linear(size + num_delays * query_dim, hidden_size, fan_in=size, rngs=rngs, dtype=dtype)
        self.score = uniform_linear(hidden_size, 1, fan_in=hidden_size, rngs=rngs, dtype=dtype, use_bias=False)

    @property
    def config(self) -> dict[str, Any]:
        dim = self.hidden.in_features // self.num_delays - self.query_dim
        other = {} if self.query_dim == dim else {"query_dim": self.query_dim}
        return network_config(self.hidden, 1, self.num_delays) | {"dim": dim} | other

    @checked
    def weigh(
        self, memory: Memory, forecasts: Float[Array, "*batch model dim"], present: Present = None
    ) -> Float[Array, "*batch model"]:
        query, errors = _query_and_errors(self, memory)
        num_delays, dim = errors.shape[-3], errors.shape[-1]
        check_input(self.hidden, query.shape[-1] + num_delays * dim)
        layer: Any = self.hidden
        scores = _additive_scores(layer.kernel[...], layer.bias[...], self.score.kernel[...], query, errors)
        return _softmax_over_models(scores, forecasts.dtype, present)


class ScaledDotProductAttention(WeightedSum, DelayPool, Network, name="scaled_dot_product_attention"):
    """Single-head scaled dot-product attention: a convex combination of the candidate forecasts.

        a_i = softmax_i [ (W_q q + b) . (W_k k_i) / sqrt(hidden_size) ],    y = sum_i a_i F_i

    The query q and the keys k_i are those of `AdditiveAttention`. A bias of the keys would add the
    same to every score and cancel, so there is none.

    Args:
        dim: components of a state.
        num_delays: l, the past states and errors that the pool sees.
        hidden_size: rows of W_q and W_k.
        key: random key for the initial parameters.
        dtype: of the network; softmax and sum keep the forecasts' dtype.

    Raises:
        InputError: for sizes below one, a memory of another size, or no candidates.

    Source:
        Vaswani et al. (2017), eq. 1.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> pool = jaxcast.pooling.ScaledDotProductAttention(
        ...     dim=3, num_delays=5, hidden_size=120, key=jax.random.key(0)
        ... )
        >>> memory = jaxcast.pooling.Memory(states=jnp.ones((5, 3)), errors=jnp.ones((5, 11, 3)))
        >>> forecast, info = pool(memory, jnp.ones((11, 3)))
        >>> forecast.shape, info["weights"].shape
        ((3,), (11,))
    """

    @checked
    def __init__(
        self, *, dim: int, num_delays: int, hidden_size: int, key: Key[Array, ""], dtype: DTypeLike = jnp.float32
    ):
        check_sizes(dim=dim, num_delays=num_delays, hidden_size=hidden_size)
        self.num_delays = num_delays
        rngs = nnx.Rngs(key)
        size = num_delays * dim
        self.query = uniform_linear(size, hidden_size, fan_in=size, rngs=rngs, dtype=dtype)
        self.key = uniform_linear(size, hidden_size, fan_in=size, rngs=rngs, dtype=dtype, use_bias=False)

    @property
    def config(self) -> dict[str, Any]:
        return network_config(self.query, self.num_delays, self.num_delays)

    @checked
    def weigh(
        self, memory: Memory, forecasts: Float[Array, "*batch model dim"], present: Present = None
    ) -> Float[Array, "*batch model"]:
        query, errors = _query_and_errors(self, memory)
        keys = _keys(errors)
        check_input(self.query, query.shape[-1])
        # (W_q q + b) . (W_k k) as (W_k^T (W_q q + b)) . k: one product a sample instead of one for
        # every candidate.
        projected = self.query(query) @ self.key.kernel.T
        scores = jnp.sum(projected * keys.astype(projected.dtype), -1) / math.sqrt(self.query.out_features)
        return _softmax_over_models(scores, forecasts.dtype, present)


_HEADS = {"additive": AdditiveAttention, "scaled_dot_product": ScaledDotProductAttention}


class MultiHeadAttention(WeightedPool, DelayPool, Network, name="multi_head_attention"):
    """P attention heads, each with its own parameters, and a linear map of their forecasts.

        y = W_0 [y^(1), ..., y^(P)],    y^(p) = sum_i a_i^(p) F_i

    W_0 (dim, P dim) starts as the mean of the heads and is trained with them; afterwards y need not
    be a convex combination. `info["head_weights"]`, (*batch, head, model), are the weights of the
    heads, `info["weights"]` is their mean.

    Args:
        num_heads: P.
        dim: components of a state.
        num_delays: l, the past states and errors that the pool sees.
        hidden_size: rows of W_q and W_k of each head.
        score: kind of head, "additive" for `AdditiveAttention` or "scaled_dot_product" for
            `ScaledDotProductAttention`.
        key: random key for the initial parameters.
        dtype: of the network; softmax and sum keep the forecasts' dtype.
        **of_heads: other arguments of the heads, such as `query_dim`.

    Raises:
        InputError: for an unknown score, sizes below one, a memory of another size, or no
            candidates.

    Source:
        Patel and Wikner (2023), eq. 3.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> pool = jaxcast.pooling.MultiHeadAttention(
        ...     score="additive", num_heads=4, dim=3, num_delays=5, hidden_size=30, key=jax.random.key(0)
        ... )
        >>> memory = jaxcast.pooling.Memory(states=jnp.ones((5, 3)), errors=jnp.ones((5, 11, 3)))
        >>> forecast, info = pool(memory, jnp.ones((11, 3)))
        >>> forecast.shape, info["weights"].shape, info["head_weights"].shape
        ((3,), (11,), (4, 11))
    """

    @checked
    def __init__(
        self,
        *,
        num_heads: int,
        dim: int,
        num_delays: int,
        hidden_size: int,
        score: Literal["additive", "scaled_dot_product"] = "additive",
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
        **of_heads: Any,
    ):
        if score not in _HEADS:
            raise InputError(f"score must be one of {', '.join(_HEADS)}, got {shown(repr(score))}")
        check_sizes(num_heads=num_heads, dim=dim, num_delays=num_delays, hidden_size=hidden_size)
        shape = (num_heads, num_delays * dim, hidden_size)
        check_arrays(f"{num_heads} heads of {hidden_size} hidden units", shape, dtype=dtype)

        def head(key: Array) -> Any:
            return _HEADS[score](
                dim=dim, num_delays=num_delays, hidden_size=hidden_size, key=key, dtype=dtype, **of_heads
            )

        self.heads = jax.vmap(head)(jax.random.split(key, num_heads))
        self.num_delays = num_delays
        # Without a dtype of its own the layer computes in the forecasts'.
        self.readout = nnx.Linear(
            num_heads * dim,
            dim,
            use_bias=False,
            param_dtype=jnp.dtype(dtype),
            kernel_init=_mean_of_heads,
            rngs=nnx.Rngs(key),
        )

    @property
    def config(self) -> dict[str, Any]:
        (score,) = (name for name, head in _HEADS.items() if type(self.heads) is head)
        num_heads = self.readout.in_features // self.readout.out_features
        return {"score": score, "num_heads": num_heads, **self.heads.config}

    @checked
    def weigh(
        self, memory: Memory, forecasts: Float[Array, "*batch model dim"], present: Present = None
    ) -> Float[Array, "*batch head model"]:
        return jax.vmap(lambda head: head.weigh(memory, forecasts, present), out_axes=-2)(self.heads)

    @highest
    def combine(
        self, weights: Float[Array, "*batch head model"], forecasts: Float[Array, "*batch model dim"]
    ) -> Output:
        heads = jnp.einsum("...pm,...md->...pd", weights, forecasts)
        forecast = self.readout(heads.reshape(*heads.shape[:-2], -1))
        return Output(forecast, {"weights": weights.mean(-2), "head_weights": weights})


def _mean_of_heads(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    num_inputs, dim = shape
    num_heads = num_inputs // dim
    return jnp.tile(jnp.eye(dim, dtype=dtype) / num_heads, (num_heads, 1))


def _query_and_errors(
    pool: DelayPool, memory: Memory
) -> tuple[Float[Array, "*batch query_size"], Float[Array, "*batch lag model dim"]]:
    """Returns the delayed states of each sample as one row, and the delayed errors."""
    errors: Array = pool.errors_in(memory)
    states: Array = memory.states
    if states.ndim + 1 != errors.ndim:
        raise InputError(
            "expected a memory of states (*batch, lag, dim) and errors (*batch, lag, model, dim), "
            f"got {states.shape} and {errors.shape}"
        )
    return states.reshape(*states.shape[:-2], -1), errors


def _keys(errors: Float[Array, "*batch lag model dim"]) -> Float[Array, "model *batch key_size"]:
    """Returns the delayed errors of each candidate as one row."""
    *batch, _, num_models, _ = errors.shape
    return jnp.moveaxis(errors, -2, 0).reshape(num_models, *batch, -1)


_MOST_JOINED = 16
"""Lags to join one by one; with more of them compiling takes longer than it saves."""


_MOST_FUSED = 64
"""Inputs of a product that a GPU computes faster with what follows it than by a library."""


@jax.custom_jvp
def _additive_scores(kernel: Array, bias: Array, score: Array, query: Array, errors: Array) -> Array:
    """Computes w_v . tanh(W_q q + W_k k_i + b), (model, *batch).

    The part of the query is computed once for all candidates, and keys are joined lag by lag:
    closed loops take three quarters of the time of `_additive_scores_in_one`, which is faster where
    it is differentiated.
    """
    *_, num_lags, _, dim = errors.shape
    is_small = num_lags <= _MOST_JOINED and len(kernel) == 2 * num_lags * dim <= _MOST_FUSED
    on_gpu = {"cuda": _additive_scores_by_lag} if is_small else {}
    return by_platform(_additive_scores_by_key, kernel, bias, score, query, errors, **on_gpu)


def _additive_scores_by_key(kernel: Array, bias: Array, score: Array, query: Array, errors: Array) -> Array:
    of_query, of_keys = jnp.split(kernel, [query.shape[-1]])
    lags = [jnp.moveaxis(errors[..., lag, :, :], -2, 0) for lag in range(min(errors.shape[-3], _MOST_JOINED + 1))]
    keys = (jnp.concatenate(lags, -1) if len(lags) <= _MOST_JOINED else _keys(errors)).astype(kernel.dtype)
    rows = keys.reshape(-1, keys.shape[-1]) @ of_keys
    hidden = jnp.tanh(rows.reshape(*keys.shape[:-1], -1) + (query.astype(kernel.dtype) @ of_query + bias))
    return (hidden.reshape(rows.shape) @ score).reshape(keys.shape[:-1])


def _additive_scores_by_lag(kernel: Array, bias: Array, score: Array, query: Array, errors: Array) -> Array:
    """Computes the same by sums of products, which a compiler merges, also with those of other steps."""
    num_lags, _, dim = errors.shape[-3:]
    of_query, of_keys = (a.reshape(num_lags, dim, -1) for a in jnp.split(kernel, 2))
    states = query.reshape(*query.shape[:-1], num_lags, dim)
    hidden: Array = bias
    for lag in range(num_lags):
        state, error = states[..., lag, None, :, None], errors[..., lag, :, :, None]
        products = state.astype(kernel.dtype) * of_query[lag] + error.astype(kernel.dtype) * of_keys[lag]
        hidden = hidden + jnp.sum(products, -2)
    return jnp.moveaxis(jnp.sum(jnp.tanh(hidden) * score[:, 0], -1), -1, 0)


@_additive_scores.defjvp
def _additive_scores_jvp(primals: Any, tangents: Any) -> Any:
    return jax.jvp(_additive_scores_in_one, primals, tangents)


def _additive_scores_in_one(kernel: Array, bias: Array, score: Array, query: Array, errors: Array) -> Array:
    """Computes the same by one plain matrix product, models first.

    With two products or more axes, training on two CPU cores is several times slower.
    """
    keys = _keys(errors)
    inputs = jnp.concatenate([jnp.broadcast_to(query, (*keys.shape[:-1], query.shape[-1])), keys], -1)
    hidden = jnp.tanh(inputs.reshape(-1, inputs.shape[-1]).astype(kernel.dtype) @ kernel + bias)
    return (hidden @ score).reshape(keys.shape[:-1])


def _softmax_over_models(scores: Array, dtype: DTypeLike, present: Present) -> Array:
    """Computes the weights, models last; absent models get none, even where all are absent."""
    scores = scores.astype(dtype)
    if present is None:
        return jnp.moveaxis(jax.nn.softmax(scores, axis=0), 0, -1)
    return shares_of(jnp.moveaxis(scores, 0, -1), present)


def network_config(layer: nnx.Linear, inputs_per_component: int, num_delays: int) -> dict[str, Any]:
    """Returns the arguments, as JSON values, of a pool whose first layer is this one.

    Args:
        layer: the first layer.
        inputs_per_component: inputs of the layer for each component of a state.
        num_delays: of the pool.
    """
    return {
        "dim": layer.in_features // inputs_per_component,
        "num_delays": num_delays,
        "hidden_size": layer.out_features,
        "dtype": jnp.dtype(layer.param_dtype).name,
    }
