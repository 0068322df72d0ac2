"""A pixelwise network as a list of numbers that a small program on another device runs."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["WIDEST", "Chain", "Operation", "chain_of"]

Chain: TypeAlias = NDArray[np.float64]
"""One operation after the other: its `Operation`, channels in, channels out, its numbers."""

WIDEST = 64
"""Channels that the program has room for."""


class Operation(IntEnum):
    """What a step does with each channel, in the order of the program's own list (``lut_rgb8.cu``)."""

    ADD = 0
    SUBTRACT = 1
    SUBTRACT_FROM = 2
    MULTIPLY = 3
    DIVIDE = 4
    DIVIDE_INTO = 5
    MAXIMUM = 6
    MINIMUM = 7
    LEAKY_RELU = 8
    TANH = 9
    SIGMOID = 10
    ROUND = 11
    PRODUCT = 12
    """Weights [out][in], then biases [out]."""


_BINARY = {
    "Add": (Operation.ADD, Operation.ADD),
    "Sub": (Operation.SUBTRACT, Operation.SUBTRACT_FROM),
    "Mul": (Operation.MULTIPLY, Operation.MULTIPLY),
    "Div": (Operation.DIVIDE, Operation.DIVIDE_INTO),
    "Max": (Operation.MAXIMUM, Operation.MAXIMUM),
    "Min": (Operation.MINIMUM, Operation.MINIMUM),
}
_UNARY = {
    "Relu": Operation.LEAKY_RELU,
    "LeakyRelu": Operation.LEAKY_RELU,
    "Tanh": Operation.TANH,
    "Sigmoid": Operation.SIGMOID,
    "Round": Operation.ROUND,
}
_SILENT = ("Cast", "Identity", "Transpose")


def chain_of(path: Path) -> Chain | None:
    """The levels of `PixelwiseNetwork`, up to but without their last rounding, as a chain of operations.

    Parameters
    ----------
    path
        An ONNX file that `PixelwiseNetwork.read` takes.

    Returns
    -------
    None if its graph branches, or is wider than `WIDEST` channels: such a one is evaluated by `PixelwiseNetwork` alone.
    """
    import onnx

    graph = onnx.load(path).graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    parts: list[NDArray[np.float64]] = []
    last, wide = graph.input[0].name, 3
    nodes = list(graph.node)
    while nodes and nodes[-1].op_type in ("Cast", "Round"):  # the last rounding
        nodes.pop()
    for node in nodes:
        if node.op_type == "Constant":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
            continue
        if [each for each in node.input if each and each not in constants] != [last] or len(node.output) != 1:
            return None
        step = _step(node, constants, last, wide)
        if step is None or max(wide, step[1]) > WIDEST:
            return None
        numbers, wide = step
        parts += numbers
        last = node.output[0]
    return np.concatenate(parts) if parts and wide == 3 else None


def _step(
    node: onnx.NodeProto, constants: dict[str, NDArray[Any]], last: str, wide: int
) -> tuple[list[Chain], int] | None:
    """The numbers of a node and how many channels it gives; None for one that is not known."""
    attributes = {each.name: each for each in node.attribute}
    kind = node.op_type
    if kind in _SILENT:
        return [], wide
    if kind in _BINARY and len(node.input) == 2:
        first, second = node.input
        operation = _BINARY[kind][first != last]
        return _each(operation, constants[second if first == last else first].reshape(-1), wide)
    if kind in _UNARY:
        slope = attributes["alpha"].f if "alpha" in attributes else 0.01
        return _each(_UNARY[kind], [slope if kind == "LeakyRelu" else 0.0], wide)
    if kind == "Clip":
        bounds = [constants[each].reshape(-1) if each else None for each in [*node.input[1:], "", ""][:2]]
        steps = zip((Operation.MAXIMUM, Operation.MINIMUM), bounds, strict=True)
        return [part for what, bound in steps if bound is not None for part in _each(what, bound, wide)[0]], wide
    if kind == "Conv":
        weight = constants[node.input[1]][:, :, 0, 0]
        return _product(weight, constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight)))
    if kind == "MatMul" and node.input[0] == last:
        weight = constants[node.input[1]].T
        return _product(weight, np.zeros(len(weight)))
    return None


def _each(operation: Operation, numbers: Sequence[float] | NDArray[Any], wide: int) -> tuple[list[Chain], int]:
    return [np.array([operation, wide, wide], float), np.broadcast_to(np.asarray(numbers, float), wide).copy()], wide


def _product(weight: NDArray[Any], bias: NDArray[Any]) -> tuple[list[Chain], int]:
    out, wide = weight.shape
    return [np.array([Operation.PRODUCT, wide, out], float), weight.astype(float).reshape(-1), bias.astype(float)], out
