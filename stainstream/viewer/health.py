"""What machines ask about a stream: Prometheus metrics, and whether it is ready."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stainstream.config import redacted
from stainstream.control import Control, Status
from stainstream.report import Report

from .hub import Hub

__all__ = ["STALE_S", "Metrics", "obstacle"]

STALE_S = 5.0
"""How long ago the last frame may have come in a stream that is ready."""

_Family = CounterMetricFamily | GaugeMetricFamily


def obstacle(hub: Hub) -> str | None:
    """Why the stream is not ready, or None: frames must have come in the last seconds."""
    ago = time.monotonic() - hub.arrived_s
    if ago == float("inf"):
        return "no frame has come yet"
    return f"the last frame came {ago:.1f} s ago" if ago > STALE_S else None


class Metrics(Collector):
    """The counters of a stream in Prometheus' text format; read anew each time."""

    def __init__(self, hub: Hub, control: Control | None) -> None:
        self._hub, self._control = hub, control
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector("stainstream", registry=self._registry)

    def text(self) -> bytes:
        """All metrics; from any thread."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[_Family]:
        """Nothing can be said before the stream runs."""
        return ()

    def collect(self) -> Iterator[_Family]:
        hub = self._hub
        yield _gauge("viewers", "Viewers that look at the moment.", len(hub.seats))
        yield _counter("viewer_frames", "Frames sent to viewers.", hub.sent.frames)
        yield _counter("viewer_bytes", "Bytes sent to viewers.", hub.sent.size)
        if hub.arrived_s > 0:
            yield _gauge("last_frame_seconds", "Since the last frame came.", time.monotonic() - hub.arrived_s)
        if self._control is not None:
            status = self._control.status()
            yield from _of_status(status)
            yield from _of_report(status.report)


def _of_status(status: Status) -> Iterator[_Family]:
    labels = {
        "version": version("stainstream"),
        "source": status.source,
        "model": status.model,
        "digest": status.digest,
    }
    info = GaugeMetricFamily("stainstream_info", "What runs.", labels=[*labels, "engine"])
    info.add_metric([*labels.values(), status.engine], 1)
    yield info
    yield _gauge("recording", "Whether a recording is being made.", float(status.recording))


def _of_report(report: Report) -> Iterator[_Family]:
    yield _gauge("uptime_seconds", "Since the stream began.", report.seconds)
    yield _counter("frames_captured", "Frames and messages that came in, good or not.", report.captured)
    yield _counter("frames_lost", "Frames lost before they came in, by the feed's own numbering.", report.lost)
    rejected = CounterMetricFamily("stainstream_frames_rejected", "Frames that could not be used.", labels=["cause"])
    for cause, count in report.rejected.items():
        rejected.add_metric([cause], count)
    delivered = CounterMetricFamily("stainstream_frames_delivered", "Frames that a sink took.", labels=["sink"])
    dropped = CounterMetricFamily("stainstream_frames_dropped", "Frames given up.", labels=["sink", "cause"])
    under_way = GaugeMetricFamily("stainstream_frames_under_way", "Frames on their way to a sink.", labels=["sink"])
    for address, account in report.sinks.items():
        sink = redacted(address)
        delivered.add_metric([sink], account.delivered)
        under_way.add_metric([sink], account.under_way)
        for cause, count in account.dropped.items():
            dropped.add_metric([sink, cause], count)
    notes = CounterMetricFamily("stainstream_events", "What a user should know of.", labels=["event"])
    for event, count in report.notes.items():
        notes.add_metric([event], count)
    latency = GaugeMetricFamily(
        "stainstream_latency_seconds", "From capture to delivery, of recent frames.", labels=["quantile"]
    )
    for quantile, milliseconds in zip(("0.5", "0.99"), report.latency_ms or (), strict=False):
        latency.add_metric([quantile], milliseconds / 1000)
    yield from (rejected, delivered, dropped, under_way, notes, latency)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"stainstream_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"stainstream_{name}", text, value=value)
