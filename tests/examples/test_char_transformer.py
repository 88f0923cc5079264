import math
import re
from pathlib import Path

import char_transformer as example
import numpy as np
import pytest

TEXT = "the cat sat on the mat; " * 400


def run(tmp_path: Path, text: str, *arguments: object) -> None:
    (tmp_path / "text.txt").write_text(text)
    given = ["--text", tmp_path / "text.txt", "--output", tmp_path / "out", *arguments]
    example.main([str(argument) for argument in given])


def test_trains_writes_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--context", 16, "--width", 16, "--heads", 2, "--blocks", 1, "--batch-size", 8]
    run(tmp_path, TEXT, "--epochs", 4, "--start", "the ", *sizes)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "9,600 characters, 12 of a kind"
    assert "TransformerBlock(16, 2, causal=True)" in out
    assert out.count("steps, loss") == 10
    assert "\n    | the " in out
    loss, baseline = map(float, re.findall(r"\d\.\d+", lines[-3]))
    # Once the place in the sentence is known, so is what comes next.
    assert loss < 0.2 < baseline
    assert lines[-2] == f"the transformer is better by {baseline - loss:.3f} nats"
    assert lines[-1] == f"wrote {tmp_path / 'out' / 'char_transformer.png'}"


def test_the_baseline_is_a_table_of_pairs() -> None:
    # "ab" occurs twice in the text and "aa" once, "ba" once: with one more of each 3, 2, 2, 1.
    text = example.Text("ab", np.array([0, 0, 1, 0, 1]), np.array([0, 1, 1]))
    assert example.bigram_loss(text) == pytest.approx(-(math.log(3 / 5) + math.log(1 / 3)) / 2)


def test_windows_ask_for_the_character_that_follows() -> None:
    x, y = example.windows(np.arange(10), 3)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert y.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_rare_characters_are_one() -> None:
    text = example.prepare("ab" * 50 + "z")
    assert text.characters == "\N{REPLACEMENT CHARACTER}ab"
    assert text.train.tolist() == [1, 2] * 45
    assert text.test.tolist() == [1, 2] * 5 + [0]


def test_the_standard_library_is_a_text() -> None:
    text = example.standard_library()
    assert len(text) > 1_500_000
    assert "import" in text


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        ("", (), "zero-size|expected|window"),
        ("short", (), "window"),
        (TEXT, ("--width", 10, "--heads", 4), "TransformerBlock expects num_heads to divide"),
    ],
)
def test_what_does_not_go_is_one_line(
    tmp_path: Path, text: str, arguments: tuple[object, ...], sentence: str
) -> None:
    with pytest.raises(SystemExit, match=sentence):
        run(tmp_path, text, *arguments)


def test_a_missing_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere"):
        example.main(["--text", str(tmp_path / "nowhere"), "--output", str(tmp_path)])
