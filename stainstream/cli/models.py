"""``stainstream models``: what can be loaded by name."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["models"]


def models(
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Delete the baked tables; they are made again when needed.")
    ] = False,
) -> None:
    """List the models that ship with stainstream, or free the space of their tables."""
    from stainstream.color.cache import folder
    from stainstream.model import find, names

    if clear_cache:
        tables = list(folder().glob("*.lut"))
        for table in tables:
            table.unlink(missing_ok=True)
        typer.echo(f"deleted {len(tables)} tables from {folder()}")
        return
    for name in names():
        model = find(name)
        assert model.card is not None
        card = model.card
        typer.echo(f"{name}{'  (default)' if card.default else ''}  {model.digest[:12]}")
        typer.echo(f"    {card.method}; {card.stain}: {card.source} -> {card.target}")
        if card.metrics:
            typer.echo("    " + ", ".join(f"{key} {value:g}" for key, value in card.metrics.items()))
        typer.echo(f"    trained on {card.training_data}; weights {card.license}")
        for preview in model.path.glob("preview.*"):
            typer.echo(f"    preview: {preview}")
