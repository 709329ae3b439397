# %% [markdown]
# # Recurrent layers and a language model
#
# ## Layers
#
# A layer runs over whole sequences, or one step at a time, with the same weights.

# %%
import inspect

import jax
import jaxcast
import matplotlib.pyplot as plt
import optax

lstm = jaxcast.nn.LSTM(input_size=3, hidden_size=8, key=jax.random.key(0))
sequences = jax.random.normal(
    jax.random.key(1), (32, 20, 3)
)  # batch, time, input
carry, outputs = lstm(sequences)
carry, output = lstm.step(carry, sequences[:, 0])  # one more step
outputs.shape, output.shape

# %% [markdown]
# Layers can be stacked (`jaxcast.nn.Stack`) and run in both directions (`Bidirectional`). Weights
# of PyTorch's layers can be loaded, and outputs agree with PyTorch's to rounding.
#
# ## A text
#
# A language model of characters learns to continue a text. Ours is all docstrings of jaxcast, which
# are always at hand.

# %%
namespaces = [
    jaxcast.dynamics,
    jaxcast.pooling,
    jaxcast.series,
    jaxcast.hub,
    jaxcast.scores,
]
things = {
    thing
    for part in namespaces
    for thing in vars(part).values()
    if callable(thing)
}
docs = sorted(inspect.getdoc(thing) or "" for thing in things)
text = "\n\n".join(docs)
tokenizer = jaxcast.text.CharacterTokenizer.of(text)
tokens = tokenizer.encode(text)
print(f"{len(tokens)} characters of {len(tokenizer.characters)} kinds")

# %% [markdown]
# ## Train over time
#
# `text_streams` cuts the text into parallel streams, and pairs each character with the next.
# With `chunk_size`, `fit` trains by truncated back-propagation: gradients go back through 32
# characters, and the carry is kept from chunk to chunk.

# %%
train, validation = tokens[:-8000], tokens[-8000:]


def init(key):
    return jaxcast.text.LanguageModel(
        num_tokens=len(tokenizer.characters),
        hidden_size=96,
        num_layers=1,
        key=key,
    )


fit = jaxcast.fit(
    jaxcast.text.text_streams(train, 16),
    init=init,
    loss=jaxcast.text.cross_entropy,
    validation=jaxcast.text.text_streams(validation, 4),
    keys=jax.random.key(0)[None],
    optimizer=optax.adam(4e-3),
    num_epochs=6,
    chunk_size=32,
)

# %% Loss by epoch
figure, axes = plt.subplots(figsize=(6, 2.8))
losses = {"training": fit.losses, "validation": fit.validation_losses}
_ = jaxcast.plotting.plot_losses(axes, losses, loss_label="nats per character")

# %% [markdown]
# ## Sample
#
# A language model is a cell like any other (`TokenCell`), and sampling is its closed loop.

# %%
model = jax.tree.map(lambda leaf: leaf[0], fit.models)
prompt = tokenizer.encode("Returns the ")
sample = jaxcast.text.sample_tokens(
    model, prompt, 200, temperature=0.6, key=jax.random.key(1)
)
print("Returns the " + tokenizer.decode(sample))

# %% [markdown]
# A larger model of this kind reaches the loss of nanoGPT on Tiny Shakespeare:
# [Language](../results/language/index.md).
