"""`jaxcast pool train`: trains a pool of candidate models on a trajectory in a file."""

import dataclasses
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.checks import check_seed, check_sizes
from jaxcast.cli.command import check_numbers
from jaxcast.cli.pool.candidates import as_the_candidates, candidates_for, sampling_interval
from jaxcast.cli.pool.choice import chosen, parts_of
from jaxcast.cli.pool.methods import (
    Method,
    fitted_of,
    needs_candidates,
    network_of,
    options_of,
    refuse_other_options,
)
from jaxcast.cli.pool.networks import draw_losses, initializer, num_batches, train_network
from jaxcast.cli.pool.regime import advice_from, check_input, compare_on_trial, described, findings, one_step_error
from jaxcast.cli.pool.regime import fitted as fitted_regime
from jaxcast.dynamics.gaps import longest_stretch
from jaxcast.dynamics.trajectories import FlowMap, Trajectory
from jaxcast.dynamics.trajectory_checks import StoredTrajectory, check_trajectory_with_gaps
from jaxcast.errors import InputError, shown
from jaxcast.io.run_folder import RunFolder
from jaxcast.io.trajectories import load_trajectory
from jaxcast.pooling.corrected import fit_correction
from jaxcast.pooling.interpolation import fit_regime_interpolation
from jaxcast.pooling.linear import equal_weights, fit_linear_regression, fit_ridge
from jaxcast.pooling.samples import (
    OneStepSamples,
    check_candidates,
    least_samples,
    one_step_errors,
    one_step_samples,
)
from jaxcast.pooling.simplex import SimplexLeastSquares
from jaxcast.progress import announce, phase
from jaxcast.pytrees import fingerprint, named_leaves
from jaxcast.regime.fit import AnyRegimeForecaster
from jaxcast.saving.models import save_model
from jaxcast.saving.rebuilding import check_loadable
from jaxcast.selection.filters import check_fillable
from jaxcast.training.options import TrainingOptions
from jaxcast.training.run import check_training_memory

FILLS = "--pool auto fills gaps"
"""Advice where a pool cannot learn from a trajectory with gaps."""


class Prepared(NamedTuple):
    """The data that a pool is trained on.

    Args:
        stored: Trajectory of the file.
        trajectory: The same as JAX arrays.
        candidates: The candidates, None for a pool without.
        samples: One-step samples; None for auto where the trajectory has gaps.
    """

    stored: StoredTrajectory
    trajectory: Trajectory
    candidates: FlowMap | None
    samples: OneStepSamples | None


@dataclasses.dataclass(frozen=True)
class TrainPool:
    """Train a pool of candidate models on a trajectory.

    A pool weights the candidates at each step by their latest errors. By default it infers the
    hidden regime that these errors reveal, and how the regime changes over time; --pool
    additive_attention is the published method. After an interruption the same command resumes.
    Times are in the unit of the trajectory.

    For the series of a table, see jaxcast series train.

    Example: jaxcast pool train --trajectory truth.npz --out pool
        --candidates "lorenz63(rho=linspace(28, 48, 11))"
    """

    trajectory: Path
    """Training trajectory: .npz, .csv or .zarr, with a time and a state axis. NaN is a gap: auto
    fills gaps, regime refuses them, and the other pools learn from the samples that are known."""
    out: Path
    """Folder for the trained pool, its settings, losses and picture."""
    candidates: str = ""
    """Candidate models: a system with lists of numbers, one model for each, written [28, 30, ...]
    or linspace(first, last, how many), such as lorenz63(rho=linspace(28, 48, 11)). feed_forward
    needs none; without them auto chooses among methods that learn from the truth alone."""
    pool: Method = "regime"
    """Pool that combines the candidates' forecasts. auto: tries pools and other methods on the last
    quarter of the trajectory, prints the comparison and fits the best; it takes some minutes.
    regime: a filter over the state and the parameter in
    which the candidates differ; corrected_interpolation: interpolation between the candidates with
    a kernel regression as correction; additive_attention: the published pool; feed_forward: no
    candidates. Options that a pool does not use are refused."""
    h: float = 0.01
    """Step of the candidates' Runge-Kutta integrator; the interval between samples must be a whole
    multiple of it."""
    trajectory_index: int = 0
    """Index of the trajectory, in a file of several."""
    num_delays: int = 5
    """Past states and errors seen by a network, corrected_interpolation or
    simplex_least_squares."""
    hidden_size: int = 120
    """Hidden units of the network, or of each head where there are several."""
    num_heads: int = 2
    """Heads of multi_head_attention."""
    history_size: int | None = None
    """Samples that will be known before a forecast, by which auto chooses. By default 100, or a
    tenth of the trajectory if that is less."""
    budget: float | None = None
    """Seconds of trials after which auto starts no further method or setting. By default it tries
    all; it prints what was left out."""
    max_methods: int | None = None
    """The most methods that auto tries, cheapest first, however long they take. By default all."""
    penalty: float = 1.0
    """Penalty of ridge_regression on the squared weights, in squared units of the state."""
    training: TrainingOptions = dataclasses.field(default_factory=TrainingOptions)
    """Training of the pools that are networks."""
    seed: int = 0
    """Random seed of initial parameters and shuffling."""
    network_dtype: Literal["float32", "float64"] = "float32"
    """Number format of the network; the candidates are always in float64."""
    overwrite: bool = False
    """Start afresh where the folder holds a run with other settings."""

    def run(self) -> None:
        """Runs the command."""
        with phase("reading the trajectory and rolling the candidates along it"):
            prepared = self.prepared()
        folder = RunFolder.of(
            self,
            reads=("trajectory",),
            facts={"data": fingerprint(prepared.stored.trajectory)},
            only=options_of(self.pool),
            outputs=("results.json", "pool.json", "arrays.npz", "loss.png"),
        )
        forecast_map = prepared.candidates
        if self.pool == "regime":
            (pool, results), forecast_map = self.regime(prepared), None
        elif self.pool == "auto":
            with phase("comparing methods on the last quarter"):
                choice, results = chosen(
                    prepared.trajectory,
                    forecast_map,
                    history_size=self.history_size,
                    budget=self.budget,
                    max_methods=self.max_methods,
                    checkpoint=folder.path / "stages" / "trials.checkpoint",
                    seed=self.seed,
                )
            print(choice)
            pool, forecast_map = parts_of(choice.cell)
        else:
            assert prepared.samples is not None
            pool, losses = self.fitted(prepared.samples, folder)
            num_samples = len(prepared.samples.targets)
            results = {"one_step_mse": self.errors(pool, prepared.samples), "num_samples": num_samples}
            if losses is not None:
                results["losses"] = [[float(loss) for loss in row] for row in losses]
                draw_losses(losses, folder)
        save_model(
            folder.path,
            pool,
            forecast_map,
            attributes={
                "settings": folder.settings,
                "components": list(prepared.stored.components),
                "time_unit": prepared.stored.time_unit,
                "trained_on": {"file": str(self.trajectory), **prepared.stored.attributes},
                "dt": sampling_interval(prepared.stored.trajectory),
                "num_seeds": self.training.num_seeds if network_of(self.pool) else None,
            },
        )
        folder.write_json("results.json", results)
        shown = ", ".join(f"{error:.4g}" for error in results["one_step_mse"])
        print(f"{self.pool} in {self.out}: one-step mean squared error on its training samples {shown}")

    def prepared(self) -> Prepared:
        """Returns what the pool is trained on, after checking everything that can be refused."""
        check_numbers(self)
        refuse_other_options(self)
        for name in ("history_size", "max_methods"):
            if vars(self)[name] is not None:
                check_sizes(**{name: vars(self)[name]})
        check_sizes(num_delays=self.num_delays, hidden_size=self.hidden_size, num_heads=self.num_heads)
        self.training.check()
        check_seed(self.seed)
        if self.pool == "ridge_regression" and not self.penalty > 0:
            raise InputError(f"penalty must be positive, got {self.penalty}; linear_regression fits without one")
        stored = load_trajectory(self.trajectory, index=self.trajectory_index, with_gaps=True)
        if self.candidates:
            stored = as_the_candidates(self.candidates, stored, self.trajectory)
        trajectory = Trajectory(*(jnp.asarray(part, float) for part in stored.trajectory))
        candidates = None
        if needs_candidates(self.pool) and not self.candidates:
            raise InputError(f"{self.pool} needs --candidates, such as 'lorenz63(rho=linspace(28, 48, 11))'")
        if self.candidates:
            candidates = candidates_for(self.candidates, stored, self.trajectory, self.h)
        has_gap = np.isnan(trajectory.states).any(1)
        check_trajectory_with_gaps(trajectory)
        check_fillable(trajectory.states, candidates, stored.components)
        if self.pool == "regime" and has_gap.any():
            raise InputError(
                f"regime needs a trajectory without gaps, {shown(self.trajectory)} has NaN in {has_gap.sum()} of "
                f"{len(has_gap)} samples; {FILLS}"
            )
        samples = None if self.pool == "auto" and has_gap.any() else self.samples(trajectory, candidates)
        if self.pool == "regime":
            assert candidates is not None
            check_input(trajectory, candidates)
        if network_of(self.pool):
            assert samples is not None
            init, num_seeds = initializer(self, samples), self.training.num_seeds
            check_training_memory(jax.eval_shape(init, jax.random.key(0)), num_seeds, self.training.num_epochs)
            trained = jax.eval_shape(lambda key: jax.vmap(init)(jax.random.split(key, num_seeds)), jax.random.key(0))
            check_loadable(trained, named_leaves(trained))  # before the training, not after it
            self.training.optimizer(num_batches(self.training, samples))
        return Prepared(stored, trajectory, candidates, samples)

    def samples(self, trajectory: Trajectory, candidates: FlowMap | None) -> OneStepSamples:
        """Returns the one-step samples.

        Args:
            trajectory: Training trajectory.
            candidates: The candidates.

        Raises:
            InputError: for too few samples, or candidates that diverge.
        """
        delays = self.num_delays if "num_delays" in options_of(self.pool) else 1
        known = ~np.isnan(trajectory.states).any(1)
        needed, part = least_samples(delays, candidates), longest_stretch(known)
        if (longest := part.stop - part.start) < needed <= len(known) or not longest:
            raise InputError(
                f"{shown(self.trajectory)} has gaps: {self.pool} needs {needed} known samples in a row, got at most "
                f"{longest}; {FILLS}"
            )
        samples = one_step_samples(trajectory, delays, candidates, known=None if known.all() else known)
        if network_of(self.pool) and self.training.batch_size > len(samples.targets):
            raise InputError(
                f"batch_size must be at most the {len(samples.targets)} samples of {shown(self.trajectory)} with "
                f"{self.num_delays} delays, got {self.training.batch_size}"
            )
        if candidates is not None:
            check_candidates(samples.forecasts)
        return samples

    def regime(self, prepared: Prepared) -> tuple[AnyRegimeForecaster, dict[str, Any]]:
        """Fits the regime forecaster, and prints what was found.

        Args:
            prepared: What it is trained on.

        Returns:
            The forecaster, and the results for the file.
        """
        assert prepared.candidates is not None
        began = time.monotonic()
        with phase("finding the regime"):
            cell, trial = fitted_regime(prepared.trajectory, prepared.candidates)
        seconds = time.monotonic() - began
        error, num_samples = one_step_error(cell, prepared.trajectory)
        found = findings(cell)
        lines = described(found, np.asarray(cell.emulator.system.scale))
        print("\n".join(lines))
        announce(f"found in {seconds:.1f} s, compilation included")
        results = {"one_step_mse": [error], "num_samples": num_samples, "regime": found}
        if trial is not None:
            with phase("comparing with corrected interpolation"):
                results["trial"] = tried = compare_on_trial(trial, prepared.trajectory, prepared.candidates)
            if (advice := advice_from(tried)) is not None:
                print(advice)
        return cell, results

    def fitted(self, samples: OneStepSamples, folder: RunFolder) -> tuple[Any, np.ndarray | None]:
        """Trains the pool.

        Args:
            samples: The samples.
            folder: Folder of the run, with its checkpoint.

        Returns:
            The pool, and the losses of a network, (seed, epoch).
        """
        if network_of(self.pool) is None:
            return self.closed_form(samples), None
        return train_network(self, samples, folder)

    def closed_form(self, samples: OneStepSamples) -> Any:
        """Fits a pool that needs no training by gradients.

        Args:
            samples: The samples.
        """
        if (kind := fitted_of(self.pool)) is not None:
            return kind.fit(samples)
        if self.pool == "equal_weights":
            return equal_weights(samples.forecasts.shape[1])
        if self.pool == "simplex_least_squares":
            return SimplexLeastSquares(self.num_delays)
        if self.pool == "corrected_interpolation":
            return fit_correction(samples, pool=fit_regime_interpolation(samples))
        if self.pool == "ridge_regression":
            return fit_ridge(samples.forecasts, samples.targets, penalty=self.penalty)
        return fit_linear_regression(samples.forecasts, samples.targets)

    def errors(self, pool: Any, samples: OneStepSamples) -> list[float]:
        """Returns the mean squared one-step error along the training trajectory, for each seed.

        Args:
            pool: The pool.
            samples: The samples.
        """
        if network_of(self.pool):
            return [float(e) for e in jax.vmap(lambda one: one_step_errors(one, samples).mean())(pool)]
        return [float(one_step_errors(pool, samples).mean())]
