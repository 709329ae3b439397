"""The trajectories that `jaxcast simulate` computes."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.dynamics.adaptive import ADAPTIVE
from jaxcast.dynamics.ensembles import simulate_ensemble
from jaxcast.dynamics.noise import Noise
from jaxcast.dynamics.parse import describe_system
from jaxcast.dynamics.solvers import SOLVERS, usual_solver
from jaxcast.dynamics.systems import System, random_starts
from jaxcast.dynamics.trajectories import simulate
from jaxcast.errors import InputError
from jaxcast.io.run_folder import environment
from jaxcast.sharding import local_mesh


@dataclasses.dataclass(frozen=True)
class Integration:
    """Trajectories by number; each is the same whatever is integrated beside it.

    Args:
        system: The system.
        noise: What it gets.
        num_samples: Samples of each trajectory.
        dt: Interval between them.
        h: Step, unless the solver chooses its steps.
        t0: Time of the first sample.
        transient: Time before it.
        solver: Method of a step; None for the system's usual one.
        rtol: Relative tolerance of a solver that chooses its steps.
        atol: Absolute tolerance.
        start: State at the start of the transient; empty for random ones.
        seed: Of the starts and of the noise.
        dtype: Number format.
    """

    system: System
    noise: Noise | None
    num_samples: int
    dt: float
    h: float
    t0: float
    transient: float
    solver: str | None
    rtol: float | None
    atol: float | None
    start: tuple[float, ...]
    seed: int
    dtype: str

    @property
    def times(self) -> np.ndarray:
        """Times of the samples."""
        return np.asarray(self.t0 + self.dt * np.arange(self.num_samples))

    @property
    def bytes_each(self) -> int:
        """Bytes of the states of one trajectory."""
        return self.num_samples * self.system.dim * np.dtype(self.dtype).itemsize

    @property
    def is_adaptive(self) -> bool:
        """Whether the solver chooses its steps."""
        return self.solver in ADAPTIVE

    def states(self, first: int, last: int) -> Any:
        """Integrates some of the trajectories.

        Args:
            first: Number of the first trajectory.
            last: Number after the last.

        Returns:
            Their states.
        """
        numbers = jnp.arange(first, last)
        starts = jnp.asarray([self.start]) if self.start else _random_starts(self.system, numbers, self.seed)
        starts = starts.astype(self.dtype)
        sizes: dict[str, Any] = {
            "num_samples": self.num_samples,
            "dt": self.dt,
            "t0": self.t0,
            "transient": self.transient,
        }
        if self.is_adaptive:
            tolerances: dict[str, Any] = {"solver": self.solver, "rtol": self.rtol, "atol": self.atol}
            return jax.vmap(lambda start: simulate(self.system, start, **sizes, **tolerances).states)(starts)
        return simulate_ensemble(
            self.system,
            starts,
            noise=self.noise,
            key=None if self.noise is None else _noise_keys(numbers, self.seed),
            solver=self.solver,
            h=self.h,
            mesh=local_mesh(),
            **sizes,
        ).states

    def steps(self) -> str:
        """Returns how many steps a trajectory takes, as far as that is known."""
        if self.is_adaptive:
            return f"as many steps as {self.solver} needs"
        return f"{round((self.transient + self.dt * (self.num_samples - 1)) / self.h)} steps each"

    def attributes(self) -> dict[str, Any]:
        """Returns how the trajectories are made, for the file."""
        solver = self.solver or usual_solver(self.system)
        tolerances = f"rtol {self.rtol or 'default'}, atol {self.atol or 'default'}"
        return {
            "system": describe_system(self.system),
            "solver": f"{SOLVERS[solver]}, {tolerances if self.is_adaptive else 'fixed step h'}",
            "noise": self.noise and describe_system(self.noise),
            "h": self.h,
            "dt": self.dt,
            "t0": self.t0,
            "transient": self.transient,
            "start": list(self.start) or "random",
            "seed": self.seed,
            **environment(),
            "dtype": self.dtype,
        }

    def refuse_divergence(self, states: np.ndarray, name: str) -> None:
        """Refuses states of which every trajectory has diverged.

        Args:
            states: The states.
            name: Of the system, as the user wrote it.

        Raises:
            InputError: with the step.
        """
        if np.isfinite(states).all((1, 2)).any():
            return
        if self.is_adaptive:
            raise InputError(
                f"{name} diverges or needs too many steps of {self.solver}; choose another start, larger tolerances, "
                "or kvaerno5 for a stiff system"
            )
        raise InputError(f"{name} diverges with h={self.h}; choose a smaller h or another start")


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
