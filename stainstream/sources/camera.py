"""What all cameras have in common: they are read by a process of their own, and opened anew when they fail."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, TypeAlias

import msgspec

from stainstream.capture.messages import Failure, Opened, Picture, Trouble
from stainstream.capture.process import Ended, Process
from stainstream.config import Settings, redacted
from stainstream.errors import FrameError, SourceError
from stainstream.frame import Frame, PixelFormat

from .base import Source

__all__ = ["Camera", "CameraOptions"]

_log = logging.getLogger(__name__)

_LOOK_S = 0.1  # between looks whether to stop
_PERIODS = 2.5  # without a picture, before a slow camera is taken to hang
_ALIKE = 4  # pictures, before they are taken to be one that is repeated
_GRACE_S = 0.3  # that a camera may take to close
_CRASH_S, _MOST_CRASH_S = 0.1, 5.0  # pause after a driver that crashed; it doubles
_THAW_S, _MOST_THAW_S = 1.0, 60.0  # pause before a camera that still repeats its picture is opened anew; it doubles
_COMPLAIN_EVERY_S = 10.0

_Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=86400)]


class CameraOptions(Settings, frozen=True, kw_only=True):
    """What can be set of every camera."""

    rate: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    """Frames a second; 0 for the camera's own."""
    exposure: Annotated[float, msgspec.Meta(ge=0, le=1e7)] = 0.0
    """Exposure time in ms, which ends the camera's automatic one; 0 to leave it as it is."""
    gain: float | None = None
    """Gain, in dB for GenICam cameras, else in the camera's own unit; None to leave it as it is."""
    stall: _Seconds = 0.4
    """Seconds without a picture, but at least 2.5 frame periods, after which it is opened anew; 0 for never."""
    frozen: _Seconds = 0.4
    """Seconds of pictures that are equal to the bit, after which it is opened anew; 0 for never."""
    patience: _Seconds = 0.0
    """Seconds without a picture, after which the stream ends with an error; 0 for never."""
    open_timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    """Seconds that it may take to open and to give its first picture."""


class Camera(Source):
    """A camera, read by a process of its own through shared memory.

    Its driver can hang or crash as it likes: after `stall` seconds without a picture its process is ended, after
    `frozen` seconds of one and the same picture likewise, and another process opens the camera anew, again and again
    until it is back. The iteration just waits, unless `patience` is set. Pictures that are repeated beyond that are
    counted as ``frozen picture``, what the driver reports as damaged under its own words; pictures that the camera, its
    library or we skipped add to `lost`.

    Frames are handed out where the capture process put them, which costs one copy a frame, or none if the library can
    write there itself. Who keeps more than a few of them gets copies. Only the first opening fails with an error.
    """

    Options: type[Settings] = CameraOptions
    options: CameraOptions

    driver: ClassVar[str]
    """The `Driver`, as ``"package.module:Class"``."""

    def __init__(self, target: str, options: CameraOptions) -> None:
        super().__init__(redacted(target), options)
        self._address = target
        self._swapping = threading.Lock()
        self._process: Process | None = None
        self._first: Picture | None = None
        self._hint = ""
        self._rhythm = _Rhythm()
        self._repeats = _Repeats()
        self._good_s = self._complained_s = float("-inf")
        self._crash_pause_s = 0.0  # none after the first
        self._away = ""
        self.reconnects: Counter[str] = Counter()
        """How often it was opened anew, by cause: ``stalled``, ``frozen``, ``lost`` or ``crashed``."""

    @property
    def counts(self) -> Mapping[str, int]:
        return {f"camera {cause}": count for cause, count in self.reconnects.copy().items()}

    def _open(self) -> None:
        self._process = process = Process()
        self._begin(process)
        while self._first is None:
            match process.next(_LOOK_S):
                case Picture() as picture:
                    self._first = picture
                case Opened(hint):
                    self._hint = hint
                case Failure(cause):
                    self.rejected[cause] += 1
                case Trouble(asked, reason, cure):
                    raise SourceError(asked, reason, cure)
                case Ended(status):
                    raise SourceError(f"cannot read {self.target}", f"its driver crashed (exit status {status})")
            if self.stopping.is_set() or time.monotonic() - process.heard > self.options.open_timeout:
                cure = "check that it is on, and that no other program uses it"
                raise SourceError(f"cannot read {self.target}", "it gives no picture", cure)
        self._good_s = time.monotonic()

    def _close(self) -> None:
        with self._swapping:
            process, self._process = self._process, None
        self._first = None
        if process is not None:
            process.end(_GRACE_S)

    def __iter__(self) -> Iterator[Frame]:
        if self._process is None:
            raise SourceError(f"cannot read {self.target}", "it is not open")
        seq = 0
        while (process := self._process) is not None and not self.stopping.is_set():
            picture = self._next(process)
            if picture is None:
                continue
            self.lost += picture.lost
            seq += picture.lost
            frame = self._frame(process, picture, seq)
            if frame is not None:
                yield frame
                seq += 1

    def _frame(self, process: Process, picture: Picture, seq: int) -> Frame | None:
        kind = PixelFormat(picture.format)
        try:
            return Frame(process.image(picture, kind.dtype), kind, seq, picture.captured_ns, picture.meta)
        except FrameError as error:
            self.rejected["unusable picture"] += 1
            self._complain(str(error))
            return None

    def _next(self, process: Process) -> Picture | None:
        """The next picture that is one; None if there is none within `_LOOK_S`, or the camera had to be opened anew."""
        first, self._first = self._first, None
        event = first or process.next(_LOOK_S)
        if isinstance(event, Picture):
            return event if self._is_new(process, event) else None
        match event:
            case Opened(hint):
                self._hint = hint
            case Failure(cause):
                self.rejected[cause] += 1
            case Trouble(asked, reason, cure, lost):
                why = str(SourceError(asked, reason, cure))
                if lost:
                    self._reopen(process, "lost", why)
                else:
                    self._complain(why)
                self._away = why
            case Ended(status):
                self._reopen(process, "crashed", f"the driver of {self.target} crashed (exit status {status})")
        if not isinstance(event, Trouble | Ended) and self._is_silent(process):
            self._reopen(process, "stalled", f"{self.target} gives no pictures any more (if it is slow: stall=SECONDS)")
        self._be_patient()
        return None

    def _is_new(self, process: Process, picture: Picture) -> bool:
        """Whether it is not the last one repeated; a camera that does so is opened anew."""
        self._rhythm.note(picture.captured_ns)
        if self._repeats.frozen(picture, self.options.frozen):
            self.rejected["frozen picture"] += 1
            process.drop(picture)
            if self._repeats.patience_ends():
                self._reopen(process, "frozen", f"{self.target} repeats one picture (if it is meant to: frozen=0)")
            return False
        if self._away:
            _log.warning("%s is back after %.1f s", self.target, time.monotonic() - self._good_s)
        self._good_s, self._crash_pause_s, self._away = time.monotonic(), 0.0, ""
        return True

    def _is_silent(self, process: Process) -> bool:
        """Whether the camera, or its opening, hangs."""
        now, stall, period = time.monotonic(), self.options.stall, self._rhythm.period_s
        if process.pictured is None or period is None:
            return now - process.heard > self.options.open_timeout
        return stall > 0 and now - process.pictured > max(stall, _PERIODS * period)

    def _reopen(self, old: Process, cause: str, reason: str) -> None:
        """Replace the capture process."""
        self.reconnects[cause] += 1
        self._complain(f"{reason}; opening it anew", always=self._away == "" or cause == "frozen")
        self._away = self._away or reason
        if cause == "crashed":
            self.stopping.wait(self._crash_pause_s)
            self._crash_pause_s = min(max(2 * self._crash_pause_s, _CRASH_S), _MOST_CRASH_S)
        spare = Process()  # it gets ready while the old one ends
        old.end(_GRACE_S)
        self._rhythm.pause()
        with self._swapping:
            if self._process is None:
                spare.end(0.0)
            else:
                self._process = spare
                self._begin(spare)

    def _begin(self, process: Process) -> None:
        process.begin(self.driver, self._address, msgspec.to_builtins(self.options), self._hint)

    def _be_patient(self) -> None:
        if 0 < self.options.patience < time.monotonic() - self._good_s:
            why = self._away or f"{self.target} gives no picture"
            raise SourceError(f"lost {self.target}", why, "check its plug, power and network")

    def _complain(self, text: str, *, always: bool = False) -> None:
        if always or time.monotonic() - self._complained_s >= _COMPLAIN_EVERY_S:
            self._complained_s = time.monotonic()
            _log.warning("%s", text)


class _Rhythm:
    """How often pictures come."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._periods: deque[int] = deque(maxlen=3)

    @property
    def period_s(self) -> float | None:
        """Seconds between pictures, the longest of late; None before the second one."""
        return max(self._periods) / 1e9 if self._periods else None

    def note(self, captured_ns: int) -> None:
        """A picture came."""
        if self._last_ns is not None:
            self._periods.append(captured_ns - self._last_ns)
        self._last_ns = captured_ns

    def pause(self) -> None:
        """The next picture does not follow the last one."""
        self._last_ns = None


class _Repeats:
    """Tells a sensor, whose noise is never the same twice, from a driver that repeats its last picture."""

    def __init__(self) -> None:
        self._print: int | None = None
        self._since_ns = self._last_ns = self._count = 0
        self._thaw_s, self._pause_s = 0.0, _THAW_S

    def frozen(self, picture: Picture, limit_s: float) -> bool:
        """Whether pictures were equal for `limit_s` seconds; 0 never says so."""
        if picture.print is None or picture.print != self._print:
            self._print, self._since_ns, self._count = picture.print, picture.captured_ns, 0
            self._pause_s = _THAW_S
        self._count += 1
        return 0 < limit_s < (picture.captured_ns - self._since_ns) / 1e9 and self._count >= _ALIKE

    def patience_ends(self) -> bool:
        """Whether it is time to open the camera anew, which is done less and less often while it does not help."""
        if (now := time.monotonic()) < self._thaw_s:
            return False
        self._thaw_s, self._pause_s = now + self._pause_s, min(2 * self._pause_s, _MOST_THAW_S)
        return True
