"""Recordings, read back by somebody else's library."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from stainstream.errors import MissingExtra, SinkError
from stainstream.opencv import quiet
from stainstream.recording.base import Encoding, Shot
from stainstream.recording.take import Take

from .shots import FORMATS, MODEL, check, lines, read, shots

pytest.importorskip("av", reason="needs the extra: record")


def record(path: Path, given: list[Shot], encoding: Encoding | None = None, um: float | None = 0.25) -> Take:
    take = Take(path, given[0], encoding or Encoding(), um)
    for shot in given:
        take.add(shot)
    take.end()
    return take


@pytest.mark.parametrize("size", ["160x120", "97x61", "512x512"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_recorded_is_read_back(tmp_path: Path, suffix: str, size: str) -> None:
    given = shots(size)
    take = record(tmp_path / f"a.{suffix}", given)
    assert take.files == [tmp_path / f"a.{suffix}"]
    assert take.frames == len(given)
    check(take.files[0], [shot.images["normalized"] for shot in given])
    assert sorted(os.listdir(tmp_path)) == [f"a.{suffix}", f"a.{suffix}.jsonl"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_both_streams_go_into_files_of_their_own(tmp_path: Path, suffix: str) -> None:
    given = shots(both=True, count=3)
    take = record(tmp_path / f"a.{suffix}", given)
    assert [file.name for file in take.files] == [f"a.{suffix}", f"a.raw.{suffix}"]
    for file, stream in zip(take.files, ("normalized", "raw"), strict=True):
        check(file, [shot.images[stream] for shot in given])


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("taken", ["", ".raw", ".jsonl"])
def test_no_file_is_ever_replaced(tmp_path: Path, suffix: str, taken: str) -> None:
    old = tmp_path / {"": f"a.{suffix}", ".raw": f"a.raw.{suffix}", ".jsonl": f"a.{suffix}.jsonl"}[taken]
    old.write_text("precious")
    given = shots(count=2)
    for number in (2, 3):
        assert record(tmp_path / f"a.{suffix}", given).files == [tmp_path / f"a-{number}.{suffix}"]
    assert old.read_text() == "precious"


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_line_for_each_frame_stands_beside_it(tmp_path: Path, suffix: str) -> None:
    given = shots(count=3)
    record(tmp_path / f"a.{suffix}", given)
    found = lines(tmp_path / f"a.{suffix}.jsonl")
    assert [line["frame"] for line in found] == [0, 1, 2]
    assert [line["seq"] for line in found] == [100, 101, 102]
    assert [line["seconds"] for line in found] == [0.0, 0.04, 0.08]
    assert found[1]["captured"] > found[0]["captured"]
    assert found[2]["meta"]["stage"] == {"x": 14.5, "y": -3.25, "z": None}
    assert found[2]["meta"]["model"] == MODEL


def test_a_video_says_how_it_was_made_and_keeps_time(tmp_path: Path) -> None:
    import av

    given = shots(count=5)
    del given[2]  # a frame was dropped: the next one shows when it was captured
    record(tmp_path / "a.mp4", given)
    with av.open(str(tmp_path / "a.mp4")) as file:
        meta = dict(file.metadata)
        times = [float(frame.time or 0) for frame in file.decode(video=0)]
        assert file.streams.video[0].codec_context.name == "h264"
    assert times == pytest.approx([0, 0.04, 0.12, 0.16], abs=1e-4)
    assert meta["model"] == MODEL["name"]
    assert meta["model_sha256"] == MODEL["sha256"]
    assert meta["pixel_size_um"] == "0.25"
    record(tmp_path / "b.mp4", given, Encoding(rate=10))
    quiet()
    assert cv2.VideoCapture(str(tmp_path / "b.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(10)


def test_better_quality_is_closer_and_larger(tmp_path: Path) -> None:
    given = shots(count=3)
    wanted = given[0].images["normalized"]
    size, psnr = [], []
    for quality in (30, 10):
        file = record(tmp_path / f"{quality}.mp4", given, Encoding(quality=quality)).files[0]
        size.append(file.stat().st_size)
        psnr.append(cv2.PSNR(read(file)[0], wanted))
    assert size[0] < size[1]
    assert psnr[0] < psnr[1]


def test_saturated_colors_survive_a_video(tmp_path: Path) -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 60, 140), (90, 30, 120), (255, 255, 255), (0, 0, 0)]
    for index, color in enumerate(colors):
        image = np.full((64, 64, 3), color, np.uint8)
        file = record(tmp_path / f"{index}.mp4", [Shot({"normalized": image}, 0, 0, {})], Encoding(quality=4)).files[0]
        assert np.abs(read(file)[0].astype(int) - image).max() <= 6, color


def test_an_ome_tiff_is_valid_and_says_how_it_was_made(tmp_path: Path) -> None:
    tifffile, ome_types = pytest.importorskip("tifffile"), pytest.importorskip("ome_types")
    pytest.importorskip("xmlschema")
    given = shots(count=40)  # more than are described at once
    record(tmp_path / "a.ome.tiff", given)
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        xml = file.pages[0].tags["ImageDescription"].value
        assert file.is_bigtiff
        assert len(file.pages) == 40
        assert file.pages[7].photometric.name == "RGB"
        assert file.pages[7].resolution == pytest.approx((40_000, 40_000))  # pixels a cm
    ome_types.validate_xml(xml)
    ome = ome_types.from_xml(xml)
    pixels = ome.images[0].pixels
    assert (pixels.size_t, pixels.size_c, pixels.physical_size_x, pixels.physical_size_y) == (40, 3, 0.25, 0.25)
    assert pixels.physical_size_x_unit.value == "µm"
    plane = pixels.planes[39]
    assert (plane.the_t, plane.exposure_time, plane.position_x, plane.position_y) == (39, 8, 51.5, -3.25)
    assert plane.position_z is None  # it was no number
    assert plane.delta_t == pytest.approx(39 * 0.04)
    facts = ome.structured_annotations[0].value
    assert (facts["model"], facts["model_sha256"]) == (MODEL["name"], MODEL["sha256"])
    assert facts["source"] == "scope <1> &   more"


def test_an_ome_zarr_is_valid_and_says_how_it_was_made(tmp_path: Path) -> None:
    zarr, yaozarrs = pytest.importorskip("zarr"), pytest.importorskip("yaozarrs")
    given = shots(count=40)
    record(tmp_path / "a.ome.zarr", given)
    yaozarrs.validate_zarr_store(str(tmp_path / "a.ome.zarr"))
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    assert group["0"].shape == (40, 3, 120, 160)
    scale = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == pytest.approx([0.04, 1, 0.25, 0.25])
    assert group.attrs["stainstream"]["model_sha256"] == MODEL["sha256"]


def test_without_a_pixel_size_none_is_made_up(tmp_path: Path) -> None:
    tifffile, zarr = pytest.importorskip("tifffile"), pytest.importorskip("zarr")
    given = shots(count=1)
    record(tmp_path / "a.ome.tiff", given, um=None)
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        assert "PhysicalSize" not in file.ome_metadata
    record(tmp_path / "a.ome.zarr", given, um=None)
    ome = zarr.open_group(tmp_path / "a.ome.zarr", mode="r").attrs["ome"]
    assert "unit" not in ome["multiscales"][0]["axes"][3]


def test_the_pixel_size_of_the_frames_is_taken(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    (shot,) = shots(count=1)
    shot = Shot(shot.images, 0, 0, {"pixel_size_um": 0.5})
    record(tmp_path / "a.ome.tiff", [shot], um=None)
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_place_where_nothing_can_be_written(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=f"cannot record to .*a.{suffix}: "):
        record(tmp_path / "file" / f"a.{suffix}", shots(count=1))


def test_a_missing_library_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"'av' is missing; run: pip install 'stainstream\[record\]'"):
        record(tmp_path / "a.mp4", shots(count=1))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("meta", [{"model": "x"}, {"stage": [1], "pixel_size_um": "2"}, {"a": {1, 2}, "b": b"\xff"}])
def test_metadata_of_any_kind_does_no_harm(tmp_path: Path, suffix: str, meta: dict[str, object]) -> None:
    (shot,) = shots(count=1)
    take = record(tmp_path / f"a.{suffix}", [Shot(shot.images, 0, 0, meta)], um=None)
    check(take.files[0], [shot.images["normalized"]])
    assert len(lines(tmp_path / f"a.{suffix}.jsonl")) == 1
