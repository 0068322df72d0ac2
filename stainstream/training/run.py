"""A teacher's training: its settings, how far it is, and the command that does it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from stainstream.config import Settings
from stainstream.errors import UsageError

__all__ = ["RUN", "Run", "TeacherSettings", "command", "read_run"]

RUN = "teacher.json"
"""The file that says how a teacher was trained."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Weight = Annotated[float, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class TeacherSettings(Settings, frozen=True, kw_only=True):
    """Sizes and schedule; as they stand, StainGAN's."""

    filters: Positive = 64
    """Width of the generators (``ngf``)."""
    blocks: Positive = 9
    """Residual blocks of the generators."""
    critic_filters: Positive = 64
    """Width of the discriminators (``ndf``)."""
    critic_layers: Annotated[int, msgspec.Meta(ge=1, le=5)] = 3
    """Layers of the discriminators that halve the size: 1, 2, 3 for patches of 16, 34, 70 pixels."""
    tile: Annotated[int, msgspec.Meta(ge=32, multiple_of=4)] = 256
    """Height and width of the tiles, in pixels."""
    batch: Positive = 1
    """Tiles a step, on each process."""
    epochs: Count = 100
    """Epochs at the full rate."""
    decay_epochs: Count = 100
    """Epochs after them, in which the rate falls to 0 in a line."""
    epoch_steps: Count = 0
    """Steps an epoch; 0 for as many as the larger side holds tiles."""
    rate: Rate = 2e-4
    """Adam's, with betas 0.5 and 0.999."""
    cycle: Weight = 10.0
    """Weight of the cycle loss."""
    identity: Weight = 0.0
    """Weight of the identity loss, relative to the cycle loss; CycleGAN's own default is 0.5."""
    pool: Count = 50
    """Translated tiles that are kept to be shown to the discriminators again."""
    warmup: Count = 0
    """Steps before all others, in which the generators learn to change nothing."""
    warmup_rate: Rate = 1e-3
    """The rate in those steps."""
    average: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """How much of its running mean the forward generator keeps in each step, 0.999 for example; 0 for no mean."""
    collage: Positive = 1
    """Of how many pieces in a row, and as many rows, from anywhere in a side, a tile is put together; 1 for none.

    Instance norms take a tile's mean color away. That of many pieces is the whole side's, so that a small network on
    small tiles keeps how dark a piece is.
    """
    symmetries: bool = True
    """Whether tiles are turned and mirrored."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What is computed in."""
    seed: Count = 0
    """Of the weights, the tiles and the pool."""


class Run(Settings, frozen=True, kw_only=True):
    """What was trained and how far: ``teacher.json``."""

    source: list[str]
    """Folders that are translated from."""
    target: list[str]
    """Folders that are translated to."""
    settings: TeacherSettings
    generator: str = "latest_net_G_A.pth"
    """The file of the generator from source to target."""
    processes: Positive = 1
    """How many trained together."""
    steps: Count = 0
    """Steps done."""
    total: Count = 0
    """Steps to do."""
    seconds: float = 0.0
    """Time it took."""
    distances: list[float] = msgspec.field(default_factory=list)
    """How far, in levels, the colors of translated tiles were from the target's after each epoch; 0th, before."""


def read_run(folder: Path) -> Run:
    """Read how the teacher in `folder` was trained.

    Raises
    ------
    UsageError
        If there is none, or its file is damaged.
    """
    try:
        return msgspec.json.decode((folder / RUN).read_bytes(), type=Run)
    except OSError as error:
        raise UsageError(f"cannot read {folder / RUN}", error.strerror or str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {folder / RUN}", str(error)) from error


def command(run: Run, out: Path) -> str:
    """The command that trains such a teacher into `out`; options that have their defaults are left out."""
    words = ["stainstream", "train", "teacher"]
    for side, folders in (("--source", run.source), ("--target", run.target)):
        words += [word for folder in folders for word in (side, folder)]
    plain = TeacherSettings()
    for name in TeacherSettings.__struct_fields__:
        value, option = getattr(run.settings, name), name.replace("_", "-")
        if value == getattr(plain, name):
            continue
        words += [f"--no-{option}"] if value is False else [f"--{option}", str(value)]
    return shlex.join([*words, "--out", str(out)])
