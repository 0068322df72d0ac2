"""Profiles and the conventions they gather."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from stainstream.color.histogram import ColorCounts
from stainstream.errors import MissingExtra, UsageError
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE
from stainstream.normalizers.base import Normalizer
from stainstream.normalizers.conventions import PROFILES, Conventions, conventions, profile_of
from stainstream.normalizers.fitted import Fitted, Reference
from stainstream.normalizers.macenko import Macenko
from stainstream.normalizers.reinhard import Reinhard

from .tiles import demo, mapped, restained

METHODS = [row.name for row in TABLE]


def _method(name: str) -> type[Fitted[Any]]:
    try:
        return TABLE[name].load()
    except MissingExtra as error:
        pytest.skip(str(error))


def test_a_profile_is_found_by_its_name_and_by_what_it_says() -> None:
    for name, each in PROFILES.items():
        assert conventions(name) is each
        assert profile_of(each) == name
        assert profile_of(msgspec.structs.replace(each, least_tissue=0.3)) == name


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown profile 'spams': known are torchstain, staintools, stream"):
        Reinhard.fit(demo(), demo(), "spams")


@pytest.mark.parametrize("profile", PROFILES)
def test_density_and_color_undo_each_other(profile: str) -> None:
    settings = PROFILES[profile]
    levels = np.arange(1, 256)[:, None].repeat(3, axis=1)
    back = settings.color(settings.density(levels / 255.0)) * 255.0 - settings.offset
    np.testing.assert_allclose(back, levels, atol=1e-3)
    np.testing.assert_array_equal(settings.density(levels.astype(np.uint8)), settings.density(levels / 255.0))


def test_peers_densities_are_met() -> None:
    image: RGB8 = np.array([[0, 1, 2], [100, 240, 255]], np.uint8)
    torchstain = -np.log((image.astype(float) + 1) / 240)
    np.testing.assert_allclose(PROFILES["torchstain"].density(image), torchstain, atol=1e-12)
    staintools = np.maximum(-np.log(np.maximum(image, 1) / 255), 1e-6)
    np.testing.assert_allclose(PROFILES["staintools"].density(image), staintools, atol=1e-12)


def test_peers_masks_are_met() -> None:
    color = pytest.importorskip("cv2")
    image = demo(size=128)
    pixels = image.reshape(-1, 3)
    dense = ~np.any(-np.log((pixels.astype(float) + 1) / 240) < 0.15, axis=1)
    np.testing.assert_array_equal(PROFILES["torchstain"].is_tissue(pixels), dense)
    dark = color.cvtColor(image, color.COLOR_RGB2LAB)[:, :, 0] / 255.0 < 0.8
    np.testing.assert_array_equal(PROFILES["staintools"].is_tissue(pixels), dark.ravel())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_every_profile(method: str, profile: str) -> None:
    source, target = demo(size=256), restained(demo(size=256))
    fitted = _method(method).fit(source, target=target, profile=profile)
    assert isinstance(fitted, Normalizer)
    assert fitted.name == method
    assert fitted.rounding == PROFILES[profile].rounding
    before, after = (np.abs(image.astype(int) - target).mean() for image in (source, mapped(fitted, source)))
    assert after < 0.6 * before
    single = fitted(np.array([0.5, 0.3, 0.6]))
    np.testing.assert_allclose(single, fitted(np.array([[[0.5, 0.3, 0.6]]]))[0, 0])


@pytest.mark.parametrize("method", METHODS)
def test_statistics_of_halves_are_those_of_the_whole(method: str) -> None:
    frames = [demo(row, column, 256) for row in range(2) for column in range(3)]
    kind = _method(method)
    halves = ColorCounts.gather(frames[3:]) + ColorCounts.gather(frames[:3])
    for settings in PROFILES.values():
        assert kind.study(halves, settings) == kind.study(frames, settings)


def test_several_targets_count_equally() -> None:
    one, other = restained(demo(0, 0)), demo(1, 1, 256)
    mean = Reinhard.study([one, other], PROFILES["torchstain"]).mean
    means = [Reinhard.study(each, PROFILES["torchstain"]).mean for each in (one, other)]
    np.testing.assert_allclose(mean, np.mean(means, axis=0), rtol=1e-6)


def test_luminosity_is_standardized_like_staintools() -> None:
    staintools = pytest.importorskip("staintools", reason="staintools is not installed")
    source, target = demo(), restained(demo(2, 3))
    settings = msgspec.structs.replace(PROFILES["staintools"], standardize=95.0)
    bright = [staintools.LuminosityStandardizer.standardize(image.copy()) for image in (source, target)]
    theirs = staintools.ReinhardColorNormalizer()
    theirs.fit(bright[1])
    np.testing.assert_array_equal(mapped(Reinhard.fit(source, target, settings), source), theirs.transform(bright[0]))


def test_statistics_can_be_a_target() -> None:
    source, target = demo(), restained(demo(1, 1))
    fitted = Macenko.fit(source, target)
    assert Macenko.fit(source, fitted.target) == fitted
    with pytest.raises(UsageError, match="its target is LabStatistics, not Stains"):
        Macenko.fit(source, Reinhard.study(target, PROFILES["torchstain"]))  # type: ignore[arg-type]


def _reference(settings: Conventions) -> Reference:
    return Reference({"macenko": Macenko.study(restained(demo(1, 1)), settings)}, settings, "mine")


def test_a_reference_brings_its_conventions() -> None:
    reference = _reference(PROFILES["staintools"])
    assert Macenko.fit(demo(), reference) == Macenko.fit(demo(), restained(demo(1, 1)), "staintools")
    other = msgspec.structs.replace(PROFILES["staintools"], rounding="nearest", keep_glass=True)
    assert Macenko.fit(demo(), reference, other).conventions is other


def test_a_reference_for_others_is_refused() -> None:
    reference = _reference(PROFILES["staintools"])
    with pytest.raises(UsageError, match="'mine' for reinhard: it has statistics for macenko"):
        Reinhard.fit(demo(), reference)
    with pytest.raises(UsageError, match=r"other conventions \(.*white.*leave the profile out"):
        Macenko.fit(demo(), reference, "torchstain")
