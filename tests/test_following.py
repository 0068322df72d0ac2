"""Live streams with a method that follows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import stainstream as ss
from stainstream.color.lut import quantize
from stainstream.errors import UsageError
from stainstream.following import start
from stainstream.live import Live, StreamSettings
from stainstream.normalizers import TABLE
from stainstream.normalizers.fitted import Fitted
from tests.normalizers.tiles import LOW_TISSUE, demo, restained

TARGET = "he-camelyon17-centre4"


def _settings(**options: object) -> StreamSettings:
    import msgspec

    plain: dict[str, object] = {"source": "demo?size=256x256&rate=30", "sinks": ["memory"], "engine": "lut_numba"}
    return msgspec.convert(plain | options, StreamSettings)


def test_a_stream_is_normalized_by_what_it_shows() -> None:
    with Live(_settings(normalizer="macenko", target=TARGET, adapt=1.0, seconds=6.0)) as live:
        report = live.run()
        status = live.status()
        frames = list(live.sinks["memory"].frames)  # type: ignore[attr-defined]
    assert report.delivered > 20
    assert status.model == "macenko"
    assert frames[0].meta["adapt"] == "waiting"
    assert frames[-1].meta["adapt"] == "following"
    assert frames[-1].meta["table"] >= 1
    with ss.open_source("demo?size=256x256&rate=0") as source:
        raw = next(frame.image for frame in source if frame.seq == frames[-1].seq)
    kind = TABLE["macenko"].load()
    from stainstream.normalizers.store import read_reference

    fitted: Fitted[Any] = kind.fit(demo(), read_reference(TARGET))
    expected = quantize(fitted(raw / 255.0)).astype(int)
    assert np.abs(expected - frames[-1].image).mean() < 6 < np.abs(expected - raw).mean()


def test_switching_to_a_model_ends_the_following() -> None:
    with Live(_settings(normalizer="reinhard", target=TARGET, adapt=1.0, seconds=2.0)) as live:
        live.run()
        live.switch("he-reinhard")
        assert live.status().model == "he-reinhard"
        assert len(live.status().digest) == 64


def test_a_calibration_is_used_as_it_is_or_as_a_start() -> None:
    fitted, started = start("he-macenko-centre2-to-centre4", "", least_tissue=0.05)
    assert started
    assert fitted.conventions.least_tissue == 0.05
    with Live(_settings(normalizer="he-macenko-centre2-to-centre4", frames=3)) as live:
        assert live.normalizer.survey is not None
        assert live.run().delivered == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalizer": "macenko"}, "it has no target; give one: --target"),
        ({"normalizer": "magic", "target": TARGET}, "unknown method 'magic'"),
        ({"normalizer": "macenko", "target": "nowhere"}, "cannot use target 'nowhere'"),
        ({"normalizer": "he-macenko-centre2-to-centre4", "target": TARGET}, "it is a calibration, which has both"),
        ({"normalizer": "macenko", "target": TARGET, "model": "he-reinhard"}, "each of them decides the colors"),
        ({"normalizer": TARGET, "adapt": 1.0}, "it is a reference, without a source"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message), Live(_settings(**options)):
        pass


def test_a_strange_source_is_noticed(tmp_path: Path) -> None:
    for k in range(3):
        cv2.imwrite(str(tmp_path / f"{k}.png"), (restained(restained(demo(k, k))) if k else demo())[..., ::-1])
    with Live(_settings(source=str(tmp_path), model="he-reinhard")) as live:
        report = live.run()
        frames = list(live.sinks["memory"].frames)  # type: ignore[attr-defined]
    assert report.notes["out of range"] == 2
    assert [frame.meta["drift"]["out_of_range"] for frame in frames] == [False, True, True]
    assert any("out of range 2" in line for line in report.lines())


@pytest.mark.parametrize("method", [row.name for row in TABLE if row.missing is None])
def test_glass_stays_glass_in_a_stream(method: str, tmp_path: Path) -> None:
    """Tissue first, so that something is learned; then the frames that peers crash on or paint."""
    for k, image in enumerate([demo(size=256)] * 2 + list(LOW_TISSUE.values())):
        cv2.imwrite(str(tmp_path / f"{k}.png"), image[..., ::-1])
    options = {"source": f"{tmp_path}?rate=8", "normalizer": method, "target": TARGET, "adapt": 0.5}
    with Live(_settings(**options)) as live:
        report = live.run()
        frames = list(live.sinks["memory"].frames)  # type: ignore[attr-defined]
    assert report.delivered == 2 + len(LOW_TISSUE)
    for (name, image), frame in zip(LOW_TISSUE.items(), frames[2:], strict=True):
        bare = (image.min(axis=-1) > 230) | (image.max(axis=-1) == 0)
        assert np.abs(frame.image.astype(int) - image)[bare].max() <= 2, name
