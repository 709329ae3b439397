"""Characters of Shakespeare: a recurrent language model, trained through time with its carry kept from chunk to chunk."""

import dataclasses
import gzip
import math
import time
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.table import Table

import jaxcast
from experiments.frame import open_folder, start
from experiments.language_pictures import losses
from jaxcast import InputError
from jaxcast.cli.entry import make_console
from jaxcast.recurrent.stack import Kind
from jaxcast.storage.checkpoint import named_leaves

MADE = "to be, or not to be, that is the question. " * 60


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a character model on the first nine tenths of a text, report its loss on the last tenth, and let it write."""

    preset: Literal["smoke", "quick", "paper"] = "quick"
    """smoke: for tests, on a made text; quick: a small model, a few minutes; paper: about 15 minutes on two free cores."""
    data: Path | None = None
    """The folder that holds input.txt.gz."""
    out: Path | None = None
    """Folder for config.json, results.json and the pictures; by default runs/language- and the preset's name."""
    overwrite: bool = False
    """Start afresh where the folder holds a run with other settings."""
    seed: int = 0
    """Of initial parameters and dropout."""
    kind: Kind = "lstm"
    """Of the layers."""
    hidden_size: int = 128
    """Of each layer."""
    num_layers: int = 1
    """One above the other."""
    dropout: float = 0.0
    """Of embedding, between layers, and before the softmax."""
    num_streams: int = 64
    """Parts of the text that are read side by side: the batch."""
    chunk_size: int = 64
    """Steps that gradients go back through."""
    num_epochs: int = 4
    """Passes over the text; the best one on the validation part is kept, which was used for this by the published model too."""
    learning_rate: float = 4e-3
    """Of Adam, along a half cosine to zero."""
    clip_norm: float = 5.0
    """Gradients with a larger norm are scaled down to it."""
    temperature: float = 0.8
    """Of the text that is written."""


PRESETS = {
    "smoke": Config(
        preset="smoke", hidden_size=8, num_streams=8, chunk_size=16, num_epochs=2
    ),
    "quick": Config(),
    "paper": Config(
        preset="paper", hidden_size=384, num_layers=2, dropout=0.25, num_streams=64, chunk_size=96, num_epochs=14,
        learning_rate=3e-3,
    ),
}  # fmt: skip
PUBLISHED = {
    "nanoGPT, 6 layers of 384, context 256": 1.4697,
    "nanoGPT on a CPU, 4 layers of 128, context 64": 1.88,
}


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    text = _text(config)
    alphabet = sorted(set(text))
    tokens = np.searchsorted(alphabet, list(text))
    cut = int(0.9 * len(tokens))
    train, valid = tokens[:cut], tokens[cut:]
    folder = open_folder(config, f"runs/language-{config.preset}")

    def compute(checkpoint: Path) -> dict[str, np.ndarray]:
        return _trained(config, train, valid, len(alphabet), checkpoint, console)

    arrays = folder.stage("model", compute)
    rows = [_row(f"unigram counts, add {1}", _counted(train, valid, len(alphabet), 1, pairs=False)),
            _row(f"bigram counts, add {0.1}", _counted(train, valid, len(alphabet), 0.1, pairs=True)),
            _row(f"{config.num_layers} x {config.hidden_size} {config.kind}", float(arrays["loss"]))]  # fmt: skip
    rows += [_row(name, None, loss) for name, loss in PUBLISHED.items()]
    written = "".join(alphabet[token] for token in arrays["written"])
    folder.write_json(
        "results.json",
        {"rows": rows, "perplexity": math.exp(arrays["loss"]), "bits_per_character": float(arrays["loss"]) / math.log(2),
         "num_parameters": int(arrays["num_parameters"]), "validation_losses": arrays["validation_losses"].tolist(),
         "written": written},
    )  # fmt: skip
    folder.save_figure("losses.png", losses(arrays, rows))
    console.print(_table(rows))
    console.print(written, markup=False, highlight=False)
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _trained(
    config: Config, train: np.ndarray, valid: np.ndarray, num_tokens: int, checkpoint: Path, console: Any
) -> dict[str, np.ndarray]:
    def init(key: Any) -> jaxcast.LanguageModel:
        return jaxcast.LanguageModel(
            num_tokens=num_tokens, hidden_size=config.hidden_size, num_layers=config.num_layers, kind=config.kind,
            dropout=config.dropout, key=key,
        )  # fmt: skip

    data = jaxcast.text_streams(train, config.num_streams)
    # Few streams, so that few tokens of the validation part are read without what came before.
    validation = jaxcast.text_streams(valid, 8)
    num_steps = config.num_epochs * (data[0].shape[1] // config.chunk_size)
    optimizer = jaxcast.make_optimizer(
        config.learning_rate, schedule="cosine", num_steps=num_steps, clip_norm=config.clip_norm
    )

    def report(done: int, newest: np.ndarray) -> None:
        console.print(f"epoch {done} of {config.num_epochs}: training loss {newest[0]:.4f}", highlight=False)

    fit = jaxcast.fit_over_time(
        init, data, keys=jax.random.key(config.seed)[None], optimizer=optimizer, num_epochs=config.num_epochs,
        chunk_size=config.chunk_size, loss=jaxcast.cross_entropy, with_key=config.dropout > 0, validation=validation,
        checkpoint=checkpoint, num_reports=config.num_epochs, on_progress=report,
    )  # fmt: skip
    model = jax.tree.map(lambda a: a[0], fit.model)
    prompt = jnp.asarray(valid[:20], jnp.int32)
    written = jaxcast.sample_tokens(model, prompt, 500, temperature=config.temperature, key=jax.random.key(config.seed))
    # The whole validation part at once, its last tokens too.
    loss, _ = jax.jit(jaxcast.cross_entropy)(model, model.init_carry(1), jaxcast.text_streams(valid, 1))
    return {
        "loss": np.asarray(loss),
        "losses": np.asarray(fit.losses[0]),
        "validation_losses": np.asarray(fit.validation_losses[0]),
        "written": np.concatenate([prompt, written]),
        "num_parameters": np.asarray(sum(leaf.size for leaf in named_leaves(model).values())),
    }


def _counted(train: np.ndarray, valid: np.ndarray, num_tokens: int, add: float, *, pairs: bool) -> float:
    """The loss of a model that counts characters, or pairs of them."""
    counts = np.full((num_tokens, num_tokens), float(add))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    if not pairs:
        counts = np.tile(np.bincount(train, minlength=num_tokens) + add, (num_tokens, 1))
    log_p = np.log(counts / counts.sum(1, keepdims=True))
    return float(-log_p[valid[:-1], valid[1:]].mean())


def _row(method: str, loss: float | None, published: float | None = None) -> dict[str, Any]:
    return {"method": method, "horizon": 1, "num_seeds": int(loss is not None), "loss": loss, "published": published}


def _table(rows: list[dict[str, Any]]) -> Table:
    result = Table(title="Validation loss, nats per character", box=box.SIMPLE)
    for name in ("model", "published", "ours"):
        result.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        cells = ("" if row[name] is None else f"{row[name]:.4f}" for name in ("published", "loss"))
        result.add_row(row["method"], *cells)
    return result


def _text(config: Config) -> str:
    if config.data is None:
        if config.preset == "smoke":
            return MADE
        raise InputError("give --data the folder of input.txt.gz, such as ../shared/data/tiny_shakespeare")
    file = config.data / "input.txt.gz"
    try:
        with gzip.open(file, "rt") as opened:
            return opened.read()
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is missing or no text ({error})") from None


if __name__ == "__main__":
    start(main, Config, PRESETS)
