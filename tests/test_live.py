"""A stream as users ask for it, steered while it runs."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stainstream.config import Settings
from stainstream.control import Control
from stainstream.errors import ModelError, UsageError
from stainstream.frame import Frame
from stainstream.live import Live, StreamSettings
from stainstream.model import find
from stainstream.registry import Plugin
from stainstream.sinks import TABLE
from stainstream.sinks.base import Sink

NOTHING = Settings()


class Desk(Sink):
    """Steers, records when told to, and remembers which models it saw."""

    def __init__(self, target: str = "desk", options: Settings = NOTHING) -> None:
        super().__init__(target, options)
        self.control: Control | None = None
        self.recording = False
        self.models: list[str] = []

    def attach(self, control: Control) -> None:
        self.control = control

    def record(self, *, on: bool) -> None:
        self.recording = on

    def write(self, frame: Frame) -> None:
        self.models.append(frame.meta["model"]["name"])

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 20
        while name not in self.models[-1:]:
            assert time.monotonic() < deadline, self.models[-3:]
            time.sleep(0.01)


@contextmanager
def running(*sinks: Sink) -> Iterator[Live]:
    live = Live(StreamSettings(source="demo?size=64x48&rate=100", sinks=("null",)))
    live.sinks |= {sink.target: sink for sink in sinks}
    with streaming(live):
        yield live


@contextmanager
def streaming(live: Live) -> Iterator[Live]:
    with live:
        thread = threading.Thread(target=live.run)
        thread.start()
        try:
            yield live
        finally:
            live.stop()
            thread.join(10)


def test_a_model_is_switched_while_frames_run(tmp_path: Path) -> None:
    shutil.copytree(find("default").path, tmp_path / "other")
    card = tmp_path / "other" / "card.toml"
    name = find("default").name
    card.write_text(card.read_text().replace(f'name = "{name}"', 'name = "other"'))
    desk = Desk()
    with running(desk) as live:
        assert desk.control is live
        desk.wait_for(name)
        live.switch(str(tmp_path / "other"))
        assert live.status().model == "other"
        desk.wait_for("other")
        with pytest.raises(ModelError, match="no model 'nonsense'"):
            live.switch("nonsense")
        assert live.status().model == "other"  # and it goes on
        count = len(desk.models)
        desk.wait_for("other")
        assert len(desk.models) >= count
    assert live.report().balanced
    assert live.report().rejected == {}


def test_status_says_what_runs() -> None:
    with running() as live:
        status = live.status()
        assert status.source == "demo"
        assert status.model in live.models()
        assert len(status.digest) == 64
        assert "thread" in status.engine
        assert not status.recording
        assert status.report.balanced


def test_recording_is_started_and_stopped_where_something_records() -> None:
    desk = Desk()
    with running(desk) as live:
        live.record(on=True)
        assert live.status().recording
        live.record(on=False)
        assert not live.status().recording
    with running() as live, pytest.raises(UsageError, match="run with: --record FILE"):
        live.record(on=True)


def test_a_real_recording_is_started_and_stopped_while_frames_run(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tiff"
    settings = StreamSettings(
        source="demo?size=64x48&rate=100", sinks=("null",), record=(f"{path}?start=0",), record_what="both"
    )
    with streaming(Live(settings)) as live:
        for on in (True, False, True):
            live.record(on=on)
            assert live.status().recording is on
            deadline = time.monotonic() + 20
            before = live.report().notes.get("recorded", 0)
            while on and live.report().notes.get("recorded", 0) < before + 5:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    names = [f"a{number}.{kind}ome.tiff" for number in ("", "-2") for kind in ("", "raw.")]
    assert sorted(each.name for each in tmp_path.glob("*.tiff")) == sorted(names)
    assert live.report().notes["recorded"] >= 10
    assert live.report().balanced


def test_a_face_of_the_stream_can_record_though_nobody_said_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE.__dict__, "rows", (Plugin("desk", f"{__name__}:Desk", "", pattern="desk"), *TABLE.rows))
    assert [name.partition(":")[0] for name in Live(StreamSettings(sinks=("desk",))).sinks] == ["desk"]
    monkeypatch.delattr(Desk, "record")
    live = Live(StreamSettings(sinks=("desk",)))
    assert [name.partition(":")[0] for name in live.sinks] == ["desk", "record"]
    assert [name.partition(":")[0] for name in Live(StreamSettings(sinks=("null",))).sinks] == ["null"]


def test_a_password_is_shown_nowhere() -> None:
    live = Live(StreamSettings(source="rtsp://me:secret@host/live", sinks=("null",)))
    with live:
        assert "secret" not in repr(live.status())


def test_a_stream_that_is_not_open_says_so() -> None:
    with pytest.raises(UsageError, match="not open"):
        Live(StreamSettings(sinks=("null",))).run()


@pytest.mark.parametrize(
    ("settings", "message"), [({"source": "dmeo://x"}, "unknown source"), ({"sinks": ("zmq+x://",)}, "unknown sink")]
)
def test_a_wrong_address_is_refused_before_anything_opens(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Live(StreamSettings(**settings))  # type: ignore[arg-type]
