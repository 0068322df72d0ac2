"""``stainstream export``: from a checkpoint to a model folder."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Rounding", "export"]


class Rounding(StrEnum):
    """How levels become integers."""

    nearest = "nearest"
    truncate = "truncate"


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A StainNet checkpoint, such as the authors' .pth files.")],
    folder: Annotated[Path, typer.Argument(help="The model folder to write.")],
    rounding: Annotated[
        Rounding, typer.Option(help="truncate reproduces the authors' code byte for byte.")
    ] = Rounding.truncate,
    name: Annotated[str, typer.Option(help="The model's name.", show_default="the folder's")] = "",
    stain: Annotated[str, typer.Option(help="For the card: H&E, Pap ...")] = "not stated",
    source: Annotated[str, typer.Option(help="For the card: what it normalizes.")] = "not stated",
    target: Annotated[str, typer.Option(help="For the card: what it makes things look like.")] = "not stated",
    license: Annotated[str, typer.Option("--license", help="For the card: the weights' licence.")] = "not stated",
) -> None:
    """Turn a torch checkpoint into a model folder that runs without torch."""
    from stainstream.errors import MissingExtra

    try:
        from stainstream.training.export import export as write
        from stainstream.training.export import read_weights
    except ModuleNotFoundError as error:
        raise MissingExtra(f"cannot export {checkpoint}", error.name or "torch", "train") from error
    from stainstream.model import Card

    card = Card(
        name=name or folder.resolve().name,
        method="StainNet",
        stain=stain,
        source=source,
        target=target,
        training_data="not stated",
        license=license,
        digest="",
        authors=[],
        rounding=rounding.value,
        created=date.today().isoformat(),
        command=f"stainstream export {checkpoint.name} {folder.name} --rounding {rounding.value}",
    )
    model = write(read_weights(checkpoint), folder, card)
    typer.echo(f"wrote {model.path} ({model.digest[:12]}); run: stainstream run --model {folder}")
