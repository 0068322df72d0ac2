"""Students and their teachers: ``python -m benchmarks.training DATA RESULT.json [--work DIR]``.

DATA holds mitos_aperio_hamamatsu/ (aperio/, hamamatsu/ and cyclegan_output/, a public CycleGAN's rendering of the first
as the second) and official_stainnet/ (the authors' checkpoints and a registered Pap pair). Teachers of our own are
trained on cases 03, 05 and 07 by ``stainstream train teacher``, whose exact commands stand in the file, and kept in
--work: the same command goes on from there. ``--teacher DIR``, repeated, measures teachers that exist instead. The file
is written anew after each row.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import msgspec
import torch

from benchmarks.mitos import CASES, TESTED, TILE, Mitos, Row, measured, others, read, student, write
from stainstream.benchmark.rows import machine
from stainstream.color.lut import quantize
from stainstream.frame import RGB8
from stainstream.training import pairs as teachers
from stainstream.training.distil import Fast, Paper, Shape, apply
from stainstream.training.export import read_weights
from stainstream.training.pairs import Pairs
from stainstream.training.run import RUN, Run, TeacherSettings, command, read_run
from stainstream.training.translate import tensor

TABLE_2 = Fast(steps=600, glass="none", bend=0.0, affine=0.0, rare=0.0)
SMALL = TeacherSettings(
    filters=8, blocks=2, critic_filters=16, critic_layers=2, tile=96, collage=3, identity=0.5, average=0.998,
    warmup=400, warmup_rate=2e-3, rate=4e-4, epochs=3, decay_epochs=3, epoch_steps=200,
)  # fmt: skip
OWN = {f"teacher-{seed}": msgspec.structs.replace(SMALL, seed=seed) for seed in (1, 2)}
OWN["teacher-longer"] = msgspec.structs.replace(SMALL, epochs=8, decay_epochs=8)
AFFINE = (Fast().affine, 0.3, 0.4, 0.5, 0.6)
HISTOPATHOLOGY = "histopathology.pth"


def recipes(mitos: Mitos, epochs: int) -> Iterator[Row]:
    """The fast recipe beside the paper's; students of the public CycleGAN, of the same tiles."""
    for recipe in (Fast(), Paper(epochs=epochs)):
        network, about = student(mitos.pairs(others(TESTED)), recipe, held=0.3)
        yield about | mitos.tested(apply(network, mitos.source[TESTED]))


def splits(mitos: Mitos) -> Iterator[Row]:
    """Leave one case out: the input, the public CycleGAN's output, and its student, which learned from the others."""
    for case in CASES:
        yield {"method": "none"} | mitos.tested(mitos.source[case], case)
        yield {"method": "public CycleGAN"} | mitos.tested(mitos.translated[case], case)
        network, about = student(mitos.pairs(others(case)), Fast())
        yield {"method": "student"} | about | mitos.tested(apply(network, mitos.source[case]), case)


def table_2(mitos: Mitos) -> Iterator[Row]:
    """How many of three convolutions are 3x3: students of the public CycleGAN, by L1, white not kept, one schedule."""
    for count in range(4):
        network, about = student(mitos.pairs(others(TESTED)), TABLE_2, Shape(conv3x3=count), held=0.3)
        yield {"conv3x3": count} | about | mitos.tested(apply(network, mitos.source[TESTED]))


def official(mitos: Mitos, folder: Path) -> Iterator[Row]:
    """The authors' checkpoints through our network; levels are cut off as in their code."""
    pap, truth = (read(folder / f"cytology_{side}.png") for side in ("source", "target"))
    about = {"checkpoint": "cytopathology.pth", "tested": "official Pap pair"}
    yield about | measured(truncated(folder / "cytopathology.pth", pap), pap, truth)
    for case in CASES:
        image = truncated(folder / HISTOPATHOLOGY, mitos.source[case])
        yield {"checkpoint": HISTOPATHOLOGY} | mitos.tested(image, case)


def truncated(checkpoint: Path, image: RGB8) -> RGB8:
    """What a checkpoint makes of an image, in the authors' rounding."""
    with torch.inference_mode():
        values = read_weights(checkpoint)(tensor(image[None]))[0].permute(1, 2, 0).numpy()
    return quantize(values * 0.5 + 0.5, "truncate")


@dataclass(frozen=True)
class Taught:
    """What one of our own teachers made of the cases."""

    name: str
    about: Row
    wanted: dict[str, RGB8]


def train(mitos: Mitos, name: str, settings: TeacherSettings, work: Path) -> Path:
    """Train a teacher of our own in `work`, by its command; one that is there goes on, or is done."""
    sides = {"aperio": mitos.source, "hamamatsu": mitos.truth}
    for side, images in sides.items():
        for case in others(TESTED):
            write(work / side / case / f"{case}.png", images[case])
    source, target = ([f"{side}/{case}" for case in others(TESTED)] for side in sides)
    _, *words = shlex.split(command(Run(source=source, target=target, settings=settings), Path(name)))
    if (work / name / RUN).is_file():
        words.append("--resume")
    single = os.environ | {"OMP_NUM_THREADS": "1"}  # a seed gives the same teacher, whatever is set
    subprocess.run([sys.executable, "-m", "stainstream", *words], cwd=work, env=single, check=True)
    return work / name


def taught(mitos: Mitos, folder: Path, how: str) -> Taught:
    """Let a teacher translate the cases, those it learned from by their common statistics, the tested by its own."""
    run = read_run(folder)
    wanted: dict[str, RGB8] = {}
    with tempfile.TemporaryDirectory() as place:
        for cases in (others(TESTED), [TESTED]):
            where = Path(place) / "-".join(cases)
            for case in cases:
                write(where / f"{case}.png", mitos.source[case])
            pairs = teachers.of([str(folder)], [where], [], TILE)
            wanted |= dict(zip(cases, pairs.wanted, strict=True))
    source, target = ([f"{side}/{case}" for case in others(TESTED)] for side in ("aperio", "hamamatsu"))
    done = command(msgspec.structs.replace(run, source=source, target=target), Path(folder.name))
    about = {"teacher": pairs.teacher, "trained": how, "seconds": round(run.seconds), "command": done}
    return Taught(folder.name, about, wanted)


def own(mitos: Mitos, given: Callable[[], list[Taught]]) -> Iterator[Row]:
    """Our own teachers, each with its student, tested on the case that neither has seen."""
    for each in given():
        yield {"method": "teacher", "name": each.name} | each.about | mitos.tested(each.wanted[TESTED])
        yield {"method": "student", "of": [each.name]} | learned(mitos, each.wanted, Fast())


def means(mitos: Mitos, given: Callable[[], list[Taught]], checkpoint: Path) -> Iterator[Row]:
    """Students of the mean of our first two teachers, first three, and so on, each time nearer to the affine map.

    A student is chosen, and is the last, when its SSIM Source on the cases learned from is at least the authors' there.
    """
    ours = given()
    goal = mitos.over(partial(truncated, checkpoint), others(TESTED))["ssim_source"]
    for count in range(2, len(ours) + 1):
        wanted = {case: teachers.mean([each.wanted[case] for each in ours[:count]]) for case in CASES}
        names = [each.name for each in ours[:count]]
        yield {"method": "mean of teachers", "of": names} | mitos.tested(wanted[TESTED])
        for affine in AFFINE:
            row: Row = {"method": "student", "of": names, "affine": affine} | learned(
                mitos, wanted, Fast(affine=affine)
            )
            chosen = row["on_learned"]["ssim_source"] >= goal
            yield row | {"ssim_source_asked_on_learned": goal, "chosen": chosen}
            if chosen:
                break


def learned(mitos: Mitos, wanted: dict[str, RGB8], recipe: Fast) -> Row:
    """A student of what was made of the other cases, on these and on the tested one."""
    seen = others(TESTED)
    pairs = Pairs([mitos.source[case] for case in seen], [wanted[case] for case in seen], "our own")
    network, reached = student(pairs, recipe)
    make = partial(apply, network)
    return reached | mitos.tested(make(mitos.source[TESTED])) | {"on_learned": mitos.over(make, seen)}


def teachers_of_ours(mitos: Mitos, folders: Sequence[Path], work: Path) -> list[Taught]:
    """Teachers that exist, or else those of `OWN`, trained now."""
    if folders:
        return [taught(mitos, each, "before; given with --teacher") for each in folders]
    return [
        taught(mitos, train(mitos, name, chosen, work), "by this run, on one thread") for name, chosen in OWN.items()
    ]


def arguments() -> argparse.Namespace:
    """What is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--work", type=Path, help="where our teachers are kept; by itself a folder that is deleted")
    parser.add_argument(
        "--teacher", type=Path, action="append", default=[], help="one that exists; repeat; then none is trained"
    )
    parser.add_argument("--epochs", type=int, default=Paper().epochs, help="of the paper's recipe")
    parser.add_argument("--part", action="append", default=[], help="measure it alone; the file keeps the others")
    return parser.parse_args()


def main() -> None:
    """Measure part by part; print and write each row."""
    asked = arguments()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    mitos = Mitos(asked.data / "mitos_aperio_hamamatsu")
    with tempfile.TemporaryDirectory() as place:
        measure(asked, mitos, (asked.work or Path(place)).resolve())


def measure(asked: argparse.Namespace, mitos: Mitos, work: Path) -> None:
    """All parts that are asked for."""
    given = cache(partial(teachers_of_ours, mitos, asked.teacher, work))
    parts = {
        "official": partial(official, mitos, asked.data / "official_stainnet"),
        "splits": partial(splits, mitos),
        "table_2": partial(table_2, mitos),
        "recipes": partial(recipes, mitos, asked.epochs),
        "own_teachers": partial(own, mitos, given),
        "means_of_teachers": partial(means, mitos, given, asked.data / "official_stainnet" / HISTOPATHOLOGY),
    }
    if unknown := set(asked.part) - set(parts):
        raise SystemExit(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    options = [f"--teacher {each.name}" for each in asked.teacher] + [f"--part {each}" for each in asked.part]
    content: Row = {}
    if asked.part and asked.result.exists():
        content = json.loads(asked.result.read_text(encoding="utf-8"))
    content["data"] = "MITOS-ATYPIA-14, registered; neither it nor what was trained on it is shipped"
    done = content.setdefault("done", {})
    for name, part in parts.items():
        if asked.part and name not in asked.part:
            continue
        began = datetime.now(UTC)
        content[name] = []
        for row in part():
            print(name, *row.items(), sep="\t", flush=True)
            content[name].append(row)
            done[name] = {
                "what": " ".join(str(part.func.__doc__).split()),
                "command": " ".join(["python -m benchmarks.training DATA RESULT.json", *options]),
                "date": began.date().isoformat(),
                "seconds": round((datetime.now(UTC) - began).total_seconds()),
                "threads": torch.get_num_threads(),
                "load": round(os.getloadavg()[0], 1),
                "machine": machine(),
            }
            asked.result.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
