"""One slide, from file to file."""

from __future__ import annotations

import json
import logging
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from ome_types import from_tiff
from yaozarrs import validate_zarr_store

import stainstream as ss
from stainstream.archive.part import whole
from stainstream.archive.slide import Rendering, SlideOptions
from stainstream.errors import SourceError, UsageError
from stainstream.model import find
from stainstream.slides import Slide
from stainstream.slides.cutoff import cut_off
from stainstream.slides.opening import open_slide
from stainstream.slides.tissue import TissueMask
from tests.slides.made import SIZE, by_openslide, by_tifffile, by_zarr, content, write

openslide = pytest.importorskip("openslide", reason="OpenSlide is not installed")

Read = Callable[..., ss.RGB8]
LOSSLESS: list[tuple[str, str, Read]] = [
    ("ome.zarr", "zstd", by_zarr),
    ("ome.zarr", "deflate", by_zarr),
    ("ome.zarr", "none", by_zarr),
    *[("ome.tiff", each, by_tifffile) for each in ("jpeg2000-lossless", "zstd", "deflate", "none")],
    ("tiff", "jpeg2000-lossless", by_tifffile),
    *[("tiff", each, by_openslide) for each in ("zstd", "deflate", "none")],
    *[("svs", each, by_openslide) for each in ("jpeg2000-lossless", "zstd", "deflate", "none")],
]


@pytest.fixture(scope="module")
def normalize() -> Iterator[ss.Normalizer]:
    with ss.load("default", "lut_numba", 1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("slide") / "biopsy.tif")


def levels(path: Path, read: Read) -> list[ss.RGB8]:
    """All levels of what was written."""
    found = []
    for level in range(9):
        try:
            found.append(read(path, level))
        except (IndexError, KeyError):
            break
    return found


@pytest.mark.parametrize(("suffix", "compression", "read"), LOSSLESS)
def test_what_is_lossless_is_normalized_to_the_byte(
    slide: Path, tmp_path: Path, normalize: ss.Normalizer, suffix: str, compression: str, read: Read
) -> None:
    path = tmp_path / f"out.{suffix}"
    made = Rendering(slide, path, normalize, SlideOptions(compression=compression, tile=64)).run()
    assert made is not None
    assert (made.width, made.height, made.tiles) == (*SIZE, 11 * 8)
    found = levels(path, read)
    assert [each.shape[:2] for each in found] == [(500, 700), (250, 350), (125, 175), (62, 87), (31, 43)]
    assert np.array_equal(found[0], normalize(content()))
    assert np.abs(found[1] - normalize(content()).reshape(250, 2, 350, 2, 3).mean(axis=(1, 3))).max() <= 0.5
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("suffix", "compression", "quality"),
    [("ome.tiff", "jpeg", 0), ("tiff", "jpeg", 95), ("svs", "jpeg2000", 0), ("ome.tiff", "jpeg2000", 50)],
)
def test_what_is_lossy_is_near(
    slide: Path, tmp_path: Path, normalize: ss.Normalizer, suffix: str, compression: str, quality: int
) -> None:
    path = tmp_path / f"out.{suffix}"
    Rendering(slide, path, normalize, SlideOptions(compression=compression, quality=quality)).run()
    read = by_openslide if suffix != "ome.tiff" else by_tifffile
    error = np.abs(read(path).astype(int) - normalize(content()))
    assert error.mean() < (2.5 if compression == "jpeg" else 1.5)


def test_ome_tiff_says_what_it_is(slide: Path, tmp_path: Path, normalize: ss.Normalizer) -> None:
    Rendering(slide, tmp_path / "out.ome.tiff", normalize).run()
    ome = from_tiff(tmp_path / "out.ome.tiff")
    pixels = ome.images[0].pixels
    assert (pixels.size_x, pixels.size_y, pixels.size_c) == (*SIZE, 3)
    assert (pixels.physical_size_x, pixels.physical_size_y) == (0.25, 0.25)
    assert pixels.channels[0].name == "RGB"
    facts = {each.k: each.value for each in ome.structured_annotations[0].value.ms}
    assert normalize.model is not None
    assert facts["model_sha256"] == normalize.model.digest
    assert facts["source"] == "biopsy.tif"
    assert facts["software"].startswith("stainstream ")


def test_ome_zarr_says_what_it_is(slide: Path, tmp_path: Path, normalize: ss.Normalizer) -> None:
    Rendering(slide, tmp_path / "out.ome.zarr", normalize, SlideOptions(tile=64)).run()
    validate_zarr_store(tmp_path / "out.ome.zarr")
    attributes = json.loads((tmp_path / "out.ome.zarr" / "zarr.json").read_text())["attributes"]
    scales = [each["coordinateTransformations"][0]["scale"] for each in attributes["ome"]["multiscales"][0]["datasets"]]
    assert scales[0] == [1.0, 0.25, 0.25]
    assert scales[3] == pytest.approx([1.0, 0.25 * 500 / 62, 0.25 * 700 / 87])
    assert attributes["stainstream"]["model"] == find("default").name


def test_made_twice_it_is_the_same_file(slide: Path, tmp_path: Path, normalize: ss.Normalizer) -> None:
    for suffix in ("ome.tiff", "tiff", "svs"):
        path = tmp_path / f"out.{suffix}"
        files = []
        for threads in (1, 3):
            Rendering(slide, path, normalize, threads=threads).run()
            files.append(path.read_bytes())
        assert files[0] == files[1]


def test_background_is_kept_to_the_byte(slide: Path, tmp_path: Path, normalize: ss.Normalizer) -> None:
    options = SlideOptions(keep_background=True, compression="zstd")
    Rendering(slide, tmp_path / "out.tiff", normalize, options).run()
    found, before, after = by_openslide(tmp_path / "out.tiff"), content(), normalize(content())
    mask = TissueMask(content(), *SIZE, margin=1).at(0, 0, *SIZE)
    assert 0.3 < mask.mean() < 0.9
    assert np.array_equal(found[~mask], before[~mask])
    assert np.array_equal(found[mask], after[mask])
    assert (before != after)[~mask].any()


def test_every_sample_slide_is_written_or_refused_by_name(
    shared: Path, tmp_path: Path, normalize: ss.Normalizer
) -> None:
    written = {}
    for path in sorted((shared / "data" / "slides").iterdir()):
        with open_slide(path) if path.suffix != ".qptiff" else tmp_write(tmp_path) as slide:
            about = slide.about
            x, y = about.width // 3, about.height // 3
            expected = normalize(slide.read(x, y, 64, 64))
            raw = {name: read() for name, read in slide.associated().items()}
        out = tmp_path / f"{path.stem}.svs"
        if path.suffix == ".qptiff":
            with pytest.raises(SourceError, match=r"small_vectra.qptiff: OpenSlide cannot .*CYX uint8 of 3x1440x1920"):
                Rendering(path, out, normalize).run()
            continue
        Rendering(path, out, normalize, SlideOptions(compression="none")).run()
        with openslide.OpenSlide(out) as read:
            region = read.read_region((x, y), 0, (64, 64)).convert("RGB")
            assert np.array_equal(np.asarray(region), expected)
            assert read.dimensions == (about.width, about.height)
            if about.pixel_size_um:
                assert float(read.properties["openslide.mpp-x"]) == pytest.approx(about.pixel_size_um[0])
            assert sorted(read.associated_images) == sorted(raw)
            for name, image in read.associated_images.items():
                wanted = normalize(raw[name]) if name == "thumbnail" else raw[name]
                assert np.array_equal(np.asarray(image.convert("RGB")), wanted)
        written[path.name] = len(raw)
        out.unlink()
    assert written["CMU-1-Small-Region.svs"] == 3
    assert len(written) >= 4


def tmp_write(folder: Path) -> Slide:
    """A small slide, open."""
    return open_slide(write(folder / "any.tif"))


def test_readers_agree(shared: Path) -> None:
    path = shared / "data" / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path, "openslide") as one, open_slide(path, "tifffile") as other:
        assert np.array_equal(one.read(200, 150, 600, 500), other.read(200, 150, 600, 500))
        assert np.abs(one.thumbnail(300).astype(float) - other.thumbnail(300)).mean() < 6
        assert sorted(one.associated()) == sorted(other.associated())


def test_what_was_written_can_be_read_as_a_slide(slide: Path, tmp_path: Path, normalize: ss.Normalizer) -> None:
    Rendering(slide, tmp_path / "once.ome.tiff", normalize, SlideOptions(compression="zstd")).run()
    Rendering(tmp_path / "once.ome.tiff", tmp_path / "twice.ome.zarr", None, SlideOptions(reader="tifffile")).run()
    assert np.array_equal(by_zarr(tmp_path / "twice.ome.zarr"), normalize(content()))
    scale = json.loads((tmp_path / "twice.ome.zarr" / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    assert scale["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 0.25, 0.25]


def test_wrong_wishes_are_refused(slide: Path, tmp_path: Path) -> None:
    for name, options, words in (
        ("a.png", SlideOptions(), "unknown kind of slide to write"),
        ("a.ome.zarr", SlideOptions(compression="jpeg"), "takes zstd, deflate, none"),
        ("a.svs", SlideOptions(compression="zstd", quality=3), "it loses nothing"),
    ):
        with pytest.raises(UsageError, match=words):
            Rendering(slide, tmp_path / name, None, options)
    with pytest.raises(UsageError, match="the slide that is read"):
        Rendering(slide, slide, None)


@pytest.mark.parametrize("suffix", ["ome.zarr", "ome.tiff"])
def test_a_truncated_slide_leaves_nothing_and_what_was_there(
    slide: Path, tmp_path: Path, normalize: ss.Normalizer, suffix: str
) -> None:
    out = tmp_path / f"out.{suffix}"
    Rendering(slide, out, normalize).run()
    before = sorted(tmp_path.rglob("*"))
    cut = Path(shutil.copy(slide, tmp_path / "cut.tif"))
    with tifffile.TiffFile(slide) as file, cut.open("r+b") as damaged:
        place = file.pages[0].dataoffsets[60]
        damaged.seek(place)
        damaged.write(bytes(200))
    with pytest.raises(SourceError, match=r"cut.tif: the place \d+, \d+ cannot be decoded"):
        Rendering(cut, out, normalize).run()
    cut.unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_slide_that_is_cut_off_is_refused_though_it_opens(shared: Path, slide: Path, tmp_path: Path) -> None:
    known = shared / "data" / "slides" / "CMU-1-Small-Region.svs"
    for whole_slide, share, words in ((known, 0.97, r"goes on at \d+"), (slide, 0.8, r"image 0 ends at \d+")):
        assert cut_off(whole_slide) is None
        cut = tmp_path / f"cut{whole_slide.suffix}"
        cut.write_bytes(whole_slide.read_bytes()[: int(whole_slide.stat().st_size * share)])
        with pytest.raises(SourceError, match=rf"it is cut off: it has \d+ bytes, and {words}; copy it anew"):
            open_slide(cut)
        with open_slide(cut, "tifffile") as left:
            assert left.about.width == (2220 if whole_slide == known else SIZE[0])
    assert cut_off(shared / "data" / "slides" / "fluorescence.ndpi") is None
    assert cut_off(tmp_path / "none.tif") is None


def test_stopped_it_leaves_nothing(slide: Path, tmp_path: Path) -> None:
    rendering = Rendering(slide, tmp_path / "out.ome.tiff", None, SlideOptions(tile=64))
    assert rendering.run(lambda now: now.stop() if now.done == 30 else None) is None
    assert rendering.done == 30
    assert not list(tmp_path.iterdir())


FULL = """
import resource, signal, sys
from pathlib import Path
from stainstream.archive.slide import Rendering, SlideOptions
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    Rendering(Path(sys.argv[1]), Path(sys.argv[2]), None, SlideOptions(compression="none", tile=512)).run()
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("suffix", ["ome.zarr", "tiff"])
def test_a_full_disk_leaves_nothing(slide: Path, tmp_path: Path, suffix: str) -> None:
    assert resource.RLIMIT_FSIZE >= 0
    command = [sys.executable, "-c", FULL, str(slide), str(tmp_path / f"out.{suffix}")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"SinkError cannot write {tmp_path / 'out.'}"), done.stderr
    assert "File too large" in done.stdout
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with whole(tmp_path / "a.ome.zarr") as part:
        name = part.name
        part.mkdir()
    left = tmp_path / name.replace(str(int(name.split("-")[-1].removesuffix(".part"))), str(process.pid))
    (left / "0").mkdir(parents=True)
    running = tmp_path / name
    running.mkdir()
    with whole(tmp_path / "a.ome.zarr") as part:
        assert not left.exists()
        assert running.exists()
        (part / "new").mkdir(parents=True)
    assert [each.name for each in tmp_path.iterdir()] == ["a.ome.zarr"]
    assert (tmp_path / "a.ome.zarr" / "new").is_dir()


def test_tifffile_stays_quiet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bad.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    with caplog.at_level(logging.WARNING), pytest.raises(SourceError, match=r"bad.tif: it is cut off: it has 8 bytes"):
        open_slide(tmp_path / "bad.tif")
    assert not caplog.records


def test_zarr_groups_stay_open_to_others(slide: Path, tmp_path: Path) -> None:
    Rendering(slide, tmp_path / "out.ome.zarr", None).run()
    array = zarr.open_array(tmp_path / "out.ome.zarr" / "0", mode="r")
    assert (array.shape, array.chunks) == ((3, 500, 700), (3, 512, 512))
