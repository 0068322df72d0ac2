"""StainGAN and StainNet for cells: given ones, or small ones that are trained here."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stainstream.errors import ModelError, StainstreamError
from stainstream.frame import RGB8

from . import stainnets
from .cells import Cells
from .sets import CellSet

__all__ = ["FEW", "Stains", "stains"]

FEW = 100
"""Images of a side with fewer than which no teacher is trained."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stains:
    """What the test centre's images become, by method; or why not."""

    methods: dict[str, Callable[[RGB8], RGB8]]
    missing: dict[str, str]
    notes: list[str]


def stains(
    chosen: CellSet, data: Path, source: Cells, target: Cells, schedule: stainnets.Schedule, teacher: dict[str, Any]
) -> Stains:
    """Methods that give the look of `target` to images of `source`; neither's labels are looked at.

    Parameters
    ----------
    teacher
        Settings of a teacher that is trained where none is given; see ``stainstream train teacher``.
    """
    methods: dict[str, Callable[[RGB8], RGB8]] = {}
    missing: dict[str, str] = {}
    notes: list[str] = []
    try:
        if chosen.generator:
            methods["StainGAN"] = stainnets.generator(data / chosen.generator, source.images.shape[1])
            notes.append(f"StainGAN: {Path(chosen.generator).name}")
        else:
            methods["StainGAN"], words = _trained(source, target, teacher)
            notes.append(f"StainGAN: {words}")
    except StainstreamError as error:
        missing["StainGAN"] = str(error)
    try:
        if chosen.model:
            place = data / chosen.model
            methods["StainNet"] = stainnets.given(str(place) if place.exists() else chosen.model)
            notes.append(f"StainNet: {Path(chosen.model).name}")
        else:
            if "StainGAN" not in methods:
                raise ModelError("no student", "there is no StainGAN to learn from")
            methods["StainNet"] = _taught(source, methods["StainGAN"], schedule)
            notes.append(f"StainNet: a student of that StainGAN, {schedule.steps} steps of the fast recipe")
    except StainstreamError as error:
        missing["StainNet"] = str(error)
    return Stains(methods, missing, notes)


def _trained(source: Cells, target: Cells, settings: dict[str, Any]) -> tuple[Callable[[RGB8], RGB8], str]:
    """A small StainGAN between two sets of cells."""
    if min(len(source), len(target)) < FEW:
        raise ModelError("no StainGAN", f"with {min(len(source), len(target))} images of a side, none is trained")
    stainnets.torch_there("cannot train a StainGAN")
    from stainstream.config import settings as checked
    from stainstream.training import teacher, tiles, translate
    from stainstream.training.export import read_weights
    from stainstream.training.ranks import joined
    from stainstream.training.run import Run, TeacherSettings

    sides = [tiles.Side((tuple(each.images),)) for each in (source, target)]
    run = Run(source=[], target=[], settings=checked(settings, TeacherSettings, "the teacher's settings"))
    with tempfile.TemporaryDirectory(prefix="stainstream") as folder, joined("auto") as ranks:
        run = teacher.train(run, sides[0], sides[1], Path(folder), ranks)
        network = read_weights(Path(folder) / run.generator)
    chosen = run.settings
    if chosen.collage > 1:
        rng = np.random.default_rng(chosen.seed)
        wide = (sides[0].tile(rng, 2 * chosen.tile, pieces=2 * chosen.collage) for _ in range(32))
        translate.steady(network, wide)
    words = f"{chosen.blocks} blocks of width {4 * chosen.filters}, {run.steps} steps, trained here"
    _log.info("StainGAN: %s, colors %s levels from the target's", words, run.distances[-1:] or "?")
    return lambda image: translate.translate(network, image, max(image.shape[:2])), words


def _taught(source: Cells, teacher: Callable[[RGB8], RGB8], schedule: stainnets.Schedule) -> Callable[[RGB8], RGB8]:
    from stainstream.training.distil import apply

    network = stainnets.teach([(image, teacher(image)) for image in source.images], schedule)
    return lambda image: apply(network, image)
