"""Training the paper's attention: an epoch of 62 steps against torch in eager mode.

It has l = 5 and h = 120, minibatches of 64, and Adam.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax

import jaxcast
from benchmarks import frame
from benchmarks.rollout import HIDDEN_SIZE, NUM_DELAYS, RHOS

BATCH_SIZE = 64
OPTIMIZER = optax.adam(1e-3)


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures one seed, and ten at once; torch trains its ten one after the other."""
    num_samples = 400 if quick else 4006
    truth = jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132))
    trajectory = jaxcast.simulate(
        truth, np.asarray([1.0, 2.0, 20.0], "float32"), num_samples=num_samples, transient=20.0
    )
    candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in RHOS]))
    samples = jaxcast.one_step_samples(trajectory, NUM_DELAYS, candidates)
    num_epochs = 2 if quick else 10
    peer = torch_peer(samples, threads)
    for num_seeds in (1, 10):
        functions = {frame.OURS: ours(samples, num_seeds, num_epochs)} | {
            name: lambda run=run, n=num_seeds: [run() for _ in range(n)] for name, run in peer.items()
        }
        medians, compile_s = frame.in_turn(functions, quick=quick)
        epoch_s = medians.pop(frame.OURS) / num_epochs
        case = f"{num_seeds} seeds, one epoch of {len(samples.targets) // BATCH_SIZE} steps"
        for name in medians or (None,):
            peer_s = None if name is None else medians[name]
            yield frame.make_row(case, "float32", threads, epoch_s, name, peer_s, compile_s)


def ours(samples: Any, num_seeds: int, num_epochs: int) -> Callable[[], Any]:
    """Returns a whole run, with initialisation, shuffling and transfer."""
    keys = jax.random.split(jax.random.key(0), num_seeds)
    return lambda: (
        jaxcast.fit(
            samples,
            init=init,
            loss=jaxcast.pooling.mean_squared_error,
            keys=keys,
            optimizer=OPTIMIZER,
            num_epochs=num_epochs,
            batch_size=BATCH_SIZE,
        ).losses
    )


def init(key: Any) -> Any:
    """Makes the paper's pool."""
    return jaxcast.AdditiveAttention(dim=3, num_delays=NUM_DELAYS, hidden_size=HIDDEN_SIZE, key=key)


def torch_peer(samples: Any, threads: int) -> dict[str, Callable[[], Any]]:
    """Returns one epoch of torch: shuffled minibatches, autograd, torch.optim.Adam."""
    try:
        import torch
    except ImportError:
        print("no torch here: its rows are left out", file=sys.stderr)
        return {}
    torch.set_num_threads(threads)
    states = torch.tensor(np.asarray(samples.memory.states)).flatten(1)
    errors = torch.tensor(np.asarray(samples.memory.errors)).transpose(1, 2).flatten(2).contiguous()
    forecasts, targets = torch.tensor(np.asarray(samples.forecasts)), torch.tensor(np.asarray(samples.targets))
    size = 3 * NUM_DELAYS
    query, key = torch.nn.Linear(size, HIDDEN_SIZE), torch.nn.Linear(size, HIDDEN_SIZE, bias=False)
    score = torch.nn.Linear(HIDDEN_SIZE, 1, bias=False)
    optimizer = torch.optim.Adam([*query.parameters(), *key.parameters(), *score.parameters()], lr=1e-3)

    def epoch() -> Any:
        order = torch.randperm(len(targets))
        for n in range(len(targets) // BATCH_SIZE):
            index = order[n * BATCH_SIZE : (n + 1) * BATCH_SIZE]
            hidden = torch.tanh(query(states[index])[:, None] + key(errors[index]))
            weights = torch.softmax(score(hidden)[..., 0], -1)
            pooled = (weights[..., None] * forecasts[index]).sum(1)
            loss = torch.nn.functional.mse_loss(pooled, targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    return {"torch, eager": epoch}


if __name__ == "__main__":
    frame.run("benchmarks.training", make_rows)
