"""The registered MITOS cases, and students that learn on them: what ``benchmarks/training.py`` measures with."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from stainstream.frame import RGB8
from stainstream.metrics import psnr, ssim, ssim_source
from stainstream.training.distil import Paper, Recipe, Shape, fit_fast, fit_paper, likeness
from stainstream.training.networks import StainNet
from stainstream.training.pairs import Pairs, cut, rest
from stainstream.training.student import white_shift

MARGIN = slice(16, -32)  # what lies outside of the registered field is magenta
CASES = ("03", "05", "07", "10")
TESTED = "10"
TILE, SEED = 256, 0

Row: TypeAlias = dict[str, Any]


def write(path: Path, image: RGB8) -> None:
    """Write an image, RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1]), path


def read(path: Path, place: slice = slice(None)) -> RGB8:
    """An image, RGB."""
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.ascontiguousarray(image[place, place, ::-1])


def measured(image: RGB8, source: RGB8, truth: RGB8) -> Row:
    """The paper's three measures."""
    values = {
        "ssim_gt": ssim(image, truth),
        "psnr_gt_db": psnr(image, truth),
        "ssim_source": ssim_source(image, source),
    }
    return {name: round(value, 4) for name, value in values.items()}


class Mitos:
    """The registered cases: before, after, and what the CycleGAN made of them."""

    def __init__(self, folder: Path) -> None:
        sides = ("aperio", "hamamatsu", "cyclegan_output")
        self.source, self.truth, self.translated = (
            {case: read(folder / side / f"{case}.png", MARGIN) for case in CASES} for side in sides
        )

    def pairs(self, cases: Sequence[str]) -> Pairs:
        """What a student of the CycleGAN learns from."""
        given, wanted = ([side[case] for case in cases] for side in (self.source, self.translated))
        return Pairs(given, wanted, "the public CycleGAN's output")

    def tested(self, image: RGB8, case: str = TESTED) -> Row:
        """The measures of what became of a case."""
        return {"tested": case} | measured(image, self.source[case], self.truth[case])

    def over(self, make: Callable[[RGB8], RGB8], cases: Sequence[str]) -> Row:
        """The mean measures of what `make` makes of several cases."""
        rows = [measured(make(self.source[case]), self.source[case], self.truth[case]) for case in cases]
        return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def others(case: str) -> list[str]:
    """The cases to train on."""
    return [each for each in CASES if each != case]


def student(pairs: Pairs, recipe: Recipe, shape: Shape = Shape(), held: float = 0.1) -> tuple[StainNet, Row]:  # noqa: B008
    """A student as ``stainstream train student`` makes it, and how close it comes to its teacher, in what time."""
    began, used = time.monotonic(), time.process_time()
    tiles, tests = cut(pairs, TILE, SEED, held)
    if isinstance(recipe, Paper):
        with tempfile.TemporaryDirectory() as place:
            network = fit_paper(tiles, tests, shape, recipe, SEED, Path(place))
    else:
        network = fit_fast([*tiles, *rest(pairs, TILE)], shape, recipe, SEED)
    seconds = round(time.monotonic() - began, 1)
    reached = round(likeness(network, tests), 3)
    words = f"paper, {recipe.epochs} of 300 epochs" if isinstance(recipe, Paper) else f"fast, {recipe.steps} steps"
    about = {"recipe": words, "psnr_to_teacher_db": reached, "white_shift": white_shift(network), "seconds": seconds}
    spent = round(time.process_time() - used, 1)
    return network, about | {"cpu_seconds": spent, "load": round(os.getloadavg()[0], 1)}
