"""The language model against plain loops, closed forms and counts; the experiment's smoke preset runs in .ci/run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcast
from experiments.language import __main__ as language
from jaxcast.training import TrainingOptions
from tests.real_data import real_data

SIZES = {"num_tokens": 5, "hidden_size": 6, "num_layers": 2, "embedding_size": 4, "dtype": jnp.float64}


def make_model(key=None, **options):
    key = jax.random.key(0) if key is None else key
    return jaxcast.text.LanguageModel(**SIZES | options, key=key)


@pytest.fixture(scope="module")
def model():
    """Its logits are far from equal."""
    model = make_model(jax.random.key(1))
    model.readout.kernel[...] *= 5
    model.embedding[...] *= 5
    return model


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(5, size=41)


def loop_loss(model, carry, seen, followed):
    """The loss of one text, token by token, and the carry after it."""
    losses = []
    for token, target in zip(jnp.asarray(seen), followed, strict=True):
        carry, logits = model.step(carry, token)
        losses.append(-jnp.log(jnp.exp(logits[target]) / jnp.exp(logits).sum()))
    return sum(losses) / len(losses), carry


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("lstm", marks=pytest.mark.slow), "gru"])
def test_loss_and_gradient_are_those_of_a_loop_over_tokens(kind, tokens):
    model = make_model(kind=kind)
    seen, followed = jnp.asarray(tokens[:6]), jnp.asarray(tokens[1:7])
    carry = model.init_carry()
    (loss, after), gradient = jax.value_and_grad(jaxcast.text.cross_entropy, has_aux=True)(
        model, carry, (seen, followed)
    )
    (expected, last), wanted = jax.jit(jax.value_and_grad(loop_loss, has_aux=True))(model, carry, seen, followed)
    for got, oracle in zip(*map(jax.tree.leaves, ((loss, after, gradient), (expected, last, wanted))), strict=True):
        np.testing.assert_allclose(got, oracle, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [20, 10])
def test_an_epoch_hands_the_carry_on_and_stops_its_gradient(chunk_size, tokens):
    seen, followed = jaxcast.text.text_streams(tokens, 2)
    assert seen.shape == (2, 20)
    model = make_model(jax.random.fold_in(jax.random.key(3), 0))
    fit = jaxcast.fit(
        (seen, followed), init=make_model, keys=jax.random.key(3)[None], optimizer=optax.sgd(0.5), num_epochs=1,
        chunk_size=chunk_size, loss=jaxcast.text.cross_entropy,
    )  # fmt: skip
    carry, losses = model.init_carry(2), []
    for start in range(0, 20, chunk_size):
        chunk = (seen[:, start : start + chunk_size], followed[:, start : start + chunk_size])
        (loss, carry), gradient = jax.value_and_grad(jaxcast.text.cross_entropy, has_aux=True)(model, carry, chunk)
        model = jax.tree.map(lambda a, g: a - 0.5 * g, model, gradient)
        losses.append(loss)
    np.testing.assert_allclose(fit.losses[0], [np.mean(losses)], rtol=1e-12)
    for got, oracle in zip(jax.tree.leaves(fit.models), jax.tree.leaves(model), strict=True):
        np.testing.assert_allclose(got[0], oracle, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
def test_chunks_of_any_size_score_a_text_as_one_long_pass_does(model, tokens):
    expected, _ = loop_loss(model, model.init_carry(), tokens[:-1], tokens[1:])
    whole = jaxcast.text.log_likelihoods(model, tokens)
    np.testing.assert_allclose(-whole.mean(), expected, rtol=1e-12)
    np.testing.assert_allclose(jaxcast.text.log_likelihoods(model, tokens, chunk_size=7), whole, rtol=1e-12)


def test_a_known_distribution_has_its_entropy():
    log_p = np.log([1 / 2] * 4 + [1 / 4] * 2 + [1 / 8] * 2)  # each as often as it is likely
    score = jaxcast.text.score_log_likelihoods(log_p)
    np.testing.assert_allclose(score, [1.75 * np.log(2), 2**1.75, 1.75], rtol=1e-12)


@pytest.mark.slow
def test_a_cold_model_writes_the_likeliest_tokens(model):
    carry, expected = model.init_carry(), []
    for token in (3, 1):
        carry, logits = model.step(carry, jnp.asarray(token))
    for _ in range(12):
        expected.append(int(jnp.argmax(logits)))
        carry, logits = model.step(carry, jnp.asarray(expected[-1]))
    written = jaxcast.text.sample_tokens(model, [3, 1], 12, temperature=1e-6, key=jax.random.key(0))
    assert written.tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.slow
def test_tokens_are_written_as_often_as_they_are_likely(model, count_compilations):
    prompt, num = jnp.asarray([3, 1]), 4000

    @jax.jit
    def write(temperature, keys):
        return jax.vmap(lambda k: jaxcast.text.sample_tokens(model, prompt, 2, temperature=temperature, key=k))(keys)

    keys = jax.random.split(jax.random.key(1), num)
    write(1.0, keys).block_until_ready()
    count_compilations()
    written = np.asarray(write(2.0, keys))
    assert count_compilations() == 0
    _, logits = model(prompt)
    first = jax.nn.softmax(logits[-1] / 2)
    after = jax.vmap(lambda token: jax.nn.softmax(model(jnp.append(prompt, token))[1][-1] / 2))(jnp.arange(5))
    for got, p in ((written[:, 0], first), (written[:, 1], first @ after)):
        deviation = np.sqrt(p * (1 - p) / num)
        assert np.all(np.abs(np.bincount(got, minlength=5) / num - p) < 4 * deviation)


@pytest.mark.slow
def test_dropout_needs_a_key_and_keeps_the_mean(tokens):
    model = make_model(dropout=0.5)
    text = jnp.asarray(tokens)
    logits = model(text)[1]
    np.testing.assert_array_equal(logits, make_model()(text)[1])
    assert not np.allclose(model(text, key=jax.random.key(0))[1], logits)
    # A readout alone is linear, so that its mean over masks is what it is without one.
    keys = jax.random.split(jax.random.key(0), 20_000)
    dropped = jax.vmap(lambda key: jaxcast.nn.dropout.drop(jnp.arange(4.0), 0.25, key))(keys)
    np.testing.assert_allclose(dropped.mean(0), np.arange(4.0), atol=0.05)
    assert set(np.unique(dropped[:, 3])) == {0.0, 4.0}


def test_text_goes_through_its_alphabet_and_back():
    alphabet = jaxcast.text.CharacterTokenizer.of("hello, world")
    assert alphabet.characters == " ,dehlorw"
    assert alphabet.decode(alphabet.encode("hold her, hello")) == "hold her, hello"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: jaxcast.text.text_streams([0, 1, 2], 3), "3 tokens cannot be cut into 3 streams"),
        (lambda m: jaxcast.text.text_streams([0.5, 1.0], 1), "integer tokens .token,., got float64"),
        (lambda m: jaxcast.text.log_likelihoods(m, [0]), "at least 2 integer tokens"),
        (lambda m: jaxcast.text.log_likelihoods(m, [0, 5]), "tokens from 0 to 4, got 0 to 5"),
        (lambda m: jaxcast.text.log_likelihoods(m, [0, 1], chunk_size=0), "chunk_size"),
        (lambda m: jaxcast.text.sample_tokens(m, [], 3, key=jax.random.key(0)), "at least 1 integer tokens"),
        (lambda m: jaxcast.text.sample_tokens(m, [-1], 3, key=jax.random.key(0)), "got -1 to -1"),
        (lambda m: jaxcast.text.sample_tokens(m, [0], 0, key=jax.random.key(0)), "num_tokens"),
        (lambda m: jaxcast.text.sample_tokens(m, [0], 3, temperature=0.0, key=jax.random.key(0)), "positive, finite number, got 0"),
        (lambda m: jaxcast.text.sample_tokens(m, [0], 3, temperature=np.ones(2), key=jax.random.key(0)), "a positive, finite number"),
        (lambda m: jaxcast.text.text_streams([0, 2**33, 1], 1), "expected tokens from 0 to 2147483647"),
        (lambda m: jaxcast.text.score_log_likelihoods([]), "at least one token, got none"),
        (lambda m: jaxcast.text.CharacterTokenizer("abca"), "different characters, got 'abca'"),
        (lambda m: jaxcast.text.CharacterTokenizer("abc").encode("abd"), "that the tokenizer does not know: 'd'"),
        (lambda m: jaxcast.text.CharacterTokenizer("abc").decode([0, 3]), "tokens from 0 to 2, got 0 to 3"),
        (lambda m: make_model(num_tokens=0), "num_tokens"),
        (lambda m: make_model(dropout=1.0), "dropout must be"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(call, message, model, refused_in_one_line, without_type_checks, tmp_path):
    with refused_in_one_line(tmp_path, message):
        call(model)


def test_the_experiment_tells_what_is_wrong_with_its_data(refused_in_one_line, tmp_path, monkeypatch):
    def run(**options):
        language.main(language.Config(**{"data": tmp_path, "out": tmp_path / "out"} | options))

    monkeypatch.setenv("JAXCAST_DATA", str(tmp_path))
    with refused_in_one_line(
        tmp_path, "give --data, or set JAXCAST_DATA to the folder that has tiny_shakespeare in it"
    ):
        run(data=None)
    with refused_in_one_line(tmp_path, "expected input.txt or input.txt.gz in"):
        run()
    (tmp_path / "input.txt.gz").write_bytes(b"no archive")
    with refused_in_one_line(tmp_path, "is not a text file"):
        run()
    (tmp_path / "input.txt").write_text("too short")
    with refused_in_one_line(tmp_path, "1000 characters or more, got 9"):
        run()
    (tmp_path / "input.txt").write_text("to be or not " * 100)
    with refused_in_one_line(tmp_path, "num_seeds must be positive, got 0"):
        run(training=TrainingOptions(num_seeds=0))
    with refused_in_one_line(tmp_path, "1170 characters are too few for 64 streams of 32 or more"):
        run()
    with refused_in_one_line(tmp_path, "130 characters are too few for 16 streams of 32 or more"):
        run(training=TrainingOptions(batch_size=2))
    with refused_in_one_line(tmp_path, "dropout must be a probability"):
        run(training=TrainingOptions(batch_size=2), chunk_size=8, dropout=1.0)


def test_naive_rows_are_the_counted_ones_of_the_data():
    folder = real_data("tiny_shakespeare/input.txt.gz").parent
    text = language._split(language._read(folder), development=False)
    assert (len(text.train), len(text.valid), len(text.alphabet.characters)) == (1_003_854, 111_540, 65)
    assert language._counted(text, 1, pairs=False) == pytest.approx(3.3473, abs=5e-5)
    assert language._counted(text, 0.1, pairs=True) == pytest.approx(2.4838, abs=5e-5)


def test_rows_hold_medians_and_the_mean_of_probabilities():
    text = language._split("abab" * 300, development=False)
    log_p = np.log([[0.5, 0.5], [0.25, 1.0]])
    rows = language._rows(language.Config(training=TrainingOptions(num_seeds=2)), text, log_p, np.asarray([0.3, 0.5]))
    assert [row["published"] for row in rows[-2:]] == list(language.PUBLISHED.values())
    own, mixed, adapted = (row["loss"] for row in rows[2:5])
    assert own == pytest.approx((np.log(2) + np.log(4) / 2) / 2)
    assert mixed == pytest.approx(-np.log([0.375, 0.75]).mean())
    assert adapted == pytest.approx(0.4)


@pytest.mark.slow
def test_the_last_models_are_kept_where_asked_for(tokens):
    streams = jaxcast.text.text_streams(tokens, 2)
    # What is learned makes what is validated unlikely.
    validation = tuple(4 - part for part in streams)
    optimizer = optax.sgd(5.0)

    def run(keep):
        return jaxcast.fit(
            streams, init=make_model, keys=jax.random.key(0)[None], optimizer=optimizer, num_epochs=9, chunk_size=20,
            loss=jaxcast.text.cross_entropy, validation=validation, keep=keep,
        )  # fmt: skip

    def loss_of(fit):
        model = jax.tree.map(lambda a: a[0], fit.models)
        return jaxcast.text.cross_entropy(model, model.init_carry(2), validation)[0]

    last, best = run("last"), run("best")
    losses = best.validation_losses[0]
    np.testing.assert_array_equal(last.validation_losses[0], losses)
    assert losses.min() < losses[-1]
    np.testing.assert_allclose([loss_of(last), loss_of(best)], [losses[-1], losses.min()], rtol=1e-12)
    with pytest.raises(jaxcast.InputError, match="keep must be best or last, got 'first'"):
        jaxcast.training.fitting.check_validation(validation, None, "first")
