"""A slide in bands: byte by byte what it is undivided, resumed, failing, joined again."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import stainstream as ss
from stainstream.archive.job import Begun, Job
from stainstream.archive.recipe import BandRows, rows_of
from stainstream.archive.record import Record, records
from stainstream.archive.run import plan
from stainstream.archive.slide import SlideOptions
from stainstream.archive.store import Place
from stainstream.cli.archive import archive
from stainstream.color.lut import quantize
from stainstream.errors import UsageError
from stainstream.normalizers.store import read
from stainstream.slides.pyramid import Plan
from tests.archive.test_job import damaged
from tests.slides.made import by_tifffile, content, write

pytest.importorskip("openslide", reason="OpenSlide is not installed")

OPTIONS = SlideOptions(compression="zstd", tile=64)


@pytest.fixture(scope="module")
def normalize() -> Iterator[ss.Normalizer]:
    with ss.load("default", "lut_numba", 1) as loaded:
        yield loaded


def job(
    folder: Path,
    kind: str = "ome.tiff",
    options: SlideOptions = OPTIONS,
    rows: BandRows = 2,
    out: str = "out",
    *,
    resume: bool = False,
) -> Job:
    """The one job of a folder with the slide ``in/a.tif``: 8 rows of 11 tiles, 5 levels."""
    if not (folder / "in").exists():
        (folder / "in").mkdir()
        write(folder / "in" / "a.tif")
    (only,) = plan(str(folder / "in"), str(folder / out), kind, options, resume=resume, band_rows=rows)
    return only


def begun(doing: Job, normalize: ss.Normalizer) -> Begun:
    """A slide that is divided."""
    found = doing.begin(normalize)
    assert isinstance(found, Begun)
    return found


def banded(doing: Job, first: Begun, normalize: ss.Normalizer, *numbers: int) -> list[Record]:
    """What became of some bands."""
    return [doing.band(first, first.bands.all[number], normalize) for number in numbers]


@pytest.mark.parametrize(
    ("kind", "compression", "rows"),
    [
        ("ome.tiff", "jpeg", 2),
        ("tiff", "zstd", 1),
        ("svs", "jpeg2000", 4),
        ("ome.zarr", "zstd", 2),
        ("ome.zarr", "", 4),
    ],
)
def test_bands_make_the_same_bytes(
    tmp_path: Path, normalize: ss.Normalizer, kind: str, compression: str, rows: int
) -> None:
    options = SlideOptions(compression=compression, tile=64, keep_background=rows == 2)
    whole = job(tmp_path, kind, options, 0, "whole").run(normalize)
    divided = job(tmp_path, kind, options, rows)
    assert len(begun(divided, normalize).bands.all) == 8 // rows
    made = divided.run(normalize)
    assert (made.status, made.tiles, made.error) == ("complete", 88, "")
    assert made.digest_out == whole.digest_out == Place(str(tmp_path / "out" / f"a.{kind}")).digest()
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [".stainstream", f"a.{kind}"]
    assert dataclasses.replace(divided, resume=True).run(normalize).skipped


@pytest.mark.parametrize("kind", ["svs", "ome.zarr"])
def test_label_and_macro_come_along(shared: Path, tmp_path: Path, normalize: ss.Normalizer, kind: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.svs").symlink_to(shared / "data" / "slides" / "CMU-1-Small-Region.svs")
    whole = job(tmp_path, kind, SlideOptions(), 0, "whole").run(normalize)
    made = job(tmp_path, kind, SlideOptions(), 1).run(normalize)
    assert made.status == "complete"
    assert made.digest_out == whole.digest_out


@pytest.mark.parametrize("kind", ["ome.tiff", "ome.zarr"])
def test_finished_bands_are_kept_if_they_are_what_they_were(
    tmp_path: Path, normalize: ss.Normalizer, kind: str
) -> None:
    killed = job(tmp_path, kind)
    first = begun(killed, normalize)
    assert [each.status for each in banded(killed, first, normalize, 0, 1, 2)] == ["complete"] * 3
    folder = first.bands.folder
    damage = folder / "1.tiles" if kind == "ome.tiff" else folder / "group" / "0" / "c" / "0" / "3" / "5"
    data = bytearray(damage.read_bytes())
    data[len(data) // 2] ^= 1
    damage.write_bytes(data)
    before = {number: (folder / f"{number}.json").stat().st_mtime_ns for number in range(3)}

    again = job(tmp_path, kind, resume=True)
    second = begun(again, normalize)
    done = banded(again, second, normalize, 0, 1, 2, 3)
    after = {number: (folder / f"{number}.json").stat().st_mtime_ns for number in range(3)}
    assert {number: after[number] == before[number] for number in before} == {0: True, 1: False, 2: True}
    made = again.join(second, done, normalize)
    assert made.digest_out == job(tmp_path, kind, rows=0, out="whole").run(normalize).digest_out
    assert made.seconds >= sum(each.seconds for each in done)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"resume": True, "rows": 4},
        {"resume": True, "options": msgspec.structs.replace(OPTIONS, keep_background=True)},
    ],
)
def test_bands_of_another_run_or_making_are_not(
    tmp_path: Path, normalize: ss.Normalizer, change: dict[str, object]
) -> None:
    killed = job(tmp_path)
    first = begun(killed, normalize)
    banded(killed, first, normalize, 0)
    assert begun(killed, normalize).bands == first.bands  # the same run: Dask gave it to another worker
    assert (first.bands.folder / "0.json").exists()
    begun(job(tmp_path, **change), normalize)  # type: ignore[arg-type]
    assert not (first.bands.folder / "0.json").exists()


def test_a_slide_that_cannot_be_read_is_quarantined_once(tmp_path: Path, normalize: ss.Normalizer) -> None:
    doing = job(tmp_path)
    shutil.move(tmp_path / "in" / "a.tif", tmp_path / "good.tif")
    damaged(tmp_path / "in" / "a.tif", tmp_path / "good.tif")  # in its last row
    first = begun(doing, normalize)
    done = banded(doing, first, normalize, 0, 3, 1)
    assert [each.status for each in done] == ["complete", "quarantined", "quarantined"]
    assert done[1].error == done[2].error  # it did not read it again
    assert not (first.bands.folder / "1.json").exists()
    bad = doing.join(first, done, normalize)
    assert (bad.status, bad.error) == ("quarantined", done[1].error)
    assert (tmp_path / "out" / "quarantine" / "a.tif.txt").read_text() == bad.error + "\n"
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [".stainstream", "quarantine"]
    assert dataclasses.replace(doing, resume=True).run(normalize).skipped
    late = doing.band(first, first.bands.all[2], normalize)
    assert (late.status, "somebody removed" in late.error) == ("failed", True)
    assert not first.bands.folder.exists()
    shutil.move(tmp_path / "good.tif", tmp_path / "in" / "a.tif")
    assert doing.run(normalize).status == "complete"


OTHER = """
import pickle, sys
import stainstream as ss
doing, first, band = pickle.load(open(sys.argv[1], "rb"))
with ss.load("default", "lut_numpy") as normalize:
    print(doing.band(first, band, normalize).status)
"""


@pytest.mark.parametrize("kind", ["tiff", "ome.zarr"])
def test_a_worker_given_up_for_dead_spoils_nothing(tmp_path: Path, normalize: ss.Normalizer, kind: str) -> None:
    doing = job(tmp_path, kind)
    first = begun(doing, normalize)
    band, calls = first.bands.all[1], itertools.count(1)
    (tmp_path / "task").write_bytes(pickle.dumps((doing, first, band)))

    def overtaken() -> None:
        match next(calls):
            case 2:  # it has made a tile; another does the whole band
                command = [sys.executable, "-c", OTHER, str(tmp_path / "task")]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.stdout == "complete\n", done.stderr
            case 3:
                raise ss.StainstreamError("told to go")

    with pytest.raises(ss.StainstreamError, match="told to go"):
        first.bands.make(band, normalize, overtaken)
    assert (first.bands.folder / "1.json").exists()
    before = (first.bands.folder / "1.json").stat().st_mtime_ns
    done = banded(doing, first, normalize, 0, 1, 2, 3)
    assert (first.bands.folder / "1.json").stat().st_mtime_ns == before
    made = doing.join(first, done, normalize)
    assert made.digest_out == job(tmp_path, kind, rows=0, out="whole").run(normalize).digest_out


def test_a_worker_that_is_told_to_go_stops_no_other(tmp_path: Path, normalize: ss.Normalizer) -> None:
    doing = job(tmp_path)
    first = begun(doing, normalize)
    with ss.load("default", "lut_numpy") as closed:
        pass  # as Dask's worker does it, whatever it is at
    gone = doing.band(first, first.bands.all[0], closed)
    assert (gone.status, "is closed" in gone.error) == ("failed", True)
    assert [each.status for each in banded(doing, first, normalize, 1, 0, 2, 3)] == ["complete"] * 4


LIMITED = """
import resource, signal, sys
from pathlib import Path
import stainstream as ss
from tests.archive.test_bands import job
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
with ss.load("default", "lut_numpy") as normalize:
    print(job(Path(sys.argv[1]), sys.argv[2]).run(normalize).status)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize(("kind", "limit", "finished"), [("ome.tiff", 250_000, 4), ("ome.zarr", 8_000, 0)])
def test_a_full_disk_leaves_whole_bands_only(
    tmp_path: Path, normalize: ss.Normalizer, kind: str, limit: int, finished: int
) -> None:
    whole = job(tmp_path, kind, rows=0, out="whole").run(normalize)
    command = [sys.executable, "-c", LIMITED, str(tmp_path), kind, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "failed\n", (done.returncode, done.stderr)
    (noted,) = records(Place(str(tmp_path / "out")))
    assert "File too large" in noted.error
    folder = tmp_path / "out" / f".a.{kind}.bands"
    assert len(list(folder.glob("[0-9].json"))) == finished
    assert not [each for each in folder.rglob("*") if each.suffix == ".part"]
    assert bool(list(folder.glob("[0-9].*")) or list(folder.glob("group/0/c/0/*"))) == bool(finished)
    made = job(tmp_path, kind, resume=True).run(normalize)
    assert (made.status, made.digest_out) == ("complete", whole.digest_out)
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["tiff", "ome.zarr"])
def test_joining_can_be_done_again(tmp_path: Path, normalize: ss.Normalizer, kind: str) -> None:
    doing = job(tmp_path, kind)
    first = begun(doing, normalize)
    done = banded(doing, first, normalize, 0, 1, 2, 3)

    def die(made: Path) -> None:
        assert made.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.bands.join(normalize, die)
    made = doing.join(first, done, normalize)
    assert (made.status, made.error) == ("complete", "")
    again = doing.join(first, banded(doing, first, normalize, 0), normalize)  # as Dask does it if a worker dies then
    assert (again.status, again.digest_out, again.skipped) == ("complete", made.digest_out, False)
    assert made.digest_out == job(tmp_path, kind, rows=0, out="whole").run(normalize).digest_out
    first.bands.folder.mkdir()  # a worker that died before it could remove it
    assert job(tmp_path, kind, resume=True).run(normalize).skipped
    assert not first.bands.folder.exists()


def test_chunks_that_are_gone_are_missed(tmp_path: Path, normalize: ss.Normalizer) -> None:
    doing = job(tmp_path, "ome.zarr")
    first = begun(doing, normalize)
    done = banded(doing, first, normalize, 0, 1, 2, 3)
    shutil.rmtree(first.bands.folder / "group")
    failed = doing.join(first, done, normalize)
    assert (failed.status, "somebody removed" in failed.error) == ("failed", True)
    assert not (tmp_path / "out" / "a.ome.zarr").exists()
    assert job(tmp_path, "ome.zarr", resume=True).run(normalize).status == "complete"


def test_a_method_is_fitted_and_baked_once_for_all_bands(tmp_path: Path) -> None:
    doing = dataclasses.replace(job(tmp_path), per_slide="reinhard", look="he-camelyon17-centre4", engine="lut_numpy")
    first = doing.begin(None)
    assert isinstance(first, Begun)
    (table,) = first.bands.folder.glob("*.lut")
    kept = [table.stat().st_mtime_ns, (tmp_path / "out" / ".stainstream" / "a.tif.toml").stat().st_mtime_ns]
    done = [doing.band(first, band, None) for band in first.bands.all]
    assert kept == [table.stat().st_mtime_ns, (tmp_path / "out" / ".stainstream" / "a.tif.toml").stat().st_mtime_ns]
    made = doing.join(first, done, None)
    assert (made.status, made.error) == ("complete", "")
    method = read(tmp_path / "out" / ".stainstream" / "a.tif.toml")
    found = by_tifffile(tmp_path / "out" / "a.ome.tiff")[::7, ::7]
    assert np.array_equal(found, quantize(method(content()[::7, ::7] / 255.0), method.rounding))


def test_large_slides_are_divided() -> None:
    large = Plan(100_000, 100_000, 512)
    assert rows_of(large, "auto") == 8
    assert rows_of(Plan(32_000, 32_000, 512), "auto") == 0
    assert rows_of(Plan(600_000, 3000, 512), "auto") == 1
    assert [rows_of(large, each) for each in (0, 1, 5, 128, 129, 1000)] == [0, 1, 8, 128, 0, 0]
    for wrong in ("x", "-1", "1.5", "²"):
        with pytest.raises(UsageError, match=f"wrong band '{wrong}': it is a number of rows of tiles, auto, or 0"):
            archive("in", "out", band=wrong)


def test_slides_for_object_stores_are_not_divided(tmp_path: Path, normalize: ss.Normalizer) -> None:
    doing = job(tmp_path)
    far = dataclasses.replace(doing, out=Place("memory://bands"), band_rows=2)
    assert isinstance(far.begin(normalize), Record)
    with pytest.raises(UsageError, match=r"cannot divide slides with memory://bands: bands need disks .* --band"):
        plan(str(tmp_path / "in"), "memory://bands", "tiff", OPTIONS, band_rows=2)
