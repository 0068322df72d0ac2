"""OME-TIFF."""

from __future__ import annotations

from pathlib import Path

from stainstream.frame import RGB8

from .base import About, Encoding, Stamp, Writer
from .bigtiff import Pages
from .ome_xml import LONGEST, Description, plane

__all__ = ["OmeTiff"]

_AT_LEAST, _GROWTH = 30, 0.1


class OmeTiff(Writer):
    """One BigTIFF file, a page a frame, uncompressed, RGB interleaved; opens in Fiji, QuPath, napari, tifffile.

    The OME-XML is renewed whenever the recording has grown by a tenth: that is how many of the last frames a killed
    process can leave outside of it, though their pages are in the file. Room for it is taken before it is needed, so a
    full disk costs the frame that did not fit and no other.
    """

    def __init__(self, path: Path, about: About, encoding: Encoding) -> None:  # noqa: ARG002 - nothing to encode
        self._description = Description(about)
        self._pages: Pages | None = Pages(path, about.width, about.height, about.pixel_size_um)
        self._planes: list[str] = []
        self._due = 1

    def write(self, rgb: RGB8, stamp: Stamp) -> None:
        assert self._pages is not None
        self._pages.append(rgb)
        self._planes.append(plane(len(self._planes), stamp))
        if len(self._planes) == self._due:
            self._renew(self._pages)

    def _renew(self, pages: Pages) -> None:
        more = max(_AT_LEAST, int(len(self._planes) * _GROWTH))
        text = self._description.render(self._planes)
        try:
            pages.describe(text, len(text.encode()) + 1 + (more + 1) * LONGEST)
        except OSError:
            self._planes.pop()  # its page stands in the file, but there is no room to say so
            raise
        self._due = len(self._planes) + more

    def close(self) -> int:
        pages, self._pages = self._pages, None
        if pages is not None:
            try:
                if self._planes:
                    pages.describe(self._description.render(self._planes))
            finally:
                pages.close()
        return len(self._planes)
