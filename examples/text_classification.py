"""Sentences of different lengths, padded, as good or bad: python examples/text_classification.py.

The reviews are made: what the last clause says counts, and `not` turns it around. A recurrent
network learns that; a mean over the words, which does not see their order, cannot.
"""

from collections.abc import Sequence

import command_line
import numpy as np
from matplotlib.figure import Figure

from tinynet import (
    GRU,
    Accuracy,
    Adam,
    Array,
    Bidirectional,
    Dense,
    Embedding,
    GlobalPool1D,
    Layer,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    softmax,
)
from tinynet.plots.style import BLUE, VERMILION, panels

SUBJECTS = ["film", "plot", "cast", "music", "ending"]
ADJECTIVES = [["bad", "dull", "slow", "weak"], ["clever", "funny", "good", "moving"]]
PADDING = 0  # an id that no word has
WORDS = ["", "but", "is", "not", "the", *SUBJECTS, *ADJECTIVES[0], *ADJECTIVES[1]]
IDS = {word: number for number, word in enumerate(WORDS)}


def make_review(rng: np.random.Generator) -> tuple[list[str], int]:
    """One to four clauses, and whether the last one is good, 1, or bad, 0."""
    words, label = [], 0
    for clause in range(rng.integers(1, 5)):
        good, negated = rng.integers(2, size=2)
        words += ["but"] * (clause > 0) + ["the", rng.choice(SUBJECTS), "is"]
        words += ["not"] * negated + [rng.choice(ADJECTIVES[good])]
        label = int(good != negated)
    return words, label


def encode(reviews: Sequence[Sequence[str]]) -> Array:
    """The ids of the words, (N, T), with padding after the end of each review."""
    ids = np.full((len(reviews), max(map(len, reviews))), PADDING)
    for row, review in zip(ids, reviews, strict=True):
        row[: len(review)] = [IDS[word] for word in review]
    return ids


def build_network(rng: np.random.Generator, *, order: bool) -> Sequential:
    """Ids (N, T) -> logits (N, 2); without order from the mean of the words' embeddings."""
    reader: Layer = Bidirectional(GRU(16, 8, states="last", rng=rng)) if order else GlobalPool1D()
    # The embedding tells the layers behind it which steps are padding.
    embedding = Embedding(len(WORDS), 16, padding_idx=PADDING, rng=rng)
    return Sequential([embedding, reader, Dense(16, 2, rng=rng)])


def draw(network: Sequential, reviews: Sequence[Sequence[str]]) -> Figure:
    """For each review the probability that it is good, after each of its words."""
    figure, axes = panels(len(reviews), columns=1, size=(8.0, 1.9))
    for axis, words in zip(axes, reviews, strict=True):
        beginnings = encode([words[: end + 1] for end in range(len(words))])
        good, steps = softmax(network.predict(beginnings))[:, 1], range(len(words))
        axis.bar(steps, good - 0.5, bottom=0.5, color=np.where(good > 0.5, BLUE, VERMILION))
        axis.set(ylim=(0, 1), yticks=[0, 0.5, 1], yticklabels=["bad", "", "good"])
        axis.set_xticks(steps, words, rotation=45)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the reviews, trains both networks and draws what the second one thinks."""
    text = "Classify padded sentences."
    parser = command_line.ExampleParser(text, epochs=6, batch_size=32, learning_rate=0.01)
    options = parser.parse(arguments)
    rng = np.random.default_rng(options.seed)
    reviews, labels = zip(*(make_review(rng) for _ in range(3000)), strict=True)
    x, y, train, test = encode(reviews), np.array(labels), slice(2500), slice(2500, None)
    for name, order in (("mean of the words", False), ("recurrent network", True)):
        network = build_network(rng, order=order)
        optimizer = Adam(network.parameters(), options.learning_rate)
        trainer = Trainer(network, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()])
        trainer.fit(x[train], y[train], epochs=options.epochs, batch_size=options.batch_size)
        accuracy = trainer.evaluate(x[test], y[test])["accuracy"]
        print(f"{name}: {accuracy:.1%} of {len(x[test])} unseen reviews")
    chosen = sorted(reviews[test], key=len)[::-130]
    command_line.save(options.output, {"text_classification": draw(network, chosen)})


if __name__ == "__main__":
    command_line.run(main)
