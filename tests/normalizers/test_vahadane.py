"""Vahadane's method, against others' solvers of the same problem."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy", reason="SciPy is not installed: pip install 'stainstream[classic]'")

from stainstream.color.histogram import ColorCounts
from stainstream.frame import RGB8
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.stains import Stains, as_rows, ordered
from stainstream.normalizers.vahadane import Vahadane

from .conftest import Pair
from .tiles import demo, mapped, restained

CONVENTIONS = PROFILES["staintools"]


def _angle(one: object, other: object) -> float:
    """The greater of the angles between two pairs of stains, in degrees."""
    cosines = np.sum(np.array(one) * np.array(other), axis=1)
    return float(np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))).max())


def _densities(image: RGB8) -> NDArray[np.float64]:
    """Of every pixel of tissue."""
    pixels = image.reshape(-1, 3)
    return np.asarray(CONVENTIONS.density(pixels[CONVENTIONS.is_tissue(pixels)]), np.float64)


def _spams(image: RGB8) -> NDArray[np.float64]:
    """The stains that SPAMS finds when it is given enough steps (StainTools gives it a second of the clock)."""
    spams = pytest.importorskip("spams", reason="SPAMS is not installed: pip install --no-deps spams-bin")
    settings = {"K": 2, "lambda1": 0.1, "mode": 2, "modeD": 0, "posAlpha": True, "posD": True, "iter": 5000}
    found = spams.trainDL(X=np.asfortranarray(_densities(image).T), verbose=False, **settings)
    return np.asarray(ordered(np.asarray(found).T), np.float64)


def test_its_stains_and_colors_are_those_of_spams(pair: Pair) -> None:
    source, target = pair
    ours = Vahadane.fit(source, target, "staintools")
    theirs = [_spams(image) for image in pair]
    assert _angle(ours.source.stains, theirs[0]) < 1
    assert _angle(ours.target.stains, theirs[1]) < 1
    sides = [
        Stains(stains=as_rows(stains), full=_full(image, stains)) for image, stains in zip(pair, theirs, strict=True)
    ]
    reference = Vahadane(sides[0], sides[1], CONVENTIONS)
    assert np.abs(mapped(ours, source).astype(int) - mapped(reference, source)).mean() <= 3


def _full(image: RGB8, stains: NDArray[np.float64]) -> tuple[float, float]:
    """The 99th percentile of SPAMS' own concentrations, over all pixels."""
    spams = pytest.importorskip("spams")
    density = np.asfortranarray(np.asarray(CONVENTIONS.density(image.reshape(-1, 3)), np.float64).T)
    amounts = spams.lasso(X=density, D=np.asfortranarray(stains.T), mode=2, lambda1=0.01, pos=True).toarray()
    first, second = np.percentile(amounts, 99, axis=1)
    return float(first), float(second)


def test_its_stains_are_those_of_scikit_learn() -> None:
    learning = pytest.importorskip("sklearn.decomposition")
    image = demo(size=256)
    some = np.random.default_rng(0).choice(_densities(image), 1500, replace=False)
    model = learning.DictionaryLearning(
        2,
        alpha=0.1,
        max_iter=100,
        tol=1e-10,
        fit_algorithm="cd",
        positive_code=True,
        positive_dict=True,
        dict_init=np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]]),
        code_init=np.ones((len(some), 2)),
        random_state=0,
    )
    theirs = ordered(model.fit(some).components_)
    ours = ordered(Vahadane.find(some, np.ones(len(some)), CONVENTIONS))
    assert _angle(ours, theirs) < 1


def test_it_finds_the_stains_that_made_an_image() -> None:
    rng = np.random.default_rng(0)
    made = np.array([[0.65, 0.70, 0.29], [0.15, 0.95, 0.26]])
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    amounts = rng.gamma(2.0, 0.7, (40_000, 2)) * (rng.random((40_000, 2)) < 0.6)  # sparse: often one stain only
    image = np.rint(255 * np.exp(-amounts @ made)).astype(np.uint8).reshape(200, 200, 3)
    assert _angle(Vahadane.study(image, CONVENTIONS).stains, made) < 3


def test_it_gives_the_same_every_time() -> None:
    image = demo(2, 2)
    halves = ColorCounts.of(image[256:], 1) + ColorCounts.of(image[:256], 1)
    assert Vahadane.study(halves, CONVENTIONS) == Vahadane.study(image, CONVENTIONS)
    one, other = (mapped(Vahadane.fit(image, restained(demo(3, 3))), image) for _ in range(2))
    np.testing.assert_array_equal(one, other)
