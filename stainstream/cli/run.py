"""``stainstream run``: the main job."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stainstream.config import MAX_FRAME_BYTES, PUBLISH

from .options import DEFAULT, EngineName, Frames, ModelName, Threads, TrustPlan

if TYPE_CHECKING:
    from stainstream.streams import RunSettings

__all__ = ["Log", "Policy", "What", "run"]

_log = logging.getLogger(__name__)


class Policy(StrEnum):
    """What happens to frames that come faster than they can be used."""

    live = "live"
    lossless = "lossless"


class What(StrEnum):
    """Which pixels are recorded."""

    normalized = "normalized"
    raw = "raw"
    both = "both"


class Log(StrEnum):
    """How lines are logged."""

    text = "text"
    json = "json"


def run(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            "-s",
            help="Where frames come from: camera0, a folder, zmq+tcp://... (see: stainstream sources).",
        ),
    ] = "demo",
    sink: Annotated[
        list[str] | None,
        typer.Option("--sink", "-o", help="Where normalized frames go; repeat for several.", show_default=PUBLISH),
    ] = None,
    model: ModelName = DEFAULT,
    normalizer: Annotated[
        str,
        typer.Option(
            help="In place of a model: reinhard, macenko, vahadane, ruifrok, khan, or a calibration, with --adapt.",
            show_default=False,
        ),
    ] = "",
    target: Annotated[
        str,
        typer.Option(
            help="What the normalizer shall make of frames: an image, a folder, or a reference's name or file.",
            show_default=False,
        ),
    ] = "",
    adapt: Annotated[
        str,
        typer.Option(help="How fast its statistics follow the stream: 2s, 500ms; off: those of the first frames stay."),
    ] = "off",
    least_tissue: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="The share of tissue below which a frame's statistics do not count.", show_default="0.01"
        ),
    ] = None,
    engine: EngineName = "auto",
    threads: Threads = None,
    trust_plan: TrustPlan = False,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="live: the newest frame wins, the oldest is dropped and counted; lossless: the source waits.",
            show_default="lossless for files and pull feeds, else live",
        ),
    ] = None,
    capacity: Annotated[
        int, typer.Option(min=1, help="Frames that may wait before the engine, and before each sink.")
    ] = 4,
    frames: Frames = 0,
    seconds: Annotated[float, typer.Option(min=0, help="Stop after so many seconds; 0 for no limit.")] = 0.0,
    max_frame_bytes: Annotated[
        int, typer.Option(min=1, help="Largest frame that a feed may send; larger ones are rejected.")
    ] = MAX_FRAME_BYTES,
    record: Annotated[
        list[str] | None,
        typer.Option(
            help="Record to FILE.mp4, FILE.ome.tiff or FILE.ome.zarr; repeat for several.", show_default=False
        ),
    ] = None,
    record_what: Annotated[
        What, typer.Option(help="Which pixels to record: the normalized ones, those from before, or both.")
    ] = What.normalized,
    view: Annotated[
        bool, typer.Option("--view", help="Show frames on a live page, in the browser; instead of publishing them.")
    ] = False,
    view_host: Annotated[
        str | None,
        typer.Option(help="Address of the live page; others than this computer's own loopback ask for a token."),
    ] = None,
    view_port: Annotated[
        int | None, typer.Option(min=0, max=0xFFFF, help="Port of the live page (8560); 0 for any free one.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the live page in the browser.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the final counters to this file, as JSON.")] = None,
    log: Annotated[Log, typer.Option(help="How to log: lines for people, or an object of JSON each.")] = Log.text,
    stall_timeout: Annotated[
        float,
        typer.Option(min=0, help="Seconds without a frame after which the watchdog shall act; 0 for never."),
    ] = 0.0,
    config: Annotated[
        Path | None, typer.Option(help="Take settings from this TOML file; options given here go before it.")
    ] = None,
    stream: Annotated[str, typer.Option(help="Of several streams in the file, run only this one.")] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether everything is right, before any device opens.")
    ] = False,
) -> None:
    """Normalize live frames: source -> engine -> sinks, until the source ends or Ctrl-C."""
    told = {
        "source": source,
        "sink": sink,
        "model": model,
        "normalizer": normalizer,
        "target": target,
        "adapt": _seconds(adapt),
        "least_tissue": least_tissue,
        "engine": engine,
        "threads": threads,
        "trust_plan": trust_plan,
        "policy": policy.value if policy else None,
        "capacity": capacity,
        "frames": frames,
        "seconds": seconds,
        "max_frame_bytes": max_frame_bytes,
        "record": record,
        "record_what": record_what.value,
        "report": str(report),
        "log": log.value,
        "stall_timeout": stall_timeout,
    }
    given = {key: value for key, value in told.items() if _was_given(context, key)}
    page = _page(view_host, view_port, no_open) if view or view_host is not None or view_port is not None else ""
    streams = _streams(given, page, config, stream)
    _log_as(streams)
    if check:
        from .supervise import check as check_all

        for line in check_all(streams):
            typer.echo(f"{line}; ok")
    elif stream in streams:
        _run(streams[stream])
    else:
        from .supervise import supervise

        supervise(streams)


def _was_given(context: typer.Context, key: str) -> bool:
    """Whether an option stands on the command line, rather than at its default."""
    source = context.get_parameter_source(key)
    return source is not None and source.name == "COMMANDLINE"


def _streams(given: dict[str, Any], page: str, config: Path | None, stream: str) -> Mapping[str, RunSettings]:
    """What to run, by name; ``""`` is the name of the only stream."""
    from msgspec.structs import replace

    from stainstream.config import settings
    from stainstream.errors import UsageError
    from stainstream.streams import RunSettings, read_streams

    given = {{"sink": "sinks"}.get(key, key): value for key, value in given.items()}
    if config is None:
        pages = {"sinks": [*(given.get("sinks") or ()), page]} if page else {}
        found = {"": settings(given | pages, RunSettings, "the command line")}
    else:
        found = read_streams(config, given, stream)
    if stream and stream not in found:
        names = ", ".join(filter(None, found)) or "none"
        raise UsageError(f"there is no stream {stream!r}", f"streams in {config} are {names}", "see --config")
    found = {stream: found[stream]} if stream else found
    if page and config is not None:
        if len(found) > 1:
            raise UsageError(
                "cannot give --view for several streams", "each needs a port of its own", "add: --stream NAME"
            )
        found = {name: replace(each, sinks=(*each.sinks, page)) for name, each in found.items()}
    return found


def _log_as(streams: Mapping[str, RunSettings]) -> None:
    """Log as the first of them says; whose lines these are is said where it is one of several."""
    from . import logs

    name, settings = next(iter(streams.items()))
    debug = logging.getLogger().isEnabledFor(logging.DEBUG)
    logs.set_up(debug=debug, json=settings.log == "json", stream=name if len(streams) == 1 else "")


def _run(settings: RunSettings) -> None:
    from stainstream.config import redacted
    from stainstream.live import Live
    from stainstream.stream.memory import keep_large_blocks

    from .status import stream

    keep_large_blocks()
    with Live(settings) as live:
        _log.info("model %s on %s", live.normalizer.artifact.name, live.normalizer.choice)
        where = f"{redacted(live.source.target)} -> {', '.join(live.sinks)}"
        _log.info("%s; %s; Ctrl-C ends", where, live.policy)
        stream(
            live,
            Path(settings.report) if settings.report else None,
            rewrite=False if settings.log == "json" else None,
            stall_timeout=settings.stall_timeout,
        )


def _page(host: str | None, port: int | None, no_open: bool) -> str:
    """The live page's address as a sink."""
    options = {"host": host, "port": port, "open": 0 if no_open else None}
    given = "&".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return f"view?{given}" if given else "view"


def _seconds(text: str) -> float:
    """``2s``, ``500ms``, ``1min`` or ``off`` in seconds."""
    from stainstream.errors import UsageError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|min)", text)
    if text != "off" and (match is None or not float(match[1])):
        raise UsageError(f"wrong --adapt {text!r}", "it is a time such as 2s, 500ms or 1min, or off")
    return float(match[1]) * {"ms": 1e-3, "s": 1.0, "min": 60.0}[match[2]] if match else 0.0
