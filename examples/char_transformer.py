"""Train a small transformer to write Python, one character after the other.

Run it: python examples/char_transformer.py

It reads the sources of Python's own standard library, which every Python brings along, and learns
to say which character comes next. Now and then it writes a few lines of its own. What it has
learned is held against a table of pairs: how often does b follow a?
"""

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import command_line
import matplotlib.pyplot as plt
import numpy as np
from command_line import positive, whole
from matplotlib.figure import Figure

from tinynet import (
    AdamW,
    Array,
    Dense,
    Embedding,
    LayerNorm,
    PositionalEmbedding,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    TransformerBlock,
    softmax,
)
from tinynet.callbacks import ProgressBar
from tinynet.optimizers.schedules import OneCycle
from tinynet.training.callback import Callback

HELD_OUT = 0.1  # of the text, its end: nobody learns from it
RARE = 20  # a character that occurs less often is not learned
TEMPERATURE = 0.8  # below 1 it writes what it is a little surer of


class Text(NamedTuple):
    """A text as numbers, one for each character."""

    characters: str  # the number of a character is its place here; 0 is for rare ones
    train: Array  # (length,)
    test: Array


def standard_library() -> str:
    """The sources of the standard library, one module behind the other, without packages."""
    folder = Path(ast.__file__).parent
    paths = sorted(p for p in folder.glob("[a-z]*.py") if p.stem in sys.stdlib_module_names)
    return "\n".join(path.read_text(encoding="utf-8", errors="ignore") for path in paths)


def prepare(source: str) -> Text:
    """Numbers for the characters of a text, and the text in two parts."""
    symbols, counts = np.unique(list(source), return_counts=True)
    characters = "\N{REPLACEMENT CHARACTER}" + "".join(symbols[counts >= RARE])
    tokens = encode(characters, source)
    end = int(len(tokens) * (1 - HELD_OUT))
    return Text(characters, tokens[:end], tokens[end:])


def encode(characters: str, source: str) -> Array:
    """The numbers of a text."""
    places = {character: place for place, character in enumerate(characters)}
    return np.array([places.get(character, 0) for character in source], np.int64)


def windows(tokens: Array, length: int) -> tuple[Array, Array]:
    """Pieces (N, length) of a text, and for each character the one that follows it."""
    pieces = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::length]
    return pieces[:, :-1], pieces[:, 1:]


def bigram_loss(text: Text) -> float:
    """The mean -log p(b | a) of the held-out text, in nats, with p counted in the rest.

    Every pair counts once more than it occurs, so that none is impossible.
    """
    counts = np.ones((len(text.characters),) * 2)
    np.add.at(counts, (text.train[:-1], text.train[1:]), 1)
    log_p = np.log(counts / counts.sum(axis=1, keepdims=True))
    return float(-log_p[text.test[:-1], text.test[1:]].mean())


def build_network(characters: int, options: argparse.Namespace) -> Sequential:
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


class Writer(Callback):
    """Prints what the network writes, ten times in a run."""

    def __init__(self, characters: str, options: argparse.Namespace, steps: int) -> None:
        self.characters, self.options, self.every = characters, options, max(steps // 10, 1)
        self.rng = np.random.default_rng(options.seed)

    def on_step_end(self, trainer: Trainer) -> None:
        """Writes, when it is time."""
        if trainer.step % self.every == 0:
            print(f"\nafter {trainer.step} steps, loss {trainer.history.steps['loss'][-1]:.3f}:")
            print("    | " + self.write(trainer, 200).replace("\n", "\n    | "))

    def write(self, trainer: Trainer, length: int) -> str:
        """So many characters, each drawn from the probabilities that the network gives it."""
        tokens = encode(self.characters, self.options.start).tolist()
        for _ in range(length):
            context = np.array([tokens[-self.options.context :]])
            logits = trainer.predict(context)[0, -1].astype(np.float64)
            tokens.append(self.rng.choice(logits.size, p=softmax(logits / TEMPERATURE)))
        return "".join(self.characters[token] for token in tokens)


def curve(trainer: Trainer, baseline: float) -> Figure:
    """The loss of each step, and what the table of pairs reaches."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    losses = trainer.history.steps["loss"]
    axis.plot(range(1, len(losses) + 1), losses, color="#0072B2", linewidth=0.6, label="each step")
    held_out = trainer.history.epochs["validation_loss"]
    ends = np.linspace(0, len(losses), len(held_out) + 1)[1:]
    axis.plot(ends, held_out, "o-", color="#D55E00", label="held-out text, after an epoch")
    axis.axhline(baseline, color="#595959", linestyle="--", label="table of pairs, held-out text")
    axis.set(xlabel="step", ylabel="loss, nats per character", ylim=(0, None))
    axis.legend()
    return figure


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_line.ExampleParser("Train a small transformer to write Python.", epochs=4)
    add = parser.add_argument
    add("--text", type=Path, help="a text file (default: Python's standard library)")
    add("--characters", type=whole, default=1_500_000, help="of the text (default 1500000)")
    add("--context", type=whole, default=64, help="characters it looks back on (default 64)")
    add("--width", type=whole, default=64, help="features of a character (default 64)")
    add("--heads", type=whole, default=4, help="of attention (default 4)")
    add("--blocks", type=whole, default=2, help="of the transformer (default 2)")
    add("--batch-size", type=whole, default=32, help="pieces of text a step (default 32)")
    add("--learning-rate", type=positive, default=3e-3, help="the highest (default 0.003)")
    add("--start", default="def ", help='what it goes on from (default "def ")')
    return parser.parse(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, trains, writes and compares."""
    options = parse(arguments)
    try:
        source = options.text.read_text(encoding="utf-8") if options.text else standard_library()
        text = prepare(source[: options.characters])
        train, test = (windows(part, options.context) for part in (text.train, text.test))
        network = build_network(len(text.characters), options)
    except (OSError, ValueError) as error:  # no file, no text, too short for a window, odd sizes
        sys.exit(f"{error}")
    print(f"{len(source[: options.characters]):,} characters, {len(text.characters)} of a kind")
    network.summary((1, options.context))
    steps = -(-len(train[0]) // options.batch_size) * options.epochs
    rate = OneCycle(options.learning_rate, steps=steps, warm_up=0.1)
    optimizer = AdamW(network.parameters(), rate, clip_norm=1.0)
    trainer = Trainer(network, SoftmaxCrossEntropy(), optimizer, seed=options.seed)
    trainer.fit(
        *train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        validation=test,
        callbacks=[Writer(text.characters, options, steps), ProgressBar()],
    )
    loss, baseline = trainer.evaluate(*test)["loss"], bigram_loss(text)
    print(f"\nheld-out text: {loss:.3f} nats per character, a table of pairs {baseline:.3f}")
    print(f"the transformer is better by {baseline - loss:.3f} nats")
    command_line.save(options.output, {"char_transformer": curve(trainer, baseline)})


if __name__ == "__main__":
    command_line.run(main)
