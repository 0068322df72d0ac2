"""``stainstream replay``: images as a scanner feed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import Frames

__all__ = ["Delivery", "replay"]


class Delivery(StrEnum):
    """How a feed sees to it that frames arrive."""

    live = "live"
    lossless = "lossless"
    acknowledged = "acknowledged"


def replay(
    path: Annotated[str, typer.Argument(help="What to play: an image, a folder, a pattern, a video, or any source.")],
    to: Annotated[str, typer.Option("--to", help="Where to: zmq+tcp://..., zmq+ipc://...")],
    rate: Annotated[float, typer.Option(min=0, help="Frames a second; 0 for as fast as they are taken.")] = 0.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start over at the end.")] = False,
    frames: Frames = 0,
    delivery: Annotated[
        Delivery | None,
        typer.Option(help="acknowledged: keep each image until the far end has accepted it; live: the newest only."),
    ] = None,
    series: Annotated[
        str, typer.Option(help="Name of the acknowledged series, another one each time.", show_default="made up")
    ] = "",
    journal: Annotated[
        Path | None, typer.Option(help="File by which an acknowledged series goes on where it was broken off.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the final counters to this file, as JSON.")] = None,
) -> None:
    """Play images as a scanner feed, as RGB8, at a rate or flat out; nothing is dropped on this side."""
    from stainstream.api import open_sink, open_source
    from stainstream.stream.memory import keep_large_blocks
    from stainstream.stream.pipeline import Pipeline

    from .status import stream

    keep_large_blocks()
    source = open_source(path, {"rate": str(rate), "loop": str(int(loop))})
    wanted = {"delivery": delivery.value if delivery else "", "series": series, "journal": str(journal or "")}
    sink = open_sink(to, {key: value for key, value in wanted.items() if value})
    stream(Pipeline(source, None, {to: sink}, policy="lossless", frames=frames), report)
