"""The temporal fusion transformer in PyTorch, written plainly: the peer of benchmarks/tft.py.

Each variable has layers of its own, called in turn; the leads alone ask in the attention.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class GatedLinearUnit(nn.Module):
    """x -> (W_5 x + b_5) * sigmoid(W_4 x + b_4)."""

    def __init__(self, input_size: int, output_size: int, dropout: float = 0.0):
        super().__init__()
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(input_size, 2 * output_size)

    def forward(self, xs: Tensor) -> Tensor:
        return functional.glu(self.linear(self.dropout(xs)), -1)


class GatedSkip(nn.Module):
    """(x, outputs) -> layernorm(x + GLU(outputs))."""

    def __init__(self, size: int, dropout: float = 0.0):
        super().__init__()
        self.gate, self.norm = GatedLinearUnit(size, size, dropout), nn.LayerNorm(size)

    def forward(self, xs: Tensor, outputs: Tensor) -> Tensor:
        return self.norm(xs + self.gate(outputs))


class GatedResidual(nn.Module):
    """A gated residual network."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int, dropout: float, has_context: bool = False):
        super().__init__()
        self.first, self.second = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.context = nn.Linear(hidden_size, hidden_size, bias=False) if has_context else None
        self.gate = GatedLinearUnit(hidden_size, output_size, dropout)
        self.skip = nn.Linear(input_size, output_size) if input_size != output_size else nn.Identity()
        self.norm = nn.LayerNorm(output_size)

    def forward(self, xs: Tensor, context: Tensor | None = None) -> Tensor:
        sums = self.first(xs)
        if self.context is not None:
            sums = sums + self.context(context)
        return self.norm(self.skip(xs) + self.gate(self.second(functional.elu(sums))))


class VariableSelection(nn.Module):
    """Weighs the vectors of variables, (*batch, variable, size)."""

    def __init__(self, num_variables: int, size: int, dropout: float, has_context: bool = False):
        super().__init__()
        self.weighting = GatedResidual(num_variables * size, size, num_variables, dropout, has_context)
        self.variables = nn.ModuleList(GatedResidual(size, size, size, dropout) for _ in range(num_variables))

    def forward(self, embedded: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weights = torch.softmax(self.weighting(embedded.flatten(-2), context), -1)
        outputs = torch.stack([one(embedded[..., n, :]) for n, one in enumerate(self.variables)], -1)
        return (outputs * weights[..., None, :]).sum(-1), weights


class Attention(nn.Module):
    """Multi-head attention with one projection of values for all heads."""

    def __init__(self, size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key = (nn.Linear(size, size, bias=False) for _ in range(2))
        self.value = nn.Linear(size, size // num_heads, bias=False)
        self.out = nn.Linear(size // num_heads, size, bias=False)

    def forward(self, queries: Tensor, steps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        asked, own = (
            layer(xs).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, xs in ((self.query, queries), (self.key, steps))
        )
        scores = asked @ own.transpose(-1, -2) / math.sqrt(own.shape[-1])
        weights = torch.softmax(scores.masked_fill(hidden, -math.inf), -1)
        seen = weights @ self.value(steps)[:, None]
        return self.out(seen.mean(1)), weights.mean(1)


class Peer(nn.Module):
    """The whole network: histories, covariates and static numbers -> quantiles of all leads."""

    def __init__(
        self,
        *,
        num_known: int,
        num_static: int,
        num_leads: int,
        num_quantiles: int,
        hidden_size: int,
        num_heads: int,
        dropout: float = 0.1,
    ):
        super().__init__()
        size, self.num_leads = hidden_size, num_leads
        self.of_past, self.of_known, self.of_static = (
            nn.ModuleList(nn.Linear(1, size) for _ in range(num)) for num in (2, num_known, num_static)
        )
        self.static_selection = VariableSelection(num_static, size, dropout)
        self.past_selection = VariableSelection(2 + num_known, size, dropout, has_context=True)
        self.future_selection = VariableSelection(num_known, size, dropout, has_context=True)
        self.contexts = nn.ModuleList(GatedResidual(size, size, size, dropout) for _ in range(4))
        self.encoder, self.decoder = (nn.LSTM(size, size, batch_first=True) for _ in range(2))
        self.lstm_skip, self.attention_skip = GatedSkip(size, dropout), GatedSkip(size, dropout)
        self.enrichment = GatedResidual(size, size, size, dropout, has_context=True)
        self.attention = Attention(size, num_heads)
        self.position_wise, self.output_skip = GatedResidual(size, size, size, dropout), GatedSkip(size)
        self.out = nn.Linear(size, num_quantiles)

    def forward(self, values: Tensor, is_known: Tensor, known: Tensor, static: Tensor) -> tuple[Tensor, dict[str, Any]]:
        first = values.shape[1]
        of_known = embedded(self.of_known, known)
        past = torch.cat([embedded(self.of_past, torch.stack([values, is_known], -1)), of_known[:, :first]], -2)
        selected, static_weights = self.static_selection(embedded(self.of_static, static))
        of_selection, of_enrichment, h, c = (context(selected) for context in self.contexts)
        past, past_weights = self.past_selection(past, of_selection[:, None])
        future, future_weights = self.future_selection(of_known[:, first:], of_selection[:, None])
        outputs, carry = self.encoder(past, (h[None], c[None]))
        ahead, _ = self.decoder(future, carry)
        temporal = self.lstm_skip(torch.cat([past, future], 1), torch.cat([outputs, ahead], 1))
        enriched = self.enrichment(temporal, of_enrichment[:, None])
        hidden = torch.ones(self.num_leads, temporal.shape[1], dtype=torch.bool).triu(first + 1)
        seen, attention = self.attention(enriched[:, first:], enriched, hidden)
        seen = self.attention_skip(enriched[:, first:], seen)
        info = {
            "static_weights": static_weights,
            "past_weights": past_weights,
            "future_weights": future_weights,
            "attention": attention,
        }
        return self.out(self.output_skip(temporal[:, first:], self.position_wise(seen))), info


def embedded(layers: nn.ModuleList, xs: Tensor) -> Tensor:
    """Returns the vector of each number, (*batch, variable, size)."""
    return torch.stack([layer(xs[..., n : n + 1]) for n, layer in enumerate(layers)], -2)
