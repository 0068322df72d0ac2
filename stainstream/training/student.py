"""The student: from a teacher's pairs to a model folder that a stream can run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from stainstream.color.survey import Survey
from stainstream.color.surveyor import gather
from stainstream.config import Settings
from stainstream.errors import UsageError
from stainstream.frame import RGB8, Frame, PixelFormat
from stainstream.metrics import ssim_source
from stainstream.model import Card, Model
from stainstream.sinks.image import write_image

from .checkpoint import save
from .distil import Paper, Recipe, Shape, Tiles, apply, fit_fast, fit_paper, likeness
from .export import described, export
from .networks import StainNet
from .pairs import Pairs, cut, rest
from .report import Losses

__all__ = ["StudentSettings", "train", "white_shift"]

_log = logging.getLogger(__name__)

_SHOWN, _PREVIEW = 5, 256


class StudentSettings(Settings, frozen=True, kw_only=True):
    """What a student is, and how it learns."""

    recipe: Recipe
    shape: Shape = Shape()
    tile: int = 256
    """Height and width of the tiles in pixels: the test split is made of whole tiles."""
    held: float | None = None
    """Share of tiles that are for testing; by itself 0.3 in the paper's recipe, as its 966 of 3,223, and 0.1 in the
    fast one, which chooses nothing by them."""
    seed: int = 0


def train(pairs: Pairs, settings: StudentSettings, out: Path, card: Card, *, resume: bool = False) -> Model:
    """Train a student and write its model folder: network, card, preview, ``student.pth`` and the losses.

    Parameters
    ----------
    card
        What is known of it; method, metrics and date are filled in.

    Raises
    ------
    UsageError
        If there are too few tiles.
    ModelError
        If the folder cannot be written.
    """
    began = time.monotonic()
    held = settings.held if settings.held is not None else 0.3 if isinstance(settings.recipe, Paper) else 0.1
    tiles, tests = cut(pairs, settings.tile, settings.seed, held)
    _log.info("student: %d tiles to learn from, %d to test on, of %s", len(tiles), len(tests), pairs.teacher)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write into {out}", error.strerror or str(error)) from error
    if isinstance(settings.recipe, Paper):
        network = fit_paper(tiles, tests, settings.shape, settings.recipe, settings.seed, out, resume=resume)
    else:
        losses = Losses(out, 0)
        network = fit_fast(
            [*tiles, *rest(pairs, settings.tile)], settings.shape, settings.recipe, settings.seed, losses
        )
        losses.write()
        losses.draw()
    seconds = time.monotonic() - began
    save(out / "student.pth", network.state_dict())
    card = msgspec.structs.replace(
        card,
        method=f"{described(network)}, {_words(settings.recipe)} recipe, student of {pairs.teacher}",
        created=card.created or datetime.now(UTC).date().isoformat(),
        command=" && ".join(filter(None, (pairs.command, card.command))),
        metrics={**_metrics(network, tests), "training_s": round(seconds, 1)},
        survey=_survey(pairs.given, card),
    )
    model = export(network, out, card)
    _preview(out / "preview.jpg", network, pairs.given)
    return model


def white_shift(network: StainNet, darkest: int = 255) -> float:
    """By how many levels white, and grays from `darkest` on, are changed at most."""
    gray = np.arange(darkest, 256, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    image = np.ascontiguousarray(gray.repeat(9, axis=1).repeat(9, axis=0))
    return float(np.abs(apply(network, image).astype(int) - image)[4:-4, 4:-4].max())


def _metrics(network: StainNet, tests: Tiles) -> dict[str, float]:
    kept = [ssim_source(apply(network, given), given) for given, _ in tests]
    return {
        "psnr_to_teacher_db": round(likeness(network, tests), 2),
        "ssim_source": round(float(np.mean(kept)), 3),
        "white_shift_levels": white_shift(network),
        "glass_shift_levels": white_shift(network, 235),
    }


def _survey(images: Sequence[RGB8], card: Card) -> Survey | None:
    """What the model has seen, by which drift is measured."""
    _, survey = gather(images)
    return msgspec.structs.replace(survey, note=card.source, license=card.training_data) if survey else None


def _words(recipe: Recipe) -> str:
    return "the paper's" if isinstance(recipe, Paper) else "fast"


def _preview(path: Path, network: StainNet, images: Sequence[RGB8]) -> None:
    """Parts of some images above, what the student makes of them below."""
    chosen = [images[k] for k in np.linspace(0, len(images) - 1, min(_SHOWN, len(images))).astype(int)]
    size = min(_PREVIEW, *(min(image.shape[:2]) for image in chosen))
    before = np.ascontiguousarray(np.hstack([_middle(image, size) for image in chosen]))
    both = np.vstack([before, apply(network, before)])
    write_image(path, Frame(np.ascontiguousarray(both), PixelFormat.RGB8), quality=90)


def _middle(image: RGB8, size: int) -> RGB8:
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return image[top : top + size, left : left + size]
