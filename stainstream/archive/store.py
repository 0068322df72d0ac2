"""Slides where they lie: local disks, and object stores that fsspec knows."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from stainstream.errors import MissingExtra, SinkError, SourceError, UsageError

__all__ = ["Place", "slides"]

_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".tif", ".tiff", ".czi", ".qptiff")
_ROOT = "zarr.json"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Place:
    """A file or folder, by path or URL (``s3://bucket/key``)."""

    url: str

    @property
    def on(self) -> tuple[Any, str]:
        """The file system of fsspec that it lies on, and its path there.

        Raises
        ------
        MissingExtra, UsageError
            If fsspec, or its part for such an address, is missing, or does not know it.
        """
        try:
            from fsspec.core import url_to_fs

            fs, path = url_to_fs(self.url, **({"use_listings_cache": False} if "://" in self.url else {}))
        except ImportError as error:
            module = getattr(error, "name", None) or "s3fs, gcsfs or adlfs"
            raise MissingExtra(f"cannot use {self.url}", str(module), "archive") from error
        except ValueError as error:
            raise UsageError(f"cannot use {self.url}", str(error)) from error
        return fs, path

    @property
    def local(self) -> Path | None:
        """Its path, where it lies on a disk of this computer."""
        fs, path = self.on
        return Path(path) if "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)) else None

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rstrip("/").rpartition("/")[2]

    def under(self, name: str) -> Self:
        """What has this relative name in it."""
        return type(self)(f"{self.url.rstrip('/')}/{name}")

    def files(self) -> list[str]:
        """Relative names of all files below, sorted; ``[""]`` where it is a file, nothing where nothing is there."""
        fs, path = self.on
        if fs.isfile(path):
            return [""]
        root = path.rstrip("/")
        return sorted(each[len(root) + 1 :] for each in fs.find(root))

    def read(self) -> bytes | None:
        """The bytes of a file, or None where there is none."""
        fs, path = self.on
        try:
            return bytes(fs.cat_file(path))
        except FileNotFoundError:
            return None

    def write(self, data: bytes) -> None:
        """Write a file, as a whole or not at all.

        Raises
        ------
        SinkError
            If it cannot be written.
        """
        from stainstream.wholefile import write_whole

        try:
            if (path := self.local) is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, data)
            else:
                fs, key = self.on
                fs.pipe_file(key, data)
        except OSError as error:
            raise SinkError(f"cannot write {self.url}", error.strerror or str(error)) from error

    def remove(self) -> None:
        """Remove it, if it is there."""
        fs, path = self.on
        with contextlib.suppress(FileNotFoundError):
            fs.rm(path, recursive=True)

    def digest(self) -> str:
        """SHA-256 of a file; of a folder, of its files' names and digests; empty where nothing is there."""
        names = self.files()
        if names == [""]:
            return self._hash("")
        lines = [f"{self._hash(name)}  {name}\n" for name in names]
        return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""

    def _hash(self, name: str) -> str:
        fs, path = self.on
        with fs.open(f"{path.rstrip('/')}/{name}" if name else path, "rb") as file:
            hashed = hashlib.sha256()
            while block := file.read(_BLOCK):
                hashed.update(block)
        return hashed.hexdigest()

    @contextlib.contextmanager
    def fetched(self) -> Iterator[Path]:
        """The file on a local disk, with the folder that belongs to a MIRAX slide; a copy is removed at the end.

        Raises
        ------
        SourceError
            If it is not there, or cannot be copied.
        """
        if (path := self.local) is not None:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="stainstream-") as folder:
            fs, key = self.on
            try:
                fs.get_file(key, f"{folder}/{self.name}")
                if (more := self.companion()) and fs.isdir(more):
                    fs.get(more, f"{folder}/{Path(self.name).stem}", recursive=True)
            except OSError as error:
                raise SourceError(f"cannot read {self.url}", error.strerror or str(error)) from error
            yield Path(folder) / self.name

    def companion(self) -> str:
        """The folder that belongs to a MIRAX slide; empty for others."""
        path = str(self.on[1])
        return path[: -len(".mrxs")] if path.lower().endswith(".mrxs") else ""

    def put(self, made: Path) -> None:
        """Copy a file or folder here; a Zarr group's own document comes last, so that nobody opens half of one.

        Raises
        ------
        SinkError
            If that fails.
        """
        fs, path = self.on
        try:
            if made.is_file():
                fs.put_file(str(made), path)
                return
            self.remove()
            files = [each for each in made.rglob("*") if each.is_file()]
            for each in sorted(files, key=lambda file: file == made / _ROOT):
                fs.put_file(str(each), f"{path.rstrip('/')}/{each.relative_to(made).as_posix()}")
        except OSError as error:
            raise SinkError(f"cannot write {self.url}", error.strerror or str(error)) from error


def slides(where: str) -> list[tuple[str, Place]]:
    """Slides in a folder, of a pattern, or one: their names relative to the folder, and where they are.

    Raises
    ------
    SourceError
        If there is none.
    """
    place = Place(where)
    fs, path = place.on
    scheme = where[: where.index("://") + 3] if "://" in where else ""
    if any(each in path for each in "*?["):
        found = [(name.rpartition("/")[2], name) for name in fs.glob(path)]
    elif fs.isfile(path):
        return [(place.name, place)]
    else:
        found = [(name, f"{path.rstrip('/')}/{name}") for name in place.files()]
    kept = [
        (name, Place(scheme + full))
        for name, full in sorted(found)
        if name.lower().endswith(_SUFFIXES) and not any(part.startswith(".") for part in name.split("/"))
    ]
    if not kept:
        raise SourceError(f"cannot find slides in {where}", f"no file there ends in {', '.join(_SUFFIXES)}")
    return kept
