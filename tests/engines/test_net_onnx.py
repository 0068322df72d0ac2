"""Networks that are not pixelwise, in ONNX Runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto

from stainstream.engines.gpu import absent
from stainstream.engines.net_onnx import NetOnnx, _free_axes
from stainstream.errors import EngineError
from stainstream.frame import RGB8
from stainstream.model import Network
from tests.engines.tables import scrambled
from tests.graphs import Graph, blur

onnxruntime = pytest.importorskip("onnxruntime")


def _network(path: Path) -> Network:
    return Network(path, path.stem, hashlib.sha256(path.read_bytes()).hexdigest())


def _noise(*shape: int) -> RGB8:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return blur().save(tmp_path_factory.mktemp("net") / "blur.onnx")


@pytest.fixture
def engine(path: Path) -> Iterator[NetOnnx]:
    with NetOnnx(_network(path), 2) as opened:
        yield opened


def _runtime(path: Path, batch: RGB8) -> RGB8:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    result: RGB8 = session.run(None, {"rgb": batch})[0]
    return result


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (7, 1, 3), (33, 21, 3), (1, 5, 6, 3), (3, 5, 6, 3)])
def test_it_gives_what_onnx_runtime_gives(engine: NetOnnx, path: Path, shape: tuple[int, ...]) -> None:
    rgb = _noise(*shape)
    expected = _runtime(path, rgb.reshape(-1, *shape[-3:])).reshape(shape)
    result = engine(rgb)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)
    out = np.zeros(shape, np.uint8)
    assert engine(rgb, out) is out
    np.testing.assert_array_equal(out, expected)
    assert engine(rgb, rgb) is rgb
    np.testing.assert_array_equal(rgb, expected)


def test_neighbors_count(engine: NetOnnx) -> None:
    rgb = _noise(20, 30, 3)
    mean = cv2.blur(rgb.astype(np.float64), (3, 3), borderType=cv2.BORDER_CONSTANT)
    assert np.abs(engine(rgb) - mean).max() <= 0.5 + 1e-4


def test_views_count_as_their_copies(engine: NetOnnx) -> None:
    rgb = _noise(12, 10, 3)
    out = np.zeros((10, 24, 3), np.uint8)[:, ::2]
    engine(rgb.swapaxes(0, 1), out)
    np.testing.assert_array_equal(out, engine(rgb.swapaxes(0, 1).copy()))


def test_it_works_only_while_it_is_open(path: Path) -> None:
    engine = NetOnnx(_network(path))
    for _ in range(2):
        with pytest.raises(EngineError, match="is closed"):
            engine(_noise(3, 3, 3))
        with engine:
            engine(_noise(3, 3, 3))
            assert "CPUExecutionProvider" in engine.detail


def test_a_table_is_refused_with_a_reason() -> None:
    with pytest.raises(EngineError, match="cannot run 'scrambled': it is a table"):
        NetOnnx(scrambled())


def test_a_file_that_is_no_network_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no network")
    engine = NetOnnx(_network(path))
    with pytest.raises(EngineError, match=r"cannot load .*a\.onnx: .+") as caught:
        engine.open()
    assert not engine.is_open
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot load .*none\.onnx"):
        NetOnnx(Network(tmp_path / "none.onnx", "none", "00")).open()


def test_a_shape_that_the_network_does_not_take_is_an_error_and_the_next_frame_works(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Add", np.zeros((1, 4, 5, 3)))
    path = graph.end().save(tmp_path / "fixed.onnx", shape=("N", 4, 5, 3))
    with NetOnnx(_network(path)) as engine:
        with pytest.raises(EngineError, match=r"'fixed' failed on shape \(1, 5, 4, 3\)"):
            engine(_noise(5, 4, 3))
        rgb = _noise(4, 5, 3)
        np.testing.assert_array_equal(engine(rgb), rgb)


def test_a_network_that_changes_the_size_is_an_error(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Transpose", perm=[0, 2, 3, 1])
    path = graph.end().save(tmp_path / "half.onnx", shape=("N", "?", "?", 3))
    with NetOnnx(_network(path)) as engine, pytest.raises(EngineError, match=r"'half' gave uint8\[1, 2, 3, 3\]"):
        engine(_noise(4, 6, 3))


def test_a_network_that_gives_no_bytes_is_an_error(tmp_path: Path) -> None:
    graph = Graph(cast=False)
    graph.add("Identity")
    path = graph.save(tmp_path / "float.onnx", kind=TensorProto.FLOAT)
    with NetOnnx(_network(path)) as engine, pytest.raises(EngineError, match="'float' failed on shape"):
        engine(_noise(4, 6, 3))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpus_provider_runs_or_is_refused_never_replaced(path: Path, provider: str) -> None:
    options = NetOnnx.Options(provider=provider)  # type: ignore[arg-type]
    engine = NetOnnx(_network(path), options=options)
    name = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[provider]
    if name not in onnxruntime.get_available_providers():
        with pytest.raises(EngineError, match=rf"cannot run 'blur' with {name}: the installed onnxruntime") as caught:
            engine.open()
        assert "pip install 'stainstream[onnx-gpu]'" in str(caught.value)
    elif (reason := absent()) is not None:
        with pytest.raises(EngineError, match=reason):
            engine.open()
    else:
        with engine:
            assert name in engine.detail
            np.testing.assert_allclose(engine(_noise(64, 64, 3)), _runtime(path, _noise(1, 64, 64, 3))[0], atol=1)
    assert not engine.is_open


@pytest.mark.gpu
def test_what_onnx_runtime_would_replace_in_silence_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor's package, asked for CUDA: it makes a session on the processor."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("the installed onnxruntime has CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    engine = NetOnnx(_network(path), options=NetOnnx.Options(provider="cuda"))
    with (
        pytest.warns(UserWarning, match="not in available"),
        pytest.raises(EngineError, match="cannot run 'blur' with"),
    ):
        engine.open()


def test_it_says_that_the_processor_runs(path: Path) -> None:
    with NetOnnx(_network(path), options=NetOnnx.Options(provider="cpu")) as engine:
        assert engine.detail.endswith("CPUExecutionProvider")


def test_the_axes_that_are_free_are_found_by_name(path: Path, tmp_path: Path) -> None:
    assert _free_axes(path) == ("N", "H", "W", "")
    graph = Graph()
    graph.add("Identity")
    assert _free_axes(graph.end().save(tmp_path / "fixed.onnx", shape=("N", 4, 5, 3))) == ("N", "", "", "")
