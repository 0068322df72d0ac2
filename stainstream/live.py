"""A stream as users ask for it: from settings to running frames, steered while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from . import engines, following
from . import model as models
from .api import Normalizer, load, method, on_engine, open_sink, open_source
from .color.lut import Lut, bake
from .color.transition import identity
from .config import DEFAULT, MAX_FRAME_BYTES, PUBLISH, Address, Settings, redacted
from .control import Control, Controllable, Recordable, Status
from .errors import UsageError
from .normalizers.fitted import Fitted
from .recording import TABLE
from .report import Report
from .resource import Resource
from .stream.adapt import Adapter
from .stream.drift import Drift
from .stream.mailbox import Policy
from .stream.pipeline import Pipeline

__all__ = ["Live", "StreamSettings"]

Part = TypeVar("Part", Normalizer, Pipeline)
Count = Annotated[int, msgspec.Meta(ge=0)]

_LOOK_S = 0.005  # live frames that follow faster are not each looked at for drift


class StreamSettings(Settings, frozen=True):
    """All that a stream can be told."""

    source: str = "demo"
    sinks: tuple[str, ...] = (PUBLISH,)
    model: str = DEFAULT
    normalizer: str = ""
    """In place of `model`: a classic method, or a calibration, whose statistics follow the stream."""
    target: str = ""
    """What a classic method shall make the stream look like: images, or a reference."""
    profile: str = ""
    """Its conventions; empty for those of the target's reference, else ``"stream"``."""
    adapt: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 0.0
    """Time constant in seconds with which its statistics follow; 0: they are frozen."""
    color_rate: Annotated[float, msgspec.Meta(gt=0)] = 8.0
    """The most, in levels a second, by which following may change any color."""
    least_tissue: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """The share of tissue below which statistics are held; None for the conventions' own (1 %)."""
    engine: str = "auto"
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None
    trust_plan: bool = False
    """Whether a TensorRT plan that came with the model may be run."""
    policy: Policy | None = None
    """None for the source's own: lossless where frames wait to be taken, else live."""
    capacity: Annotated[int, msgspec.Meta(ge=1)] = 4
    frames: Count = 0
    """Stop after so many; 0 for no limit."""
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Stop after so long; 0 for no limit."""
    max_frame_bytes: Annotated[int, msgspec.Meta(ge=1)] = MAX_FRAME_BYTES
    """The largest frame that a feed may send."""
    record: tuple[str, ...] = ()
    """Files to record to, with their options."""
    record_what: Literal["normalized", "raw", "both"] = "normalized"
    """Which pixels, where a file's options do not say."""


class Live(Resource, Control):
    """A stream and its control; to be run inside a ``with`` block.

    Parameters
    ----------
    settings
        What to stream.

    Raises
    ------
    UsageError, MissingExtra
        If an address or an option is wrong, or needs what is not installed.
    """

    def __init__(self, settings: StreamSettings) -> None:
        super().__init__()
        self.settings = settings
        self.source = open_source(settings.source, {"max_frame_bytes": str(settings.max_frame_bytes)})
        self.sinks = {redacted(address): open_sink(address) for address in settings.sinks}
        for address in settings.record or self._spare():
            self.sinks[f"record:{address}"] = open_sink(f"record:{address}", {"what": settings.record_what})
        if self.source.keeps and settings.policy == "live":
            raise UsageError(f"cannot drop frames of {self.source.target}", "it is acknowledged", "leave --policy out")
        self.policy: Policy = settings.policy or ("lossless" if self.source.waits else "live")
        self._switching = threading.Lock()
        self._drift = Drift(_LOOK_S if self.policy == "live" else 0.0)
        self._adapter: Adapter | None = None
        self._meta: dict[str, Any] = {}
        self._tables = 0
        self._normalizer: Normalizer | None = None
        self._pipeline: Pipeline | None = None

    def check(self) -> None:
        """Check what making it did not: whether what normalizes, and the engine, are there.

        Raises
        ------
        ModelError, UsageError, MissingExtra
            If they are not.
        """
        settings = self.settings
        if settings.normalizer:
            self._started()
        elif method(settings.model) is None:
            models.find(settings.model)
        engine = Address.parse(settings.engine).target
        if engine != "auto":
            engines.TABLE[engine].load()

    def _spare(self) -> tuple[str, ...]:
        """What is recorded to when a face of the stream asks for it and nobody said where."""
        if not any(isinstance(sink, Controllable) for sink in self.sinks.values()) or self._recorders():
            return ()
        return ("recording.mp4?start=0" if TABLE["mp4"].missing is None else "recording.ome.tiff?start=0",)

    def _open(self) -> None:
        settings = self.settings
        if settings.normalizer:
            self._begin()
        else:
            self._normalizer = self._loaded(settings.model)
        normalizer = self.normalizer
        self._drift.know(normalizer.artifact.name, None if self._adapter else normalizer.survey)
        self._meta = normalizer.meta
        self._pipeline = Pipeline(
            self.source,
            normalizer.engine,
            self.sinks,
            capacity=settings.capacity,
            policy=self.policy,
            frames=settings.frames,
            seconds=settings.seconds,
            meta=self._meta,
            watchers=[self._drift, *([self._adapter] if self._adapter else [])],
        )
        for sink in self.sinks.values():
            if isinstance(sink, Controllable):
                sink.attach(self)

    def _begin(self) -> None:
        """Prepare a classic method whose statistics follow the stream, or are taken from its first frames."""
        settings = self.settings
        start, started = self._started()
        if started and not settings.adapt:
            self._normalizer = load(start, settings.engine, settings.threads)
            return
        shown = bake(start, start.name, start.rounding) if started else identity()
        self._normalizer = on_engine(shown, settings.engine, settings.threads)
        self._adapter = Adapter(start, shown, settings.adapt, self._install, started=started, rate=settings.color_rate)

    def _started(self) -> tuple[Fitted[Any], bool]:
        """The method that follows, and whether its source's statistics are known."""
        settings = self.settings
        if settings.model != DEFAULT:
            raise UsageError("cannot use a model and a normalizer", "each of them decides the colors", "give one")
        return following.start(settings.normalizer, settings.target, settings.profile, settings.least_tissue)

    def _install(self, table: Lut, exact: bool) -> None:
        """Go on with a table that the adapter made."""
        fresh = on_engine(table, self.settings.engine, self.settings.threads)
        self._tables += 1
        model = {"name": table.name, "sha256": table.digest if exact else "", "engine": fresh.engine.title}
        self._change(fresh, {"model": model, "table": self._tables})

    def _change(self, fresh: Normalizer, meta: dict[str, Any]) -> None:
        with self._switching:
            _opened(self._pipeline).swap(fresh.engine, meta)
            before, self._normalizer, self._meta = self.normalizer, fresh, meta
            before.close()

    def _loaded(self, model: str) -> Normalizer:
        return load(model, self.settings.engine, self.settings.threads, trust_plan=self.settings.trust_plan)

    def _close(self) -> None:
        if self._adapter is not None:
            self._adapter.close()
        if self._normalizer is not None:
            self._normalizer.close()

    @property
    def normalizer(self) -> Normalizer:
        """What normalizes at present."""
        return _opened(self._normalizer)

    def run(self, tick: Callable[[Report], None] | None = None, every: float = 0.5) -> Report:
        """Stream until the end; see `Pipeline.run`."""
        pipeline = _opened(self._pipeline)
        if self._adapter is not None:
            self._adapter.open()
        return pipeline.run(tick, every)

    def stop(self) -> None:
        """End the stream in good order; from any thread."""
        _opened(self._pipeline).stop()

    def report(self) -> Report:
        """The counters now."""
        return _opened(self._pipeline).report()

    def status(self) -> Status:
        normalizer = self.normalizer
        return Status(
            source=redacted(self.source.target),
            model=normalizer.artifact.name,
            digest=self._meta["model"]["sha256"],
            engine=normalizer.choice,
            recording=any(each.recording for each in self._recorders()),
            report=self.report(),
        )

    def models(self) -> Sequence[str]:
        return models.names()

    def switch(self, model: str) -> None:
        fresh = self._loaded(model)
        if self._adapter is not None:
            self._adapter.close()
        self._change(fresh, fresh.meta)
        self._drift.know(fresh.artifact.name, fresh.survey)

    def record(self, *, on: bool) -> None:
        recorders = self._recorders()
        if not recorders:
            raise UsageError("cannot record", "the stream has no recording to start", "run with: --record FILE")
        for each in recorders:
            each.record(on=on)

    def _recorders(self) -> list[Recordable]:
        return [sink for sink in self.sinks.values() if isinstance(sink, Recordable)]


def _opened(part: Part | None) -> Part:
    if part is None:
        raise UsageError("the stream is not open", "", "use it inside a with block")
    return part
