"""One recording from its first frame to its last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from stainstream.errors import SinkError

from . import TABLE
from .base import About, Encoding, Shot, Stamp, Writer, number
from .sidecar import Sidecar

__all__ = ["Take", "split"]


def split(path: Path) -> tuple[str, str]:
    """The stem and the suffix of a recording's name.

    Examples
    --------
    >>> split(Path("a/b.c.ome.tiff")), split(Path("rec.mp4"))
    (('b.c', '.ome.tiff'), ('rec', '.mp4'))
    """
    stem, dot, last = path.name.rpartition(".")
    if stem.lower().endswith(".ome"):
        stem, last = stem[:-4], f"{stem[-3:]}.{last}"
    return stem, dot + last


class Take:
    """The files of one recording: a video or image of each stream that is recorded, and a sidecar.

    They stand beside `path` under its name, or under the first of ``name-2``, ``name-3`` ... of which there is nothing
    yet; with several streams the further ones are called ``name.raw.mp4``.

    Parameters
    ----------
    first
        What it begins with, though it is not recorded yet: it says which streams there are, and how large.
    encoding
        For the formats that lose something.
    pixel_size_um
        Where it is not None, it goes before what the frames say.

    Raises
    ------
    SinkError
        If the files cannot be begun there.
    """

    def __init__(self, path: Path, first: Shot, encoding: Encoding, pixel_size_um: float | None = None) -> None:
        self._began_ns, self.size = first.captured_ns, first.size
        kind = TABLE.serving(path.name).load()
        utc_ns = time.time_ns() - time.monotonic_ns() + first.captured_ns
        um = pixel_size_um or number(first.meta, "pixel_size_um")
        facts = _facts(first.meta)
        for paths in _names(path, list(first.images)):
            with ExitStack() as undo:
                try:
                    sidecar = Sidecar(paths["sidecar"], utc_ns)
                    undo.callback(paths["sidecar"].unlink)
                    undo.callback(sidecar.close)
                    writers: dict[str, Writer] = {}
                    for stream in first.images:
                        about = About(stream, *self.size, utc_ns, um if um and um > 0 else None, facts)
                        writers[stream] = kind(paths[stream], about, encoding)
                        undo.callback(writers[stream].close)
                except FileExistsError:
                    continue  # somebody else was quicker
                except OSError as error:
                    raise SinkError(f"cannot record to {path}", error.strerror or str(error)) from error
                undo.pop_all()
                break
        self._sidecar, self._writers = sidecar, writers
        self.files = [paths[stream] for stream in first.images]
        self.frames = 0
        """How many frames were given so far; how many are in the files, once it has ended."""

    def add(self, shot: Shot) -> None:
        """Record one frame of the same size.

        Raises
        ------
        SinkError
            If it could not be stored; the recording is to be ended then.
        """
        stamp = Stamp(shot.seq, (shot.captured_ns - self._began_ns) / 1e9, shot.meta)
        try:
            self._sidecar.add(stamp)
            for stream, writer in self._writers.items():
                writer.write(shot.images[stream], stamp)
        except OSError as error:
            raise SinkError(f"cannot write {self.files[0]}", error.strerror or str(error)) from error
        self.frames += 1

    def end(self) -> None:
        """Finish the files.

        Raises
        ------
        SinkError
            If that failed; what was written until then can be read all the same.
        """
        failed: OSError | SinkError | None = None
        frames = []
        for writer in self._writers.values():
            try:
                frames.append(writer.close())
            except (OSError, SinkError) as error:
                failed = error
        self.frames = max(frames, default=self.frames)
        try:
            self._sidecar.keep(self.frames)
        except OSError as error:
            failed = error
        self._sidecar.close()
        if failed is not None:
            reason = getattr(failed, "strerror", None) or str(failed)
            raise SinkError(f"cannot finish {self.files[0]}", reason) from failed


def _names(path: Path, streams: list[str]) -> Iterator[dict[str, Path]]:
    """Names for the files, by stream, and for the sidecar, as long as they are free."""
    stem, suffix = split(path)
    for further in count(1):
        name = stem if further == 1 else f"{stem}-{further}"
        main, raw, sidecar = (path.with_name(name + end) for end in (suffix, f".raw{suffix}", f"{suffix}.jsonl"))
        if not any(each.exists() or each.is_symlink() for each in (main, raw, sidecar)):
            yield dict(zip(streams, (main, raw), strict=False)) | {"sidecar": sidecar}


def _facts(meta: Mapping[str, Any]) -> dict[str, str]:
    """What a recording's files say of how it was made."""
    model = meta.get("model")
    known = {"model": "name", "model_sha256": "sha256", "engine": "engine"}
    facts = {fact: model[key] for fact, key in known.items() if isinstance(model, Mapping) and key in model}
    facts |= {key: meta[key] for key in ("source", "slide") if key in meta}
    return {key: str(value) for key, value in facts.items()} | {"software": f"stainstream {version('stainstream')}"}
