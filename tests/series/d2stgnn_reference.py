"""D2STGNN in plain NumPy, window by window and with the (N, k_t N) graphs, from the equations."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def linear(layer, x):
    product = x @ np.asarray(layer.kernel[...])
    return product if layer.bias is None else product + np.asarray(layer.bias[...])


def layer_norm(norm, x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])


def transition(graph):
    degree = graph.sum(1)
    return np.stack([row / d if d else 0 * row for row, d in zip(graph, degree, strict=True)])


def positions(num_steps, size):
    table = np.zeros((num_steps, size))
    for t in range(num_steps):
        for i in range(size):
            rate = 10000 ** (-(i // 2 * 2) / size)
            table[t, i] = np.sin(t * rate) if i % 2 == 0 else np.cos(t * rate)
    return table


def gates(gate, times, nodes):
    """(T, N): sigmoid(W relu(W' [T_D, T_W, E_u, E_d]))."""
    features = [np.concatenate([np.broadcast_to(t, (len(nodes), len(t))), nodes], -1) for t in times]
    return sigmoid(linear(gate.second, relu(linear(gate.first, np.stack(features)))))[..., 0]


def dynamic_graph(module, values, time, embedding, mask):
    """(N, N), from the (N, T) values of a window."""
    hidden = layer_norm(module.norm, relu(linear(module.first, values)))
    features = linear(module.second, hidden)
    times = np.broadcast_to(time, (len(values), len(time)))
    z = np.concatenate([features, times, embedding], -1)
    scores = linear(module.query, z) @ linear(module.source, z).T / np.sqrt(features.shape[1])
    graph = softmax(scores) * (mask + 1e-7)
    return graph / graph.sum(1, keepdims=True)


def localised(graphs, order, kernel_size):
    """The (N, k_t N) graphs: powers without diagonal, repeated for the steps."""
    powers = [np.linalg.matrix_power(graph, k) for graph in graphs for k in range(1, order + 1)]
    return [np.concatenate([power * (1 - np.eye(len(power)))] * kernel_size, 1) for power in powers]


def convolution(module, signal, graphs):
    """(T - k_t + 1, N, C) from (T, N, C)."""
    size, outputs = module.kernel_size, []
    for end in range(size, len(signal) + 1):
        window = np.concatenate(list(signal[end - size : end]), -1)
        hidden = relu(linear(module.steps, window))
        steps = np.split(hidden, size, -1)
        seen = [np.mean(steps, 0), *(graph @ np.concatenate(steps, 0) for graph in graphs)]
        outputs.append(linear(module.neighbours, np.concatenate(seen, -1)))
    return np.stack(outputs)


def diffusion(block, signal, graphs):
    output = convolution(block.convolution, signal, graphs)
    size, states = block.convolution.kernel_size, [output[-1]]
    for _ in range(block.num_states - 1):
        seen = np.stack([*signal, *states])[-size:]
        states.append(convolution(block.convolution, seen, graphs)[0])
    return output, np.stack(states)


def gru_step(gru, h, x):
    weights = gru.weights
    x_r, x_z, x_n = np.split(x @ np.asarray(weights.input) + np.asarray(weights.bias), 3, -1)
    h_r, h_z, h_n = np.split(h @ np.asarray(weights.recurrent), 3, -1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * (h_n + np.asarray(weights.recurrent_bias)))
    return (1 - z) * n + z * h


def attend(attention, query, sources):
    """(C,) from the (C,) query and (T, C) sources of one node."""
    kernel, bias = np.asarray(attention.input_kernel[...]), np.asarray(attention.input_bias[...])
    w_q, w_k, w_v = np.split(kernel, 3, 1)
    b_q, b_k, b_v = np.split(bias, 3)
    heads = []
    for q, k, v in zip(
        np.split(query @ w_q + b_q, attention.num_heads),
        np.split(sources @ w_k + b_k, attention.num_heads, 1),
        np.split(sources @ w_v + b_v, attention.num_heads, 1),
        strict=True,
    ):
        heads.append(softmax(k @ q / np.sqrt(len(q))) @ v)
    return np.concatenate(heads) @ np.asarray(attention.output_kernel[...]) + np.asarray(attention.output_bias[...])


def attend_all(attention, queries, sources):
    """(T', N, C) from (T', N, C) queries and (T, N, C) sources."""
    nodes = range(sources.shape[1])
    return np.stack([[attend(attention, query[i], sources[:, i]) for i in nodes] for query in queries])


def inherent(block, signal):
    h, states = np.zeros_like(signal[0]), []
    for x in signal:
        h = gru_step(block.gru, h, x)
        states.append(h)
    table = positions(len(signal) + block.num_states, signal.shape[-1])
    placed = np.stack(states) + table[: len(signal), None]
    output = attend_all(block.attention, placed, placed)
    future = [output[-1]]
    for _ in range(block.num_states - 1):
        if block.repeat_positions:
            new = gru_step(block.gru, placed[-1], future[-1])
            placed = np.concatenate([placed, new[None]])
            placed = placed + table[: len(placed), None]
            future.append(attend_all(block.attention, new[None], placed)[0])
        else:
            h = gru_step(block.gru, h, future[-1])
            placed = np.concatenate([placed, (h + table[len(placed)])[None]])
            future.append(attend_all(block.attention, placed[-1:], placed)[0])
    return output, np.stack(future)


def network(net, inputs, slots, covariates=None):
    """All leads, (lead, node, output), and gates, graphs and signals, from (T, N, feature)."""
    own = net.choices
    listening, speaking = np.asarray(net.listening[...]), np.asarray(net.speaking[...])
    times = np.zeros((len(inputs), 0))
    if net.slots_per_day:
        days = np.asarray(net.weekdays[...])[slots // net.slots_per_day]
        times = np.concatenate([np.asarray(net.slots[...])[slots % net.slots_per_day], days], -1)
    graphs = window_graphs(net, inputs, times[-1], listening, speaking)
    pair = (speaking, listening) if own.swap_embeddings else (listening, speaking)
    static = softmax(relu(pair[0] @ pair[1].T))
    supports = localised([*graphs, static], own.spatial_order, own.kernel_size)
    found = {"graphs": graphs, "gates": [], "signals": []}
    signal, states = linear(net.inputs, inputs), []
    for n, layer in enumerate(net.layers):
        gate = np.ones(signal.shape[:2])
        if own.gate and not own.coupled:
            gate = gates(net.gates[n], times, np.concatenate([speaking, listening], -1))[-len(signal) :]
        diffused, of_diffusion = diffusion(layer.diffusion, signal * gate[..., None], supports)
        rest = diffused if own.coupled else residual(layer.of_diffusion, signal[-len(diffused) :], diffused)
        output, of_inherent = inherent(layer.inherent, rest)
        signal = output if own.coupled else residual(layer.of_inherent, rest, output)
        states += [of_diffusion, of_inherent]
        found["gates"].append(gate)
        found["signals"].append(signal)
    return readout(net, np.concatenate(states, -1), covariates), found


def window_graphs(net, inputs, time, listening, speaking):
    given = [np.asarray(graph) for graph in net.graphs[...]]
    masks = [transition(graph) for graph in given] + [transition(graph.T) for graph in given]
    if not net.choices.dynamic_graph:
        return masks
    values = np.swapaxes(inputs[..., : net.num_features], 0, 1).reshape(inputs.shape[1], -1)
    embeddings = [listening] * len(given) + [speaking] * len(given)
    return [dynamic_graph(net.dynamic, values, time, e, m) for e, m in zip(embeddings, masks, strict=True)]


def residual(module, signal, output):
    return signal if module is None else layer_norm(module.norm, signal - relu(linear(module.backcast, output)))


def readout(net, states, covariates):
    hidden = relu(linear(net.readout.of_states, states))
    if not net.choices.autoregressive:
        hidden = np.stack(np.split(hidden[0], net.num_states, -1))
    if covariates is not None:
        hidden = np.concatenate([hidden, np.broadcast_to(covariates, (*hidden.shape[:2], covariates.shape[-1]))], -1)
    numbers = linear(net.readout.read_out, relu(linear(net.readout.hidden, hidden)))
    leads = [np.split(state, net.leads_of_state, -1) for state in numbers]
    return np.stack([lead for state in leads for lead in state])[: net.num_leads]
