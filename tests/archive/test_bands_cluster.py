"""Slides in bands on real clusters: one that Dask starts here, and a scheduler with two workers over tcp."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

import stainstream as ss
from stainstream.archive.record import records
from stainstream.archive.run import plan
from stainstream.archive.slide import SlideOptions
from stainstream.archive.store import Place
from tests.archive.test_cluster import scheduler
from tests.archive.test_job import damaged
from tests.cli.conftest import Command, command
from tests.slides.made import by_tifffile, by_zarr, content, write

distributed = pytest.importorskip("distributed", reason="needs the extra: archive")

__all__ = ["command", "scheduler"]


class _Killer(threading.Thread):
    """Kills a worker once two are at bands of a slide at the same time, and looks on until it is told to end."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.over = threading.Event()
        self.killed = 0
        self.finished: dict[str, int] = {}
        self.seen: dict[str, int] = {}

    def run(self) -> None:
        while not self.over.wait(0.002):
            receipts = {}
            for receipt in self._folder.glob("[0-9]*.json"):
                with contextlib.suppress(FileNotFoundError):  # joined meanwhile
                    receipts[receipt.name] = receipt.stat().st_mtime_ns
            self.seen |= receipts
            at = {
                int(part.name.removesuffix(".part").rpartition("-")[2]) for part in self._folder.glob(".*.tiles.*.part")
            }
            if not self.killed and receipts and len(at) == 2:
                self.killed, self.finished = max(at), receipts
                os.kill(self.killed, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_worker_that_is_killed_in_mid_band_costs_that_band(command: Command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    large = np.tile(content(), (2, 3, 1))
    tifffile.imwrite(tmp_path / "in" / "a.tif", large, tile=(128, 128), photometric="rgb", metadata=None)
    killer = _Killer(tmp_path / "out" / ".a.ome.tiff.bands")
    killer.start()
    options = ("--compression", "jpeg2000-lossless", "--tile", 128, "--band", 1, "--workers", 2)
    done = command("archive", "in", "out", *options, "--resume")
    killer.over.set()
    killer.join()
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].startswith("stainstream: 1 complete; see out/manifest.")
    assert killer.killed
    assert len(killer.seen) == 8
    assert killer.finished == {name: killer.seen[name] for name in killer.finished}  # not done again
    with ss.load("default", "lut_numpy") as normalize:
        assert np.array_equal(by_tifffile(tmp_path / "out" / "a.ome.tiff"), normalize(large))
    assert not list((tmp_path / "out").rglob("*.part"))
    assert records(Place(str(tmp_path / "out")))[0].tiles == 8 * 17


def test_two_workers_do_bands_of_good_and_bad_slides(tmp_path: Path, scheduler: str) -> None:
    from stainstream.archive.cluster import cluster, work

    (tmp_path / "in").mkdir()
    good = write(tmp_path / "in" / "good.tif")
    damaged(tmp_path / "in" / "bad.tif", good)
    jobs = plan(str(tmp_path / "in"), str(tmp_path / "out"), "ome.zarr", SlideOptions(tile=64), band_rows=2)
    shares: list[float] = []
    with cluster(scheduler, 0) as client:
        client.wait_for_workers(2, timeout=60)
        found = {each.slide: each for each in work(client, jobs, "default", "lut_numpy", shares.append)}
    assert {name: each.status for name, each in found.items()} == {"good.tif": "complete", "bad.tif": "quarantined"}
    assert shares == [pytest.approx(1 / 5)] * 10
    assert "cannot be decoded" in found["bad.tif"].error
    assert records(Place(str(tmp_path / "out"))) == [found["bad.tif"], found["good.tif"]]
    with ss.load("default", "lut_numpy") as normalize:
        assert np.array_equal(by_zarr(tmp_path / "out" / "good.ome.zarr"), normalize(content()))
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [".stainstream", "good.ome.zarr", "quarantine"]
