"""``stainstream keys``: who may attach to a feed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["keys"]

keys = typer.Typer(help="Make and show the keys that encrypt feeds and tell who may attach.", no_args_is_help=True)


@keys.command()
def generate(
    name: Annotated[str, typer.Argument(help="Whose key it is: scanner1, archive ...")],
    folder: Annotated[Path, typer.Option(help="Where to put the two files.")] = Path(),
) -> None:
    """Make NAME.key_secret, which stays here (readable by its owner alone), and NAME.key, to be given away."""
    from stainstream.security import make_keys, public_key

    public, secret = make_keys(name, folder)
    typer.echo(f"{secret}: stays on this computer; curve={secret}")
    typer.echo(f"{public}: for whom shall trust it; {public_key(public)}")


@keys.command()
def show(file: Annotated[Path, typer.Argument(help="A .key or .key_secret file.")]) -> None:
    """Print a file's public key."""
    from stainstream.security import public_key

    typer.echo(public_key(file))
