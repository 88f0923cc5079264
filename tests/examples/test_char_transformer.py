import math
import re
from collections.abc import Callable
from pathlib import Path

import char_transformer as example
import numpy as np
import pytest

from tinynet import InputError

TEXT = "the cat sat on the mat; " * 200
Run = Callable[..., list[str]]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_transformer_beats_the_bigram_model_and_prints_samples(
    run: Run, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "SAMPLE", 20)
    sizes = ("--context", 16, "--width", 16, "--heads", 2, "--blocks", 1, "--batch-size", 4)
    lines = run(example, "--text", text, "--epochs", 4, "--start", "the ", *sizes)
    out = "\n".join(lines)
    assert lines[0] == "4,800 characters, 12 different ones"
    assert "MultiHeadAttention(16, " in out
    assert out.count("steps, loss") == 10
    assert "\n    | the " in out
    loss, baseline = map(float, re.findall(r"\d\.\d+", lines[-3]))
    # The next character follows from the position in the sentence, but not from one character.
    assert loss < 0.2 < baseline
    assert lines[-2] == f"the transformer is better by {baseline - loss:.3f} nats"
    assert lines[-1] == f"wrote {tmp_path / 'out' / 'char_transformer.png'}"


def test_bigram_loss_is_the_cross_entropy_of_smoothed_pair_counts() -> None:
    # "ab" occurs twice in the text, "aa" and "ba" once: with one more of each pair 3, 2, 2, 1.
    text = example.Text("ab", np.array([0, 0, 1, 0, 1]), np.array([0, 1, 1]))
    assert example.bigram_loss(text) == pytest.approx(-(math.log(3 / 5) + math.log(1 / 3)) / 2)


def test_windows_have_the_next_character_as_the_target() -> None:
    x, y = example.windows(np.arange(10), 3)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert y.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_rare_characters_share_a_token() -> None:
    text = example.prepare("ab" * 50 + "z", context=5)
    assert text.characters == "\N{REPLACEMENT CHARACTER}ab"
    assert text.train.tolist() == [1, 2] * 45
    assert text.test.tolist() == [1, 2] * 5 + [0]


def test_a_text_has_a_least_length_for_its_context() -> None:
    for context in (1, 16, 64):
        least = (context + 1) * 10
        text = example.prepare("a" * least, context)
        for part in (text.train, text.test):
            assert len(example.windows(part, context)[0]) >= 1
        expected = rf"expected a text of at least {least} characters, got {least - 10}$"
        with pytest.raises(InputError, match=expected):
            example.prepare("a" * (least - 10), context)


def test_the_standard_library_is_the_default_text() -> None:
    text = example.standard_library()
    assert len(text) > 1_500_000
    assert "import" in text


@pytest.mark.parametrize(
    ("content", "arguments", "line"),
    [
        (b"", (), "expected a text of at least 650 characters, got 0"),
        (b"\xff", (), "can't decode byte 0xff"),
        (b"text " * 999, ("--width", 10, "--heads", 4), "TransformerBlock expects num_heads to"),
        (None, (), "No such file"),
    ],
)
def test_a_text_or_size_that_does_not_fit_ends_with_one_line(
    run: Run, text: Path, content: bytes | None, arguments: tuple[object, ...], line: str
) -> None:
    text.unlink() if content is None else text.write_bytes(content)
    with pytest.raises(SystemExit, match=line):
        run(example, "--text", text, *arguments)
