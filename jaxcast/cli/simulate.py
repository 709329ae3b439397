"""`jaxcast simulate`: writes trajectories of a system into a file."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxcast.checks import check_seed
from jaxcast.cli.command import check_numbers
from jaxcast.cli.figures import figure_of
from jaxcast.cli.pool.pictures import MOST_COMPONENTS, some_of
from jaxcast.dynamics.adaptive import ADAPTIVE
from jaxcast.dynamics.ensembles import simulate_ensemble
from jaxcast.dynamics.noise import Noise
from jaxcast.dynamics.parse import describe_system, parse_noise, parse_system
from jaxcast.dynamics.solvers import SOLVERS, check_solver, check_tolerances, usual_solver
from jaxcast.dynamics.systems import System, random_starts
from jaxcast.dynamics.trajectories import Trajectory, check_jumps, num_steps_in, simulate
from jaxcast.errors import InputError, shown
from jaxcast.io.files import partial_path, save_figure
from jaxcast.io.outputs import DATA, PICTURE, Outputs
from jaxcast.io.run_folder import environment
from jaxcast.io.trajectories import load_trajectory, save_trajectory
from jaxcast.io.zarr_writer import TrajectoryWriter
from jaxcast.limits import as_size, check_disk, check_memory
from jaxcast.progress import announce, note, phase
from jaxcast.sharding import local_mesh, start_process, wait_for_all


@dataclasses.dataclass(frozen=True)
class Simulate:
    """Integrate a system and save one trajectory or thousands.

    Thousands are streamed to disk. After an interruption the same command resumes. Times are in the
    system's time unit (MTU). `jaxcast simulate --list` prints the chaotic systems of the catalogue;
    for them --dt, --h and --transient have defaults that follow from their periods.

    Example: jaxcast simulate --out truth.npz --num-samples 4000
        --system "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"
    """

    out: Path
    """File to write: .npz or .csv for one trajectory, .zarr for any number."""
    system: str = "lorenz63"
    """System to integrate: lorenz63(sigma, rho, beta), lorenz96(dim, forcing), rossler(a, b, c),
    two_scale_lorenz96(forcing, coupling, ...), kuramoto_sivashinsky(length, viscosity, num_points),
    driven(system, driver, parameter, offset, gain, time_scale), one of the catalogue (see --list),
    or one of your own (see --import), with parameters by name; those left out have their usual
    values. A parameter is a number or a schedule: cosine(mean, amplitude, period, phase),
    sum_of_cosines(mean, amplitudes, periods, phases), linear_ramp(start, stop, begin, end),
    piecewise_constant(times, values), sampled(start, step, values, slopes)."""
    num_samples: int = 4000
    """Samples of each trajectory."""
    num_trajectories: int = 1
    """Number of trajectories, from different starts."""
    dt: float = 0.1
    """Interval between samples, in MTU; a whole multiple of h."""
    h: float = 0.01
    """Step of the Runge-Kutta integrator, in MTU."""
    t0: float = 0.0
    """Time of the first sample, in MTU."""
    noise: str | None = None
    """Noise that the system gets: additive(scale) or multiplicative(scale), with one number or one
    for each component, per square root of a time unit. The seed chooses its path."""
    solver: str | None = None
    """Method of a step: rk4; etdrk4 or imex for systems with a linear part; euler_maruyama,
    milstein or sra with noise; tsit5, dopri5, dopri8 or kvaerno5, which choose their steps. By
    default the system's usual one."""
    rtol: float | None = None
    """Relative tolerance of a solver that chooses its steps; by default 1e-12, for float32 1e-6."""
    atol: float | None = None
    """Absolute tolerance, with the same default."""
    transient: float = 100.0
    """Time to integrate before the first sample and discard, in MTU; a whole multiple of h."""
    start: Annotated[tuple[float, ...], tyro.conf.arg(metavar="NUMBER ...")] = ()
    """State at the start of the transient; by default random near the system's centre."""
    seed: int = 0
    """Random seed of the starts and of the noise."""
    dtype: Literal["float64", "float32"] = "float64"
    """Number format of the integration and of the file."""
    batch_size: int | None = None
    """Trajectories that each process integrates and writes at a time. Memory holds three such
    batches. By default a batch fills 24 MB."""
    processes: int = 1
    """Number of processes, on one or several hosts, that share the work. Start the same command in
    each, with its own --process-id, and --out on a disk that all can see."""
    process_id: int = 0
    """Number of this process, from 0 to processes - 1."""
    coordinator: str = "localhost:8476"
    """Address (host:port) at which the others reach process 0."""
    overwrite: bool = False
    """Replace the files of --out and --plot, if jaxcast wrote them."""
    plot: Path | None = None
    """Also draw the first trajectory into this .png."""

    def run(self) -> None:
        """Runs the command."""
        self.join()
        system = self.checked()
        files = {"--out": (self.out, DATA), "--plot": (self.plot, PICTURE)}
        # Of several processes, the first one writes and draws; the others fill its store.
        settings = {name: value for name, value in vars(self).items() if name != "coordinator"}
        with Outputs(settings, {} if self.process_id else files, overwrite=self.overwrite) as outputs:
            self.simulate(system, done=not self.process_id and outputs.is_done("--out"))

    def simulate(self, system: System, *, done: bool) -> None:
        """Integrates and writes.

        Args:
            system: The system.
            done: Whether the store was written by a run that was killed before its picture.
        """
        self.estimate(system)
        if self.num_trajectories == 1:
            with phase("integrating"):
                states = np.asarray(self.integrate(system, 0, 1))
            self.refuse_divergence(states)
            one = Trajectory(jnp.asarray(self.times), jnp.asarray(states[0]))
            save_trajectory(
                self.out,
                one,
                components=system.components,
                attributes=self.attributes(system),
                overwrite=self.overwrite,
            )
        else:
            self.stream(system, done=done)
            if self.process_id:
                return
            one = load_trajectory(self.out).trajectory
        if self.plot is not None:
            draw_trajectory(self.plot, system, one)
        announce(f"{self.num_trajectories} x {self.num_samples} samples of {type(system).__name__} in {self.out}")

    def join(self) -> None:
        """Joins the other processes, before JAX computes anything."""
        if not 0 <= self.process_id < self.processes:
            raise InputError(
                f"process_id must be from 0 to processes - 1 = {self.processes - 1}, got {self.process_id}"
            )
        if self.processes == 1:
            return
        if self.num_trajectories == 1:
            raise InputError("one trajectory is computed by one process; leave out --processes")
        start_process(self.coordinator, self.processes, self.process_id)

    def checked(self) -> System:
        """Returns the system, after checking everything that can be refused."""
        system = parse_system(self.system)
        check_numbers(self)
        for name, least in (("num_samples", 2), ("num_trajectories", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least}, got {value}")
        self.check_sizes(system)
        num_steps_in(self.dt, self.h, "dt")
        if self.transient:
            num_steps_in(self.transient, self.h, "transient")
        check_jumps(system, self.h, self.t0)
        if not np.allclose(np.diff(self.times[-2:]), self.dt, rtol=1e-6, atol=0):
            raise InputError(
                f"t0={self.t0:g} is too far from zero to tell times {self.dt:g} apart; choose a smaller one"
            )
        check_solver(self.solver, system, self.read_noise(system), is_adaptive=True)
        check_tolerances(self.solver, self.rtol, self.atol)
        check_seed(self.seed)
        if self.start:
            system.check_dim(len(self.start))
        if self.num_trajectories > 1 and self.start:
            raise InputError("one start gives one trajectory; leave out --start, or --num-trajectories at 1")
        if self.num_trajectories > 1 and self.out.suffix != ".zarr":
            raise InputError(f"{self.num_trajectories} trajectories go into a .zarr, got --out {shown(self.out)}")
        return system

    def check_sizes(self, system: System) -> None:
        """Checks that memory and disk have room.

        Args:
            system: The system.

        Raises:
            InputError: for more than they can hold.
        """
        in_memory, on_disk = self.sizes(system)
        size = f"{self.num_trajectories} x {self.num_samples} samples of {system.dim} components"
        check_memory(in_memory, f"{size}, {self.at_a_time(system)} trajectories at a time,")
        if not partial_path(self.out).exists():  # a run that goes on has written some of it already
            check_disk(self.out, on_disk, size)

    def sizes(self, system: System) -> tuple[int, int]:
        """Returns the bytes in memory, those of three batches, and on disk.

        Args:
            system: The system.
        """
        per_batch = self.at_a_time(system) * self.bytes_each(system)
        times = self.num_samples * (system.dim + 1) * 20 if self.out.suffix == ".csv" else 8 * self.num_samples
        on_disk = times if self.out.suffix == ".csv" else times + self.num_trajectories * self.bytes_each(system)
        return 3 * per_batch + times, on_disk

    def at_a_time(self, system: System) -> int:
        """Returns the number of trajectories held in memory together.

        Args:
            system: The system.
        """
        return min(self.batch_size or self.fitting(system), self.num_trajectories)

    def estimate(self, system: System) -> None:
        """Prints the expected sizes.

        Args:
            system: The system.
        """
        in_memory, on_disk = self.sizes(system)
        num_steps = round((self.transient + self.dt * (self.num_samples - 1)) / self.h)
        note(
            f"{self.num_trajectories} x {self.num_samples} samples, {num_steps} steps each: about {as_size(on_disk)} "
            f"on disk, {as_size(in_memory)} in memory, {self.at_a_time(system)} at a time"
        )

    def attributes(self, system: System) -> dict[str, Any]:
        """Returns how the trajectories are made, for the file.

        Args:
            system: The system.
        """
        return {
            "system": describe_system(system),
            "solver": self.describe_solver(system),
            "noise": self.noise and describe_system(parse_noise(self.noise)),
            "h": self.h,
            "dt": self.dt,
            "t0": self.t0,
            "transient": self.transient,
            "start": list(self.start) or "random",
            "seed": self.seed,
            **environment(),
            "dtype": self.dtype,
        }

    def describe_solver(self, system: System) -> str:
        """Returns the method and what its steps follow.

        Args:
            system: The system.
        """
        solver = self.solver or usual_solver(system)
        if solver not in ADAPTIVE:
            return f"{SOLVERS[solver]}, fixed step h"
        return f"{SOLVERS[solver]}, rtol {self.rtol or 'default'}, atol {self.atol or 'default'}"

    @property
    def times(self) -> np.ndarray:
        """Times of the samples."""
        return np.asarray(self.t0 + self.dt * np.arange(self.num_samples))

    def integrate(self, system: System, first: int, last: int) -> Any:
        """Integrates some of the trajectories; each is the same whatever is integrated beside it.

        Args:
            system: The system.
            first: Number of the first trajectory.
            last: Number after the last.

        Returns:
            Their states.
        """
        numbers = jnp.arange(first, last)
        starts = jnp.asarray([self.start]) if self.start else _random_starts(system, numbers, self.seed)
        noise = self.read_noise(system)
        if self.solver in ADAPTIVE:
            return jax.vmap(partial(self.solved_adaptively, system))(starts.astype(self.dtype))
        return simulate_ensemble(
            system,
            starts.astype(self.dtype),
            noise=noise,
            key=None if noise is None else _noise_keys(numbers, self.seed),
            solver=self.solver,
            num_samples=self.num_samples,
            dt=self.dt,
            h=self.h,
            t0=self.t0,
            transient=self.transient,
            mesh=local_mesh(),
        ).states

    def solved_adaptively(self, system: System, start: Any) -> Any:
        """Integrates one trajectory by a solver that chooses its steps.

        Args:
            system: The system.
            start: State at the start of the transient.

        Returns:
            Its states.
        """
        return simulate(
            system,
            start,
            num_samples=self.num_samples,
            dt=self.dt,
            t0=self.t0,
            transient=self.transient,
            solver=self.solver,
            rtol=self.rtol,
            atol=self.atol,
        ).states

    def read_noise(self, system: System) -> Noise | None:
        """Returns the noise.

        Args:
            system: The system.

        Raises:
            InputError: for noise of another number of components.
        """
        noise = None if self.noise is None else parse_noise(self.noise)
        if noise is not None:
            noise(tuple(jnp.zeros(system.dim)))
        return noise

    def stream(self, system: System, *, done: bool) -> None:
        """Writes batch after batch into a zarr store, while the next is integrated.

        Args:
            system: The system.
            done: Whether the store is written already.
        """
        size = self.batch_size or self.fitting(system)
        if not done and not partial_path(self.out).exists():  # a run that begins is not begun in vain
            self.refuse_divergence(np.asarray(self.integrate(system, 0, min(size, self.num_trajectories))))
        for process in range(self.processes):  # process 0 makes the store, the others find it
            if process == self.process_id and not done:
                writer = self.writer(system, size)
            wait_for_all(f"store {process}")
            done = done or not partial_path(self.out).exists()
        if done:
            return
        num_bad = 0
        with writer, phase("trajectories", self.num_trajectories, is_shown=self.process_id == 0) as update:
            update(writer.num_done)
            mine = range(writer.num_done + self.process_id * size, self.num_trajectories, self.processes * size)
            batches = [(first, min(first + size, self.num_trajectories)) for first in mine]
            # Every process takes part in as many rounds, the last ones perhaps without a batch.
            num_rounds = -(-(self.num_trajectories - writer.num_done) // (self.processes * size))
            states = self.integrate(system, *batches[0]) if batches else None
            for n in range(num_rounds):
                later = self.integrate(system, *batches[n + 1]) if n + 1 < len(batches) else None
                if states is not None:
                    batch = np.asarray(states)
                    num_bad += int((~np.isfinite(batch[:, -1])).any(-1).sum())
                    writer.write_at(batches[n][0], batch)
                wait_for_all(f"round {n}")
                writer.mark_done(min(writer.num_done + self.processes * size, self.num_trajectories))
                states = later
                update(writer.num_done)
        wait_for_all("end")
        if num_bad:
            note(f"{num_bad} of the trajectories integrated now diverged; they are NaN from there on")

    def fitting(self, system: System) -> int:
        """Returns the default number of trajectories in a batch.

        Larger batches cost more: malloc then gives memory back, and gets it anew, every time.

        Args:
            system: The system.
        """
        return max(1, 24_000_000 // self.bytes_each(system))

    def bytes_each(self, system: System) -> int:
        """Returns the bytes of the states of one trajectory.

        Args:
            system: The system.
        """
        return self.num_samples * system.dim * np.dtype(self.dtype).itemsize

    def writer(self, system: System, size: int) -> TrajectoryWriter:
        """Opens the store that all processes write to.

        Args:
            system: The system.
            size: Trajectories in a batch.
        """
        return TrajectoryWriter(
            self.out,
            times=self.times,
            num_trajectories=self.num_trajectories,
            components=system.components,
            batch_size=size,
            dtype=self.dtype,
            attributes=self.attributes(system),
            overwrite=self.overwrite,
            is_main=self.process_id == 0,
        )

    def refuse_divergence(self, states: np.ndarray) -> None:
        """Refuses states of which every trajectory has diverged.

        Args:
            states: The states.

        Raises:
            InputError: with the step.
        """
        if not np.isfinite(states).all((1, 2)).any():
            raise InputError(f"{shown(self.system)} diverges with h={self.h}; choose a smaller h or another start")


@partial(jax.jit, static_argnames="seed")
def _noise_keys(numbers: Any, seed: int) -> Any:
    # Apart from those of the starts, which are folded once.
    key = jax.random.fold_in(jax.random.key(seed), 2**32 - 1)
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


@partial(jax.jit, static_argnames="seed")
def _random_starts(system: System, numbers: Any, seed: int) -> Any:
    def start(number: Any) -> Any:
        return random_starts(system, 1, key=jax.random.fold_in(jax.random.key(seed), number))[0]

    return jax.vmap(start)(numbers)


MOST_SAMPLES = 200
MOST_LETTERS = 120
"""Of samples and of the system's description in one picture."""


def draw_trajectory(path: Path, system: System, trajectory: Trajectory) -> None:
    """Draws the first 200 samples of up to six components.

    Args:
        path: Name of the picture.
        system: The system.
        trajectory: The trajectory.
    """
    from jaxcast.plotting.trajectories import plot_series

    shown = list(system.components)[:MOST_COMPONENTS]
    figure = figure_of(height=1.3 * len(shown) + 1)
    axes = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
    for i, (ax, name) in enumerate(zip(axes, shown, strict=True)):
        plot_series(ax, trajectory.times[:MOST_SAMPLES], trajectory.states[:MOST_SAMPLES, i], label=name)
    axes[-1].set_xlabel("time (MTU)")
    left_out = some_of(len(shown), len(system.components), "components")
    left_out += some_of(MOST_SAMPLES, len(trajectory.times), "samples")
    text = describe_system(system)
    axes[0].set_title((text if len(text) < MOST_LETTERS else f"{text[:MOST_LETTERS]} ...") + left_out, fontsize=8)
    save_figure(path, figure)
