"""Reinhard's transfer, against scikit-image's L*a*b* and plain NumPy."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from stainstream.color.lut import quantize
from stainstream.errors import FrameError
from stainstream.frame import RGB8
from stainstream.normalizers.base import Normalizer
from stainstream.normalizers.reinhard import Reinhard

skimage_color = pytest.importorskip("skimage.color")


def _tile(shared: Path, centre: int) -> RGB8:
    path = sorted((shared / "data" / "camelyon17" / f"centre_{centre}").glob("*.png"))[0]
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def _tissue(shape: tuple[int, ...], seed: int) -> RGB8:
    return np.random.default_rng(seed).integers(20, 180, shape, np.uint8)


def test_the_statistics_are_those_of_the_tissue(shared: Path) -> None:
    source, target = [_tile(shared, 0), _tile(shared, 1)], [_tile(shared, 4)]
    fitted = Reinhard.fit(source, iter(target))
    for images, mean, std in (
        (source, fitted.source_mean, fitted.source_std),
        (target, fitted.target_mean, fitted.target_std),
    ):
        lab = np.concatenate([skimage_color.rgb2lab(image).reshape(-1, 3) for image in images])
        lab = lab[lab[:, 0] < 80]
        np.testing.assert_allclose(mean, lab.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(std, lab.std(axis=0), atol=1e-6)


def test_colors_are_moved_and_stretched_in_lab(shared: Path) -> None:
    tile = _tile(shared, 2)
    fitted = Reinhard.fit([tile], [_tile(shared, 4)])
    lab = skimage_color.rgb2lab(tile)
    for k in range(3):
        lab[..., k] = (lab[..., k] - fitted.source_mean[k]) / fitted.source_std[k]
        lab[..., k] = lab[..., k] * fitted.target_std[k] + fitted.target_mean[k]
    # scikit-image clips colors that do not exist in a step before ours: compare those that do.
    moved, expected = fitted(tile / 255.0), skimage_color.lab2rgb(lab)
    inside = ((expected > 0) & (expected < 1)).all(axis=-1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(moved[inside], expected[inside], atol=1e-9)


def test_moving_to_itself_moves_nothing() -> None:
    image = _tissue((40, 50, 3), 0)
    np.testing.assert_array_equal(quantize(Reinhard.fit([image], [image])(image / 255.0)), image)


def test_glass_does_not_count() -> None:
    tissue, glass = _tissue((40, 50, 3), 0), np.full((40, 50, 3), 240, np.uint8)
    assert Reinhard.fit([tissue, glass], [tissue]) == Reinhard.fit([tissue], [tissue])


def test_it_is_a_normalizer_and_batches_and_views_count_alike() -> None:
    images = _tissue((2, 30, 20, 3), 1)
    fitted = Reinhard.fit([images], [images[:, ::-1]])
    assert isinstance(fitted, Normalizer)
    assert fitted.name == "reinhard"
    np.testing.assert_allclose(fitted.source_mean, Reinhard.fit(list(images), [images]).source_mean)
    np.testing.assert_allclose(fitted.source_mean, fitted.target_mean)


GLASS = np.full((8, 8, 3), 250, np.uint8)
UNUSABLE = {
    "none": [],
    "glass": [GLASS],
    "one pixel": [_tissue((1, 1, 3), 0)],
    "one color": [np.full((37, 41, 3), (120, 60, 90), np.uint8)],
    "one color and glass": [np.full((37, 41, 3), (33, 7, 151), np.uint8), GLASS],
    "gray": [np.arange(180, dtype=np.uint8).reshape(12, 15, 1).repeat(3, axis=2)],
}


@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_side_without_tissue_is_refused_by_name(kind: str, side: str) -> None:
    good, bad = [_tissue((20, 20, 3), 0)], UNUSABLE[kind]
    with pytest.raises(FrameError, match=f"cannot take statistics of the {side}: "):
        Reinhard.fit(*((bad, good) if side == "source" else (good, bad)))
