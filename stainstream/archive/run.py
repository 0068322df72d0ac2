"""An archive from one place to another."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import PurePosixPath

from stainstream.errors import UsageError
from stainstream.slides import WRITERS

from .job import Job
from .recipe import BandRows, SlideOptions
from .store import Place, slides

__all__ = ["plan"]


def plan(
    source: str,
    out: str,
    kind: str,
    options: SlideOptions,
    share: str = "",
    *,
    engine: str = "auto",
    threads: int = 1,
    per_slide: str = "",
    look: str = "",
    resume: bool = False,
    band_rows: BandRows = "auto",
) -> list[Job]:
    """The jobs of an archive, one a slide.

    Parameters
    ----------
    source
        A folder, a pattern or a slide, by path or URL.
    kind
        What is written: ``"ome.zarr"``, ``"ome.tiff"``, ``"tiff"`` or ``"svs"``.
    share
        ``"2/8"`` for the second eighth of the slides; empty for all.
    band_rows
        How many rows of tiles a band of a slide has, see `stainstream.archive.recipe.rows_of`; 0 for slides as a whole.

    Raises
    ------
    UsageError, SourceError
        If something is wrong with them, or there are no slides.
    """
    writer = WRITERS[kind].load()
    writer.encoding_for(options.compression, options.quality, f"slides as {kind}")
    if source.rstrip("/") == out.rstrip("/"):
        raise UsageError(f"cannot write to {out}", "it is the archive that is read", "give another folder")
    inside = f"{out.rstrip('/')}/"
    found = [(name, place) for name, place in slides(source) if not place.url.startswith(inside)]
    stems = Counter(_stem(name) for name, _ in found)
    outputs = {name: f"{_stem(name) if stems[_stem(name)] == 1 else name}.{kind}" for name, _ in found}
    if band_rows not in ("auto", 0) and (far := [each for each in (source, out) if Place(each).local is None]):
        raise UsageError(
            f"cannot divide slides with {far[0]}", "bands need disks that all workers see", "leave out: --band"
        )
    run, to = uuid.uuid4().hex, Place(out)
    return [
        Job(name, place, outputs[name], to, options, engine, threads, per_slide, look, resume, band_rows, run)
        for name, place in _shared(found, share)
    ]


def _shared(found: list[tuple[str, Place]], share: str) -> list[tuple[str, Place]]:
    if not share:
        return found
    part, slash, parts = share.partition("/")
    if not slash or not part.isdecimal() or not parts.isdecimal() or not 1 <= int(part) <= int(parts):
        raise UsageError(f"wrong share {share!r}", "it is, for example, 2/8: the second of eight")
    return found[int(part) - 1 :: int(parts)]


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    stem = path.with_suffix("")
    return str(stem.with_suffix("") if stem.suffix.lower() == ".ome" else stem)
