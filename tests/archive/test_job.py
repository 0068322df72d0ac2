"""One slide of an archive: what is made, left out, done again, quarantined."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

import stainstream as ss
from stainstream.archive.job import Job
from stainstream.archive.record import Record, manifest, records
from stainstream.archive.run import plan
from stainstream.archive.slide import SlideOptions
from stainstream.archive.statistics import fitted_to
from stainstream.archive.store import Place
from stainstream.errors import SourceError, UsageError
from tests.slides.made import by_tifffile, by_zarr, content, write

OPTIONS = SlideOptions(compression="zstd", tile=128)


@pytest.fixture(scope="module")
def normalize() -> Iterator[ss.Normalizer]:
    with ss.load("default", "lut_numba", 1) as loaded:
        yield loaded


def job(folder: Path, kind: str = "ome.tiff", *, resume: bool = True) -> Job:
    """The one job of a folder with the slide ``in/a.tif``."""
    (folder / "in").mkdir(exist_ok=True)
    if not (folder / "in" / "a.tif").exists():
        write(folder / "in" / "a.tif")
    (only,) = plan(str(folder / "in"), str(folder / "out"), kind, OPTIONS, resume=resume)
    return only


def damaged(path: Path, source: Path) -> Path:
    """A copy of a slide in which a tile cannot be decoded."""
    shutil.copy(source, path)
    with tifffile.TiffFile(source) as file, path.open("r+b") as bad:
        bad.seek(file.pages[0].dataoffsets[-5])
        bad.write(bytes(100))
    return path


@pytest.mark.parametrize("kind", ["ome.tiff", "ome.zarr"])
def test_what_is_complete_is_left_and_what_changed_is_done_again(
    tmp_path: Path, normalize: ss.Normalizer, kind: str
) -> None:
    doing = job(tmp_path, kind)
    first = doing.run(normalize)
    assert (first.status, first.output, first.tiles, first.skipped) == ("complete", f"a.{kind}", 24, False)
    assert len(first.digest_in) == len(first.digest_out) == 64
    assert normalize.model is not None
    assert first.model_sha256 == normalize.model.digest
    path = tmp_path / "out" / f"a.{kind}"
    assert np.array_equal(by_zarr(path) if kind == "ome.zarr" else by_tifffile(path), normalize(content()))

    again = doing.run(normalize)
    assert again.skipped
    assert dataclasses.replace(doing, resume=False).run(normalize).digest_out == first.digest_out

    inner = path / "0" / "c" / "0" / "1" / "2" if path.is_dir() else path
    data = bytearray(inner.read_bytes())
    data[len(data) // 2] ^= 1
    inner.write_bytes(data)
    repaired = doing.run(normalize)
    assert not repaired.skipped
    assert repaired.digest_out == first.digest_out

    other = dataclasses.replace(doing, options=SlideOptions(compression="zstd", tile=256)).run(normalize)
    assert not other.skipped
    assert other.status == "complete"
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not doing.run(normalize).skipped


def test_a_slide_that_cannot_be_read_is_quarantined_until_it_is_another(
    tmp_path: Path, normalize: ss.Normalizer
) -> None:
    doing = job(tmp_path)
    good = (tmp_path / "in" / "a.tif").read_bytes()
    for change in (lambda path: damaged(path, write(tmp_path / "good.tif")), lambda path: os.truncate(path, 5000)):
        change(tmp_path / "in" / "a.tif")
        bad = doing.run(normalize)
        assert (bad.status, bad.skipped) == ("quarantined", False)
        assert "a.tif" in bad.error
        assert (tmp_path / "out" / "quarantine" / "a.tif.txt").read_text() == bad.error + "\n"
        assert doing.run(normalize).skipped
        assert not list((tmp_path / "out").glob("[!.]*.*"))
    (tmp_path / "in" / "a.tif").write_bytes(good)
    assert doing.run(normalize).status == "complete"
    assert not (tmp_path / "out" / "quarantine" / "a.tif.txt").exists()


LIMITED = """
import resource, signal, sys
from pathlib import Path
import stainstream as ss
from tests.archive.test_job import job
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
with ss.load("default", "lut_numpy") as normalize:
    print(job(Path(sys.argv[1])).run(normalize).status)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_not_the_slides_fault(tmp_path: Path, normalize: ss.Normalizer) -> None:
    doing = job(tmp_path)
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "failed\n", (done.returncode, done.stderr)
    assert not list((tmp_path / "out").glob("[!.]*.*"))
    (noted,) = records(Place(str(tmp_path / "out")))
    assert "File too large" in noted.error
    assert doing.run(normalize).status == "complete"


def test_the_manifest_lists_every_slide(tmp_path: Path, normalize: ss.Normalizer) -> None:
    import csv

    import pyarrow.parquet as pq

    made = job(tmp_path).run(normalize)
    out = Place(str(tmp_path / "out"))
    with (tmp_path / "out" / "manifest.csv").open() if manifest(out, "csv").local else open(os.devnull) as file:
        (row,) = csv.DictReader(file)
    assert row["digest_in"] == made.digest_in
    assert row["status"] == "complete"
    (typed,) = pq.read_table(manifest(out, "parquet").url).to_pylist()
    assert typed["digest_out"] == made.digest_out
    assert typed["seconds"] == made.seconds > 0
    assert set(typed) == set(Record.__struct_fields__) - {"skipped"}


def test_every_slide_has_one_job_and_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.tif", "a.svs", "sub/b.ome.tif", "sub/notes.txt", ".hidden.svs", "out/a.ome.tiff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    jobs = plan(str(tmp_path), str(tmp_path / "out"), "svs", OPTIONS)
    assert {each.name: each.output for each in jobs} == {
        "a.svs": "a.svs.svs",
        "a.tif": "a.tif.svs",
        "sub/b.ome.tif": "sub/b.svs",
    }
    shares = [plan(str(tmp_path), str(tmp_path / "out"), "svs", OPTIONS, f"{k}/2") for k in (1, 2)]
    assert sorted(each.name for share in shares for each in share) == sorted(each.name for each in jobs)
    assert [each.name for each in plan(f"{tmp_path}/*.svs", "out", "svs", OPTIONS)] == ["a.svs"]
    for share in ("3/2", "0/2", "x", "1/"):
        with pytest.raises(UsageError, match="wrong share"):
            plan(str(tmp_path), "out", "svs", OPTIONS, share)
    with pytest.raises(SourceError, match="cannot find slides in"):
        plan(str(tmp_path / "none"), "out", "svs", OPTIONS)


def test_a_method_is_fitted_to_each_slide_once(tmp_path: Path) -> None:
    doing = dataclasses.replace(job(tmp_path), per_slide="reinhard", look="he-camelyon17-centre4", engine="lut_numpy")
    made = doing.run(None)
    assert (made.status, made.error) == ("complete", "")
    kept = tmp_path / "out" / ".stainstream" / "a.tif.toml"
    method = fitted_to(tmp_path / "in" / "a.tif", "reinhard", "he-camelyon17-centre4", kept)
    from stainstream.color.lut import quantize

    found = by_tifffile(tmp_path / "out" / "a.ome.tiff")[::7, ::7]
    assert np.array_equal(found, quantize(method(content()[::7, ::7] / 255.0), method.rounding))
    before = kept.stat().st_mtime_ns
    fitted_to(tmp_path / "in" / "a.tif", "reinhard", "he-camelyon17-centre4", kept)
    assert kept.stat().st_mtime_ns == before
    fitted_to(tmp_path / "in" / "a.tif", "reinhard", "he-camelyon17-centre0", kept)
    assert kept.stat().st_mtime_ns != before
    assert doing.run(None).skipped
