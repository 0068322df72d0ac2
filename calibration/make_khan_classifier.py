"""Make stainstream/normalizers/khan_he.toml, the pixel classifier of Khan's method.

    python calibration/make_khan_classifier.py FOLDER ...

Each folder holds the tiles of one laboratory. Labels come from color deconvolution with stains that Macenko's method
finds in all tiles of the folder together: what is clearly one stain, and what is clearly glass. The shipped classifier
was made from CAMELYON17's five centers and CAMELYON16's RUMC and UMCU (CC0 1.0).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from stainstream.color.histogram import ColorCounts
from stainstream.color.spaces import rgb_to_lab
from stainstream.frame import RGB8
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.khan import Classifier, features
from stainstream.normalizers.macenko import Macenko
from stainstream.normalizers.stains import unmix
from stainstream.normalizers.store import lines

COLORS = 16  # in the palette
SAMPLES = 1000  # colors of a tile that are learned from
CLEAR_GLASS = 82.0  # L* above which nothing is stained
CLEAR_TISSUE = 78.0  # L* below which something is
CLEARLY_ONE = 0.75  # the share of one stain's concentration in both, each in units of what is full
GLASS, HEMATOXYLIN, EOSIN = range(3)
CONVENTIONS = PROFILES["staintools"]


@dataclass
class Tile:
    """Some colors of one tile that are clearly one thing."""

    counts: ColorCounts
    colors: RGB8
    labels: NDArray[np.intp]


def read(folder: Path) -> list[ColorCounts]:
    """The histograms of all images of a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".png", ".jpeg", ".jpg"})
    return [ColorCounts.of(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])) for path in paths]


def tiles(folder: Path, rng: np.random.Generator) -> list[Tile]:
    """Label colors of a folder's tiles."""
    images = read(folder)
    stains = Macenko.study(ColorCounts.gather(images), CONVENTIONS)
    return [label(counts, np.array(stains.stains), np.array(stains.full), rng) for counts in images]


def label(
    counts: ColorCounts, stains: NDArray[np.float64], full: NDArray[np.float64], rng: np.random.Generator
) -> Tile:
    """Draw colors of a tile, as often as they occur, and keep those that are clearly one thing."""
    colors = rng.choice(counts.colors, SAMPLES, p=counts.weights / counts.weights.sum())
    lightness = rgb_to_lab(colors / 255.0)[:, 0]
    amounts = unmix(CONVENTIONS.density(colors / 255.0), stains, CONVENTIONS) / full
    share = amounts[:, 0] / np.maximum(amounts.sum(axis=1), 1e-9)
    labels = np.full(SAMPLES, -1)
    labels[lightness > CLEAR_GLASS] = GLASS
    labels[(lightness < CLEAR_TISSUE) & (share > CLEARLY_ONE)] = HEMATOXYLIN
    labels[(lightness < CLEAR_TISSUE) & (share < 1 - CLEARLY_ONE)] = EOSIN
    return Tile(counts, colors[labels >= 0], labels[labels >= 0])


def describe(some: list[Tile]) -> tuple[Classifier, list[float]]:
    """A classifier that knows its descriptor only, and the descriptor of each tile."""
    colors = np.concatenate([tile.colors[tile.labels != GLASS] for tile in some])
    palette = KMeans(COLORS, random_state=0, n_init=3).fit(colors[::7].astype(float)).cluster_centers_.round(1)
    blank = Classifier(
        palette=[tuple(row) for row in palette.tolist()],
        usual=[0.0] * COLORS,
        direction=[0.0] * COLORS,
        glass=[0.0] * 14,
        hematoxylin=[0.0] * 14,
        eosin=[0.0] * 14,
    )
    histograms = np.array([histogram(blank, tile.counts) for tile in some])
    usual = histograms.mean(axis=0)
    _, _, directions = np.linalg.svd(histograms - usual, full_matrices=False)
    known = msgspec.structs.replace(blank, usual=rounded(usual), direction=rounded(directions[0]))
    return known, [tissue_descriptor(known, tile.counts) for tile in some]


def histogram(classifier: Classifier, counts: ColorCounts) -> list[float]:
    """The palette histogram of a tile's tissue: each bin is a descriptor along itself."""
    units = np.eye(COLORS).tolist()
    return [tissue_descriptor(msgspec.structs.replace(classifier, direction=unit), counts) for unit in units]


def tissue_descriptor(classifier: Classifier, counts: ColorCounts) -> float:
    """The descriptor of a tile's tissue."""
    tissue = CONVENTIONS.is_tissue(counts.colors)
    return classifier.descriptor(counts.colors[tissue], counts.weights[tissue])


def train(some: list[Tile]) -> Classifier:
    """Fit the classifier to tiles."""
    known, descriptors = describe(some)
    seen = np.concatenate([features(tile.colors, one) for tile, one in zip(some, descriptors, strict=True)])
    labels = np.concatenate([tile.labels for tile in some])
    model = LogisticRegression(C=10.0, solver="newton-cholesky", class_weight="balanced").fit(seen, labels)
    weights = model.coef_.copy()
    weights[:, 0] += model.intercept_
    glass, hematoxylin, eosin = (rounded(row) for row in weights)
    return msgspec.structs.replace(known, glass=glass, hematoxylin=hematoxylin, eosin=eosin)


def rounded(values: NDArray[np.float64]) -> list[float]:
    """Plain numbers of six digits."""
    return [float(f"{value:.6g}") for value in values]


def right(classifier: Classifier, some: list[Tile]) -> tuple[float, float]:
    """The shares of clear colors of which the classifier is sure, and right; and sure, and wrong."""
    found = [classifier.classes(tile.colors, tissue_descriptor(classifier, tile.counts)) for tile in some]
    classes, labels = np.concatenate(found), np.concatenate([tile.labels for tile in some])
    return float((classes == labels).mean()), float(((classes != labels) & (classes < 3)).mean())


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
