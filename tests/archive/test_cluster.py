"""Archives on real clusters: Dask's own on this computer, and a scheduler with two workers over tcp; an S3 server."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import stainstream as ss
from stainstream.archive.record import Record, manifest
from stainstream.archive.run import plan
from stainstream.archive.slide import SlideOptions
from stainstream.archive.store import Place
from stainstream.errors import MissingExtra, UsageError
from stainstream.model import find
from tests.cli.conftest import Command, command
from tests.slides.made import by_tifffile, by_zarr, content, write

distributed = pytest.importorskip("distributed", reason="needs the extra: archive")

__all__ = ["command"]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three slides, of which one is none."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    write(folder / "a.tif")
    shutil.copy(folder / "a.tif", folder / "deep" / "b.tif")
    (folder / "bad.svs").write_bytes(b"no slide")
    return folder


def test_the_command_normalizes_an_archive(command: Command, tmp_path: Path, archive: Path) -> None:
    line = ("archive", "in", "out", "--to", "ome.zarr", "--tile", 128, "--workers", 2, "--manifest", "csv")
    done = command(*line)
    assert done.returncode == 1, done.stderr
    assert re.search(rf"3 slides, {find('default').name}; dashboard: http://\S+:\d+/status", done.stderr)
    assert "quarantined: bad.svs: cannot read " in done.stderr
    assert done.stderr.splitlines()[-1] == "stainstream: 2 complete, 1 quarantined; see out/manifest.csv"
    with ss.load("default", "lut_numpy") as normalize:
        for name in ("a", "deep/b"):
            assert np.array_equal(by_zarr(tmp_path / "out" / f"{name}.ome.zarr"), normalize(content()))
    assert (tmp_path / "out" / "manifest.csv").read_text().count("complete") == 2


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler with two workers, each a process of its own, over tcp."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False"}
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment, "cwd": tmp_path}
    port = address.rpartition(":")[2]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]]
    commands += [[*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]] * 2
    processes = [subprocess.Popen(each, **quiet) for each in commands]  # type: ignore[call-overload]
    try:
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_worker_that_is_killed_in_mid_slide_costs_no_slide(tmp_path: Path, archive: Path, scheduler: str) -> None:
    from stainstream.archive.cluster import cluster, work

    large = archive / "deep" / "large.tif"
    import tifffile

    tifffile.imwrite(large, np.tile(content(), (3, 3, 1)), tile=(256, 256), photometric="rgb", metadata=None)
    options = SlideOptions(compression="jpeg2000-lossless")
    jobs = plan(str(archive), str(tmp_path / "out"), "ome.tiff", options, resume=True)
    killed: list[str] = []
    with cluster(scheduler, 0) as client:
        client.wait_for_workers(2, timeout=60)
        ended = work(client, jobs, "default", "lut_numpy")
        found = {record.slide: record for record in _killing(ended, tmp_path / "out" / "deep", killed)}
        again = list(work(client, jobs, "default", "lut_numpy"))
    assert len(killed) == 1
    assert {name: record.status for name, record in found.items()} == {
        "a.tif": "complete",
        "bad.svs": "quarantined",
        "deep/b.tif": "complete",
        "deep/large.tif": "complete",
    }
    assert sorted(msgspec.structs.replace(each, skipped=False).slide for each in again) == sorted(found)
    assert all(each.skipped and msgspec.structs.replace(each, skipped=False) == found[each.slide] for each in again)
    assert not list((tmp_path / "out").rglob("*.part"))
    with ss.load("default", "lut_numpy") as normalize:
        whole = by_tifffile(tmp_path / "out" / "deep" / "large.ome.tiff")
        assert np.array_equal(whole, np.tile(normalize(content()), (3, 3, 1)))


def _killing(ended: Iterator[Record], folder: Path, killed: list[str]) -> Iterator[Record]:
    """Kill the worker that is at the large slide, once, and go on."""
    import threading

    def kill() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not killed:
            for part in folder.glob(".large.ome.tiff.*.part"):
                if part.stat().st_size > 10_000:
                    process = int(part.name.removesuffix(".part").rpartition("-")[2])
                    os.kill(process, signal.SIGKILL)
                    os.waitpid(process, 0)  # our own child, which would else be a zombie, and so be there still
                    killed.append(part.name)
                    return
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    yield from ended
    thread.join()


def test_clusters_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from stainstream.archive.cluster import cluster

    monkeypatch.setattr("stainstream.archive.cluster._WAIT_S", 0.5)
    with pytest.raises(UsageError, match="its scheduler does not answer"), cluster("tcp://127.0.0.1:9", 1):
        pass
    with pytest.raises(UsageError, match="unknown cluster 'cloud': it is local, slurm, k8s"), cluster("cloud", 1):
        pass
    for where, module in (("slurm", "dask_jobqueue"), ("k8s", "dask_kubernetes")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtra, match=f"'{module}' is missing; .*stainstream\\[{where}\\]"), cluster(where, 1):
            pass


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a local S3 server."""
    server = pytest.importorskip("moto.server", reason="moto, a local S3 server, is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    for key, value in (("ENDPOINT_URL", f"http://{host}:{port}"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{key}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{port}"  # the server's memory is the process's, and outlives it
    s3fs.S3FileSystem().mkdir(bucket)
    try:
        yield f"s3://{bucket}"
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        running.stop()


@pytest.mark.parametrize("kind", ["ome.zarr", "svs"])
def test_from_and_to_an_object_store(tmp_path: Path, s3: str, kind: str) -> None:
    local = write(tmp_path / "a.tif")
    Place(f"{s3}/in/deep/a.tif").put(local)
    Place(f"{s3}/in/bad.svs").write(b"no slide")
    options = SlideOptions(compression="zstd", tile=256)
    jobs = plan(f"{s3}/in", f"{s3}/out", kind, options, resume=True)
    assert [each.output for each in jobs] == [f"bad.{kind}", f"deep/a.{kind}"]
    with ss.load("default", "lut_numpy") as normalize:
        first = [each.run(normalize) for each in jobs]
        assert [each.status for each in first] == ["quarantined", "complete"]
        assert [each.run(normalize).skipped for each in jobs] == [True, True]
        expected = normalize(content())
    place = Place(f"{s3}/out/deep/a.{kind}")
    if kind == "svs":
        with place.fetched() as copy:
            assert np.array_equal(by_tifffile(copy), expected)
    else:
        for name in place.files():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "copy" / name).write_bytes(place.under(name).read() or b"")
        assert np.array_equal(by_zarr(tmp_path / "copy"), expected)
    assert b"no format it knows" in (Place(f"{s3}/out/quarantine/bad.svs.txt").read() or b"")
    listed = manifest(Place(f"{s3}/out"), "csv").read() or b""
    assert listed.count(b"complete") == 1
    place.under("0/zarr.json").remove() if kind == "ome.zarr" else place.remove()
    with ss.load("default", "lut_numpy") as normalize:
        assert not jobs[1].run(normalize).skipped
    assert msgspec.json.decode(Place(f"{s3}/out/.stainstream/deep/a.tif.json").read() or b"")["status"] == "complete"
