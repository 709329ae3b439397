"""D2STGNN, a training epoch and inference, against PyTorch written as the authors' code does.

One graph of 170 nodes, the size of PEMS08, windows of 12 steps, 12 leads, minibatches of 16, Adam
with gradients clipped; the small form has 16 hidden units, 2 layers and graphs of order 1.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import jaxcast
from benchmarks import frame

NUM_NODES, BATCH_SIZE, NUM_STEPS, SLOTS_PER_DAY = 170, 16, 12, 288
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_layers": 2,
    "spatial_order": 1,
    "forecast_size": 64,
    "output_size": 128,
}
LOSS = jaxcast.series.WindowLoss("absolute")
OPTIMIZER = jaxcast.training.make_optimizer(2e-3, clip_norm=5.0)


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures the small form and, unless it is to be quick, the full one."""
    for name, sizes, num_batches in [("small", SMALL, 4), ("full", {}, 2)][: 1 if quick else 2]:
        yield from _rows(name, sizes, 1 if quick else num_batches, threads, quick)


def _rows(name: str, sizes: dict[str, Any], num_batches: int, threads: int, quick: bool) -> Iterator[frame.Row]:
    rng = np.random.default_rng(0)
    graph = rng.uniform(size=(NUM_NODES, NUM_NODES)).astype("float32")
    length = 2 * NUM_STEPS - 1 + num_batches * BATCH_SIZE
    samples = jaxcast.series.series_windows(
        rng.normal(size=(length, NUM_NODES)).astype("float32"),
        history_size=NUM_STEPS,
        leads=tuple(range(1, NUM_STEPS + 1)),
        start=2 * NUM_STEPS - 1,
        stop=length,
        newest_covariates=np.arange(length, dtype="float32")[:, None],
    )
    samples = jax.tree.map(lambda a: a[: num_batches * BATCH_SIZE], samples)

    def init(key: Any) -> Any:
        return jaxcast.series.D2STGNN(samples, graphs=graph, slots_per_day=SLOTS_PER_DAY, key=key, **sizes)

    peer = torch_peer(samples, graph, sizes, threads)
    for what, function in (("inference", inference(samples, init)), ("training", training(samples, init))):
        functions = {frame.OURS: function} | {of: run[what] for of, run in peer.items()}
        medians, compile_s = frame.in_turn(functions, quick=quick)
        ours_s = medians.pop(frame.OURS) / num_batches
        for other in medians or (None,):
            peer_s = None if other is None else medians[other] / num_batches
            case = f"{name} D2STGNN, {what}, a batch of {BATCH_SIZE}"
            yield frame.make_row(case, "float32", threads, ours_s, other, peer_s, compile_s)


def inference(samples: Any, init: Callable[[Any], Any]) -> Callable[[], Any]:
    """Returns the forecasts of all minibatches."""
    network = init(jax.random.key(0))
    forecast = jax.jit(lambda network, history, slots: network(history, slots).forecast)
    starts = range(0, len(samples.targets), BATCH_SIZE)
    batches = [(samples.history[n : n + BATCH_SIZE], samples.covariates[n : n + BATCH_SIZE]) for n in starts]
    return lambda: [forecast(network, *batch) for batch in batches]


def training(samples: Any, init: Callable[[Any], Any]) -> Callable[[], Any]:
    """Returns an epoch, with initialisation and shuffling."""
    keys = jax.random.key(0)[None]
    options = {"init": init, "loss": LOSS, "keys": keys, "optimizer": OPTIMIZER, "with_key": True}
    return lambda: jaxcast.fit(samples, num_epochs=1, batch_size=BATCH_SIZE, **options).losses


def torch_peer(samples: Any, graph: Any, sizes: dict[str, Any], threads: int) -> dict[str, dict[str, Any]]:
    """Returns inference and an epoch of PyTorch on the same data."""
    try:
        import torch

        from benchmarks.d2stgnn_torch import Peer
    except ImportError:
        print("no torch here: its rows are left out", file=sys.stderr)
        return {}
    torch.set_num_threads(threads)
    model = Peer(torch.tensor(graph), slots_per_day=SLOTS_PER_DAY, **sizes)
    history = torch.tensor(np.asarray(samples.history))[..., None]
    targets = torch.tensor(np.asarray(samples.targets)).transpose(1, 2)
    newest = np.asarray(samples.covariates).astype(int)
    slots = torch.tensor((newest - np.arange(NUM_STEPS)[::-1]) % (7 * SLOTS_PER_DAY))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, weight_decay=1e-5)

    def infer() -> None:
        model.eval()
        with torch.inference_mode():
            for batch in torch.arange(len(history)).split(BATCH_SIZE):
                model(history[batch], slots[batch])

    def train() -> None:
        model.train()
        for batch in torch.randperm(len(history)).split(BATCH_SIZE):
            optimizer.zero_grad()
            (model(history[batch], slots[batch]) - targets[batch]).abs().mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
            optimizer.step()

    return {"torch": {"inference": infer, "training": train}}


if __name__ == "__main__":
    frame.run("benchmarks.d2stgnn", make_rows)
