"""DeepAR, Seq2Seq and MQRNN in plain numpy, and windows with everything in them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcast.series import PanelSizes, PanelWindows

HISTORY, NUM_LEADS, BATCH = 9, 3, 4
SIZES = PanelSizes(HISTORY, NUM_LEADS, num_past=1, num_known=2, num_static=1, cardinalities=(3,))


def random_windows(batch=(BATCH,), seed=0):
    """Windows with gaps, one of which begins late, and with covariates of each kind."""
    rng = np.random.default_rng(seed)
    history = 20 * (2 + rng.random((*batch, HISTORY)))
    history[..., 5] = np.nan
    history.reshape(-1, HISTORY)[0, :4] = np.nan
    weights = np.ones((*batch, NUM_LEADS))
    weights.reshape(-1, NUM_LEADS)[1, 1] = 0
    past = rng.normal(size=(*batch, HISTORY, 1))
    past[..., 0, :] = np.nan
    return PanelWindows(
        history,
        20 * (2 + rng.random((*batch, NUM_LEADS))) * weights,
        weights,
        past,
        rng.normal(size=(*batch, HISTORY + NUM_LEADS, 2)),
        rng.normal(size=(*batch, 1)),
        rng.integers(0, 4, (*batch, 1)),
    )


def scrambled(network, seed=1):
    """The network with weights far from zero, so that each matters."""
    graph, state = nnx.split(network)
    rng = np.random.default_rng(seed)
    return nnx.merge(graph, jax.tree.map(lambda a: jnp.asarray(0.4 * rng.normal(size=a.shape), a.dtype), state))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def lstm(layer, x, state):
    """One step of one sample."""
    h, c = state
    own = [np.asarray(a, float) for a in (layer.input_kernel[...], layer.recurrent_kernel[...], layer.bias[...])]
    i, f, g, o = np.split(x @ own[0] + h @ own[1] + own[2], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def start(stack):
    return [(np.zeros(stack.layers[0].recurrent_kernel.shape[0]),) * 2 for _ in stack.layers]


def stacked(stack, x, states):
    """One step of stacked layers: the output and the states."""
    after = []
    for layer, state in zip(stack.layers, states, strict=True):
        x, c = lstm(layer, x, state)
        after.append((x, c))
    return x, after


def linear(layer, x):
    return x @ np.asarray(layer.kernel[...], float) + np.asarray(layer.bias[...], float)


def of_series(network, windows, n):
    """Scale, filled values over it, and what a series has once, of window n."""
    history = windows.history[n]
    scale = np.nanmean(abs(history))
    table = np.asarray(network.embeddings[0][...], float)
    number = windows.categories[n, 0]
    vector = table[number - 1] if number else table.mean(0)
    return scale, np.concatenate([windows.static[n], [np.log(scale)], vector])


def gaps_filled(values):
    found, last = [], 0.0
    for value in values:
        last = value if np.isfinite(value) else last
        found.append(last)
    return np.asarray(found)


def deepar_raw(network, windows, n):
    """The numbers of the head at each step of context and leads, true values given."""
    scale, once = of_series(network, windows, n)
    targets = np.where(windows.weights[n] > 0, windows.targets[n], np.nan)
    truth = np.concatenate([windows.history[n], targets]) / scale
    values, past = gaps_filled(truth), np.nan_to_num(windows.past[n])
    states, found = start(network.layers), []
    for t in range(HISTORY - network.context_size, HISTORY + NUM_LEADS):
        flag = float(np.isfinite(truth[t - 1]))
        own = [values[t - lag] for lag in network.lags]
        x = np.concatenate([own, [flag], past[min(t - 1, HISTORY - 1)], windows.known[n, t], once])
        hidden, states = stacked(network.layers, x, states)
        seen = np.concatenate([hidden, x]) if network.skip_inputs else hidden
        found.append(linear(network.out, seen))
    return np.asarray(found), scale


def history_x(network, windows, n, t, once, scale):
    history = windows.history[n] / scale
    flag = float(np.isfinite(history[t]))
    value = gaps_filled(history)[t]
    return np.concatenate([[value, flag], np.nan_to_num(windows.past[n, t]), windows.known[n, t], once])


def rising(raw, middle):
    """Quantiles of numbers: the middle one, and softplus of the others as distances."""
    found = [raw[middle]]
    for gap in raw[middle + 1 :]:
        found.append(found[-1] + softplus(gap))
    for gap in raw[:middle][::-1]:
        found.insert(0, found[0] - softplus(gap))
    return np.asarray(found)


def seq2seq_quantiles(network, windows, n, middle):
    scale, once = of_series(network, windows, n)
    states = start(network.encoder)
    for t in range(HISTORY):
        _, states = stacked(network.encoder, history_x(network, windows, n, t, once, scale), states)
    median, found = gaps_filled(windows.history[n] / scale)[-1], []
    for k in range(NUM_LEADS):
        x = np.concatenate([[median], windows.known[n, HISTORY + k], once])
        hidden, states = stacked(network.decoder, x, states)
        found.append(rising(linear(network.out, hidden), middle))
        median = found[-1][middle]
    return scale * np.asarray(found)


def mqrnn_quantiles(network, windows, n, middle):
    """Quantiles from each step of the history."""
    scale, once = of_series(network, windows, n)
    states, size, found = start(network.encoder), network.context_size, []
    for t in range(HISTORY):
        hidden, states = stacked(network.encoder, history_x(network, windows, n, t, once, scale), states)
        known = windows.known[n, t + 1 : t + 1 + NUM_LEADS]
        contexts = np.maximum(linear(network.global_decoder, np.concatenate([hidden, known.ravel()])), 0)
        contexts = contexts.reshape(NUM_LEADS + 1, size)
        inner = [
            np.maximum(linear(network.local_decoder, np.concatenate([contexts[k], contexts[-1], known[k]])), 0)
            for k in range(NUM_LEADS)
        ]
        found.append([rising(linear(network.out, own), middle) for own in inner])
    return scale * np.asarray(found), scale
