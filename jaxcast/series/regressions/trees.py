"""Regression trees that scikit-learn grows, kept and evaluated as arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static


class Trees(FrozenPytree, name="regression_trees"):
    """Regression trees of equal size, for each lead.

    A node sends a row to the left where its feature is at most the threshold. A leaf is its own
    child on both sides.

    Args:
        feature: number of the feature that a node looks at.
        threshold: of that feature.
        left: number of the left child.
        right: number of the right child.
        value: what a leaf adds to the forecast.
        start: of each lead, to which the leaves add.
        depth: steps from the root to the farthest leaf.
    """

    feature: Int[Array, "lead tree node"]
    threshold: Float[Array, "lead tree node"]
    left: Int[Array, "lead tree node"]
    right: Int[Array, "lead tree node"]
    value: Float[Array, "lead tree node"]
    start: Float[Array, " lead"]
    depth: int = static()

    def __call__(self, rows: Float[Array, "row feature"]) -> Float[Array, "row lead"]:
        """Returns the sum of the leaves that rows fall into.

        Args:
            rows: their features.
        """

        def add(total: Array, tree: Any) -> tuple[Array, None]:
            feature, threshold, left, right, value = tree

            def descend(_: Any, node: Array) -> Array:
                seen = jnp.take_along_axis(rows, feature[node][:, None], 1)[:, 0]
                return jnp.where(seen <= threshold[node], left[node], right[node])

            node = jax.lax.fori_loop(0, self.depth, descend, jnp.zeros(len(rows), left.dtype))
            return total + value[node], None

        def of_lead(own: Any) -> Array:
            return jax.lax.scan(add, jnp.full(len(rows), own[-1]), own[:-1])[0]

        arrays = (self.feature, self.threshold, self.left, self.right, self.value, self.start)
        return jax.lax.map(of_lead, arrays).T


def regressor(num_trees: int, learning_rate: float, max_leaves: int, least_in_leaf: int) -> Any:
    """Returns a function that makes scikit-learn's regressor.

    Args:
        num_trees: boosting steps.
        learning_rate: share of each tree that is added.
        max_leaves: the most leaves of a tree.
        least_in_leaf: the fewest rows of a leaf.

    Raises:
        InputError: if scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError:
        raise InputError("boosted trees need scikit-learn: pip install 'jaxcast[experiments]'") from None
    return lambda: HistGradientBoostingRegressor(
        max_iter=num_trees,
        learning_rate=learning_rate,
        max_leaf_nodes=max_leaves,
        min_samples_leaf=least_in_leaf,
        early_stopping=False,
        random_state=0,
    )


def as_trees(grown: list[Any]) -> Trees:
    """Copies scikit-learn's trees into arrays of one size.

    Args:
        grown: the regressor of each lead.
    """
    nodes = [[tree[0].nodes for tree in one._predictors] for one in grown]
    size = max(len(tree) for trees in nodes for tree in trees)
    depth = max(int(tree["depth"].max()) for trees in nodes for tree in trees)

    def array(name: str, dtype: Any) -> np.ndarray:
        padded = np.zeros((len(nodes), len(nodes[0]), size), dtype)
        for lead, tree in np.ndindex(padded.shape[:2]):
            padded[lead, tree, : len(nodes[lead][tree])] = nodes[lead][tree][name]
        return padded

    is_leaf = array("is_leaf", bool)
    own = np.broadcast_to(np.arange(size), is_leaf.shape)
    left, right = (np.where(is_leaf, own, array(name, np.int32)) for name in ("left", "right"))
    return Trees(
        feature=jnp.asarray(array("feature_idx", np.int32)),
        threshold=jnp.asarray(np.where(is_leaf, 0, array("num_threshold", float))),
        left=jnp.asarray(left, jnp.int32),
        right=jnp.asarray(right, jnp.int32),
        value=jnp.asarray(np.where(is_leaf, array("value", float), 0)),
        start=jnp.asarray([float(np.ravel(one._baseline_prediction)[0]) for one in grown]),
        depth=depth,
    )
