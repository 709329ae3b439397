"""The options of training by gradients, as commands and experiments take them."""

import dataclasses
from typing import Literal

import optax

from jaxcast.checks import check_sizes
from jaxcast.training.optimizers import make_optimizer


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Options of training by gradients: epochs, minibatches, Adam and its schedule, and seeds.

    A command that has them as a field takes each as an option of its own, such as `--num-epochs`.

    Args:
        num_epochs: Passes over the training samples.
        batch_size: Samples of a minibatch; for a text, the parts that are read side by side.
        learning_rate: Adam's learning rate, before any decay.
        schedule: Learning-rate schedule: constant, or a decay to zero over all epochs along a
            half cosine or a line.
        warmup_steps: The first minibatches, over which the learning rate rises linearly from zero.
        weight_decay: Decoupled weight decay (AdamW): at each step every parameter shrinks by this
            times the learning rate.
        clip_norm: Gradients with a larger global norm are scaled down to it.
        num_seeds: Models to train, each from its own initial parameters.

    Example:
        >>> from jaxcast.training import TrainingOptions
        >>> options = TrainingOptions(num_epochs=20, schedule="cosine", clip_norm=1.0)
        >>> optimizer = options.optimizer(num_batches=50)
    """

    num_epochs: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    clip_norm: float | None = None
    num_seeds: int = 1

    def check(self) -> None:
        """Checks the counts; `optimizer` checks the rest.

        Raises:
            InputError: for a count below one.
        """
        check_sizes(num_epochs=self.num_epochs, batch_size=self.batch_size, num_seeds=self.num_seeds)

    def optimizer(self, num_batches: int) -> optax.GradientTransformation:
        """Makes the optimizer of a whole training.

        Args:
            num_batches: minibatches, or chunks, of one epoch.

        Returns:
            Adam as `make_optimizer` makes it; the same options give the same object.

        Raises:
            InputError: for options out of range, or a warm-up that leaves no step to the decay.
        """
        return make_optimizer(
            self.learning_rate,
            schedule=self.schedule,
            num_optimizer_steps=self.num_epochs * num_batches,
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )
