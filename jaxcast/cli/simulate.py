"""`jaxcast simulate`: writes trajectories of a system into a file."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
import tyro

from jaxcast.checks import check_number, check_seed
from jaxcast.cli.command import check_numbers
from jaxcast.cli.simulation.integration import Integration
from jaxcast.cli.simulation.pictures import draw_trajectory
from jaxcast.cli.simulation.streaming import Stream
from jaxcast.dynamics.parse import parse_noise, parse_system
from jaxcast.dynamics.solvers import check_solver, check_tolerances
from jaxcast.dynamics.trajectories import Trajectory, check_jumps, num_steps_in
from jaxcast.errors import InputError, shown
from jaxcast.io.files import partial_path
from jaxcast.io.outputs import DATA, PICTURE, Outputs
from jaxcast.io.trajectories import load_trajectory, save_trajectory
from jaxcast.limits import as_size, check_disk, check_memory
from jaxcast.progress import announce, note, phase
from jaxcast.sharding import start_process


@dataclasses.dataclass(frozen=True)
class Simulate:
    """Integrate a system and save one trajectory or thousands.

    Thousands are streamed to disk. After an interruption the same command resumes. Times are in the
    system's time unit (MTU). `jaxcast simulate --list` prints the chaotic systems of the catalogue.
    For them, --dt, --h and --transient have defaults that follow from their periods.
    two_scale_lorenz96 and kuramoto_sivashinsky also have defaults of their own.

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
    """Interval between samples, in MTU; a whole multiple of h, unless the solver chooses its steps."""
    h: float = 0.01
    """Step of the integrator, in MTU; solvers that choose their steps ignore it."""
    t0: float = 0.0
    """Time of the first sample, in MTU."""
    noise: str | None = None
    """Noise that the system gets: additive(scale=0.5) or multiplicative(scale=[0.1, 0, 0]), with one
    number or one for each component, per square root of a time unit. The seed chooses its path."""
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
    list: bool = False
    """Only print the chaotic systems of the catalogue; given alone, without --out."""

    def run(self) -> None:
        """Runs the command."""
        self.join()
        integration = self.checked()
        files = {"--out": (self.out, DATA), "--plot": (self.plot, PICTURE)}
        # Of several processes, the first one writes and draws; the others fill its store.
        settings = {name: value for name, value in vars(self).items() if name not in ("coordinator", "list")}
        with Outputs(settings, {} if self.process_id else files, overwrite=self.overwrite) as outputs:
            self.simulate(integration, done=not self.process_id and outputs.is_done("--out"))

    def simulate(self, integration: Integration, *, done: bool) -> None:
        """Integrates and writes.

        Args:
            integration: What is computed.
            done: Whether the store was written by a run that was killed before its picture.
        """
        self.estimate(integration)
        system = integration.system
        if self.num_trajectories == 1:
            with phase("integrating"):
                states = np.asarray(integration.states(0, 1))
            integration.refuse_divergence(states, shown(self.system))
            one = Trajectory(jnp.asarray(integration.times), jnp.asarray(states[0]))
            save_trajectory(
                self.out,
                one,
                components=system.components,
                attributes=integration.attributes(),
                overwrite=self.overwrite,
            )
        else:
            self.stream(integration).fill(done=done)
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

    def checked(self) -> Integration:
        """Returns what to compute, after checking everything that can be refused."""
        integration = self.integration()
        system = integration.system
        check_numbers(self)
        for name, value, least in (
            ("num_samples", self.num_samples, 2),
            ("num_trajectories", self.num_trajectories, 1),
            ("batch_size", self.batch_size, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least}, got {value}")
        self.check_sizes(integration)
        self.check_times(integration)
        check_solver(self.solver, system, integration.noise, is_adaptive=True)
        check_tolerances(self.solver, self.rtol, self.atol)
        check_seed(self.seed)
        if self.start:
            system.check_dim(len(self.start))
        if self.num_trajectories > 1 and self.start:
            raise InputError("one start gives one trajectory; leave out --start, or --num-trajectories at 1")
        if self.num_trajectories > 1 and self.out.suffix != ".zarr":
            raise InputError(f"{self.num_trajectories} trajectories go into a .zarr, got --out {shown(self.out)}")
        return integration

    def integration(self) -> Integration:
        """Returns what the options say.

        Raises:
            InputError: for noise of another number of components.
        """
        system = parse_system(self.system)
        noise = None if self.noise is None else parse_noise(self.noise)
        if noise is not None:
            noise(tuple(jnp.zeros(system.dim)))
        return Integration(
            system,
            noise,
            num_samples=self.num_samples,
            dt=self.dt,
            h=self.h,
            t0=self.t0,
            transient=self.transient,
            solver=self.solver,
            rtol=self.rtol,
            atol=self.atol,
            start=self.start,
            seed=self.seed,
            dtype=self.dtype,
        )

    def check_times(self, integration: Integration) -> None:
        """Checks the interval, the step and the times.

        Args:
            integration: What is computed.

        Raises:
            InputError: for steps that do not meet the samples, and times that cannot be told apart.
        """
        if integration.is_adaptive:
            check_number("dt", self.dt, above=0)
            check_number("transient", self.transient, least=0)
        else:
            num_steps_in(self.dt, self.h, "dt")
            if self.transient:
                num_steps_in(self.transient, self.h, "transient")
            check_jumps(integration.system, self.h, self.t0)
        if not np.allclose(np.diff(integration.times[-2:]), self.dt, rtol=1e-6, atol=0):
            raise InputError(
                f"t0={self.t0:g} is too far from zero to tell times {self.dt:g} apart; choose a smaller one"
            )

    def check_sizes(self, integration: Integration) -> None:
        """Checks that memory and disk have room.

        Args:
            integration: What is computed.

        Raises:
            InputError: for more than they can hold.
        """
        in_memory, on_disk = self.sizes(integration)
        size = f"{self.num_trajectories} x {self.num_samples} samples of {integration.system.dim} components"
        check_memory(in_memory, f"{size}, {self.at_a_time(integration)} trajectories at a time,")
        if not partial_path(self.out).exists():  # a run that goes on has written some of it already
            check_disk(self.out, on_disk, size)

    def sizes(self, integration: Integration) -> tuple[int, int]:
        """Returns the bytes in memory, those of three batches, and on disk.

        Args:
            integration: What is computed.
        """
        dim = integration.system.dim
        per_batch = self.at_a_time(integration) * integration.bytes_each
        times = self.num_samples * (dim + 1) * 20 if self.out.suffix == ".csv" else 8 * self.num_samples
        on_disk = times if self.out.suffix == ".csv" else times + self.num_trajectories * integration.bytes_each
        return 3 * per_batch + times, on_disk

    def at_a_time(self, integration: Integration) -> int:
        """Returns the number of trajectories held in memory together.

        Args:
            integration: What is computed.
        """
        return min(self.batch(integration), self.num_trajectories)

    def batch(self, integration: Integration) -> int:
        """Returns the number of trajectories in a batch.

        Args:
            integration: What is computed.
        """
        # Larger ones cost more: malloc then gives memory back, and gets it anew, every time.
        return self.batch_size or max(1, 24_000_000 // integration.bytes_each)

    def estimate(self, integration: Integration) -> None:
        """Prints the expected sizes.

        Args:
            integration: What is computed.
        """
        in_memory, on_disk = self.sizes(integration)
        note(
            f"{self.num_trajectories} x {self.num_samples} samples, {integration.steps()}: about {as_size(on_disk)} "
            f"on disk, {as_size(in_memory)} in memory, {self.at_a_time(integration)} at a time"
        )

    def stream(self, integration: Integration) -> Stream:
        """Returns the store and who fills it.

        Args:
            integration: What is computed.
        """
        return Stream(
            integration,
            self.out,
            num_trajectories=self.num_trajectories,
            batch_size=self.batch(integration),
            processes=self.processes,
            process_id=self.process_id,
            name=shown(self.system),
            overwrite=self.overwrite,
        )
