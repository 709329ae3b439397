"""Dynamic graphs among the methods of the part "classification"."""

from typing import Any

from jaxcast.neuro import ClassifierMethod, DynamicGraphMethod, SubjectSeries


def dynamic_graphs(config: Any, subjects: SubjectSeries, **options: Any) -> list[ClassifierMethod]:
    """Returns dynamic graphs with the settings of the experiment.

    Windows of 60 scans and a stretch of two of them a step, where the default is windows of
    30 scans: five times less work, and steadier correlations.

    Args:
        config: settings of the experiment.
        subjects: the subjects; no window is longer than half the shortest recording.
        options: of the method, such as `over_segments`.
    """
    size = min(60, min(len(one) for one in subjects.series) // 2)
    return [
        DynamicGraphMethod(
            segment_size=size,
            segment_step=max(1, size // 2),
            num_modules=min(7, subjects.num_regions // 2),
            hidden_size=config.hidden_size,
            num_heads=1,
            num_train_segments=2,
            num_epochs=min(12, config.num_epochs),
            batch_size=min(16, config.batch_size),
            patience=12,
            num_seeds=config.num_networks,
            **options,
        )
    ]
