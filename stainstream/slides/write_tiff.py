"""Pyramidal TIFF, by tifffile."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import tifffile

from .encoding import Compression, subsampled
from .output import Output
from .pyramid import Tile
from .spool import Spool

__all__ = ["OmeTiff", "PyramidalTiff", "Svs"]

_APERIO_JP2000_RGB = 33005
_LOSSLESS: tuple[Compression, ...] = ("jpeg2000-lossless", "zstd", "deflate", "none")
_CODES: dict[str, int | str | None] = {
    "jpeg": "jpeg",
    "jpeg2000": "jpeg2000",
    "jpeg2000-lossless": "jpeg2000",
    "zstd": "zstd",
    "deflate": "adobe_deflate",
    "none": None,
}


class _Tiff(Output):
    """A BigTIFF: level 0 is written as it comes, the others wait in a file of their own, about a third as large."""

    compressions: ClassVar[tuple[Compression, ...]] = ("jpeg", "jpeg2000", *_LOSSLESS)
    predicts = True
    ome = False

    def write(self, tiles: Iterator[Tile]) -> None:
        levels = self.plan.levels
        with (
            Spool(self.path.parent, len(levels)) as spool,
            tifffile.TiffWriter(self.path, bigtiff=True, ome=self.ome) as file,
        ):
            lowest = _lowest(tiles, spool)
            self._level(
                file, 0, islice(lowest, self.plan.tiles)
            )  # a slice, since tifffile closes what it iterates over
            deque(lowest, maxlen=0)  # what comes after the last tile of level 0
            self._after_first(file)
            for level in range(1, len(levels)):
                self._level(file, level, spool.level(level))
            self._last(file)
        with self.path.open("r+b") as written:
            os.fsync(written.fileno())

    def _level(self, file: tifffile.TiffWriter, level: int, tiles: Iterator[bytes]) -> None:
        width, height = self.plan.levels[level]
        file.write(tiles, shape=(height, width, 3), **self._tags(level), **self._described(level))

    def _tags(self, level: int) -> dict[str, Any]:
        """What every level's page says."""
        compression = self.encoding.compression
        tags: dict[str, Any] = {
            "dtype": np.uint8,
            "tile": (self.plan.tile, self.plan.tile),
            "photometric": "ycbcr" if compression == "jpeg" else "rgb",
            "compression": self._code(compression),
            "software": self.label.facts.get("software", "stainstream"),
        }
        if compression == "jpeg":
            tags["subsampling"] = (2, 2) if subsampled(self.encoding) else (1, 1)
        if compression in ("zstd", "deflate"):
            tags["predictor"] = 2
        if self.label.pixel_size_um:
            scale = [self.plan.width / self.plan.levels[level][0], self.plan.height / self.plan.levels[level][1]]
            tags["resolution"] = tuple(1e4 / (um * by) for um, by in zip(self.label.pixel_size_um, scale, strict=True))
            tags["resolutionunit"] = "CENTIMETER"
        return tags

    def _code(self, compression: Compression) -> int | str | None:
        return _CODES[compression]

    @abstractmethod
    def _described(self, level: int) -> dict[str, Any]:
        """The tags of a level that say what it is."""

    def _after_first(self, file: tifffile.TiffWriter) -> None:
        """What stands between level 0 and the others; nothing."""

    def _last(self, file: tifffile.TiffWriter) -> None:
        """What stands after the pyramid: the pictures that come with it."""
        for name, image in self.label.associated.items():
            file.write(image, photometric="rgb", compression="adobe_deflate", **self._picture(name, image.shape))

    @abstractmethod
    def _picture(self, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
        """The tags of a picture that comes with the slide."""


class PyramidalTiff(_Tiff):
    """One page a level, as libvips writes it: OpenSlide, QuPath and ASAP take it for a slide."""

    def _described(self, level: int) -> dict[str, Any]:
        if level:
            return {"subfiletype": 1, "metadata": None}
        return {"metadata": None, "description": json.dumps({"name": self.label.name, **self.label.facts})}

    def _picture(self, name: str, shape: tuple[int, ...]) -> dict[str, Any]:  # noqa: ARG002 - others need it
        return {"description": name, "metadata": None}


class OmeTiff(_Tiff):
    """OME-TIFF 6: lower levels are SubIFDs, pictures are further images, provenance is a map annotation."""

    ome = True

    def _described(self, level: int) -> dict[str, Any]:
        if level:
            return {"subfiletype": 1, "metadata": None}
        size = self.label.pixel_size_um
        physical = {f"PhysicalSize{axis}": um for axis, um in zip("XY", size, strict=True)} if size else {}
        units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"} if size else {}
        metadata = {
            "axes": "YXS",
            "Name": self.label.name,
            "UUID": f"urn:uuid:{self.label.uuid}",
            "Creator": self.label.facts.get("software", "stainstream"),
            "Channel": {"Name": ["RGB"]},
            "MapAnnotation": {"Namespace": "stainstream/slide", **self.label.facts},
            **physical,
            **units,
        }
        return {"subifds": len(self.plan.levels) - 1, "metadata": metadata}

    def _picture(self, name: str, shape: tuple[int, ...]) -> dict[str, Any]:  # noqa: ARG002 - others need it
        return {"metadata": {"axes": "YXS", "Name": name}}


class Svs(_Tiff):
    """Laid out and described as Aperio's slides are, which is how readers know what is what in them."""

    def _code(self, compression: Compression) -> int | str | None:
        return _APERIO_JP2000_RGB if compression.startswith("jpeg2000") else super()._code(compression)

    def _described(self, level: int) -> dict[str, Any]:
        (width, height), (across, down) = self.plan.levels[0], self.plan.levels[level]
        tile = self.plan.tile
        size = f"{width}x{height} [0,0 {width}x{height}] ({tile}x{tile})" + (f" -> {across}x{down}" if level else "")
        parts = [f"Aperio Image Library, as written by {self.label.facts.get('software', 'stainstream')}\r\n{size} RGB"]
        if self.label.power:
            parts.append(f"AppMag = {self.label.power:g}")
        if self.label.pixel_size_um:
            parts.append(f"MPP = {self.label.pixel_size_um[0]:.9g}")
        parts += [f"stainstream {key} = {_plain(value)}" for key, value in self.label.facts.items()]
        return {"description": "|".join(parts) if level == 0 else parts[0], "metadata": None}

    def _after_first(self, file: tifffile.TiffWriter) -> None:
        image = self.label.associated.get("thumbnail")
        if image is not None:
            text = f"Aperio Image Library\r\n{self.plan.width}x{self.plan.height} -> {image.shape[1]}x{image.shape[0]}"
            file.write(image, photometric="rgb", compression="adobe_deflate", description=text, metadata=None)

    def _last(self, file: tifffile.TiffWriter) -> None:
        for name, image in self.label.associated.items():
            if name in ("label", "macro"):
                file.write(image, photometric="rgb", compression="adobe_deflate", **self._picture(name, image.shape))

    def _picture(self, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
        text = f"Aperio Image Library\r\n{name} {shape[1]}x{shape[0]}"
        return {"subfiletype": 9 if name == "macro" else 1, "description": text, "metadata": None}


def _lowest(tiles: Iterator[Tile], spool: Spool) -> Iterator[bytes]:
    for tile in tiles:
        if tile.level:
            spool.add(tile.level, tile.data)
        else:
            yield tile.data


def _plain(text: str) -> str:
    """Without what separates fields, and in ASCII, as TIFF wants it."""
    return text.replace("|", "/").encode("ascii", "replace").decode()
