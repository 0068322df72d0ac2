"""Reinhard's transfer, against scikit-image's L*a*b* and plain NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import quantize
from stainstream.errors import FrameError
from stainstream.frame import RGB8
from stainstream.normalizers.base import Normalizer
from stainstream.normalizers.conventions import PROFILES, Conventions
from stainstream.normalizers.reinhard import Reinhard

from .conftest import Pair
from .tiles import LOW_TISSUE, demo, glass, mapped, restained, tile

skimage_color = pytest.importorskip("skimage.color")

PLAIN = Conventions(keep_glass=False)
"""The paper's equations over whole images, and nothing more."""


def _tissue(shape: tuple[int, ...], seed: int) -> RGB8:
    return np.random.default_rng(seed).integers(20, 180, shape, np.uint8)


def test_colors_are_moved_and_stretched_in_lab(shared: Path) -> None:
    source, target = tile(shared, 2), tile(shared, 4)
    moved = Reinhard.fit([source], [target], PLAIN)(source / 255.0)
    lab, goal = skimage_color.rgb2lab(source), skimage_color.rgb2lab(target)
    for k in range(3):
        lab[..., k] = (lab[..., k] - lab[..., k].mean()) / lab[..., k].std() * goal[..., k].std() + goal[..., k].mean()
    expected = skimage_color.lab2rgb(lab)
    # scikit-image clips colors that do not exist in a step before ours: compare those that do.
    inside = ((expected > 0) & (expected < 1)).all(axis=-1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(moved[inside], expected[inside], atol=1e-9)


def test_moving_to_itself_moves_nothing() -> None:
    image = _tissue((40, 50, 3), 0)
    np.testing.assert_array_equal(quantize(Reinhard.fit([image], [image], PLAIN)(image / 255.0)), image)


def test_it_is_a_normalizer_and_views_count_as_their_copies() -> None:
    image = _tissue((30, 20, 3), 1)
    fitted = Reinhard.fit([image], [image[::-1, ::2]])
    assert isinstance(fitted, Normalizer)
    assert fitted.name == "reinhard"
    colors = np.random.default_rng(0).random((4, 5, 3))
    again = Reinhard.fit([image[:, ::-1]], [image[::-1, ::2].copy()])
    np.testing.assert_allclose(fitted(colors), again(colors), atol=1e-12)


UNUSABLE: dict[str, list[RGB8]] = {
    "nothing": [],
    "glass": [np.full((8, 8, 3), 250, np.uint8)],
    "one pixel": [_tissue((1, 1, 3), 0)],
    "one color": [np.full((37, 41, 3), (120, 60, 90), np.uint8)],
    "another color": [np.full((37, 41, 3), (33, 7, 151), np.uint8)] * 3,
}


@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_side_of_which_nothing_can_be_learned_is_refused_by_name(kind: str, side: str) -> None:
    good, bad = [_tissue((20, 20, 3), 0)], UNUSABLE[kind]
    with pytest.raises(FrameError, match=side):
        Reinhard.fit(*((bad, good) if side == "source" else (good, bad)))


def test_it_is_staintools_to_the_bit(pair: Pair) -> None:
    staintools = pytest.importorskip(
        "staintools", reason="staintools is not installed: pip install --no-deps staintools"
    )
    source, target = pair
    theirs = staintools.ReinhardColorNormalizer()
    theirs.fit(target.copy())
    ours = mapped(Reinhard.fit(source, target, "staintools"), source)
    np.testing.assert_array_equal(ours, theirs.transform(source.copy()))


def test_it_is_torchstain_within_a_level(pair: Pair) -> None:
    normalizers = pytest.importorskip("torchstain").normalizers
    source, target = pair
    theirs = normalizers.ReinhardNormalizer(backend="numpy")
    theirs.fit(target)
    difference = np.abs(mapped(Reinhard.fit(source, target, PLAIN), source).astype(int) - theirs.normalize(source))
    assert difference.max() <= 1
    assert difference.mean() < 0.001


def test_without_tissue_only_glass_counts_and_with_it_it_does_not() -> None:
    tissue, target = demo(size=256), restained(demo(1, 1))
    half = np.vstack([tissue, glass()[:256, :256]])
    everything, alone = (PROFILES[name] for name in ("torchstain", "stream"))
    means = {only: [Reinhard.study(image, only).mean[0] for image in (tissue, half)] for only in (everything, alone)}
    assert means[everything][1] - means[everything][0] > 10
    assert means[alone][1] == pytest.approx(means[alone][0], abs=1e-9)
    one, other = (mapped(Reinhard.fit(image, target, alone), tissue) for image in (tissue, half))
    np.testing.assert_array_equal(one, other)


def test_a_single_image_is_learned_as_its_histogram_is() -> None:
    """StainTools' conventions take a shorter way for one image; it gives the same to the bit, and refuses the same."""
    settings = PROFILES["staintools"]
    for image in (demo(), demo(1, 3, 200), restained(demo(2, 2))[:77]):
        assert Reinhard.study(image, settings) == Reinhard.study(ColorCounts.of(image), settings)
    for image in (*LOW_TISSUE.values(), np.full((64, 64, 3), 90, np.uint8)):
        with pytest.raises(FrameError):
            Reinhard.study(image, settings)
        with pytest.raises(FrameError):
            Reinhard.study(ColorCounts.of(image), settings)
