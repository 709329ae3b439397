"""The temporal fusion transformer, training and inference, against PyTorch written plainly.

Windows of 168 steps of history and 24 leads, five covariates that are known in advance, 40 hidden
units, 4 heads, dropout 0.1, minibatches of 64, Adam with gradients clipped.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import jaxcast
from benchmarks import frame

BATCH_SIZE, HISTORY_SIZE, NUM_LEADS, NUM_KNOWN = 64, 168, 24, 5
SIZES: dict[str, Any] = {"hidden_size": 40, "num_heads": 4, "dropout": 0.1}
LEVELS = (0.1, 0.5, 0.9)
OPTIMIZER = jaxcast.training.make_optimizer(1e-3, clip_norm=1.0)


def loss(network: Any, windows: Any, key: Any = None) -> Any:
    """Returns the loss of a minibatch."""
    return network.loss(windows, key)


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures inference and training."""
    num_batches = 1 if quick else 10
    windows = make_windows(num_batches * (8 if quick else BATCH_SIZE))

    def init(key: Any) -> Any:
        return jaxcast.series.TFT(windows.sizes(), levels=LEVELS, key=key, **SIZES)

    batch_size = len(windows.targets) // num_batches
    peer = torch_peer(windows, batch_size, threads)
    for what, make in (("inference", inference), ("training", training)):
        functions = {frame.OURS: make(windows, init, batch_size)} | {of: run[what] for of, run in peer.items()}
        medians, compile_s = frame.in_turn(functions, quick=quick)
        ours_s = medians.pop(frame.OURS) / num_batches
        for other in medians or (None,):
            peer_s = None if other is None else medians[other] / num_batches
            case = f"TFT, {what}, a batch of {batch_size}"
            yield frame.make_row(case, "float32", threads, ours_s, other, peer_s, compile_s)


def make_windows(num: int) -> Any:
    """Returns windows of noise."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> Any:
        return rng.normal(size=shape).astype("float32")

    windows = jaxcast.series.PanelWindows.plain(noise(num, HISTORY_SIZE) + 3, noise(num, NUM_LEADS) + 3)
    return windows._replace(known=noise(num, HISTORY_SIZE + NUM_LEADS, NUM_KNOWN), static=noise(num, 1))


def inference(windows: Any, init: Callable[[Any], Any], batch_size: int) -> Callable[[], Any]:
    """Returns the quantiles of all minibatches."""
    network = init(jax.random.key(0))
    forecast = jax.jit(lambda network, batch: network(batch).info["quantiles"])
    starts = range(0, len(windows.targets), batch_size)
    batches = [jax.tree.map(lambda a, n=n: a[n : n + batch_size], windows) for n in starts]
    return lambda: [forecast(network, batch) for batch in batches]


def training(windows: Any, init: Callable[[Any], Any], batch_size: int) -> Callable[[], Any]:
    """Returns an epoch, with initialisation and shuffling."""
    keys = jax.random.key(0)[None]
    options = {"init": init, "loss": loss, "keys": keys, "optimizer": OPTIMIZER, "with_key": True}
    return lambda: jaxcast.fit(windows, num_epochs=1, batch_size=batch_size, **options).losses


def torch_peer(windows: Any, batch_size: int, threads: int) -> dict[str, dict[str, Any]]:
    """Returns inference and an epoch of PyTorch on the same data."""
    try:
        import torch

        from benchmarks.tft_torch import Peer
    except ImportError:
        print("no torch here: its rows are left out", file=sys.stderr)
        return {}
    torch.set_num_threads(threads)
    model = Peer(num_known=NUM_KNOWN, num_static=2, num_leads=NUM_LEADS, num_quantiles=len(LEVELS), **SIZES)
    levels = torch.tensor(LEVELS)
    history, targets, known, static = map(
        torch.tensor, (windows.history, windows.targets, windows.known, windows.static)
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def forward(batch: Any) -> Any:
        scale = history[batch].abs().mean(1, keepdim=True)
        numbers = torch.cat([static[batch], scale.log()], 1)
        values = history[batch] / scale
        raw, _ = model(values, torch.ones_like(values), known[batch], numbers)
        below, middle, above = raw.unbind(-1)
        positive = torch.nn.functional.softplus
        return scale[..., None] * torch.stack([middle - positive(below), middle, middle + positive(above)], -1), scale

    def infer() -> None:
        model.eval()
        with torch.inference_mode():
            for batch in torch.arange(len(history)).split(batch_size):
                forward(batch)

    def train() -> None:
        model.train()
        for batch in torch.randperm(len(history)).split(batch_size):
            optimizer.zero_grad()
            quantiles, scale = forward(batch)
            errors = (targets[batch][..., None] - quantiles) / scale[..., None]
            torch.maximum(levels * errors, (levels - 1) * errors).mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
            optimizer.step()

    return {"torch": {"inference": infer, "training": train}}


if __name__ == "__main__":
    frame.run("benchmarks.tft", make_rows)
