"""What is made of a slide: which tiles, of which pixels, under which label."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from stainstream.api import Normalizer
from stainstream.config import Settings
from stainstream.frame import RGB8
from stainstream.slides import Slide
from stainstream.slides.output import Label
from stainstream.slides.pyramid import Plan
from stainstream.slides.tissue import TissueMask

__all__ = ["BandRows", "SlideOptions", "label_of", "plan_of", "producer_of", "rows_of"]

BandRows: TypeAlias = int | Literal["auto"]
"""How many rows of tiles a band has, made a power of two; 0 for slides as a whole."""

_TILE = 512
_LARGE, _ENOUGH = 4096, 1024  # tiles of a slide that is divided, and of a band at least


class SlideOptions(Settings, frozen=True, kw_only=True):
    """How a slide is written."""

    tile: Annotated[int, msgspec.Meta(ge=0, le=4096, multiple_of=32)] = 0
    """Side of a tile in pixels, a multiple of 32 (libtiff misreads others that are not compressed); 0 for a multiple of
    the slide's own tiles, of 512 at most."""
    compression: str = ""
    """``jpeg``, ``jpeg2000``, ``jpeg2000-lossless``, ``zstd``, ``deflate`` or ``none``; empty for the format's own."""
    quality: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """See `stainstream.slides.encoding.Encoding`."""
    keep_background: bool = False
    """Leave pixels that are no tissue as they are."""
    associated: bool = True
    """Take label, macro and thumbnail along; a label may name a patient."""
    reader: str = ""
    """``openslide``, ``tifffile`` or ``cucim``; empty for the first that can."""


def plan_of(slide: Slide, options: SlideOptions) -> Plan:
    """The tiles to be made of an open slide."""
    tile, own = options.tile, slide.about.tile
    if not tile:  # in step with the slide's tiles, so that none is decoded twice
        side = own[0] if own and own[0] == own[1] else _TILE
        tile = max((k * side for k in range(1, _TILE // side + 1) if k * side % 32 == 0), default=_TILE)
    return Plan(slide.about.width, slide.about.height, tile)


def rows_of(plan: Plan, wanted: BandRows) -> int:
    """How many rows of tiles of level 0 a slide's bands have; 0 if it is not divided.

    ``"auto"`` divides slides of more than 4,096 tiles, into bands of 1,024 or a little more.
    """
    columns, rows = plan.grid(0)
    if wanted == "auto":
        wanted = -(-_ENOUGH // columns) if plan.tiles > _LARGE else 0
    height = 1 << (wanted - 1).bit_length() if wanted else 0
    return height if height < rows else 0


def producer_of(
    slide: Slide, normalize: Normalizer | None, options: SlideOptions
) -> Callable[[int, int, int, int], RGB8]:
    """What gives the pixels at x, y, width, height of level 0 as they are to be written; for several threads at once.

    Parameters
    ----------
    normalize
        What is done to them; None for nothing.
    """
    if normalize is None:
        return slide.read
    if not options.keep_background:
        return lambda x, y, width, height: _inplace(normalize, slide.read(x, y, width, height))
    about = slide.about
    mask = TissueMask(slide.thumbnail(TissueMask.size()), about.width, about.height, margin=1)

    def produce(x: int, y: int, width: int, height: int) -> RGB8:
        pixels, tissue = slide.read(x, y, width, height), mask.at(x, y, width, height)
        if not tissue.any():
            return pixels
        changed = normalize(pixels)
        changed[~tissue] = pixels[~tissue]
        return changed

    return produce


def label_of(slide: Slide, target: Path, normalize: Normalizer | None, options: SlideOptions) -> Label:
    """What is written beside the pixels: provenance, size of pixels, the pictures that come with the slide."""
    about = slide.about
    facts = {
        "software": f"stainstream {version('stainstream')}",
        "source": slide.path.name,
        "source_vendor": about.vendor,
        "background": "kept" if options.keep_background else "normalized",
    }
    if about.fingerprint:
        facts["source_fingerprint"] = about.fingerprint
    if normalize is not None:
        model = normalize.meta["model"]
        facts |= {"model": str(model["name"]), "model_sha256": str(model["sha256"])}
    pictures = {name: read() for name, read in slide.associated().items()} if options.associated else {}
    if "thumbnail" in pictures and normalize is not None:  # it shows what level 0 does; the others do not
        pictures["thumbnail"] = normalize(pictures["thumbnail"])
    return Label(target.name, about.pixel_size_um, about.power, facts, pictures)


def _inplace(normalize: Normalizer, pixels: RGB8) -> RGB8:
    return normalize(pixels, out=pixels)
