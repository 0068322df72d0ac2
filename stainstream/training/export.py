"""From weights to a model folder, or to a bare ONNX file."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stainstream.color.lut import Rounding, quantize
from stainstream.errors import ModelError
from stainstream.frame import RGB8
from stainstream.model import Card, Model, write
from stainstream.normalizers.network import PixelwiseNetwork

from .checkpoint import read_tensors
from .graph import STRIDE, Net, Tensors, graph_of
from .networks import ResnetGenerator, StainNet
from .runner import run

__all__ = ["checked", "described", "export", "read_weights", "weights_of"]

_COLORS = 1 << 16
_IMAGES = ((2, 24, 20), (1, 33, 27))  # one of them is padded
_FLOATS_DIFFER = 1e-3  # a quarter of a level


def read_weights(path: Path) -> Net:
    """Read a checkpoint of a StainNet or of a StainGAN's generator; nothing in it is executed.

    Raises
    ------
    ModelError
        If the file is missing, holds anything but tensors, or is another network's: the keys that differ are named.
    """
    weights = read_tensors(path)
    generator = any(key.removeprefix("module.").startswith("model.") for key in weights)
    kind: type[Net] = ResnetGenerator if generator else StainNet
    try:
        return kind.of(weights)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ModelError(f"cannot use {path}", f"it is not a {kind.__name__} checkpoint: {error}") from error


def weights_of(network: Net) -> bytes:
    """A checkpoint: the network's weights and nothing else, as ``torch.save`` writes them."""
    data = io.BytesIO()
    torch.save(dict(network.state_dict()), data)
    return data.getvalue()


def described(network: Net) -> str:
    """What a card calls the method of `network`."""
    if isinstance(network, ResnetGenerator):
        return f"StainGAN generator (ResNet, {sum(hasattr(layer, 'conv_block') for layer in network.model)} blocks)"
    sizes = [layer.kernel_size for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    neighbors = sum(size != (1, 1) for size in sizes)
    return f"StainNet with {neighbors} of {len(sizes)} convolutions 3x3" if neighbors else "StainNet"


def export(network: Net, folder: Path, card: Card) -> Model:
    """Write `network` as a model folder, after checking the written graph against torch; see `checked`.

    Raises
    ------
    ModelError
        If the graph differs from torch, or the folder cannot be written.
    """
    return write(folder, checked(network, card.rounding), card)


def checked(network: Net, rounding: Rounding, tensors: Tensors = "uint8") -> bytes:
    """An ONNX file's bytes, checked against torch: at random colors, and on images of several sizes.

    ONNX Runtime runs the graph, or, where it is not installed, ONNX's own reference.

    Raises
    ------
    ModelError
        If the graph differs from torch by more than one level, or 0.001 of float tensors, anywhere.
    """
    data: bytes = graph_of(network, rounding, tensors).SerializeToString()
    if tensors == "uint8" and _pixelwise(network):
        _check_colors(network, data)
    for shape in _IMAGES:
        _check_images(network, data, rounding, np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))
    return data


def _pixelwise(network: Net) -> bool:
    return all(layer.kernel_size == (1, 1) for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))


def _check_colors(network: Net, data: bytes) -> None:
    """The way to a table: the graph evaluated in float64."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "model.onnx"
        file.write_bytes(data)
        graph = PixelwiseNetwork.read(file)
    colors = np.random.default_rng(0).random((_COLORS, 3))
    expected = _torch(network, colors.T[None, :, :, None])[0, :, :, 0].T
    _same_bytes(quantize(expected), quantize(graph(colors)))


def _check_images(network: Net, data: bytes, rounding: Rounding, rgb: RGB8) -> None:
    expected = _torch(network, rgb.transpose(0, 3, 1, 2) / 255.0)
    result = run(data, rgb)
    if result.dtype == np.uint8:
        _same_bytes(quantize(expected, rounding).transpose(0, 2, 3, 1), result)
    elif not np.allclose(expected.clip(0, 1), result, rtol=0, atol=_FLOATS_DIFFER):
        raise _other(f"{np.abs(expected.clip(0, 1) - result).max():.2g}")


def _torch(network: Net, image: NDArray[Any]) -> NDArray[Any]:
    """(n, 3, height, width) in [0, 1] by torch, padded as the graph pads."""
    given = torch.from_numpy(image.astype(np.float32)) * 2 - 1
    height, width = given.shape[2:]
    if isinstance(network, ResnetGenerator):
        given = torch.nn.functional.pad(given, (0, -width % STRIDE, 0, -height % STRIDE), mode="reflect")
    result: NDArray[Any] = network(given)[:, :, :height, :width].numpy() * 0.5 + 0.5
    if not np.isfinite(result).all():
        raise ModelError("cannot export the network", "its weights give no numbers")
    return result


def _same_bytes(expected: RGB8, result: RGB8) -> None:
    if (difference := np.abs(expected.astype(int) - result).max()) > 1:
        raise _other(f"{difference} levels")


def _other(difference: str) -> ModelError:
    return ModelError("the exported graph is not the network", f"they differ by {difference}")
