"""Table 3: a classifier of cells, trained on one centre and tested on the other."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec.structs import asdict

from stainstream.benchmark.rows import machine
from stainstream.config import Settings
from stainstream.errors import StainstreamError
from stainstream.frame import RGB8

from . import paper
from .cells import Cells, read_centre, split
from .cellstains import FEW, stains
from .figures import Table, TableRow
from .intervals import KEYS, classified
from .sets import CellSet
from .stainnets import Schedule, torch_there

if TYPE_CHECKING:
    from stainstream.training.augment import Experiment

__all__ = ["FULL_TEACHER", "SMALL_TEACHER", "CellOptions", "table3"]

_EXPERIMENTS: tuple[Experiment, ...] = ("E1", "E2", "E3")
_ORIGINAL, _OWN = "original", "held out, own centre"
_HELD, _STAINED = 0.2, 1 / 3  # shares: of the training centre for choosing the epoch, of the other for normalizers

SMALL_TEACHER: dict[str, Any] = {
    "filters": 8, "blocks": 2, "critic_filters": 16, "critic_layers": 2, "tile": 96, "collage": 3, "epochs": 5,
    "decay_epochs": 5, "epoch_steps": 120, "rate": 4e-4, "warmup": 300, "warmup_rate": 2e-3, "average": 0.99,
}  # fmt: skip
"""For two cores."""
FULL_TEACHER: dict[str, Any] = {"tile": 128}
"""StainGAN's schedule."""

_log = logging.getLogger(__name__)


class CellOptions(Settings, frozen=True, kw_only=True):
    """How table 3 is measured."""

    seeds: int = 3
    classifier: dict[str, Any] = {}  # noqa: RUF012 - a frozen struct copies it
    """What differs from the reduced setting; see `stainstream.training.classify.ClassifierSettings`."""
    full: bool = False
    """Whether everything is as large as the paper's; that wants a GPU."""
    weights: Path | None = None
    """ImageNet weights to begin with."""
    schedule: Schedule = Schedule()
    teacher: dict[str, Any] | None = None


def table3(chosen: Sequence[CellSet], data: Path, options: CellOptions) -> Table:
    """Train and test on every set; what cannot be is a row that says why."""
    rows: list[TableRow] = []
    notes = [
        "Mean over seeds; the interval is 95 % of a bootstrap over seeds and cluster images.",
        "The epoch is chosen on held-out cluster images of the training centre; the paper chose it on its test set.",
        "E1: no augmentation. E2: brightness, contrast, rotation. E3: and hematoxylin, eosin, DAB. As in section 4.2.",
    ]
    settings: dict[str, Any] = {}
    for each in chosen:
        try:
            torch_there("cannot train a classifier")
            settings = _settings(options)
            made, said = _set(each, data, options)
            rows += made
            notes += [f"{each.name}: {note}" for note in said]
        except StainstreamError as error:
            _log.warning("%s: %s", each.name, error)
            rows.append(TableRow(labels={"set": each.name, "experiment": "all", "images": "all"}, missing=str(error)))
    size = "The paper's" if options.full else "A reduced"
    words = ", ".join(f"{key} {value}" for key, value in settings.items())
    start = "weights of a file" if options.weights else "random weights: no ImageNet weights were given"
    return Table(
        name="table3",
        title="Table 3: a classifier of cells",
        columns=paper.columns(*KEYS),
        rows=rows,
        paper=paper.TABLE3,
        machine=machine(),
        settings={**settings, "seeds": options.seeds, "begins with": start},
        notes=[
            *notes,
            f"{size} setting: {words or 'nothing was trained'}; {start}.",
        ],
    )


def _settings(options: CellOptions) -> dict[str, Any]:
    from stainstream.training.classify import PAPER, REDUCED

    chosen = msgspec.structs.replace(PAPER if options.full else REDUCED, **options.classifier)
    return dict(asdict(chosen))


def _set(chosen: CellSet, data: Path, options: CellOptions) -> tuple[list[TableRow], list[str]]:
    from stainstream.config import settings as checked
    from stainstream.training.classify import ClassifierSettings

    settings = checked(_settings(options), ClassifierSettings, "the classifier's settings")
    size = max(128, settings.size)
    ours, theirs = (read_centre(data / side, chosen, size) for side in (chosen.train, chosen.test))
    learnt, held, how = split(ours, _HELD, 0)
    tested, seen, apart = (theirs, theirs, "none") if _all_given(chosen, theirs) else split(theirs, _STAINED, 0)
    notes = [
        f"{len(learnt)} cells to learn from and {len(held)} to choose the epoch on, parted {how}",
        f"{len(tested)} cells of the other to test on, "
        + ("all of it" if seen is tested else f"{len(seen)} for the normalizers, not their labels, {apart}"),
    ]
    teacher = options.teacher if options.teacher is not None else FULL_TEACHER if options.full else SMALL_TEACHER
    made = stains(chosen, data, seen, learnt, options.schedule, teacher)
    _log.info("%s: normalizing %d images", chosen.name, len(tested))
    sets = {_ORIGINAL: tested.images} | {
        name: np.stack([method(image) for image in tested.images]) for name, method in made.methods.items()
    }
    rows = list(_experiments(chosen, settings, (learnt, held, tested), sets, options))
    rows += [
        TableRow(labels={"set": chosen.name, "experiment": experiment, "images": name}, missing=reason)
        for experiment in _EXPERIMENTS
        for name, reason in made.missing.items()
    ]
    return sorted(rows, key=lambda row: row.labels["experiment"]), notes + made.notes


def _all_given(chosen: CellSet, theirs: Cells) -> bool:
    """Whether no normalizer learns from the test centre."""
    return bool(chosen.model) and bool(chosen.generator or len(theirs) < FEW)


def _experiments(
    chosen: CellSet, settings: Any, parts: tuple[Cells, Cells, Cells], sets: dict[str, RGB8], options: CellOptions
) -> Iterator[TableRow]:
    from stainstream.training.classify import positives, train

    learnt, held, tested = parts
    scaled = {name: _scaled(images, settings.size) for name, images in sets.items()}
    given, own = (_scaled(each.images, settings.size) for each in (learnt, held))
    for experiment in _EXPERIMENTS:
        called: dict[str, list[Any]] = {name: [] for name in [*scaled, _OWN]}
        for seed in range(options.seeds):
            _log.info("%s: %s, seed %d", chosen.name, experiment, seed)
            network = train((given, learnt.labels), (own, held.labels), experiment, settings, seed, options.weights)
            for name, images in scaled.items():
                called[name].append(positives(network, images))
            called[_OWN].append(positives(network, own))
        for name, found in called.items():
            cells = held if name == _OWN else tested
            yield TableRow(
                labels={"set": chosen.name, "experiment": experiment, "images": name},
                figures=classified(found, cells.labels, cells.clusters),
            )


def _scaled(images: RGB8, size: int) -> RGB8:
    import cv2

    if images.shape[1] == size:
        return images
    how = cv2.INTER_AREA if images.shape[1] > size else cv2.INTER_LINEAR
    return np.stack([np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8) for image in images])
