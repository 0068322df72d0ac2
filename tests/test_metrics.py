"""The measures, against scikit-image's and against published numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import stainstream.sources
from stainstream.errors import FrameError
from stainstream.frame import RGB8
from stainstream.metrics import delta_e, psnr, ssim, ssim_source

RANDOM = np.random.default_rng(0)


def _read(path: Path) -> RGB8:
    image = cv2.imread(str(path))
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1], np.uint8)


def _tissue() -> RGB8:
    return _read(Path(stainstream.sources.__path__[0]) / "tissue.jpg")[:300, :400].copy()


PAIRS: dict[str, tuple[RGB8, RGB8]] = {
    "tissue": (_tissue(), _tissue()[::-1].copy()),
    "noise": (RANDOM.integers(0, 256, (40, 61, 3), np.uint8), RANDOM.integers(0, 256, (40, 61, 3), np.uint8)),
    "equal": (_tissue(), _tissue()),
    "one window": (RANDOM.integers(0, 256, (11, 11, 3), np.uint8), RANDOM.integers(0, 256, (11, 11, 3), np.uint8)),
    "grays": (
        np.arange(256, dtype=np.uint8)[:, None, None].repeat(20, 1).repeat(3, 2),
        np.arange(256, dtype=np.uint8)[::-1, None, None].repeat(20, 1).repeat(3, 2),
    ),
}
WINDOW = {"win_size": 11, "gaussian_weights": True, "sigma": 1.5, "K1": 0.01, "K2": 0.03, "data_range": 255}


def _stretched(image: RGB8) -> NDArray[np.float64]:
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float64)
    return np.asarray((gray - gray.min()) / (gray.max() - gray.min()) * 255)


@pytest.mark.parametrize("name", PAIRS)
def test_measures_are_scikit_images(name: str) -> None:
    metrics, color = pytest.importorskip("skimage.metrics"), pytest.importorskip("skimage.color")
    one, other = PAIRS[name]
    assert ssim(one, other) == pytest.approx(metrics.structural_similarity(one, other, channel_axis=2, **WINDOW))
    theirs = metrics.structural_similarity(_stretched(one), _stretched(other), **WINDOW)
    assert ssim_source(one, other) == pytest.approx(theirs)
    if name != "equal":
        assert psnr(one, other) == pytest.approx(metrics.peak_signal_noise_ratio(one, other, data_range=255))
    difference: NDArray[Any] = color.deltaE_ciede2000(color.rgb2lab(one), color.rgb2lab(other))
    assert delta_e(one, other) == pytest.approx(difference.mean())


def test_equal_images_are_perfect() -> None:
    one, other = PAIRS["equal"]
    assert ssim(one, other) == pytest.approx(1)
    assert ssim_source(one, other) == pytest.approx(1)
    assert psnr(one, other) == float("inf")
    assert delta_e(one, other) == 0


def test_gray_values_that_are_stretched_do_not_count() -> None:
    image = _tissue()
    assert (
        ssim_source(image, (image // 2 + 60).astype(np.uint8)) > 0.98 > ssim(image, (image // 2 + 60).astype(np.uint8))
    )


def test_an_image_of_one_gray_is_like_no_tissue() -> None:
    flat = np.full((300, 400, 3), 128, np.uint8)
    assert ssim_source(flat, flat) == pytest.approx(1)
    assert 0 <= ssim_source(flat, _tissue()) < 0.5


@pytest.mark.parametrize("measure", [ssim, ssim_source, psnr, delta_e])
@pytest.mark.parametrize("shape", [(300, 399, 3), (300, 400), (0, 400, 3)])
def test_what_cannot_be_compared_is_refused(measure: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match="cannot compare"):
        measure(_tissue(), np.zeros(shape, np.uint8))


def test_the_papers_images_have_the_known_numbers(shared: Path) -> None:
    data = shared / "data"
    source, target = (_read(data / "official_stainnet" / f"cytology_{side}.png") for side in ("source", "target"))
    assert (round(psnr(source, target), 2), round(ssim(source, target), 3)) == (19.20, 0.789)
    assert round(delta_e(source, target), 2) == 7.67
    scanners = [data / "mitos_aperio_hamamatsu" / scanner / "10.png" for scanner in ("aperio", "hamamatsu")]
    aperio, hamamatsu = (_read(path)[16:-32, 16:-32] for path in scanners)
    assert (round(psnr(aperio, hamamatsu), 2), round(ssim(aperio, hamamatsu), 3)) == (22.84, 0.757)
