"""One slide in bands, by several processes that see the same disk."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from stainstream.api import Normalizer
from stainstream.config import Settings
from stainstream.errors import SinkError
from stainstream.frame import RGB8
from stainstream.slides import WRITERS, Output
from stainstream.slides.encoding import Encoder, Encoding, encoder
from stainstream.slides.opening import open_slide
from stainstream.slides.pyramid import Band, Plan, Tile, build_above, build_band
from stainstream.wholefile import write_whole

from .part import remove, whole
from .recipe import SlideOptions, label_of, producer_of

__all__ = ["Bands", "folder_of"]


def folder_of(target: Path) -> Path:
    """Where the bands of a slide wait for each other, beside what they become."""
    return target.with_name(f".{target.name}.bands")


class _Receipt(Settings, frozen=True, kw_only=True):
    """What a finished band consists of."""

    tiles: list[tuple[int, int, int, int]]
    """Level, column, row and size in bytes of each, in the order in which they were made."""
    sha256: str
    """Of the tiles, and of the pixels for the levels above."""


@dataclass(frozen=True)
class Bands:
    """A slide that is normalized band by band, and joined without decoding or encoding anything again.

    The bands' tiles wait in a folder beside the target: those of kinds with files of their own for them where they will
    stay, others one after the other in a file. Each band has a receipt. Above the levels that bands make whole rows of,
    the few tiles that are left are made when they are joined, from pixels that bands kept: what comes out is what
    `Rendering` writes, byte by byte.
    """

    source: Path
    target: Path
    options: SlideOptions
    plan: Plan
    rows: int
    """Rows of tiles of level 0 in a band; see `stainstream.archive.recipe.rows_of`."""
    threads: int = 1

    @property
    def folder(self) -> Path:
        """Where they wait."""
        return folder_of(self.target)

    @property
    def all(self) -> list[Band]:
        """The bands, from the top."""
        return [Band(self.plan, self.rows, number) for number in range(-(-self.plan.grid(0)[1] // self.rows))]

    def begin(self, what: str, run: str, *, resume: bool) -> None:
        """Make room for the bands; keep what is there of the same run, or of `what` if that is to be resumed.

        Parameters
        ----------
        what
            The slide, model and settings, as a text.

        Raises
        ------
        SinkError
            If that cannot be written.
        """
        now = (f"{what} in bands of {self.rows} rows of {self.plan.tile}", run)
        before = self._begun()
        try:
            if before is None or before[0] != now[0] or not (resume or before == now):
                remove(self.folder)
                self.folder.mkdir(parents=True)
            for level in range(self.all[0].top + 1 if self._chunked else 0):
                (self._group / self._kind.chunk(level, 0, 0)).parent.parent.mkdir(parents=True, exist_ok=True)
            if before != now:
                self._error.unlink(missing_ok=True)
                write_whole(self.folder / "of.json", msgspec.json.encode(now))
        except OSError as error:
            raise SinkError(f"cannot write {self.target}", error.strerror or str(error)) from error

    def give_up(self, why: bytes) -> None:
        """Leave word for the other bands that the slide cannot be read."""
        with contextlib.suppress(OSError):  # they go on then
            write_whole(self._error, why)

    def given_up(self) -> bytes | None:
        """Why bands need not go on; None as long as they do.

        Raises
        ------
        SinkError
            If their folder is gone.
        """
        self._there()
        try:
            return self._error.read_bytes()
        except OSError:
            return None

    def make(self, band: Band, normalize: Normalizer, between: Callable[[], object] = lambda: None) -> None:
        """Make one band, unless it is finished, as its digest says.

        Parameters
        ----------
        between
            Called before each row of tiles; what it raises ends it.

        Raises
        ------
        SourceError
            If the slide cannot be read there.
        SinkError
            If it cannot be written.
        """
        if self._finished(band):
            return
        try:
            self._file(band, "json").unlink(missing_ok=True)
            with open_slide(self.source, self.options.reader) as slide:
                produce = producer_of(slide, normalize, self.options)
                kept: list[RGB8] = []
                with contextlib.closing(build_band(band, produce, self._encode, self.threads, kept.append)) as tiles:
                    self._store(band, _counted(tiles, between), kept)
        except OSError as error:
            raise SinkError(f"cannot write {self.target}", error.strerror or str(error)) from error

    def join(self, normalize: Normalizer, before: Callable[[Path], None] = lambda path: None) -> None:  # noqa: ARG005
        """Put finished bands together under the target's name.

        Parameters
        ----------
        before
            Called with what was made before it takes the target's name.

        Raises
        ------
        SourceError
            If the slide cannot be read.
        SinkError
            If it cannot be written.
        """
        self._there()
        bands = self.all
        receipts = [self._receipt(band) for band in bands]
        above = build_above(((band, self._above(band)) for band in bands), self._encode, self.threads)
        ready = (self._tiles(band, each) for band, each in zip(bands, receipts, strict=True))
        group = self._group if self._chunked else None
        try:
            with open_slide(self.source, self.options.reader) as slide:
                label = label_of(slide, self.target, normalize, self.options)
            with whole(self.target, group) as part, contextlib.closing(above):
                tiles = above if group else itertools.chain(itertools.chain.from_iterable(ready), above)
                self._kind(part, self.plan, self._encoding, label).write(tiles)
                before(part)
        except OSError as error:
            raise SinkError(f"cannot write {self.target}", error.strerror or str(error)) from error

    @property
    def _kind(self) -> type[Output]:
        return WRITERS.serving(self.target.name).load()

    @property
    def _chunked(self) -> bool:
        return bool(self._kind.chunk(0, 0, 0))

    @property
    def _encoding(self) -> Encoding:
        return self._kind.encoding_for(self.options.compression, self.options.quality, self.target.name)

    @property
    def _encode(self) -> Encoder:
        return encoder(self._encoding, predict=self._kind.predicts)

    @property
    def _group(self) -> Path:
        return self.folder / "group"

    @property
    def _error(self) -> Path:
        return self.folder / "error.json"

    def _there(self) -> None:
        for folder in (self.folder, *([self._group] if self._chunked else [])):
            if not folder.is_dir():
                raise SinkError(f"cannot write {self.target}", f"somebody removed {folder}", "start it again")

    def _begun(self) -> tuple[str, str] | None:
        """What was begun there, by which run."""
        try:
            return msgspec.json.decode((self.folder / "of.json").read_bytes(), type=tuple[str, str])
        except (OSError, msgspec.DecodeError):
            return None

    def _store(self, band: Band, tiles: Iterator[Tile], kept: list[RGB8]) -> None:
        listed: list[tuple[int, int, int, int]] = []
        digest = hashlib.sha256()
        with self._storing(band) as put:
            for tile in tiles:
                put(tile)
                listed.append((tile.level, tile.column, tile.row, len(tile.data)))
                digest.update(tile.data)
        pixels = kept[0].tobytes()
        write_whole(self._file(band, "above"), pixels)
        digest.update(pixels)
        receipt = _Receipt(tiles=listed, sha256=digest.hexdigest())
        write_whole(self._file(band, "json"), msgspec.json.encode(receipt))

    @contextlib.contextmanager
    def _storing(self, band: Band) -> Iterator[Callable[[Tile], object]]:
        """What stores tiles, all or none, and apart from what another worker does who was given up for dead."""
        with whole(self._file(band, "tiles")) as part:
            if not self._chunked:
                with part.open("wb") as file:
                    yield lambda tile: file.write(tile.data)
                return
            part.mkdir()
            rows: dict[str, None] = {}

            def put(tile: Tile) -> None:
                name = self._kind.chunk(tile.level, tile.column, tile.row)
                row = name.rpartition("/")[0]
                if row not in rows:
                    (part / row).mkdir(parents=True)
                    rows[row] = None
                (part / name).write_bytes(tile.data)

            yield put
            if self._file(band, "json").exists():
                return  # the other was faster, and may be read already
            for row in rows:
                remove(self._group / row)
                os.replace(part / row, self._group / row)

    def _tiles(self, band: Band, receipt: _Receipt) -> Iterator[Tile]:
        """What was stored, in the order in which it was made."""
        if self._chunked:
            for level, column, row, _ in receipt.tiles:
                chunk = self._group / self._kind.chunk(level, column, row)
                yield Tile(level, column, row, chunk.read_bytes())
            return
        with self._file(band, "tiles").open("rb") as file:
            for level, column, row, size in receipt.tiles:
                yield Tile(level, column, row, file.read(size))

    def _finished(self, band: Band) -> bool:
        try:
            receipt = self._receipt(band)
            digest = hashlib.sha256()
            for tile in self._tiles(band, receipt):
                digest.update(tile.data)
            digest.update(self._file(band, "above").read_bytes())
        except (OSError, msgspec.DecodeError):
            return False
        return digest.hexdigest() == receipt.sha256

    def _receipt(self, band: Band) -> _Receipt:
        return msgspec.json.decode(self._file(band, "json").read_bytes(), type=_Receipt)

    def _above(self, band: Band) -> RGB8:
        width, height = band.above
        data = np.frombuffer(self._file(band, "above").read_bytes(), np.uint8)
        return data.reshape(height, width, 3)

    def _file(self, band: Band, what: str) -> Path:
        return self.folder / f"{band.number}.{what}"


def _counted(tiles: Iterator[Tile], between: Callable[[], object]) -> Iterator[Tile]:
    between()
    for tile in tiles:
        yield tile
        if tile.level == 0 and tile.column == 0:
            between()
