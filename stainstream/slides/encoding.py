"""How the tiles of a slide are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from stainstream.config import Settings
from stainstream.errors import UsageError
from stainstream.frame import RGB8

__all__ = ["Compression", "Encoder", "Encoding", "encoder", "subsampled"]

Compression: TypeAlias = Literal["jpeg", "jpeg2000", "jpeg2000-lossless", "zstd", "deflate", "none"]

Encoder: TypeAlias = Callable[[RGB8], bytes]
"""From a whole tile, uint8 (tile, tile, 3), C-contiguous, to what is stored of it; called from several threads."""

_QUALITY = {"jpeg": 85, "jpeg2000": 45}
_FULL_COLOR = 90  # JPEG quality from which color keeps its full resolution, as in libvips
_ZSTD_LEVEL, _DEFLATE_LEVEL = 3, 6


class Encoding(Settings, frozen=True, kw_only=True):
    """How tiles are stored."""

    compression: Compression
    """``jpeg`` and ``jpeg2000`` lose something, all others nothing."""
    quality: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Of ``jpeg``: 1 to 100; of ``jpeg2000``: the peak signal to noise ratio in dB. 0 for 85 and for 45."""

    @property
    def level(self) -> int:
        """The quality that is meant.

        Raises
        ------
        UsageError
            If a quality was set for what loses nothing.
        """
        if self.quality and self.compression not in _QUALITY:
            raise UsageError(f"cannot set quality for {self.compression}", "it loses nothing", "leave quality out")
        return self.quality or _QUALITY.get(self.compression, 0)


def encoder(encoding: Encoding, *, predict: bool) -> Encoder:
    """What stores tiles so.

    Parameters
    ----------
    predict
        Whether zstd and deflate are given differences of neighbors, TIFF's predictor 2, rather than the pixels.
    """
    import imagecodecs

    level = encoding.level

    def shown(tile: RGB8) -> Any:
        return imagecodecs.delta_encode(tile, axis=-2) if predict else tile

    match encoding.compression:
        case "jpeg":
            sampling = "420" if subsampled(encoding) else "444"
            return lambda tile: _bytes(
                imagecodecs.jpeg8_encode(
                    tile, level=level, colorspace="rgb", outcolorspace="ycbcr", subsampling=sampling
                )
            )
        case "jpeg2000":
            return lambda tile: _bytes(imagecodecs.jpeg2k_encode(tile, level=level, codecformat="j2k"))
        case "jpeg2000-lossless":
            return lambda tile: _bytes(imagecodecs.jpeg2k_encode(tile, level=0, reversible=True, codecformat="j2k"))
        case "zstd":
            return lambda tile: _bytes(imagecodecs.zstd_encode(shown(tile), level=_ZSTD_LEVEL))
        case "deflate":
            encode = imagecodecs.zlib_encode if predict else imagecodecs.gzip_encode
            return lambda tile: _bytes(encode(shown(tile), level=_DEFLATE_LEVEL))
        case "none":
            return lambda tile: tile.tobytes()


def subsampled(encoding: Encoding) -> bool:
    """Whether JPEG stores color at half the resolution."""
    return encoding.compression == "jpeg" and encoding.level < _FULL_COLOR


def _bytes(encoded: bytes | bytearray) -> bytes:
    return bytes(encoded)
