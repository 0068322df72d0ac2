"""``stainstream evaluate``: how near models come to a target, by the paper's measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT, EngineName, Threads

if TYPE_CHECKING:
    from stainstream.evaluation.evaluate import Evaluation, Method
    from stainstream.evaluation.pairs import Pair
    from stainstream.evaluation.sheet import Sheet

__all__ = ["evaluate"]


def evaluate(
    source: Annotated[str, typer.Option(help="Images to normalize: a folder, a quoted pattern, or one file.")],
    target: Annotated[
        str, typer.Option(help="The same places in the target's colors, registered, under the same file names.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A model's name, a model folder, an .onnx, .toml or .cube file; repeat for several.",
            show_default=f"{DEFAULT}, if there is nothing else to evaluate",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="A classic method (reinhard, macenko ...), fitted to both folders; repeat for several."),
    ] = None,
    profile: Annotated[str, typer.Option(help="Of the classic methods: torchstain, staintools or stream.")] = "stream",
    result: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="What other software made of the source; repeat for several."),
    ] = None,
    crop: Annotated[str, typer.Option(help="Pixels to leave out: left,top,right,bottom.")] = "0,0,0,0",
    out: Annotated[
        Path | None, typer.Option(help="A folder to write scores.csv, summary.csv and sheet.png into.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into folders' folders.")] = False,
    engine: EngineName = "auto",
    threads: Threads = None,
) -> None:
    """Measure SSIM GT, PSNR GT and SSIM Source as the paper does, and CIEDE2000, on pairs of registered images.

    Files are matched by their names without suffixes. Those without a counterpart, and pairs that cannot be read or
    compared, are named, counted and left out; the exit code is then 1.
    """
    from stainstream.evaluation.pairs import Crop, match
    from stainstream.evaluation.sheet import Sheet

    results = dict(_named(each) for each in result or ())
    models = model or ([] if method or results else [DEFAULT])
    matched = match(source, target, results, Crop.parse(crop), recursive=recursive)
    for path in matched.alone:
        typer.echo(f"stainstream: no counterpart: {path}", err=True)
    with ExitStack() as stack:
        methods = _methods(models, method or (), profile, matched.pairs, engine, threads, stack)
        sheet = Sheet() if out else None
        done = _measured(matched.pairs, methods, sheet)
    _print(done)
    if out and sheet:
        _write(done, sheet, out)
    if done.skipped or matched.alone:
        typer.echo(f"stainstream: {len(done.skipped)} pairs skipped, {len(matched.alone)} files alone", err=True)
        raise typer.Exit(1)


def _named(text: str) -> tuple[str, str]:
    from stainstream.errors import UsageError

    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise UsageError(f"cannot use --result {text!r}", "it is not NAME=DIR")
    return name, place


def _methods(
    models: Sequence[str],
    classic: Sequence[str],
    profile: str,
    pairs: Sequence[Pair],
    engine: str,
    threads: int | None,
    stack: ExitStack,
) -> Mapping[str, Method]:
    """Everything that runs, by the name of its row."""
    from stainstream.api import load
    from stainstream.evaluation.evaluate import fit

    methods: dict[str, Method] = {}
    for name in models:
        loaded = stack.enter_context(load(name, engine, threads))
        methods[loaded.artifact.name if loaded.artifact.name not in methods else name] = loaded
    for name in classic:
        fitted = fit(name, profile, pairs)
        methods[f"{name} ({profile})"] = stack.enter_context(load(fitted, "auto", threads))
    return methods


def _measured(pairs: Sequence[Pair], methods: Mapping[str, Method], sheet: Sheet | None) -> Evaluation:
    from rich.console import Console
    from rich.progress import Progress

    from stainstream.evaluation.evaluate import evaluate as measure

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating", total=len(pairs))
        return measure(pairs, methods, sheet, lambda count: bar.update(task, completed=count))


def _print(done: Evaluation) -> None:
    """Image by image, where there are several, and in the mean."""
    from stainstream.evaluation.scores import MEASURES, summaries

    rows = summaries(done.scores)
    wide = max(len(row.method) for row in rows)
    images = list(dict.fromkeys(score.image for score in done.scores))
    place = max(len(image) for image in [*images, f"mean of {len(images)}"])
    typer.echo(f"{'image':{place}}  {'method':{wide}}" + "".join(f"{measure.title:>18}" for measure in MEASURES))
    for score in done.scores if len(images) > 1 else ():
        _row(f"{score.image:{place}}  {score.method:{wide}}", score.values, [math.nan] * len(MEASURES))
    for row in rows:
        label = f"mean of {row.images}" if row.images > 1 else images[0]
        _row(f"{label:{place}}  {row.method:{wide}}", row.means, row.deviations)


def _row(label: str, means: Sequence[float], deviations: Sequence[float]) -> None:
    from stainstream.evaluation.scores import MEASURES

    for mean, deviation, measure in zip(means, deviations, MEASURES, strict=True):
        spread = "" if math.isnan(deviation) else f" +- {deviation:.{measure.digits}f}"
        label += f"{f'{mean:.{measure.digits}f}{spread}':>18}"
    typer.echo(label)


def _write(done: Evaluation, sheet: Sheet, folder: Path) -> None:
    from stainstream.errors import UsageError
    from stainstream.evaluation.scores import summaries, write_scores, write_summaries
    from stainstream.frame import Frame, PixelFormat
    from stainstream.sinks.image import write_image

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write into {folder}", error.strerror or str(error)) from error
    write_scores(folder / "scores.csv", done.scores)
    write_summaries(folder / "summary.csv", summaries(done.scores))
    write_image(folder / "sheet.png", Frame(sheet.image, PixelFormat.RGB8))
    typer.echo(f"wrote {folder / 'scores.csv'}, summary.csv and sheet.png")
