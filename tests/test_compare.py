"""The command that compares tinynet with other frameworks runs without them."""

import compare
import compare_rows
import numpy as np
import pytest
from with_tinynet import Task, Work

from tinynet import ReLU


@pytest.fixture
def _no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "find_spec", lambda name: name == "tinynet" or None)


@pytest.mark.usefixtures("_no_peers")
def test_rows_are_chosen_by_a_pattern_and_peers_that_are_not_installed_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = compare.PAGE.read_bytes()
    compare.main(["--quick", "--rows", r"(Tanh|ReLU) \(512"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in shown[:2]] == ["Tanh (512, 256)", "ReLU (512, 256)"]
    assert "| row | tinynet | middle half |" in shown
    assert compare.PAGE.read_bytes() == before


def result(own: list[float], **others: list[float]) -> compare.Result:
    row = compare_rows.Row("a row", "step")
    return compare.Result(row, {"tinynet": own, **others}, 0.0, 0.0)


def test_a_ratio_is_the_median_of_the_ratios_of_each_turn() -> None:
    found = result([1.0, 2.0, 9.0], torch=[2.0, 2.0, 6.0], jax=[4.0, 5.0, 6.0])
    assert found.ratio("torch") == 1.0
    assert found.fastest == "torch"
    assert compare.table("A group", [found]).splitlines()[2:] == [
        "| row | tinynet | of PyTorch | of JAX | middle half |",
        "|---|---|---|---|---|",
        "| a row | 2 s | 1.00 | 0.40 | 0.50 to 1.50 |",
    ]


def test_frameworks_that_compute_something_else_are_an_error() -> None:
    row = compare_rows.Row("a row", "step")
    results = {"tinynet": [2.0, 1.0], "torch": [2.0, 1.001]}  # losses
    assert compare.agreement(row, results) == pytest.approx(0.0005)
    results["jax"] = [2.0, 1.1]
    with pytest.raises(AssertionError, match=r"a row: jax differs from tinynet by 5\.0e-02"):
        compare.agreement(row, results)
    layer = compare_rows.Row("a layer", "layer")
    arrays = {"tinynet": [np.ones(2), np.array(4.0)], "torch": [np.ones(2), np.array(4.2)]}
    with pytest.raises(AssertionError, match=r"a layer: torch differs from tinynet by 5\.0e-02"):
        compare.agreement(layer, arrays)


def test_every_framework_gets_the_same_batches_of_a_row() -> None:
    row = compare_rows.Row("a row", "step", ReLU(), 4, (8,), 3, floats=True)
    first, second = (compare.task_of(row, 1.0) for _ in range(2))
    assert len(first.batches) == 3
    np.testing.assert_array_equal(first.batches, second.batches)
    np.testing.assert_array_equal(first.x, second.x)
    assert isinstance(first, Task)
    assert Work._fields == ("turn", "result")
