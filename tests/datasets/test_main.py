import gzip
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from idx_files import write_folder

from tinynet.datasets import __main__ as command
from tinynet.datasets import load_mnist
from tinynet.datasets.mnist import FILES

README = (FILES / "README.md").read_text()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_writes_the_four_files_with_the_sums_of_their_readme(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    run = subprocess.run(
        [sys.executable, "-m", "tinynet.datasets", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    listed = dict(re.findall(r"^\| (\S+\.gz) .* ([0-9a-f]{64}) \|$", README, re.MULTILINE))
    assert len(listed) == 4
    sums = {
        name: hashlib.sha256(gzip.decompress(data)).hexdigest()
        for name, data in contents(folder).items()
    }
    assert sums == listed
    assert run.stdout.splitlines() == [
        f"{folder / name}  {(folder / name).stat().st_size:,} bytes"
        for name in (f"{stem}-ubyte.gz" for stem in command.SHA256)
    ]
    train, test = load_mnist(folder)
    assert (len(train.images), len(test.images)) == (60_000, 10_000)


def test_writes_one_csv_that_reads_as_mnist_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main([str(tmp_path), "--csv"])
    path = tmp_path / "train.csv"
    assert capsys.readouterr().out == f"{path}  {path.stat().st_size:,} bytes\n"
    assert [file.name for file in tmp_path.iterdir()] == ["train.csv"]
    for got, wanted in zip(load_mnist(path), load_mnist(), strict=True):
        assert (got.images == wanted.images).all()
        assert (got.labels == wanted.labels).all()


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    command.main([str(tmp_path)])
    first = contents(tmp_path)
    command.main([str(tmp_path)])
    assert contents(tmp_path) == first


def test_overwrites_no_other_file_of_that_name(tmp_path: Path) -> None:
    write_folder(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(SystemExit) as stop:
        command.main([str(tmp_path)])
    path = tmp_path / "train-images-idx3-ubyte.gz"
    assert stop.value.code == (
        f"python -m tinynet.datasets: {path}: expected no file of that name yet, "
        "got one with another content"
    )
    assert contents(tmp_path) == before


def test_a_damaged_installation_is_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "FILES", write_folder(tmp_path / "installed"))
    with pytest.raises(SystemExit, match="expected content of SHA-256 ba891046"):
        command.main([str(tmp_path / "out")])
    assert contents(tmp_path / "out") == {}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^python -m tinynet\.datasets: .*File exists"):
        command.main([str(tmp_path / "file")])
