"""From weights to a model folder: ``model.onnx`` and ``card.toml``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stainstream.color.lut import Rounding, quantize
from stainstream.errors import ModelError
from stainstream.model import Card, Model, write
from stainstream.normalizers.network import PixelwiseNetwork

from .networks import StainNet

__all__ = ["export", "graph_of", "read_weights"]

_OPSET = 17
_SAMPLES = 1 << 16


def read_weights(path: Path) -> StainNet:
    """Read a StainNet checkpoint, such as the authors' ``.pth`` files; nothing in it is executed.

    Raises
    ------
    ModelError
        If the file is missing, holds anything but tensors, or is another network's.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read {path}", error.strerror or str(error)) from error
    except Exception as error:  # torch promises no type: damaged files end in a dozen of them
        raise ModelError(f"refusing {path}", "it is not a file of tensors") from error
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    ):
        raise ModelError(f"refusing {path}", "it does not hold a dictionary of tensors")
    try:
        return StainNet.of(weights)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ModelError(f"cannot use {path}", f"it is not a StainNet checkpoint: {error}") from error


def graph_of(network: StainNet, rounding: Rounding) -> onnx.ModelProto:
    """The network as ONNX, uint8 (N, H, W, 3) in and out, all scaling inside.

    The order of casts is the one that ONNX Runtime and TensorRT both take: uint8 meets nothing but Cast.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    last = "rgb"

    def add(kind: str, *values: NDArray[Any] | float, **attributes: Any) -> None:
        nonlocal last
        inputs = [last]
        for value in values:
            name = f"c{len(constants)}"
            constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
            inputs.append(name)
        last = f"{kind.lower()}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [last], **attributes))

    add("Cast", to=TensorProto.FLOAT)
    for kind, value in (("Div", 255.0), ("Sub", 0.5), ("Div", 0.5)):
        add(kind, value)
    add("Transpose", perm=[0, 3, 1, 2])
    for layer in network.rgb_trans:
        if isinstance(layer, torch.nn.Conv2d):
            assert layer.bias is not None
            add("Conv", layer.weight.detach().numpy(), layer.bias.detach().numpy(), kernel_shape=[1, 1])
        else:
            add("Relu")
    for kind, value in (("Mul", 0.5), ("Add", 0.5), ("Mul", 255.0)):
        add(kind, value)
    add("Transpose", perm=[0, 2, 3, 1])
    add("Clip", 0.0, 255.0)
    if rounding == "nearest":
        add("Round")
    add("Cast", to=TensorProto.UINT8)
    nodes[-1].output[0] = "normalized"
    return _model(nodes, constants)


def _model(nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto]) -> onnx.ModelProto:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "H", "W", 3]) for name in ("rgb", "normalized")
    ]
    graph = helper.make_graph(nodes, "StainNet", ends[:1], ends[1:], constants)
    # IR version 9 is what runtimes of the last three years read.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    model.producer_name = "stainstream"
    onnx.checker.check_model(model, full_check=True)
    return model


def export(network: StainNet, folder: Path, card: Card) -> Model:
    """Write `network` as a model folder, after checking the written graph against torch.

    Raises
    ------
    ModelError
        If the graph differs from torch by more than one level anywhere, or the folder cannot be written.
    """
    data = graph_of(network, card.rounding).SerializeToString()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "model.onnx"
        file.write_bytes(data)
        _check(network, PixelwiseNetwork.read(file, card.name))
    return write(folder, data, card)


def _check(network: StainNet, graph: PixelwiseNetwork) -> None:
    colors = np.random.default_rng(0).random((_SAMPLES, 3))
    image = torch.from_numpy((colors.T[None, :, :, None] * 2 - 1).astype(np.float32))
    expected = network(image).numpy()[0, :, :, 0].T * 0.5 + 0.5
    if not np.isfinite(expected).all():
        raise ModelError("cannot export the network", "its weights give no numbers")
    difference = np.abs(quantize(expected).astype(int) - quantize(graph(colors)).astype(int)).max()
    if difference > 1:
        raise ModelError("the exported graph is not the network", f"they differ by {difference} levels")
