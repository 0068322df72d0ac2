"""Networks as ONNX graphs."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from stainstream.color.lut import Rounding

from .networks import ResnetGenerator, StainNet

__all__ = ["STRIDE", "Net", "Tensors", "graph_of"]

Net: TypeAlias = StainNet | ResnetGenerator

Tensors: TypeAlias = Literal["uint8", "float"]
"""What a graph takes and gives: uint8 RGB (N, H, W, 3), or float32 RGB (N, 3, H, W) in [0, 1]."""

STRIDE = 4
"""A generator takes sizes that are multiples of this."""

_OPSET = 17
_ENDS: dict[Tensors, tuple[int, list[str | int | None]]] = {
    "uint8": (TensorProto.UINT8, ["N", "H", "W", 3]),
    "float": (TensorProto.FLOAT, ["N", 3, "H", "W"]),
}
_HEIGHT_AND_WIDTH = {"start": 2, "end": 4}


def graph_of(network: Net, rounding: Rounding, tensors: Tensors = "uint8") -> onnx.ModelProto:
    """The network as ONNX, images of any size in and out, all scaling inside.

    A generator's images are padded at the bottom and on the right, by reflection, to multiples of 4, and the result is
    cut back to their size.

    Parameters
    ----------
    rounding
        How levels become integers; float tensors are not rounded.
    """
    graph = _Graph(tensors)
    if tensors == "uint8":
        # uint8 meets nothing but Cast: that ONNX Runtime and TensorRT both take.
        graph.add("Cast", to=TensorProto.FLOAT)
        graph.scale(("Div", 255.0), ("Sub", 0.5), ("Div", 0.5))
        graph.add("Transpose", perm=[0, 3, 1, 2])
        graph.network(network)
        graph.scale(("Mul", 0.5), ("Add", 0.5), ("Mul", 255.0))
        graph.add("Transpose", perm=[0, 2, 3, 1])
        graph.add("Clip", 0.0, 255.0)
        if rounding == "nearest":
            graph.add("Round")
        graph.add("Cast", to=TensorProto.UINT8)
    else:
        graph.scale(("Sub", 0.5), ("Div", 0.5))
        graph.network(network)
        graph.scale(("Mul", 0.5), ("Add", 0.5))
        graph.add("Clip", 0.0, 1.0)
    return graph.model(type(network).__name__)


class _Graph:
    """A graph in the making: each node acts on the result of the one before."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = "rgb"

    def constant(self, value: NDArray[Any] | float | list[int]) -> str:
        """Name of a new constant: int64 of a list, else float32."""
        name = f"c{len(self.constants)}"
        kind = np.int64 if isinstance(value, list) else np.float32
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, kind: str, *values: NDArray[Any] | float | list[int] | str, **attributes: Any) -> str:
        """Append a node with the inputs `last` and `values`, of which texts name tensors; gives its output's name."""
        names = [value if isinstance(value, str) else self.constant(value) for value in values]
        return self._append(kind, [self.last, *names], attributes)

    def _append(self, kind: str, inputs: list[str], attributes: dict[str, Any]) -> str:
        self.last = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [self.last], **attributes))
        return self.last

    def scale(self, *steps: tuple[str, float]) -> None:
        """Calculate with constants."""
        for kind, value in steps:
            self.add(kind, value)

    def network(self, network: Net) -> None:
        """Everything between scaled images and scaled images."""
        if isinstance(network, StainNet):
            self.layers(network.rgb_trans)
            return
        image = self.last
        size = self.add("Shape", **_HEIGHT_AND_WIDTH)
        self.add("Neg")
        missing = self.add("Mod", [STRIDE])
        pads = self._append("Concat", [self.constant([0] * 6), missing], {"axis": 0})
        self.last = image
        self.add("Pad", pads, mode="reflect")
        self.layers(network.model)
        self.add("Slice", [0, 0], size, [2, 3])

    def layers(self, layers: nn.Sequential) -> None:
        """One layer after the other."""
        for layer in layers:
            self.layer(layer)

    def layer(self, layer: nn.Module) -> None:
        """What the networks are made of."""
        match layer:
            case nn.Conv2d():
                self.add("Conv", *_weights(layer), **_geometry(layer))
            case nn.ConvTranspose2d():
                extra = list(layer.output_padding)
                self.add("ConvTranspose", *_weights(layer), **_geometry(layer), output_padding=extra)
            case nn.InstanceNorm2d():
                width = layer.num_features
                self.add("InstanceNormalization", np.ones(width), np.zeros(width), epsilon=layer.eps)
            case nn.ReLU():
                self.add("Relu")
            case nn.Tanh():
                self.add("Tanh")
            case nn.ReflectionPad2d():
                left, right, top, bottom = layer.padding
                self.add("Pad", [0, 0, top, left, 0, 0, bottom, right], mode="reflect")
            case nn.Dropout():
                pass  # drops nothing in use
            case _:  # a residual block
                before = self.last
                self.layers(layer.get_submodule("conv_block"))  # type: ignore[arg-type]
                self.add("Add", before)

    def model(self, name: str) -> onnx.ModelProto:
        """The graph from ``rgb`` to ``normalized``, checked."""
        self.nodes[-1].output[0] = "normalized"
        kind, shape = _ENDS[self.tensors]
        ends = [helper.make_tensor_value_info(end, kind, shape) for end in ("rgb", "normalized")]
        graph = helper.make_graph(self.nodes, name, ends[:1], ends[1:], self.constants)
        # IR version 9 is what runtimes of the last three years read.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
        model.producer_name = "stainstream"
        onnx.checker.check_model(model, full_check=True)
        return model


def _weights(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[NDArray[Any], NDArray[Any]]:
    assert layer.bias is not None
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def _geometry(layer: nn.Conv2d | nn.ConvTranspose2d) -> dict[str, list[int]]:
    """The attributes that are not ONNX's defaults."""
    geometry = {"kernel_shape": list(layer.kernel_size)}
    if any(step != 1 for step in layer.stride):
        geometry["strides"] = list(layer.stride)
    if any(padding := [int(each) for each in layer.padding]):
        geometry["pads"] = padding * 2
    return geometry
