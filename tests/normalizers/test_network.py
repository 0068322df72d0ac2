"""Pixelwise networks read from ONNX, against ONNX Runtime."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stainstream.color.lut import bake, quantize
from stainstream.errors import ModelError, NotPixelwise
from stainstream.frame import RGB8
from stainstream.model import find
from stainstream.normalizers.base import Normalizer
from stainstream.normalizers.network import PixelwiseNetwork
from tests.graphs import Graph, blur, negative

RNG = np.random.default_rng(0)
COLORS: RGB8 = np.concatenate(
    [
        np.array(list(itertools.product((0, 1, 127, 128, 254, 255), repeat=3)), np.uint8),
        RNG.integers(0, 256, (4000, 3), np.uint8),
    ]
)


def _runtime(model: bytes, rgb: RGB8) -> RGB8:
    """What ONNX Runtime, in float32, makes of the colors (n, 3)."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    result: RGB8 = session.run(None, {session.get_inputs()[0].name: rgb[None, None]})[0][0, 0]
    return result


def _ours(path: Path, rgb: RGB8) -> RGB8:
    network = PixelwiseNetwork.read(path)
    return quantize(network(rgb / 255.0), network.rounding)


def _read(graph: Graph, tmp_path: Path, **options: Any) -> PixelwiseNetwork:
    return PixelwiseNetwork.read(graph.save(tmp_path / "a.onnx", **options))


def test_a_network_is_a_normalizer_with_a_name(tmp_path: Path) -> None:
    path = negative().save(tmp_path / "inverse.onnx")
    network = PixelwiseNetwork.read(path)
    assert isinstance(network, Normalizer)
    assert network.name == "inverse"
    assert PixelwiseNetwork.read(path, "other").name == "other"


@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 5, 3), (2, 4, 5, 3), (0, 3)])
def test_the_shape_stays(tmp_path: Path, shape: tuple[int, ...]) -> None:
    colors = RNG.random(shape)
    np.testing.assert_allclose(_read(negative(), tmp_path)(colors), 1 - colors, atol=1e-15)


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_the_rounding_is_the_graphs(tmp_path: Path, rounding: str) -> None:
    graph = Graph()
    graph.add("Mul", 0.5)
    path = graph.end(rounding).save(tmp_path / "half.onnx")
    assert PixelwiseNetwork.read(path).rounding == rounding
    np.testing.assert_array_equal(_ours(path, COLORS), _runtime(path.read_bytes(), COLORS))


def test_a_round_before_the_clip_keeps_whole_levels(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Mul", 0.5)
    graph.add("Round")
    path = graph.end("truncate").save(tmp_path / "early.onnx")
    np.testing.assert_array_equal(_ours(path, COLORS), _runtime(path.read_bytes(), COLORS))


@pytest.mark.parametrize("centre", range(5))
def test_on_tissue_it_is_onnx_runtime_within_a_level(shared: Path, centre: int) -> None:
    tile = sorted((shared / "data" / "camelyon17" / f"centre_{centre}").glob("*.png"))[0]
    image = cv2.imread(str(tile))
    assert image is not None
    rgb = np.ascontiguousarray(image[..., ::-1], np.uint8).reshape(-1, 3)
    network = find("default").network
    runtime = _runtime(network.read_bytes(), rgb)
    difference = np.abs(_ours(network, rgb).astype(int) - runtime)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def _weights(draw: st.DrawFn, *shape: int) -> NDArray[np.float64]:
    """Few and short of 1 in sum, so that float32 stays within a level of float64."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    return rng.uniform(-1.2, 1.2, shape) / shape[-1]


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[Graph, str]:
    """A random pixelwise graph: scaled or not, convolutions or matrices, residuals, odd activations."""
    graph = Graph()
    scale = draw(st.sampled_from(["divide", "fold", "center"]))
    if scale == "divide":
        graph.add("Div", 255.0)
    elif scale == "center":
        graph.add("Sub", np.array([127.5, 120.0, 100.0]))
        graph.add("Mul", np.full((1, 1, 1, 3), 1 / 127.5))
    first = draw(st.sampled_from(["Conv", "MatMul"]))
    if first == "Conv":
        graph.add("Transpose", perm=[0, 3, 1, 2])
    channels = 3
    for _ in range(draw(st.integers(1, 3))):
        before, width = graph.last, draw(st.sampled_from([channels, 4, 8]))
        if first == "Conv":
            weight = _weights(draw, width, channels)[..., None, None]
            graph.add("Conv", weight, *([_weights(draw, width)] if draw(st.booleans()) else []), kernel_shape=[1, 1])
        else:
            graph.add("MatMul", _weights(draw, width, channels).T)
            graph.add("Add", _weights(draw, width))
        match draw(st.sampled_from(["Relu", "LeakyRelu", "leakier", "Tanh", "Sigmoid", "Clip", "low", "Max", "none"])):
            case "Relu" | "LeakyRelu" | "Tanh" | "Sigmoid" as kind:
                graph.add(kind)
            case "leakier":
                graph.add("LeakyRelu", alpha=0.3)
            case "Clip":
                graph.add("Clip", -0.5, 0.25)
            case "low":
                graph.add("Clip", inputs=[graph.last, "", graph.constant(0.2)])
            case "Max":
                graph.add("Max", 0.01)
        if width == channels and draw(st.booleans()):
            graph.add(draw(st.sampled_from(["Add", "Sub", "Min"])), inputs=[graph.last, before])
        channels = width
    if first == "Conv":
        graph.add("Conv", _weights(draw, 3, channels)[..., None, None])
        graph.add("Add", _weights(draw, 3, 1, 1))
        graph.add("Transpose", perm=[0, 2, 3, 1])
    else:
        graph.add("MatMul", _weights(draw, 3, channels).T)
    graph.add("Identity")
    graph.add("Mul", 1.0 if scale == "fold" else 255.0)
    graph.add("Sub", inputs=[graph.constant(np.array([200.0, 255.0, 30.0])), graph.last])
    rounding = draw(st.sampled_from(["nearest", "truncate"]))
    return graph.end(rounding), rounding


@settings(max_examples=60, deadline=None)
@given(_graphs())
def test_any_pixelwise_graph_is_onnx_runtime_within_a_level(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Graph, str]
) -> None:
    graph, rounding = made
    path = graph.save(tmp_path_factory.getbasetemp() / "random.onnx")
    onnx.checker.check_model(path, full_check=True)
    network = PixelwiseNetwork.read(path)
    assert network.rounding == rounding
    ours = quantize(network(COLORS / 255.0), network.rounding).astype(int)
    assert np.abs(ours - _runtime(path.read_bytes(), COLORS)).max() <= 1


def test_constants_may_be_nodes(tmp_path: Path) -> None:
    graph = Graph()
    value = numpy_helper.from_array(np.array([10, 20, 30], np.float32))
    graph.nodes.append(helper.make_node("Constant", [], ["k"], value=value))
    graph.add("Add", inputs=[graph.last, "k"])
    path = graph.end().save(tmp_path / "a.onnx")
    np.testing.assert_array_equal(_ours(path, COLORS), np.minimum(COLORS.astype(int) + np.array([10, 20, 30]), 255))


@pytest.mark.parametrize("place", ["before the round", "before the cast"])
def test_a_constant_between_the_last_operators_changes_nothing(tmp_path: Path, place: str) -> None:
    graph = Graph()
    graph.add("Mul", 0.625)
    path = graph.end().save(tmp_path / "a.onnx")
    expected = _ours(path, COLORS)
    value = numpy_helper.from_array(np.zeros(1, np.float32))
    at = len(graph.nodes) - (2 if place == "before the round" else 1)
    graph.nodes.insert(at, helper.make_node("Constant", [], ["unused"], value=value))
    np.testing.assert_array_equal(_ours(graph.save(path), COLORS), expected)


def test_an_unused_branch_changes_nothing(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Mul", 0.625)
    graph.add("Clip", 0.0, 255.0)
    result = graph.last
    graph.add("Mul", 0.5)
    graph.add("Cast", inputs=[result], to=TensorProto.UINT8)
    path = graph.save(tmp_path / "a.onnx")
    np.testing.assert_array_equal(_ours(path, COLORS), _runtime(path.read_bytes(), COLORS))


def test_a_round_in_an_unused_branch_is_not_the_rounding(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Mul", 0.625)
    graph.add("Clip", 0.0, 255.0)
    result = graph.last
    graph.add("Round")
    graph.add("Cast", inputs=[result], to=TensorProto.UINT8)
    path = graph.save(tmp_path / "a.onnx")
    np.testing.assert_array_equal(_ours(path, COLORS), _runtime(path.read_bytes(), COLORS))


def test_the_bounds_of_an_old_clip_count(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Clip", min=20.0, max=90.0)
    graph.add("Add", 3.0)
    graph.add("Cast", to=TensorProto.UINT8)
    path = graph.save(tmp_path / "a.onnx", opset=9)
    np.testing.assert_array_equal(_ours(path, COLORS), np.clip(COLORS, 20, 90) + 3)


def test_a_large_negative_sigmoid_is_zero_without_a_warning(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Mul", -10.0)
    graph.add("Sigmoid")
    graph.add("Mul", 510.0)
    path = graph.end().save(tmp_path / "a.onnx")
    np.testing.assert_array_equal(_ours(path, np.array([[0, 1, 255]], np.uint8)), [[255, 0, 0]])


def _wide(graph: Graph, *channels: int) -> Graph:
    """Convolve to each number of channels in turn."""
    graph.add("Transpose", perm=[0, 3, 1, 2])
    for before, after in itertools.pairwise((3, *channels)):
        graph.add("Conv", np.ones((after, before, 1, 1)))
    graph.add("Transpose", perm=[0, 2, 3, 1])
    return graph


def _with(kind: str, *values: Any, cast: bool = True, nchw: bool = False, **attributes: Any) -> Callable[[], Graph]:
    def make() -> Graph:
        graph = Graph(cast=cast)
        if nchw:
            graph.add("Transpose", perm=[0, 3, 1, 2])
        graph.add(kind, *values, **attributes)
        if nchw:
            graph.add("Transpose", perm=[0, 2, 3, 1])
        return graph.end()

    return make


def _mixed() -> Graph:
    graph = Graph()
    before = graph.last
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.add("Add", inputs=[before, graph.last])
    return graph.end()


def _no_input() -> Graph:
    graph = Graph()
    before = graph.last
    graph.add("RandomNormal", inputs=[], shape=[1, 1, 1, 3])
    graph.add("Add", inputs=[before, graph.last])
    return graph.end()


def _integers() -> Graph:
    graph = Graph(cast=False)
    graph.add("Add", inputs=["rgb", graph.constant(100, np.uint8)])
    graph.add("Cast", to=TensorProto.FLOAT)
    return graph.end()


def _doubled_integers() -> Graph:
    graph = Graph(cast=False)
    graph.add("Add", inputs=["rgb", "rgb"])
    graph.add("Cast", to=TensorProto.FLOAT)
    return graph.end()


def _channels_first() -> Graph:
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    return graph.end()


def _no_cast() -> Graph:
    graph = Graph(cast=False)
    graph.add("Identity")
    graph.add("Identity")
    graph.add("Identity")
    return graph


def _output_named_twice() -> Graph:
    graph = negative()
    graph.add("Identity")
    return graph


ONES = np.ones((3, 3, 1, 1))
NOT_PIXELWISE: dict[str, Callable[[], Graph]] = {
    "3x3": blur,
    "strides": _with("Conv", ONES, nchw=True, strides=[2, 2]),
    "padding": _with("Conv", ONES, nchw=True, pads=[1, 1, 1, 1]),
    "groups": _with("Conv", np.ones((3, 1, 1, 1)), nchw=True, group=3),
    "channels last": _with("Conv", ONES),
    "matrix over columns": _with("MatMul", np.ones((3, 3)), nchw=True),
    "batched matrix": _with("MatMul", np.ones((1, 1, 3, 3))),
    "pooling": _with("AveragePool", nchw=True, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "instance norm": _with("InstanceNormalization", np.ones(3), np.zeros(3), nchw=True),
    "softmax": _with("Softmax", axis=-1),
    "flip": _with("Transpose", perm=[0, 2, 1, 3]),
    "default transposition": _with("Transpose"),
    "a constant a column": _with("Add", np.zeros((1, 1, 5, 1))),
    "a constant a row": _with("Add", np.zeros((5, 1, 1))),
    "a constant a pixel": _with("Mul", np.ones((1, 4, 5, 3))),
    "a constant a column, channels first": _with("Add", np.zeros(3), nchw=True),
    "layouts mixed": _mixed,
    "noise": _no_input,
    "bounds a channel": _with("Clip", np.zeros(3), np.ones(3)),
    "half precision integers": _with("Cast", to=TensorProto.INT8),
    "three operands": _with("Max", 1.0, 2.0),
    "integer arithmetic": _integers,
    "integer arithmetic with itself": _doubled_integers,
    "ends channels first": _channels_first,
    "no cast": _no_cast,
    "ends otherwise": _output_named_twice,
    "empty": lambda: Graph(cast=False),
}


@pytest.mark.parametrize("kind", NOT_PIXELWISE)
def test_what_is_not_pixelwise_is_said_to_be_so(tmp_path: Path, kind: str) -> None:
    with pytest.raises(NotPixelwise):
        _read(NOT_PIXELWISE[kind](), tmp_path)


MISFITS: dict[str, Callable[[], Graph]] = {
    "one channel": lambda: _wide(Graph(), 1).end(),
    "four channels": lambda: _wide(Graph(), 4).end(),
    "channels that do not meet": _with("Conv", np.ones((3, 5, 1, 1)), nchw=True),
    "a constant of four channels": _with("Add", np.zeros(4)),
    "a bias of four channels": _with("Conv", ONES, np.zeros(4), nchw=True),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_tensors_that_do_not_fit_are_refused_when_read(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ModelError):
        _read(MISFITS[kind](), tmp_path)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (TensorProto.FLOAT, ("N", "H", "W", 3)),
        (TensorProto.UINT8, ("N", 3, "H", "W")),
        (TensorProto.UINT8, ("H", "W", 3)),
        (TensorProto.UINT8, ("N", "H", "W", "C")),
        (TensorProto.UINT8, ("N", "H", "W", 4)),
    ],
)
def test_other_ends_than_uint8_nhwc_are_refused_with_the_way_out(
    tmp_path: Path, kind: int, shape: tuple[str | int, ...]
) -> None:
    with pytest.raises(ModelError, match=r"its input is not one uint8 tensor of shape \(N, H, W, 3\); run: ") as caught:
        _read(negative(), tmp_path, kind=kind, shape=shape)
    assert not isinstance(caught.value, NotPixelwise)


@pytest.mark.parametrize(
    "content", [b"", b"not ONNX at all", b"\x08\x09\x12", bytes(1000)], ids=["empty", "text", "cut", "zeros"]
)
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot (read|use) .*a\.onnx"):
        PixelwiseNetwork.read(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    content = bytearray(find("default").network.read_bytes())
    # The weights are most of the file: aim at the graph around them.
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 700), st.integers(len(content) - 400, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with np.errstate(all="ignore"):  # damaged weights may be no numbers
        try:
            network = PixelwiseNetwork.read(path)
        except ModelError:
            return
        assert network(COLORS / 255.0).shape == COLORS.shape


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelError, match="cannot read"):
            PixelwiseNetwork.read(path)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    model = _wide(Graph(), 3).end().model()
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    with pytest.raises(ModelError, match="another file"):
        PixelwiseNetwork.read(tmp_path / "a.onnx")


def test_it_bakes(tmp_path: Path) -> None:
    lut = bake(_read(negative(), tmp_path), "negative")
    assert np.array_equal(lut.table, np.arange(1 << 24, dtype=np.uint32) ^ 0xFFFFFF)
