"""Recurrent language models: training loss, scores and sampling."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.nn.classification import class_cross_entropy, log_probability
from jaxcast.nn.dropout import drop
from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.network import Network
from jaxcast.nn.rnn import Activation
from jaxcast.nn.stack import Kind, Stack
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import Cell, HasCell, Input, Output, forecast
from jaxcast.text.tokens import Tokens, checked_tokens
from jaxcast.tracing import is_traced
from jaxcast.types import Scalar


class LanguageModel(HasCell, Network, name="language_model"):
    """An embedding of tokens, a stack of recurrent layers, and a softmax over the next token.

        p(w_(n+1) | w_1, ..., w_n) = softmax(W h_n + b),    h = Stack(E[w])

    `fit` with `chunk_size` trains it on `text_streams` by `cross_entropy`. With kind="rnn",
    activation="sigmoid" and one layer it is the simple model h_n = sigmoid(W_h h_(n-1) + W_e E[w_n]
    + b).

    Args:
        num_tokens: size of the vocabulary.
        hidden_size: components of h.
        num_layers: layers of the stack.
        key: random key for the initial weights.
        embedding_size: components of E[w].
        kind: of the layers, "lstm", "gru" or "rnn".
        dropout: as for `Stack`, and here of E[w] and h too.
        activation: of an "rnn", "tanh", "sigmoid" or "relu"; tanh by default.
        dtype: of the parameters and the logits.

    Raises:
        InputError: for an unknown kind or activation, an activation for an "lstm" or "gru", sizes
            below one, or a probability outside [0, 1).

    Source:
        Mikolov et al. (2010); Zaremba, Sutskever and Vinyals (2014) for the dropout.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> model = jaxcast.text.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> carry, logits = model(jnp.asarray([[0, 1, 2, 3], [4, 0, 1, 2]]))
        >>> logits.shape
        (2, 4, 5)
    """

    @checked
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
        activation: Activation | None = None,
        dtype: DTypeLike = jnp.float32,
    ):
        if activation is not None and kind != "rnn":
            raise InputError(
                f"only kind='rnn' has a choice of activation, got {shown(repr(activation))} for {shown(repr(kind))}; "
                "leave it out"
            )
        options: dict[str, Any] = {} if activation is None else {"activation": activation}
        check_sizes(num_tokens=num_tokens, embedding_size=embedding_size)
        check_arrays(f"an embedding of {num_tokens} tokens", (num_tokens, embedding_size), dtype=dtype)
        of_tokens, of_stack, of_readout = jax.random.split(key, 3)
        self.embedding = nnx.Param(jax.random.normal(of_tokens, (num_tokens, embedding_size), dtype))
        self.stack = Stack(
            kind,
            input_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            key=of_stack,
            dtype=dtype,
            init="orthogonal",
            **options,
        )
        rngs = nnx.Rngs(of_readout)
        self.readout = uniform_linear(hidden_size, num_tokens, fan_in=hidden_size, rngs=rngs, dtype=dtype)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that make a model of the same sizes, beside a key."""
        num_tokens, embedding_size = self.embedding.shape[-2:]
        names = ("kind", "hidden_size", "num_layers", "dropout", "activation", "dtype")
        stack = {name: self.stack.config[name] for name in names if name in self.stack.config}
        return {"num_tokens": num_tokens, "embedding_size": embedding_size, **stack}

    @property
    def cell(self) -> "TokenCell":
        """The cell that samples at a temperature of 1."""
        return TokenCell(self)

    def init_carry(self, *batch: int) -> Any:
        """Returns the carry before the first token.

        Args:
            *batch: lengths of the batch axes.
        """
        return self.stack.init_carry(*batch)

    @checked
    def __call__(
        self, tokens: Int[Array, "*batch time"], carry: Any = None, *, key: Key[Array, ""] | None = None
    ) -> tuple[Any, Float[Array, "*batch time token"]]:
        """Runs the model over texts.

        Args:
            tokens: of the texts.
            carry: before the first token; by default `init_carry`.
            key: random key for dropout; without one nothing is dropped.

        Returns:
            The carry after the last token, and the logits of the token that follows each.
        """
        of_inputs, of_stack, of_outputs = (None,) * 3 if key is None else jax.random.split(key, 3)
        xs = drop(self.embedding[...][tokens], self.stack.dropout, of_inputs)
        carry, outputs = self.stack(xs, carry, key=of_stack)
        return carry, self.readout(drop(outputs, self.stack.dropout, of_outputs))

    def step(self, carry: Any, token: Int[Array, "*batch"]) -> tuple[Any, Float[Array, "*batch token"]]:
        """Runs the model for one token, without dropout.

        Args:
            carry: before the token.
            token: of each text.

        Returns:
            The carry after the token, and the logits of the next.
        """
        carry, output = self.stack.step(carry, self.embedding[...][token])
        return carry, self.readout(output)


@checked
def cross_entropy(
    model: Any,
    carry: Any,
    tokens: tuple[Int[Array, "*batch time"], Int[Array, "*batch time"]],
    key: Key[Array, ""] | None = None,
) -> tuple[Float[Array, ""], Any]:
    """Computes the mean of -log p of the next tokens, in nats.

    It is the loss for `fit` with `chunk_size`.

    The model reads the true tokens, not its own forecasts of them (teacher forcing).

    Args:
        model: such as a `LanguageModel`.
        carry: before the first token.
        tokens: the tokens to read, and the token that follows each.
        key: random key for dropout; without one nothing is dropped.

    Returns:
        The loss, and the carry after the last token.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> model = jaxcast.text.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> text = jnp.asarray([[0, 1, 2, 3, 4, 0, 1, 2]])
        >>> loss, carry = jaxcast.text.cross_entropy(model, model.init_carry(1), (text[:, :-1], text[:, 1:]))
        >>> bool(1 < loss < 3)
        True
    """
    seen, followed = tokens
    carry, logits = model(seen, carry, key=key)
    return class_cross_entropy(logits, followed), carry


class TextScore(NamedTuple):
    """Scores of a text.

    Args:
        loss: mean of -log p of a token, in nats.
        perplexity: exp of the loss.
        bits: the loss in bits; for characters, bits per character.
    """

    loss: Float[Array, ""]
    perplexity: Float[Array, ""]
    bits: Float[Array, ""]


@checked
def score_log_likelihoods(log_p: Float[Any, " token"]) -> TextScore:
    """Scores a text by the log-probabilities of its tokens.

    Args:
        log_p: of every token, in nats.

    Raises:
        InputError: for no tokens.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> score = jaxcast.text.score_log_likelihoods(jnp.log(jnp.asarray([0.25, 0.25])))
        >>> float(score.perplexity), float(score.bits)
        (4.0, 2.0)
    """
    if not np.size(log_p):
        raise InputError("expected the log-probability of at least one token, got none")
    loss = -jnp.mean(jnp.asarray(log_p))
    return TextScore(loss, jnp.exp(loss), loss / jnp.log(jnp.asarray(2, loss.dtype)))


@checked
def log_likelihoods(model: LanguageModel, tokens: Tokens, *, chunk_size: int = 1000) -> Float[Array, " token-1"]:
    """Computes log p of every token of a text except the first, given all tokens before it.

    Args:
        model: the language model.
        tokens: of the text.
        chunk_size: tokens that are read at once. It bounds the memory only: the carry is kept from
            the first token to the last.

    Raises:
        InputError: for fewer than two tokens, tokens outside of the vocabulary, or chunks below
            one.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> model = jaxcast.text.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> log_p = jaxcast.text.log_likelihoods(model, np.arange(300) % 5)
        >>> log_p.shape, bool(jaxcast.text.score_log_likelihoods(log_p).perplexity < 10)
        ((299,), True)
    """
    check_sizes(chunk_size=chunk_size)
    tokens = checked_tokens(tokens, at_least=2, num_tokens=len(model.embedding))
    return _log_likelihoods(model, tokens, chunk_size=min(chunk_size, len(tokens) - 1))


@partial(jax.jit, static_argnames="chunk_size")
def _log_likelihoods(model: LanguageModel, tokens: Array, *, chunk_size: int) -> Array:
    num = len(tokens) - 1
    # What the last chunk is filled up with comes after the text and changes nothing before.
    padded = jnp.pad(tokens, (0, -num % chunk_size))

    def chunk(carry: Any, pair: tuple[Array, Array]) -> tuple[Any, Array]:
        carry, logits = model(pair[0], carry)
        return carry, log_probability(logits, pair[1])

    chunks = (padded[:-1].reshape(-1, chunk_size), padded[1:].reshape(-1, chunk_size))
    return jax.lax.scan(chunk, model.init_carry(), chunks)[1].reshape(-1)[:num]


class TokenCell(FrozenPytree, Cell):
    """A language model as a cell, whose closed loop samples from softmax(logits / temperature).

    Values are integer tokens without an axis, forecasts are logits, (token,), in the model's dtype.
    `info["token"]` is the token that was fed.

    Args:
        model: such as a `LanguageModel`.
        temperature: below 1 it favours likely tokens.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> model = jaxcast.text.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> jaxcast.open_loop(jaxcast.text.TokenCell(model), jnp.asarray([0, 1, 2])).forecast.shape
        (3, 5)
    """

    model: Any
    temperature: Scalar = 1.0

    warmup = 0
    reads_tokens = True

    def init_carry(self, value: Any, exogenous: Any = None) -> Any:
        """Returns the model's carry before the first token.

        Args:
            value: the first token; its value has no effect.
            exogenous: not used.
        """
        return self.model.init_carry()

    def __call__(self, carry: Any, x: Input) -> tuple[Any, Output]:
        """Reads one token.

        Args:
            carry: the model's.
            x: with the token as its value.

        Returns:
            The carry after it, and the logits of the next token.
        """
        carry, logits = self.model.step(carry, x.value)
        return carry, Output(logits, {"token": x.value})

    def check_first(self, value: Any, known: Any) -> None:
        """Accepts any first token.

        Args:
            value: the first token.
            known: whether it is the truth.
        """

    def feedback(self, output: Output, key: Any) -> Array:
        """Samples the next token.

        Args:
            output: the output of the step before.
            key: for the sample.

        Returns:
            The token.
        """
        return jax.random.categorical(key, output.forecast / self.temperature).astype(output.info["token"].dtype)


@checked
def sample_tokens(
    model: LanguageModel,
    prompt: Tokens,
    num_tokens: int,
    *,
    temperature: Scalar = 1.0,
    key: Key[Array, ""],
) -> Int[Array, " sampled"]:
    """Samples a continuation of a prompt, in closed loop and one compiled scan.

        w_(n+1) ~ softmax(logits_n / temperature)

    Args:
        model: the language model.
        prompt: the tokens to continue.
        num_tokens: how many to sample.
        temperature: below 1 it favours likely tokens; a new value does not compile again.
        key: random key for the samples.

    Raises:
        InputError: for an empty prompt, tokens outside of the vocabulary, no tokens to sample, or a
            temperature that is not positive.

    Example:
        >>> import jax, jaxcast
        >>> model = jaxcast.text.LanguageModel(num_tokens=5, hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> jaxcast.text.sample_tokens(model, [0, 1], 7, key=jax.random.key(1)).shape
        (7,)
    """
    check_sizes(num_tokens=num_tokens)
    prompt = checked_tokens(prompt, at_least=1, num_tokens=len(model.embedding))
    if np.ndim(temperature) or (not is_traced(temperature) and not 0 < float(np.asarray(temperature)) < np.inf):
        raise InputError(f"temperature must be a positive, finite number, got {temperature}")
    outputs = forecast(TokenCell(model, jnp.asarray(temperature)), prompt, num_tokens + 1, key=key)
    # The first output is that of the last token of the prompt.
    return outputs.info["token"][1:]
