"""Miniature sets: tissue of three cases and its look under another scanner; cells of two centres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import stainstream as ss
from stainstream.frame import RGB8
from stainstream.tables.sets import CellSet, ImageSet


def look(image: RGB8) -> RGB8:
    """The other scanner: a smooth map of colors."""
    colors = (image / 255.0) ** [0.7, 0.9, 1.2] * [1.0, 0.95, 0.9]
    return np.rint(colors * 255).astype(np.uint8)


def save(path: Path, image: RGB8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))


@pytest.fixture(scope="session")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``source``, ``target`` and ``translated``, each with three cases of one tile; ``two``, two of them."""
    folder = tmp_path_factory.mktemp("tissue")
    with ss.open_source("demo?size=256x256&rate=0&frames=3") as source:
        for case, frame in zip("abc", source, strict=True):
            image = np.ascontiguousarray(frame.image)
            save(folder / "source" / case / "tile.png", image)
            save(folder / "target" / case / "tile.png", look(image))
            save(folder / "translated" / case / "tile.png", look(image))
            if case != "c":
                save(folder / "two" / "source" / case / "tile.png", image)
                save(folder / "two" / "target" / case / "tile.png", look(image))
    return folder


@pytest.fixture
def images() -> ImageSet:
    return ImageSet(name="mini", source="source", target="target", translated="translated", model="default")


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ours`` and ``theirs``: pale discs with a large dark core (positive) or a small one, 60 of each centre."""
    folder, rng = tmp_path_factory.mktemp("cells"), np.random.default_rng(0)
    for centre, tint in (("ours", (250, 235, 225)), ("theirs", (225, 240, 245))):
        for k in range(60):
            large = k % 2 == 0
            image = np.full((48, 48, 3), tint, np.uint8)
            cv2.circle(image, (24, 24), 20, (200, 150, 190), -1)
            cv2.circle(
                image, tuple(int(each) for each in rng.integers(20, 29, 2)), 13 if large else 4, (90, 50, 120), -1
            )
            noisy = np.clip(image + rng.integers(-6, 7, image.shape), 0, 255).astype(np.uint8)
            save(folder / centre / ("large" if large else "small") / f"{k // 6:03d}_{k % 6}.png", noisy)
    return folder


@pytest.fixture
def centres() -> CellSet:
    return CellSet(name="discs", train="ours", test="theirs", positive=["large"], model="default")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
