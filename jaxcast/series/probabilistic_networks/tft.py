"""The temporal fusion transformer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.nn.dropout import Dropout
from jaxcast.nn.gated_residual import GatedResidual, GatedSkip
from jaxcast.nn.interpretable_attention import InterpretableAttention
from jaxcast.nn.layers import apply_flat, chosen_heads, uniform_linear
from jaxcast.nn.lstm import LSTM, LSTMCarry
from jaxcast.nn.variable_selection import NumberEmbedding, NumberVectors, VariableSelection
from jaxcast.series.panels.windows import PanelSizes
from jaxcast.series.probabilistic_networks.abstract import LEVELS, PanelInputs
from jaxcast.series.probabilistic_networks.bases import DirectNetwork
from jaxcast.types import Info

NUM_CONTEXTS = 4


class VariableNames(NamedTuple):
    """The names of the variables that a `TFT` weighs, in the order of their weights.

    Args:
        static: of a series.
        past: of each step of a history.
        future: of each lead.
    """

    static: tuple[str, ...]
    past: tuple[str, ...]
    future: tuple[str, ...]


class _Steps(NamedTuple):
    """The numbers of each step, one sample after another."""

    past: Float[Array, "sample time past"]
    future: Float[Array, "sample lead future"]
    exists: Bool[Array, "sample time"]


class TFT(DirectNetwork, name="tft"):
    """The temporal fusion transformer.

    Every variable becomes a vector of d components: the value, whether it is known, each covariate
    and static number by a line, each category by a table. Static variables are selected by learned
    weights; four gated residual networks make contexts c_s, c_e, c_h, c_c of them. The variables of
    each step are selected with c_s. An LSTM that starts from c_h, c_c runs over the history, a
    second one over the leads; a gated skip passes both by. A network with c_e enriches each step.
    The leads then attend to all steps up to their own, and a last network and skips lead to the
    parameters of the head.

    Steps before a series begins are not seen. Without covariates that are known in advance, the
    number of the lead is one. The weights of the variables and of the attention are outputs; see
    `variable_importance` and `attention_by_lag`.

    Only the leads ask in the attention: the outputs of earlier steps are not used.

    Args:
        sizes: of the windows.
        hidden_size: d; 160 in the paper.
        num_heads: heads of the attention; they must divide d. By default the most up to 4 that do.
        dropout: probability with which a component is set to zero in training.
        head: what the outputs are the parameters of; see `PanelNetwork`.
        levels: quantile levels of the forecasts, rising.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for settings out of range; when called, for windows of other sizes.

    Source:
        Lim, Arik, Loeff and Pfister, Int. J. Forecast. 37, 1748-1764 (2021).

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> windows = jaxcast.series.PanelWindows.plain(np.ones((5, 8)), np.ones((5, 2)))
        >>> network = jaxcast.series.TFT(windows.sizes(), hidden_size=8, key=jax.random.key(0))
        >>> output = network(windows)
        >>> output.info["quantiles"].shape, output.info["past_weights"].shape
        ((5, 2, 11), (5, 8, 2))
        >>> network.variable_names().past
        ('value', 'is known')
    """

    @checked
    def __init__(
        self,
        sizes: PanelSizes,
        *,
        hidden_size: int = 40,
        num_heads: int | None = None,
        dropout: float | int = 0.1,
        head: str = "quantiles",
        levels: Sequence[float] = LEVELS,
        key: Key[Array, ""],
        dtype: Any = jnp.float32,
    ):
        check_whole("hidden_size", hidden_size, least=2)
        check_number("dropout", dropout, least=0, most=0.99)
        of_base, *keys = jax.random.split(key, 15)
        super().__init__(sizes, head=head, levels=levels, category_size=hidden_size, key=of_base, dtype=dtype)
        self.hidden_size, self.dropout = hidden_size, float(dropout)
        self.num_heads = chosen_heads(hidden_size, num_heads)
        self._make(keys)

    def _make(self, keys: list[Array]) -> None:
        """Makes the layers."""
        size, dtype = self.hidden_size, self.dtype
        num_static, num_past, num_future = map(len, self.variable_names())
        own: dict[str, Any] = {"size": size, "dtype": dtype}
        numbers = num_static - len(self.sizes.cardinalities)
        self.of_static = NumberEmbedding(num_variables=numbers, key=keys[0], **own)
        self.of_past = NumberEmbedding(num_variables=2 + self.sizes.num_past, key=keys[1], **own)
        self.of_known = NumberEmbedding(num_variables=num_future, key=keys[2], **own)
        self.static_selection = VariableSelection(num_variables=num_static, key=keys[3], **own)
        self.past_selection = VariableSelection(num_variables=num_past, context_size=size, key=keys[4], **own)
        self.future_selection = VariableSelection(num_variables=num_future, context_size=size, key=keys[5], **own)
        network: dict[str, Any] = {"input_size": size, "output_size": size, "dtype": dtype}
        self.contexts = GatedResidual(stack=(NUM_CONTEXTS,), key=keys[6], **network)
        lstm: dict[str, Any] = {"input_size": size, "hidden_size": size, "dtype": dtype}
        self.encoder, self.decoder = LSTM(key=keys[7], **lstm), LSTM(key=keys[8], **lstm)
        self.lstm_skip = GatedSkip(key=keys[9], **own)
        self.enrichment = GatedResidual(context_size=size, key=keys[10], **network)
        self.attention = InterpretableAttention(num_heads=self.num_heads, key=keys[11], **own)
        self.attention_skip = GatedSkip(key=jax.random.fold_in(keys[11], 1), **own)
        self.position_wise = GatedResidual(key=keys[12], **network)
        self.output_skip = GatedSkip(key=keys[13], **own)
        rngs = nnx.Rngs(jax.random.fold_in(keys[13], 1))
        self.out = uniform_linear(size, self.head.num_parameters, fan_in=size, rngs=rngs, dtype=dtype)

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {"hidden_size": self.hidden_size, "num_heads": self.num_heads, "dropout": self.dropout}

    @checked
    def variable_names(
        self,
        *,
        past: Sequence[str] | None = None,
        known: Sequence[str] | None = None,
        static: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
    ) -> VariableNames:
        """Returns the names of the variables that it weighs.

        Args:
            past: of the covariates of the history; by default "past 1", "past 2" and so on.
            known: of the covariates that are known in advance.
            static: of the numbers of a series.
            categories: of the categories of a series.

        Returns:
            The names, with those of the variables that every network has.

        Raises:
            InputError: for another number of names.
        """
        sizes = self.sizes
        given = {"past": past, "known": known, "static": static, "category": categories}
        counts = (sizes.num_past, sizes.num_known, sizes.num_static, len(sizes.cardinalities))
        of: dict[str, tuple[str, ...]] = {}
        for (kind, names), count in zip(given.items(), counts, strict=True):
            of[kind] = tuple(f"{kind} {n + 1}" for n in range(count)) if names is None else tuple(names)
            if len(of[kind]) != count:
                raise InputError(f"expected {count} names of {kind} variables, got {shown(names)}")
        in_advance = of["known"] or ("lead",)
        return VariableNames(
            (*of["static"], "log scale", *of["category"]),
            ("value", "is known", *of["past"], *of["known"]),
            in_advance,
        )

    def raw_outputs(self, inputs: PanelInputs, key: Any) -> tuple[Float[Array, "*batch lead parameter"], Info]:
        """Returns the numbers that the head makes distributions of.

        Args:
            inputs: of the windows.
            key: switches dropout on; None for none.

        Returns:
            The numbers of each lead, and the weights of variables and attention: "static_weights"
            (*batch, variable), "past_weights" (*batch, time, variable), "future_weights" (*batch,
            lead, variable) and "attention" (*batch, lead, step), over the steps of history and
            leads, the mean of all heads.
        """
        batch = inputs.scale.shape
        # The number of samples is told: it cannot be inferred where there are no covariates.
        inputs = PanelInputs(*(a.reshape(inputs.scale.size, *a.shape[len(batch) :]) for a in inputs))
        drop = Dropout(self.dropout, key, self._num_dropped(len(inputs.scale)))
        steps = self._steps(inputs)
        embedded = [self.of_static(inputs.static), self._categories(inputs.embedded)]
        static = self.static_selection(jnp.concatenate(embedded, -2), drop=drop)
        same = jnp.broadcast_to(static.selected, (NUM_CONTEXTS, *static.selected.shape))
        of_selection, of_enrichment, *carry = self.contexts(same, drop=drop)
        past = self.past_selection.of_numbers(steps.past, self._past_vectors(), of_selection, drop)
        future = self.future_selection.of_numbers(steps.future, self.of_known.vectors, of_selection, drop)
        carry, outputs = self.encoder(past.selected, LSTMCarry(*carry), steps.exists)
        _, ahead = self.decoder(future.selected, carry)
        selected = jnp.concatenate([past.selected, future.selected], 1)
        temporal = self.lstm_skip(selected, jnp.concatenate([outputs, ahead], 1), drop)
        fused, attention = self._fused(temporal, steps.exists, of_enrichment[:, None], drop)
        info = Info(
            static_weights=static.weights,
            past_weights=past.weights,
            future_weights=future.weights,
            attention=attention,
        )
        raw = apply_flat(self.out, fused)
        return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), (raw, info))

    def _fused(
        self, temporal: Float[Array, "sample step size"], exists: Array, context: Array, drop: Dropout
    ) -> tuple[Float[Array, "sample lead size"], Array]:
        """Returns what the leads make of all steps, and where they looked."""
        num_leads, first = self.sizes.num_leads, self.sizes.history_size
        enriched = self.enrichment(temporal, context, drop)
        up_to_own = jnp.broadcast_to(jnp.tri(num_leads, dtype=bool), (len(exists), num_leads, num_leads))
        history = jnp.broadcast_to(exists[:, None], (len(exists), num_leads, first))
        visible = jnp.concatenate([history, up_to_own], -1)
        seen, attention = self.attention(enriched[:, first:], enriched, visible)
        seen = self.attention_skip(enriched[:, first:], seen, drop)
        return self.output_skip(temporal[:, first:], self.position_wise(seen, drop=drop)), attention

    def _categories(self, embedded: Float[Array, "sample embedding"]) -> Float[Array, "sample category size"]:
        return embedded.reshape(len(embedded), len(self.sizes.cardinalities), self.hidden_size)

    def _past_vectors(self) -> NumberVectors:
        """Returns the vectors of all variables of the history; known ones share theirs with leads."""
        own, known = self.of_past.vectors, self.of_known.vectors
        if not self.sizes.num_known:
            return own
        return NumberVectors(*(jnp.concatenate(pair) for pair in zip(own, known, strict=True)))

    def _steps(self, inputs: PanelInputs) -> _Steps:
        """Returns the numbers of each step."""
        num_leads, first = self.sizes.num_leads, self.sizes.history_size
        known = inputs.known
        future = known[:, first:]
        if not self.sizes.num_known:
            leads = jnp.arange(1, num_leads + 1, dtype=self.dtype) / num_leads
            future = jnp.broadcast_to(leads[:, None], (len(known), num_leads, 1))
        values = jnp.stack([inputs.values, inputs.is_known], -1)
        past = jnp.concatenate([values, inputs.past, known[:, :first]], -1)
        return _Steps(past, future, jnp.cumsum(inputs.is_known, -1) > 0)

    def _num_dropped(self, num_samples: int) -> int:
        """Returns how many components dropout may set to zero."""
        num_leads, first = self.sizes.num_leads, self.sizes.history_size
        selections = (
            (self.static_selection, 1),
            (self.past_selection, first),
            (self.future_selection, num_leads),
        )
        own = sum(selection.num_dropped(num_samples, steps) for selection, steps in selections)
        steps = NUM_CONTEXTS + 2 * (first + num_leads) + 2 * num_leads
        return own + num_samples * self.hidden_size * steps
