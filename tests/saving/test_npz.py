import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import Array, InputError
from tinynet.saving.checkpoint import read, write
from tinynet.saving.npz import DTYPES, is_name, make_manifest, open_npz, write_npz

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPE_NAMES = ["bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128"]


def draw(dtype: str, shape: tuple[int, ...]) -> Array:
    """Arbitrary bits, among them NaNs with a payload and subnormal numbers."""
    rng = np.random.default_rng(len(shape))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(rng.bytes(size), dtype).reshape(shape)


def stored(path: Path, tensors: dict[str, Array], state: Any = None) -> bytes:
    manifest = make_manifest(state, tensors)
    with path.open("wb") as file:
        write_npz(file, manifest, tensors)
    return manifest


def opened(path: Path) -> tuple[bytes, Any, dict[str, Array]]:
    with path.open("rb") as file, open_npz(file) as (manifest, body, members):
        return manifest, body, dict(members)


class TestTensors:
    @pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (7,), (2, 3, 4), (1,) * 64])
    @pytest.mark.parametrize("dtype", DTYPE_NAMES)
    def test_tensors_are_read_back_bit_for_bit(
        self, tmp_path: Path, dtype: str, shape: tuple[int, ...]
    ) -> None:
        array = draw(dtype, shape)
        stored(tmp_path / "c", {"a": array})
        _, _, tensors = opened(tmp_path / "c")
        assert list(tensors) == ["a"]
        back = tensors["a"]
        assert (back.dtype.name, back.shape, back.tobytes()) == (dtype, shape, array.tobytes())
        assert back.flags.writeable
        assert back.flags.c_contiguous

    @pytest.mark.parametrize("dtype", DTYPE_NAMES)
    def test_tensors_are_loaded_by_numpy_too(self, tmp_path: Path, dtype: str) -> None:
        tensors = {"a": draw(dtype, (2, 3)), "b/c.d": draw(dtype, ()), "e": draw(dtype, (0, 1))}
        stored(tmp_path / "c.npz", tensors)
        with np.load(tmp_path / "c.npz", allow_pickle=False) as archive:
            for name, array in tensors.items():
                loaded = archive[name]
                assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
                assert loaded.tobytes() == array.tobytes()

    def test_tensors_longer_than_a_chunk_are_read_back(self, tmp_path: Path) -> None:
        array = np.random.default_rng(0).integers(0, 256, (3 << 20) + 5, np.uint8)
        stored(tmp_path / "c", {"a": array, "b": array[: 1 << 20]})
        _, _, tensors = opened(tmp_path / "c")
        assert (tensors["a"] == array).all()
        assert (tensors["b"] == array[: 1 << 20]).all()

    def test_tensors_are_read_one_by_one(self, tmp_path: Path) -> None:
        path = tmp_path / "c"
        stored(path, {"a": np.arange(3), "b": np.arange(3) + 1})
        data = path.read_bytes()
        path.write_bytes(data.replace((np.arange(3) + 1).tobytes(), np.arange(3).tobytes()))
        read_values: list[Any] = []
        with path.open("rb") as file, pytest.raises(InputError), open_npz(file) as (_, _, members):
            read_values.extend(array.tolist() for _, array in members)
        assert read_values == [[0, 1, 2]]

    def test_members_have_the_header_of_np_save_for_each_dtype_and_shape(
        self, tmp_path: Path
    ) -> None:
        tensors = {
            f"{dtype} {index}": draw(dtype, shape)
            for dtype in DTYPE_NAMES
            for index, shape in enumerate([(), (5,), (2, 3), (0,), (1, 2, 3, 4, 5)])
        }
        stored(tmp_path / "c", tensors)
        with zipfile.ZipFile(tmp_path / "c") as archive:
            for name, array in tensors.items():
                file = io.BytesIO()
                np.save(file, array)
                assert archive.read(f"{name}.npy") == file.getvalue()

    def test_the_allowed_dtypes_are_numeric_and_little_endian(self) -> None:
        assert {np.dtype(name).newbyteorder("<").str for name in DTYPE_NAMES} <= DTYPES
        assert all(np.dtype(name).kind in "biufc" and name[0] in "<|" for name in DTYPES)

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(12, dtype=">f4").reshape(3, 4),
            np.arange(12, dtype=">i8").reshape(3, 4).T,
            np.asfortranarray(np.arange(12.0).reshape(3, 4)),
            np.arange(24.0).reshape(4, 6)[::2, ::-3],
            np.broadcast_to(np.float32(2), (3, 4)),
            np.arange(5)[::-1],
            np.array(7, ">u2"),
        ],
        ids=["big-endian", "big-endian, transposed", "Fortran", "strided", "one", "back", "0-d"],
    )
    def test_arrays_of_any_layout_are_read_back_contiguous_and_native(
        self, tmp_path: Path, array: Array
    ) -> None:
        write(tmp_path / "c", {"a": array})
        back = read(tmp_path / "c")["a"]
        assert back.dtype == array.dtype.newbyteorder("=")
        assert back.dtype.isnative
        assert back.flags.c_contiguous
        assert np.array_equal(back, array)
        with np.load(tmp_path / "c", allow_pickle=False) as archive:
            assert np.array_equal(archive["a"], array)


class TestManifest:
    def test_the_manifest_lists_format_version_tensors_and_state(self) -> None:
        a, b = np.arange(6, dtype="<f4").reshape(2, 3), np.array(True)
        manifest = make_manifest({"step": 3}, {"a": a, "b": b})
        assert json.loads(manifest) == {
            "format": "tinynet checkpoint",
            "version": 1,
            "tensors": {
                "a": {
                    "dtype": "<f4",
                    "shape": [2, 3],
                    "sha256": hashlib.sha256(a.tobytes()).hexdigest(),
                },
                "b": {"dtype": "|b1", "shape": [], "sha256": hashlib.sha256(b"\1").hexdigest()},
            },
            "state": {"step": 3},
        }

    def test_the_manifest_is_read_back_with_its_content(self, tmp_path: Path) -> None:
        state = {"numbers": [2**127 + 1, 0.1], "no numbers": [math.inf, -math.inf], "text": "ä🙂"}
        written = stored(tmp_path / "c", {"a": np.zeros(2)}, state)
        manifest, body, _ = opened(tmp_path / "c")
        assert manifest == written
        assert body == json.loads(written)
        assert body["state"] == state

    def test_the_manifest_may_contain_nan(self, tmp_path: Path) -> None:
        stored(tmp_path / "c", {}, {"loss": math.nan})
        _, body, _ = opened(tmp_path / "c")
        assert math.isnan(body["state"]["loss"])

    def test_the_manifest_comes_first_with_a_checksum_in_the_format_of_sha256sum(
        self, tmp_path: Path
    ) -> None:
        manifest = stored(tmp_path / "c", {"a": np.zeros(2), "b": np.zeros(1)})
        with zipfile.ZipFile(tmp_path / "c") as archive:
            names = ["manifest.json", "manifest.sha256", "a.npy", "b.npy"]
            assert archive.namelist() == names
            assert archive.read("manifest.json") == manifest
            line = f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n"
            assert archive.read("manifest.sha256").decode() == line

    @pytest.mark.parametrize(
        "state", [{1, 2}, np.zeros(2), np.int64(1), 1j, b"bytes", {"a": object()}, [10**5000]]
    )
    def test_a_state_that_is_no_json_is_refused(self, state: Any) -> None:
        with pytest.raises(InputError, match=r"^expected a state of arrays, numbers and strings: "):
            make_manifest(state, {})

    def test_a_manifest_above_the_size_limit_is_refused(self) -> None:
        rest = len(make_manifest("", {}))
        assert len(make_manifest("x" * ((1 << 20) - rest), {})) == 1 << 20
        with pytest.raises(
            InputError, match=r"^expected a manifest of at most 1048576 bytes, got 1048577$"
        ):
            make_manifest("x" * ((1 << 20) - rest + 1), {})

    def test_a_manifest_of_the_largest_size_is_read(self, tmp_path: Path) -> None:
        text = "x" * ((1 << 20) - len(make_manifest("", {})))
        stored(tmp_path / "c", {}, text)
        assert opened(tmp_path / "c")[1]["state"] == text

    def test_a_file_may_hold_5000_tensors(self, tmp_path: Path) -> None:
        tensors = {f"model/layers.{i}.weight": np.zeros((1, 1), "<f4") for i in range(5000)}
        manifest = stored(tmp_path / "c", tensors)
        assert len(manifest) < 1 << 20
        with (tmp_path / "c").open("rb") as file, open_npz(file) as (_, body, members):
            assert len(body["tensors"]) == 5000
            assert next(members)[0] == "model/layers.0.weight"


class TestZip:
    def test_equal_content_gives_equal_bytes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            stored(tmp_path / name, {"w": np.arange(5.0), "v": np.zeros(0)}, [1])
        data = (tmp_path / "a").read_bytes()
        assert data == (tmp_path / "b").read_bytes()
        with zipfile.ZipFile(tmp_path / "a") as archive:
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    def test_the_zip_file_is_valid_for_zipfile(self, tmp_path: Path) -> None:
        stored(tmp_path / "c", {"a": np.arange(100), "b": np.zeros(0)})
        with zipfile.ZipFile(tmp_path / "c") as archive:
            assert archive.testzip() is None

    def test_a_zip_file_with_64_bit_records_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
        stored(tmp_path / "c", {"a": np.arange(100), "b": np.ones(2)}, {"step": 1})
        assert (tmp_path / "c").read_bytes()[-42:-38] == b"PK\x06\x07"
        _, body, tensors = opened(tmp_path / "c")
        assert body["state"] == {"step": 1}
        assert tensors["a"].tolist() == list(range(100))
        assert tensors["b"].tolist() == [1, 1]

    def test_other_errors_in_the_block_are_not_changed(self, tmp_path: Path) -> None:
        stored(tmp_path / "c", {})
        with (tmp_path / "c").open("rb") as file, pytest.raises(TypeError), open_npz(file):
            raise TypeError


class TestNames:
    @pytest.mark.parametrize(
        "name", ["a", "a/b", "layers.0.weight", "a b", "ä/漢", "...", ".a", "a..", "model/.b/c"]
    )
    def test_relative_paths_inside_the_folder_are_valid_names(self, name: str) -> None:
        assert is_name(name)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "/",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/..",
            "a/./b",
            "a\\b",
            "a\0",
            "\n",
            "\x1b",
        ],
    )
    def test_other_paths_are_no_valid_names(self, name: str) -> None:
        assert not is_name(name)
