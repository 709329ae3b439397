"""The hot programs of the library, by name: a function of arrays, their values, and the steps of a run."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

import jaxcast
from benchmarks import recurrent, rollout, training
from benchmarks.candidates import RHOS
from benchmarks.ensembles import CENTER, Coupled, starts
from benchmarks.single import RATE, RHO0, H, Linear
from benchmarks.targets import Program
from jaxcast.clock import split
from jaxcast.dynamics.plan import SolvePlan, model_axes, num_models
from jaxcast.dynamics.solve import solve_reference
from jaxcast.training.run import FitSettings, run_epochs, started_run


def programs(quick: bool, mesh: Mesh) -> Iterator[Program]:
    """Yields all hot programs, with float32 states.

    Args:
        quick: for small sizes: programs compile in about the same time, and run in little.
        mesh: the device.
    """
    yield from simulations(quick)
    yield from other_systems(quick)
    yield from closed_loops(quick)
    yield from trainings(quick, mesh)
    yield from recurrent_layers(quick)
    yield language_model(quick)


def simulations(quick: bool) -> Iterator[Program]:
    """Yields one trajectory, and ensembles of Lorenz '63 with one drifting parameter."""
    system = jaxcast.Lorenz63(rho=Linear(RHO0, RATE))
    num_samples = 40 if quick else 4000

    def simulate(u0: Any) -> Any:
        return jaxcast.simulate(system, u0, num_samples=num_samples, dt=10 * H, h=H).states

    yield Program(
        f"one trajectory, {num_samples} samples", simulate, (starts(1, CENTER, "float32")[0],), 10 * num_samples
    )

    def final(u0: Any) -> Any:
        return jaxcast.final_states(system, u0, duration=100 * H, h=H)

    for num in (1_000,) if quick else (1_000_000, 8_000_000):
        yield Program(
            f"final states of {num} after 100 steps",
            final,
            (states(num, 3),),
            100,
            num,
            None if quick else partial(plainly, system),
        )

    def recorded(u0: Any) -> Any:
        return jaxcast.simulate_ensemble(system, u0, num_samples=11, dt=10 * H, h=H).states

    plain = None if quick else partial(plainly, system, num_samples=11)
    num = 1_000 if quick else 1_000_000
    yield Program(
        f"{num} trajectories, every tenth of 100 steps recorded", recorded, (states(num, 3),), 100, num, plain
    )


def other_systems(quick: bool) -> Iterator[Program]:
    """Yields ensembles of other systems."""
    num = 1_000 if quick else 1_000_000
    systems = {
        "Lorenz '63, a parameter each": jaxcast.Lorenz63(rho=jnp.linspace(28.0, 48.0, num, dtype=jnp.float32)),
        "Lorenz '63, a cosine for all": jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577)),
        "Rossler": jaxcast.Rossler(),
        "Lorenz '96, 8 sites": jaxcast.Lorenz96(dim=8),
        "Lorenz '96, 40 sites": jaxcast.Lorenz96(dim=40),
        "a user's own, 4 variables": Coupled(),
    }

    def final(system: Any, u0: Any) -> Any:
        return jaxcast.final_states(system, u0, duration=100 * H, h=H)

    for name, system in systems.items():
        plain = None if quick else plainly
        yield Program(f"{name}, {num} after 100 steps", final, (system, states(num, system.dim)), 100, num, plain)


def plainly(system: Any, u0: Any, num_samples: int | None = None) -> Any:
    """Makes 100 steps as the reference does."""
    plan = SolvePlan(0, num_samples, 100 if num_samples is None else 10)
    system, t0, h = system.with_all_digits(), split(0.0, u0.dtype), split(H, u0.dtype)
    axes = None if num_models(system, u0.dtype) is None else model_axes(system)
    return jax.vmap(lambda system, u: solve_reference(plan, system, u, t0, h), in_axes=(axes, 0))(system, u0)


def states(num: int, dim: int) -> Any:
    """Returns the shape of an ensemble's states: no memory is taken for those that are only compiled."""
    return jax.ShapeDtypeStruct((num, dim), jnp.float32)


def closed_loops(quick: bool) -> Iterator[Program]:
    """Yields candidates in a scan, the paper's closed loop, and a gradient through one."""
    batch, num_steps = (64, 8) if quick else (4000, 32)
    candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in RHOS]))

    def scanned(u: Any) -> Any:
        def step(u: Any, _: None) -> Any:
            forecasts = jax.vmap(candidates)(u)
            return forecasts[:, 5], forecasts[:, 0, 0]

        return jax.lax.scan(step, u, None, length=num_steps)

    yield Program(f"11 candidates of {batch} states in a scan", scanned, (states(batch, 3),), num_steps, batch)
    num_windows, num_leads = (20, 16) if quick else (200, 128)
    pool, cell, windows = rollout.setup(num_windows, num_leads, "float32")

    def loop(pool: Any, windows: Any) -> Any:
        return rollout.forecasts(jaxcast.Forecaster(pool, cell.forecast_map), windows)

    name = f"closed loop, {num_windows} windows x {num_leads} leads"
    yield Program(name, loop, (pool, windows), num_leads, num_windows)
    num_windows, num_leads = (8, 4) if quick else (64, 20)
    pool, _, windows = rollout.setup(num_windows, num_leads, "float32")

    def loss(pool: Any, windows: Any) -> Any:
        return jnp.mean((loop(pool, windows) - windows.truth) ** 2)

    name = f"gradient through a closed loop, {num_windows} windows x {num_leads} leads"
    yield Program(name, jax.grad(loss), (pool, windows), num_leads, num_windows)


def trainings(quick: bool, mesh: Mesh) -> Iterator[Program]:
    """Yields an epoch of the paper's pool, for one seed and for ten."""
    num_samples = 400 if quick else 4006
    truth = jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132))
    start = np.asarray([1.0, 2.0, 20.0], "float32")
    trajectory = jaxcast.simulate(truth, start, num_samples=num_samples, transient=20.0)
    candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in RHOS]))
    samples = jaxcast.one_step_samples(trajectory, rollout.NUM_DELAYS, candidates)
    settings = FitSettings(jaxcast.pooling.mean_squared_error, training.BATCH_SIZE, num_epochs=1)
    num_steps = len(samples.targets) // training.BATCH_SIZE
    for num_seeds in (1,) if quick else (1, 10):
        keys = jax.random.split(jax.random.key(0), num_seeds)
        graph, run = started_run(training.init, None, keys, training.OPTIMIZER, 1, False)
        epoch = partial(run_epochs, graph=graph, optimizer=training.OPTIMIZER, settings=settings, mesh=mesh)
        name = f"epoch of attention, {num_seeds} seeds, {num_steps} steps"
        yield Program(name, partial(_first, epoch), (run, samples), num_steps, num_seeds)


def _first(epoch: Any, run: Any, samples: Any) -> Any:
    return epoch(run, samples, None, 0, 1)


def recurrent_layers(quick: bool) -> Iterator[Program]:
    """Yields LSTM and GRU, forward and training steps."""
    for kind in ("LSTM", "GRU"):
        case = recurrent.Case(kind, *((50, 20, 32, 2) if quick else (128, 100, 64, 2)))
        layer, _, _ = recurrent.layers(case)
        xs, targets = case.data()

        def train(layer: Any, xs: Any, targets: Any, num_steps: int = case.num_steps) -> Any:
            return recurrent.gradient_descent(lambda layer, xs: layer(xs)[1], layer, xs, targets, num_steps)

        yield Program(f"{kind} forward, {case}", lambda layer, xs: layer(xs)[1], (layer, xs), case.length, case.batch)
        num_steps = case.num_steps * case.length
        yield Program(f"{kind} training steps, {case}", train, (layer, xs, targets), num_steps, case.batch)


def language_model(quick: bool) -> Program:
    """Returns a training step of a character model, as of experiments.language."""
    hidden_size, num_layers, batch, length = (32, 1, 4, 16) if quick else (256, 2, 64, 64)
    model = jaxcast.text.LanguageModel(
        num_tokens=65, hidden_size=hidden_size, num_layers=num_layers, key=jax.random.key(0)
    )
    optimizer = optax.adam(1e-3)
    tokens = jnp.zeros((batch, length), jnp.int32)

    def step(model: Any, state: Any, tokens: Any, targets: Any) -> Any:
        def loss(model: Any) -> Any:
            logits = jax.nn.log_softmax(model(tokens)[1])
            return -jnp.take_along_axis(logits, targets[..., None], -1).mean()

        value, gradient = jax.value_and_grad(loss)(model)
        updates, state = optimizer.update(gradient, state, model)
        return optax.apply_updates(model, updates), state, value

    name = f"language model step, {num_layers} x {hidden_size}, {length} characters of {batch} texts"
    return Program(name, step, (model, optimizer.init(model), tokens, tokens), length, batch)
