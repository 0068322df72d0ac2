"""The table on a GPU: a real one, or the simulated one that `test_simulated` puts these tests on."""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stainstream as ss
from stainstream.color.lut import Lut, bake
from stainstream.engines.gpu_queue import Queue
from stainstream.engines.lut_cuda import LutCuda
from stainstream.errors import EngineError, FrameError, UsageError
from stainstream.frame import RGB8
from stainstream.normalizers.network import PixelwiseNetwork
from stainstream.stream.pipeline import Pipeline
from stainstream.stream.pool import Pool
from tests.engines.tables import looked_up, scrambled
from tests.graphs import Graph, negative

pytestmark = [pytest.mark.gpu]
pytest.importorskip("cuda.core")


class Simulator:
    """The simulated driver of this process."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL("libcuda.so.1")
        self._library.sim_get.restype = ctypes.c_long

    def __getitem__(self, what: str) -> int:
        return int(self._library.sim_get(what.encode()))

    def __setitem__(self, what: str, value: int) -> None:
        self._library.sim_set(what.encode(), ctypes.c_long(value))


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    if not hasattr(ctypes.CDLL("libcuda.so.1"), "sim_get"):
        pytest.skip("needs the simulated GPU, whose failures can be ordered")
    made = Simulator()
    before = {what: made[what] for what in ("version", "count", "major", "minor", "memory", "lose_after")}
    yield made
    for what, value in before.items():
        made[what] = value
    made["broken"] = 0


@pytest.fixture(scope="module")
def lut() -> Lut:
    return scrambled()


@pytest.fixture(scope="module", autouse=True)
def _default_is_baked() -> None:
    """The processor bakes the default model's table, which the simulated GPU would take long for."""
    ss.load(engine="lut_numba").close()


@pytest.fixture
def engine(lut: Lut) -> Iterator[LutCuda]:
    with LutCuda(lut) as opened:
        yield opened


def _noise(*shape: int, seed: int = 0) -> RGB8:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class OnGpu:
    """An array in the GPU's memory, as array libraries describe theirs."""

    def __init__(self, engine: LutCuda, image: RGB8, **different: Any) -> None:
        assert engine._gpu is not None
        self.gpu, self.shape = engine._gpu, image.shape
        self.block = self.gpu.allocate(image.nbytes + 64)
        self.address = self.block + different.pop("offset", 0)
        self.gpu.put(self.address, image)
        self.interface = {
            "shape": image.shape,
            "typestr": "|u1",
            "data": (self.address, False),
            "version": 3,
            "strides": None,
            "stream": None,
            **different,
        }

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.interface

    def numpy(self) -> RGB8:
        found = np.empty(self.shape, np.uint8)
        self.gpu.get(found, self.address)
        return found


@pytest.mark.parametrize("offset", [0, 1, 3, 4, 8, 13])
@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 3), (64, 100, 3), (2, 33, 7, 3)])
def test_an_array_on_the_gpu_is_normalized_in_place(
    engine: LutCuda, lut: Lut, shape: tuple[int, ...], offset: int
) -> None:
    image = _noise(*shape)
    array = OnGpu(engine, image, offset=offset)
    assert engine.onboard(array) is array
    np.testing.assert_array_equal(array.numpy(), looked_up(lut, image))
    out = OnGpu(engine, np.zeros_like(image), offset=(5 * offset) % 16)
    assert engine.onboard(array, out) is out
    np.testing.assert_array_equal(out.numpy(), looked_up(lut, looked_up(lut, image)))


def test_a_normalizer_takes_arrays_on_the_gpu_as_it_takes_numpys() -> None:
    image = _noise(30, 40, 3)
    with ss.load(engine="lut_cuda") as normalize, ss.load(engine="lut_numpy") as reference:
        assert isinstance(normalize.engine, LutCuda)
        array = OnGpu(normalize.engine, image)
        assert normalize(array) is array
        np.testing.assert_array_equal(array.numpy(), reference(image))
        with pytest.raises(FrameError, match=r"is a OnGpu on a GPU: .*lut_cuda"):
            reference(array)


def test_work_goes_to_the_stream_that_is_given(engine: LutCuda, lut: Lut) -> None:
    image = _noise(50, 60, 3)
    array = OnGpu(engine, image)
    gpu = array.gpu
    queue = Queue(gpu)
    engine.onboard(array, stream=queue.handle)
    with gpu.current():
        queue.wait()
    np.testing.assert_array_equal(array.numpy(), looked_up(lut, image))
    queue.close()


def test_it_waits_for_the_stream_that_still_writes_the_array(engine: LutCuda, lut: Lut) -> None:
    image = _noise(50, 60, 3)
    array = OnGpu(engine, np.zeros_like(image))
    gpu = array.gpu
    writer = Queue(gpu)
    array.interface["stream"] = writer.handle
    staged = gpu.pinned(image.nbytes).reshape(image.shape)
    staged[...] = image
    with gpu.current():
        writer.copy_in(array.address, staged)
    engine.onboard(array)
    np.testing.assert_array_equal(array.numpy(), looked_up(lut, image))
    writer.close()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "float": ({"typestr": "<f4"}, "the image is float32: a uint8 array is needed"),
    "gray": ({"shape": (4, 5)}, r"the image has shape \(4, 5\)"),
    "alpha": ({"shape": (3, 5, 4)}, r"the image has shape \(3, 5, 4\)"),
    "no rows": ({"shape": (0, 5, 3)}, r"the image has shape \(0, 5, 3\)"),
    "a crop": ({"strides": (30, 3, 1)}, "the image is not C-contiguous"),
    "planar": ({"strides": (5, 1, 20)}, "the image is not C-contiguous"),
    "read-only": ({"data": (0, True)}, "out has shape .* a writeable array"),
    "old": ({"version": 2}, "the image cannot be read"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_array_that_is_no_image_is_refused(engine: LutCuda, kind: str) -> None:
    different, message = WRONG[kind]
    array = OnGpu(engine, _noise(4, 5, 3))
    if "data" in different:
        different = {"data": (array.address, True)}
    array.interface.update(different)
    with pytest.raises(FrameError, match=message):
        engine.onboard(array)


def test_arrays_that_overlap_are_refused(engine: LutCuda) -> None:
    array = OnGpu(engine, _noise(4, 5, 3))
    other = OnGpu(engine, _noise(4, 5, 3))
    other.interface["data"] = (array.address + 3, False)
    with pytest.raises(FrameError, match="out overlaps the image"):
        engine.onboard(array, other)


def test_torch_and_cupy_tensors_are_taken(engine: LutCuda, lut: Lut) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    image = _noise(64, 64, 3)
    tensor = torch.from_numpy(image).cuda()
    assert engine.onboard(tensor) is tensor
    np.testing.assert_array_equal(tensor.cpu().numpy(), looked_up(lut, image))
    with torch.cuda.stream(torch.cuda.Stream()):
        tensor = torch.from_numpy(image).cuda()
        engine.onboard(tensor, stream=torch.cuda.current_stream())
        np.testing.assert_array_equal(tensor.cpu().numpy(), looked_up(lut, image))


def test_frames_begun_before_others_have_arrived_are_right(engine: LutCuda, lut: Lut) -> None:
    images = [_noise(40, 50, 3, seed=k) for k in range(10)]
    finish = [engine.submit(image, np.empty_like(image)) for image in images]
    for each, image in zip(finish, images, strict=True):
        np.testing.assert_array_equal(each(), looked_up(lut, image))


def test_buffers_are_lent_again_only_when_nobody_looks(engine: LutCuda) -> None:
    pool = Pool(allocate=engine.buffer)
    first = pool.take(30, 40)
    assert first.flags.writeable
    assert engine._gpu is not None
    assert engine._gpu.is_pinned(first)
    assert engine._gpu.is_pinned(first[10:20])
    assert not engine._gpu.is_pinned(np.empty((30, 40, 3), np.uint8))
    address = first.ctypes.data
    held: list[Any] = [first[3:], first.reshape(-1), first.data]
    del first
    while held:
        assert pool.take(30, 40).ctypes.data != address
        held.pop()
    assert address in {pool.take(30, 40).ctypes.data for _ in range(1)}


def test_pinned_memory_outlives_its_engine(lut: Lut) -> None:
    with LutCuda(lut) as engine:
        image = engine.buffer(100, 100)
        image[...] = 7
    del engine
    gc.collect()
    assert (image == 7).all()


def test_frames_in_pinned_memory_are_not_copied_on_the_host(engine: LutCuda, lut: Lut, simulator: Simulator) -> None:
    source, target = engine.buffer(40, 50), engine.buffer(40, 50)
    pinned, pageable = simulator["pinned"], simulator["pageable"]
    for seed in range(5):
        source[...] = _noise(40, 50, 3, seed=seed)
        np.testing.assert_array_equal(engine(source, target), looked_up(lut, source))
    assert (simulator["pinned"], simulator["pageable"]) == (pinned, pageable)
    image = _noise(40, 50, 3)
    np.testing.assert_array_equal(engine(image), looked_up(lut, image))
    assert simulator["pageable"] == pageable  # through slots that are pinned


def test_a_size_that_comes_again_is_replayed_as_a_graph(engine: LutCuda, lut: Lut, simulator: Simulator) -> None:
    before = simulator["graphs"]
    image = _noise(64, 64, 3)
    for _ in range(12):
        np.testing.assert_array_equal(engine(image), looked_up(lut, image))
    assert simulator["graphs"] - before == 12 - engine.depth  # each lane's first frame goes call by call
    for size in range(1, 60):  # more sizes than are kept, and one that needs more room
        image = _noise(size, 2 * size, 3, seed=size)
        for _ in range(7):
            np.testing.assert_array_equal(engine(image), looked_up(lut, image))


def test_a_large_frame_travels_in_pieces_that_overlap(engine: LutCuda, lut: Lut, simulator: Simulator) -> None:
    image = _noise(2000, 2100, 3)
    np.testing.assert_array_equal(engine(image), looked_up(lut, image))
    assert simulator["most_waiting"] >= engine.depth


def test_all_is_given_back(lut: Lut, simulator: Simulator) -> None:
    gc.collect()
    names = ("allocations", "used", "pinned", "streams", "retained")
    before = {name: simulator[name] for name in names}
    engine = LutCuda(lut)
    for _ in range(2):
        with engine:
            for size in (10, 300, 20):
                engine(_noise(size, size, 3))
    del engine
    gc.collect()
    assert {name: simulator[name] for name in names} == before


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


FAILURES: dict[str, tuple[dict[str, int], str]] = {
    "no GPU": (
        {"count": 0},
        "cannot use GPU 0: the NVIDIA driver finds no GPU (CUDA error 100); use",
    ),
    "an old driver": (
        {"version": 12040},
        "cannot use GPU 0: the NVIDIA driver is too old: it knows CUDA 12.4",
    ),
    "an old GPU": ({"major": 6, "minor": 1}, "the GPU is too old: it has compute capability 6.1, NVRTC 1"),
    "no memory": (
        {"memory": 1 << 20},
        "cannot allocate 64.0 MiB on Simulated GPU: out of memory (CUDA_ERROR",
    ),
    "a broken GPU": (
        {"lose_after": 0},
        "the GPU is lost: unspecified launch failure (CUDA_ERROR_LAUNCH_FAILED)",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_why_it_does_not_open_is_said_in_one_line_and_auto_goes_on(
    kind: str, lut: Lut, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    changes, message = FAILURES[kind]
    for what, value in changes.items():
        simulator[what] = value
    engine = LutCuda(lut)
    with pytest.raises(EngineError) as caught:
        engine.open()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not engine.is_open
    with ss.load() as normalize:
        assert normalize.choice.startswith("lut_numba (")
        assert normalize(_noise(4, 4, 3)).any()


def test_an_unknown_gpu_is_told_how_many_there_are(lut: Lut) -> None:
    with (
        pytest.raises(EngineError, match="cannot use GPU 99: there are 1, counted from 0"),
        ss.load(engine="lut_cuda?device=99"),
    ):
        pass


def test_memory_that_runs_out_later_costs_that_frame_and_no_other(lut: Lut, simulator: Simulator) -> None:
    with LutCuda(lut) as engine:
        small = _noise(10, 10, 3)
        engine(small)
        simulator["memory"] = simulator["used"] + 1000
        with pytest.raises(EngineError, match=r"cannot allocate 1\.\d MiB on Simulated GPU: out of memory .*smaller"):
            engine(_noise(700, 700, 3))
        np.testing.assert_array_equal(engine(small), looked_up(lut, small))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("size", [64, 1500])
def test_a_gpu_lost_under_a_frame_costs_nothing(
    simulator: Simulator, caplog: pytest.LogCaptureFixture, size: int, in_place: bool
) -> None:
    with ss.load() as normalize, ss.load(engine="lut_numpy") as reference:
        assert normalize.choice.startswith("lut_cuda (Simulated GPU")
        images = [_noise(size, size, 3, seed=k) for k in range(6)]
        simulator["lose_after"] = simulator["launches"] + 4
        for image in images:
            expected = reference(image)
            out = image if in_place else np.zeros_like(image)
            np.testing.assert_array_equal(normalize(image, out), expected)
        assert sum(normalize.engine.counts.values()) == 1
        assert "LutNumba" in normalize.choice
        assert normalize.meta["model"]["engine"] == "LutNumba"
    (line,) = _lines(caplog)
    assert "the GPU is lost" in line
    assert "from here on LutNumba normalizes" in line


def test_frames_under_way_when_the_gpu_is_lost_are_all_normalized_again(simulator: Simulator) -> None:
    with ss.load() as normalize, ss.load(engine="lut_numpy") as reference:
        images = [_noise(50, 50, 3, seed=k) for k in range(3)]
        simulator["lose_after"] = simulator["launches"]
        finish = [normalize.engine.submit(image, np.zeros_like(image)) for image in images]
        for each, image in zip(finish, images, strict=True):
            np.testing.assert_array_equal(each(), reference(image))
        assert sum(normalize.engine.counts.values()) == 3


def test_threads_that_meet_a_lost_gpu_all_get_their_frames(simulator: Simulator) -> None:
    with ss.load() as normalize, ss.load(engine="lut_numpy") as reference:
        images = [_noise(60, 70, 3, seed=k) for k in range(40)]
        expected = [reference(image) for image in images]
        simulator["lose_after"] = simulator["launches"] + 9
        with ThreadPoolExecutor(6) as pool:
            for result, wanted in zip(pool.map(normalize, images), expected, strict=True):
                np.testing.assert_array_equal(result, wanted)


def test_a_stream_goes_on_when_the_gpu_is_lost(simulator: Simulator) -> None:
    from stainstream.sinks.memory import Memory

    sink = Memory("memory", Memory.Options())
    with ss.load() as normalize, ss.load(engine="lut_numpy") as reference:
        simulator["lose_after"] = simulator["launches"] + 5
        source = ss.open_source("demo?size=96x64&rate=0&frames=30")
        pipeline = Pipeline(source, normalize.engine, {"memory": sink}, policy="lossless", meta=normalize.meta)
        report = pipeline.run()
        assert report.delivered == report.captured == 30
        assert sum(report.notes.values()) >= 1
        with ss.open_source("demo?size=96x64&rate=0&frames=30") as again:
            for frame, raw in zip(sink.frames, again, strict=True):
                np.testing.assert_array_equal(frame.image, reference(raw.image))
    engines = [frame.meta["model"]["engine"] for frame in sink.frames]
    assert engines[0] == "LutCuda"
    assert engines[-1] == "LutNumba"


def test_the_gpu_bakes_the_processors_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path / "cache"))
    path = negative().save(tmp_path / "negative.onnx")
    baked: list[str] = []
    monkeypatch.setattr("stainstream.api.bake", lambda *_: pytest.fail("the processor baked"))
    with ss.load(path, engine="lut_cuda") as normalize:
        assert isinstance(normalize.artifact, Lut)
        baked.append(normalize.artifact.digest)
    network = PixelwiseNetwork.read(path, "negative")
    assert baked == [bake(network, "negative", network.rounding).digest]


def test_what_the_gpu_cannot_bake_the_processor_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path / "cache"))
    graph = Graph()
    graph.add("Mul", inputs=[graph.last, graph.last])  # two inputs: no chain
    path = graph.end().save(tmp_path / "square.onnx")
    with ss.load(path, engine="lut_cuda") as normalize:
        np.testing.assert_array_equal(normalize(np.full((1, 1, 3), 9, np.uint8)), np.full((1, 1, 3), 81))


def test_a_kept_binary_that_is_damaged_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lut: Lut
) -> None:
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path))
    image = _noise(9, 9, 3)
    for _ in range(2):
        with LutCuda(lut) as engine:
            np.testing.assert_array_equal(engine(image), looked_up(lut, image))
        for path in (tmp_path / "kernels" / "entries").rglob("*"):
            if path.is_file():
                path.write_bytes(b"damaged")


def test_closing_under_calls_on_the_gpus_own_arrays_is_an_error_not_a_crash(lut: Lut) -> None:
    engine = LutCuda(lut)
    engine.open()
    array = OnGpu(engine, _noise(4, 4, 3))
    engine.close()
    with pytest.raises(EngineError, match="is closed"):
        engine.onboard(array)


def test_settings_are_part_of_the_name() -> None:
    with ss.load(engine="lut_cuda?slots=1&device=0") as normalize:
        assert normalize.engine.depth == 1
    with pytest.raises(UsageError, match=r"wrong settings in engine 'lut_cuda\?lanes=2': .*known keys: device, slots"):
        ss.load(engine="lut_cuda?lanes=2")
