"""Names and addresses in, live objects out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from . import engines, sinks, sources
from .color.cache import cached
from .color.lut import Lut, bake
from .config import DEFAULT, Address, redacted, settings
from .engines import Artifact, Engine
from .errors import EngineError, ModelError, NotPixelwise, StainstreamError
from .frame import RGB8
from .model import Model, Network, find
from .normalizers.base import Normalizer as Method
from .normalizers.network import PixelwiseNetwork
from .registry import Table
from .resource import Resource
from .sinks import Sink
from .sources import Source

__all__ = ["Normalizer", "artifact", "load", "open_sink", "open_source"]

_log = logging.getLogger(__name__)
_BAKE = "1"  # part of the cache's key: to be raised when the same file would give another table


class Normalizer(Resource):
    """A model on an engine: call it with images.

    Attributes
    ----------
    model
        Where it came from (`path`, `card`, `digest`); None for a method that was fitted here.
    artifact
        The table or the network that runs (`name`, `digest`).
    engine
        Where it runs.
    choice
        Which engine was taken and why, for people.
    """

    def __init__(self, model: Model | None, artifact: Artifact, engine: Engine, choice: str) -> None:
        super().__init__()
        self.model, self.artifact, self.engine, self.choice = model, artifact, engine, choice
        self.open()

    def __call__(self, rgb: RGB8, out: RGB8 | None = None) -> RGB8:
        """Normalize an image or a batch; see `stainstream.engines.Engine.__call__`."""
        return self.engine(rgb, out)

    @property
    def meta(self) -> dict[str, Any]:
        """What a normalized frame's metadata says about its making."""
        digest = self.model.digest if self.model else self.artifact.digest
        return {"model": {"name": self.artifact.name, "sha256": digest, "engine": type(self.engine).__name__}}

    def _open(self) -> None:
        self.engine.open()

    def _close(self) -> None:
        self.engine.close()


def load(model: str | Path | Method = DEFAULT, engine: str = "auto", threads: int | None = None) -> Normalizer:
    """Load a model onto an engine, ready to use.

    Parameters
    ----------
    model
        A model's name, a model folder, an ``.onnx`` file, a calibration's ``.toml`` file, or a fitted normalizer. A
        pixelwise model is baked into its exact table, once: the table is kept in the user's cache folder.
    engine
        An engine's name, or ``"auto"`` for the first that works here. A network engine runs the network itself, in
        float32, also where a table could stand for it.
    threads
        How many threads one call may use; all processors by default.

    Raises
    ------
    ModelError
        If the model is missing, damaged or not what its card says.
    UsageError
        If a calibration's file is missing or wrong.
    EngineError, MissingExtra
        If the engine cannot run it here; with ``"auto"``, if none can.

    Examples
    --------
    >>> import numpy as np
    >>> normalize = load("default")
    >>> normalize(np.zeros((4, 5, 3), np.uint8)).shape
    (4, 5, 3)
    """
    if isinstance(model, str | Path) and Path(model).suffix.lower() == ".toml":
        from .normalizers.store import read

        model = read(model)
    if isinstance(model, str | Path):
        found = find(model)
        made = _network(found) if engine.startswith("net_") else artifact(found)
    else:
        found, made = None, bake(model, model.name, getattr(model, "rounding", "nearest"))
    chosen, choice = _engine(made, engine, threads)
    return Normalizer(found, made, chosen, choice)


def artifact(model: Model) -> Artifact:
    """The model's table, from the cache or baked now, or its network if it is not pixelwise.

    Raises
    ------
    ModelError
        If the model's network cannot be read, or rounds otherwise than its card says.
    """

    def build() -> Lut:
        network = PixelwiseNetwork.read(model.network, model.name)
        if model.card and model.card.rounding != network.rounding:
            raise ModelError(
                f"refusing model {model.name!r}", f"its card says {model.card.rounding}, its graph {network.rounding}"
            )
        return bake(network, model.name, network.rounding)

    try:
        rounding = model.card.rounding if model.card else "its own"
        key = hashlib.sha256(f"{_BAKE} {model.digest} {rounding}".encode()).hexdigest()
        return cached(key, model.name, build)
    except NotPixelwise as error:
        _log.info("%s runs as a network: %s", model.name, error)
        return _network(model)


def _network(model: Model) -> Network:
    return Network(model.network, model.name, model.digest)


def open_source(address: str, defaults: Mapping[str, str] = MappingProxyType({})) -> Source:
    """Make the source that `address` names; it opens in a ``with`` block.

    Parameters
    ----------
    address
        For example ``"camera0?size=1920x1080"``; `stainstream sources` lists them.
    defaults
        Options to take where the address sets none; a source ignores those that it does not know.

    Raises
    ------
    UsageError
        If no source serves such an address, or an option is wrong.
    MissingExtra
        If the source needs a package that is not installed.
    """
    return _made(sources.TABLE, address, defaults)


def open_sink(address: str, defaults: Mapping[str, str] = MappingProxyType({})) -> Sink:
    """Make the sink that `address` names; it opens in a ``with`` block. See `open_source`."""
    return _made(sinks.TABLE, address, defaults)


Part = TypeVar("Part", Source, Sink)


def _made(table: Table[Part], text: str, defaults: Mapping[str, str]) -> Part:
    address = Address.parse(text)
    kind = table.serving(address.target).load()
    known = {field.encode_name for field in msgspec.structs.fields(kind.Options)}
    options = {key: value for key, value in defaults.items() if key in known} | dict(address.options)
    return kind(address.target, settings(options, kind.Options, f"{table.family} {redacted(text)!r}"))


def _engine(artifact: Artifact, name: str, threads: int | None) -> tuple[Engine, str]:
    """The first engine that opens, and why it was taken."""
    reasons: list[str] = []
    for row in engines.TABLE.rows if name == "auto" else (engines.TABLE[name],):
        try:
            engine = row.load()(artifact, threads)
            engine.open()
        except StainstreamError as error:
            if name != "auto":
                raise
            reasons.append(str(error))
        except (ImportError, RuntimeError, OSError, MemoryError) as error:  # numba, onnxruntime: broken installations
            if name != "auto":
                raise EngineError(f"cannot use engine {name!r}", str(error)) from error
            reasons.append(f"{row.name}: {error}")
        else:
            return engine, "; not ".join([f"{row.name} ({engine.detail})", *reasons])
    raise EngineError(f"no engine can run {artifact.name!r}", "; ".join(reasons))
