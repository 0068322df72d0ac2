"""A frame's number, written into its pixels."""

from __future__ import annotations

import binascii

import numpy as np
from numpy.typing import NDArray

from stainstream.errors import FrameError
from stainstream.frame import RGB8

from .size import Size

__all__ = ["BARCODE", "read_barcode", "write_barcode"]

_BLOCK = 8  # pixels a side
_BITS = 8  # blocks a row
_REFERENCE = bytes([0b01010101])  # black, white, black, ... in the first row
_ROWS = len(_REFERENCE) + 4 + 2  # the references, a 32-bit number and its CRC-16

BARCODE = Size(_BITS * _BLOCK, _ROWS * _BLOCK)
"""How much of the upper left corner a barcode takes."""


def write_barcode(image: RGB8, number: int) -> None:
    """Draw `number`, modulo 2**32, as black and white blocks into the upper left corner of `image`, in place.

    Parameters
    ----------
    image
        At least as large as `BARCODE`.
    """
    data = (number % 2**32).to_bytes(4, "big")
    bits = np.unpackbits(np.frombuffer(_REFERENCE + data + _checksum(data), np.uint8)).reshape(_ROWS, _BITS)
    blocks = (bits * np.uint8(255)).repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
    image[: BARCODE.height, : BARCODE.width] = blocks[..., None]


def read_barcode(image: RGB8) -> int:
    """Read the number that `write_barcode` drew.

    Any change of colors that leaves black darker than white is survived: what counts as white is told by the code's own
    first row. So is moderate noise and lossy compression: a block is judged by its mean, without its border.

    Raises
    ------
    FrameError
        If there is no barcode, or its checksum is wrong.
    """
    corner = image[: BARCODE.height, : BARCODE.width]
    if corner.shape != (BARCODE.height, BARCODE.width, 3):
        raise FrameError("cannot read the barcode", f"an image of shape {image.shape} is too small to hold one")
    light = _means(corner)
    black, white = light[0, 0::2].mean(), light[0, 1::2].mean()
    read = np.packbits(light > (black + white) / 2).tobytes()
    data, checksum = read[1:5], read[5:]
    if black >= white or read[:1] != _REFERENCE or checksum != _checksum(data):
        raise FrameError("cannot read the barcode", "there is none in the upper left corner, or it is damaged")
    return int.from_bytes(data, "big")


def _means(corner: RGB8) -> NDArray[np.float64]:
    """Mean of each block's inner pixels, of shape (rows, bits), in [0, 255]."""
    inner = slice(_BLOCK // 4, -_BLOCK // 4)
    blocks = corner.reshape(_ROWS, _BLOCK, _BITS, _BLOCK, 3)[:, inner, :, inner]
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3, 4))
    return means


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
