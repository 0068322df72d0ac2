"""A generator over images of any size."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stainstream.color.lut import quantize
from stainstream.frame import RGB8

__all__ = ["levels", "steady", "tensor", "translate"]

_STRIDE = 4  # generators halve the size twice


def tensor(images: NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
    """Images as networks take them: uint8 (n, height, width, 3) to float (n, 3, height, width) in [-1, 1]."""
    values = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return values.to(torch.float32) / 127.5 - 1.0


def levels(values: Tensor) -> NDArray[np.uint8]:
    """The way back: float (n, 3, height, width) in [-1, 1], clipped, to uint8 (n, height, width, 3)."""
    return quantize(values.detach().float().cpu().permute(0, 2, 3, 1).numpy() * 0.5 + 0.5)


def translate(network: nn.Module, image: RGB8, tile: int) -> RGB8:
    """Give an image to a network tile by tile, as large as those that it was trained on.

    Instance norms look at a whole tile, so that the size of tiles matters; what is cut short at the right and lower
    border is continued by reflection.
    """
    height, width = image.shape[:2]
    tile = -(-tile // _STRIDE) * _STRIDE
    device = next(network.parameters()).device
    out = np.empty_like(image)
    with torch.inference_mode():
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                part = image[top : top + tile, left : left + tile]
                down, right = tile - part.shape[0], tile - part.shape[1]
                whole = np.asarray(cv2.copyMakeBorder(part, 0, down, 0, right, cv2.BORDER_REFLECT), np.uint8)
                result = levels(network(tensor(whole[None], device)))[0]
                out[top : top + tile, left : left + tile] = result[: part.shape[0], : part.shape[1]]
    return out


def steady(network: nn.Module, tiles: Iterable[RGB8]) -> None:
    """Fix the instance norms of a network to their mean statistics over `tiles`.

    It then treats a color alike in every image, instead of taking each image's own mean color away.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.InstanceNorm2d)]
    device = next(network.parameters()).device
    for norm in norms:
        norm.track_running_stats = True
        norm.running_mean = torch.zeros(norm.num_features, device=device)
        norm.running_var = torch.ones(norm.num_features, device=device)
        norm.train()
    with torch.no_grad():
        for k, tile in enumerate(tiles):
            for norm in norms:
                norm.momentum = 1.0 / (k + 1)
            network(tensor(tile[None], device))
    network.eval()
