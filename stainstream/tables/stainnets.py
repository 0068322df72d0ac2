"""StainNets and StainGANs for tables: given ones, students of a fold, generators."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stainstream.api import load
from stainstream.config import Settings
from stainstream.errors import MissingExtra, ModelError
from stainstream.evaluation.evaluate import Method
from stainstream.frame import RGB8

from .sets import TILE, Field, cut

__all__ = ["Schedule", "generator", "given", "loaded", "student", "teach", "torch_there"]


class Schedule(Settings, frozen=True, kw_only=True):
    """How long students learn, by the fast recipe of ``stainstream train student``."""

    steps: int = 1500
    """Of pixelwise students."""
    patch_steps: int = 1500
    """Of those with 3x3 convolutions."""
    seed: int = 0


def torch_there(asked: str) -> None:
    """Make sure that torch is installed.

    Raises
    ------
    MissingExtra
        If not.
    """
    if find_spec("torch") is None:
        raise MissingExtra(asked, "torch", "train")


def given(model: str, threads: int | None = None) -> Any:
    """A StainNet that was trained elsewhere, ready to call: a checkpoint, or whatever ``--model`` takes.

    A checkpoint runs as its authors' code does: levels are truncated.

    Raises
    ------
    StainstreamError
        If there is none, or it cannot be loaded.
    """
    path = Path(model)
    if path.suffix.lower() not in (".pth", ".pt"):
        return load(model, "auto", threads)
    torch_there(f"cannot read {path.name}")
    from stainstream.training.export import read_weights

    return loaded(read_weights(path), "truncate", path.stem, threads)


def loaded(network: Any, rounding: Any, name: str, threads: int | None = None) -> Any:
    """A StainNet of torch as its exact table, on an engine."""
    from stainstream.training.export import checked

    with tempfile.TemporaryDirectory(prefix="stainstream") as folder:
        file = Path(folder) / f"{name}.onnx"
        file.write_bytes(checked(network, rounding))
        return load(str(file), "auto", threads)


def student(trains: Sequence[Field], schedule: Schedule, conv3x3: int = 0) -> Any:
    """A student of what a teacher made of the fields, as a network of torch.

    Raises
    ------
    ModelError
        If there is no teacher's output.
    MissingExtra
        If torch is not installed.
    """
    if any(each.translated is None for each in trains):
        raise ModelError("no student", "there is no teacher's output to learn from", "add --translated or --generator")
    torch_there("cannot train a student")
    tiles = [pair for each in trains if each.translated is not None for pair in cut(each.source, each.translated)]
    return teach([(one, other) for one, other in tiles], schedule, conv3x3)


def teach(tiles: Sequence[tuple[RGB8, RGB8]], schedule: Schedule, conv3x3: int = 0) -> Any:
    """A StainNet that learned what became of tiles, each before and after."""
    from stainstream.training.distil import Fast, Shape, fit_fast

    recipe = Fast(steps=schedule.patch_steps if conv3x3 else schedule.steps)
    return fit_fast(tiles, Shape(conv3x3=conv3x3), recipe, schedule.seed)


def generator(path: Path, tile: int = TILE) -> Method:
    """A StainGAN's generator as a method: images are translated tile by tile, as it was trained.

    Raises
    ------
    ModelError
        If the checkpoint is missing, or another network's.
    """
    torch_there(f"cannot read {path.name}")
    from stainstream.training.export import read_weights
    from stainstream.training.networks import ResnetGenerator
    from stainstream.training.translate import translate

    if not path.is_file():
        raise ModelError("no StainGAN", f"there is no file {path.name}")
    network = read_weights(path)
    if not isinstance(network, ResnetGenerator):
        raise ModelError(f"cannot use {path.name} as a StainGAN", "it is a StainNet's checkpoint")
    return lambda image: translate(network, image, tile)
