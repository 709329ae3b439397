"""Stacks, both directions, masks, self-attention and training over time, against loops, cut sequences and whole passes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcast
from jaxcast.nn import GRU, LSTM

pytestmark = pytest.mark.slow

KEY = jax.random.key(5)
LENGTHS = (7, 4, 1)
MASK = jnp.arange(7) < jnp.asarray(LENGTHS)[:, None]


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def make_stack(kind="lstm", **options):
    return jaxcast.nn.Stack(kind, input_size=3, hidden_size=4, num_layers=2, key=KEY, dtype=jnp.float64, **options)


def assert_trees_close(a, b, atol=1e-13):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=atol)


def total(tree):
    return sum(jnp.sum(jnp.sin(1.3 + a)) for a in jax.tree.leaves(tree))


@pytest.mark.parametrize(("kind", "bidirectional"), [("lstm", False), ("gru", True)])
def test_padding_is_cutting(kind, bidirectional):
    """Outputs, carries and gradients of padded sequences are those of each sequence alone; what the padding holds is no matter."""
    stack = make_stack(kind, bidirectional=bidirectional, learn_carry=True)
    xs = jnp.where(MASK[..., None], draw(3, 7, 3), jnp.nan)

    def padded(stack):
        carry, outputs = stack(xs, mask=MASK)
        return carry, [outputs[n, :length] for n, length in enumerate(LENGTHS)], outputs

    def cut(stack):
        parts = [stack(xs[n, :length]) for n, length in enumerate(LENGTHS)]
        carry = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[carry for carry, _ in parts])
        return carry, [outputs for _, outputs in parts]

    def all_of(function):
        loss = lambda stack: (lambda result: (total(result[:2]), result))(function(stack))  # noqa: E731
        return jax.jit(jax.grad(loss, has_aux=True))(stack)

    of_padded, (*ours, outputs) = all_of(padded)
    of_cut, expected = all_of(cut)
    assert_trees_close(tuple(ours), expected)
    assert not np.asarray(outputs)[~np.asarray(MASK)].any()
    assert_trees_close(of_padded, of_cut, 1e-12)
    assert any(np.asarray(leaf).any() for layer in of_padded.layers for leaf in jax.tree.leaves(layer))


def test_gaps_leave_the_carry():
    layer = GRU(input_size=3, hidden_size=4, key=KEY, dtype=jnp.float64)
    mask = jnp.asarray([True, False, True, True, False])
    xs = draw(5, 3)
    carry, outputs = layer(xs, mask=mask)
    expected, without = layer(xs[mask])
    assert_trees_close((carry, outputs[mask]), (expected, without))


@pytest.mark.parametrize("skips", [False, True])
def test_a_stack_is_its_layers_in_turn_and_its_steps(skips):
    stack = make_stack(skips=skips, dropout=0.5)
    xs = draw(2, 6, 3)
    below = stack.layers[0](xs)
    above = stack.layers[1](below[1])
    expected = above[1] + (below[1] if skips else 0)
    carry, outputs = stack(xs)
    assert_trees_close((carry, outputs), ((below[0], above[0]), expected))
    state, stepped = stack.init_carry(2), []
    for n in range(6):
        state, output = stack.step(state, xs[:, n])
        stepped.append(output)
    assert_trees_close((state, jnp.stack(stepped, 1)), (carry, outputs))


def test_both_directions_are_a_layer_and_a_layer_of_the_reversed():
    both = jaxcast.nn.Bidirectional("lstm", input_size=3, hidden_size=4, key=KEY, dtype=jnp.float64)
    xs = draw(6, 3)
    _, outputs = both(xs)
    np.testing.assert_allclose(outputs[:, :4], both.forward(xs)[1], atol=1e-14)
    np.testing.assert_allclose(outputs[:, 4:], both.backward(xs[::-1])[1][::-1], atol=1e-14)
    assert not np.allclose(both.forward.bias[...], both.backward.bias[...])


def test_dropout_keeps_the_mean_and_needs_a_key():
    stack = jaxcast.nn.Stack(
        "rnn", input_size=3, hidden_size=4, num_layers=2, dropout=0.25, key=KEY, dtype=jnp.float64, activation="relu"
    )
    # The second layer made the identity, what it lets through is what dropout left of the first.
    stack.layers[1].input_kernel[...] = jnp.eye(4)
    stack.layers[1].recurrent_kernel[...] = jnp.zeros((4, 4))
    stack.layers[1].bias[...] = jnp.zeros(4)
    xs = draw(400, 5, 3)
    plain = stack(xs)[1]
    dropped = stack(xs, key=jax.random.key(1))[1]
    shown = np.asarray(plain) > 0
    ratio = np.asarray(dropped)[shown] / np.asarray(plain)[shown]
    assert set(np.round(ratio, 9)) == {0, round(1 / 0.75, 9)}
    assert abs(ratio.mean() - 1) < 0.05
    assert_trees_close(stack(xs)[1], stack.layers[0](xs)[1])


def test_a_learned_carry_is_where_sequences_begin():
    layer = LSTM(input_size=3, hidden_size=4, key=KEY, learn_carry=True, dtype=jnp.float64)
    layer.learned_carry[...] = draw(2, 4)
    xs = draw(5, 6, 3)
    given = jaxcast.nn.LSTMCarry(*(jnp.tile(part, (5, 1)) for part in draw(2, 4)))
    assert_trees_close(layer(xs), layer(xs, given), 0)
    of_layer = jax.grad(lambda layer: total(layer(xs)))(layer)
    of_given = jax.grad(lambda given: total(layer(xs, given)))(given)
    np.testing.assert_allclose(of_layer.learned_carry[...], jnp.stack(of_given).sum(1), atol=1e-13)


def attention_by_loops(attention, xs, num_heads, causal):
    """The published equation, one head and one step after the other."""
    state = {name: np.asarray(a) for name, a in attention.to_torch().items()}
    length, size = xs.shape
    d = size // num_heads
    q, k, v = np.split(np.asarray(xs) @ state["in_proj_weight"].T + state["in_proj_bias"], 3, -1)
    seen = np.zeros((length, size))
    for p in range(num_heads):
        part = slice(p * d, (p + 1) * d)
        for n in range(length):
            last = n + 1 if causal else length
            score = np.exp([q[n, part] @ k[m, part] / d**0.5 for m in range(last)])
            seen[n, part] = score / score.sum() @ v[:last, part]
    return xs + seen @ state["out_proj.weight"].T + state["out_proj.bias"]


@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_is_its_equation_and_ignores_padding(causal):
    attention = jaxcast.nn.SelfAttention(size=6, num_heads=3, causal=causal, key=KEY, dtype=jnp.float64)
    drawn = {name: draw(*a.shape, seed=2) for name, a in attention.to_torch().items()}
    attention = attention.load_torch(drawn)
    xs = draw(3, 7, 6)
    hidden = jnp.where(MASK[..., None], xs, jnp.nan)
    outputs, weights = attention(hidden, MASK)
    for n, length in enumerate(LENGTHS):
        np.testing.assert_allclose(
            outputs[n, :length], attention_by_loops(attention, xs[n, :length], 3, causal), atol=1e-12
        )
    np.testing.assert_allclose(weights.sum(-1), np.broadcast_to(MASK[:, None], (3, 3, 7)), atol=1e-14)
    assert causal == (not np.triu(weights[0, 0], 1).any())
    gradient = jax.grad(lambda attention: total(attention(hidden, MASK)[0]))(attention)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


SGD = optax.sgd(0.1)


def make_rnn(key):
    return jaxcast.nn.RNN(input_size=2, hidden_size=2, key=key, dtype=jnp.float64)


def stream_loss(rnn, carry, chunk):
    xs, targets = chunk
    carry, outputs = rnn(xs, carry)
    return jnp.mean((outputs - targets) ** 2), carry


def streams(num_steps=12):
    return draw(3, num_steps, 2), draw(3, num_steps, 2, seed=1)


def fit_streams(chunk_size, num_epochs=1, optimizer=SGD, **options):
    return jaxcast.fit(
        streams(), init=make_rnn, keys=KEY[None], optimizer=optimizer, num_epochs=num_epochs, chunk_size=chunk_size,
        loss=stream_loss, **options,
    )  # fmt: skip


def test_one_chunk_is_full_back_propagation_and_chunks_hand_on_the_carry():
    start = make_rnn(jax.random.fold_in(KEY, 0))
    descend = lambda rnn, gradient: jax.tree.map(lambda w, g: w - 0.1 * g, rnn, gradient)  # noqa: E731
    whole = jax.grad(lambda rnn: stream_loss(rnn, None, streams())[0])(start)
    fit = fit_streams(12)
    assert_trees_close(jax.tree.map(lambda a: a[0], fit.models), descend(start, whole), 1e-14)

    rnn, carry, losses = start, start.init_carry(3), []
    for first in (0, 5):
        chunk = jax.tree.map(lambda a, first=first: a[:, first : first + 5], streams())
        (value, end), gradient = jax.value_and_grad(stream_loss, has_aux=True)(rnn, carry, chunk)
        rnn, carry = descend(rnn, gradient), end
        losses.append(value)
    fit = fit_streams(5)
    assert_trees_close(jax.tree.map(lambda a: a[0], fit.models), rnn, 1e-14)
    np.testing.assert_allclose(fit.losses[0, 0], np.mean(losses), rtol=1e-12)


def test_a_learned_carry_is_trained_by_the_first_chunk():
    def make(key):
        return jaxcast.nn.GRU(input_size=2, hidden_size=2, key=key, learn_carry=True, dtype=jnp.float64)

    def from_its_own(gru, chunk):
        return stream_loss(gru, gru.init_carry(3), chunk)

    fit = jaxcast.fit(streams(), init=make, keys=KEY[None], optimizer=SGD, num_epochs=1, chunk_size=6, loss=stream_loss)
    gru = make(jax.random.fold_in(KEY, 0))
    first, second = (jax.tree.map(lambda a, n=n: a[:, n : n + 6], streams()) for n in (0, 6))
    gradient, carry = jax.grad(from_its_own, has_aux=True)(gru, first)
    assert np.abs(gradient.learned_carry[...]).min() > 0
    gru = jax.tree.map(lambda w, g: w - 0.1 * g, gru, gradient)
    gradient = jax.grad(lambda gru: stream_loss(gru, carry, second)[0])(gru)
    gru = jax.tree.map(lambda w, g: w - 0.1 * g, gru, gradient)
    assert_trees_close(jax.tree.map(lambda a: a[0], fit.models), gru, 1e-14)


def test_streams_too_short_for_a_chunk_are_refused():
    with pytest.raises(
        jaxcast.InputError, match=r"expected data with streams .* got lengths \[\(12,\)\] and chunks of 13"
    ):
        fit_streams(13)
    with pytest.raises(
        jaxcast.InputError, match=r"expected validation with streams .* lengths \[\(5,\)\] and chunks of 6"
    ):
        fit_streams(6, validation=streams(5))


UPHILL = optax.sgd(-0.1)


def test_the_best_epoch_is_kept_and_a_seed_stops_without_a_better_one(tmp_path):
    """An optimizer that goes uphill: the first epoch is the best one."""
    long = fit_streams(4, num_epochs=6, optimizer=UPHILL, validation=streams())
    losses = np.asarray(long.validation_losses[0])
    assert (np.diff(losses) > 0).all()
    first = fit_streams(4, num_epochs=1, optimizer=UPHILL)
    assert_trees_close(long.models, first.models, 0)
    stopped = fit_streams(
        4, num_epochs=6, optimizer=UPHILL, validation=streams(), patience=2, checkpoint=tmp_path / "run", num_reports=3
    )
    np.testing.assert_array_equal(stopped.validation_losses[0], [*losses[:3], np.nan, np.nan, np.nan])
    assert_trees_close(stopped.models, first.models, 0)


def test_keys_for_the_loss_are_new_at_every_step():
    def noisy(rnn, carry, chunk, key=None):
        value, carry = stream_loss(rnn, carry, chunk)
        return 0 * value + (0.0 if key is None else jax.random.uniform(key)), carry

    fit = jaxcast.fit(
        streams(), init=make_rnn, keys=KEY[None], optimizer=SGD, num_epochs=4, chunk_size=12, loss=noisy, with_key=True,
        validation=streams(),
    )  # fmt: skip
    assert len(set(np.asarray(fit.losses[0]).tolist())) == 4
    assert not np.asarray(fit.validation_losses).any()


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("expected", "call"),
    [
        ("kind must be one of lstm, gru, rnn, got 'tcn'", lambda: make_stack("tcn")),
        ("dropout must be a probability from 0 to below 1, got 1", lambda: make_stack(dropout=1)),
        ("a carry for each of the 2 layers", lambda: make_stack()(draw(5, 3), ())),
        ("needs whole sequences", lambda: make_stack(bidirectional=True).step(((0, 0), (0, 0)), draw(3))),
        (r"boolean mask .* of shape \(5,\), got float", lambda: make_stack()(draw(5, 3), mask=jnp.ones(5))),
        ("num_heads must divide the size 6, got 4", lambda: jaxcast.nn.SelfAttention(size=6, num_heads=4, key=KEY)),
        (r"with size = 6 and steps, got shape \(5, 3\)", lambda: jaxcast.nn.SelfAttention(size=6, key=KEY)(draw(5, 3))),
        ("expected the arrays in_proj_weight", lambda: jaxcast.nn.SelfAttention(size=6, key=KEY).load_torch({})),
        ("chunks no longer than that, got lengths .* chunks of 13", lambda: fit_streams(13)),
        ("patience must be at least 1 and needs validation data, got 3", lambda: fit_streams(4, patience=3)),
    ],
)
def test_bad_input_is_explained_in_one_line(expected, call):
    with pytest.raises(jaxcast.InputError, match=expected) as error:
        call()
    assert "\n" not in str(error.value)
