"""Small ONNX graphs to try networks with, and cards for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from stainstream.color.lut import Rounding
from stainstream.model import Card

__all__ = ["Graph", "blur", "card", "negative"]


class Graph:
    """A graph in the making: each `add` acts on the result of the one before, unless it names other tensors."""

    def __init__(self, *, cast: bool = True) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = "rgb"
        if cast:
            self.add("Cast", to=TensorProto.FLOAT)

    def constant(self, value: ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """Name of a new initializer."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, kind: str, *values: ArrayLike, inputs: list[str] | None = None, **attributes: Any) -> str:
        """Append a node; its inputs are the last result and `values`, or `inputs`. Gives its output's name."""
        names = inputs if inputs is not None else [self.last, *(self.constant(value) for value in values)]
        self.last = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [self.last], **attributes))
        return self.last

    def end(self, rounding: str = "nearest") -> Graph:
        """Clip, round if `rounding` says so, and cast to bytes."""
        self.add("Clip", 0.0, 255.0)
        if rounding == "nearest":
            self.add("Round")
        self.add("Cast", to=TensorProto.UINT8)
        return self

    def model(
        self, opset: int = 17, kind: int = TensorProto.UINT8, shape: tuple[str | int, ...] = ("N", "H", "W", 3)
    ) -> onnx.ModelProto:
        """The graph from the input ``rgb`` to the last result."""
        ends = [helper.make_tensor_value_info(name, kind, list(shape)) for name in ("rgb", self.last)]
        graph = helper.make_graph(self.nodes, "test", ends[:1], ends[1:], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)

    def save(self, path: Path, **options: Any) -> Path:
        """Write `model` to `path`."""
        path.write_bytes(self.model(**options).SerializeToString())
        return path


def negative() -> Graph:
    """255 - x: pixelwise, and quickly told from anything else."""
    graph = Graph()
    graph.add("Sub", inputs=[graph.constant(255.0), graph.last])
    return graph.end()


def blur() -> Graph:
    """The mean of 3x3 neighbors, borders padded with zeros: not pixelwise."""
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    weight = np.zeros((3, 3, 3, 3))
    weight[[0, 1, 2], [0, 1, 2]] = 1 / 9
    graph.add("Conv", weight, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    graph.add("Transpose", perm=[0, 2, 3, 1])
    return graph.end()


def card(name: str = "toy", rounding: Rounding = "nearest", digest: str = "") -> Card:
    """A card that says as little as it may."""
    return Card(
        name=name,
        method="none",
        stain="H&E",
        source="a",
        target="b",
        training_data="c",
        license="CC0",
        digest=digest,
        authors=["me"],
        rounding=rounding,
    )
