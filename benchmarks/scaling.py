"""Growth of cost with size, and the gain from a second device.

Rows "N trajectories", "N steps", ...: seconds, and bytes beside the arguments (`memory_bytes`, as XLA plans them), against
one size at a time. Rows "... on 2 devices": against the same on one, in the same process. With --out FILE.json the
growth is drawn beside it, as FILE.png.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

import jaxcast
from benchmarks import frame
from benchmarks.ensembles import CENTER, starts
from benchmarks.recurrent import Case, layers, ours_training
from benchmarks.rollout import NUM_DELAYS, RHOS
from jaxcast.io.files import save_figure

OPTIMIZER = optax.adam(1e-3)
SYSTEM = jaxcast.Lorenz63(rho=jaxcast.LinearRamp(28.0, 30.0, 0.0, 100.0))


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures growth on one core, and the gain on two."""
    if threads == 1:
        yield from growth(quick)
    else:
        yield from gain(quick)


def growth(quick: bool) -> Iterator[frame.Row]:
    """Measures one size after the other."""
    top = 3 if quick else 6
    for num in 10 ** np.arange(2, top + 1):
        u0 = starts(int(num), CENTER, "float32")
        yield grown(f"{num} trajectories", quick, lambda u: jaxcast.final_states(SYSTEM, u, duration=1.0), u0)
    for num in 10 ** np.arange(2, top):
        u0 = jnp.asarray([1.0, 1.0, 20.0], "float32")
        run = lambda u, n=int(num): jaxcast.simulate(SYSTEM, u, num_samples=n // 10 + 1).states  # noqa: E731
        yield grown(f"{num} steps of one trajectory", quick, run, u0)
    for num in 2 ** np.arange(1, 5 if quick else 9):
        flow = jaxcast.flow_map(jaxcast.Lorenz63(rho=jnp.linspace(28.0, 48.0, int(num), dtype="float32")))
        yield grown(f"{num} candidates of 64 states", quick, jax.vmap(flow), starts(64, CENTER, "float32"))
    for name, sizes in GROWN_POOLS.items():
        for size in sizes[:2] if quick else sizes:
            yield pool_row(name, size, quick)


GROWN_POOLS = {
    "delays": (1, 2, 4, 8, 16, 32),
    "samples in a minibatch": (16, 64, 256, 1024, 4096),
    "hidden units": (16, 32, 64, 128, 256, 512),
}


def pool_row(name: str, size: int, quick: bool) -> frame.Row:
    """Returns the gradient of attention's loss on a minibatch; other sizes are the paper's."""
    num_delays = size if name == "delays" else NUM_DELAYS
    batch_size = size if name == "samples in a minibatch" else 64
    hidden_size = size if name == "hidden units" else 120
    pool = jaxcast.AdditiveAttention(dim=3, num_delays=num_delays, hidden_size=hidden_size, key=jax.random.key(0))
    memory = jaxcast.pooling.Memory(
        jnp.ones((batch_size, num_delays, 3), "float32"), jnp.ones((batch_size, num_delays, 11, 3), "float32")
    )
    samples = jaxcast.pooling.OneStepSamples(
        memory, jnp.ones((batch_size, 11, 3), "float32"), jnp.ones((batch_size, 3), "float32")
    )
    return grown(f"{size} {name}", quick, lambda s: jax.grad(jaxcast.pooling.mean_squared_error)(pool, s), samples)


def grown(case: str, quick: bool, function: Callable[..., Any], argument: Any) -> frame.Row:
    """Returns the seconds and bytes of one program."""
    compiled = jax.jit(function).lower(argument).compile()
    plan: Any = compiled.memory_analysis()
    medians, _ = frame.in_turn({frame.OURS: lambda: compiled(argument)}, repeats=20, quick=quick)
    row = frame.make_row(case, "float32", 1, medians[frame.OURS], None, None, None)
    return row | {"memory_bytes": plan.temp_size_in_bytes + plan.output_size_in_bytes}


def gain(quick: bool) -> Iterator[frame.Row]:
    """Measures two devices against one, with the same work each."""
    one, two = (Mesh(np.asarray(jax.devices()[:n]), ("batch",)) for n in (1, 2))
    for dtype in ("float64", "float32"):
        u0 = starts(2_000 if quick else 200_000, CENTER, dtype)
        run = lambda mesh, u0=u0: jaxcast.final_states(SYSTEM, u0, duration=2.0, mesh=mesh)  # noqa: E731
        yield from on_two("ensemble", dtype, run, one, two, quick)
    truth = jaxcast.simulate(SYSTEM, np.asarray([1.0, 2.0, 20.0], "float32"), num_samples=400 if quick else 4006)
    candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in RHOS]))
    samples = jaxcast.one_step_samples(truth, NUM_DELAYS, candidates)
    keys = jax.random.split(jax.random.key(0), 4)

    def train(mesh: Mesh) -> Any:
        return jaxcast.fit(
            samples,
            init=init,
            loss=jaxcast.pooling.mean_squared_error,
            keys=keys,
            optimizer=OPTIMIZER,
            num_epochs=2 if quick else 10,
            batch_size=64,
            mesh=mesh,
        ).losses

    yield from on_two("four training seeds", "float32", train, one, two, quick)
    windows = jaxcast.cut_windows(truth, num_windows=20, num_leads=19, history_size=6)
    windows = jax.tree.map(lambda a: jnp.tile(a, (10, 1, 1) if a.ndim == 3 else (10, 1)), windows)
    cell = jaxcast.Forecaster(init(jax.random.key(0)), candidates)
    run_windows = lambda mesh: jaxcast.forecast_windows(cell, windows, mesh=mesh).forecast  # noqa: E731
    yield from on_two("200 windows in closed loop", "float32", run_windows, one, two, quick)
    case = Case("LSTM", *((50, 20, 32, 2) if quick else (128, 100, 64, 2)))
    lstm = {mesh: ours_training(case, layers(case)[0], mesh) for mesh in (one, two)}
    yield from on_two(f"LSTM training steps, {case},", "float32", lambda mesh: lstm[mesh](), one, two, quick)


def init(key: Any) -> Any:
    """Makes the paper's pool."""
    return jaxcast.AdditiveAttention(dim=3, num_delays=NUM_DELAYS, hidden_size=120, key=key)


def on_two(case: str, dtype: str, run: Callable[[Mesh], Any], one: Mesh, two: Mesh, quick: bool) -> Iterator[frame.Row]:
    """Makes the row of one case."""
    functions = {frame.OURS: lambda: run(two), "the same on one device": lambda: run(one)}
    yield from frame.rows_against(f"{case} on 2 devices", dtype, 2, functions, quick=quick)


def draw(rows: list[frame.Row], path: Path) -> None:
    """Draws time and memory against each size, log-log."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    grown = [row for row in rows if "memory_bytes" in row]
    if not grown:  # asked for another number of threads only
        return
    curves: dict[str, list[tuple[int, float, float]]] = {}
    for row in grown:
        size, name = row["case"].split(" ", 1)
        curves.setdefault(name, []).append((int(size), 1e3 * row["ours_s"], row["memory_bytes"] / 2**20))
    figure, axes = plt.subplots(2, len(curves), figsize=(13, 5), sharex="col", sharey="row", layout="constrained")
    for column, (name, points) in zip(axes.T, curves.items(), strict=True):
        sizes, *costs = (np.asarray(column, float) for column in zip(*points, strict=True))
        for ax, cost, color in zip(column, costs, ("tab:blue", "tab:orange"), strict=True):
            ax.loglog(sizes, cost, "o-", color=color)
            ax.loglog(sizes, cost[-1] * sizes / sizes[-1], ":", color="grey", zorder=0)
            ax.xaxis.set_minor_formatter("")
            ax.grid(alpha=0.3)
        column[1].set_xticks(sizes[[0, -1]], [f"{size:,.0f}" for size in sizes[[0, -1]]])
        column[1].set_xlabel(name)
    axes[0, 0].set_ylabel("time, milliseconds")
    axes[1, 0].set_ylabel("memory, MiB")
    figure.suptitle("What a larger problem costs on one core, float32; dotted: in proportion to its size")
    save_figure(path, figure)


if __name__ == "__main__":
    frame.run("benchmarks.scaling", make_rows, draw=draw)
