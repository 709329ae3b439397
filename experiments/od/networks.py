"""Published networks on trips: ST-ResNet, STGCN, CSTN, MRSTN, GEML and OD-CED."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.od.data import Setup, forecasts
from jaxcast.series.features import TargetFeatures
from jaxcast.series.samples import SeriesWindows
from jaxcast.training import TrainingOptions


class Network(NamedTuple):
    """A network of the experiment.

    Args:
        make: (setup, training windows, key) -> network.
        zones: whether its nodes are zones with the trips to each other zone as features; else its
            regions are pairs.
        loss: that it minimises.
        share_of_steps: of the optimizer's steps, for networks whose steps take long.
    """

    make: Callable[[Setup, SeriesWindows, Any], Any]
    zones: bool = False
    loss: Any = jaxcast.series.WindowLoss()
    share_of_steps: float = 1.0


def _slots(setup: Setup) -> dict[str, Any]:
    return {"slots_per_day": setup.protocol.slots_per_day}


def _units(setup: Setup) -> dict[str, Any]:
    """Returns what forecasts are relative to; logarithms are in units of each pair."""
    return {"scaling": "series" if setup.protocol.logarithm else "all", "start": "mean"}


def _graph(setup: Setup) -> np.ndarray:
    """Returns which zones touch, or else between which most people travel in the training part."""
    if setup.adjacency is not None:
        return setup.adjacency
    trips = setup.levels.reshape(setup.num_zones, -1)
    trips = (trips + trips.T) * (1 - np.eye(setup.num_zones))
    return (trips >= np.sort(trips, 1)[:, -5:][:, :1]).astype(float) * (trips > 0)


def _symmetric(graph: np.ndarray) -> np.ndarray:
    return np.maximum(graph, graph.T)


def _od_ced(setup: Setup, samples: SeriesWindows, key: Any) -> Any:
    options: dict[str, Any] = {"leads": setup.protocol.leads, **_slots(setup)}
    if setup.adjacency is not None:
        options["adjacency"] = setup.adjacency
    return jaxcast.series.ODCED(samples, hidden_size=setup.config.hidden_size, key=key, **options)


def _stgcn(setup: Setup, samples: SeriesWindows, key: Any) -> Any:
    size = setup.config.hidden_size
    options: dict[str, Any] = {"channels": ((size, 2 * size),) * 2, "kernel_size": 2, **_slots(setup), **_units(setup)}
    return jaxcast.series.STGCN(samples, graphs=_symmetric(_graph(setup)), key=key, **options)


def _geml(setup: Setup, samples: SeriesWindows, key: Any) -> Any:
    size = setup.config.hidden_size
    options: dict[str, Any] = {"embedding_size": size, "hidden_size": size, **_slots(setup), **_units(setup)}
    return jaxcast.series.GEML(samples, adjacency=setup.adjacency, key=key, **options)


NETWORKS: dict[str, Network] = {
    "st_resnet": Network(
        lambda setup, samples, key: jaxcast.series.STResNet(
            samples, rows=setup.num_zones, hidden_size=8, num_units=1, key=key, **_slots(setup), **_units(setup)
        )
    ),
    "stgcn": Network(_stgcn, zones=True),
    "cstn": Network(
        lambda setup, samples, key: jaxcast.series.CSTN(
            samples, adjacency=setup.adjacency, hidden_size=8, key=key, **_slots(setup), **_units(setup)
        )
    ),
    "mrstn": Network(
        lambda setup, samples, key: jaxcast.series.MRSTN(samples, key=key, **_slots(setup), **_units(setup)),
        share_of_steps=0.2,
    ),
    "geml": Network(_geml, loss=jaxcast.series.FlowLoss()),
    "od_ced": Network(_od_ced),
}
"""Networks in the order of the table; sizes fit two cores."""


def train(name: str, setup: Setup, seed: int, found: Any) -> dict[str, np.ndarray]:
    """Trains a network before the validation part, which stops it; then forecasts the test part.

    Args:
        name: of the network.
        setup: the data.
        seed: of its initial weights and minibatches.
        found: not used.

    Returns:
        Forecasts of validation and test part, and the losses of each epoch.
    """
    network, config = NETWORKS[name], setup.config
    seen = lambda part: _seen(network, setup, part)  # noqa: E731
    learned, valid = seen("early"), seen("valid")
    batch_size = min(config.batch_size, len(learned.history))
    num_batches = len(learned.history) // batch_size
    num_epochs = math.ceil(network.share_of_steps * config.num_optimizer_steps / num_batches)
    options: dict[str, Any] = {
        "num_epochs": num_epochs,
        "batch_size": batch_size,
        "learning_rate": config.learning_rate,
    }
    training = TrainingOptions(**options, schedule="cosine", clip_norm=1.0)
    fitted = jaxcast.fit(
        learned,
        init=lambda key: network.make(setup, learned, key),
        keys=jax.random.key(seed)[None],
        optimizer=training.optimizer(num_batches),
        num_epochs=num_epochs,
        batch_size=batch_size,
        loss=network.loss,
        with_key=True,
        validation=valid,
        patience=max(num_epochs // 3, 2),
    )
    model = jax.tree.map(lambda a: a[0], fitted.models)
    of_part = lambda part: _of_pairs(network, setup, forecasts(model, seen(part)))  # noqa: E731
    losses = {name: np.asarray(getattr(fitted, name))[0] for name in ("losses", "validation_losses")}
    return {"valid": of_part("valid"), "test": of_part("test"), **losses}


def _seen(network: Network, setup: Setup, part: Any) -> SeriesWindows:
    """Returns the windows of a part as a network takes them."""
    samples = setup.windows(part, setup.protocol.few_lags, calendar=True)
    if not network.zones:
        return samples
    size, kept = setup.num_zones, _destinations(setup)
    table = lambda a: jnp.reshape(a, (*a.shape[:2], size, size))[..., kept]  # noqa: E731
    history, targets, weights = (table(a) for a in (samples.history, samples.targets, samples.weights))
    features = TargetFeatures(tuple(range(len(kept))))
    return samples._replace(history=history, targets=targets, weights=weights, features=features)


def _destinations(setup: Setup) -> np.ndarray:
    """Returns the zones to which trips differ; those to which nobody travels are left out."""
    values = setup.values[slice(*setup.rows("early"))].reshape(-1, setup.num_zones, setup.num_zones)
    return np.flatnonzero(np.nanmax(values, (0, 1)) > np.nanmin(values, (0, 1)))


def _of_pairs(network: Network, setup: Setup, values: np.ndarray) -> np.ndarray:
    """Returns forecasts of all pairs, (window, lead, pair); 0 to zones that were left out."""
    if not network.zones:
        return values
    size = setup.num_zones
    found = np.zeros((*values.shape[:2], size, size), values.dtype)
    found[..., _destinations(setup)] = values
    return found.reshape(*values.shape[:2], -1)
