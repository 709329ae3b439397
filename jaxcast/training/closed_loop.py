"""Training through closed loops: gradients of forecasts that are fed back."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key

from jaxcast.arguments import checked
from jaxcast.dynamics.gaps import filled, known_throughout
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import check_trajectory
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.rollout import Cell, Input, RolloutState, spin_up
from jaxcast.sampling import check_sampling, exact_times, with_all_digits
from jaxcast.training.fitting import FitResult, Loss, fit
from jaxcast.training.optimizers import make_optimizer
from jaxcast.types import Scalar

MakeCell = Callable[[Any], Cell]


class TrainingWindows(NamedTuple):
    """Windows of a trajectory to train closed loops on.

    Args:
        history: true states before the forecast, (window, time, dim), oldest first.
        truth: states to forecast, (window, lead, dim).
        times: of both without the last lead, (window, time + lead - 1).
        scale: standard deviation of each component, (window, dim), the same for all windows.
    """

    history: Array
    truth: Array
    times: Array
    scale: Array


@checked
def fine_tune(
    trajectory: Trajectory,
    *,
    models: Any,
    make_cell: MakeCell,
    keys: Key[Array, " seed"],
    num_leads: Sequence[int] = (1, 2, 5, 10, 20),
    num_epochs: int = 4,
    batch_size: int = 64,
    learning_rate: float = 3e-4,
    clip_norm: float = 1.0,
    optimizer: optax.GradientTransformation | None = None,
    tolerance: float = 0.03,
    diverged: float = 0.3,
    history_size: int | None = None,
    stride: int = 1,
    known: Bool[Any, "..."] | None = None,
    on_progress: Callable[[int, Float[np.ndarray, " seed"]], None] | None = None,
    mesh: Mesh | None = None,
) -> FitResult:
    """Continues the training of models through their closed loops, over more and more leads.

    The loss is that of `closed_loop_loss`. The backward pass recomputes each step, so memory does
    not grow with what a step stores. It helps models that generalise; it does not cure overfitting.

    Args:
        trajectory: to train on.
        models: with a leading seed axis, such as `fit` returns; their `nnx.Param` leaves are
            trained.
        make_cell: model -> cell, a function defined once (it is compared by identity).
        keys: one for each seed; they shuffle.
        num_leads: lengths of the closed loop, trained one after the other for num_epochs each.
        num_epochs: passes over all windows for each length.
        batch_size: windows of a minibatch.
        learning_rate: Adam's, which falls to zero along a half cosine for each length.
        clip_norm: gradients with a larger global norm are scaled down to it.
        optimizer: used instead of Adam where it is given.
        tolerance: error in standard deviations, as for `closed_loop_loss`.
        diverged: squared error in standard deviations, as for `closed_loop_loss`.
        history_size: true states before each window; by default as many as fill the cell's memory.
        stride: samples from the start of one window to the next.
        known: which states or components are known, (time,) or (time, dim); by default all. Windows
            with an unknown one are left out.
        on_progress: called after each length, with it and the newest losses.
        mesh: devices to spread the seeds over; by default all.

    Returns:
        The models, and the losses of all epochs of all lengths.

    Raises:
        InputError: for leads below one, a trajectory shorter than a window or not evenly sampled by
            the dt of the cell's flow map, or settings out of range.

    Source:
        Bengio et al. (2015) and Lam et al. (2023) for growing lengths; Chen et al. (2016) for
        recomputation.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> def init(key): return jaxcast.pooling.FeedForward(dim=3, num_delays=1, hidden_size=8, key=key)
        >>> keys = jax.random.key(0)[None]
        >>> sizes = dict(num_leads=(1, 3), num_epochs=2, batch_size=8)
        >>> models = jax.vmap(init)(keys)
        >>> tuned = jaxcast.training.fine_tune(truth, models=models, make_cell=jaxcast.Forecaster, keys=keys, **sizes)
        >>> tuned.losses.shape
        (1, 4)
    """
    _check_tuning(num_leads, num_epochs, stride, tolerance, diverged)
    first = make_cell(jax.tree.map(lambda a: a[0], models))
    check_sampling(trajectory.times, first)
    history_size = first.warmup + 1 if history_size is None else history_size
    loss = closed_loop_loss(make_cell, tolerance, diverged)
    tuned, losses = FitResult(models, jnp.zeros((len(keys), 0))), []
    for n, leads in enumerate(num_leads):
        data = training_windows(trajectory, num_leads=leads, history_size=history_size, stride=stride, known=known)
        data = data._replace(times=exact_times(data.times, first))
        num_optimizer_steps = max(num_epochs * (len(data.truth) // batch_size), 1)
        tuned = fit(
            data,
            init=tuned,
            keys=jax.vmap(jax.random.fold_in, (0, None))(keys, n),
            num_epochs=num_epochs,
            batch_size=batch_size,
            optimizer=optimizer
            or make_optimizer(
                learning_rate, schedule="cosine", num_optimizer_steps=num_optimizer_steps, clip_norm=clip_norm
            ),
            loss=loss,
            mesh=mesh,
        )
        losses.append(tuned.losses)
        if on_progress is not None:
            on_progress(leads, np.asarray(tuned.losses[:, -1]))
    return FitResult(tuned.models, jnp.concatenate(losses, 1))


def _check_tuning(num_leads: Sequence[int], num_epochs: int, stride: int, tolerance: float, diverged: float) -> None:
    if not num_leads or min(*num_leads, num_epochs, stride) < 1 or min(tolerance, diverged) <= 0:
        raise InputError(
            "expected num_leads, num_epochs and stride of at least 1 and a positive tolerance and diverged, "
            f"got {tuple(num_leads)}, {num_epochs}, {stride}, {tolerance} and {diverged}"
        )


@checked
def training_windows(
    trajectory: Trajectory,
    *,
    num_leads: int,
    history_size: int,
    stride: int = 1,
    known: Bool[Any, "..."] | None = None,
) -> TrainingWindows:
    """Cuts overlapping windows out of a trajectory.

    Args:
        trajectory: evenly sampled.
        num_leads: states of a window to forecast.
        history_size: true states before them.
        stride: samples from the start of one window to the next.
        known: which states or components are known, (time,) or (time, dim); by default all. Windows
            with an unknown one are left out.

    Raises:
        InputError: for a trajectory shorter than one window, not evenly sampled, or with NaN where
            it is known; for a mask of another shape, or one without any window.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> jaxcast.training.training_windows(truth, num_leads=5, history_size=6).truth.shape
        (20, 5, 3)
    """
    trajectory, rows = filled(trajectory, known)
    check_trajectory(trajectory)
    check_sampling(trajectory.times)
    states, size = trajectory.states, history_size + num_leads
    if history_size < 1 or len(states) < size:
        raise InputError(
            f"windows of {history_size} true values and {num_leads} leads need a trajectory of at least {size} "
            f"samples, got {len(states)}"
        )
    num_windows = len(range(0, len(states) - size + 1, stride))
    check_arrays(f"{num_windows} windows of {size} samples", (num_windows, size, *jnp.shape(states)[1:]))
    starts = np.arange(0, len(states) - size + 1, stride)
    if known is not None:
        starts = starts[known_throughout(rows, size, stride=stride)]
    index = starts[:, None] + np.arange(size)
    windows, std = states[index], states[rows].std(0)
    scale = jnp.broadcast_to(jnp.where(std > 0, std, 1), (len(index), states.shape[-1]))
    return TrainingWindows(windows[:, :history_size], windows[:, history_size:], trajectory.times[index[:, :-1]], scale)


@checked
@cache
def closed_loop_loss(make_cell: MakeCell, tolerance: float = 0.03, diverged: float = 0.3) -> Loss:
    """Makes the loss of `fine_tune`, (model, windows) -> scalar.

        loss = mean over windows and leads of log(1 + e / tolerance^2)
        e = mean_d ((forecast_d - truth_d) / std_d)^2

    The mean ends with the first lead at which e exceeds `diverged`; differences are clipped at 2
    sqrt(dim diverged) std. After it nothing is scored and the truth is fed, so a diverged window
    gives finite gradients without noise, unless the cell returns NaN for finite states. Errors
    below the tolerance count by their square, larger ones by their logarithm, so that all leads ask
    for about the same relative improvement. The same arguments return the same function.

    Args:
        make_cell: model -> cell, a function defined once (it is compared by identity).
        tolerance: error, in standard deviations, at which the logarithm takes over.
        diverged: squared error, in squared standard deviations, at which a window ends.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> loss = jaxcast.training.closed_loop_loss(jaxcast.Forecaster)
        >>> windows = jaxcast.training.training_windows(truth, num_leads=5, history_size=1)
        >>> bool(loss(jaxcast.pooling.Persistence(), windows) > 0)
        True
    """

    def loss(model: Any, windows: TrainingWindows) -> Float[Array, ""]:
        cell = make_cell(model)
        check_sampling(windows.times, cell, what="every window")
        windows = windows._replace(times=exact_times(windows.times, cell))
        score = partial(_score, with_all_digits(cell), tolerance=tolerance, diverged=diverged)
        return jax.vmap(score)(windows).mean()

    return loss


def _score(cell: Cell, window: TrainingWindows, *, tolerance: Scalar, diverged: Scalar) -> Array:
    """Computes the mean score of the leads of one window."""
    num_true = len(window.history)
    far = 2 * (len(window.scale) * diverged) ** 0.5 * window.scale  # one component alone is enough to diverge

    def judge(state: RolloutState, alive: Array, truth: Array) -> tuple[Array, Array, Array]:
        """Returns what to feed next, whether to score on, and the score of the newest forecast."""
        fed = cell.feedback(state.output, None)
        # Larger differences are clipped and have no gradient; what is not finite must not reach
        # one.
        off = jnp.clip(jnp.where(jnp.isfinite(fed), fed - truth, far), -far, far)
        error = jnp.mean((off / window.scale) ** 2)
        score = jnp.where(alive, jnp.log1p(error / tolerance**2), 0)
        alive = alive & (error < diverged)
        return jnp.where(alive, truth + off, truth), alive, score

    @jax.checkpoint
    def step(carry: tuple[RolloutState, Array], x: tuple[Array, Array]) -> tuple[Any, Array]:
        (state, alive), (truth, time) = carry, x
        value, alive, score = judge(state, alive, truth)
        return (RolloutState(*cell(state.carry, Input(value, jnp.asarray(False), time))), alive), score

    state = spin_up(cell, window.history, window.times[:num_true])
    start = (state, jnp.asarray(True))
    (state, alive), scores = jax.lax.scan(step, start, (window.truth[:-1], window.times[num_true:]))
    _, _, last = judge(state, alive, window.truth[-1])
    return (scores.sum() + last) / len(window.truth)
