"""Fits BrainGNN to subjects."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.checks import check_choice, check_number
from jaxcast.neuro.classifiers.abstract import ClassifierMethod, Explanation, Inputs, SubjectClassifier
from jaxcast.neuro.classifiers.brain_gnn import BrainGNN
from jaxcast.neuro.classifiers.brain_gnn_layers import Aggregation
from jaxcast.neuro.classifiers.brain_gnn_loss import BrainGNNLoss, ScoredNodes, Sigmoid
from jaxcast.neuro.classifiers.networks import measure_statistics, new_networks, outputs_of, train_networks
from jaxcast.neuro.connectivity import correlations, matrix_logarithms, partial_correlations
from jaxcast.neuro.modules import region_modules
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.pytrees import FrozenPytree, static

NodeFeatures = Literal["correlation", "logarithm"]
Communities = Literal["random", "modules"]


class BrainGNNMethod(ClassifierMethod, FrozenPytree, name="brain_gnn"):
    """Trains BrainGNN on correlations as features and the strongest partial correlations as edges.

    Training stops by the cross-entropy of a validation part of the training subjects, and the
    probabilities of several networks are averaged.

    What the network learns from is little more than a sum over each community. On measured brains,
    begin with functional modules, and with many: sums over all regions with random weights hold
    little, least of all where the global signal was removed.

    Args:
        num_communities: see `BrainGNN`; with "modules" no more than there are regions that differ.
        communities: what they are before training: "random" memberships between 0 and 1, or
            "modules" of regions that correlate alike over the training subjects.
        hidden_size: see `BrainGNN`.
        ratio: see `BrainGNN`.
        dropout: see `BrainGNN`.
        edge_share: share of all pairs that are edges: those with the largest partial correlations,
            where they are positive.
        features: a node's row of "correlation", as published, or of the "logarithm" of the shrunk
            matrix of correlations.
        centred: whether features are taken relative to their mean over the training subjects, in
            units of their deviation from it; the published form takes them as they are.
        shrinkage: of correlations towards the identity, for partial correlations and logarithms.
        unit_penalty: see `BrainGNNLoss`.
        top_penalty: see `BrainGNNLoss`.
        consistency_penalty: see `BrainGNNLoss`.
        aggregation: "sum", or "mean" as in the authors' code; see `BrainGNN`.
        standardize: see `BrainGNN`.
        scored_nodes: "all", or "kept" as in the authors' code; see `BrainGNNLoss`.
        sigmoid: "once", or "again" as in the authors' code; see `BrainGNNLoss`.
        num_epochs: most passes over the training subjects.
        batch_size: subjects of a minibatch.
        learning_rate: Adam's learning rate, which falls to zero along a half cosine.
        weight_decay: decoupled weight decay.
        validation_share: share of the training subjects that stops the training; with 0 all of them
            are learned from, in all epochs.
        patience: epochs without a better validation loss after which it stops.
        num_seeds: networks whose probabilities are averaged; one alone may not learn.

    Raises:
        InputError: for settings out of range, when it is fitted.

    Source:
        Li et al. (2021), Medical Image Analysis 74, 102233.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(48, num_regions=6, num_scans=40, key=jax.random.key(0))
        >>> method = jaxcast.neuro.BrainGNNMethod(hidden_size=4, num_epochs=2, batch_size=8)
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method=method, key=jax.random.key(1))
        >>> found = classifier.explain(classifier.inputs(data.subjects))
        >>> found["region_scores"].shape, found["communities"].shape
        ((48, 6), (6, 8))
    """

    num_communities: int = static(default=8)
    communities: Communities = static(default="random")
    hidden_size: int = static(default=32)
    ratio: float = static(default=0.5)
    dropout: float = static(default=0.5)
    edge_share: float = static(default=0.1)
    features: NodeFeatures = static(default="correlation")
    centred: bool = static(default=True)
    shrinkage: float = static(default=0.5)
    unit_penalty: float = static(default=0.0)
    top_penalty: float = static(default=0.1)
    consistency_penalty: float = static(default=0.1)
    aggregation: Aggregation = static(default="sum")
    standardize: bool = static(default=True)
    scored_nodes: ScoredNodes = static(default="all")
    sigmoid: Sigmoid = static(default="once")
    num_epochs: int = static(default=60)
    batch_size: int = static(default=64)
    learning_rate: float = static(default=1e-3)
    weight_decay: float = static(default=5e-3)
    validation_share: float = static(default=0.1)
    patience: int = static(default=15)
    num_seeds: int = static(default=1)

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        check_number("edge_share", self.edge_share, above=0, most=1)
        check_choice("features", self.features, get_args(NodeFeatures))
        check_choice("communities", self.communities, get_args(Communities))
        partial = partial_correlations(subjects, shrinkage=self.shrinkage)
        if self.features == "logarithm":
            features = matrix_logarithms(subjects, shrinkage=self.shrinkage)
        else:
            features = correlations(subjects)
        return {"features": features, "edges": strongest(partial, self.edge_share)}

    def fit(
        self,
        inputs: Inputs,
        labels: Int[np.ndarray, " subject"],
        *,
        num_classes: int,
        key: Key[jax.Array, ""],
        groups: np.ndarray | None = None,
    ) -> "BrainGNNClassifier":
        features = inputs["features"]
        of_networks, of_training = jax.random.split(key)
        models = new_networks(
            lambda key: BrainGNN(
                num_regions=features.shape[-1],
                num_classes=num_classes,
                num_communities=self.num_communities,
                hidden_size=self.hidden_size,
                ratio=self.ratio,
                dropout=self.dropout,
                aggregation=self.aggregation,
                standardize=self.standardize,
                key=key,
            ),
            self.num_seeds,
            of_networks,
        )
        if self.centred:
            mean = features.mean(0)
            models.mean[...] = jnp.broadcast_to(mean, models.mean.shape)
            models.scale[...] = jnp.full(models.scale.shape, max(float((features - mean).std()), 1e-6))
        if self.communities == "modules":
            different = len(np.unique(features.mean(0), axis=0))
            modules = region_modules(features, min(self.num_communities, different))
            models.first.begin_as(modules)
            models.second.begin_as(modules)
        loss = BrainGNNLoss(
            self.unit_penalty, self.top_penalty, self.consistency_penalty, self.scored_nodes, self.sigmoid
        )
        models = train_networks(models, loss, inputs, labels, self, key=of_training, groups=groups)
        for norm, statistics in zip(models.norms, measure_statistics(models, _measured, _seen(inputs)), strict=True):
            norm.keep(statistics)
        return BrainGNNClassifier(models, self)


class BrainGNNClassifier(SubjectClassifier, FrozenPytree, name="brain_gnn_classifier"):
    """Trained networks, whose probabilities are averaged.

    Args:
        network: all of them as one, with a leading seed axis.
        method: the settings of the fit.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(48, num_regions=6, num_scans=40, key=jax.random.key(0))
        >>> method = jaxcast.neuro.BrainGNNMethod(hidden_size=4, num_epochs=2, batch_size=8)
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method=method, key=jax.random.key(1))
        >>> probabilities = classifier.scores(data.subjects)
        >>> probabilities.shape, bool((abs(probabilities.sum(1) - 1) < 1e-5).all())
        ((48, 2), True)
    """

    network: Any
    method: BrainGNNMethod

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        return self.method.inputs(subjects)

    def class_scores(self, inputs: Inputs) -> Float[np.ndarray, "subject class"]:
        found: np.ndarray = outputs_of(self.network, _outputs, _seen(inputs))[0]
        return found

    def explain(self, inputs: Inputs) -> Explanation:
        """Returns the scores of the regions and their communities.

        Args:
            inputs: of the subjects whose decisions are to be explained.

        Returns:
            "region_scores" of each subject's regions between 0 and 1, and their mean as "regions",
            both means over seeds; "communities" of the first convolution of the first seed.
        """
        scores = outputs_of(self.network, _outputs, _seen(inputs))[1]
        communities = np.asarray(self.network.first.communities[0])
        return {"region_scores": scores, "regions": scores.mean(0), "communities": communities}


def strongest(weights: Float[np.ndarray, "subject region region"], share: float) -> Float[np.ndarray, "..."]:
    """Keeps the largest weights of each subject, where they are positive.

    Args:
        weights: symmetric, of each pair of regions; the diagonal does not count.
        share: of all pairs.
    """
    off_diagonal = weights * (1 - np.eye(weights.shape[-1], dtype=weights.dtype))
    pairs = off_diagonal[:, *np.triu_indices(weights.shape[-1], 1)]
    count = max(1, round(share * pairs.shape[1]))
    least = np.partition(pairs, -count, axis=1)[:, -count]
    return off_diagonal * ((off_diagonal >= least[:, None, None]) & (off_diagonal > 0))


def _seen(inputs: Inputs) -> Inputs:
    return {"features": inputs["features"], "edges": inputs["edges"]}


def _measured(network: BrainGNN, inputs: Inputs) -> Any:
    return network(inputs["features"], inputs["edges"], of_batch=True).statistics


def _outputs(network: BrainGNN, inputs: Inputs) -> tuple[Array, Array]:
    output = network(inputs["features"], inputs["edges"])
    return jax.nn.softmax(output.logits), output.scores
