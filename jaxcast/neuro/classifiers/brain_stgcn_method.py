"""Fits a spatio-temporal graph convolutional network to subjects, and lets it vote over windows."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.checks import check_sizes, check_whole
from jaxcast.errors import InputError
from jaxcast.neuro.classifiers.abstract import ClassifierMethod, Explanation, Inputs, SubjectClassifier
from jaxcast.neuro.classifiers.brain_stgcn import BrainSTGCN
from jaxcast.neuro.classifiers.networks import measure_statistics, new_networks, outputs_of, train_networks
from jaxcast.neuro.modules import region_modules
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.nn.classification import class_cross_entropy
from jaxcast.nn.graph import symmetric_normalised
from jaxcast.pytrees import FrozenPytree, static

NUM_VALIDATION_WINDOWS = 4


class BrainSTGCNMethod(ClassifierMethod, FrozenPytree, name="brain_stgcn"):
    """Trains a spatio-temporal graph convolutional network on random windows of each subject.

    Each step of the training sees one random window of every subject of the minibatch. A subject is
    classified by the mean probability over windows that are spread evenly over the recording. The
    graph is the size of the correlation averaged over training subjects, normalised. Regions can
    be averaged into modules first, by k-means on the correlations of the training subjects.

    Args:
        num_modules: modules into which regions are averaged; 0 for each region by itself.
        window_size: scans of a window; no recording may be shorter.
        num_votes: windows of a subject that vote.
        hidden_size: see `BrainSTGCN`.
        num_layers: see `BrainSTGCN`.
        kernel_size: see `BrainSTGCN`.
        dropout: see `BrainSTGCN`.
        num_epochs: most passes over the training subjects.
        batch_size: subjects of a minibatch.
        learning_rate: Adam's learning rate, which falls to zero along a half cosine.
        weight_decay: decoupled weight decay.
        validation_share: share of the training subjects that stops the training; with 0 all of them
            are learned from, in all epochs.
        patience: epochs without a better validation loss after which it stops.
        num_seeds: networks whose probabilities are averaged.

    Raises:
        InputError: for settings out of range, or recordings that are shorter than a window, when it
            is fitted.

    Source:
        Gadgil et al. (2020), MICCAI 12267, 528-538.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(48, num_regions=5, num_scans=40, key=jax.random.key(0))
        >>> method = jaxcast.neuro.BrainSTGCNMethod(
        ...     num_modules=0, window_size=20, hidden_size=4, num_layers=1, num_epochs=2, batch_size=8
        ... )
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method=method, key=jax.random.key(1))
        >>> classifier.explain(classifier.inputs(data.subjects))["edges"].shape
        (5, 5)
    """

    num_modules: int = static(default=20)
    window_size: int = static(default=64)
    num_votes: int = static(default=8)
    hidden_size: int = static(default=16)
    num_layers: int = static(default=3)
    kernel_size: int = static(default=11)
    dropout: float = static(default=0.5)
    num_epochs: int = static(default=60)
    batch_size: int = static(default=64)
    learning_rate: float = static(default=3e-3)
    weight_decay: float = static(default=1e-3)
    validation_share: float = static(default=0.1)
    patience: int = static(default=15)
    num_seeds: int = static(default=1)

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        check_sizes(window_size=self.window_size, num_votes=self.num_votes)
        check_whole("num_modules", self.num_modules, least=0)
        lengths = np.asarray([len(one) for one in subjects.series])
        if lengths.min() < self.window_size:
            raise InputError(
                f"expected recordings of at least {self.window_size} scans, one window, got {lengths.min()} of subject "
                f"{lengths.argmin()}; give a smaller window_size or leave it out"
            )
        series = np.zeros((len(lengths), lengths.max(), subjects.num_regions), np.float32)
        for own, one in zip(series, subjects.series, strict=True):
            own[: len(one)] = standardized(one)
        return {"series": series, "length": lengths}

    def fit(
        self,
        inputs: Inputs,
        labels: Int[np.ndarray, " subject"],
        *,
        num_classes: int,
        key: Key[jax.Array, ""],
        groups: np.ndarray | None = None,
    ) -> "BrainSTGCNClassifier":
        modules = self._modules(inputs)
        seen = module_series(inputs, modules)
        graph = symmetric_normalised(jnp.abs(jnp.asarray(mean_correlation(seen), jnp.float32)))
        of_networks, of_training = jax.random.split(key)

        def init(key: Array) -> BrainSTGCN:
            return BrainSTGCN(
                num_regions=len(graph),
                graph=graph,
                num_classes=num_classes,
                hidden_size=self.hidden_size,
                num_layers=self.num_layers,
                kernel_size=self.kernel_size,
                dropout=self.dropout,
                key=key,
            )

        # Networks that are made here, since each fold has another graph but should not compile again.
        new = new_networks(init, self.num_seeds, of_networks)
        models = train_networks(new, _WindowLoss(self.window_size), seen, labels, self, key=of_training, groups=groups)
        statistics = measure_statistics(models, _Measured(self.window_size), seen)
        for norm, measured in zip(models.norms, statistics, strict=True):
            norm.keep(measured)
        return BrainSTGCNClassifier(models, modules, self)

    def _modules(self, inputs: Inputs) -> Int[np.ndarray, " region"]:
        num_regions = inputs["series"].shape[-1]
        if not self.num_modules or self.num_modules >= num_regions:
            return np.arange(num_regions)
        return region_modules(mean_correlation(inputs)[None], self.num_modules)


class BrainSTGCNClassifier(SubjectClassifier, FrozenPytree, name="brain_stgcn_classifier"):
    """Trained networks that vote over windows; probabilities are averaged.

    Args:
        network: all of them as one, with a leading seed axis.
        modules: number of the module of each region.
        method: the settings of the fit.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(48, num_regions=5, num_scans=40, key=jax.random.key(0))
        >>> method = jaxcast.neuro.BrainSTGCNMethod(
        ...     num_modules=0, window_size=20, hidden_size=4, num_layers=1, num_epochs=2, batch_size=8
        ... )
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method=method, key=jax.random.key(1))
        >>> classifier.scores(data.subjects).shape
        (48, 2)
    """

    network: Any
    modules: Int[Array | np.ndarray, " region"]
    method: BrainSTGCNMethod

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        return self.method.inputs(subjects)

    def class_scores(self, inputs: Inputs) -> Float[np.ndarray, "subject class"]:
        seen = module_series(inputs, np.asarray(self.modules))
        found: np.ndarray = outputs_of(self.network, _Votes(self.method.window_size, self.method.num_votes), seen)
        return found

    def explain(self, inputs: Inputs) -> Explanation:
        """Returns the weights of the edges with their learned importance, the same for all subjects.

        "edges" and "regions" say little about the classes: regions that are correlated in all
        subjects have large edges without any training. What was learned is the importance alone. A
        simulated edge that differs between the classes gets an importance well above 1, but is not
        always the first: that of an edge whose mean correlation is near 0 hardly changes the
        output, and can end up anywhere.

        Args:
            inputs: not looked at.

        Returns:
            "edges", the group's graph times the learned importance; "regions", the mean of a
            region's edges to others; "weights" with "importance", the factor of each edge alone,
            which is 1 before training. All are means over seeds, and regions of one module share
            them.
        """
        at = np.ix_(*[np.asarray(self.modules)] * 2)
        importance = np.asarray(self.network.edge_importance).mean(0)
        edges = np.asarray(self.network.graph[...] * self.network.edge_importance).mean(0)
        edges = edges * (1 - np.eye(len(edges)))
        return {"edges": edges[at], "regions": edges[at].mean(1), "weights": {"importance": importance[at]}}


def standardized(series: Float[np.ndarray, "*subject time region"]) -> Float[np.ndarray, "*subject time region"]:
    """Returns series with mean 0 and standard deviation 1 over time; zeros for constant ones.

    Args:
        series: of whole recordings.
    """
    centred = series - series.mean(-2, keepdims=True)
    spread = centred.std(-2, keepdims=True)
    size = np.abs(series).max(-2, keepdims=True)
    return centred / np.where(spread > 1e-6 * size, spread, np.inf)


def module_series(inputs: Inputs, modules: Int[np.ndarray, " region"]) -> Inputs:
    """Averages the regions of each module and standardises the means.

    Args:
        inputs: "series", filled up with zeros, and the "length" of each.
        modules: number of the module of each region.

    Returns:
        The same of the modules.
    """
    series, lengths = inputs["series"], inputs["length"]
    if len(modules) != series.shape[-1]:
        raise InputError(
            f"expected series of {len(modules)} regions, got {series.shape[-1]}; give subjects with the regions that "
            "the classifier was fitted to"
        )
    if modules.max() + 1 == len(modules):
        return inputs
    members = (modules[:, None] == np.arange(modules.max() + 1)).astype(series.dtype)
    means = series @ (members / members.sum(0))
    for one, length in zip(means, lengths, strict=True):
        one[:length] = standardized(one[:length])
    return {"series": means, "length": lengths}


def mean_correlation(inputs: Inputs) -> Float[np.ndarray, "region other_region"]:
    """Returns the correlations between regions, averaged over subjects.

    Args:
        inputs: standardised "series", filled up with zeros, and the "length" of each.
    """
    found = np.zeros((inputs["series"].shape[-1],) * 2)
    for one, length in zip(inputs["series"], inputs["length"], strict=True):
        found += one.T @ one / length
    return found / len(inputs["length"])


def _windows(series: Array, starts: Array, size: int) -> Float[Array, "subject time region"]:
    """Cuts one window of each subject."""
    return jax.vmap(lambda one, start: jax.lax.dynamic_slice_in_dim(one, start, size))(series, starts)


def _spread_starts(lengths: Array, size: int, number: int, of: int) -> Array:
    """Returns where the windows of some number start, of so many that are spread evenly."""
    return jnp.round((lengths - size) * (number / max(of - 1, 1))).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class _WindowLoss:
    """The cross-entropy of a random window of each subject, or without a key of some spread evenly."""

    size: int

    def __call__(self, network: BrainSTGCN, batch: Inputs, key: Key[Array, ""] | None = None) -> Float[Array, ""]:
        if key is not None:
            of_starts, of_dropout = jax.random.split(key)
            most = batch["length"] - self.size
            starts = jnp.floor(jax.random.uniform(of_starts, most.shape) * (most + 1)).astype(jnp.int32)
            windows = _windows(batch["series"], starts, self.size)
            return class_cross_entropy(network(windows, key=of_dropout, of_batch=True).logits, batch["label"])
        losses = []
        for number in range(NUM_VALIDATION_WINDOWS):
            starts = _spread_starts(batch["length"], self.size, number, NUM_VALIDATION_WINDOWS)
            output = network(_windows(batch["series"], starts, self.size), of_batch=True)
            losses.append(class_cross_entropy(output.logits, batch["label"]))
        return jnp.stack(losses).mean()


@dataclasses.dataclass(frozen=True)
class _Measured:
    """The statistics of the window in the middle of each recording."""

    size: int

    def __call__(self, network: BrainSTGCN, inputs: Inputs) -> Any:
        starts = _spread_starts(inputs["length"], self.size, 1, 3)
        return network(_windows(inputs["series"], starts, self.size), of_batch=True).statistics


@dataclasses.dataclass(frozen=True)
class _Votes:
    """The mean probabilities over windows that are spread evenly."""

    size: int
    num_votes: int

    def __call__(self, network: BrainSTGCN, inputs: Inputs) -> Float[Array, "subject class"]:
        def vote(share: Array) -> Array:
            starts = jnp.round((inputs["length"] - self.size) * share).astype(jnp.int32)
            return jax.nn.softmax(network(_windows(inputs["series"], starts, self.size)).logits)

        return jax.lax.map(vote, jnp.linspace(0, 1, self.num_votes)).mean(0)
