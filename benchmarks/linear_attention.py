"""Attention of all nodes to all nodes in linear time, against its quadratic form, softmax attention and PyTorch.

One head of 32 components, one window. A gradient is that of a sum of squares with respect to queries,
keys and values. With --out FILE.json time is drawn against the number of nodes beside it, as FILE.png.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from benchmarks import frame
from jaxcast.io.files import save_figure

SIZE = 32
NODES = (100, 300, 1000, 3000, 10_000)
MOST_PAIRS = 3000
"""Nodes of which gradients through the weights of all pairs are measured; of 10 000 they take gigabytes."""
QUADRATIC, SOFTMAX, TORCH = "quadratic form", "softmax attention", "torch"


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures all numbers of nodes for one number of cores."""
    for num_nodes in NODES[:2] if quick else NODES:
        arrays = inputs(num_nodes)
        check(arrays)
        for name, of in (("forward", lambda attend: attend), ("gradient", gradient_of)):
            most = num_nodes <= MOST_PAIRS or name == "forward"
            functions = {kind: run(of(attend), arrays) for kind, attend in FORMS.items() if most or kind == frame.OURS}
            if name == "forward":
                functions |= in_torch(arrays, threads)
            yield from frame.rows_against(
                f"{name}, {num_nodes} nodes", "float32", threads, functions, repeats=16, quick=quick
            )


def inputs(num_nodes: int) -> tuple[jax.Array, ...]:
    """Returns queries and keys of unit norm, and values."""
    random = np.random.default_rng(0)
    arrays = random.normal(size=(3, num_nodes, SIZE))
    arrays[:2] /= np.linalg.norm(arrays[:2], axis=-1, keepdims=True)
    return tuple(jnp.asarray(array, jnp.float32) for array in arrays)


def quadratic(queries: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """Attends by the weights 1 + q . k of all pairs."""
    weights = 1 + queries @ keys.T
    return (weights / weights.sum(-1, keepdims=True)) @ values


def softmax(queries: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """Attends by the weights exp(q . k) of all pairs."""
    return jax.nn.softmax(queries @ keys.T, -1) @ values


FORMS: dict[str, Callable[..., jax.Array]] = {
    frame.OURS: jaxcast.nn.linear_attention,
    QUADRATIC: quadratic,
    SOFTMAX: softmax,
}


def run(function: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> Callable[[], Any]:
    """Returns a compiled call."""
    compiled = jax.jit(function)
    return lambda: compiled(*arrays)


def gradient_of(attend: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Returns the gradient of a sum of squares."""
    return jax.grad(lambda queries, keys, values: (attend(queries, keys, values) ** 2).sum(), (0, 1, 2))


def in_torch(arrays: tuple[jax.Array, ...], threads: int) -> frame.Functions:
    """Returns PyTorch's softmax attention, where it is installed."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(threads)
    queries, keys, values = (torch.tensor(np.array(array))[None, None] for array in arrays)
    attend: Any = torch.nn.functional.scaled_dot_product_attention
    return {TORCH: lambda: attend(queries, keys, values, scale=1.0)}


def check(arrays: tuple[jax.Array, ...]) -> None:
    """Raises AssertionError unless the linear and the quadratic form give the same numbers."""
    np.testing.assert_allclose(jaxcast.nn.linear_attention(*arrays), quadratic(*arrays), atol=1e-6)


def draw(rows: list[frame.Row], path: Path) -> None:
    """Draws time against the number of nodes, log-log, on the fewest cores that were measured."""
    from matplotlib.figure import Figure

    threads = min(row["threads"] for row in rows)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("forward", "gradient"), strict=True):
        own = [row for row in rows if row["case"].startswith(f"{name}, ") and row["threads"] == threads]
        ours = {nodes_of(row): row["ours_s"] for row in own}
        axes.loglog(list(ours), list(ours.values()), "o-", markersize=4, label="linear_attention")
        for peer in dict.fromkeys(row["peer"] for row in own if row["peer"] is not None):
            found = {nodes_of(row): row["peer_s"] for row in own if row["peer"] == peer}
            axes.loglog(list(found), list(found.values()), "s--", markersize=3, label=peer)
        first = min(ours)
        axes.loglog(list(ours), [ours[first] * n / first for n in ours], ":", color="0.4", label="linear growth")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("nodes")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(f"seconds, {'one core' if threads == 1 else f'{threads} cores'}")
    figure.axes[0].legend(fontsize=8)
    save_figure(path, figure)


def nodes_of(row: frame.Row) -> int:
    """Returns the number of nodes of a row."""
    return int(row["case"].split(", ")[1].split()[0])


if __name__ == "__main__":
    frame.run("benchmarks.linear_attention", make_rows, draw=draw)
