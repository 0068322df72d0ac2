"""``stainstream sources``: what is attached, and what can be named."""

from __future__ import annotations

import typer

__all__ = ["sources"]


def sources() -> None:
    """List attached cameras and every kind of source and sink, each with a line to paste."""
    from stainstream.sinks import TABLE as SINKS
    from stainstream.sources import TABLE as SOURCES
    from stainstream.sources.camera import attached

    cameras = attached()
    typer.echo("attached cameras:" if cameras else "attached cameras: none found")
    for camera in cameras:
        typer.echo(f"    {camera.name}\n        stainstream run --source {camera.address}")
        if camera.stable:
            typer.echo(f"        stainstream run --source {camera.stable}   # stays the same when plugged in anew")
    for title, table, option in (("sources", SOURCES, "--source"), ("sinks", SINKS, "--sink")):
        typer.echo(f"\n{title}:")
        for row in table:
            missing = f" (run: pip install 'stainstream[{row.extra}]')" if row.missing else ""
            typer.echo(f"    {row.name}: {row.summary}{missing}\n        stainstream run {option} '{row.example}'")
