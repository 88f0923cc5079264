import csv
from pathlib import Path

import pytest
from resume_run import make_data, make_trainer

from tinynet import Trainer
from tinynet.callbacks import CSVLog
from tinynet.callbacks.csv_log import _free_name

X, Y = make_data()
VALIDATION = make_data(30, seed=2)


def fit(trainer: Trainer, path: Path | str, epochs: int, *, validated: bool = True) -> Trainer:
    validation = VALIDATION if validated else None
    trainer.fit(X, Y, epochs=epochs, validation=validation, callbacks=[CSVLog(path)])
    return trainer


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


class TestRows:
    def test_csv_rows_are_the_history_in_full_precision(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "folder" / "log.csv"
        epochs = fit(make_trainer(), str(path), 3).history.epochs
        head, *body = rows(path)
        assert head == ["epoch", *epochs]
        assert [row[0] for row in body] == ["1", "2", "3"]
        columns = list(zip(*body, strict=True))[1:]
        assert [list(map(float, column)) for column in columns] == list(map(list, epochs.values()))

    def test_csv_header_is_written_first_and_a_row_after_each_epoch(self, log: Path) -> None:
        trainer = make_trainer()
        fit(trainer, log, 0)
        assert rows(log) == [["epoch", *trainer.metric_names]]
        for epoch in range(1, 3):
            fit(trainer, log, epoch)
            assert len(rows(log)) == 1 + epoch

    def test_csv_rows_have_nan_for_values_that_were_not_measured(self, log: Path) -> None:
        trainer = fit(make_trainer(), log, 1, validated=False)
        fit(trainer, log, 2)
        head, first, second = rows(log)
        at = head.index("validation_loss")
        assert first[at] == "nan"
        assert float(second[at]) == trainer.history.last["validation_loss"]


class TestExistingFile:
    def test_a_second_fit_continues_the_csv_file(self, log: Path) -> None:
        trainer = fit(make_trainer(), log, 2)
        fit(trainer, log, 4)
        assert len(rows(log)) == 5
        assert files(log.parent) == ["log.csv"]

    def test_the_csv_file_is_cut_back_to_the_resumed_epoch(self, log: Path) -> None:
        first = fit(make_trainer(), log, 2)
        first.save(log.with_name("2.npz"))
        fit(first, log, 5)
        text = log.read_text()
        again = make_trainer().restore(log.with_name("2.npz"))
        fit(again, log, 2)
        assert log.read_text() == "".join(text.splitlines(keepends=True)[:3])
        fit(again, log, 5)
        assert log.read_text() == text
        assert files(log.parent) == ["2.npz", "log.csv"]

    @pytest.mark.parametrize("cut", [0, 10, -1, -30])
    def test_an_interrupted_csv_file_is_written_again(self, log: Path, cut: int) -> None:
        trainer = fit(make_trainer(), log, 2)
        text = log.read_text()
        log.write_text(text[:cut])
        fit(trainer, log, 2)
        assert log.read_text() == text
        assert files(log.parent) == ["log.csv"]

    def test_the_csv_file_of_another_run_is_renamed(self, log: Path) -> None:
        texts = []
        for seed in range(3):
            fit(make_trainer(seed), log, 2)
            texts.append(log.read_text())
        assert files(log.parent) == ["log.1.csv", "log.2.csv", "log.csv"]
        names = ["log.1.csv", "log.2.csv", "log.csv"]
        assert [log.with_name(name).read_text() for name in names] == texts

    def test_the_csv_file_of_another_run_with_equal_header_is_renamed(self, log: Path) -> None:
        fit(make_trainer(), log, 1)
        fit(make_trainer(), log, 0)
        assert [len(rows(log.with_name(name))) for name in ("log.csv", "log.1.csv")] == [1, 2]

    def test_a_file_that_is_no_csv_log_is_renamed_unchanged(self, log: Path) -> None:
        log.write_bytes(b"\xff\xfe no text")
        fit(make_trainer(), log, 1)
        assert log.with_name("log.1.csv").read_bytes() == b"\xff\xfe no text"


def test_a_file_name_without_extension_gets_a_number_too(tmp_path: Path) -> None:
    (tmp_path / "log.1").touch()
    assert _free_name(tmp_path / "log") == tmp_path / "log.2"


def test_an_unwritable_csv_file_is_reported_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    trainer = make_trainer()
    with pytest.raises(OSError, match="file"):
        fit(trainer, tmp_path / "file" / "log.csv", 1)
    assert trainer.step == 0
