"""Whole slides: what reads them and what writes them, both in order of preference."""

from stainstream.registry import Plugin, Table

from .base import Slide
from .output import Output

__all__ = ["READERS", "WRITERS", "Output", "Slide"]

READERS: Table[Slide] = Table(
    "reader of slides",
    (
        Plugin(
            "openslide",
            "stainstream.slides.read_openslide:OpenSlide",
            "the formats of most scanners",
            needs=("openslide",),
            extra="slide",
        ),
        Plugin(
            "tifffile",
            "stainstream.slides.read_tiff:Tiff",
            "OME-TIFF and other TIFF in RGB",
            needs=("tifffile", "imagecodecs", "zarr"),
            extra="slide",
        ),
        Plugin(
            "cucim",
            "stainstream.slides.read_cucim:CuCIM",
            "Aperio, Philips and generic TIFF, by RAPIDS",
            needs=("cucim",),
            extra="slide",
        ),
    ),
)

WRITERS: Table[Output] = Table(
    "kind of slide to write",
    (
        Plugin(
            "ome.zarr",
            "stainstream.slides.write_zarr:OmeZarr",
            "OME-NGFF 0.5, a folder of chunks",
            pattern=r".+\.ome\.zarr",
            example="OUT.ome.zarr",
            needs=("zarr", "imagecodecs"),
            extra="slide",
        ),
        Plugin(
            "ome.tiff",
            "stainstream.slides.write_tiff:OmeTiff",
            "OME-TIFF, lower levels as SubIFDs",
            pattern=r".+\.ome\.tiff?",
            example="OUT.ome.tiff",
            needs=("tifffile", "imagecodecs"),
            extra="slide",
        ),
        Plugin(
            "tiff",
            "stainstream.slides.write_tiff:PyramidalTiff",
            "a TIFF page a level, as vips writes it",
            pattern=r".+\.tiff?",
            example="OUT.tiff",
            needs=("tifffile", "imagecodecs"),
            extra="slide",
        ),
        Plugin(
            "svs",
            "stainstream.slides.write_tiff:Svs",
            "laid out as Aperio's, with its associated images",
            pattern=r".+\.svs",
            example="OUT.svs",
            needs=("tifffile", "imagecodecs"),
            extra="slide",
        ),
    ),
)
