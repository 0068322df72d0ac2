"""Make stainstream/normalizers/khan_he.toml, the pixel classifier of Khan's method.

    python calibration/make_khan_classifier.py FOLDER ...

Each folder holds the tiles of one laboratory. Labels come from color deconvolution with stains that Macenko's method
finds in all tiles of the folder together: what is clearly one stain, and what is clearly glass. Each tile is also shown
as if it had been stained otherwise, its densities scaled at random, so that the classifier learns to go by the tile's
own descriptor. The shipped one was made from CAMELYON17's five centers and CAMELYON16's RUMC and UMCU (CC0 1.0).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import quantize
from stainstream.color.spaces import rgb_to_lab
from stainstream.frame import RGB8
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.khan import Classifier, describe, features
from stainstream.normalizers.macenko import Macenko
from stainstream.normalizers.stains import unmix
from stainstream.toml import lines

SAMPLES = 1000  # colors of a tile that are looked at
STAININGS = 4  # of a tile, besides its own
CLEAR_GLASS = 82.0  # L* above which nothing is stained
CLEAR_TISSUE = 78.0  # L* below which something is
CLEARLY_ONE = 0.75  # the share of one stain's concentration in both, each in units of what is full
GLASS, HEMATOXYLIN, EOSIN, UNCLEAR = range(4)
CONVENTIONS = PROFILES["staintools"]


@dataclass
class Tile:
    """Some colors of one tile, as often as they occur in it."""

    colors: RGB8
    labels: NDArray[np.intp]


def read(folder: Path) -> list[ColorCounts]:
    """The histograms of all images of a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".png", ".jpeg", ".jpg"})
    return [ColorCounts.of(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])) for path in paths]


def tiles(folder: Path, rng: np.random.Generator) -> list[Tile]:
    """Label colors of a folder's tiles, and restain them."""
    images = read(folder)
    stains = Macenko.study(ColorCounts.gather(images), CONVENTIONS)
    known = [label(counts, np.array(stains.stains), np.array(stains.full), rng) for counts in images]
    return known + [restained(tile, rng) for tile in known for _ in range(STAININGS)]


def label(
    counts: ColorCounts, stains: NDArray[np.float64], full: NDArray[np.float64], rng: np.random.Generator
) -> Tile:
    """Draw colors of a tile, and say what is clearly one thing."""
    colors = rng.choice(counts.colors, SAMPLES, p=counts.weights / counts.weights.sum())
    lightness = rgb_to_lab(colors)[:, 0]
    amounts = unmix(CONVENTIONS.density(colors), stains, CONVENTIONS) / full
    share = amounts[:, 0] / np.maximum(amounts.sum(axis=1), 1e-9)
    labels = np.full(SAMPLES, UNCLEAR)
    labels[lightness > CLEAR_GLASS] = GLASS
    labels[(lightness < CLEAR_TISSUE) & (share > CLEARLY_ONE)] = HEMATOXYLIN
    labels[(lightness < CLEAR_TISSUE) & (share < 1 - CLEARLY_ONE)] = EOSIN
    return Tile(colors, labels)


def restained(tile: Tile, rng: np.random.Generator) -> Tile:
    """The tile as another laboratory may have stained it."""
    power = np.exp(rng.uniform(-0.5, 0.5) + rng.uniform(-0.3, 0.3, 3))
    return Tile(quantize((tile.colors / 255.0) ** power), tile.labels)


def seen(some: list[Tile]) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
    """Features and labels of what is clear."""
    rows, labels = [], []
    for tile in some:
        clear = tile.labels != UNCLEAR
        rows.append(features(tile.colors[clear], describe(tile.colors, np.ones(SAMPLES))))
        labels.append(tile.labels[clear])
    return np.concatenate(rows), np.concatenate(labels)


def train(some: list[Tile]) -> Classifier:
    """Fit the classifier to tiles."""
    model = LogisticRegression(C=10.0, solver="newton-cholesky", class_weight="balanced").fit(*seen(some))
    weights = model.coef_.copy()
    weights[:, 0] += model.intercept_
    glass, hematoxylin, eosin = ([float(f"{value:.6g}") for value in row] for row in weights)
    return Classifier(glass=glass, hematoxylin=hematoxylin, eosin=eosin)


def right(classifier: Classifier, some: list[Tile]) -> tuple[float, float]:
    """The shares of clear colors of which the classifier is sure, and right; and sure, and wrong."""
    found = [classifier.classes(tile.colors, describe(tile.colors, np.ones(SAMPLES))) for tile in some]
    classes, labels = np.concatenate(found), np.concatenate([tile.labels for tile in some])
    clear, sure = labels != UNCLEAR, classes != UNCLEAR
    return float((classes == labels)[clear].mean()), float(((classes != labels) & sure)[clear].mean())


def main() -> None:
    """Train, see how it does on folders left out, and write."""
    rng = np.random.default_rng(0)
    folders = {path: tiles(path, rng) for path in map(Path, sys.argv[1:])}
    header = ["# Made by calibration/make_khan_classifier.py; see stainstream.normalizers.khan.Classifier.\n"]
    for out, some in folders.items():
        rest = [tile for path, others in folders.items() if path != out for tile in others]
        good, bad = right(train(rest), some)
        header.append(f"# {out.name} left out: sure and right {good:.4f}, sure and wrong {bad:.4f}\n")
    classifier = train([tile for some in folders.values() for tile in some])
    target = Path(__file__).parent.parent / "stainstream" / "normalizers" / "khan_he.toml"
    target.write_text("".join(header) + lines(msgspec.to_builtins(classifier)), encoding="utf-8")


if __name__ == "__main__":
    main()
