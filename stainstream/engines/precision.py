"""A network in another precision: the ONNX graph itself says which, as TensorRT's strongly typed networks want it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stainstream.errors import EngineError, MissingExtra
from stainstream.frame import RGB8

if TYPE_CHECKING:
    import onnx

__all__ = ["half", "quantized"]

_HEAVY = ("Conv", "ConvTranspose")
_INDICES = ("Pad", "Slice", "Reshape", "Resize")  # whose inputs after the first are no images


def half(network: bytes) -> bytes:
    """The network with everything from its first to its last convolution in float16.

    Scaling stays in float32: of levels up to 255, float16 knows eighths only.

    Raises
    ------
    EngineError
        If it has no convolution.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(network)
    graph = model.graph
    heavy = [k for k, node in enumerate(graph.node) if node.op_type in _HEAVY]
    if not heavy:
        raise EngineError("cannot make the network fp16", "it has no convolution")
    inside = range(heavy[0], heavy[-1] + 1)
    floats = _floats(model)
    made = {name for k in inside for name in graph.node[k].output}
    nodes: list[onnx.NodeProto] = []
    ready: set[str] = set()
    for k, node in enumerate(graph.node):
        if k not in inside:
            for position, name in enumerate(node.input):  # back to float32, where something inside is read outside
                if name in made and name in floats:
                    if f"{name}_wide" not in ready:
                        nodes.append(helper.make_node("Cast", [name], [f"{name}_wide"], to=TensorProto.FLOAT))
                        ready.add(f"{name}_wide")
                    node.input[position] = f"{name}_wide"
        else:
            images = node.input[:1] if node.op_type in _INDICES else node.input
            for position, name in enumerate(images):
                if name in floats and name not in made:
                    if f"{name}_half" not in ready:
                        nodes.append(helper.make_node("Cast", [name], [f"{name}_half"], to=TensorProto.FLOAT16))
                        ready.add(f"{name}_half")
                    node.input[position] = f"{name}_half"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    _halve_constants(graph)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _floats(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 tensors."""
    import onnx

    typed = onnx.shape_inference.infer_shapes(model).graph
    found = {each.name for each in typed.value_info if each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    return found | {each.name for each in typed.initializer if each.data_type == onnx.TensorProto.FLOAT}


def _halve_constants(graph: onnx.GraphProto) -> None:
    """Weights as float16 in the file, instead of a cast of each."""
    from onnx import numpy_helper

    constants = {each.name: each for each in graph.initializer}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in constants]
    for cast in casts:
        value = numpy_helper.to_array(constants[cast.input[0]]).astype(np.float16)
        graph.initializer.append(numpy_helper.from_array(value, cast.output[0]))
        graph.node.remove(cast)
    read = {name for node in graph.node for name in node.input}
    for each in [each for each in graph.initializer if each.name not in read]:
        graph.initializer.remove(each)


def quantized(network: bytes, tiles: Sequence[RGB8]) -> bytes:
    """The network with its convolutions in INT8, by explicit quantization (Q/DQ), scaled to what `tiles` need.

    Parameters
    ----------
    tiles
        Typical images, uint8 (height, width, 3).

    Raises
    ------
    MissingExtra
        If ONNX Runtime, which measures and writes it, is not installed.
    EngineError
        If there is no tile, or the network cannot be quantized.
    """
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise MissingExtra("cannot quantize the network", "onnxruntime", "onnx") from error
    if not tiles:
        raise EngineError("cannot quantize the network", "there are no tiles to calibrate with")

    class Tiles(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self._left: Iterator[dict[str, Any]] = iter([{name: np.ascontiguousarray(tile)[None]} for tile in tiles])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    import onnx

    name = onnx.load_from_string(network).graph.input[0].name
    with tempfile.TemporaryDirectory() as place:
        given, result = Path(place) / "given.onnx", Path(place) / "result.onnx"
        given.write_bytes(network)
        logging.disable(logging.WARNING)  # it advises on what a graph of ours does not need
        try:
            quantization.quantize_static(
                given,
                result,
                Tiles(name),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                op_types_to_quantize=["Conv"],
                # NVIDIA's parser takes neither quantized biases nor zero points other than 0.
                extra_options={"QuantizeBias": False, "ActivationSymmetric": True, "WeightSymmetric": True},
            )
        except Exception as error:  # onnxruntime raises whatever it meets
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise EngineError("cannot quantize the network", first) from error
        finally:
            logging.disable(logging.NOTSET)
        return result.read_bytes()
