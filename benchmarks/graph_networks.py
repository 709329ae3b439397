"""Networks on graphs: a training epoch and inference against PyTorch, and growth with nodes and history.

Sizes are the authors'. PyTorch's networks are written as the authors' code does, and trained by a loop
over shuffled minibatches. Rows "N nodes" and "N steps": a training step of one size after the other, and
the bytes beside its arguments, on one core. With --out FILE.json this growth is drawn beside it, as
FILE.png. Epochs and inference are measured twice: with the allocator's defaults, and with settings that
keep large temporary arrays; growth with the latter only.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcast
from benchmarks import frame
from benchmarks.d2stgnn import SMALL
from benchmarks.recurrent import KEPT
from jaxcast.io.files import save_figure

OPTIMIZER = optax.adam(1e-3)
LOSS = jaxcast.series.WindowLoss()
NUM_EPOCHS = 2
KEPT_NAME = ", memory kept"


class Network(NamedTuple):
    """A network, the sizes of its data, and its peer.

    Args:
        make: (samples, graphs, key) -> our network.
        peer: (graphs, history_size, num_features) -> that of PyTorch, of (batch, time, node, feature); None where
            another benchmark has it.
        num_nodes: nodes.
        history_size: steps of a history.
        batch_size: windows of a minibatch.
        num_graphs: graphs.
    """

    make: Callable[..., Any]
    peer: Callable[..., Any] | None
    num_nodes: int
    history_size: int
    batch_size: int
    num_graphs: int


def stgcn(samples: Any, graphs: Any, key: Any) -> Any:
    """Makes STGCN of the authors' sizes."""
    return jaxcast.series.STGCN(samples, graphs=graphs, key=key)


def torch_stgcn(graphs: Any, history_size: int, num_features: int) -> Any:
    """Makes the same in PyTorch."""
    from benchmarks.torch_graph_networks import STGCN

    return STGCN(polynomials(graphs)[0], history_size, num_features)


def st_mgcn(samples: Any, graphs: Any, key: Any) -> Any:
    """Makes ST-MGCN with three layers of 64."""
    return jaxcast.series.STMGCN(samples, graphs=graphs, key=key)


def torch_st_mgcn(graphs: Any, history_size: int, num_features: int) -> Any:
    """Makes the same in PyTorch."""
    from benchmarks.torch_graph_networks import STMGCN

    return STMGCN(polynomials(graphs), history_size, num_features)


def d2stgnn(samples: Any, graphs: Any, key: Any) -> Any:
    """Makes D2STGNN in the small form of `benchmarks.d2stgnn`."""
    return jaxcast.series.D2STGNN(samples, graphs=graphs, key=key, **SMALL)


def polynomials(graphs: Any) -> Any:
    """Returns the Chebyshev polynomials of each graph."""
    import torch

    from benchmarks.torch_graph_networks import chebyshev

    laplacians = np.asarray(jaxcast.nn.rescaled_laplacian(np.asarray(graphs, np.float32)))
    return torch.stack([chebyshev(torch.tensor(laplacian)) for laplacian in laplacians])


NETWORKS = {
    "STGCN": Network(stgcn, torch_stgcn, 228, 12, 50, 1),
    "ST-MGCN": Network(st_mgcn, torch_st_mgcn, 624, 17, 16, 2),
    "D2STGNN": Network(d2stgnn, None, 170, 12, 16, 1),
}
GROWN = {"nodes": (25, 50, 100, 200, 400, 800, 2000), "steps": (12, 24, 48, 96)}


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures the networks that have a peer, and on one core the growth of all."""
    for name, network in NETWORKS.items():
        if network.peer is None:
            continue
        case = network._replace(num_nodes=20, batch_size=4) if quick else network
        yield from against_torch(name, case, threads, quick)
    if threads == 1 and os.environ.keys() >= KEPT.keys():
        for name, network in NETWORKS.items():
            for axis, sizes in GROWN.items():
                for size in sizes[:2] if quick else sizes:
                    yield grown(name, network, axis, size, quick)


def against_torch(name: str, network: Network, threads: int, quick: bool) -> Iterator[frame.Row]:
    """Yields a row for training and one for inference."""
    num_batches = 2
    samples, graphs = data(network, num_batches * network.batch_size)
    sizes = f"{network.num_nodes} nodes, {network.history_size} steps, batch {network.batch_size}"
    peer = torch_peer(network, samples, graphs, threads)
    functions = {frame.OURS: ours(network, samples, graphs)} | {label: both[0] for label, both in peer.items()}
    for row in frame.rows_against(
        f"{name} epoch of {num_batches}, {sizes}", "float32", threads, functions, quick=quick
    ):
        peer_s = row["peer_s"]
        yield row | {"ours_s": row["ours_s"] / NUM_EPOCHS, "peer_s": None if peer_s is None else peer_s / NUM_EPOCHS}
    model = network.make(samples, graphs, jax.random.key(0))
    history = jnp.asarray(samples.history[: network.batch_size])
    forecast = jax.jit(lambda model, history: model(history).forecast)
    functions = {frame.OURS: lambda: forecast(model, history)} | {label: both[1] for label, both in peer.items()}
    yield from frame.rows_against(f"{name} inference, {sizes}", "float32", threads, functions, quick=quick)


def data(network: Network, num_windows: int) -> tuple[Any, np.ndarray[Any, Any]]:
    """Makes windows of random walks, and graphs in which a node has about ten neighbours."""
    rng = np.random.default_rng(0)
    num_nodes = network.num_nodes
    values = rng.normal(size=(num_windows + network.history_size, num_nodes)).cumsum(0).astype(np.float32)
    samples = jaxcast.series.series_windows(values, history_size=network.history_size, leads=(1,))
    places = rng.random((network.num_graphs, num_nodes, 2))
    distances = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1)
    return jax.tree.map(np.asarray, samples), ((distances < (10 / np.pi / num_nodes) ** 0.5) & (distances > 0)).astype(
        np.float32
    )


def ours(network: Network, samples: Any, graphs: Any) -> Callable[[], Any]:
    """Returns a whole run, with initialisation, shuffling and transfer."""

    def init(key: Any) -> Any:
        return network.make(samples, graphs, key)

    return lambda: (
        jaxcast.fit(
            samples,
            init=init,
            loss=LOSS,
            keys=jax.random.key(0)[None],
            optimizer=OPTIMIZER,
            num_epochs=NUM_EPOCHS,
            batch_size=network.batch_size,
        ).losses
    )


def torch_peer(
    network: Network, samples: Any, graphs: Any, threads: int
) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Returns as many epochs of PyTorch, and its inference."""
    try:
        import torch
    except ImportError:
        print("no torch here: its rows are left out", file=sys.stderr)
        return {}
    torch.set_num_threads(threads)
    history = torch.tensor(np.stack([samples.history, np.ones_like(samples.history)], -1))
    targets, size = torch.tensor(np.array(samples.targets)), network.batch_size
    assert network.peer is not None
    model = network.peer(graphs, network.history_size, history.shape[-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epochs() -> Any:
        for _ in range(NUM_EPOCHS):
            order = torch.randperm(len(targets))
            for n in range(len(targets) // size):
                index = order[n * size : (n + 1) * size]
                loss = torch.nn.functional.mse_loss(model(history[index]), targets[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return loss.item()

    def inference() -> Any:
        with torch.inference_mode():
            return model(history[:size])

    return {"torch, eager": (epochs, inference)}


def grown(name: str, network: Network, axis: str, size: int, quick: bool) -> frame.Row:
    """Returns the seconds and bytes of the gradient of a minibatch of four windows."""
    sizes: dict[str, Any] = {"batch_size": 4, "num_nodes": 50}
    sizes["num_nodes" if axis == "nodes" else "history_size"] = size
    network = network._replace(**sizes)
    samples, graphs = data(network, network.batch_size)
    model = network.make(samples, graphs, jax.random.key(0))
    compiled = jax.jit(jax.grad(LOSS)).lower(model, samples).compile()
    plan: Any = compiled.memory_analysis()
    medians, _ = frame.in_turn({frame.OURS: lambda: compiled(model, samples)}, repeats=12, quick=quick)
    row = frame.make_row(f"{name}, {size} {axis}", "float32", 1, medians[frame.OURS], None, None, None)
    return row | {"memory_bytes": plan.temp_size_in_bytes + plan.output_size_in_bytes}


def draw(rows: list[frame.Row], path: Path) -> None:
    """Draws time and memory against nodes and history, log-log."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    found = [row for row in rows if "memory_bytes" in row]
    if not found:  # asked for another number of threads only
        return
    figure, axes = plt.subplots(2, len(GROWN), figsize=(7, 5.5), sharex="col", sharey="row", layout="constrained")
    for column, axis in enumerate(GROWN):
        for name in NETWORKS:
            points = []
            for row in found:
                network, _, size = row["case"].removesuffix(KEPT_NAME).partition(", ")
                if network == name and size.endswith(f" {axis}"):
                    points.append((int(size.split()[0]), row["ours_s"], row["memory_bytes"] / 2**20))
            for k, values in enumerate(list(zip(*points, strict=True))[1:]):
                axes[k, column].loglog([point[0] for point in points], values, "o-", markersize=4, label=name)
        ticks = sorted({point for line in axes[1, column].lines for point in map(int, line.get_xdata())})
        axes[1, column].set_xticks(ticks, [str(tick) for tick in ticks])
        axes[1, column].xaxis.set_minor_formatter("")
        axes[1, column].set_xlabel("nodes" if axis == "nodes" else "steps of history")
    axes[0, 0].set_ylabel("seconds of a gradient,\n4 windows, one core")
    axes[1, 0].set_ylabel("MiB beside the arguments")
    axes[0, 0].legend()
    for one in axes.flat:
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)


if __name__ == "__main__":
    frame.run("benchmarks.graph_networks", make_rows, {"": {}, KEPT_NAME: KEPT}, draw)
