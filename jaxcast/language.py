"""A language model: tokens in, the probabilities of the next one out, over whole texts or one token at a time."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int, Key

from jaxcast.errors import InputError
from jaxcast.pooling.attention import check_sizes, uniform_linear
from jaxcast.pytrees import register
from jaxcast.recurrent.stack import Kind, Stack
from jaxcast.rollout import Input, Output, forecast
from jaxcast.schedules import Scalar


class LanguageModel(nnx.Module):
    """An embedding of tokens, a stack of recurrent layers and a softmax over the next token.

        p(w_(n+1) | w_1, ..., w_n) = softmax( W h_n + b ),    h = Stack( E[w] )

    Source: Mikolov et al. (2010); Zaremba, Sutskever and Vinyals (2014) for the dropout, here also of E[w] and h.

    Args:
        num_tokens: of the alphabet. embedding_size: of E[w]. kind, hidden_size, num_layers, dropout: see `Stack`.
        key: for the initial weights.

    Raises:
        InputError: for sizes below one, or a probability outside [0, 1).

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> model = jaxcast.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> carry, logits = model(jnp.asarray([[0, 1, 2, 3], [4, 0, 1, 2]]))
        >>> logits.shape
        (2, 4, 5)
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        hidden_size: int,
        num_layers: int,
        key: Key[Array, ""],
        embedding_size: int = 64,
        kind: Kind = "lstm",
        dropout: float = 0.0,
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(num_tokens=num_tokens, embedding_size=embedding_size)
        of_tokens, of_stack, of_head = jax.random.split(key, 3)
        self.embedding = nnx.Param(jax.random.normal(of_tokens, (num_tokens, embedding_size), dtype))
        self.stack = Stack(
            kind, in_size=embedding_size, hidden_size=hidden_size, num_layers=num_layers, dropout=dropout, key=of_stack,
            dtype=dtype, init="orthogonal",
        )  # fmt: skip
        self.read_out = uniform_linear(hidden_size, num_tokens, fan_in=hidden_size, rngs=nnx.Rngs(of_head), dtype=dtype)

    def init_carry(self, *batch: int) -> Any:
        """The carry before the first token."""
        return self.stack.init_carry(*batch)

    def __call__(
        self, tokens: Int[Array, "*batch time"], carry: Any = None, *, key: Any = None
    ) -> tuple[Any, Float[Array, "*batch time token"]]:
        """The carry after the last token, and what is expected after each; a key switches dropout on."""
        keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
        xs = self._dropped(self.embedding[...][tokens], keys[0])
        carry, hidden = self.stack(xs, carry, key=keys[1])
        return carry, self.read_out(self._dropped(hidden, keys[2]))

    def step(self, carry: Any, token: Int[Array, "*batch"]) -> tuple[Any, Float[Array, "*batch token"]]:
        """The carry after one token, and what is expected next."""
        carry, hidden = self.stack.step(carry, self.embedding[...][token])
        return carry, self.read_out(hidden)

    def _dropped(self, xs: Array, key: Any) -> Array:
        if key is None or not self.stack.dropout:
            return xs
        kept = jax.random.bernoulli(key, 1 - self.stack.dropout, xs.shape)
        return jnp.where(kept, xs / (1 - self.stack.dropout), 0)


def cross_entropy(
    model: Any, carry: Any, tokens: tuple[Int[Array, "batch time"], Int[Array, "batch time"]], key: Any = None
) -> tuple[Float[Array, ""], Any]:
    """The mean of -log p of the tokens that followed, in nats, and the carry: a loss for `fit_over_time`.

    exp of it is the perplexity; divided by log 2 it is bits per token. tokens: those seen, and those that followed.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> model = jaxcast.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> text = jnp.asarray([[0, 1, 2, 3, 4, 0, 1, 2]])
        >>> loss, carry = jaxcast.cross_entropy(model, model.init_carry(1), (text[:, :-1], text[:, 1:]))
        >>> bool(1 < loss < 3)
        True
    """
    seen, followed = tokens
    carry, logits = model(seen, carry, key=key)
    log_p = jax.nn.log_softmax(logits, -1)
    return -jnp.take_along_axis(log_p, followed[..., None], -1).mean(), carry


@register
@dataclasses.dataclass(frozen=True)
class TokenCell:
    """The cell of a language model: a rollout where the token is unknown feeds a sample, softmax(logits / temperature).

    forecast: the logits of the next token; `info["token"]` is the one that was fed.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> model = jaxcast.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> jaxcast.open_loop(jaxcast.TokenCell(model), jnp.asarray([0, 1, 2])).forecast.shape
        (3, 5)
    """

    model: Any
    temperature: Scalar = 1.0

    warmup = 0

    def init_carry(self, value: Any, given: Any = None) -> Any:
        return self.model.init_carry()

    def __call__(self, carry: Any, x: Input) -> tuple[Any, Output]:
        carry, logits = self.model.step(carry, x.value)
        return carry, Output(logits, {"token": x.value})

    def feedback(self, output: Output, key: Any) -> Array:
        return jax.random.categorical(key, output.forecast / self.temperature).astype(output.info["token"].dtype)


def sample_tokens(
    model: LanguageModel,
    prompt: Int[Array, " time"],
    num_tokens: int,
    *,
    temperature: Scalar = 1.0,
    key: Key[Array, ""],
) -> Int[Array, " token"]:
    """What a model writes after a prompt, in one compiled scan: a closed loop that feeds samples.

    Args:
        temperature: below 1 likely tokens become likelier. key: for the samples.

    Raises:
        InputError: for an empty prompt, no tokens, or a temperature that is not positive.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> model = jaxcast.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> jaxcast.sample_tokens(model, jnp.asarray([0, 1]), 7, key=jax.random.key(1)).shape
        (7,)
    """
    prompt = jnp.asarray(prompt)
    is_cold = not isinstance(temperature, jax.core.Tracer) and not jnp.asarray(temperature) > 0
    if prompt.ndim != 1 or not len(prompt) or num_tokens < 1 or is_cold:
        raise InputError(
            "expected a prompt (time,) of at least one token, at least one token to write and a positive temperature, "
            f"got {prompt.shape}, {num_tokens} and {temperature}"
        )
    outputs = forecast(TokenCell(model, jnp.asarray(temperature)), prompt, num_tokens + 1, key=key)
    # The first output is that of the last token of the prompt, the next ones those of samples.
    return outputs.info["token"][1:]


def text_streams(text: Sequence[int] | Int[Any, " time"], num_streams: int) -> tuple[Int[Array, "stream time"], ...]:
    """A text as so many consecutive parts of one length, side by side, and the same one token on: data for `fit_over_time`.

    Raises:
        InputError: for a text too short for two tokens in each.

    Example:
        >>> import jaxcast
        >>> seen, followed = jaxcast.text_streams(range(9), 2)
        >>> seen.tolist(), followed.tolist()
        ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    """
    tokens = np.asarray(text)
    length = (len(tokens) - 1) // max(num_streams, 1)
    if num_streams < 1 or length < 1:
        raise InputError(f"a text of {len(tokens)} tokens cannot be cut into {num_streams} streams")
    cut = (tokens[k : k + num_streams * length].reshape(num_streams, length) for k in (0, 1))
    return tuple(jnp.asarray(part, jnp.int32) for part in cut)
