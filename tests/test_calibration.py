"""From frames to a calibration."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import stainstream as ss
from stainstream.calibration import Taken, calibrate, open_frames, reference, take, target
from stainstream.color.histogram import ColorCounts
from stainstream.errors import FrameError, SourceError, UsageError
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.fitted import Reference
from stainstream.normalizers.macenko import Macenko
from tests.normalizers.tiles import LOW_TISSUE, demo, restained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve tiles of tissue of two sizes, with glass, ink and a broken file among them."""
    path = tmp_path_factory.mktemp("tiles")
    for k in range(12):
        image = demo(k // 4, k % 4, 512 if k % 2 else 256)
        cv2.imwrite(str(path / f"{k}.png"), image[..., ::-1])
    for name in ("glass", "black", "blue pen"):
        cv2.imwrite(str(path / f"{name}.png"), LOW_TISSUE[name][..., ::-1])
    (path / "broken.png").write_bytes(b"no image")
    return path


def _images(folder: Path) -> list[ss.RGB8]:
    with ss.open_source(str(folder)) as source:
        return [frame.image for frame in source if frame.meta["file"][0].isdigit()]


@pytest.fixture
def taken(folder: Path) -> Taken:
    return take(open_frames(str(folder)), 0)


def test_a_stream_gives_what_its_tissue_frames_give_together(folder: Path, taken: Taken) -> None:
    wanted = restained(demo(1, 2))
    made = calibrate(taken, _of(wanted), "macenko")
    assert made.fitted == Macenko.fit(_images(folder), wanted, "stream")
    survey = made.surveys["source"]
    assert (survey.frames, survey.skipped, taken.unusable) == (12, 3, 1)
    assert 0 < survey.spread <= survey.reach
    assert 0 < survey.converged < survey.reach
    assert made.agreement is not None
    assert 0 < made.agreement < 10


def _of(*images: ss.RGB8) -> Taken:
    taken = Taken("images")
    for each in images:
        taken.add(each)
    return taken


def test_frames_weigh_the_same_whatever_their_size(folder: Path, taken: Taken) -> None:
    equal = ColorCounts.gather(ColorCounts.of(each) for each in _images(folder))
    np.testing.assert_array_equal(taken.surveyor.counts.shares, equal.shares)


def test_samples_are_spread_over_all_frames(taken: Taken, folder: Path) -> None:
    images = _images(folder)
    assert 4 <= len(taken.samples) <= 8
    where = [next(k for k, image in enumerate(images) if np.array_equal(image, each)) for each in taken.samples]
    assert where == sorted(where)
    assert where[0] == 0
    assert where[-1] >= 8


def test_it_stops_when_it_has_enough(folder: Path) -> None:
    assert take(open_frames("demo?rate=0"), 5).frames == 5
    assert take(open_frames(f"{folder}?loop=1"), 20, every=3).frames == 20


def test_a_stream_without_tissue_is_given_up(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "glass.png"), LOW_TISSUE["glass"])
    with pytest.raises(SourceError, match="none of its 20 frames has tissue"):
        take(open_frames(f"{tmp_path}?loop=1"), 2)


def test_too_little_tissue_is_refused_by_the_setting(taken: Taken) -> None:
    import msgspec

    strict = msgspec.structs.replace(PROFILES["stream"], least_tissue=0.999)
    with pytest.raises(FrameError, match=r"cannot fit macenko to the source: .* % of it is tissue"):
        calibrate(taken, _of(demo()), "macenko", strict)


def test_a_reference_is_the_target_without_its_images(taken: Taken, tmp_path: Path) -> None:
    from stainstream.normalizers.store import save

    wanted = _of(restained(demo(1, 2)), restained(demo(2, 2)))
    made = reference(wanted, name="mine")
    assert set(made.statistics) >= {"reinhard", "macenko", "ruifrok", "khan"}
    save(tmp_path / "mine.toml", made)
    read = target(str(tmp_path / "mine.toml"))
    assert isinstance(read, Reference)
    assert calibrate(taken, read, "macenko").fitted == calibrate(taken, wanted, "macenko").fitted


def test_targets(folder: Path) -> None:
    images, shipped = target(str(folder)), target("he-camelyon17-centre4")
    assert isinstance(images, Taken)
    assert images.frames == 12
    assert isinstance(shipped, Reference)
    for wrong in ("nowhere", "camera0", "demo?rate=30", str(folder / "broken.png"), str(folder / "glass.png")):
        with pytest.raises(UsageError, match=r"cannot use target .*a reference: he-camelyon17"):
            target(wrong)


def test_a_slide_is_sampled_where_its_tissue_is(tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="OpenSlide is not installed")
    tifffile = pytest.importorskip("tifffile", reason="tifffile, which writes the slide, is not installed")
    content = np.hstack([LOW_TISSUE["glass"], demo(size=512)])
    tifffile.imwrite(tmp_path / "slide.tif", content, tile=(256, 256), photometric="rgb")
    taken = take(open_frames(f"{tmp_path / 'slide.tif'}?tile=128"), 0)
    assert (taken.frames, taken.surveyor.skipped) == (16, 0)
