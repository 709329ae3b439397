"""LSTM and GRU over time, forward and training steps, against PyTorch and flax.nnx.

All use the same equations. Training with ours and flax is compiled as a whole, so several steps are
timed as one scan; PyTorch's are a loop. Times are for one step. On several cores ours spreads the
batch over as many devices. Everything is measured twice: with the allocator's defaults, which return
large temporary arrays to the system, and with settings that keep them.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.frame import OURS, Functions, Row, rows_against, run
from jaxcast.nn import GRU, LSTM

try:
    import torch
except ImportError:
    print("without PyTorch its rows are left out: install the `peers` extra", file=sys.stderr)
    torch = None  # type: ignore[assignment]

INPUT_SIZE = 3
LEARNING_RATE = 0.01
# Larger than any array here: no array is mapped by itself, and no memory is returned.
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(8 << 30)}
_WHOLE, _PARTS = PartitionSpec(), PartitionSpec("batch")


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer and its data; num_steps training steps are timed together."""

    kind: str
    hidden_size: int
    length: int
    batch: int
    num_steps: int

    def __str__(self) -> str:
        return f"hidden {self.hidden_size}, time {self.length}, batch {self.batch}"

    def data(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        rng = np.random.default_rng(0)
        sizes = (INPUT_SIZE, self.hidden_size)
        xs, targets = (rng.normal(size=(self.batch, self.length, n)).astype(np.float32) for n in sizes)
        return xs, targets


def make_rows(threads: int, quick: bool) -> Iterator[Row]:
    if torch is not None:
        torch.set_num_threads(threads)
    sizes = [(50, 20, 32, 20), (128, 100, 64, 2), (512, 50, 128, 2)]
    if threads > 1:
        sizes.append((50, 200, 256, 2))
    if quick:
        sizes = [(50, 20, 32, 2)]
    for kind in ("LSTM", "GRU"):
        for case in (Case(kind, *size) for size in sizes):
            named = f"{kind} forward, {case}"
            yield from rows_against(named, "float32", threads, forward_functions(case), quick=quick)
        for case in (Case(kind, *size) for size in sizes):
            named = f"{kind} training step, {case}"
            for row in rows_against(named, "float32", threads, training_functions(case), quick=quick):
                peer_s = None if row["peer_s"] is None else row["peer_s"] / case.num_steps
                yield row | {"ours_s": row["ours_s"] / case.num_steps, "peer_s": peer_s}


def forward_functions(case: Case) -> Functions:
    """Measures the outputs of a whole sequence."""
    xs, _ = case.data()
    ours, flax, peer = layers(case)
    mesh = Mesh(np.asarray(jax.devices()), ("batch",))
    spread = over_batch(lambda layer, xs: layer(xs)[1], mesh, (_WHOLE, _PARTS), _PARTS)
    compiled, placed = jax.jit(lambda xs: spread(ours, xs)), place(xs, mesh)
    functions: Functions = {OURS: lambda: compiled(placed)}
    (weights, of_flax), on_device = flax, jnp.asarray(xs)
    compiled_flax = jax.jit(lambda xs: of_flax(weights, xs))
    functions["flax.nnx"] = lambda: compiled_flax(on_device)
    if peer is not None:
        time_first = torch.tensor(xs.swapaxes(0, 1))
        peer.eval()

        def of_torch() -> Any:
            with torch.inference_mode():
                return peer(time_first)[0]

        np.testing.assert_allclose(ours(xs)[1], of_torch().numpy().swapaxes(0, 1), atol=1e-5)
        functions["torch"] = of_torch
    return functions


def training_functions(case: Case) -> Functions:
    """Measures the error, its gradient, and a step of gradient descent."""
    xs, targets = case.data()
    ours, flax, peer = layers(case)

    functions: Functions = {OURS: ours_training(case, ours, Mesh(np.asarray(jax.devices()), ("batch",)))}
    (weights, of_flax), on_device = flax, (jnp.asarray(xs), jnp.asarray(targets))
    compiled_flax = jax.jit(lambda weights, xs, ys: gradient_descent(of_flax, weights, xs, ys, case.num_steps))
    functions["flax.nnx"] = lambda: compiled_flax(weights, *on_device)
    if peer is not None:
        time_first = [torch.tensor(a.swapaxes(0, 1)) for a in (xs, targets)]
        functions["torch"] = lambda: torch_gradient_descent(peer, time_first, case.num_steps)
    return functions


def ours_training(case: Case, layer: Any, mesh: Mesh) -> Callable[[], Any]:
    """Spreads the batch over a mesh with one axis "batch"."""

    def by_one_device(layer: Any, xs: Any, targets: Any) -> Any:
        return gradient_descent(lambda layer, xs: layer(xs)[1], layer, xs, targets, case.num_steps, axis="batch")

    spread = jax.jit(over_batch(by_one_device, mesh, (_WHOLE, _PARTS, _PARTS), _WHOLE))
    placed = [place(a, mesh) for a in case.data()]
    return lambda: spread(layer, *placed)


def layers(case: Case) -> tuple[Any, Any, Any]:
    """Makes our layer, flax's (weights and a function of them), and PyTorch's, whose weights ours has."""
    kind: Any = {"LSTM": LSTM, "GRU": GRU}[case.kind]
    ours = kind(input_size=INPUT_SIZE, hidden_size=case.hidden_size, key=jax.random.key(0))
    flax = flax_layer(case)
    if torch is None:
        return ours, flax, None
    torch.manual_seed(0)
    peer = getattr(torch.nn, case.kind)(INPUT_SIZE, case.hidden_size)
    return ours.load_torch({name: a.numpy() for name, a in peer.state_dict().items()}), flax, peer


def flax_layer(case: Case) -> tuple[Any, Callable[[Any, Any], Any]]:
    # The faster of flax's LSTM cells: the plain one makes a product for each gate.
    cell = {"LSTM": nnx.OptimizedLSTMCell, "GRU": nnx.GRUCell}[case.kind]
    rngs = nnx.Rngs(0)
    layer = nnx.RNN(cell(INPUT_SIZE, case.hidden_size, dtype=jnp.float32, param_dtype=jnp.float32, rngs=rngs))
    start = layer.cell.initialize_carry((case.batch, INPUT_SIZE), rngs)
    structure, weights, rest = nnx.split(layer, nnx.Param, ...)  # type: ignore[misc]  # two filters, two states
    return weights, lambda weights, xs: nnx.merge(structure, weights, rest, copy=True)(xs, initial_carry=start)


def gradient_descent(
    outputs: Callable[[Any, Any], Any], model: Any, xs: Any, targets: Any, num_steps: int, axis: str | None = None
) -> Any:
    """Returns the trained model and the losses; with an axis, each device has part of the batch."""

    def loss(model: Any) -> Any:
        return jnp.mean((outputs(model, xs) - targets) ** 2)

    def step(model: Any, _: None) -> Any:
        value, gradient = jax.value_and_grad(loss)(model)
        if axis is not None:
            value, gradient = jax.lax.pmean((value, gradient), axis)
        return jax.tree.map(lambda a, b: a - LEARNING_RATE * b, model, gradient), value

    return jax.lax.scan(step, model, None, length=num_steps)


def torch_gradient_descent(model: Any, data: list[Any], num_steps: int) -> None:
    xs, targets = data
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(xs)[0], targets)
        loss.backward()
        optimizer.step()


def over_batch(function: Callable[..., Any], mesh: Mesh, in_specs: Any, out_specs: Any) -> Callable[..., Any]:
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def place(array: Any, mesh: Mesh) -> jax.Array:
    return jax.device_put(array, NamedSharding(mesh, _PARTS))


if __name__ == "__main__":
    run("benchmarks.recurrent", make_rows, {"": {}, ", memory kept": KEPT})
