"""The methods of the part "classification", and the published rows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from experiments.neuro.dynamic_methods import dynamic_graphs
from jaxcast.neuro import (
    BrainGNNMethod,
    BrainSTGCNMethod,
    ClassifierMethod,
    ConfoundMethod,
    KernelMethod,
    MajorityMethod,
    RidgeMethod,
    SubjectSeries,
)

PENALTIES = (0.3, 1.0, 3.0)


class Entry(NamedTuple):
    """A method of the experiment.

    Args:
        make: (settings, subjects) -> the methods among which inner folds choose.
        is_network: whether it is trained by gradients: fewer seeds of folds, and a stage for each
            fold.
        needs: columns of which the subjects must have at least one; () for none.
    """

    make: Callable[[Any, SubjectSeries], Sequence[ClassifierMethod]]
    is_network: bool = False
    needs: tuple[str, ...] = ()


def batch_size(config: Any, subjects: SubjectSeries) -> int:
    """Returns the subjects of a minibatch: of few, fewer, so that an epoch has some steps.

    Args:
        config: settings of the experiment.
        subjects: the subjects.
    """
    return min(int(config.batch_size), max(8, len(subjects.series) // 8))


def brain_gnn(config: Any, subjects: SubjectSeries, **options: Any) -> list[ClassifierMethod]:
    """Returns BrainGNN with the settings of the experiment.

    It learns from all training subjects in ten epochs. The loss of a validation part is lowest after
    two, when the ranking of its subjects is far from its best.

    Args:
        config: settings of the experiment.
        subjects: the subjects.
        options: of the method, such as `communities`.
    """
    return [
        BrainGNNMethod(
            num_epochs=min(10, config.num_epochs),
            batch_size=batch_size(config, subjects),
            hidden_size=config.hidden_size,
            validation_share=0.0,
            **{"num_seeds": config.num_networks} | options,
        )
    ]


def brain_gnn_of_modules(config: Any, subjects: SubjectSeries, **options: Any) -> list[ClassifierMethod]:
    """Returns BrainGNN with 64 communities, which begin as modules of the training subjects' regions.

    Args:
        config: settings of the experiment.
        subjects: the subjects.
        options: of the method, such as `num_seeds`.
    """
    return brain_gnn(config, subjects, communities="modules", num_communities=64, **options)


def brain_stgcn(config: Any, subjects: SubjectSeries) -> list[ClassifierMethod]:
    """Returns the spatio-temporal network with the settings of the experiment.

    Args:
        config: settings of the experiment.
        subjects: the subjects; no window is longer than the shortest recording.
    """
    shortest = min(len(one) for one in subjects.series)
    return [
        BrainSTGCNMethod(
            num_modules=20 if subjects.num_regions > 60 else 0,
            window_size=min(64, shortest),
            hidden_size=min(16, config.hidden_size),
            num_epochs=config.num_epochs,
            batch_size=batch_size(config, subjects),
            num_seeds=config.num_networks,
        )
    ]


MAJORITY = "majority"
CHOSEN = "ridge, all features, chosen by inner folds"
ALL_FEATURES = ("fisher_z", "partial", "logarithm")

METHODS: dict[str, Entry] = {
    MAJORITY: Entry(lambda config, subjects: [MajorityMethod()]),
    "confounds alone": Entry(lambda config, subjects: [ConfoundMethod()], needs=("site", "age", "sex")),
    "ridge, Fisher z": Entry(lambda config, subjects: [RidgeMethod()]),
    "ridge, Fisher z, sites regressed out": Entry(
        lambda config, subjects: [RidgeMethod(confounds=("site",))], needs=("site",)
    ),
    "Gaussian kernel, Fisher z": Entry(
        lambda config, subjects: [KernelMethod(widths=(0.5, 1.0, 2.0), penalties=(0.03, 0.1, 0.3))]
    ),
    "ridge, partial correlations": Entry(lambda config, subjects: [RidgeMethod(features=("partial",))]),
    "ridge, logarithm": Entry(lambda config, subjects: [RidgeMethod(features=("logarithm",))]),
    CHOSEN: Entry(
        lambda config, subjects: [
            RidgeMethod(features=ALL_FEATURES, penalties=PENALTIES, combination="best", confounds=())
        ]
    ),
    "BrainGNN": Entry(brain_gnn, is_network=True),
    "BrainGNN, modules": Entry(brain_gnn_of_modules, is_network=True),
    "BrainGNN, modules, mean of 3": Entry(partial(brain_gnn_of_modules, num_seeds=3), is_network=True),
    "ST-GCN": Entry(brain_stgcn, is_network=True),
    "dynamic graphs, GRU": Entry(dynamic_graphs, is_network=True),
    "dynamic graphs, transformer": Entry(partial(dynamic_graphs, over_segments="transformer"), is_network=True),
    "dynamic graphs, GRU, segments of activity": Entry(partial(dynamic_graphs, segments="activity"), is_network=True),
}
"""In the order of the tables."""

PUBLISHED = (
    ("BrainGNN (published, 1009 subjects)", 0.594, 0.624),
    ("BrainNetCNN (published, 1009 subjects)", 0.678, 0.749),
    ("Brain Network Transformer (published, 1009 subjects)", 0.710, 0.802),
    ("autoencoder network (published)", 0.70, None),
)
"""Accuracy and area under the curve on ABIDE, as SOURCE.md of the data remembers them."""
