"""One slide of an archive: a task, for any worker."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from stainstream.api import Normalizer, load, on_engine
from stainstream.color.cache import cached
from stainstream.color.lut import bake
from stainstream.errors import FrameError, SourceError, StainstreamError
from stainstream.slides.opening import open_slide
from stainstream.slides.pyramid import Band

from .bands import Bands, folder_of
from .part import remove
from .recipe import BandRows, SlideOptions, plan_of, rows_of
from .record import Record, receipt
from .slide import Rendering
from .statistics import fitted_to
from .store import Place

__all__ = ["Begun", "Job"]


@dataclass(frozen=True)
class Begun:
    """A slide that is to be done in bands, by `Job.band` and then `Job.join`."""

    record: Record
    bands: Bands


@dataclass(frozen=True)
class Job:
    """What is to be done to a slide; `run` does it, where it is called.

    A large slide may be divided: `begin` tells of it, `band` does a band, in any process that sees the same disk, and
    `join` puts them together when all are done.
    """

    name: str
    """The slide's, relative to the archive."""
    slide: Place
    output: str
    """Name of what is made, relative to `out`."""
    out: Place
    options: SlideOptions
    engine: str = "auto"
    threads: int = 1
    per_slide: str = ""
    """The classic method that is fitted to each slide, in place of the model."""
    look: str = ""
    """What that makes it look like."""
    resume: bool = False
    band_rows: BandRows = 0
    """See `stainstream.archive.recipe.rows_of`; slides from or to object stores are not divided."""
    started: str = ""
    """The run that it belongs to."""

    @property
    def target(self) -> Place:
        """Where the output goes."""
        return self.out.under(self.output)

    def run(self, normalize: Normalizer | None) -> Record:
        """Normalize the slide, unless it is complete and verified; note what became of it.

        A slide that cannot be read is quarantined: its error stands in the folder ``quarantine``.
        """
        begun = self.begin(normalize)
        if isinstance(begun, Record):
            return begun
        return self.join(begun, [self.band(begun, band, normalize) for band in begun.bands.all], normalize)

    def begin(self, normalize: Normalizer | None) -> Record | Begun:
        """Do the same, up to the bands of a slide that is to be divided."""
        began, record = time.monotonic(), self._record(normalize)
        try:
            record = msgspec.structs.replace(record, digest_in=self._digest())
            if self.resume and (kept := self._kept(record)) is not None:
                self._clear()
                return kept
            receipt(self.out, self.name).remove()
            if (bands := self._divided(record, normalize)) is not None:
                return Begun(_timed(record, began), bands)
            record = self._whole(record, normalize)
        except (StainstreamError, OSError) as error:
            record = _failed(record, error)
        return self.noted(_timed(record, began))

    def band(self, begun: Begun, band: Band, normalize: Normalizer | None) -> Record:
        """Do a band, unless it is finished and verified, or the slide is unreadable at another: then tell its error.

        Whatever else fails may be this worker's fault: others go on, and what they finish is kept for the next run.
        """
        began, bands = time.monotonic(), begun.bands
        record = msgspec.structs.replace(begun.record, seconds=0.0)

        def stop() -> None:
            if (why := bands.given_up()) is not None:
                raise _GivenUp(why)

        try:
            stop()
            with self._fitted(bands.source, normalize, bands.folder) as fitted:
                bands.make(band, fitted, stop)
        except _GivenUp as other:
            return msgspec.json.decode(other.why, type=Record)
        except (StainstreamError, OSError) as error:
            record = _failed(record, error)
            if record.status == "quarantined":
                bands.give_up(msgspec.json.encode(record))
            return record
        return _timed(msgspec.structs.replace(record, status="complete"), began)

    def join(self, begun: Begun, done: list[Record], normalize: Normalizer | None) -> Record:
        """Put together what `band` did, or note why that cannot be."""
        began, bands, record = time.monotonic(), begun.bands, begun.record
        record = msgspec.structs.replace(record, seconds=record.seconds + sum(each.seconds for each in done))
        try:
            if (before := self._kept(record)) is not None:  # by a worker that died before it could tell
                return self.noted(msgspec.structs.replace(before, skipped=False))
            if failed := sorted((each for each in done if each.status != "complete"), key=lambda each: each.status):
                worst = failed[-1]  # quarantined rather than failed
                record = msgspec.structs.replace(record, status=worst.status, error=worst.error)
                return self.noted(_timed(record, began))

            def tell(made: Path) -> None:
                digest = Place(str(made)).digest()
                changes = {"status": "complete", "tiles": bands.plan.tiles, "digest_out": digest}
                nonlocal record
                record = _timed(msgspec.structs.replace(record, **changes), began)
                self._note(record)  # before its bands are used up: a worker that dies then is not missed

            with self._fitted(bands.source, normalize, bands.folder) as fitted:
                bands.join(fitted, tell)
        except (StainstreamError, OSError) as error:
            record = _timed(_failed(record, error), began)
        return self.noted(record)

    def _record(self, normalize: Normalizer | None) -> Record:
        model = dict(normalize.meta["model"]) if normalize else {}
        return Record(
            slide=self.name,
            status="failed",
            output=self.output,
            model=str(model.get("name", self.per_slide)),
            model_sha256=str(model.get("sha256", "")),
            settings=self._settings(),
            host=socket.gethostname(),
        )

    def _divided(self, record: Record, normalize: Normalizer | None) -> Bands | None:
        source, target = self.slide.local, self.target.local
        if not self.band_rows or source is None or target is None:
            return None
        with open_slide(source, self.options.reader) as slide:
            plan = plan_of(slide, self.options)
        if not (rows := rows_of(plan, self.band_rows)):
            return None
        bands = Bands(source, target, self.options, plan, rows, self.threads)
        what = f"{record.digest_in} {record.model} {record.model_sha256} {record.settings}"
        bands.begin(what, self.started, resume=self.resume)
        with self._fitted(source, normalize, bands.folder):  # once, before all bands
            return bands

    def _whole(self, record: Record, normalize: Normalizer | None) -> Record:
        with self.slide.fetched() as source, self._written() as target, self._fitted(source, normalize) as fitted:
            made = Rendering(source, target, fitted, self.options, self.threads).run()
        assert made is not None
        changes = {"status": "complete", "tiles": made.tiles, "digest_out": self.target.digest()}
        return msgspec.structs.replace(record, **changes)

    @contextlib.contextmanager
    def _written(self) -> Iterator[Path]:
        """Where to write, on a local disk; it is copied to its place if that is elsewhere."""
        if (local := self.target.local) is not None:
            local.parent.mkdir(parents=True, exist_ok=True)
            yield local
            return
        with tempfile.TemporaryDirectory(prefix="stainstream-") as folder:
            yield (made := Path(folder) / self.target.name)
            self.target.put(made)

    @contextlib.contextmanager
    def _fitted(self, source: Path, normalize: Normalizer | None, tables: Path | None = None) -> Iterator[Normalizer]:
        """The model, or what is fitted to this slide; its table is kept in `tables`, for others to map."""
        if not self.per_slide:
            assert normalize is not None
            yield normalize
            return
        kept = self.out.under(f".stainstream/{self.name}.toml")
        with tempfile.TemporaryDirectory(prefix="stainstream-") as folder:
            file = Path(folder) / "fitted.toml"
            if (data := kept.read()) is not None:
                file.write_bytes(data)
            method = fitted_to(source, self.per_slide, self.look, file)
            if (new := file.read_bytes()) != data:
                kept.write(new)
        if tables is None:
            with load(method, self.engine, 1) as loaded:
                yield loaded
            return
        name, key = method.name, hashlib.sha256(new).hexdigest()
        table = cached(key, name, lambda: bake(method, name, method.rounding), tables)
        with on_engine(table, self.engine, 1) as loaded:
            yield loaded

    def _settings(self) -> str:
        chosen = {key: value for key, value in msgspec.to_builtins(self.options).items() if value != ""}
        method = f" {self.per_slide} to {self.look}" if self.per_slide else ""
        return " ".join(f"{key}={value}" for key, value in sorted(chosen.items())) + method

    def _digest(self) -> str:
        digest = self.slide.digest()
        if not digest:
            raise SourceError(f"cannot read {self.slide.url}", "there is no such file")
        if more := self.slide.companion():
            digest += "+" + Place(self.slide.url[: -len(".mrxs")] if "://" in self.slide.url else more).digest()
        return digest

    def _kept(self, record: Record) -> Record | None:
        """What was noted before, if it holds still: same slide, model and settings, and the output is what it was."""
        data = receipt(self.out, self.name).read()
        if data is None:
            return None
        try:
            before = msgspec.json.decode(data, type=Record)
        except msgspec.DecodeError:
            return None
        same = ("digest_in", "output", "model", "model_sha256", "settings")
        if any(getattr(before, key) != getattr(record, key) for key in same):
            return None
        if before.status == "quarantined" or (
            before.status == "complete" and before.digest_out and before.digest_out == self.target.digest()
        ):
            return msgspec.structs.replace(before, skipped=True)
        return None

    def noted(self, record: Record) -> Record:
        """Keep what became of the slide; a record that cannot be kept is a failed one.

        Finished bands stay where it failed, for the next run; where it did not, they are of no more use.
        """
        quarantine = self.out.under(f"quarantine/{self.name}.txt")
        try:
            if record.status == "quarantined":
                quarantine.write(f"{record.error}\n".encode())
            elif record.status == "complete":
                quarantine.remove()
            self._note(record)
        except (StainstreamError, OSError) as error:  # a full disk: it is told, and done again by the next run
            return msgspec.structs.replace(record, status="failed", error=record.error or str(error))
        if record.status != "failed":
            self._clear()
        return record

    def _clear(self) -> None:
        if (target := self.target.local) is not None:
            remove(folder_of(target))

    def _note(self, record: Record) -> None:
        receipt(self.out, self.name).write(msgspec.json.format(msgspec.json.encode(record), indent=1))


class _GivenUp(Exception):
    """The slide cannot be read at another band."""

    def __init__(self, why: bytes) -> None:
        super().__init__()
        self.why = why


def _failed(record: Record, error: Exception) -> Record:
    status = "quarantined" if isinstance(error, SourceError | FrameError) else "failed"
    return msgspec.structs.replace(record, status=status, error=str(error))


def _timed(record: Record, began: float) -> Record:
    """With the time since `began` added."""
    seconds, now = round(record.seconds + time.monotonic() - began, 3), datetime.now(UTC).isoformat(timespec="seconds")
    return msgspec.structs.replace(record, seconds=seconds, finished=now)
