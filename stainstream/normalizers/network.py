"""Networks that treat each pixel on its own, read from ONNX and evaluated with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stainstream.color.lut import Colors, Rounding
from stainstream.errors import ModelError, NotPixelwise

if TYPE_CHECKING:
    import onnx

__all__ = ["PixelwiseNetwork"]

Values: TypeAlias = NDArray[np.float64]
Step: TypeAlias = Callable[[Mapping[str, Values]], Values]

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}
_UNARY: dict[str, Callable[[Any], Any]] = {
    "Relu": lambda x: np.maximum(x, 0.0),
    "Tanh": np.tanh,
    "Sigmoid": lambda x: np.exp(-np.logaddexp(0.0, -x)),
    "Identity": lambda x: x,
    "Round": np.rint,
}


@dataclass(frozen=True, eq=False)
class PixelwiseNetwork:
    """A network in which no pixel asks its neighbors: StainNet and its kin.

    Called with float64 colors of shape (..., 3) in [0, 1], it evaluates the ONNX graph in float64, whatever precision
    the graph names, up to but without its last rounding, and returns colors of the same shape.
    """

    name: str
    rounding: Rounding
    """How the graph turns levels into integers."""
    steps: tuple[tuple[str, Step], ...]
    """What each step is called and what it computes from those before it; "" is the input, in levels 0 to 255."""

    def __call__(self, rgb: Colors) -> Colors:
        known: dict[str, Values] = {"": rgb.reshape(-1, 3).astype(np.float64) * 255.0}
        for output, step in self.steps:
            known[output] = step(known)
        return known[self.steps[-1][0]].reshape(rgb.shape) / 255.0

    @classmethod
    def read(cls, path: Path, name: str = "") -> PixelwiseNetwork:
        """Read a graph that takes and gives uint8 (N, H, W, 3).

        Raises
        ------
        ModelError
            If the file is missing, is not ONNX, keeps its weights elsewhere, or does not take and give uint8
            (N, H, W, 3).
        NotPixelwise
            If an operator looks at neighbors, or is not one that is known to be pixelwise.
        """
        import onnx
        from google.protobuf.message import DecodeError

        try:
            model = onnx.load(path, load_external_data=False)
        except OSError as error:
            raise ModelError(f"cannot read {path}", error.strerror or str(error)) from error
        except (DecodeError, onnx.checker.ValidationError) as error:
            raise ModelError(f"cannot read {path}", "it is not an ONNX model") from error
        _check_ends(model.graph, path)
        return _Reader(model.graph).network(name or path.stem)


def _check_ends(graph: onnx.GraphProto, path: Path) -> None:
    import onnx

    for way, values in (("input", graph.input), ("output", graph.output)):
        if len(values) == 1:
            tensor = values[0].type.tensor_type
            dims = tensor.shape.dim
            if tensor.elem_type == onnx.TensorProto.UINT8 and len(dims) == 4 and dims[3].dim_value == 3:
                continue
        raise ModelError(
            f"cannot use {path}",
            f"its {way} is not one uint8 tensor of shape (N, H, W, 3)",
            "run: stainstream export, which puts the scaling inside the graph",
        )


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    from onnx import external_data_helper, numpy_helper

    if external_data_helper.uses_external_data(tensor):
        raise ModelError(
            "cannot use the network",
            "its weights stand in another file, which its digest does not cover",
            "save it as one file: onnx.save(onnx.load(FILE), FILE)",
        )
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("cannot use the network", f"its tensor {tensor.name!r} is damaged: {error}") from error


class _Reader:
    """Translates one graph, node by node.

    `channels_last` remembers where each tensor has its channels, `bytes` which are not yet cast to numbers that can
    be calculated with.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {each.name: _array(each) for each in graph.initializer}
        self.channels_last = {graph.input[0].name: True}
        self.names = {graph.input[0].name: ""}
        self.bytes = {graph.input[0].name}
        self.steps: list[tuple[str, Step]] = []

    def network(self, name: str) -> PixelwiseNetwork:
        makers = {output: node for node in self.graph.node for output in node.output}
        cast = makers.get(self.graph.output[0].name)
        if cast is None or cast.op_type != "Cast":
            raise NotPixelwise(f"cannot bake {name!r}", "its graph does not end in the cast to uint8")
        last = makers.get(cast.input[0], cast)
        rounding: Rounding = "nearest" if last.op_type == "Round" else "truncate"
        result = (last if rounding == "nearest" else cast).input[0]
        for node in self.graph.node:
            if result in self.names:
                break
            self._translate(node)
        if not self.steps or not self.channels_last.get(result, False):
            raise NotPixelwise(f"cannot bake {name!r}", "its result is not made from its input, with channels last")
        network = PixelwiseNetwork(name, rounding, tuple(self.steps))
        try:
            network(np.zeros((2, 3)))
        except ValueError as error:
            raise ModelError(f"cannot use {name!r}", f"its tensors do not fit together: {error}") from error
        return network

    def _translate(self, node: onnx.NodeProto) -> None:
        from onnx import helper

        try:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            if node.op_type == "Constant":
                self.constants[node.output[0]] = _array(attributes["value"])
            else:
                self._append(node, attributes)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise NotPixelwise(
                f"cannot bake the operator {node.op_type}", f"its inputs are unusual: {error}"
            ) from error

    def _append(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> None:
        tensors = [each for each in node.input if each in self.names]
        unknown = [each for each in node.input if each and each not in self.names and each not in self.constants]
        if unknown or not tensors or len(node.output) != 1:
            raise NotPixelwise(f"cannot read {node.op_type}", f"its inputs {list(node.input)} are not known")
        layouts = {self.channels_last[each] for each in tensors}
        if len(layouts) != 1:
            raise NotPixelwise(f"cannot read {node.op_type}", "its inputs have their channels on different axes")
        output = node.output[0]
        if self.bytes.intersection(tensors) and node.op_type != "Cast":
            if node.op_type not in ("Identity", "Transpose"):
                raise NotPixelwise(f"cannot bake the operator {node.op_type}", "it calculates in bytes, which overflow")
            self.bytes.add(output)
        self.channels_last[output] = layouts.pop()
        step = self._step(node, attributes)
        self.names[output] = output
        self.steps.append((output, step))

    def _step(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> Step:
        kind, first = node.op_type, self.names.get(node.input[0], node.input[0])
        if kind in _UNARY:
            unary = _UNARY[kind]
            return lambda known: unary(known[first])
        if kind in _BINARY and len(node.input) == 2:
            binary = _BINARY[kind]
            left, right = (self._operand(each, node.output[0]) for each in node.input)
            return lambda known: binary(left(known), right(known))
        if kind == "Cast":
            return self._cast(attributes["to"], first)
        if kind == "LeakyRelu":
            slope = float(attributes.get("alpha", 0.01))
            return lambda known: np.where(known[first] < 0, slope * known[first], known[first])
        if kind == "Clip":
            low, high = (
                self._bound(node, k, attributes.get(key, default))
                for k, key, default in ((1, "min", -np.inf), (2, "max", np.inf))
            )
            return lambda known: np.clip(known[first], low, high)
        if kind == "Transpose":
            return self._transpose(node, list(attributes.get("perm", [])), first)
        if kind in ("Conv", "MatMul"):
            weight, bias = self._convolution(node, attributes) if kind == "Conv" else self._matrix(node)
            return lambda known: known[first] @ weight + bias
        raise NotPixelwise(f"cannot bake the operator {kind}", "it is not known to treat each pixel on its own")

    def _cast(self, to: int, first: str) -> Step:
        import onnx

        if to not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16):
            raise NotPixelwise("cannot bake a cast to integers", "only the last operator may round")
        return lambda known: known[first]

    def _operand(self, name: str, output: str) -> Step:
        if name in self.names:
            tensor = self.names[name]
            return lambda known: known[tensor]
        constant = self.constants[name].astype(np.float64)
        axis = -1 if self.channels_last[output] else -3
        channels = constant.shape[axis] if constant.ndim >= -axis else 1
        if constant.size != channels:
            raise NotPixelwise(f"cannot bake a constant of shape {constant.shape}", "it differs from pixel to pixel")
        row = constant.reshape(-1)
        return lambda _: row

    def _bound(self, node: onnx.NodeProto, position: int, default: float) -> float:
        if len(node.input) <= position or not node.input[position]:
            return default
        return float(self.constants[node.input[position]].item())

    def _transpose(self, node: onnx.NodeProto, order: list[int], first: str) -> Step:
        channels_last = self.channels_last[node.input[0]]
        if order != (_TO_NCHW if channels_last else _TO_NHWC):
            raise NotPixelwise(f"cannot bake a transposition {order}", "it moves pixels")
        self.channels_last[node.output[0]] = not channels_last
        return lambda known: known[first]

    def _convolution(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> tuple[Values, Values]:
        weight = self.constants[node.input[1]].astype(np.float64)
        ones = all(step == 1 for step in attributes.get("strides", ()))
        flat = not any(attributes.get("pads", ())) and weight.shape[2:] == (1, 1)
        if not (ones and flat) or attributes.get("group", 1) != 1 or self.channels_last[node.input[0]]:
            raise NotPixelwise("cannot bake a convolution", f"its kernel of shape {weight.shape} is not a plain 1x1")
        bias = self.constants[node.input[2]].astype(np.float64) if len(node.input) > 2 else np.zeros(weight.shape[0])
        return np.ascontiguousarray(weight[:, :, 0, 0].T), bias

    def _matrix(self, node: onnx.NodeProto) -> tuple[Values, Values]:
        weight = self.constants.get(node.input[1], np.zeros(0)).astype(np.float64)
        if weight.ndim != 2 or not self.channels_last[node.input[0]]:
            raise NotPixelwise("cannot bake a matrix product", "it does not act on the channels of one pixel")
        return weight, np.zeros(weight.shape[1])
