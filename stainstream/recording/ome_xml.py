"""What an OME-TIFF says of itself: OME-XML.

Source: OME data model 2016-06.
"""

from __future__ import annotations

import uuid
from xml.sax.saxutils import quoteattr

from .base import About, Stamp, number, utc

__all__ = ["LONGEST", "Description", "plane"]

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_POSITIONS = (("PositionX", "x"), ("PositionY", "y"), ("PositionZ", "z"))

LONGEST = 400
"""Bytes that one `plane` takes at most."""


class Description:
    """The OME-XML of a recording: one image over time, RGB interleaved."""

    def __init__(self, about: About) -> None:
        self._about, self._uuid = about, uuid.uuid4()

    def render(self, planes: list[str]) -> str:
        """The document for a file whose pages are `planes`, in order."""
        about, um = self._about, self._about.pixel_size_um
        sizes = f'SizeX="{about.width}" SizeY="{about.height}" SizeZ="1" SizeC="3" SizeT="{len(planes)}"'
        physical = "".join(f' PhysicalSize{axis}="{um:.9g}" PhysicalSize{axis}Unit="µm"' for axis in "XY") if um else ""
        facts = "".join(
            f"<M K={quoteattr(_legal(key))}>{_text(value)}</M>" for key, value in sorted(about.facts.items())
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<OME xmlns="{_NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
            f'xsi:schemaLocation="{_NAMESPACE} {_NAMESPACE}/ome.xsd" '
            f'UUID="urn:uuid:{self._uuid}" Creator="stainstream">'
            f'<Image ID="Image:0" Name="{about.stream}"><AcquisitionDate>{utc(about.utc_ns)}</AcquisitionDate>'
            f'<Pixels ID="Pixels:0" DimensionOrder="XYCTZ" Type="uint8" SignificantBits="8" {sizes} '
            f'BigEndian="false" Interleaved="true"{physical}><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
            f'<TiffData IFD="0" PlaneCount="{len(planes)}"/>{"".join(planes)}</Pixels>'
            '<AnnotationRef ID="Annotation:0"/></Image>'
            '<StructuredAnnotations><MapAnnotation ID="Annotation:0" Namespace="stainstream/recording">'
            f"<Value>{facts}</Value></MapAnnotation></StructuredAnnotations></OME>"
        )


def plane(index: int, stamp: Stamp) -> str:
    """One frame: when it was captured, for how long the shutter was open, and where the stage stood."""
    parts = [f'<Plane TheZ="0" TheC="0" TheT="{index}" DeltaT="{stamp.seconds:.6f}" DeltaTUnit="s"']
    exposure = number(stamp.meta, "exposure_ms")
    if exposure is not None:
        parts.append(f'ExposureTime="{exposure:.9g}" ExposureTimeUnit="ms"')
    for name, axis in _POSITIONS:
        position = number(stamp.meta, "stage", axis)
        if position is not None:
            parts.append(f'{name}="{position:.9g}" {name}Unit="µm"')
    return " ".join(parts) + "/>"


def _text(value: str) -> str:
    return quoteattr(_legal(value), {'"': "&quot;"})[1:-1]


def _legal(text: str) -> str:
    """Without the characters that XML has no way to write; metadata may be a stranger's."""
    return "".join(char if char >= " " and char.isprintable() else " " for char in text)
