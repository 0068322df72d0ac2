"""Names and addresses in, live objects out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import msgspec
import numpy as np

from . import engines, sinks, sources
from .color.cache import cached
from .color.lut import Lut, bake
from .color.survey import Survey
from .config import DEFAULT, Address, redacted, settings
from .engines import Artifact
from .engines.choice import Choice, choose
from .engines.onboard import is_onboard
from .errors import ModelError, NotPixelwise, StainstreamError
from .frame import RGB8
from .model import Model, Network, find, names
from .normalizers.base import Normalizer as Method
from .normalizers.network import PixelwiseNetwork
from .registry import Table
from .resource import Resource
from .sinks import Sink
from .sources import Source

__all__ = ["Normalizer", "artifact", "load", "method", "on_engine", "open_sink", "open_source"]

Image = TypeVar("Image")

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
    survey
        What it was trained or calibrated on looks like, if known; ``survey.drift(frame)`` says how far a frame is off.
    """

    def __init__(self, model: Model | None, artifact: Artifact, chosen: Choice, survey: Survey | None = None) -> None:
        super().__init__()
        self.survey = survey
        self.model, self.artifact, self.engine, self._chosen = model, artifact, chosen.engine, chosen
        self.open()

    def __call__(self, rgb: Image, out: Image | None = None, *, stream: object = None) -> Image:
        """Normalize an image or a batch.

        A NumPy array gives a new one, unless `out` is given: see `stainstream.engines.Engine.__call__`. What lies on a
        GPU is normalized there, in place unless `out` is given, on `stream`: see `stainstream.engines.Engine.onboard`.
        """
        if not isinstance(rgb, np.ndarray) and is_onboard(rgb):
            return self.engine.onboard(rgb, out, stream)
        return cast("Image", self.engine(cast("RGB8", rgb), cast("RGB8 | None", out)))

    @property
    def choice(self) -> str:
        """Which engine was taken and why, for people."""
        return "; not ".join([f"{self._chosen.name} ({self.engine.detail})", *self._chosen.reasons])

    @property
    def meta(self) -> dict[str, Any]:
        """What a normalized frame's metadata says about its making."""
        digest = self.model.digest if self.model else self.artifact.digest
        return {"model": {"name": self.artifact.name, "sha256": digest, "engine": self.engine.title}}

    def _open(self) -> None:
        self.engine.open()

    def _close(self) -> None:
        self.engine.close()


def load(
    model: str | Path | Method = DEFAULT,
    engine: str = "auto",
    threads: int | None = None,
    *,
    trust_plan: bool = False,
) -> Normalizer:
    """Load a model onto an engine, ready to use.

    Parameters
    ----------
    model
        A model's name, a model folder, an ``.onnx`` file, a calibration's name or ``.toml`` file, a ``.cube`` file, or
        a fitted normalizer. A pixelwise model is baked into its exact table, once: the table is kept in the user's
        cache folder.
    engine
        An engine's name, with options as in ``"lut_cuda?device=1"``, or ``"auto"`` for the first that works here; if
        that is a GPU's and fails later, the processor's takes over. A network engine runs the network itself, in
        float32, also where a table could stand for it.
    threads
        How many threads one call may use; all processors by default.
    trust_plan
        Whether a TensorRT plan that came with the model may be run: it is a program, not data.

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
    if isinstance(model, str | Path):
        model = method(model) or model
    if isinstance(model, str | Path):
        found = find(model)
        survey = found.card.survey if found.card else None
        gpu = engine.startswith(("auto", "lut_cuda"))
        made = _network(found) if engine.startswith("net_") else artifact(found, gpu=gpu)
    else:
        found, made = None, bake(model, model.name, getattr(model, "rounding", "nearest"))
        survey = getattr(model, "survey", None)
    if trust_plan and isinstance(made, Network):
        made = replace(made, trust_plan=True)
    return Normalizer(found, made, choose(made, engine, threads), survey)


def on_engine(table: Lut, engine: str = "auto", threads: int | None = None) -> Normalizer:
    """A table that is ready-made, on an engine; see `load`."""
    return Normalizer(None, table, choose(table, engine, threads))


def method(file: str | Path) -> Method | None:
    """The method in a calibration's ``.toml``, or of its name, or in a ``.cube`` file; None for anything else.

    Raises
    ------
    UsageError, ModelError
        If the file is missing or wrong.
    """
    match Path(file).suffix.lower():
        case ".toml":
            from .normalizers.store import read

            return read(file)
        case ".cube":
            from .color.cube import Cube

            return Cube.read(Path(file))
    if file in (DEFAULT, *names()) or Path(file).exists():
        return None  # a model, which needs nothing of the classic methods
    from .normalizers import store

    return store.read(file) if file in store.names() else None


def artifact(model: Model, *, gpu: bool = False) -> Artifact:
    """The model's table, from the cache or baked now, or its network if it is not pixelwise.

    Parameters
    ----------
    gpu
        Whether a GPU may bake the table, where there is one.

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
        return (_bake_onboard(model, network) if gpu else None) or bake(network, model.name, network.rounding)

    try:
        rounding = model.card.rounding if model.card else "its own"
        key = hashlib.sha256(f"{_BAKE} {model.digest} {rounding}".encode()).hexdigest()
        return cached(key, model.name, build)
    except NotPixelwise as error:
        _log.info("%s runs as a network: %s", model.name, error)
        return _network(model)


def _bake_onboard(model: Model, network: PixelwiseNetwork) -> Lut | None:
    """The table as the GPU bakes it, or None where there is none, or it cannot."""
    row = engines.TABLE["lut_cuda"]
    if row.lacking or row.missing:
        return None
    from .engines.bake import bake_onboard
    from .engines.gpu import Gpu

    try:
        return bake_onboard(model.network, network, Gpu())
    except StainstreamError as error:
        _log.debug("%s is baked on the processor: %s", model.name, error)
        return None


def _network(model: Model) -> Network:
    return Network(model.network, model.name, model.digest)


def open_source(address: str, defaults: Mapping[str, str] = MappingProxyType({})) -> Source:
    """Make the source that `address` names; it opens in a ``with`` block.

    Parameters
    ----------
    address
        For example ``"camera0?size=1920x1080"``; `stainstream sources` lists them. With the option ``profile``, which
        every source has, frames are corrected by a camera profile, a file that ``stainstream calibrate --blank`` wrote.
    defaults
        Options to take where the address sets none; a source ignores those that it does not know.

    Raises
    ------
    UsageError
        If no source serves such an address, or an option or the camera profile is wrong.
    MissingExtra
        If the source needs a package that is not installed.
    """
    parsed = Address.parse(address)
    options = dict(parsed.options)
    profile = options.pop("profile", None)
    source = _made(sources.TABLE, Address(parsed.target, options), defaults)
    if profile is None:
        return source
    from .color.flatfield import read
    from .sources.profiled import Profiled

    return Profiled(source, read(Path(profile)))


def open_sink(address: str, defaults: Mapping[str, str] = MappingProxyType({})) -> Sink:
    """Make the sink that `address` names; it opens in a ``with`` block. See `open_source`."""
    return _made(sinks.TABLE, Address.parse(address), defaults)


Part = TypeVar("Part", Source, Sink)


def _made(table: Table[Part], address: Address, defaults: Mapping[str, str]) -> Part:
    kind = table.serving(address.target).load()
    known = {field.encode_name for field in msgspec.structs.fields(kind.Options)}
    options = {key: value for key, value in defaults.items() if key in known} | dict(address.options)
    return kind(address.target, settings(options, kind.Options, f"{table.family} {redacted(str(address))!r}"))
