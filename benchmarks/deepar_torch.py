"""DeepAR in PyTorch, written plainly with nn.LSTM: the peer of benchmarks/deepar.py.

Inputs, sizes, likelihood and sampling are those of `jaxcast.series.DeepAR`.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Peer(nn.Module):
    """DeepAR with Student's t distributions, without gaps and past covariates.

    Args:
        sizes: of the windows. lags: steps back, rising; the first is 1. hidden_size: of each layer.
        dropout: between the two layers.
    """

    def __init__(self, sizes: Any, *, lags: tuple[int, ...], hidden_size: int = 40, dropout: float = 0.1):
        super().__init__()
        self.lags, self.num_leads = lags, sizes.num_leads
        input_size = len(lags) + 2 + sizes.num_known
        self.layers = nn.LSTM(input_size, hidden_size, 2, batch_first=True, dropout=dropout)
        self.out = nn.Linear(hidden_size, 3)

    def distribution(self, hidden: Tensor, scale: Tensor) -> Any:
        """Returns Student's t distributions in the units of the data."""
        loc, width, df = self.out(hidden).unbind(-1)
        positive = nn.functional.softplus
        return torch.distributions.StudentT(2 + positive(df), scale * loc, scale * positive(width))

    def inputs(self, values: Tensor, known: Tensor, scale: Tensor, start: int, stop: int) -> Tensor:
        """Returns what the layers see at steps from `start` to before `stop`."""
        lagged = torch.stack([values[:, start - lag : stop - lag] for lag in self.lags], -1)
        flag = torch.ones_like(lagged[..., :1])
        log_scale = scale.log()[:, None, None].expand(-1, stop - start, 1)
        return torch.cat([lagged, flag, known[:, start:stop], log_scale], -1)

    def loss(self, history: Tensor, targets: Tensor, known: Tensor) -> Tensor:
        """Returns the mean negative log likelihood of context and leads."""
        scale = history.abs().mean(-1)
        whole = torch.cat([history, targets], -1)
        first = self.lags[-1]
        steps = self.inputs(whole / scale[:, None], known, scale, first, whole.shape[-1])
        hidden, _ = self.layers(steps)
        found: Tensor = -self.distribution(hidden, scale[:, None]).log_prob(whole[:, first:]).mean()
        return found

    def paths(self, history: Tensor, known: Tensor, num_paths: int) -> Tensor:
        """Draws paths, (window, path, lead)."""
        scale = history.abs().mean(-1)
        values, end = history / scale[:, None], history.shape[-1]
        _, state = self.layers(self.inputs(values, known, scale, self.lags[-1], end))
        state = tuple(a.repeat_interleave(num_paths, 1) for a in state)
        values, known, scale = (a.repeat_interleave(num_paths, 0) for a in (values, known, scale))
        for lead in range(end, end + self.num_leads):
            hidden, state = self.layers(self.inputs(values, known, scale, lead, lead + 1), state)
            drawn = self.distribution(hidden, scale[:, None]).sample() / scale[:, None]
            values = torch.cat([values, drawn], -1)
        return (values[:, end:] * scale[:, None]).reshape(-1, num_paths, self.num_leads)
