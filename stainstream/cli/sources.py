"""``stainstream sources``: what is attached, and what can be named."""

from __future__ import annotations

import shlex

import typer

__all__ = ["sources"]


def sources() -> None:
    """List attached cameras and every kind of source and sink, each with a line to paste."""
    from stainstream.sinks import TABLE as SINKS
    from stainstream.sources import TABLE as SOURCES

    _cameras()
    for title, table, option in (("sources", SOURCES, "--source"), ("sinks", SINKS, "--sink")):
        typer.echo(f"\n{title}:")
        for row in table:
            missing = f" (run: pip install 'stainstream[{row.extra}]')" if row.missing else ""
            typer.echo(f"    {row.name}: {row.summary}{missing}\n        stainstream run {option} '{row.example}'")


def _cameras() -> None:
    """The cameras that each family's driver finds, and the families that cannot be asked."""
    from stainstream.capture.process import attached
    from stainstream.sources import TABLE
    from stainstream.sources.camera import Camera

    kinds = {row.name: row.load() for row in TABLE if not row.missing}
    drivers = {name: kind.driver for name, kind in kinds.items() if issubclass(kind, Camera)}
    found = attached(drivers)
    some = any(isinstance(cameras, list) and cameras for cameras in found.values())
    typer.echo("attached cameras:" if some else "attached cameras: none found")
    for name, cameras in found.items():
        if isinstance(cameras, str):
            typer.echo(f"    {name}: {cameras}")
            continue
        for camera in cameras:
            typer.echo(f"    {camera.name}\n        stainstream run --source {shlex.quote(camera.address)}")
            if camera.stable:
                stable = shlex.quote(camera.stable)
                typer.echo(f"        stainstream run --source {stable}   # stays the same when plugged in anew")
