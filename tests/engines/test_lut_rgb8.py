"""The CUDA kernels' own text, compiled for the host and run thread by thread, beside NumPy; and compiled by NVRTC."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import stainstream as ss
from stainstream.color.lut import COLORS, Lut, colors_of, index_of, quantize
from stainstream.engines.lut_numpy import LutNumpy
from stainstream.errors import EngineError
from stainstream.frame import RGB8
from stainstream.model import find
from stainstream.normalizers.chain import chain_of
from stainstream.normalizers.network import PixelwiseNetwork
from tests.engines.simulator import build
from tests.engines.tables import scrambled
from tests.graphs import Graph, negative

Run = Callable[[str, range, int, Sequence[object]], None]

GUARD = 64
GROUPS = {"lut16": 16, "lut4": 4, "lut1": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a kernel: its name, the blocks of it, threads a block, and ctypes parameters."""
    library = ctypes.CDLL(str(build("host.cpp", tmp_path_factory.mktemp("host") / "kernels.so")))

    def call(name: str, blocks: range, threads: int, parameters: Sequence[object]) -> None:
        pointers = (ctypes.c_void_p * len(parameters))(*(ctypes.addressof(each) for each in parameters))  # type: ignore[arg-type]
        library.run_kernel(name.encode(), blocks.start, blocks.stop, threads, pointers)

    return call


@pytest.fixture(scope="module")
def lut() -> Lut:
    return scrambled()


def _at(memory: NDArray[np.uint8], modulo: int) -> int:
    """The first place in `memory` beyond the guard whose address is `modulo` after a multiple of 16."""
    return GUARD + (modulo - memory.ctypes.data - GUARD) % 16


def _looked_up(run: Run, kernel: str, lut: Lut, pixels: RGB8, source: int, target: int | None) -> RGB8:
    """What a kernel makes of `pixels` at an address that is `source` after a multiple of 16; in place if no target."""
    memory = [np.full(pixels.size + 2 * GUARD + 16, 0xA5, np.uint8) for _ in range(2)]
    begin = _at(memory[0], source)
    memory[0][begin : begin + pixels.size] = pixels.reshape(-1)
    out, start = (memory[0], begin) if target is None else (memory[1], _at(memory[1], target))
    group = GROUPS[kernel]
    address, count = memory[0].ctypes.data + begin, len(pixels)
    head = min(count, -address * 11 % group)
    assert (address + 3 * head) % min(16, group) == 0 or head == count
    threads = (count - head) // group + (count - head) % group + head
    run(
        kernel,
        range(-(-threads // 256)),
        256,
        [
            ctypes.c_uint64(address),
            ctypes.c_uint64(out.ctypes.data + start),
            ctypes.c_uint64(lut.table.ctypes.data),
            ctypes.c_uint32(count),
            ctypes.c_uint32(head),
        ],
    )
    assert (out[:start] == 0xA5).all()
    assert (out[start + pixels.size :] == 0xA5).all()
    return out[start : start + pixels.size].reshape(-1, 3)


@pytest.fixture(scope="module")
def tissue() -> RGB8:
    with ss.open_source("demo?size=333x217&rate=0&frames=1") as source:
        return np.asarray(next(iter(source)).image).reshape(-1, 3)


@settings(max_examples=300, deadline=None)
@given(
    kernel=st.sampled_from(list(GROUPS)),
    pixels=st.one_of(st.integers(1, 100), st.integers(1, 10_000)),
    source=st.integers(0, 15),
    apart=st.one_of(st.none(), st.integers(0, 15)),
    seed=st.integers(0, 9),
)
def test_any_length_at_any_address_equals_numpy(
    run: Run, lut: Lut, tissue: RGB8, kernel: str, pixels: int, source: int, apart: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (pixels, 3), np.uint8) if seed % 2 else tissue[seed : seed + pixels]
    group = GROUPS[kernel]
    target = None if apart is None else (source + apart * group) % 16  # as far from `source` as the kernel allows
    with LutNumpy(lut) as reference:
        expected = reference(image[None])[0]
    np.testing.assert_array_equal(_looked_up(run, kernel, lut, image, source, target), expected)


BLOCK = 128
SAMPLES = [range(first, first + 8) for first in (0, *np.random.default_rng(2).integers(0, COLORS // BLOCK - 8, 150))]


def _baked(run: Run, path: Path, rounding: str) -> tuple[NDArray[np.uint32], NDArray[np.uint32], bool]:
    """Some thousand colors, what the kernel makes of them, and whether one of them became no number."""
    chain = chain_of(path)
    assert chain is not None
    table, broken = np.zeros(COLORS, np.uint32), np.zeros(1, np.uint32)
    parameters = [
        ctypes.c_uint64(chain.ctypes.data),
        ctypes.c_uint32(len(chain)),
        ctypes.c_uint64(table.ctypes.data),
        ctypes.c_uint32(rounding == "truncate"),
        ctypes.c_uint64(broken.ctypes.data),
    ]
    for blocks in SAMPLES:
        run("bake", blocks, BLOCK, parameters)
    colors = np.concatenate([np.arange(BLOCK * each.start, BLOCK * each.stop, dtype=np.uint32) for each in SAMPLES])
    return colors, table[colors], bool(broken[0])


def _varied(rounding: str) -> Graph:
    """Every operation that a chain knows."""
    graph = Graph()
    for kind, value in (("Div", 255.0), ("Sub", [0.5, 0.4, 0.6]), ("Mul", 2.0), ("Add", [[[[0.1, 0.0, -0.1]]]])):
        graph.add(kind, np.asarray(value))
    rng = np.random.default_rng(5)
    graph.add("MatMul", rng.normal(0, 1, (3, 5)))
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.add("LeakyRelu", alpha=0.2)
    graph.add("Conv", rng.normal(0, 0.6, (7, 5, 1, 1)), rng.normal(0, 0.3, 7), kernel_shape=[1, 1])
    graph.add("Tanh")
    graph.add("Conv", rng.normal(0, 0.6, (3, 7, 1, 1)), kernel_shape=[1, 1])
    graph.add("Sigmoid")
    graph.add("Transpose", perm=[0, 2, 3, 1])
    graph.add("Max", 0.02)
    graph.add("Min", 0.9)
    graph.add("Sub", inputs=[graph.constant(1.25), graph.last])
    graph.add("Div", inputs=[graph.constant(60.0), graph.last])
    graph.add("Relu")
    return graph.end(rounding)


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_what_the_kernel_bakes_is_what_the_processor_does(run: Run, tmp_path: Path, rounding: str) -> None:
    for name, path in {
        "default": find("default").network,
        "negative": negative().save(tmp_path / "negative.onnx"),
        "varied": _varied(rounding).save(tmp_path / "varied.onnx"),
    }.items():
        network = PixelwiseNetwork.read(path, name)
        colors, words, broken = _baked(run, path, network.rounding)
        expected = index_of(quantize(network(colors_of(colors) / 255.0), network.rounding))
        assert not broken
        assert np.count_nonzero(words != expected) == 0, name
        assert len(np.unique(words)) > 1000


def test_a_color_that_becomes_no_number_is_noticed(run: Run, tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Div", inputs=[graph.constant(0.0), graph.last])  # 0 / 0 for black
    assert _baked(run, graph.end().save(tmp_path / "none.onnx"), "nearest")[2]


@pytest.mark.parametrize("architecture", [75, 80, 86, 89, 90, 120])
def test_nvrtc_compiles_every_kernel_for_every_architecture(architecture: int) -> None:
    pytest.importorskip("cuda.core")
    from stainstream.engines.cubin import THREADS, compiled

    binary = compiled((architecture // 10, architecture % 10), anew=True)
    assert binary[:4] == b"\x7fELF"
    for name in THREADS:
        assert name.encode() in binary


def test_a_binary_is_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cuda.core")
    from stainstream.engines.cubin import compiled

    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path / "cache"))
    first = compiled((9, 0))
    (kept,) = (path for path in (tmp_path / "cache" / "kernels" / "entries").rglob("*") if path.is_file())
    assert kept.read_bytes() == first == compiled((9, 0))
    kept.write_bytes(first[:100])
    assert compiled((9, 0)) == first[:100]  # it is what is kept that is taken, so
    assert compiled((9, 0), anew=True) == first
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path / "cache" / "kernels" / "entries" / kept.name))
    assert compiled((9, 0)) == first  # a cache that cannot be written costs a warning, not the kernels


def test_a_gpu_that_nvrtc_is_too_new_for_is_named_with_the_way_out() -> None:
    pytest.importorskip("cuda.core")
    from stainstream.engines.cubin import compiled

    with pytest.raises(
        EngineError, match=r"the GPU is too old: it has compute capability 6\.1, NVRTC 1\d\.\d+ needs"
    ) as e:
        compiled((6, 1))
    assert "--engine lut_numba" in str(e.value)
    assert "\n" not in str(e.value)


def test_a_gpu_newer_than_nvrtc_gets_the_newest_it_knows() -> None:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    from stainstream.engines.cubin import _target

    newest = max(nvrtc.nvrtcGetSupportedArchs()[1])
    assert _target((newest // 10, newest % 10), nvrtc) == ("cubin", f"sm_{newest}")
    assert _target((newest // 10 + 1, 0), nvrtc) == ("ptx", f"compute_{newest}")
    assert _target((8, 9), nvrtc) == ("cubin", "sm_89")


def test_colors_of_and_the_kernels_have_one_order(run: Run) -> None:
    identity = Lut(np.arange(COLORS, dtype=np.uint32), "identity")
    image = colors_of(np.random.default_rng(3).integers(0, COLORS, 1000, np.uint32)).copy()
    np.testing.assert_array_equal(_looked_up(run, "lut16", identity, image, 5, 5), image)
