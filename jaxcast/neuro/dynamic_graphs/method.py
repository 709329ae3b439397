"""Fits networks of dynamic graphs to subjects."""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.checks import check_whole
from jaxcast.neuro.classifiers.abstract import ClassifierMethod, Explanation, Inputs, SubjectClassifier
from jaxcast.neuro.classifiers.networks import outputs_of, train_networks
from jaxcast.neuro.dynamic_graphs.activity_segments import activity_segments
from jaxcast.neuro.dynamic_graphs.graphs import correlation_graphs
from jaxcast.neuro.dynamic_graphs.loss import DynamicGraphLoss, graphs_of
from jaxcast.neuro.dynamic_graphs.network import DynamicGraphNetwork, OverSegments
from jaxcast.neuro.dynamic_graphs.segments import uniform_segments
from jaxcast.neuro.modules import region_modules
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.pytrees import FrozenPytree, static

Segmentation = Literal["uniform", "activity"]


class DynamicGraphMethod(ClassifierMethod, FrozenPytree, name="dynamic_graphs"):
    """Trains networks that follow the correlation graph from segment to segment.

    Segments are sliding windows, or lie between the changes of the activity that Total Activation
    finds; each subject's are found from its own series. Modules are k-means clusters of the regions
    by the correlations of the training subjects. Training stops by the cross-entropy of a
    validation part of the training subjects, and the probabilities of several networks are
    averaged.

    Args:
        segments: "uniform" for `uniform_segments`, "activity" for `activity_segments`.
        segment_size: scans of a uniform window.
        segment_step: scans from the start of one window to that of the next.
        repetition_time: for "activity": TR, seconds from scan to scan.
        change_penalty: for "activity": the penalty of a change.
        min_size: for "activity": scans of the shortest segment.
        max_size: for "activity": scans of the longest segment.
        edge_share: share of the pairs of regions that have an edge; see `correlation_graphs`.
        num_modules: see `DynamicGraphNetwork`.
        hidden_size: see `DynamicGraphNetwork`.
        num_heads: see `DynamicGraphNetwork`.
        num_graph_layers: see `DynamicGraphNetwork`.
        over_segments: see `DynamicGraphNetwork`.
        dropout: see `DynamicGraphNetwork`.
        num_train_segments: consecutive segments that a training step sees of each subject, from a
            random one on; 0 for all.
        num_epochs: most passes over the training subjects.
        batch_size: subjects of a minibatch.
        learning_rate: Adam's learning rate, which falls to zero along a half cosine.
        weight_decay: decoupled weight decay.
        validation_share: share of the training subjects that stops the training; with 0 all of them
            are learned from, in all epochs.
        patience: epochs without a better validation loss after which it stops.
        num_seeds: networks whose probabilities are averaged.

    Raises:
        InputError: for settings out of range, or subjects with fewer scans than a segment, when it
            is fitted.

    Source:
        Own design; see `DynamicGraphNetwork`.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_dynamic_subjects(
        ...     48, num_regions=6, num_scans=40, module_size=2, key=jax.random.key(0)
        ... )
        >>> method = jaxcast.neuro.DynamicGraphMethod(
        ...     segment_size=10, segment_step=10, num_modules=3, hidden_size=4, num_epochs=2
        ... )
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method=method, key=jax.random.key(1))
        >>> found = classifier.explain(classifier.inputs(data.subjects))
        >>> found["regions"].shape, found["weights"]["segments"].shape
        ((6,), (48, 3, 4))
    """

    segments: Segmentation = static(default="uniform")
    segment_size: int = static(default=30)
    segment_step: int = static(default=15)
    repetition_time: float = static(default=2.0)
    change_penalty: float = static(default=5.0)
    min_size: int = static(default=20)
    max_size: int = static(default=60)
    edge_share: float = static(default=0.1)
    num_modules: int = static(default=7)
    hidden_size: int = static(default=64)
    num_heads: int = static(default=2)
    num_graph_layers: int = static(default=2)
    over_segments: OverSegments = static(default="gru")
    dropout: float = static(default=0.5)
    num_train_segments: int = static(default=0)
    num_epochs: int = static(default=40)
    batch_size: int = static(default=16)
    learning_rate: float = static(default=1e-3)
    weight_decay: float = static(default=1e-3)
    validation_share: float = static(default=0.1)
    patience: int = static(default=10)
    num_seeds: int = static(default=1)

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        if self.segments == "uniform":
            segments = uniform_segments(subjects, size=self.segment_size, step=self.segment_step)
        else:
            segments = activity_segments(
                subjects,
                repetition_time=self.repetition_time,
                num_modules=self.num_modules,
                penalty=self.change_penalty,
                min_size=self.min_size,
                max_size=self.max_size,
            )
        return correlation_graphs(subjects, segments, edge_share=self.edge_share)._asdict()

    def fit(
        self,
        inputs: Inputs,
        labels: Int[np.ndarray, " subject"],
        *,
        num_classes: int,
        key: Key[jax.Array, ""],
        groups: np.ndarray | None = None,
    ) -> "DynamicGraphClassifier":
        check_whole("num_train_segments", self.num_train_segments, least=0)
        modules = region_modules(_mean_correlations(inputs)[None], self.num_modules)
        settings = (
            ("num_regions", len(modules)),
            ("num_classes", num_classes),
            ("num_modules", self.num_modules),
            ("modules", tuple(modules.tolist())),
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("num_graph_layers", self.num_graph_layers),
            ("over_segments", self.over_segments),
            ("dropout", self.dropout),
        )
        loss = DynamicGraphLoss(self.num_train_segments)
        return DynamicGraphClassifier(
            train_networks(_init_of(settings), loss, inputs, labels, self, key=key, groups=groups), self
        )


class DynamicGraphClassifier(SubjectClassifier, FrozenPytree, name="dynamic_graph_classifier"):
    """Trained networks of dynamic graphs, whose probabilities are averaged.

    Args:
        network: all of them as one, with a leading seed axis.
        method: the settings of the fit.

    Raises:
        InputError: for subjects with other regions, when it scores them.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_dynamic_subjects(
        ...     48, num_regions=6, num_scans=40, module_size=2, key=jax.random.key(0)
        ... )
        >>> method = jaxcast.neuro.DynamicGraphMethod(
        ...     segment_size=10, segment_step=10, num_modules=3, hidden_size=4, num_epochs=2
        ... )
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method=method, key=jax.random.key(1))
        >>> classifier.scores(data.subjects).shape
        (48, 2)
    """

    network: Any
    method: DynamicGraphMethod

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        return self.method.inputs(subjects)

    def class_scores(self, inputs: Inputs) -> Float[np.ndarray, "subject class"]:
        found: np.ndarray = self._outputs(inputs)["probabilities"]
        return found

    def explain(self, inputs: Inputs) -> Explanation:
        """Returns which regions, segments and modules the network attends to.

        Args:
            inputs: of the subjects whose decisions are to be explained.

        Returns:
            "region_scores": the attention that each region of a subject gets from others in the
            last layer, relative to even attention, the mean over segments; "regions": its mean over
            subjects; "weights": "segments" (subject, module, segment) and "modules" (subject,
            module). All are means over seeds.
        """
        found = self._outputs(inputs)
        return {
            "region_scores": found["attention"],
            "regions": found["attention"].mean(0),
            "weights": {"segments": found["segment_weights"], "modules": found["module_weights"]},
        }

    def _outputs(self, inputs: Inputs) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = outputs_of(self.network, _outputs, graphs_of(inputs)._asdict())
        return found


def _mean_correlations(inputs: Inputs) -> Float[np.ndarray, "region other_region"]:
    """Returns the mean over all segments of all subjects."""
    scans = inputs["scans"].reshape(-1, inputs["scans"].shape[-1])
    mean: np.ndarray = scans.T @ scans / inputs["present"].sum()
    return mean


@cache
def _init_of(settings: tuple[tuple[str, Any], ...]) -> Callable[[Array], DynamicGraphNetwork]:
    """Returns key -> network; the same function for the same settings, so that `fit` compiles once."""
    return lambda key: DynamicGraphNetwork(**dict(settings), key=key)


def _outputs(network: DynamicGraphNetwork, inputs: Inputs) -> dict[str, Array]:
    graphs = graphs_of(inputs)
    output = network(graphs)
    present = graphs.present[..., None]
    num_regions = graphs.scans.shape[-1]
    attention = num_regions * (output.region_attention[:, -1] * present).sum(1) / present.sum(1)
    return {
        "probabilities": jax.nn.softmax(output.logits),
        "attention": attention,
        "segment_weights": output.segment_weights,
        "module_weights": output.module_weights,
    }
