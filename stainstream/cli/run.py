"""``stainstream run``: the main job."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import DEFAULT, EngineName, Frames, ModelName, Threads

__all__ = ["Policy", "run"]

PUBLISH = "zmq+tcp://127.0.0.1:5560"
MAX_FRAME_BYTES = 256 << 20


class Policy(StrEnum):
    """What happens to frames that come faster than they can be used."""

    live = "live"
    lossless = "lossless"


def run(
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
    engine: EngineName = "auto",
    threads: Threads = None,
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
    report: Annotated[Path | None, typer.Option(help="Write the final counters to this file, as JSON.")] = None,
) -> None:
    """Normalize live frames: source -> engine -> sinks, until the source ends or Ctrl-C."""
    from stainstream.api import load, open_sink, open_source
    from stainstream.stream.memory import keep_large_blocks
    from stainstream.stream.pipeline import Pipeline

    from .status import stream

    keep_large_blocks()
    origin = open_source(source, {"max_frame_bytes": str(max_frame_bytes)})
    sinks = {address: open_sink(address) for address in sink or [PUBLISH]}
    lossless = policy is Policy.lossless or (policy is None and origin.waits)
    chosen = Policy.lossless if lossless else Policy.live
    with load(model, engine, threads) as normalize:
        typer.echo(f"stainstream: model {normalize.artifact.name} on {normalize.choice}", err=True)
        typer.echo(f"stainstream: {origin.target} -> {', '.join(sinks)}; {chosen}; Ctrl-C ends", err=True)
        pipeline = Pipeline(
            origin,
            normalize.engine,
            sinks,
            capacity=capacity,
            policy=chosen.value,
            frames=frames,
            seconds=seconds,
            meta=normalize.meta,
        )
        stream(pipeline, report)
