"""Characters of Shakespeare: a recurrent language model, trained through time chunk by chunk."""

import dataclasses
import gzip
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich import box
from rich.table import Table

import jaxcast
from experiments.frame import Settings, check_settings, open_folder, start, with_data
from experiments.language.pictures import losses
from jaxcast import InputError
from jaxcast.cli.command import make_console
from jaxcast.errors import shown
from jaxcast.nn.stack import Kind
from jaxcast.pytrees import named_leaves
from jaxcast.training import TrainingOptions

TRAINING = TrainingOptions(num_epochs=2, learning_rate=8e-3, schedule="cosine", warmup_steps=100, clip_norm=1.0)


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Train a character model on the first nine tenths of a text, score it on the last tenth, and sample text from it.

    Presets: smoke, a short made-up text; quick, a small model; paper, what is reported.
    """

    data: Path | None = None
    """The folder of input.txt, gzipped or not. By default tiny_shakespeare in the folder
    that JAXCAST_DATA names, or in shared/data beside the checkout."""
    development: bool = False
    """Train on the first nine tenths of the training part and score on its last tenth, to choose settings."""
    kind: Kind = "lstm"
    """Kind of recurrent layer."""
    hidden_size: int = 128
    """Hidden units of each layer."""
    num_layers: int = 1
    """Number of stacked layers."""
    dropout: float = 0.0
    """Dropout probability of the embedding, between layers, and before the softmax."""
    chunk_size: int = 32
    """Characters of a chunk, through which gradients go back; the carry is kept from chunk to chunk."""
    training: TrainingOptions = TRAINING
    """Training. The parameters after the last epoch are used, whatever the validation loss. With several
    seeds the mean of their probabilities is scored too."""
    adaptation_rate: float = 0.1
    """Learning rate of dynamic evaluation, which learns from each chunk after scoring it."""
    temperature: float = 0.8
    """Sampling temperature of the generated text."""


MADE = "to be, or not to be, that is the question.\n" * 60
"""The text of the smoke preset."""
PRESETS = {
    "smoke": Config(
        preset="smoke",
        hidden_size=16,
        chunk_size=16,
        dropout=0.1,
        training=dataclasses.replace(TRAINING, batch_size=8, num_epochs=10, num_seeds=2, learning_rate=2e-2),
    ),
    "quick": Config(),
    "paper": Config(
        preset="paper",
        hidden_size=512,
        dropout=0.15,
        training=dataclasses.replace(TRAINING, num_seeds=2, num_epochs=8, learning_rate=4e-3),
    ),
}
PUBLISHED = {"nanoGPT, 6 layers of 384, context 256": 1.4697, "nanoGPT on a CPU, 4 layers of 128, context 64": 1.88}
ADAPTATION_CHUNK = 32
NUM_VALIDATION_STREAMS = 16
WRITTEN = 600


class Text(NamedTuple):
    """A text, split.

    Args:
        train: tokens to train on.
        valid: tokens to score.
        alphabet: the tokenizer of both.
    """

    train: np.ndarray
    valid: np.ndarray
    alphabet: jaxcast.text.CharacterTokenizer


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    config = with_data(config, "tiny_shakespeare", "experiments/language/README.md")
    text = _split(MADE if config.data is None else _read(config.data), config.development)
    _check(config, text)
    folder = open_folder(config, f"runs/language-{config.preset}", ("losses.png",))

    def report(done: int, newest: np.ndarray) -> None:
        seconds = f"{time.perf_counter() - began:.0f} s"
        console.print(
            f"epoch {done} of {config.training.num_epochs}: training loss {np.round(newest, 4)}, {seconds}",
            highlight=False,
        )

    trained = folder.stage("training", lambda checkpoint: _trained(config, text, checkpoint, report))
    models = _restored(config, text, trained)
    scores = folder.stage("scores", lambda _: {"log_p": _log_p(models, text.valid)})
    adapted = folder.stage("adapted", lambda checkpoint: _adapted(config, models, text.valid, checkpoint))
    written = folder.stage("text", lambda _: _written(config, models, text))
    rows = _rows(config, text, scores["log_p"], adapted["losses"])
    sample = text.alphabet.decode(written["tokens"])
    sizes = {name: a.shape[1:] for name, a in named_leaves(models).items()}
    folder.write_json(
        "results.json",
        {"rows": rows, "num_parameters": int(sum(np.prod(size) for size in sizes.values())), "text": sample}
        | {name: trained[name].tolist() for name in ("losses", "validation_losses")},
    )
    folder.save_figure("losses.png", losses(trained, rows))
    console.print(sample, markup=False, highlight=False)
    console.print(_table(rows))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _check(config: Config, text: Text) -> None:
    """Checks the settings before anything is written."""
    check_settings(config, may_be_zero=("dropout", "warmup_steps", "weight_decay"))
    for part, num_streams in ((text.train, config.training.batch_size), (text.valid, NUM_VALIDATION_STREAMS)):
        if (len(part) - 1) // num_streams < config.chunk_size:
            raise InputError(
                f"{len(part)} characters are too few for {num_streams} streams of {config.chunk_size} or more; "
                "give fewer or shorter ones, or a longer text"
            )
    jax.eval_shape(_init(config, text), jax.random.key(0))


def _trained(config: Config, text: Text, checkpoint: Path, report: Callable[[int, Any], None]) -> dict[str, np.ndarray]:
    """Trains for a fixed number of epochs; the validation loss is recorded and selects nothing."""
    data = jaxcast.text.text_streams(text.train, config.training.batch_size)
    num_chunks = data[0].shape[1] // config.chunk_size
    # A short text has fewer steps than the warm-up.
    warmup_steps = min(config.training.warmup_steps, config.training.num_epochs * num_chunks - 1)
    options = dataclasses.replace(config.training, warmup_steps=warmup_steps)
    fit = jaxcast.fit(
        data,
        init=_init(config, text),
        keys=_keys(config),
        optimizer=options.optimizer(num_chunks),
        num_epochs=options.num_epochs,
        chunk_size=config.chunk_size,
        loss=jaxcast.text.cross_entropy,
        with_key=config.dropout > 0,
        keep="last",
        validation=jaxcast.text.text_streams(text.valid, NUM_VALIDATION_STREAMS),
        checkpoint=checkpoint,
        num_reports=options.num_epochs,
        on_progress=report,
    )
    return {"losses": fit.losses, "validation_losses": fit.validation_losses, **named_leaves(fit.models)}


def _restored(config: Config, text: Text, arrays: dict[str, np.ndarray]) -> Any:
    """Rebuilds the models, with a leading seed axis on every parameter."""
    like = jax.eval_shape(jax.vmap(_init(config, text)), _keys(config))
    return jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(arrays[name]) for name in named_leaves(like)])


def _init(config: Config, text: Text) -> Callable[[Any], jaxcast.text.LanguageModel]:
    def init(key: Any) -> jaxcast.text.LanguageModel:
        return jaxcast.text.LanguageModel(
            num_tokens=len(text.alphabet.characters),
            hidden_size=config.hidden_size,
            num_layers=config.num_layers,
            kind=config.kind,
            dropout=config.dropout,
            key=key,
        )

    return init


def _keys(config: Config) -> Any:
    return jax.random.split(jax.random.key(config.seed), config.training.num_seeds)


def _log_p(models: Any, tokens: np.ndarray) -> np.ndarray:
    """Computes log p of every character except the first, (seed, token)."""
    num_seeds = len(models.embedding)
    return np.stack([jaxcast.text.log_likelihoods(_one(models, n), tokens) for n in range(num_seeds)])


def _one(models: Any, n: int) -> Any:
    return jax.tree.map(lambda a: a[n], models)


def _adapted(config: Config, models: Any, tokens: np.ndarray, checkpoint: Path) -> dict[str, np.ndarray]:
    """Scores by dynamic evaluation (Krause et al., 2018), here with plain gradient steps.

    One epoch over the one stream that the text is; its loss is the mean of what each chunk scored before its update.
    """
    data = jaxcast.text.text_streams(tokens, 1)
    optimizer = optax.sgd(config.adaptation_rate)
    if config.training.clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(config.training.clip_norm), optimizer)
    fit = jaxcast.fit(
        data,
        init=jaxcast.training.FitResult(models, jnp.zeros(())),
        keys=_keys(config),
        optimizer=optimizer,
        num_epochs=1,
        chunk_size=min(ADAPTATION_CHUNK, data[0].shape[1]),
        loss=jaxcast.text.cross_entropy,
        checkpoint=checkpoint,
    )
    return {"losses": np.asarray(fit.losses[:, 0])}


def _written(config: Config, models: Any, text: Text) -> dict[str, np.ndarray]:
    """Samples text from the first model, after the first character of the validation part."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    prompt = text.valid[:1]
    tokens = jaxcast.text.sample_tokens(_one(models, 0), prompt, WRITTEN, temperature=config.temperature, key=key)
    return {"tokens": np.concatenate([prompt, tokens])}


def _rows(config: Config, text: Text, log_p: np.ndarray, adapted: np.ndarray) -> list[dict[str, Any]]:
    name = f"{config.kind.upper()}, {config.num_layers} of {config.hidden_size}"
    rows = [
        _row("unigram counts, 1 added", [_counted(text, 1, pairs=False)]),
        _row("bigram counts, 0.1 added", [_counted(text, 0.1, pairs=True)]),
        _row(name, -log_p.mean(1)),
        _row(f"{name}, learning on from what it has read", adapted),
    ]
    if config.training.num_seeds > 1:
        mixed = np.logaddexp.reduce(log_p.astype(float), 0) - np.log(len(log_p))
        rows.insert(3, _row(f"{name}, mean probability of {config.training.num_seeds}", [-mixed.mean()]))
    if config.preset == "smoke" or config.development:
        return rows
    empty = {"horizon": 1, "num_seeds": 0, "loss": None}
    return rows + [{"method": name, **empty, "published": loss} for name, loss in PUBLISHED.items()]


def _row(method: str, values: Any) -> dict[str, Any]:
    """Makes the row of a method, with the median over seeds."""
    values = np.asarray(values, float)
    score = jaxcast.text.score_log_likelihoods(-np.median(values, keepdims=True))
    return {
        "method": method,
        "horizon": 1,
        "num_seeds": len(values),
        "loss": float(score.loss),
        "published": None,
        "perplexity": float(score.perplexity),
        "bits_per_character": float(score.bits),
        "loss_per_seed": values.tolist(),
    }


def _counted(text: Text, add: float, *, pairs: bool) -> float:
    """Computes the loss of character or pair counts, with a constant added to each count."""
    size = len(text.alphabet.characters)
    counts = np.full((size, size), float(add))
    if pairs:
        np.add.at(counts, (text.train[:-1], text.train[1:]), 1)
    else:
        counts += np.bincount(text.train, minlength=size)
    log_p = np.log(counts / counts.sum(1, keepdims=True))
    return float(-log_p[text.valid[:-1], text.valid[1:]].mean())


def _table(rows: list[dict[str, Any]]) -> Table:
    result = Table(
        title="Loss on the last tenth, nats per character",
        box=box.SIMPLE,
        caption="medians over seeds; bits per character",
    )
    for name in ("method", "published", "ours", "bits"):
        result.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in rows:
        cells = (row["published"], row["loss"], row.get("bits_per_character"))
        result.add_row(row["method"], *("" if value is None else f"{value:.4f}" for value in cells))
    return result


def _split(text: str, development: bool) -> Text:
    """Splits a text as published: the first 90 %, and the rest; the tokenizer knows all characters."""
    alphabet = jaxcast.text.CharacterTokenizer.of(text)
    tokens = alphabet.encode(text)
    train, valid = np.split(tokens, [int(0.9 * len(tokens))])
    if development:
        train, valid = np.split(train, [int(0.9 * len(train))])
    return Text(train, valid, alphabet)


def _read(folder: Path) -> str:
    files = [file for name in ("input.txt", "input.txt.gz") if (file := folder / name).exists()]
    if not files:
        raise InputError(f"expected input.txt or input.txt.gz in {folder}")
    try:
        raw = files[0].read_bytes()
        text = (gzip.decompress(raw) if files[0].suffix == ".gz" else raw).decode()
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise InputError(f"{shown(files[0])} is not a text file ({shown(error)})") from None
    if len(text) < 1000:
        raise InputError(f"{shown(files[0])} is too short: expected 1000 characters or more, got {len(text)}")
    return text


if __name__ == "__main__":
    start(main, Config, PRESETS)
