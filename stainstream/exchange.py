"""Models as files of other programs: the whole table, or a coarse one between whose colors they interpolate."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import __version__
from .api import artifact, method
from .color.cube import Cube
from .color.lut import COLORS, Colors, Lut, Rounding, bake, colors_of
from .errors import ModelError, NotPixelwise
from .frame import RGB8
from .model import Model, find
from .normalizers.base import Normalizer
from .normalizers.network import PixelwiseNetwork
from .wholefile import write_whole

__all__ = ["Deviation", "Pixelwise", "by_color", "deviation", "save", "save_cube", "save_table"]

_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Pixelwise:
    """A pixelwise model, as a function and as its exact table."""

    function: Callable[[Colors], Colors]
    lut: Lut
    rounding: Rounding
    license: str = ""
    """Of the weights, where a card states it."""

    @classmethod
    def load(cls, model: str | Path) -> Pixelwise:
        """Load a model's name, a model folder, an ``.onnx``, a calibration's name or ``.toml``, or a ``.cube`` file.

        Raises
        ------
        ModelError, UsageError
            If there is none, or it is damaged.
        NotPixelwise
            If it looks at neighbors.
        """
        fitted = method(model)
        return cls.of(find(model)) if fitted is None else cls.fitted(fitted)

    @classmethod
    def fitted(cls, function: Normalizer) -> Pixelwise:
        """The same of a method."""
        rounding: Rounding = getattr(function, "rounding", "nearest")
        return cls(function, bake(function, function.name, rounding), rounding)

    @classmethod
    def of(cls, model: Model) -> Pixelwise:
        """The same of a model that was found."""
        try:
            network = PixelwiseNetwork.read(model.network, model.name)
        except NotPixelwise as error:
            asked, cure = f"no table can stand for {model.name!r}", "export it with: --to onnx"
            raise NotPixelwise(asked, f"it looks at neighbors: {error}", cure) from error
        lut = artifact(model)
        assert isinstance(lut, Lut)
        return cls(network, lut, network.rounding, model.card.license if model.card else "")


@dataclass(frozen=True)
class Deviation:
    """How far one table is from another, over all 256^3 colors."""

    greatest: int
    """In levels, of any channel."""
    mean: float
    """In levels, of all channels."""
    share: float
    """Of the colors that differ at all, 0 to 1."""

    def __str__(self) -> str:
        levels = f"at most {self.greatest} levels of 255, mean {self.mean:.3f}"
        return f"{levels}; {100 * self.share:.1f} % of all colors differ"


def deviation(one: Lut, other: Lut) -> Deviation:
    """Compare two tables."""
    greatest, total, differing = 0, 0, 0
    for start in range(0, COLORS, _BLOCK):
        a, b = (colors_of(np.asarray(each.table[start : start + _BLOCK])).astype(np.int16) for each in (one, other))
        difference = np.abs(a - b)
        greatest = max(greatest, int(difference.max()))
        total += int(difference.sum())
        differing += int(np.count_nonzero(difference.any(axis=-1)))
    return Deviation(greatest, total / (3 * COLORS), differing / COLORS)


def save_table(model: Pixelwise, path: Path) -> None:
    """Write the exact table as ``.npy``: uint8, shape (256, 256, 256, 3); at ``[r, g, b]`` is what becomes of it.

    Raises
    ------
    ModelError
        If it cannot be written.
    """
    data = io.BytesIO()
    np.save(data, by_color(model.lut))
    save(data.getbuffer(), path)


def by_color(lut: Lut) -> RGB8:
    """The table as an array of shape (256, 256, 256, 3), indexed by red, green and blue."""
    words = np.asarray(lut.table).reshape(256, 256, 256)  # [blue, green, red]
    return np.ascontiguousarray(colors_of(np.ascontiguousarray(words.T)))


def save_cube(model: Pixelwise, path: Path, size: int) -> Deviation:
    """Write a ``.cube`` file of `size` points a side, and say how far it is from the model.

    What was written is read again, interpolated trilinearly for all 256^3 colors, rounded as the model rounds, and
    compared with the exact table. The file's head says the same.

    Raises
    ------
    ModelError
        If it cannot be made or written.
    """
    cube = Cube.sample(model.function, size, model.lut.name)
    off = deviation(bake(Cube.parse(cube.text()), model.lut.name, model.rounding), model.lut)
    save(cube.text(_head(model, off)).encode("utf-8", "replace"), path)
    return off


def _head(model: Pixelwise, off: Deviation) -> Iterable[str]:
    yield f"stainstream {__version__}: {model.lut.name}"
    yield f"SHA-256 of the exact table: {model.lut.digest}"
    yield f"Interpolated trilinearly and rounded ({model.rounding}), it differs from that table by {off}."
    if model.license:
        yield f"Licence of the weights: {model.license}"


def save(data: bytes | memoryview, path: Path) -> None:
    """Write a file; it appears when it is whole.

    Raises
    ------
    ModelError
        If it cannot be written.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        raise ModelError(f"cannot write {path}", error.strerror or str(error)) from error
