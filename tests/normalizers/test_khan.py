"""Khan's method: its classifier, its splines, and what they do together."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stainstream.color.histogram import ColorCounts
from stainstream.color.survey import Palette
from stainstream.errors import FrameError
from stainstream.frame import RGB8
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.khan import Khan, _shipped, describe
from stainstream.normalizers.macenko import Macenko
from stainstream.normalizers.spline import Spline

from .conftest import Pair
from .tiles import demo, glass, mapped, restained

SETTINGS = msgspec.structs.replace(PROFILES["stream"], offset=0, white=255.0)
GLASS, HEMATOXYLIN, EOSIN, UNSURE = range(4)


def _classes(image: RGB8) -> dict[int, float]:
    """The share of each class."""
    counts = ColorCounts.of(image)
    classes = _shipped().classes(counts.colors, describe(counts.colors, counts.weights))
    return {each: counts.weights[classes == each].sum() / counts.weights.sum() for each in range(4)}


@pytest.mark.parametrize("stiffness", [0.0, 1.0, 1e5])
def test_the_spline_is_scipys(stiffness: float) -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    rng = np.random.default_rng(0)
    x = np.array([-100.0, *np.sort(rng.uniform(0, 255, 9)), 1000.0])
    y = x + rng.normal(0, 20, 11)
    at = np.linspace(-100, 1000, 400)
    if stiffness:
        theirs = interpolate.make_smoothing_spline(x, y, lam=stiffness)(at)
    else:
        theirs = interpolate.CubicSpline(x, y, bc_type="natural")(at)
    np.testing.assert_allclose(Spline.smooth(x, y, stiffness)(at), theirs, atol=1e-8)


def test_points_at_one_place_count_as_their_mean_with_their_weight() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    x, y = np.array([0.0, 1.0, 1.0, 2.0, 4.0, 5.0]), np.array([0.0, 1.0, 3.0, 2.0, 5.0, 4.0])
    theirs = interpolate.make_smoothing_spline([0, 1, 2, 4, 5], [0, 2, 2, 5, 4], w=[1, 2, 1, 1, 1], lam=0.5)
    at = np.linspace(0, 5, 50)
    np.testing.assert_allclose(Spline.smooth(x, y, 0.5)(at), theirs(at), atol=1e-9)


def test_the_classifier_knows_glass_from_either_stain() -> None:
    assert _classes(np.vstack([glass(), demo()]))[GLASS] > 0.5
    assert _classes(demo())[GLASS] < 0.2
    shares = _classes(demo(1, 1))
    assert min(shares[HEMATOXYLIN], shares[EOSIN]) > 0.02


def test_its_stains_are_hematoxylin_and_eosin(pair: Pair) -> None:
    for image in pair:
        hematoxylin, eosin = Khan.study(image, SETTINGS).stains
        assert hematoxylin[0] > eosin[0]  # absorbs more red
        assert min(hematoxylin[1], eosin[1]) > 0.6  # both absorb green most


def test_they_lie_between_macenkos(pair: Pair) -> None:
    for image in pair:
        outer, inner = (np.array(method.study(image, SETTINGS).stains) for method in (Macenko, Khan))
        assert inner[0] @ inner[1] > outer[0] @ outer[1]  # means of classes lie closer together than extremes


def test_colors_come_closer_to_the_target(pair: Pair) -> None:
    source, target = pair
    normalized = mapped(Khan.fit(source, target, SETTINGS), source)
    goal, before, after = (Palette.of(image) for image in (target, source, normalized))
    assert goal is not None
    assert before is not None
    assert after is not None
    assert after.distance(goal) < 0.7 * before.distance(goal)


def test_levels_keep_their_order(pair: Pair) -> None:
    fitted = Khan.fit(*pair, SETTINGS)
    for spline in fitted._splines:
        assert (np.diff(spline(np.linspace(0, 255, 500))) > 0).all()


def test_normalizing_to_itself_changes_nothing() -> None:
    image = demo(1, 2)
    difference = mapped(Khan.fit(image, image, SETTINGS), image).astype(int) - image
    assert np.abs(difference).max() <= 1


def test_an_image_of_one_stain_is_refused() -> None:
    rng = np.random.default_rng(0)
    amounts = rng.uniform(0.8, 2.0, (10_000, 1))
    image = np.rint(255 * np.exp(-amounts * [0.65, 0.70, 0.29])).astype(np.uint8).reshape(100, 100, 3)
    with pytest.raises(FrameError, match=r"cannot fit khan to the source: .*too little"):
        Khan.fit(image, restained(demo()))
