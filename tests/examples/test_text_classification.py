import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import text_classification as example


def test_the_last_clause_decides_and_not_turns_it_around() -> None:
    rng = np.random.default_rng(0)
    reviews = [example.make_review(rng) for _ in range(300)]
    assert {sum(word == "is" for word in words) for words, _ in reviews} == {1, 2, 3, 4}
    for words, label in reviews:
        good = words[-1] in example.ADJECTIVES[1]
        assert label == (not good if words[-2] == "not" else good)
    assert 0.4 < np.mean([label for _, label in reviews]) < 0.6


def test_reviews_are_padded_on_the_right() -> None:
    ids = example.encode([["the", "film", "is", "good"], ["not"]])
    assert [example.WORDS[number] for number in ids[0]] == ["the", "film", "is", "good"]
    assert ids[1].tolist() == [example.IDS["not"], 0, 0, 0]
    assert 0 not in (example.IDS[word] for word in example.WORDS[1:])


def test_text_classification_trains_prints_its_accuracies_and_writes_a_picture(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    lines = run(example, "--epochs", 4)
    mean, recurrent = (float(re.findall(r"([\d.]+)%", line)[0]) for line in lines[:2])
    assert mean < 70
    assert recurrent > 98
    path = tmp_path / "out" / "text_classification.png"
    assert lines[2] == f"wrote {path}"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_a_bar_for_each_word_of_each_review() -> None:
    network = example.build_network(np.random.default_rng(0), order=True)
    reviews = [["the", "film", "is", "good"], ["the", "plot", "is", "not", "bad"]]
    figure = example.draw(network, reviews)
    for axis, words in zip(figure.axes, reviews, strict=True):
        assert [label.get_text() for label in axis.get_xticklabels()] == words
        assert len(axis.patches) == len(words)
    plt.close(figure)
