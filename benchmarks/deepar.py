"""DeepAR, a training epoch and forecasts by 100 paths, against PyTorch written plainly with nn.LSTM.

Two layers of 40, a context of 48 steps and 48 leads, 28 lags up to a week of hours, Student's t
distributions, minibatches of 32, Adam with gradients clipped.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

import jaxcast
from benchmarks import frame
from jaxcast.series.panel_models.learning import PanelLoss

BATCH_SIZE, NUM_LEADS, CONTEXT, NUM_PATHS = 32, 48, 48, 100
LAGS = (*range(1, 8), *(day + hour for day in (24, 48, 72, 96, 120, 144, 168) for hour in (-1, 0, 1)))
OPTIMIZER = jaxcast.training.make_optimizer(1e-3, clip_norm=10.0)


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures an epoch, and forecasts of a minibatch of windows."""
    num_batches = 2 if quick else 10
    windows = random_windows(num_batches * BATCH_SIZE)
    peer = torch_peer(windows, threads)
    cases = (
        ("a training step", training(windows), num_batches),
        (f"{NUM_PATHS} paths of {BATCH_SIZE} windows", forecasting(windows), 1),
    )
    for what, function, num in cases:
        functions = {frame.OURS: function} | {of: run[what] for of, run in peer.items()}
        medians, compile_s = frame.in_turn(functions, quick=quick)
        ours_s = medians.pop(frame.OURS) / num
        for other in medians or (None,):
            peer_s = None if other is None else medians[other] / num
            yield frame.make_row(f"DeepAR, {what}", "float32", threads, ours_s, other, peer_s, compile_s)


def random_windows(num: int) -> Any:
    """Returns windows of noise around a level, with three covariates that are known in advance."""
    rng = np.random.default_rng(0)
    steps = CONTEXT + LAGS[-1]
    plain = jaxcast.series.PanelWindows.plain(rng.uniform(1, 2, (num, steps)), rng.uniform(1, 2, (num, NUM_LEADS)))
    changed: dict[str, Any] = {"known": rng.normal(size=(num, steps + NUM_LEADS, 3))}
    windows = plain._replace(**changed)
    return jax.tree.map(lambda a: a if a.dtype.kind == "i" else a.astype("float32"), windows)


def training(windows: Any) -> Callable[[], Any]:
    """Returns an epoch, with initialisation and shuffling."""
    init = partial(jaxcast.series.DeepAR, windows.sizes(), lags=LAGS)

    def make(key: Any) -> Any:
        return init(key=key)

    options = {"init": make, "loss": PanelLoss(BATCH_SIZE), "keys": jax.random.key(0)[None], "optimizer": OPTIMIZER}
    return lambda: jaxcast.fit(windows, num_epochs=1, batch_size=BATCH_SIZE, with_key=True, **options).losses


def forecasting(windows: Any) -> Callable[[], Any]:
    """Returns the paths of a minibatch."""
    network = jaxcast.series.DeepAR(windows.sizes(), lags=LAGS, key=jax.random.key(0))
    draw = jax.jit(lambda network, windows, key: network.paths(windows, NUM_PATHS, key))
    some, key = jax.tree.map(lambda a: a[:BATCH_SIZE], windows), jax.random.key(1)
    return lambda: draw(network, some, key)


def torch_peer(windows: Any, threads: int) -> dict[str, dict[str, Any]]:
    """Returns an epoch and the paths of a minibatch of PyTorch, on the same data."""
    try:
        import torch

        from benchmarks.deepar_torch import Peer
    except ImportError:
        print("no torch here: its rows are left out", file=sys.stderr)
        return {}
    torch.set_num_threads(threads)
    model = Peer(windows.sizes(), lags=LAGS)
    history, targets, known = (torch.tensor(a) for a in (windows.history, windows.targets, windows.known))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def train() -> None:
        model.train()
        for batch in torch.randperm(len(history)).split(BATCH_SIZE):
            optimizer.zero_grad()
            model.loss(history[batch], targets[batch], known[batch]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
            optimizer.step()

    def forecast() -> None:
        model.eval()
        with torch.inference_mode():
            model.paths(history[:BATCH_SIZE], known[:BATCH_SIZE], NUM_PATHS)

    own = {"a training step": train, f"{NUM_PATHS} paths of {BATCH_SIZE} windows": forecast}
    return {"torch": own}


if __name__ == "__main__":
    frame.run("benchmarks.deepar", make_rows)
