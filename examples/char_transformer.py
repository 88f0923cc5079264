"""A small transformer that learns to write Python: python examples/char_transformer.py.

It predicts the next character in the sources of Python's standard library, which every Python has.
Ten times in a run it prints a sample of its own. The baseline is a bigram model, the table of how
often one character follows another.
"""

import ast
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import command_line
import matplotlib.pyplot as plt
import numpy as np
from command_line import count_steps, whole
from matplotlib.figure import Figure

from tinynet import (
    AdamW,
    Array,
    Dense,
    Embedding,
    InputError,
    LayerNorm,
    PositionalEmbedding,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    TransformerBlock,
    softmax,
)
from tinynet.callbacks import Callback, ProgressBar
from tinynet.optimizers.schedules import OneCycle
from tinynet.plots.style import BLUE, GREY, VERMILION

HELD_OUT = 0.1  # of the text, its end, for validation
RARE = 20  # a character that occurs less often is replaced
SAMPLE = 200  # characters of a sample
TEMPERATURE = 0.8  # of the samples: below 1, probable characters become more probable


def build_network(characters: int, options: Namespace) -> Sequential:
    """The network: tokens (N, T) -> logits (N, T, characters), T up to the context."""
    width, rng = options.width, np.random.default_rng(options.seed)
    return Sequential(
        [
            Embedding(characters, width, rng=rng),
            PositionalEmbedding(options.context, width, rng=rng),
            *(
                TransformerBlock(width, options.heads, causal=True, rng=rng)
                for _ in range(options.blocks)
            ),
            LayerNorm(width),
            Dense(width, characters, rng=rng),
        ]
    )


class Text(NamedTuple):
    """A text as tokens, one for each character, in two parts."""

    characters: str  # the index of a character is its token; 0 is for rare ones
    train: Array  # (length,)
    test: Array


def standard_library() -> str:
    """The sources of the standard library, one module after the other, without packages."""
    folder = Path(ast.__file__).parent
    paths = sorted(p for p in folder.glob("[a-z]*.py") if p.stem in sys.stdlib_module_names)
    return "\n".join(path.read_text(encoding="utf-8", errors="ignore") for path in paths)


def prepare(source: str, context: int) -> Text:
    """The tokens of a text, split into a training part and a held-out one.

    Raises:
        InputError: a part has no more characters than the context.
    """
    symbols, counts = np.unique(list(source), return_counts=True)
    characters = "\N{REPLACEMENT CHARACTER}" + "".join(symbols[counts >= RARE])
    tokens = encode(characters, source)
    end = int(len(tokens) * (1 - HELD_OUT))
    if len(tokens) - end <= context:
        least = int((context + 1) / HELD_OUT)
        raise InputError(f"expected a text of at least {least:,} characters, got {len(tokens):,}")
    return Text(characters, tokens[:end], tokens[end:])


def encode(characters: str, source: str) -> Array:
    """The tokens of a text."""
    tokens = {character: token for token, character in enumerate(characters)}
    return np.array([tokens.get(character, 0) for character in source], np.int64)


def windows(tokens: Array, length: int) -> tuple[Array, Array]:
    """Windows (N, length) of a text, and for each character the one that follows it."""
    pieces = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::length]
    return pieces[:, :-1], pieces[:, 1:]


def bigram_loss(text: Text) -> float:
    """The mean -log p(b | a) of the held-out text, in nats, with p from counts of the rest.

    Every pair counts once more than it occurs (Laplace smoothing), so that no p is 0.
    """
    counts = np.ones((len(text.characters),) * 2)
    np.add.at(counts, (text.train[:-1], text.train[1:]), 1)
    log_p = np.log(counts / counts.sum(axis=1, keepdims=True))
    return float(-log_p[text.test[:-1], text.test[1:]].mean())


class Writer(Callback):
    """Prints a sample of the network ten times in a run."""

    def __init__(self, characters: str, options: Namespace, steps: int) -> None:
        self.characters, self.options, self.every = characters, options, max(steps // 10, 1)
        self.rng = np.random.default_rng(options.seed)

    def on_step_end(self, trainer: Trainer) -> None:
        """Prints a sample after every tenth of the steps."""
        if trainer.step % self.every == 0:
            print(f"\nafter {trainer.step} steps, loss {trainer.history.steps['loss'][-1]:.3f}:")
            print("    | " + self.sample(trainer).replace("\n", "\n    | "))

    def sample(self, trainer: Trainer) -> str:
        """The start and then characters that are drawn from the predicted probabilities."""
        tokens = encode(self.characters, self.options.start).tolist()
        for _ in range(SAMPLE):
            context = np.array([tokens[-self.options.context :]])
            logits = trainer.predict(context)[0, -1].astype(np.float64)
            tokens.append(self.rng.choice(logits.size, p=softmax(logits / TEMPERATURE)))
        return "".join(self.characters[token] for token in tokens)


def train_network(network: Sequential, text: Text, options: Namespace) -> Trainer:
    """Trains the network to predict the next character at every position of a window."""
    x, y = windows(text.train, options.context)
    steps = count_steps(options, len(x))
    rate = OneCycle(options.learning_rate, steps=steps, warm_up=0.1)
    optimizer = AdamW(network.parameters(), rate, clip_norm=1.0)
    trainer = Trainer(network, SoftmaxCrossEntropy(), optimizer, seed=options.seed)
    trainer.fit(
        x,
        y,
        epochs=options.epochs,
        batch_size=options.batch_size,
        validation=windows(text.test, options.context),
        callbacks=[Writer(text.characters, options, steps), ProgressBar()],
    )
    return trainer


def draw(trainer: Trainer, baseline: float) -> Figure:
    """The loss of each step, and the loss of the bigram model."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    losses = trainer.history.steps["loss"]
    axis.plot(range(1, len(losses) + 1), losses, color=BLUE, linewidth=0.6, label="each step")
    held_out = trainer.history.epochs["validation_loss"]
    ends = np.linspace(0, len(losses), len(held_out) + 1)[1:]
    axis.plot(ends, held_out, "o-", color=VERMILION, label="held-out text, after an epoch")
    axis.axhline(baseline, color=GREY, linestyle="--", label="bigram model, held-out text")
    axis.set(xlabel="step", ylabel="loss, nats per character", ylim=(0, None))
    axis.legend()
    return figure


def parse(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = command_line.ExampleParser(
        "Train a small transformer to write Python.", epochs=4, batch_size=32, learning_rate=3e-3
    )
    add = parser.add_argument
    add("--text", type=Path, help="a text file (default: Python's standard library)")
    add("--characters", type=whole, default=1_500_000, help="of the text (default 1500000)")
    add("--context", type=whole, default=64, help="characters of a window (default 64)")
    add("--width", type=whole, default=64, help="features of a character (default 64)")
    add("--heads", type=whole, default=4, help="of attention (default 4)")
    add("--blocks", type=whole, default=2, help="of the transformer (default 2)")
    add("--start", default="def ", help='first characters of a sample (default "def ")')
    return parser.parse(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, trains, samples and compares."""
    options = parse(arguments)
    source = options.text.read_text(encoding="utf-8") if options.text else standard_library()
    source = source[: options.characters]
    text = prepare(source, options.context)
    print(f"{len(source):,} characters, {len(text.characters)} different ones")
    network = build_network(len(text.characters), options)
    network.summary((1, options.context))
    trainer = train_network(network, text, options)
    loss = trainer.evaluate(*windows(text.test, options.context))["loss"]
    baseline = bigram_loss(text)
    print(f"\nheld-out text: {loss:.3f} nats per character, a bigram model {baseline:.3f}")
    which = "better" if loss < baseline else "worse"
    print(f"the transformer is {which} by {abs(baseline - loss):.3f} nats")
    command_line.save(options.output, {"char_transformer": draw(trainer, baseline)})


if __name__ == "__main__":
    command_line.run(main)
