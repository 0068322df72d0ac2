"""Tiles of whole slides."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import stainstream as ss
from stainstream.errors import SourceError
from stainstream.frame import Frame
from stainstream.slides.opening import is_slide
from tests.normalizers.tiles import LOW_TISSUE, demo
from tests.slides.made import content, write

openslide = pytest.importorskip("openslide", reason="OpenSlide is not installed")


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiled TIFF, the kind of slide that OpenSlide calls generic: tissue on the left, glass on the right."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile, which writes the slide, is not installed")
    path = tmp_path_factory.mktemp("slide") / "small.tif"
    tifffile.imwrite(path, _content(), tile=(256, 256), photometric="rgb")
    return path


def _content() -> ss.RGB8:
    return np.hstack([demo(size=512), LOW_TISSUE["glass"]])


def _tiles(address: str) -> list[Frame]:
    with ss.open_source(address) as source:
        return list(source)


def test_every_tile_comes_in_order_and_to_the_bit(slide: Path) -> None:
    tiles = _tiles(f"slide:{slide}?tile=256")
    assert [(tile.meta["x"], tile.meta["y"]) for tile in tiles[:5]] == [(0, 0), (256, 0), (512, 0), (768, 0), (0, 256)]
    assert [tile.seq for tile in tiles] == list(range(8))
    for tile in tiles:
        x, y = tile.meta["x"], tile.meta["y"]
        assert np.array_equal(tile.image, _content()[y : y + 256, x : x + 256])
        assert tile.meta["slide"] == "small.tif"


def test_the_stage_goes_row_by_row_or_to_and_fro(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    tiles = _tiles(f"slide:{path}?tile=200&order=snake")
    places = [(tile.meta["column"], tile.meta["row"]) for tile in tiles]
    assert places == [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1)]
    for tile in tiles:
        assert tile.meta["pixel_size_um"] == tile.meta["mpp"] == 0.25
        assert tile.meta["stage"] == {"x": (tile.meta["x"] + 100) * 0.25, "y": (tile.meta["y"] + 100) * 0.25}
        x, y = tile.meta["x"], tile.meta["y"]
        assert np.array_equal(tile.image, content()[y : y + 200, x : x + 200])


def test_tissue_is_found_and_scattered(slide: Path) -> None:
    places, again = (
        [(tile.meta["x"], tile.meta["y"]) for tile in _tiles(f"slide:{slide}?tile=128&tissue=0.1&order=scatter")]
        for _ in range(2)
    )
    assert len(places) == len(set(places)) == 16
    assert all(x < 512 for x, _ in places)
    assert places != sorted(places, key=lambda place: place[::-1])
    assert places == again


def test_slides_are_told_from_images(slide: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "plain.tif"), demo(size=64))
    assert is_slide(str(slide))
    assert not is_slide(str(tmp_path / "plain.tif"))
    assert not is_slide(str(tmp_path / "none.tif"))


def test_what_cannot_be_read_is_named(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.svs").write_bytes(b"no slide")
    shutil.copy(slide, tmp_path / "cut.tif")
    with (tmp_path / "cut.tif").open("r+b") as file:
        file.truncate(1000)
    for name in ("bad.svs", "slide:none.tif", "slide:cut.tif"):
        kind, _, rest = name.rpartition(":")
        address = f"{kind}:{tmp_path / rest}" if kind else str(tmp_path / rest)
        with pytest.raises(
            SourceError, match=r"cannot read .*(OpenSlide cannot read it|there is no such file|it is cut off)"
        ):
            _tiles(address)
    with pytest.raises(SourceError, match=r"no tile of 8192x8192 .* set tile smaller"):
        _tiles(f"slide:{slide}?tile=8192")


def test_real_slides(shared: Path) -> None:
    for path in (shared / "data" / "slides").glob("*.svs"):
        tiles = _tiles(f"{path}?tissue=0.5&order=scatter&tile=256")
        assert len(tiles) > 5
        assert np.mean([tile.image.mean() for tile in tiles]) < 220
    with pytest.raises(SourceError, match="OpenSlide cannot read it"):
        _tiles(f"slide:{shared / 'data' / 'slides' / 'small_vectra.qptiff'}")
