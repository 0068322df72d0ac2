"""OME-Zarr, its documents by zarr-python."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import zarr
from zarr.codecs import GzipCodec, TransposeCodec, ZstdCodec

from stainstream.frame import RGB8

from .encoding import Compression
from .output import Output
from .pyramid import Tile

__all__ = ["OmeZarr"]

_DOCUMENT, _PICTURES = "zarr.json", "associated"
_CHANNELS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
_AXES = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]


class OmeZarr(Output):
    """A Zarr 3 group after OME-NGFF 0.5: axes c, y, x, a chunk a tile; pictures as images in the group ``associated``.

    Chunks are encoded as the array's codecs say and put into their files directly: zarr-python would take a chunk apart
    and encode it on a thread of its own, after ours have done so.
    """

    compressions: ClassVar[tuple[Compression, ...]] = ("zstd", "deflate", "none")
    predicts = False

    @classmethod
    def chunk(cls, level: int, column: int, row: int) -> str:
        return f"{level}/c/0/{row}/{column}"

    def write(self, tiles: Iterator[Tile]) -> None:
        self.path.mkdir(exist_ok=True)
        sizes = self.plan.levels
        for old in (self.path / _DOCUMENT, *(self.path / str(level) / _DOCUMENT for level in range(len(sizes)))):
            old.unlink(missing_ok=True)  # of one who was killed; zarr-python would refuse, or remove all chunks
        shutil.rmtree(self.path / _PICTURES, ignore_errors=True)
        group = zarr.create_group(self.path, zarr_format=3, attributes=self._attributes())
        for level, (width, height) in enumerate(sizes):
            self._array(group, str(level), width, height, self.plan.tile)
        for tile in tiles:
            file = self.path / self.chunk(tile.level, tile.column, tile.row)
            if tile.column == 0:
                file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tile.data)
        for name, image in self.label.associated.items():
            self._picture(name, image)

    def _array(self, group: zarr.Group, name: str, width: int, height: int, tile: int) -> None:
        codecs: dict[str, Any] = {"zstd": ZstdCodec(level=3), "deflate": GzipCodec(level=6), "none": None}
        group.create_array(
            name,
            shape=(3, height, width),
            chunks=(3, tile, tile),
            dtype=np.uint8,
            filters=[TransposeCodec(order=(1, 2, 0))],  # a chunk's bytes are the tile's own
            compressors=codecs[self.encoding.compression],
            fill_value=255,
            dimension_names=["c", "y", "x"],
        )

    def _attributes(self) -> dict[str, Any]:
        width, height = self.plan.levels[0]
        scales = [(height / down, width / across) for across, down in self.plan.levels]
        return {
            "ome": _ome(self.label.name, self.label.pixel_size_um, scales),
            "stainstream": {
                **self.label.facts,
                **({"objective_power": self.label.power} if self.label.power else {}),
            },
        }

    def _picture(self, name: str, image: RGB8) -> None:
        (height, width, _), folder = image.shape, self.path / _PICTURES / _legal(name)
        ome = {"ome": _ome(name, None, [(1.0, 1.0)])}
        group = zarr.create_group(folder, zarr_format=3, attributes=ome)
        array = group.create_array(
            "0",
            shape=(3, height, width),
            chunks=(3, height, width),
            dtype=np.uint8,
            compressors=ZstdCodec(level=3),
            dimension_names=["c", "y", "x"],
        )
        array[...] = np.moveaxis(image, -1, 0)


def _ome(name: str, um: tuple[float, float] | None, scales: list[tuple[float, float]]) -> dict[str, Any]:
    """The OME-NGFF document; `scales` are how many pixels of level 0 one of each level is high and wide."""
    across, down = um or (1.0, 1.0)
    unit = {"unit": "micrometer"} if um else {}
    axes = [axis | (unit if axis["type"] == "space" else {}) for axis in _AXES]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [1.0, down * high, across * wide]}],
        }
        for level, (high, wide) in enumerate(scales)
    ]
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    channels = [{"label": label, "color": color, "window": window, "active": True} for label, color in _CHANNELS]
    return {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets, "type": "mean"}],
        "omero": {"channels": channels, "rdefs": {"model": "color"}},
    }


def _legal(name: str) -> str:
    return "".join(each if each.isalnum() or each in "-_." else "_" for each in name) or "picture"
