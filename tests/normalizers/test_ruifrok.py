"""Ruifrok and Johnston's deconvolution, against scikit-image's."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.ruifrok import EOSIN, HEMATOXYLIN, Ruifrok
from stainstream.normalizers.stains import unmix

from .tiles import demo, mapped, restained

SETTINGS = msgspec.structs.replace(PROFILES["stream"], offset=0, white=255.0, keep_glass=False)


def test_its_stains_are_scikit_images() -> None:
    color = pytest.importorskip("skimage.color")
    np.testing.assert_array_equal(color.rgb_from_hed[:2], [HEMATOXYLIN, EOSIN])
    norms = [np.linalg.norm(each) for each in (HEMATOXYLIN, EOSIN)]
    found = np.array(Ruifrok.study(demo(), SETTINGS).stains)
    np.testing.assert_allclose(found * np.array(norms)[:, None], [HEMATOXYLIN, EOSIN], atol=1e-12)


def test_amounts_are_scikit_images_where_there_is_no_third_stain() -> None:
    color = pytest.importorskip("skimage.color")
    amounts = np.random.default_rng(0).uniform(0.05, 0.6, (50, 2))
    stains = np.array(Ruifrok.study(demo(), SETTINGS).stains)
    image = np.exp(-amounts @ stains)
    matrix = np.linalg.inv(np.vstack([stains, np.cross(*stains)]))
    theirs = color.separate_stains(image[None], matrix)[0, :, :2] * np.log(1e6)  # it counts in units of ln(1e-6)
    np.testing.assert_allclose(unmix(SETTINGS.density(image), stains, SETTINGS), amounts, atol=1e-9)
    np.testing.assert_allclose(theirs, amounts, atol=1e-9)


def test_the_targets_amount_of_each_stain_is_taken_over() -> None:
    source, target = demo(), restained(demo(1, 1))
    normalized = mapped(Ruifrok.fit(source, target, SETTINGS), source)
    np.testing.assert_allclose(
        Ruifrok.study(normalized, SETTINGS).full, Ruifrok.study(target, SETTINGS).full, rtol=0.05
    )
