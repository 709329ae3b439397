"""STGCN and ST-MGCN in PyTorch, written as the authors' code does: convolutions over time, einsum over graphs."""

from typing import Any

import torch
from torch import nn


def chebyshev(laplacian: Any, order: int = 2) -> Any:
    """Returns the polynomials from degree 0, (degree, node, node)."""
    found = [torch.eye(len(laplacian)), laplacian]
    while len(found) <= order:
        found.append(2 * laplacian @ found[-1] - found[-2])
    return torch.stack(found)


class TemporalLayer(nn.Module):
    """A convolution over time of (batch, channel, time, node), with a gate, relu or sigmoid."""

    def __init__(self, kernel_size: int, input_size: int, output_size: int, activation: str):
        super().__init__()
        self.kernel_size, self.more, self.activation = kernel_size, output_size - input_size, activation
        size = output_size * (2 if activation == "gate" else 1)
        self.convolution = nn.Conv2d(input_size, size, (kernel_size, 1))
        self.projection = nn.Conv2d(input_size, output_size, (1, 1), bias=False) if self.more < 0 else None

    def forward(self, xs: Any) -> Any:
        values = self.convolution(xs)
        if self.activation == "sigmoid":
            return torch.sigmoid(values)
        own = xs[:, :, self.kernel_size - 1 :]
        if self.projection is not None:
            own = self.projection(own)
        elif self.more:
            own = nn.functional.pad(own, (0, 0, 0, 0, 0, self.more))
        if self.activation == "relu":
            return torch.relu(values + own)
        linear, gate = values.chunk(2, 1)
        return (linear + own) * torch.sigmoid(gate)


class SpatialLayer(nn.Module):
    """A Chebyshev convolution over the nodes of (batch, channel, time, node)."""

    def __init__(self, polynomials: Any, size: int):
        super().__init__()
        self.register_buffer("polynomials", polynomials)
        bound = (len(polynomials) * size) ** -0.5
        self.kernel = nn.Parameter(torch.empty(len(polynomials), size, size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, xs: Any) -> Any:
        heard = torch.einsum("kij,bctj->bktic", self.polynomials, xs)
        values = torch.einsum("bktic,kcd->bdti", heard, self.kernel) + self.bias[:, None, None]
        return torch.relu(values + xs)


class NodeNorm(nn.Module):
    """A layer norm over nodes and channels."""

    def __init__(self, num_nodes: int, size: int):
        super().__init__()
        self.norm = nn.LayerNorm([num_nodes, size], eps=1e-6)

    def forward(self, xs: Any) -> Any:
        return self.norm(xs.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class STGCN(nn.Module):
    """Two blocks and an output layer; (batch, time, node, feature) -> (batch, lead, node)."""

    def __init__(self, polynomials: Any, history_size: int, input_size: int, num_leads: int = 1):
        super().__init__()
        num_nodes, size, layers = polynomials.shape[-1], input_size, []
        for inner, outer in ((32, 64), (32, 128)):
            layers += [
                TemporalLayer(3, size, inner, "gate"),
                SpatialLayer(polynomials, inner),
                TemporalLayer(3, inner, outer, "relu"),
                NodeNorm(num_nodes, outer),
            ]
            size, history_size = outer, history_size - 4
        layers += [
            TemporalLayer(history_size, size, size, "gate"),
            NodeNorm(num_nodes, size),
            TemporalLayer(1, size, size, "sigmoid"),
        ]
        self.layers = nn.Sequential(*layers)
        self.read_out = nn.Conv2d(size, num_leads, (1, 1), bias=False)
        self.bias = nn.Parameter(torch.zeros(num_leads, 1, num_nodes))

    def forward(self, xs: Any) -> Any:
        return (self.read_out(self.layers(xs.permute(0, 3, 1, 2))) + self.bias)[:, :, 0]


class GraphConvolution(nn.Module):
    """A Chebyshev convolution with relu over the nodes of (batch, node, feature)."""

    def __init__(self, num_terms: int, input_size: int, output_size: int):
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(num_terms * input_size, output_size))
        nn.init.xavier_normal_(self.kernel)
        self.bias = nn.Parameter(torch.zeros(output_size))

    def forward(self, polynomials: Any, xs: Any) -> Any:
        terms = torch.cat([torch.einsum("ij,bjp->bip", matrix, xs) for matrix in polynomials], -1)
        return torch.relu(torch.einsum("bip,pq->biq", terms, self.kernel) + self.bias)


class Branch(nn.Module):
    """A gate over time from all nodes, and an LSTM of every node."""

    def __init__(self, num_terms: int, history_size: int, input_size: int, hidden_size: int, num_layers: int):
        super().__init__()
        self.context = GraphConvolution(num_terms, history_size, history_size)
        self.squeeze, self.excite = (nn.Linear(history_size, history_size) for _ in range(2))
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)

    def forward(self, polynomials: Any, xs: Any) -> Any:
        batch, num_steps, num_nodes, size = xs.shape
        histories = xs[..., 0].permute(0, 2, 1)
        context = (histories + self.context(polynomials, histories)).mean(1)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(context))))
        weighted = torch.einsum("btnf,bt->bntf", xs, gate).reshape(batch * num_nodes, num_steps, size)
        return self.lstm(weighted)[0][:, -1].reshape(batch, num_nodes, -1)


class STMGCN(nn.Module):
    """A branch and a convolution for each graph; (batch, time, node, feature) -> (batch, lead, node)."""

    def __init__(
        self,
        polynomials: Any,
        history_size: int,
        input_size: int,
        hidden_size: int = 64,
        num_layers: int = 3,
        num_leads: int = 1,
    ):
        super().__init__()
        self.polynomials: Any
        self.register_buffer("polynomials", polynomials)
        num_graphs, num_terms = polynomials.shape[:2]
        self.branches = nn.ModuleList(
            Branch(num_terms, history_size, input_size, hidden_size, num_layers) for _ in range(num_graphs)
        )
        self.convolutions = nn.ModuleList(GraphConvolution(num_terms, hidden_size, 64) for _ in range(num_graphs))
        self.read_out = nn.Linear(64, num_leads)

    def forward(self, xs: Any) -> Any:
        parts = zip(self.polynomials, self.branches, self.convolutions, strict=True)
        states = torch.stack([convolution(matrices, branch(matrices, xs)) for matrices, branch, convolution in parts])
        return self.read_out(states.sum(0)).permute(0, 2, 1)
