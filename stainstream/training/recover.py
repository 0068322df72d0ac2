"""The network in an ONNX file, as torch has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from stainstream.color.lut import Rounding
from stainstream.errors import ModelError

from .graph import Net, graph_of
from .networks import ResnetGenerator, StainNet
from .runner import run

__all__ = ["recover"]

_OUTSIDE_BLOCKS = 6  # convolutions of a generator
_SHAPE = (1, 24, 20, 3)


def recover(path: Path) -> Net:
    """Read the StainNet, or the StainGAN's generator, in an ONNX file that `stainstream export` wrote.

    Raises
    ------
    ModelError
        If the file cannot be read, or what was recovered does not do what the file does.
    """
    asked = f"cannot recover the weights in {path}"
    try:
        data = path.read_bytes()
        graph = onnx.load_from_string(data).graph
    except OSError as error:
        raise ModelError(f"cannot read {path}", error.strerror or str(error)) from error
    except DecodeError as error:
        raise ModelError(f"cannot read {path}", "it is not an ONNX model") from error
    try:
        network = _network(graph)
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        raise ModelError(asked, f"it is neither a StainNet nor a StainGAN's generator: {error}") from error
    if not _same(data, graph, network):
        raise ModelError(asked, "there is more to it than the weights of its convolutions")
    return network


def _same(data: bytes, graph: onnx.GraphProto, network: Net) -> bool:
    rounding: Rounding = "nearest" if any(node.op_type == "Round" for node in graph.node) else "truncate"
    wide = graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    again = graph_of(network, rounding, "float" if wide else "uint8").SerializeToString()
    rgb = np.random.default_rng(0).integers(0, 256, _SHAPE, np.uint8)
    return bool(np.allclose(run(data, rgb).astype(float), run(again, rgb), rtol=0, atol=0.001 if wide else 1))


def _network(graph: onnx.GraphProto) -> Net:
    """Convolutions stand in the graph as in the networks: one after the other, each a kernel and a bias."""
    constants = {each.name: each for each in graph.initializer}
    layers = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    arrays = [numpy_helper.to_array(constants[name]) for node in layers for name in node.input[1:]]
    kind: type[Net] = StainNet
    keys = [f"rgb_trans.{2 * k}.{part}" for k in range(len(layers)) for part in ("weight", "bias")]
    if any(node.op_type == "InstanceNormalization" for node in graph.node):
        kind = ResnetGenerator
        keys = list(ResnetGenerator(blocks=(len(layers) - _OUTSIDE_BLOCKS) // 2).state_dict())
    return kind.of({key: torch.from_numpy(array.copy()) for key, array in zip(keys, arrays, strict=True)})
