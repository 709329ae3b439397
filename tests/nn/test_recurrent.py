from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from jax.test_util import check_grads

import jaxcast
from jaxcast.backends import dispatch
from jaxcast.errors import InputError
from jaxcast.forecasters.recurrent import projected_loss
from jaxcast.nn import GRU, LSTM, RNN, LSTMCarry
from jaxcast.nn.over_time import over_time


@cache
def make(kind, input_size=3, hidden_size=5, dtype=jnp.float64):
    layer, options = {
        "lstm": (LSTM, {}),
        "gru_after": (GRU, dict(reset_after=True)),
        "gru_before": (GRU, dict(reset_after=False)),
        "rnn_tanh": (RNN, dict(activation="tanh")),
        "rnn_sigmoid": (RNN, dict(activation="sigmoid")),
        "rnn_relu": (RNN, dict(activation="relu")),
    }[kind]
    return layer(input_size=input_size, hidden_size=hidden_size, key=jax.random.key(1), dtype=dtype, **options)


KINDS = ["lstm", "gru_after", "gru_before", "rnn_tanh", "rnn_sigmoid", "rnn_relu"]
EXCHANGED = ["lstm", "gru_after", "rnn_tanh", "rnn_relu"]


def sigmoid(a):
    return 1 / (1 + jnp.exp(-a))


def textbook(kind, layer, xs, carry):
    """The published equations for one sequence, gate by gate, differentiated by JAX alone."""
    w, u, b = layer.weights.input, layer.weights.recurrent, layer.weights.bias
    size = len(u)
    w, u, b = ([a[..., n * size : (n + 1) * size] for n in range(a.shape[-1] // size)] for a in (w, u, b))
    act = {"rnn_tanh": jnp.tanh, "rnn_sigmoid": sigmoid, "rnn_relu": lambda a: jnp.maximum(a, 0)}.get(kind)

    def step(carry, x):
        h, c = carry
        past = [x @ w[k] + h @ u[k] + b[k] for k in range(len(w))]
        if kind == "lstm":
            c = sigmoid(past[1]) * c + sigmoid(past[0]) * jnp.tanh(past[2])
            h = sigmoid(past[3]) * jnp.tanh(c)
        elif kind == "gru_after":
            r, z = sigmoid(past[0]), sigmoid(past[1])
            candidate = jnp.tanh(x @ w[2] + b[2] + r * (h @ u[2] + layer.weights.recurrent_bias))
            h = z * h + (1 - z) * candidate
        elif kind == "gru_before":
            r, z = sigmoid(past[0]), sigmoid(past[1])
            h = z * h + (1 - z) * jnp.tanh(x @ w[2] + (r * h) @ u[2] + b[2])
        else:
            h = act(past[0])
        return (h, c), h

    start = carry if kind == "lstm" else (carry, jnp.zeros(()))
    (h, c), outputs = jax.lax.scan(step, tuple(start), xs)
    return (LSTMCarry(h, c) if kind == "lstm" else h), outputs


def batched(kind, layer, xs, carry):
    function = lambda xs, carry: textbook(kind, layer, xs, carry)  # noqa: E731
    for _ in xs.shape[:-2]:
        function = jax.vmap(function)
    return function(xs, carry)


def inputs(layer, batch=(4,), num_steps=6):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), layer.bias.dtype)

    carry = jax.tree.map(lambda a: draw(*a.shape), layer.init_carry(*batch))
    return draw(*batch, num_steps, len(layer.weights.input)), carry


def weighted_loss(result):
    """Depends on every output and on the final carry, each differently."""
    return sum(jnp.sum(jnp.sin(jnp.arange(a.size).reshape(a.shape) + a)) for a in jax.tree.leaves(result))


def assert_close(a, b, rtol):
    """Relative to the largest element of each array."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=0, atol=rtol * float(jnp.abs(y).max()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "num_steps", "input_size", "hidden_size"), [((), 6, 3, 5), ((2, 3), 7, 6, 4)])
def test_outputs_and_gradients_are_those_of_the_equations(kind, batch, num_steps, input_size, hidden_size):
    layer = make(kind, input_size, hidden_size)
    arguments = (layer, *inputs(layer, batch, num_steps))

    def all_of(function):
        run = lambda *a: (lambda result: (weighted_loss(result), result))(function(*a))  # noqa: E731
        return jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True))(*arguments)

    gradients, result = all_of(lambda layer, xs, carry: layer(xs, carry))
    expected_gradients, expected = all_of(lambda *a: batched(kind, *a))
    assert_close(result, expected, 1e-14)
    assert_close(gradients, expected_gradients, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_float32_differs_from_float64_by_rounding(kind):
    layer = make(kind)
    rounded = jax.tree.map(lambda a: a.astype(jnp.float32), layer)
    xs, carry = inputs(layer, (8,), 20)
    assert rounded(xs)[1].dtype == jnp.float32
    assert_close(rounded(xs, carry), jax.tree.map(lambda a: a.astype(jnp.float32), layer(xs, carry)), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    layer = make(kind)
    run = jax.jit(lambda layer, xs, carry: layer(xs, carry))
    check_grads(run, (layer, *inputs(layer)), order=1, modes=["rev"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru_after", "gru_before"])
def test_steps_make_the_sequence(kind):
    layer = make(kind)
    xs, carry = inputs(layer, (4,), 6)

    def stepped(layer, xs, carry):
        carry, outputs = jax.lax.scan(layer.step, carry, jnp.swapaxes(xs, 0, 1))
        return carry, jnp.swapaxes(outputs, 0, 1)

    def gradients(function):
        return jax.jit(jax.grad(lambda *a: weighted_loss(function(*a)), argnums=(0, 1, 2)))(layer, xs, carry)

    assert_close(layer(xs, carry), stepped(layer, xs, carry), 1e-14)
    ours = gradients(lambda layer, xs, carry: layer(xs, carry))
    assert_close(ours, gradients(stepped), 1e-12)

    # Forward-mode derivatives, which only steps have, are the transpose of the sequence's own backward pass.
    tangent = jax.tree.map(jnp.cos, (layer, xs, carry))
    directional = jax.jit(lambda *a: jax.jvp(lambda *a: weighted_loss(stepped(*a)), a, tangent)[1])
    forward = directional(layer, xs, carry)
    backward = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (ours, tangent)), strict=True))
    np.testing.assert_allclose(forward, backward, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru_after", "gru_before"])
def test_second_derivatives(kind):
    layer = make(kind)
    xs, carry = inputs(layer, (2,), 4)

    def of(function):
        return jax.jit(jax.hessian(lambda scale: weighted_loss(function(layer, scale * xs, carry))))(1.3)

    ours = of(lambda layer, xs, carry: layer(xs, carry))
    np.testing.assert_allclose(ours, of(lambda *a: batched(kind, *a)), rtol=1e-11)


@pytest.mark.slow
def test_forward_mode_of_a_whole_sequence_is_refused_by_jax():
    layer = make("lstm")
    xs, _ = inputs(layer)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda xs: layer(xs)[1], (xs,), (xs,))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_carry_continues_a_sequence(kind):
    layer = make(kind)
    xs, carry = inputs(layer, (4,), 9)
    middle, first = layer(xs[:, :4], carry)
    end, second = layer(xs[:, 4:], middle)
    assert_close((end, jnp.concatenate([first, second], 1)), layer(xs, carry), 1e-14)
    assert_close(layer(xs), layer(xs, layer.init_carry(4)), 0)
    assert layer(xs[:0])[1].shape == (0, 9, 5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru_after"])
def test_vmap_is_the_batch(kind):
    layer = make(kind)
    xs, carry = inputs(layer, (4,), 6)
    mapped = jax.vmap(lambda xs, carry: layer(xs, carry))
    assert_close(mapped(xs, carry), layer(xs, carry), 1e-14)
    of_mapped = jax.jit(jax.grad(lambda layer: weighted_loss(jax.vmap(lambda xs, c: layer(xs, c))(xs, carry))))
    of_batch = jax.jit(jax.grad(lambda layer: weighted_loss(layer(xs, carry))))
    assert_close(of_mapped(layer), of_batch(layer), 1e-12)


@pytest.mark.slow
def test_layers_stacked_by_vmap_are_each_layer():
    def init(key):
        return LSTM(input_size=3, hidden_size=5, key=key, dtype=jnp.float64)

    keys = jax.random.split(jax.random.key(0), 3)
    xs, _ = inputs(make("lstm"), (2,))
    outputs = jax.vmap(lambda layer: layer(xs)[1])(jax.vmap(init)(keys))
    for key, output in zip(keys, outputs, strict=True):
        assert_close(output, init(key)(xs)[1], 1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru_after", "gru_before"])
def test_a_batch_spread_over_devices_has_the_same_gradient(kind):
    layer = make(kind)
    xs, _ = inputs(layer, (4,))
    loss = lambda layer, xs: jnp.sum(jnp.sin(layer(xs)[1]))  # noqa: E731
    mesh = Mesh(np.asarray(jax.devices()[:2]), ("batch",))

    def on_one(layer, xs):
        return jax.lax.psum(jax.grad(loss)(layer, xs), "batch")

    whole, parts = PartitionSpec(), PartitionSpec("batch")
    spread = jax.shard_map(on_one, mesh=mesh, in_specs=(whole, parts), out_specs=whole, check_vma=False)
    assert_close(jax.jit(spread)(layer, xs), jax.jit(jax.grad(loss))(layer, xs), 1e-13)


def test_other_numbers_compile_nothing(count_compilations):
    layer = make("lstm")
    xs, carry = inputs(layer)
    x = xs[:, 0]
    other, others, another = (jax.tree.map(lambda a: a * 2, a) for a in (layer, xs, x))
    layer(xs, carry), layer.step(carry, x)
    count_compilations()
    other(others, carry), other.step(carry, another)
    assert count_compilations() == 0


@pytest.mark.slow
def test_initial_weights():
    uniform = make("lstm", 3, 16)
    leaves = jnp.concatenate([a.ravel() for a in jax.tree.leaves(uniform)])
    assert 0.9 / 4 < float(jnp.abs(leaves).max()) <= 1 / 4
    assert abs(float(leaves.mean())) < 0.02
    orthogonal = LSTM(input_size=3, hidden_size=16, key=jax.random.key(0), init="orthogonal", dtype=jnp.float64)
    for gate in jnp.split(orthogonal.recurrent_kernel[...], 4, -1):
        np.testing.assert_allclose(gate.T @ gate, jnp.eye(16), atol=1e-12)
    np.testing.assert_array_equal(orthogonal.bias[...].reshape(4, 16), [[0] * 16, [1] * 16, [0] * 16, [0] * 16])


def drawn_state(layer, seed=3):
    """Weights in PyTorch's layout with both biases at random."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=array.shape) for name, array in layer.to_torch().items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXCHANGED)
def test_weights_in_the_layout_of_torch(kind):
    """PyTorch's equations as its documentation has them: (gates * hidden, inputs), gates i, f, g, o and r, z, n."""
    layer = make(kind)
    state = drawn_state(layer)
    loaded = layer.load_torch(state)
    xs, carry = inputs(layer, (), 4)
    h, c = carry if kind == "lstm" else (carry, None)
    for x in xs:
        of_x = state["weight_ih_l0"] @ x + state["bias_ih_l0"]
        of_h = state["weight_hh_l0"] @ h + state["bias_hh_l0"]
        if kind == "lstm":
            i, f, g, o = np.split(of_x + of_h, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind == "gru_after":
            (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(of_x, 3), np.split(of_h, 3)
            r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
            h = (1 - z) * np.tanh(x_n + r * h_n) + z * h
        else:
            h = np.tanh(of_x + of_h) if kind == "rnn_tanh" else np.maximum(of_x + of_h, 0)
    end, _ = loaded(xs, carry)
    assert_close(end, LSTMCarry(h, c) if kind == "lstm" else h, 1e-13)

    again = loaded.to_torch("_l1_reverse")
    assert list(again) == [f"{name}_l1_reverse" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    assert_close(layer.load_torch(again, "_l1_reverse"), loaded, 0)
    assert layer.load_torch(state).bias[0] != layer.bias[0]


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("expected", "call"),
    [
        ("input_size must be at least 1, got 0", lambda layer: make("lstm", input_size=0)),
        ("hidden_size must be at least 1, got -1", lambda layer: make("gru_after", hidden_size=-1)),
        ("init must be 'uniform' or", lambda _: LSTM(input_size=1, hidden_size=1, key=jax.random.key(0), init="zeros")),
        ("activation must be one of tanh, ", lambda _: RNN(input_size=1, hidden_size=1, key=jax.random.key(0), activation="")),
        (r"inputs \(\*batch, time, in\) with in = 3, got shape \(4, 6, 2\)", lambda layer: layer(jnp.ones((4, 6, 2)))),
        (r"in = 3, got shape \(3,\)", lambda layer: layer(jnp.ones(3))),
        (r"in = 3, got shape \(\)", lambda layer: layer.step(layer.init_carry(), jnp.ones(()))),
        (r"at least one time step, got inputs of shape \(4, 0, 3\)", lambda layer: layer(jnp.ones((4, 0, 3)))),
        (r"a carry of shape .*\(4, 5\).*, got .*\(3, 5\)", lambda layer: layer(jnp.ones((4, 6, 3)), layer.init_carry(3))),
        (r"a carry of shape .*got \(4, 5\); init_carry\(4,\)", lambda layer: layer(jnp.ones((4, 6, 3)), jnp.ones((4, 5)))),
        (r"a carry of shape", lambda layer: layer.step(layer.init_carry(4), jnp.ones(3))),
        ("arrays named weight_ih_l1, .*got weight_ih_l0", lambda layer: layer.load_torch(drawn_state(layer), "_l1")),
        ("got none; suffix", lambda layer: layer.load_torch({})),
        (r"weight_ih_l0 of shape \(20, 3\), got \(15, 3\)", lambda l: l.load_torch(drawn_state(make("gru_after")))),  # noqa: E741
        ("PyTorch has no such layer", lambda layer: make("gru_before").to_torch()),
        ("PyTorch has no such layer", lambda layer: make("rnn_sigmoid").load_torch({})),
    ],
)  # fmt: skip
def test_bad_input_is_explained_in_one_line(expected, call):
    with pytest.raises(InputError, match=expected) as error:
        call(make("lstm"))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_readout_in_closed_form_moves_along_with_its_layers():
    wave = jnp.sin(0.3 * jnp.arange(160.0))[:, None] * jnp.cos(0.11 * jnp.arange(160.0))[:, None]
    gru = jaxcast.nn.GRU(input_size=1, hidden_size=6, key=jax.random.key(0), init="orthogonal", dtype=float)
    pieces = jnp.stack([wave[:40], wave[60:100]])
    targets = jnp.stack([jnp.diff(wave[:41], axis=0)[10:], jnp.diff(wave[60:101], axis=0)[10:]])

    def solved_inside(layers):
        _, hidden = layers(pieces)
        features = jnp.concatenate([pieces, hidden], -1)[:, 10:].reshape(60, 7)
        centred, aims = features - features.mean(0), targets.reshape(60, 1) - targets.mean()
        weights = jnp.linalg.solve(centred.T @ centred + 0.01 * jnp.eye(7), centred.T @ aims)
        return jnp.log(jnp.sum((centred @ weights - aims) ** 2) + 0.01 * jnp.sum(weights**2))

    value, gradient = jax.value_and_grad(projected_loss)(gru, pieces, targets, 0.01)
    expected, whole = jax.value_and_grad(solved_inside)(gru)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10), gradient, whole)


@pytest.mark.slow
def test_trained_layers_forecast_better_than_drawn_ones():
    truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=900, dt=0.05, transient=5.0).states[
        :, :1
    ]
    gru = jaxcast.nn.GRU(input_size=1, hidden_size=12, key=jax.random.key(0), init="orthogonal", dtype=truth.dtype)
    drawn = jaxcast.forecasters.fit_recurrent_readout(truth[:500], layers=gru)
    trained = jaxcast.forecasters.fit_recurrent_forecaster(truth[:500], layers=gru, num_optimizer_steps=60)

    def error(cell):
        return jnp.sqrt(jnp.mean((jaxcast.open_loop(cell, truth[500:-1]).forecast - truth[501:])[50:] ** 2))

    assert error(trained) < error(drawn) / 3
    with pytest.raises(
        InputError, match="num_optimizer_steps, num_discarded and chunk_size must be at least 1, got 0, 30, 100"
    ):
        jaxcast.forecasters.fit_recurrent_forecaster(truth, layers=gru, num_optimizer_steps=0)
    fit = jax.jit(
        lambda values: jaxcast.forecasters.fit_recurrent_readout(values, layers=gru, penalty=1e-6).weights[...]
    )
    np.testing.assert_allclose(fit(truth[:500]), drawn.weights[...], rtol=1e-4)


@pytest.mark.slow
def test_what_cannot_be_trained_in_closed_loop_is_refused(without_type_checks):
    truth = jnp.sin(0.3 * jnp.arange(200.0))[:, None]
    gru = jaxcast.nn.GRU(input_size=1, hidden_size=3, key=jax.random.key(0), dtype=truth.dtype)
    with pytest.raises(jaxcast.InputError, match="learning_rate must be positive and finite, got -1"):
        jaxcast.forecasters.fit_recurrent_forecaster(truth, layers=gru, learning_rate=-1)
    with pytest.raises(jaxcast.InputError, match="expected a series that changes, got"):
        jaxcast.forecasters.fit_recurrent_forecaster(jnp.ones((200, 1)), layers=gru)
    with pytest.raises(jaxcast.InputError, match="num_discarded must be zero or more, got -5"):
        jaxcast.forecasters.fit_recurrent_readout(truth, layers=gru, num_discarded=-5)
    both = jaxcast.nn.Bidirectional("gru", input_size=1, hidden_size=3, key=jax.random.key(0))
    with pytest.raises(jaxcast.InputError, match="Bidirectional, which needs whole sequences"):
        jaxcast.forecasters.fit_recurrent_readout(truth, layers=both)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "has_gaps"), [("lstm", True), ("gru_after", False), ("gru_before", True), ("rnn_tanh", False)]
)
def test_the_program_of_accelerators_does_the_same(kind, has_gaps, monkeypatch):
    layer = make(kind)
    xs, carry = inputs(layer, (4,), 7)
    mask = jnp.asarray(np.random.default_rng(1).random((4, 7)) > 0.3) if has_gaps else None

    def all_of():
        def run(*args):
            result = over_time(layer.equations, *args, mask)
            return weighted_loss(result), result

        def sensitivity(scale):
            """The gradient moves only by what comes after the layer."""

            def outputs(xs):
                return scale * over_time(layer.equations, layer.weights, carry, xs, mask)[1].sum()

            return (jax.grad(outputs)(xs) ** 2).sum()

        first = jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True))(layer.weights, carry, xs)
        return first, jax.jit(jax.grad(sensitivity))(2.0)

    def elsewhere(default, *args, cpu=None, cuda=None, tpu=None):
        """Runs on this CPU what runs on a GPU, by the rules of `by_platform`."""
        assert cuda is tpu
        return dispatch.by_platform(default, *args, cpu=cuda or default)

    (expected_gradients, expected), second = all_of()
    assert second > 0.1
    monkeypatch.setattr("jaxcast.nn.over_time.by_platform", elsewhere)
    (gradients, result), other_second = all_of()
    assert_close(result, expected, 1e-14)
    assert_close(gradients, expected_gradients, 1e-12)
    np.testing.assert_allclose(other_second, second, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "has_gaps"), [("lstm", True), ("gru_after", False), ("rnn_tanh", True)])
def test_blocks_of_sequences_are_all_of_them(kind, has_gaps, monkeypatch):
    layer = make(kind)
    xs, carry = inputs(layer, (7,), 4)
    mask = jnp.asarray(np.random.default_rng(1).random((7, 4)) > 0.3) if has_gaps else None

    def all_of():
        def run(*args):
            result = over_time(layer.equations, *args, mask)
            return weighted_loss(result), result

        def curved(scale):
            return weighted_loss(over_time(layer.equations, layer.weights, carry, scale * xs, mask))

        program = jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True)).lower(layer.weights, carry, xs)
        gradients, result = program.compile()(layer.weights, carry, xs)
        return program.as_text().count("while"), result, gradients, jax.jit(jax.hessian(curved))(1.3)

    num_loops, expected, expected_gradients, expected_second = all_of()
    monkeypatch.setattr("jaxcast.nn.over_time_on_cpu._LEAST_BLOCK", 3)  # 3, 3 and 3 of 7: the last two overlap
    monkeypatch.setattr("jaxcast.nn.over_time_on_cpu._BLOCK_BYTES", 1)
    num_more, result, gradients, second = all_of()
    assert num_more > num_loops
    assert_close(result, expected, 1e-14)
    assert_close(gradients, expected_gradients, 1e-12)
    np.testing.assert_allclose(second, expected_second, rtol=1e-11)
