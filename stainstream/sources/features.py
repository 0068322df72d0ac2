"""A camera's features, as users write them."""

from __future__ import annotations

from collections.abc import Sequence

from stainstream.errors import SourceError, UsageError
from stainstream.frame import PixelFormat

__all__ = ["chosen_format", "features"]

_ALIASES = {
    # Names that vendors used before there was PFNC, for the same order of the same bytes.
    "RGB8Packed": PixelFormat.RGB8,
    "BGR8Packed": PixelFormat.BGR8,
    "RGBA8Packed": PixelFormat.RGBa8,
    "BGRA8Packed": PixelFormat.BGRa8,
    "RGB16Packed": PixelFormat.RGB16,
    "YUV422_YUYV_Packed": PixelFormat.YUV422_8,
}
_KNOWN = {each.value: each for each in PixelFormat} | _ALIASES


def features(text: str) -> dict[str, str]:
    """Read ``NAME:VALUE,NAME:VALUE``.

    Raises
    ------
    UsageError
        If a feature has no value or stands twice.

    Examples
    --------
    >>> features("BalanceWhiteAuto:Off,Width:1024")
    {'BalanceWhiteAuto': 'Off', 'Width': '1024'}
    """
    values: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        name, colon, value = pair.partition(":")
        if not colon or not name or name in values:
            raise UsageError(f"wrong features {text!r}", f"{pair!r} stands twice or is not NAME:VALUE")
        values[name] = value
    return values


def chosen_format(camera: str, offered: Sequence[str], current: str, wished: str) -> tuple[str, PixelFormat]:
    """Which of a camera's pixel formats to use: its own name for it, and ours.

    Without a wish it is the one that is set, if that has color, else the first of Bayer, RGB and BGR of 8 bits that the
    camera offers, else one without color.

    Raises
    ------
    SourceError
        If the camera has none that we can convert, or not the one that is wished for.
    """
    usable = {name: _KNOWN[name] for name in offered if name in _KNOWN}
    if wished:
        usable = {name: kind for name, kind in usable.items() if wished in (name, kind.value)}
    if not usable:
        asked = f"cannot use the pixel format {wished}" if wished else "cannot use any pixel format"
        raise SourceError(f"{asked} of {camera}", f"it offers {', '.join(offered)}", "set another one with format=NAME")
    name = min(usable, key=lambda name: _rank(usable[name], is_set=name == current))
    return name, usable[name]


def _rank(kind: PixelFormat, *, is_set: bool) -> tuple[bool, bool, bool, bool]:
    """What is better comes first: color, what the camera is set to, 8 bits, a third of the bytes."""
    return (kind.channels == 1 and not kind.is_bayer, not is_set, kind.bits > 8, not kind.is_bayer)
