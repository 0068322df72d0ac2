"""``stainstream replay``: images as a scanner feed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Frames

__all__ = ["replay"]


def replay(
    path: Annotated[str, typer.Argument(help="What to play: an image, a folder, a pattern, a video, or any source.")],
    to: Annotated[str, typer.Option("--to", help="Where to: zmq+tcp://..., zmq+ipc://...")],
    rate: Annotated[float, typer.Option(min=0, help="Frames a second; 0 for as fast as they are taken.")] = 0.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start over at the end.")] = False,
    frames: Frames = 0,
    report: Annotated[Path | None, typer.Option(help="Write the final counters to this file, as JSON.")] = None,
) -> None:
    """Play images as a scanner feed, as RGB8, at a rate or flat out; nothing is dropped on this side."""
    from stainstream.api import open_sink, open_source
    from stainstream.stream.memory import keep_large_blocks
    from stainstream.stream.pipeline import Pipeline

    from .status import stream

    keep_large_blocks()
    source = open_source(path, {"rate": str(rate), "loop": str(int(loop))})
    stream(Pipeline(source, None, {to: open_sink(to)}, policy="lossless", frames=frames), report)
