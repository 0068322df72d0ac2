"""Students and their teachers: ``python benchmarks/training.py DATA RESULT.json [--teacher DIR ...] [--epochs N]``.

DATA holds mitos_aperio_hamamatsu/ (aperio/, hamamatsu/ and cyclegan_output/, a public CycleGAN's rendering of the first
as the second) and official_stainnet/ (the authors' checkpoints and a registered Pap pair). DIR is a folder of
``stainstream train teacher`` that saw cases 03, 05 and 07 only. The file is written anew after each part.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import torch

from stainstream.benchmark.rows import machine
from stainstream.color.lut import quantize
from stainstream.frame import RGB8
from stainstream.metrics import psnr, ssim, ssim_source
from stainstream.training import pairs as teachers
from stainstream.training.distil import Fast, Paper, Recipe, Shape, apply, fit_fast, fit_paper, likeness
from stainstream.training.export import read_weights
from stainstream.training.networks import StainNet
from stainstream.training.pairs import Pairs, cut, rest
from stainstream.training.run import command, read_run
from stainstream.training.student import white_shift
from stainstream.training.translate import tensor

MARGIN = slice(16, -32)  # what lies outside of the registered field is magenta
CASES = ("03", "05", "07", "10")
TESTED = "10"
TILE, SEED = 256, 0
TABLE_2 = Fast(steps=600, glass="none", bend=0.0, affine=0.0, rare=0.0)

Row = dict[str, Any]


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
    about = {"psnr_to_teacher_db": reached, "white_shift": white_shift(network), "seconds": seconds}
    return network, about | {"cpu_seconds": round(time.process_time() - used, 1)}


def recipes(mitos: Mitos, epochs: int) -> Iterator[Row]:
    """The fast recipe beside the paper's, of the same tiles."""
    for recipe in (Fast(), Paper(epochs=epochs)):
        network, about = student(mitos.pairs(others(TESTED)), recipe, held=0.3)
        words = f"paper, {epochs} of its 300 epochs" if isinstance(recipe, Paper) else f"fast, {recipe.steps} steps"
        row = {"recipe": words} | about | mitos.tested(apply(network, mitos.source[TESTED]))
        yield row | {"load": round(os.getloadavg()[0], 1)}


def splits(mitos: Mitos) -> Iterator[Row]:
    """Leave one case out: the input, the teacher itself and its student."""
    for case in CASES:
        yield {"method": "none"} | mitos.tested(mitos.source[case], case)
        yield {"method": "public CycleGAN"} | mitos.tested(mitos.translated[case], case)
        network, about = student(mitos.pairs(others(case)), Fast())
        yield {"method": "student"} | about | mitos.tested(apply(network, mitos.source[case]), case)


def table_2(mitos: Mitos) -> Iterator[Row]:
    """How many of three convolutions are 3x3; all learn by the same small schedule."""
    for count in range(4):
        network, about = student(mitos.pairs(others(TESTED)), TABLE_2, Shape(conv3x3=count), held=0.3)
        yield {"conv3x3": count} | about | mitos.tested(apply(network, mitos.source[TESTED]))


def official(mitos: Mitos, folder: Path) -> Iterator[Row]:
    """The authors' checkpoints through our network; levels are cut off as in their code."""
    pap, truth = (read(folder / f"cytology_{side}.png") for side in ("source", "target"))
    about = {"checkpoint": "cytopathology.pth", "tested": "official Pap pair"}
    yield about | measured(_truncated(folder / "cytopathology.pth", pap), pap, truth)
    about = {"checkpoint": "histopathology.pth"}
    yield about | mitos.tested(_truncated(folder / "histopathology.pth", mitos.source[TESTED]))


def _truncated(checkpoint: Path, image: RGB8) -> RGB8:
    with torch.inference_mode():
        values = read_weights(checkpoint)(tensor(image[None]))[0].permute(1, 2, 0).numpy()
    return quantize(values * 0.5 + 0.5, "truncate")


def own(mitos: Mitos, folder: Path) -> Iterator[Row]:
    """Our own teacher and its student, tested on the case that neither has seen."""
    run = read_run(folder)
    with tempfile.TemporaryDirectory() as place:
        seen, unseen = Path(place) / "seen", Path(place) / "unseen"
        for each in (seen, unseen):
            each.mkdir()
        for case in CASES:
            where = unseen if case == TESTED else seen  # the norms' statistics are of these images alone
            cv2.imwrite(str(where / f"{case}.png"), mitos.source[case][..., ::-1])
        pairs, shown = (teachers.of(str(folder), [each], [], TILE) for each in (seen, unseen))
    sides = ([f"{side}/{case}" for case in others(TESTED)] for side in ("aperio", "hamamatsu"))
    run = msgspec.structs.replace(run, source=next(sides), target=next(sides))
    about = {"teacher": pairs.teacher, "seconds": round(run.seconds), "command": command(run, Path("teacher"))}
    yield {"method": "teacher"} | about | mitos.tested(shown.wanted[0])
    network, reached = student(pairs, Fast())
    yield {"method": "student"} | reached | mitos.tested(apply(network, mitos.source[TESTED]))


def main() -> None:
    """Measure part by part; print and write each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        help="a folder of stainstream train teacher; repeat for several",
    )
    parser.add_argument("--epochs", type=int, default=300, help="of the paper's recipe")
    parser.add_argument(
        "--part", action="append", default=[], help="measure this part alone; the file keeps the others"
    )
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    mitos = Mitos(asked.data / "mitos_aperio_hamamatsu")
    parts = {
        "official": official(mitos, asked.data / "official_stainnet"),
        "splits": splits(mitos),
        "own_teachers": (row for each in asked.teacher for row in own(mitos, each)),
        "table_2": table_2(mitos),
        "recipes": recipes(mitos, asked.epochs),
    }
    content: Row = {"machine": machine(), "threads": torch.get_num_threads()}
    content["data"] = "MITOS-ATYPIA-14, registered; neither it nor what was trained on it is shipped"
    if asked.part:
        content = json.loads(asked.result.read_text(encoding="utf-8"))
    for name, rows in parts.items():
        if asked.part and name not in asked.part:
            continue
        content[name] = []
        for row in rows:
            print(name, *row.items(), sep="\t", flush=True)
            content[name].append(row)
            asked.result.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
