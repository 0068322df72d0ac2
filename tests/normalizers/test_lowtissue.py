"""Frames with little or no tissue, or a single stain: no method may raise, paint or give what is no number."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pytest

import stainstream as ss
from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import COLORS, bake, colors_of
from stainstream.errors import FrameError, MissingExtra
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.fitted import Fitted, enough_tissue, tissue_share
from stainstream.normalizers.macenko import Macenko
from stainstream.normalizers.reinhard import Reinhard

from .tiles import LOW_TISSUE, demo, glass, mapped, restained

METHODS = [row.name for row in TABLE]
KEEPING = [name for name, each in PROFILES.items() if each.keep_glass]


def _fitted(method: str, profile: str) -> Fitted[Any]:
    try:
        return TABLE[method].load().fit(demo(), restained(demo(1, 1)), profile)
    except MissingExtra as error:
        pytest.skip(str(error))


def _stained(vector: tuple[float, float, float]) -> RGB8:
    amounts = np.random.default_rng(0).uniform(0.3, 2.0, (256 * 256, 1))
    levels: RGB8 = np.rint(255 * np.exp(-amounts * np.array(vector))).astype(np.uint8)
    return levels.reshape(256, 256, 3)


SINGLE_STAIN = {"hematoxylin": _stained((0.65, 0.70, 0.29)), "eosin": _stained((0.07, 0.99, 0.11))}


def test_the_live_profiles_keep_glass_and_the_papers_does_not() -> None:
    assert KEEPING == ["torchstain", "stream"]


@pytest.mark.parametrize(("method", "profile"), [*product(METHODS, KEEPING)])
def test_glass_and_black_change_by_two_levels_at_most(method: str, profile: str) -> None:
    fitted = _fitted(method, profile)
    for name, frame in LOW_TISSUE.items():
        bare = (frame.min(axis=-1) > 230) | (frame.max(axis=-1) == 0)
        change = np.abs(mapped(fitted, frame).astype(int) - frame)[bare]
        assert change.size
        assert change.max() <= 2, name


@pytest.mark.parametrize("method", METHODS)
def test_glass_stays_glass_in_the_table_too(method: str) -> None:
    with ss.load(_fitted(method, "stream")) as normalize:
        for name, frame in LOW_TISSUE.items():
            bare = (frame.min(axis=-1) > 230) | (frame.max(axis=-1) == 0)
            assert np.abs(normalize(frame).astype(int) - frame)[bare].max() <= 2, name


@pytest.mark.parametrize(("method", "profile"), [*product(METHODS, PROFILES)])
def test_every_frame_gets_through(method: str, profile: str) -> None:
    fitted = _fitted(method, profile)
    for frame in (LOW_TISSUE | SINGLE_STAIN).values():
        assert np.isfinite(fitted(frame / 255.0)).all()


@pytest.mark.parametrize("method", METHODS)
def test_every_color_at_all_has_one_in_the_table(method: str) -> None:
    fitted = _fitted(method, "stream")
    lut = bake(fitted, fitted.name, fitted.rounding)  # refuses what is no number
    some = np.random.default_rng(0).integers(0, COLORS, 5000, np.uint32)
    np.testing.assert_array_equal(colors_of(lut.table[some]), mapped(fitted, colors_of(some)))


def test_a_stream_of_them_stays_as_it_is() -> None:
    with ss.load(_fitted("reinhard", "torchstain")) as normalize:
        for name in ("white", "glass", "black"):
            np.testing.assert_array_equal(normalize(LOW_TISSUE[name]), LOW_TISSUE[name])


@pytest.mark.parametrize(("method", "name", "side"), [*product(METHODS, LOW_TISSUE, ["source", "target"])])
def test_nothing_is_learned_from_them(method: str, name: str, side: str) -> None:
    good, bad = demo(size=256), LOW_TISSUE[name]
    kind = type(_fitted(method, "torchstain"))
    with pytest.raises(FrameError, match=rf"{method} to the {side}: 0\.\d\d % .* tissue, .* least_tissue asks for 1 %"):
        kind.fit(*((bad, good) if side == "source" else (good, bad)))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_running_estimate_is_told_to_wait(profile: str) -> None:
    settings = PROFILES[profile]
    for name, frame in LOW_TISSUE.items():
        assert not enough_tissue(ColorCounts.of(frame), settings), name
    assert enough_tissue(ColorCounts.of(demo()), settings)
    assert not enough_tissue(ColorCounts.gather([]), settings)


def test_the_threshold_is_a_setting() -> None:
    little = glass()
    little[:64, :128] = demo()[:64, :128]
    share = tissue_share(ColorCounts.of(little), PROFILES["stream"])
    assert 0.01 < share < 64 * 128 / 512**2
    strict = msgspec.structs.replace(PROFILES["stream"], least_tissue=0.05)
    assert Reinhard.fit(little, demo(), "stream").source.mean[0] < 80
    with pytest.raises(FrameError, match="asks for 5 %"):
        Reinhard.fit(little, demo(), strict)


@pytest.mark.parametrize(("method", "stain"), [*product(METHODS, SINGLE_STAIN)])
def test_a_single_stain_is_fitted_or_refused_but_never_gives_nan(method: str, stain: str) -> None:
    kind = type(_fitted(method, "torchstain"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            fitted = kind.fit(SINGLE_STAIN[stain], demo(size=256))
        except FrameError as error:
            assert "source" in str(error)  # noqa: PT017
        else:
            assert np.isfinite(fitted(SINGLE_STAIN[stain] / 255.0)).all()


def test_two_directions_of_one_stain_are_no_two_stains() -> None:
    image = np.array([[[120, 60, 90]], [[60, 15, 34]]], np.uint8).repeat(50, axis=1)  # the second is twice as dense
    with pytest.raises(FrameError, match="degrees apart"):
        Macenko.fit(image, demo())
