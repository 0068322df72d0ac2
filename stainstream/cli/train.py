"""``stainstream train teacher`` and ``stainstream train student``: from two folders of tiles to a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from stainstream.training.run import Run, TeacherSettings

__all__ = ["Device", "GlassName", "Precision", "RecipeName", "student", "teacher", "train"]

train = typer.Typer(
    help="Train models: a StainGAN teacher between two folders of tiles, and a StainNet student of it.",
    no_args_is_help=True,
)

Folders: TypeAlias = list[Path]


class Device(StrEnum):
    """Where to train."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    """What to compute in."""

    fp32 = "fp32"
    bf16 = "bf16"


class RecipeName(StrEnum):
    """How a student learns."""

    fast = "fast"
    paper = "paper"


class GlassName(StrEnum):
    """What becomes of glass."""

    white = "white"
    light = "light"
    none = "none"


@train.command()
def teacher(
    source: Annotated[Folders, typer.Option(help="Images or slides to translate from; repeat to pool several.")],
    target: Annotated[Folders, typer.Option(help="Images or slides of how it shall look; no pairs are needed.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    filters: Annotated[int, typer.Option(min=1, help="Width of the generators (ngf).")] = 64,
    blocks: Annotated[int, typer.Option(min=1, help="Residual blocks of the generators.")] = 9,
    critic_filters: Annotated[int, typer.Option(min=1, help="Width of the discriminators (ndf).")] = 64,
    critic_layers: Annotated[int, typer.Option(min=1, max=5, help="1, 2, 3: patches of 16, 34, 70 pixels.")] = 3,
    tile: Annotated[int, typer.Option(min=32, help="Height and width of tiles, in pixels; a multiple of 4.")] = 256,
    batch: Annotated[int, typer.Option(min=1, help="Tiles a step, on each process.")] = 1,
    epochs: Annotated[int, typer.Option(min=0, help="Epochs at the full rate.")] = 100,
    decay_epochs: Annotated[int, typer.Option(min=0, help="Epochs after them, with the rate falling to 0.")] = 100,
    epoch_steps: Annotated[
        int, typer.Option(min=0, help="Steps an epoch.", show_default="as many as there are tiles")
    ] = 0,
    rate: Annotated[float, typer.Option(help="Adam's learning rate.")] = 2e-4,
    cycle: Annotated[float, typer.Option(min=0, help="Weight of the cycle loss.")] = 10.0,
    identity: Annotated[float, typer.Option(min=0, help="Weight of the identity loss, relative to it.")] = 0.0,
    pool: Annotated[int, typer.Option(min=0, help="Translated tiles kept for the discriminators.")] = 50,
    warmup: Annotated[int, typer.Option(min=0, help="First steps, in which the generators learn the identity.")] = 0,
    warmup_rate: Annotated[float, typer.Option(help="The rate in them.")] = 1e-3,
    average: Annotated[
        float, typer.Option(min=0, help="Share of its running mean that the generator keeps a step, as 0.998.")
    ] = 0.0,
    collage: Annotated[
        int, typer.Option(min=1, help="Put tiles together of so many pieces a row: for small networks and tiles.")
    ] = 1,
    symmetries: Annotated[bool, typer.Option(help="Turn and mirror tiles.")] = True,
    precision: Annotated[Precision, typer.Option(help="What to compute in.")] = Precision.fp32,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, tiles and pool.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.auto,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in OUT.")] = False,
) -> None:
    """Train a StainGAN teacher between two sets of tiles that need not be pairs; the defaults are StainGAN's.

    For several GPUs: torchrun --nproc-per-node N -m stainstream train teacher ...
    """
    with _torch("cannot train a teacher"):
        from stainstream.training import run as training
        from stainstream.training import tiles
        from stainstream.training.ranks import joined
        from stainstream.training.teacher import train as learn
    from stainstream.config import settings

    values = {
        "filters": filters,
        "blocks": blocks,
        "critic_filters": critic_filters,
        "critic_layers": critic_layers,
        "tile": tile,
        "batch": batch,
        "epochs": epochs,
        "decay_epochs": decay_epochs,
        "epoch_steps": epoch_steps,
        "rate": rate,
        "cycle": cycle,
        "identity": identity,
        "pool": pool,
        "warmup": warmup,
        "warmup_rate": warmup_rate,
        "average": average,
        "collage": collage,
        "symmetries": symmetries,
        "precision": precision.value,
        "seed": seed,
    }
    run = training.Run(
        source=[str(each) for each in source],
        target=[str(each) for each in target],
        settings=settings(values, training.TeacherSettings, "the teacher's options"),
    )
    run = _begun(run, out, resume)
    from_side, to_side = (tiles.read(each, run.settings.tile) for each in (source, target))
    with joined(device.value) as ranks:
        run = learn(run, from_side, to_side, out, ranks, resume=resume)
    if run.steps == run.total:
        typer.echo(
            f"wrote {out / run.generator}; run: stainstream train student --teacher {out} --source DIR --out DIR"
        )


def _begun(run: Run, out: Path, resume: bool) -> Run:
    """The training that `out` holds, or `run` if it shall hold none."""
    from stainstream.errors import UsageError
    from stainstream.training.run import RUN, read_run

    if not resume:
        if (out / RUN).exists():
            raise UsageError(f"cannot train into {out}", "it holds a teacher", "add --resume, or choose another --out")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write into {out}", error.strerror or str(error)) from error
        return run
    earlier = read_run(out)
    changed = _differences(earlier.settings, run.settings)
    if changed:
        raise UsageError(f"cannot go on with {out}", f"it was begun with {changed}", "give the options it had")
    return earlier


def _differences(earlier: TeacherSettings, now: TeacherSettings) -> str:
    from msgspec.structs import asdict

    one, other = asdict(earlier), asdict(now)
    return ", ".join(f"--{key.replace('_', '-')} {one[key]}" for key in one if one[key] != other[key])


@train.command()
def student(
    teacher: Annotated[
        list[str],
        typer.Option(
            help="What to learn from: a teacher's folder, a StainGAN generator's .pth, a folder of tiles that a "
            "teacher has translated (named as in SOURCE), or a method: reinhard, macenko, vahadane, ruifrok, khan; "
            "repeat to learn from the mean of several."
        ),
    ],
    source: Annotated[Folders, typer.Option(help="Images or slides to normalize; repeat to pool several.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    target: Annotated[Folders | None, typer.Option(help="For a method: images of how it shall look.")] = None,
    recipe: Annotated[
        RecipeName, typer.Option(help="fast: joint color statistics. paper: the paper's 300 epochs of tiles.")
    ] = RecipeName.fast,
    conv3x3: Annotated[int, typer.Option(min=0, help="How many layers are 3x3 (then it is no table).")] = 0,
    channels: Annotated[int, typer.Option(min=1, help="Width of the hidden layers.")] = 32,
    layers: Annotated[int, typer.Option(min=1, max=16, help="Number of convolutions.")] = 3,
    tile: Annotated[int, typer.Option(min=32, help="Height and width of tiles, in pixels.")] = 256,
    epochs: Annotated[int, typer.Option(min=1, help="Of the paper's recipe.")] = 300,
    batch: Annotated[int, typer.Option(min=1, help="Tiles a step of the paper's recipe.")] = 10,
    steps: Annotated[int, typer.Option(min=1, help="Of the fast recipe.")] = 1500,
    glass: Annotated[
        GlassName,
        typer.Option(help="Fast recipe: keep white as it is; light gray as well; or do what the teacher did."),
    ] = GlassName.white,
    affine: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Fast recipe: how far to draw the teacher's colors to the affine map that is next to it."
        ),
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, tiles and the test split.")] = 0,
    name: Annotated[str, typer.Option(help="The model's name.", show_default="the folder's")] = "",
    stain: Annotated[str, typer.Option(help="For the card: H&E, Pap ...")] = "not stated",
    scanner: Annotated[str, typer.Option(help="For the card: what it normalizes.")] = "not stated",
    look: Annotated[str, typer.Option(help="For the card: what it makes things look like.")] = "not stated",
    data: Annotated[str, typer.Option(help="For the card: what it was trained on.")] = "not stated",
    license: Annotated[str, typer.Option("--license", help="For the card: the weights' licence.")] = "not stated",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training by the paper's recipe.")] = False,
) -> None:
    """Train a StainNet student of a teacher and write a model folder, ready for: stainstream run --model OUT."""
    with _torch("cannot train a student"):
        from stainstream.training import pairs
        from stainstream.training.distil import Fast, Paper, Shape
        from stainstream.training.student import StudentSettings
        from stainstream.training.student import train as learn
    from stainstream.errors import UsageError
    from stainstream.model import Card

    if conv3x3 > layers:
        raise UsageError("cannot train a student", f"--conv3x3 is {conv3x3}, of {layers} layers", "give fewer")
    if recipe is RecipeName.paper:
        chosen: Fast | Paper = Paper(epochs=epochs, batch=batch)
    else:
        chosen = Fast(steps=steps, glass=glass.value, affine=affine)
    shape = Shape(channels=channels, layers=layers, conv3x3=conv3x3)
    card = Card(
        name=name or out.resolve().name, method="", stain=stain, source=scanner, target=look, training_data=data,
        license=license, digest="", authors=[], command=_command(),
    )  # fmt: skip
    taught = pairs.of(teacher, source, target or [], tile)
    model = learn(taught, StudentSettings(recipe=chosen, shape=shape, tile=tile, seed=seed), out, card, resume=resume)
    assert model.card is not None
    for key, value in model.card.metrics.items():
        typer.echo(f"{key:20} {value:g}")
    typer.echo(f"wrote {out} ({model.digest[:12]}); run: stainstream run --model {out}")


def _command() -> str:
    import shlex
    import sys

    return shlex.join(["stainstream", *sys.argv[1:]])


@contextmanager
def _torch(asked: str) -> Iterator[Any]:
    """Say how torch is installed, where it is not."""
    from stainstream.errors import MissingExtra

    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(asked, error.name or "torch", "train") from error
