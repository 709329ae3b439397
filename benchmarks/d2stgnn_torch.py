"""D2STGNN in PyTorch, computed as in the authors' code: the peer of benchmarks/d2stgnn.py.

Graphs are (N, k_t N), every one has a product of its own, the embeddings of the time are copied to
every node, the GRU is a loop over cells, and forecasts are loops over states.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


class Peer(nn.Module):
    """The whole network: (batch, time, node, 1) and slots (batch, time) -> (batch, node, lead)."""

    def __init__(
        self,
        graph: Tensor,
        *,
        hidden_size: int = 32,
        num_layers: int = 5,
        spatial_order: int = 2,
        forecast_size: int = 256,
        output_size: int = 512,
        slots_per_day: int = 288,
    ):
        super().__init__()
        num_nodes, embedding_size = len(graph), 10
        self.slots_per_day, self.order = slots_per_day, spatial_order
        self.register_buffer("masks", torch.stack([graph / graph.sum(1, keepdim=True), (graph / graph.sum(0)).T]))
        self.inputs = nn.Linear(1, hidden_size)
        self.of_slot, self.of_day, self.speaking, self.listening = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(num, embedding_size)))
            for num in (slots_per_day, 7, num_nodes, num_nodes)
        )
        self.layers = nn.ModuleList(
            _Layer(hidden_size, 3 * spatial_order, forecast_size, embedding_size) for _ in range(num_layers)
        )
        self.dynamic = _DynamicGraph(hidden_size, embedding_size)
        self.hidden, self.read_out = nn.Linear(forecast_size, output_size), nn.Linear(output_size, 3)

    def forward(self, history: Tensor, slots: Tensor) -> Tensor:
        num_nodes = history.shape[2]
        times = [
            table[index][:, :, None].expand(-1, -1, num_nodes, -1)
            for table, index in ((self.of_slot, slots % self.slots_per_day), (self.of_day, slots // self.slots_per_day))
        ]
        graphs = self.dynamic(history, times, (self.listening, self.speaking), self.masks)
        static = torch.softmax(torch.relu(self.listening @ self.speaking.T), 1)
        supports = [support for graph in (*graphs, static) for support in _supports(graph, self.order)]
        signal, forecasts = self.inputs(history), []
        for layer in self.layers:
            signal, *own = layer(signal, supports, times, (self.speaking, self.listening))
            forecasts.extend(own)
        states = self.read_out(torch.relu(self.hidden(torch.relu(sum(forecasts)))))
        return states.transpose(1, 2).reshape(len(history), num_nodes, -1)


def _supports(graph: Tensor, order: int) -> list[Tensor]:
    """Powers without diagonal, each repeated side by side for the three steps."""
    others, power, supports = 1 - torch.eye(graph.shape[-1]), graph, []
    for k in range(order):
        power = graph if k == 0 else power @ graph
        repeated = (power * others).unsqueeze(-2).expand(*power.shape[:-1], 3, power.shape[-1])
        supports.append(repeated.reshape(*power.shape[:-1], -1))
    return supports


class _DynamicGraph(nn.Module):
    def __init__(self, size: int, embedding_size: int):
        super().__init__()
        self.first, self.norm, self.second = (
            nn.Linear(12, 2 * size),
            nn.BatchNorm1d(2 * size),
            nn.Linear(2 * size, size),
        )
        self.unused = nn.Linear(embedding_size, size)
        self.query, self.key = (nn.Linear(size + 3 * embedding_size, size, bias=False) for _ in range(2))
        self.dropout = nn.Dropout(0.1)

    def forward(self, history: Tensor, times: list[Tensor], embeddings: Any, masks: Tensor) -> list[Tensor]:
        batch, _, num_nodes, _ = history.shape
        values = history[..., 0].transpose(1, 2).reshape(batch * num_nodes, -1)
        hidden = self.second(self.dropout(self.norm(torch.relu(self.first(values))))).view(batch, num_nodes, -1)
        graphs = []
        for embedding, mask in zip(embeddings, masks, strict=True):
            features = torch.cat([hidden, *(time[:, -1] for time in times), embedding.expand(batch, -1, -1)], -1)
            scores = self.query(features) @ self.key(features).transpose(1, 2) / math.sqrt(hidden.shape[-1])
            graph = torch.softmax(scores, -1) * (mask + 1e-7)
            graphs.append(torch.diag_embed(1 / graph.sum(2)) @ graph)
        return graphs


class _Layer(nn.Module):
    def __init__(self, size: int, num_supports: int, forecast_size: int, embedding_size: int):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(4 * embedding_size, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())
        self.convolution = _Convolution(size, num_supports)
        self.inherent = _Inherent(size)
        self.forecasts = nn.ModuleList(nn.Linear(size, forecast_size) for _ in range(2))
        self.backcasts = nn.ModuleList(nn.Linear(size, size) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2))

    def forward(self, signal: Tensor, supports: list[Tensor], times: list[Tensor], nodes: Any) -> tuple[Tensor, ...]:
        copied = [node.expand(*times[0].shape[:2], -1, -1) for node in nodes]
        gated = signal * self.gate(torch.cat([*times, *copied], -1))[:, -signal.shape[1] :]
        diffused = self.convolution(gated, supports)
        states = [diffused[:, -1:]]
        for _ in range(3):
            seen = states[-3:]
            if len(seen) < 3:
                seen = [gated[:, len(seen) - 3 :], *seen]
            states.append(self.convolution(torch.cat(seen, 1), supports))
        of_diffusion = self.forecasts[0](torch.cat(states, 1))
        signal = self.norms[0](signal[:, -diffused.shape[1] :] - torch.relu(self.backcasts[0](diffused)))
        output, states = self.inherent(signal)
        signal = self.norms[1](signal - torch.relu(self.backcasts[1](output)))
        return signal, of_diffusion, self.forecasts[1](states)


class _Convolution(nn.Module):
    def __init__(self, size: int, num_supports: int):
        super().__init__()
        self.steps = nn.Linear(3 * size, 3 * size, bias=False)
        self.neighbours = nn.Linear(size * (num_supports + 1), size)
        self.unused = nn.BatchNorm2d(size)
        self.dropout = nn.Dropout(0.1)

    def forward(self, signal: Tensor, supports: list[Tensor]) -> Tensor:
        windows = signal.unfold(1, 3, 1).permute(0, 1, 2, 4, 3)
        batch, num_steps, num_nodes, kernel_size, size = windows.shape
        hidden = torch.relu(self.steps(windows.reshape(batch, num_steps, num_nodes, -1)))
        hidden = hidden.view(windows.shape)
        stacked = hidden.transpose(-3, -2).reshape(batch, num_steps, kernel_size * num_nodes, size)
        heard = [(support if support.ndim == 2 else support.unsqueeze(1)) @ stacked for support in supports]
        return self.dropout(self.neighbours(torch.cat([hidden.mean(-2), *heard], -1)))


class _Inherent(nn.Module):
    def __init__(self, size: int):
        super().__init__()
        self.cell = nn.GRUCell(size, size)
        self.attention = nn.MultiheadAttention(size, 4, dropout=0.1)
        self.dropout = nn.Dropout(0.1)
        position, rate = torch.arange(50)[:, None], torch.exp(torch.arange(0, size, 2) * (-math.log(10000.0) / size))
        table = torch.stack([torch.sin(position * rate), torch.cos(position * rate)], -1)
        self.table: Any
        self.register_buffer("table", table.reshape(50, 1, size))

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        batch, num_steps, num_nodes, size = signal.shape
        sequences = signal.transpose(1, 2).reshape(-1, num_steps, size)
        state, states = torch.zeros_like(sequences[:, 0]), []
        for n in range(num_steps):
            state = self.cell(sequences[:, n], state)
            states.append(state)
        placed = self._placed(self.dropout(torch.stack(states)))
        output = self.dropout(self.attention(placed, placed, placed)[0])
        future = [output[-1:]]
        for _ in range(3):
            state = self.cell(future[-1][0], placed[-1])[None]
            placed = self._placed(torch.cat([placed, state]))
            future.append(self.dropout(self.attention(state, placed, placed)[0]))

        def unfold(steps: Tensor) -> Tensor:
            return steps.reshape(-1, batch, num_nodes, size).transpose(0, 1)

        return unfold(output), unfold(torch.cat(future))

    def _placed(self, states: Tensor) -> Tensor:
        return self.dropout(states + self.table[: len(states)])
