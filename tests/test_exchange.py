"""Tables and cubes for other programs, against the engines."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import stainstream as ss
from stainstream.color.cube import Cube
from stainstream.color.lut import COLORS, Lut
from stainstream.errors import ModelError, NotPixelwise, UsageError
from stainstream.exchange import Deviation, Pixelwise, deviation, save, save_cube, save_table
from stainstream.model import find
from tests.graphs import blur

ROOT = Path(__file__).parent.parent
NOISE: ss.RGB8 = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)


@pytest.fixture(scope="module")
def default() -> Pixelwise:
    return Pixelwise.load("default")


def _tissue() -> ss.RGB8:
    image = cv2.imread(str(ROOT / "stainstream" / "sources" / "tissue.jpg"))
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1], np.uint8)


def test_the_table_is_indexed_by_red_green_and_blue(default: Pixelwise, tmp_path: Path) -> None:
    save_table(default, tmp_path / "table.npy")
    table = np.load(tmp_path / "table.npy", mmap_mode="r")
    assert (table.shape, table.dtype) == ((256, 256, 256, 3), np.uint8)
    with ss.load("default", "lut_numpy") as normalize:
        np.testing.assert_array_equal(table[NOISE[..., 0], NOISE[..., 1], NOISE[..., 2]], normalize(NOISE))


def test_a_cube_is_as_near_as_its_head_says(default: Pixelwise, tmp_path: Path) -> None:
    off = save_cube(default, tmp_path / "33.cube", 33)
    head = (tmp_path / "33.cube").read_text().split("TITLE")[0]
    assert str(off) in head
    assert default.lut.digest in head
    assert "Licence of the weights: Apache-2.0" in head
    assert 0 < off.mean < 0.2
    assert 1 <= off.greatest <= 4
    with ss.load("default") as exact, ss.load(tmp_path / "33.cube") as near:
        for image in (NOISE, _tissue()):
            difference = np.abs(exact(image).astype(int) - near(image))
            assert difference.max() <= off.greatest
            assert difference.mean() < 3 * off.mean


def test_more_points_come_nearer(default: Pixelwise, tmp_path: Path) -> None:
    few, many = (save_cube(default, tmp_path / f"{size}.cube", size) for size in (5, 17))
    assert many.mean < few.mean / 3
    assert many.greatest < few.greatest


def test_the_deviation_counts_every_color() -> None:
    one, other = (Lut(np.arange(COLORS, dtype=np.uint32), name) for name in "ab")
    assert deviation(one, other) == Deviation(0, 0.0, 0.0)
    table = np.arange(COLORS, dtype=np.uint32)
    table[0] = 7 << 8
    table[-1] = 0xFFFFFF - 3
    assert deviation(one, Lut(table, "c")) == Deviation(7, 10 / (3 * COLORS), 2 / COLORS)


def test_methods_in_files_are_exported_as_well(tmp_path: Path) -> None:
    file = ROOT / "calibration" / "he-macenko-centre2-to-centre4.toml"
    macenko = Pixelwise.load(file)
    save_table(macenko, tmp_path / "table.npy")
    with ss.load(file, "lut_numpy") as normalize:
        expected = normalize(NOISE)
    np.testing.assert_array_equal(np.load(tmp_path / "table.npy")[tuple(np.moveaxis(NOISE, -1, 0))], expected)
    save_cube(macenko, tmp_path / "macenko.cube", 9)
    again = Pixelwise.load(tmp_path / "macenko.cube")
    assert deviation(again.lut, macenko.lut).greatest > 0
    assert save_cube(again, tmp_path / "again.cube", 9) == Deviation(0, 0.0, 0.0)


def test_a_network_that_asks_neighbors_has_no_table(tmp_path: Path) -> None:
    path = blur().save(tmp_path / "blur.onnx")
    with pytest.raises(NotPixelwise, match=r"no table can stand for 'blur': it looks at neighbors.*--to onnx"):
        Pixelwise.of(find(path))


def test_what_there_is_not_is_named(tmp_path: Path) -> None:
    for name, error in (("none.cube", ModelError), ("none.toml", UsageError), ("none.onnx", ModelError)):
        with pytest.raises(error, match=name):
            Pixelwise.load(tmp_path / name)


def test_a_file_that_cannot_be_written_is_named_and_what_was_there_stays(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot write .*none.*a\.npy"):
        save(b"data", tmp_path / "none" / "a.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ModelError, match="cannot write"):
        save(b"data", tmp_path / "folder.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npy"]


def test_a_cube_streams_as_the_model_that_it_holds(tmp_path: Path) -> None:
    cube = Cube.sample(lambda rgb: 1.0 - rgb, 2, "negative")
    (tmp_path / "negative.cube").write_text(cube.text())
    with ss.load(tmp_path / "negative.cube") as normalize:
        np.testing.assert_array_equal(normalize(NOISE), 255 - NOISE)
        assert normalize.artifact.name == "negative"
