"""The loss that trains networks of dynamic graphs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxcast.neuro.classifiers.abstract import Inputs
from jaxcast.neuro.dynamic_graphs.graphs import DynamicGraphs
from jaxcast.nn.classification import class_cross_entropy


@dataclasses.dataclass(frozen=True)
class DynamicGraphLoss:
    """Cross-entropy of the classes, in training of a few segments of each subject.

    Args:
        num_segments: consecutive segments that a training step sees of each subject, from a random
            one on; 0 for all. It makes steps faster and reduces overfitting.
    """

    num_segments: int = 0

    def __call__(self, network: Any, batch: Inputs, key: Key[Array, ""] | None = None) -> Float[Array, ""]:
        """Computes the loss.

        Args:
            network: a `DynamicGraphNetwork`.
            batch: the fields of `DynamicGraphs`, and "label".
            key: draws the segments and switches dropout on; None for all segments.
        """
        graphs = graphs_of(batch)
        if key is not None and 0 < self.num_segments < graphs.present.shape[1]:
            of_start, key = jax.random.split(key)
            graphs = random_stretch(graphs, self.num_segments, of_start)
        return class_cross_entropy(network(graphs, key=key).logits, batch["label"])


def graphs_of(inputs: Inputs) -> DynamicGraphs:
    """Returns the graphs of subjects from the inputs of a classifier.

    Args:
        inputs: the fields of `DynamicGraphs`, and perhaps others.
    """
    return DynamicGraphs(inputs["scans"], inputs["thresholds"], inputs["present"])


def random_stretch(graphs: DynamicGraphs, num_segments: int, key: Key[Array, ""]) -> DynamicGraphs:
    """Cuts consecutive segments out of each subject, at a random place.

    Args:
        graphs: of all segments, those that exist first.
        num_segments: how many to keep; of a subject with fewer, all.
        key: random key.
    """
    num_present = graphs.present.sum(1)
    places = jnp.maximum(num_present - num_segments, 0) + 1
    start: Int[Array, " subject"] = jnp.floor(jax.random.uniform(key, places.shape) * places).astype(int)
    index = start[:, None] + jnp.arange(num_segments)
    rows = jnp.arange(len(index))[:, None]
    return DynamicGraphs(graphs.scans[rows, index], graphs.thresholds[rows, index], graphs.present[rows, index])
