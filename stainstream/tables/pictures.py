"""Pictures for the report: what each method makes of a tile of every case."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stainstream.errors import StainstreamError
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE

from . import classic, stainnets
from .ceiling import best_map
from .sets import ImageSet, cut, fields

__all__ = ["Picture", "Strip", "strips"]

_QUALITY = 88
_CASES = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """An image as a page shows it."""

    caption: str
    url: str
    """The JPEG itself, as a data URL."""


@dataclass(frozen=True)
class Strip:
    """The pictures of one case."""

    title: str
    pictures: list[Picture]


def strips(chosen: Sequence[ImageSet], data: Path) -> Iterator[Strip]:
    """For each case, the tile in the middle of its first image; sets that cannot be read are left out."""
    for each in chosen:
        try:
            given = fields(each, data)
        except StainstreamError as error:
            _log.warning("no pictures of %s: %s", each.name, error)
            continue
        try:
            place = data / each.model
            model = stainnets.given(str(place) if place.exists() else each.model) if each.model else None
        except StainstreamError as error:
            _log.warning("no pictures of %s: %s", each.model, error)
            model = None
        firsts = {field.case: field for field in reversed(given)}
        for field in list(reversed(firsts.values()))[:_CASES]:
            sides = [field.source, field.target, best_map(field.source, field.target)]
            if field.translated is not None:
                sides.append(field.translated)
            tiles = list(cut(*sides))
            source, target, best, *translated = tiles[len(tiles) // 2]
            images: dict[str, RGB8] = {"source": source}
            for method, title in classic.NAMES.items():
                if TABLE[method].missing is None:
                    images[f"{title}, target as reference"] = classic.each_frame(method, "staintools")(source, target)
            if translated:
                images["StainGAN"] = translated[0]
            images |= {"StainNet, as given": model(source)} if model else {}
            images |= {"best pixelwise map": best, "target": target}
            title = f"{each.name}, case {field.case}"
            yield Strip(title, [Picture(name, _url(image)) for name, image in images.items()])


def _url(image: RGB8) -> str:
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
