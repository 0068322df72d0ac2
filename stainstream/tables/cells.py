"""Labelled cells of two centres, split by the images that they were cut out of."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.color.convert import to_rgb8
from stainstream.errors import SourceError, UsageError
from stainstream.frame import RGB8
from stainstream.sources.files import natural
from stainstream.sources.image import SUFFIXES, read_image

from .sets import CellSet

__all__ = ["Cells", "read_centre", "split"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cells:
    """Cells of one centre."""

    images: RGB8
    """(n, size, size, 3)."""
    labels: NDArray[np.bool_]
    """Which are positive."""
    clusters: NDArray[np.str_]
    """The image that each was cut out of."""

    def of(self, chosen: NDArray[np.bool_]) -> Cells:
        """Some of them."""
        return Cells(self.images[chosen], self.labels[chosen], self.clusters[chosen])

    def __len__(self) -> int:
        return len(self.labels)


def read_centre(folder: Path, chosen: CellSet, size: int) -> Cells:
    """Read a folder whose sub-folders are classes; images are scaled to a square, unreadable ones named and left out.

    Raises
    ------
    UsageError
        If the folder is missing, or lacks positives or negatives.
    """
    if not folder.is_dir():
        raise UsageError(f"no cells of {chosen.name}", f"there is no folder {folder.name}")
    pattern = re.compile(chosen.cluster)
    images, labels, clusters = [], [], []
    for path in sorted((each for each in folder.glob("*/*") if each.suffix.lower() in SUFFIXES), key=natural):
        try:
            frame = read_image(path)
        except SourceError as error:
            _log.warning("left out: %s", error)
            continue
        image = to_rgb8(frame.image, frame.format)
        how = cv2.INTER_AREA if min(image.shape[:2]) > size else cv2.INTER_LINEAR
        images.append(np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8))
        labels.append(path.parent.name in chosen.positive)
        inside = f"{path.parent.name}/{path.stem}"
        match = pattern.search(inside)
        clusters.append(match[1] if match else inside)
    if len(set(labels)) < 2:
        sides = "no image" if not labels else "positive images only" if labels[0] else "negative images only"
        raise UsageError(f"cannot use the cells in {folder.name}", f"it holds {sides}", "name the positive sub-folders")
    return Cells(np.stack(images), np.array(labels), np.array(clusters))


def split(cells: Cells, share: float, seed: int) -> tuple[Cells, Cells, str]:
    """The rest, about `share` of the cells, and how they were parted: no image has cells on both sides.

    Where the images are too few for both sides to hold both classes, cells are parted one by one.
    """
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.unique(cells.clusters))
    sizes = np.array([(cells.clusters == name).sum() for name in names])
    taken = names[: int(np.searchsorted(np.cumsum(sizes), share * len(cells))) + 1]
    apart, how = np.isin(cells.clusters, taken), "by cluster image"
    if not _both(cells.labels, (apart, ~apart)):
        apart, how = rng.random(len(cells)) < share, "cell by cell, for want of images"
    if not _both(cells.labels, (apart, ~apart)):
        raise UsageError("cannot part the cells", f"{len(cells)} are too few for both parts to hold both classes")
    return cells.of(~apart), cells.of(apart), how


def _both(labels: NDArray[np.bool_], parts: Sequence[NDArray[np.bool_]]) -> bool:
    return all(len(set(labels[part].tolist())) == 2 for part in parts)
