"""What became of the slides of an archive."""

from __future__ import annotations

import csv
import importlib.util
import io

import msgspec

from stainstream.config import Settings

from .store import Place

__all__ = ["Record", "manifest", "receipt", "records"]

_FOLDER = ".stainstream"


class Record(Settings, frozen=True, kw_only=True):
    """One slide."""

    slide: str
    """Its name, relative to what was given."""
    status: str
    """``complete``; ``quarantined`` (it cannot be read) or ``failed`` (anything else)."""
    output: str
    digest_in: str = ""
    """SHA-256 of what was read."""
    digest_out: str = ""
    """SHA-256 of what was written; of a folder, of its files' names and digests."""
    model: str = ""
    model_sha256: str = ""
    settings: str = ""
    """How it was written."""
    tiles: int = 0
    seconds: float = 0.0
    finished: str = ""
    """When, in UTC."""
    host: str = ""
    error: str = ""
    skipped: bool = False
    """Whether this run left it as it was."""


def receipt(out: Place, slide: str) -> Place:
    """Where what became of a slide is noted."""
    return out.under(f"{_FOLDER}/{slide}.json")


def records(out: Place) -> list[Record]:
    """All notes of an archive, by slide."""
    found = []
    folder = out.under(_FOLDER)
    for name in folder.files():
        data = folder.under(name).read()
        if name.endswith(".json") and data is not None:
            found.append(msgspec.json.decode(data, type=Record))
    return sorted(found, key=lambda record: record.slide)


def manifest(out: Place, kind: str = "") -> Place:
    """Write the list of all slides; Parquet where pyarrow is installed, else CSV.

    Parameters
    ----------
    kind
        ``"parquet"`` or ``"csv"``; empty for the former if possible.
    """
    kind = kind or ("parquet" if importlib.util.find_spec("pyarrow") else "csv")
    rows = [msgspec.to_builtins(record) for record in records(out)]
    for row in rows:
        del row["skipped"]
    place = out.under(f"manifest.{kind}")
    place.write(_parquet(rows) if kind == "parquet" else _csv(rows))
    return place


def _columns() -> list[str]:
    return [field for field in Record.__struct_fields__ if field != "skipped"]


def _csv(rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _columns())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict[str, object]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    columns = {column: [row[column] for row in rows] for column in _columns()}
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
