"""One slide of an archive: a task, for any worker."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from stainstream.api import Normalizer, load
from stainstream.errors import FrameError, SourceError, StainstreamError

from .record import Record, receipt
from .slide import Rendering, SlideOptions
from .statistics import fitted_to
from .store import Place

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """What is to be done to a slide; `run` does it, where it is called."""

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

    @property
    def target(self) -> Place:
        """Where the output goes."""
        return self.out.under(self.output)

    def run(self, normalize: Normalizer | None) -> Record:
        """Normalize the slide, unless it is complete and verified; note what became of it.

        A slide that cannot be read is quarantined: its error stands in the folder ``quarantine``.
        """
        began, digest = time.monotonic(), ""
        model = dict(normalize.meta["model"]) if normalize else {}
        record = Record(
            slide=self.name,
            status="failed",
            output=self.output,
            model=str(model.get("name", self.per_slide)),
            model_sha256=str(model.get("sha256", "")),
            settings=self._settings(),
            host=socket.gethostname(),
        )
        tiles = 0
        try:
            digest = self._digest()
            if self.resume and (kept := self._kept(record, digest)) is not None:
                return kept
            receipt(self.out, self.name).remove()
            tiles = self._make(normalize)
            record = msgspec.structs.replace(record, status="complete", digest_out=self.target.digest())
        except (SourceError, FrameError) as error:
            record = msgspec.structs.replace(record, status="quarantined", error=str(error))
        except (StainstreamError, OSError) as error:
            record = msgspec.structs.replace(record, error=str(error))
        seconds, now = round(time.monotonic() - began, 3), datetime.now(UTC).isoformat(timespec="seconds")
        record = msgspec.structs.replace(record, digest_in=digest, tiles=tiles, seconds=seconds, finished=now)
        return self.noted(record)

    def _make(self, normalize: Normalizer | None) -> int:
        with self.slide.fetched() as source, self._written() as target, self._fitted(source, normalize) as fitted:
            made = Rendering(source, target, fitted, self.options, self.threads).run()
        assert made is not None
        return made.tiles

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
    def _fitted(self, source: Path, normalize: Normalizer | None) -> Iterator[Normalizer]:
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
        with load(method, self.engine, 1) as loaded:
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

    def _kept(self, record: Record, digest: str) -> Record | None:
        """What was noted before, if it holds still: same slide, model and settings, and the output is what it was."""
        data = receipt(self.out, self.name).read()
        if data is None:
            return None
        try:
            before = msgspec.json.decode(data, type=Record)
        except msgspec.DecodeError:
            return None
        same = ("output", "model", "model_sha256", "settings")
        if before.digest_in != digest or any(getattr(before, key) != getattr(record, key) for key in same):
            return None
        if before.status == "quarantined" or (
            before.status == "complete" and before.digest_out and before.digest_out == self.target.digest()
        ):
            return msgspec.structs.replace(before, skipped=True)
        return None

    def noted(self, record: Record) -> Record:
        """Keep what became of the slide; a record that cannot be kept is a failed one."""
        quarantine = self.out.under(f"quarantine/{self.name}.txt")
        try:
            if record.status == "quarantined":
                quarantine.write(f"{record.error}\n".encode())
            elif record.status == "complete":
                quarantine.remove()
            receipt(self.out, self.name).write(msgspec.json.format(msgspec.json.encode(record), indent=1))
        except (StainstreamError, OSError) as error:  # a full disk: it is told, and done again by the next run
            return msgspec.structs.replace(record, status="failed", error=record.error or str(error))
        return record
