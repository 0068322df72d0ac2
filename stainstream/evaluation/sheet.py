"""A picture of what methods make of images: source, result, target, difference."""

from __future__ import annotations

import cv2
import numpy as np

from stainstream.frame import RGB8
from stainstream.metrics import delta_e_map
from stainstream.sheet import Row, sheet

__all__ = ["Sheet"]

_GREATEST = 20.0  # CIEDE2000: a color difference that is shown white
_COLUMNS = f"source, result, target, CIEDE2000 of the last two (black 0, white {_GREATEST:g})"


class Sheet:
    """Rows of pictures, drawn as they come.

    Parameters
    ----------
    rows
        How many there may be; later ones are left out.
    """

    def __init__(self, rows: int = 48) -> None:
        self._room = rows
        self._bands: list[RGB8] = []

    def add(self, label: str, source: RGB8, result: RGB8, target: RGB8) -> None:
        """Append a row, while there is room."""
        if len(self._bands) < self._room:
            caption = f"{label}: {_COLUMNS}".encode("ascii", "replace").decode()
            self._bands.append(sheet([Row(caption, [source, result, target, _heat(result, target)])]))

    @property
    def image(self) -> RGB8:
        """The whole sheet."""
        return np.vstack(self._bands)


def _heat(result: RGB8, target: RGB8) -> RGB8:
    """The color difference, from black over red and yellow to white."""
    levels = np.rint(np.clip(delta_e_map(result, target) / _GREATEST, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_HOT), cv2.COLOR_BGR2RGB), np.uint8)
