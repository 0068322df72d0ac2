"""Metrics and health, read by Prometheus' own parser."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
from prometheus_client.parser import text_string_to_metric_families

import stainstream as ss
from stainstream.model import find
from stainstream.viewer import View

from .conftest import Streaming, get, run, streaming, viewer


def metrics(base: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    status, body, headers = run(get(f"{base}/metrics"))
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_metrics_are_the_counters_of_the_stream() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            for _ in range(3):
                await client.frame()

    with streaming(view="&viewers=7") as page:
        run(look(page))
        before = page.live.report()
        found = metrics(page.base)
        after = page.live.report()
    assert all(name.startswith("stainstream_") for name in found)
    ((_, captured),) = found["stainstream_frames_captured_total"]
    assert before.captured <= captured <= after.captured
    ((labels, delivered),) = found["stainstream_frames_delivered_total"]
    assert labels == {"sink": "view?open=0&port=0&viewers=7"}
    ((_, under_way),) = found["stainstream_frames_under_way"]
    assert captured == delivered + under_way
    ((_, frames),) = found["stainstream_viewer_frames_total"]
    assert frames == 3
    ((info, one),) = found["stainstream_info"]
    assert (info["model"], info["source"], len(info["digest"]), one) == (find("default").name, "demo", 64, 1)
    quantiles = {labels["quantile"]: value for labels, value in found["stainstream_latency_seconds"]}
    assert 0 < quantiles["0.5"] <= quantiles["0.99"]


def test_ready_means_that_frames_come(monkeypatch: pytest.MonkeyPatch) -> None:
    with View("view", View.Options(port=0, open=False)) as view:
        assert run(get(f"{view.url}healthz"))[:2] == (200, b"ok\n")
        assert run(get(f"{view.url}readyz"))[:2] == (503, b"no frame has come yet\n")
        view.write(ss.Frame(np.zeros((8, 8, 3), np.uint8), ss.PixelFormat.RGB8))
        assert run(get(f"{view.url}readyz"))[:2] == (200, b"ready\n")
        monkeypatch.setattr("stainstream.viewer.health.STALE_S", 0.1)
        time.sleep(0.15)
        status, body, _ = run(get(f"{view.url}readyz"))
        assert (status, body.startswith(b"the last frame came 0.")) == (503, True)
        assert "stainstream_frames_captured_total" not in metrics(view.url.rstrip("/"))  # nobody tells it
