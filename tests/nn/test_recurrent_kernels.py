"""The loop over time in one kernel, against the plain program, in Pallas' interpret mode; and where it is chosen."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcast.backends.dispatch import by_platform
from jaxcast.nn import GRU, LSTM, RNN, Bidirectional, over_time
from jaxcast.nn.kernels import gpu, tpu

KINDS = {"lstm": LSTM, "gru_after": GRU, "gru_before": partial(GRU, reset_after=False), "rnn": RNN}
CALLS = {"cuda": "xla.gpu.triton", "tpu": "tpu_custom_call"}
OLD_JAX = jax.__version_info__ < (0, 11)
needs_lowering = pytest.mark.skipif(not OLD_JAX, reason="later ones lower a kernel only where there is the device")


@cache
def make(kind, hidden_size=5, dtype=jnp.float32):
    return KINDS[kind](input_size=3, hidden_size=hidden_size, key=jax.random.key(1), dtype=dtype)


def inputs(layer, batch, num_steps, has_gaps=False):
    """Returns the carry, the inputs and the mask."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), layer.bias.dtype)  # noqa: E731
    carry = jax.tree.map(lambda a: draw(*a.shape), layer.init_carry(batch))
    mask = jnp.asarray(rng.random((batch, num_steps)) > 0.3) if has_gaps else None
    return carry, draw(batch, num_steps, 3), mask


def loss(result):
    """Depends on every output and on the final carry, each differently."""
    return sum(jnp.sum(jnp.cos(jnp.arange(a.size).reshape(a.shape)) * jnp.sin(a)) for a in jax.tree.leaves(result))


def results_and_gradients(layer, carry, xs, mask):
    def run(weights, carry, xs):
        result = over_time.over_time(layer.equations, weights, carry, xs, mask)
        return loss(result), result

    return jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True))(layer.weights, carry, xs)


def assert_close(actual, expected, tolerance=1e-6):
    """Relative to the largest element of each array."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1e-3, np.abs(b).max(initial=0.0)))


@pytest.fixture
def in_kernels(monkeypatch):
    """Returns what runs the kernels of a platform on this CPU from then on."""

    def switch(platform):
        def chosen(default, *args, cpu=None, **special):
            program = special[platform]
            scan = partial(program.keywords["scan"], interpret=True)
            return by_platform(default, *args, cpu=partial(program, scan=scan))

        monkeypatch.setattr("jaxcast.nn.over_time.by_platform", chosen)

    return switch


def check(in_kernels, platform, layer, *arguments):
    expected = results_and_gradients(layer, *arguments)
    in_kernels(platform)
    assert_close(results_and_gradients(layer, *arguments), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("platform", "kind", "has_gaps"), [("cuda", "lstm", True), ("tpu", "gru_after", False)])
def test_outputs_are_those_of_the_plain_program(platform, kind, has_gaps, in_kernels):
    layer = make(kind)
    carry, xs, mask = inputs(layer, 3, 4, has_gaps)
    run = lambda *args: jax.jit(lambda *args: over_time.over_time(layer.equations, *args))(*args)  # noqa: E731
    expected = run(layer.weights, carry, xs, mask)
    in_kernels(platform)
    assert_close(run(layer.weights, carry, xs, mask), expected)


@pytest.mark.slow
@pytest.mark.parametrize("has_gaps", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru_after", "gru_before"])
@pytest.mark.parametrize("platform", CALLS)
def test_gradients_are_those_of_the_plain_program(platform, kind, has_gaps, in_kernels):
    layer = make(kind)
    check(in_kernels, platform, layer, *inputs(layer, 3, 4, has_gaps))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "num_steps", "hidden_size"),
    [(1, 1, 1), (17, 2, 16), (33, 1, 64), (130, 5, 50), (16, 3, 100), (2, 70, 128)],
)
@pytest.mark.parametrize("kind", ["lstm", "gru_after"])
@pytest.mark.parametrize("platform", CALLS)
def test_sizes(platform, kind, batch, num_steps, hidden_size, in_kernels):
    layer = make(kind, hidden_size)
    check(in_kernels, platform, layer, *inputs(layer, batch, num_steps, has_gaps=batch == 17))


@pytest.mark.slow
def test_on_a_tpu_there_may_be_many_chunks_of_steps(in_kernels, monkeypatch):
    monkeypatch.setattr("jaxcast.nn.kernels.tpu._MOST_NUMBERS", 3 * 3 * 128 * 11)
    layer = make("lstm")
    check(in_kernels, "tpu", layer, *inputs(layer, 3, 7, has_gaps=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru_after"])
@pytest.mark.parametrize("platform", CALLS)
def test_stacked_layers_and_both_directions(platform, kind, in_kernels):
    """Layers stacked by `jax.vmap` share the inputs; a bidirectional layer turns them, and the mask."""

    def init(key):
        return KINDS[kind](input_size=3, hidden_size=5, key=key)

    def run(layers, both, xs, mask):
        results = jax.vmap(lambda layer: layer(xs, mask=mask))(layers), both(xs, mask=mask)
        return loss(results), results

    layers = jax.vmap(init)(jax.random.split(jax.random.key(0), 3))
    both = Bidirectional(kind[:4].rstrip("_"), input_size=3, hidden_size=4, key=jax.random.key(2))
    _, xs, mask = inputs(make(kind), 2, 4, has_gaps=True)
    all_of = lambda: jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True))(layers, both, xs, mask)  # noqa: E731
    expected = all_of()
    jax.clear_caches()
    in_kernels(platform)
    assert_close(all_of(), expected)
    jax.clear_caches()


def lowered(platform, layer, batch=3, *, train=False):
    def run(layer, xs):
        return jax.grad(lambda layer: loss(layer(xs)))(layer) if train else layer(xs)

    traced = jax.jit(run).trace(layer, jnp.ones((batch, 9, 3), layer.bias.dtype))
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.slow
@needs_lowering
@pytest.mark.parametrize("platform", CALLS)
def test_one_kernel_takes_all_steps_in_each_direction(platform):
    text = lowered(platform, make("lstm"), train=True)
    assert text.count(CALLS[platform]) == 2
    assert "stablehlo.while" not in text


@pytest.mark.parametrize(
    ("kind", "hidden_size", "dtype", "batch", "precision", "platforms"),
    [
        ("lstm", gpu.MOST_UNITS, jnp.float32, 1, None, ("cuda", "tpu")),
        ("gru_before", 5, jnp.float32, 0, None, ()),
        ("lstm", 5, jnp.float64, 3, None, ()),
        ("rnn", 5, jnp.float32, 3, None, ()),
        ("lstm", gpu.MOST_UNITS + 1, jnp.float32, 3, "default", ("tpu",)),
        ("lstm", 5, jnp.float32, 3, "high", ("cuda",)),
        ("lstm", gpu.MOST_UNITS_PRECISELY + 1, jnp.float32, 3, "highest", ("tpu",)),
        ("gru_after", gpu.MOST_UNITS_PRECISELY, jnp.float32, 3, "highest", ("cuda", "tpu")),
        ("gru_after", tpu.MOST_UNITS + 1, jnp.float32, 3, None, ()),
    ],
)
def test_a_kernel_runs_where_the_layer_fits_it(kind, hidden_size, dtype, batch, precision, platforms):
    layer = make(kind, hidden_size, dtype)
    with jax.default_matmul_precision(precision):
        assert over_time.chosen_kernels(layer.equations, layer.weights, batch) == platforms


@needs_lowering
def test_without_a_kernel_the_program_is_as_before():
    text = lowered("cuda", make("rnn"))
    assert CALLS["cuda"] not in text
    assert "stablehlo.while" in text


@pytest.mark.parametrize("platform", CALLS)
def test_products_in_a_kernel_have_the_precision_asked_for(platform, monkeypatch):
    layer = make("gru_after")
    arguments = inputs(layer, 3, 4)
    texts = []

    def chosen(default, *args, cpu=None, **special):
        texts.append(str(jax.make_jaxpr(special[platform])(*args)))
        return default(*args)

    monkeypatch.setattr("jaxcast.nn.over_time.by_platform", chosen)
    with jax.default_matmul_precision("highest"):
        jax.eval_shape(lambda *args: results_and_gradients(layer, *args), *arguments)
    in_full = [text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") for text in texts]
    assert in_full == [text.count("dot_general[") for text in texts] == [4, 6]
