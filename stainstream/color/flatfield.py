"""Flat field and white balance: what a blank field says about a camera, and how frames are corrected for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import numba as nb
import numpy as np
from numpy.typing import NDArray

from stainstream.config import Settings
from stainstream.errors import FrameError
from stainstream.frame import RGB8
from stainstream.toml import Document, lines, table, write

from .lut import quantize

__all__ = ["CameraProfile", "Correction", "Field", "measure", "read", "save"]

Level = Annotated[float, msgspec.Meta(gt=0.0, le=255.0)]
Row = Annotated[tuple[Level, ...], msgspec.Meta(min_length=2, max_length=64)]
Nodes = Annotated[tuple[Row, ...], msgspec.Meta(min_length=2, max_length=64)]
Side = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Values: TypeAlias = NDArray[np.float64]

_HEADER = "# What stainstream knows of a camera; docs/calibration.md explains the keys.\n"
_CHANNELS = ("red", "green", "blue")

_STEPS = 2048  # gains are whole numbers of this part: 0.06 levels at most from the gain itself
_LARGEST_GAIN = 8.0  # where the light falls off to an eighth, there is more noise than picture
_COLUMNS = 17  # nodes from left to right: vignetting and a tilted lamp are smooth
_BLOCKS = 64  # of the field, on its shorter side, that are looked at: their medians pass over dust
_DUST, _ROUNDS = 0.03, 10  # blocks that differ by more are taken to be as their surroundings, fit by fit
_SATURATED, _SATURATED_SHARE = 254, 0.01
_DIRT, _DIRT_SHARE = 0.05, 0.02  # a blank field is within 5 % of a smooth one, but for 2 % of it
_STEADY = 0.05  # by which frames of a camera with fixed exposure may differ
_ASPECT = 0.01  # by which the shapes of two readings of the same sensor may differ


class Field(Settings, frozen=True):
    """The levels of a blank field at nodes that are evenly spread from its first to its last pixel, in rows."""

    red: Nodes
    green: Nodes
    blue: Nodes

    def __post_init__(self) -> None:
        for name in _CHANNELS:
            if len({len(row) for row in getattr(self, name)}) > 1:
                raise ValueError(f"{name} has rows of different lengths")

    def levels(self, height: int, width: int) -> Values:
        """The field at every pixel, linear between nodes: shape (height, width, 3)."""
        planes = [_upsampled(np.array(getattr(self, name)), height, width) for name in _CHANNELS]
        return np.stack(planes, axis=-1)


class CameraProfile(Settings, frozen=True, kw_only=True):
    """What a blank field says about a camera, its light and its objective."""

    name: str
    white: Annotated[float, msgspec.Meta(ge=128.0, le=255.0)] = 245.0
    """The level that blank glass gets, in all channels."""
    width: Side
    height: Side
    """Of the frames that it was taken from; others must be of the same shape."""
    frames: Annotated[int, msgspec.Meta(ge=1)] = 1
    """How many were averaged."""
    uneven: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """How much the blank field varied, 99th to 1st percentile over the mean, in the worst channel."""
    left: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """The same after correction."""
    date: str = msgspec.field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    note: str = ""
    blank: Field

    def __post_init__(self) -> None:
        darkest = min(level for name in _CHANNELS for row in getattr(self.blank, name) for level in row)
        if darkest < self.white / _LARGEST_GAIN:
            raise ValueError(f"blank is too dark: level {darkest:g} would have to be made {self.white:g}")


class Correction:
    """Gives every pixel the gain that makes the blank field white.

    ``out = quantize(level / 255 * gain)``, where the gain is white over the blank field's level there, rounded to a
    multiple of 1/2048. Levels are what the camera sends: under its usual power law, a ratio of levels is a power of the
    ratio of light, so that dividing by the blank field takes away the lamp's share all the same.
    """

    def __init__(self, profile: CameraProfile) -> None:
        self.profile = profile
        self._rows: NDArray[np.uint16] = np.empty((0, 0, 3), np.uint16)
        self._table: NDArray[np.uint8] = np.empty((0, 256), np.uint8)

    def __call__(self, rgb: RGB8, out: RGB8) -> RGB8:
        """Correct a frame.

        Parameters
        ----------
        rgb
            uint8 (height, width, 3), C-contiguous.
        out
            Where to write, the same; may be `rgb` itself.

        Raises
        ------
        FrameError
            If the frame is not of the shape that the profile was taken from.
        """
        height, width = rgb.shape[:2]
        if self._rows.shape != rgb.shape:
            self._prepare(height, width)
        _look_up(rgb.ravel(), self._rows.ravel(), self._table, out.ravel())
        return out

    def _prepare(self, height: int, width: int) -> None:
        mine = self.profile
        if abs(width * mine.height / (height * mine.width) - 1.0) > _ASPECT:
            raise FrameError(
                f"cannot correct a frame of {width}x{height} with camera profile {mine.name!r}",
                f"it was taken from frames of {mine.width}x{mine.height}, which show another part of the sensor",
                "take it again at this size: stainstream calibrate --blank",
            )
        steps = np.rint(mine.white / mine.blank.levels(height, width) * _STEPS).astype(np.int64)
        least = int(steps.min())
        gains = np.arange(least, int(steps.max()) + 1) / _STEPS
        self._rows = (steps - least).astype(np.uint16)
        self._table = quantize(np.arange(256) / 255.0 * gains[:, None])


def measure(frames: Iterable[RGB8], name: str, white: float = 245.0) -> CameraProfile:
    """Make a profile from frames of blank glass, in focus, at the exposure that will be used.

    Parameters
    ----------
    frames
        uint8 (height, width, 3), of one size: averaged against noise.
    name
        What the profile is called.
    white
        The level that blank glass shall get.

    Raises
    ------
    FrameError
        If there are no frames, they differ in size or brightness, are saturated or too dark, or show more than glass.
    """
    mean, count = _average(frames)
    height, width = mean.shape[:2]
    blocks, size = _medians(mean)
    rows, columns = _grid(*blocks.shape[:2])
    at = [(np.arange(n) * size + (size - 1) / 2) / max(side - 1, 1) for n, side in zip(blocks.shape, mean.shape)]  # noqa: B905 - the channels have no side
    fits = [_fitted(blocks[..., c], at[0], at[1], rows, columns) for c in range(3)]
    fields = np.stack([_upsampled(fit, height, width) for fit in fits], axis=-1)
    corrected = mean / np.maximum(fields, 1.0)
    strange = (np.abs(corrected - 1.0) > _DIRT).any(axis=-1).mean()
    if strange > _DIRT_SHARE and np.median(blocks) > white / _LARGEST_GAIN:
        raise FrameError(
            "cannot use the blank field",
            f"{100 * strange:.0f} % of it differ from a smooth field by more than {100 * _DIRT:.0f} %: it is not blank",
            "move to clean glass without tissue, out of reach of the label and the cover slip's edge",
        )
    if fields.min() < white / _LARGEST_GAIN:
        raise FrameError("cannot use the blank field", "it is too dark", "switch the light on, or expose longer")
    red, green, blue = (tuple(tuple(round(level, 3) for level in row) for row in fit.tolist()) for fit in fits)
    return CameraProfile(
        name=name,
        white=white,
        width=width,
        height=height,
        frames=count,
        uneven=round(_unevenness(blocks), 4),
        left=round(_unevenness(_medians(corrected)[0]), 4),
        blank=Field(red=red, green=green, blue=blue),
    )


def save(path: Path, profile: CameraProfile) -> None:
    """Write a profile as TOML: a few kilobytes to read. See `stainstream.toml.write`."""
    plain = msgspec.to_builtins(profile)
    blank = plain.pop("blank")
    write(path, f"{_HEADER}{lines(plain)}\n{table('blank', blank)}")


def read(path: Path) -> CameraProfile:
    """Read a profile.

    Raises
    ------
    UsageError
        If it is missing or wrong: line and key are named.
    """
    file = Document(path)
    if "blank" in file.content:
        file.checked(file.tables("blank"), Field, "blank")
    return file.checked(file.content, CameraProfile)


def _average(frames: Iterable[RGB8]) -> tuple[Values, int]:
    total: Values | None = None
    means: list[float] = []
    asked = "cannot use the blank field"
    for frame in frames:
        if total is None:
            total = np.zeros(frame.shape)
        if frame.shape != total.shape:
            raise FrameError(asked, f"its frames differ in size: {total.shape[:2]} and {frame.shape[:2]}")
        if (share := float((frame >= _SATURATED).mean())) > _SATURATED_SHARE:
            raise FrameError(asked, f"{100 * share:.1f} % of it is saturated", "dim the light, or expose shorter")
        total += frame
        means.append(float(frame.mean()))
    if total is None:
        raise FrameError(asked, "there are no frames")
    if max(means) - min(means) > _STEADY * max(means):
        raise FrameError(
            asked,
            f"its mean level wanders from {min(means):.0f} to {max(means):.0f}",
            "switch the camera's automatic exposure and white balance off",
        )
    return total / len(means), len(means)


def _medians(image: Values) -> tuple[Values, int]:
    """Medians of square blocks, (rows, columns, 3), and the blocks' size in pixels."""
    height, width = image.shape[:2]
    size = max(1, min(height, width) // _BLOCKS)
    rows, columns = height // size, width // size
    blocks = image[: rows * size, : columns * size].reshape(rows, size, columns, size, 3)
    return np.median(blocks, axis=(1, 3)), size


def _grid(rows: int, columns: int) -> tuple[int, int]:
    """How many nodes a field of so many blocks gets, from top to bottom and from left to right."""
    across = max(2, min(_COLUMNS, columns // 2))
    return max(2, min(across, round((across - 1) * rows / columns) + 1)), across


def _weights(at: Values, nodes: int) -> Values:
    """What each of `nodes` evenly spread nodes counts at positions from 0 to 1: shape (len(at), nodes)."""
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] * (nodes - 1) - np.arange(nodes)))


def _fitted(blocks: Values, down: Values, across: Values, rows: int, columns: int) -> Values:
    """The nodes whose field comes closest to `blocks` (least squares, without dust): shape (rows, columns)."""
    left, right = _weights(down, rows), _weights(across, columns)
    solve_left, solve_right = np.linalg.pinv(left), np.linalg.pinv(right).T
    clean = blocks
    for _ in range(_ROUNDS):
        nodes = solve_left @ clean @ solve_right
        smooth = np.maximum(left @ nodes @ right.T, 1.0)
        clean = np.where(np.abs(blocks / smooth - 1.0) > _DUST, smooth, blocks)
    return np.asarray(nodes)


def _upsampled(nodes: Values, height: int, width: int) -> Values:
    rows, columns = nodes.shape
    down, across = (np.linspace(0.0, 1.0, side) for side in (height, width))
    return np.asarray(_weights(down, rows) @ nodes @ _weights(across, columns).T)


def _unevenness(blocks: Values) -> float:
    low, high = np.percentile(blocks, (1, 99), axis=(0, 1))
    return float(((high - low) / blocks.mean(axis=(0, 1))).max())


def _looked_up(levels: Any, rows: Any, table: Any, out: Any) -> None:
    for i in range(len(levels)):
        out[i] = table[rows[i], levels[i]]


_compiled: Callable[[Any], Any] = nb.njit(nogil=True, cache=True)
_look_up: Callable[[RGB8, NDArray[np.uint16], NDArray[np.uint8], RGB8], None] = _compiled(_looked_up)
