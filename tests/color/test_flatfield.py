"""Even light from a blank field."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stainstream.color.flatfield import CameraProfile, Correction, Field, measure, read, save
from stainstream.color.lut import quantize
from stainstream.errors import FrameError, UsageError
from stainstream.frame import RGB8
from tests.normalizers.tiles import demo

SIZE = (240, 320)


def light(height: int = SIZE[0], width: int = SIZE[1]) -> NDArray[np.float64]:
    """What a tilted, yellowish lamp behind a vignetting lens lets through: shape (height, width, 3), up to 0.9."""
    y, x = np.mgrid[:height, :width]
    away = ((x / width - 0.4) ** 2 + (y / height - 0.6) ** 2)[..., None]
    return np.asarray((0.9 - 0.8 * away) * [1.0, 0.95, 0.8])


def seen(scene: NDArray[np.float64], seed: int = 0) -> RGB8:
    """A scene in [0, 1] under that light, with a camera's noise."""
    noise = np.random.default_rng(seed).normal(0.0, 1.5 / 255, scene.shape)
    return quantize(scene * light(*scene.shape[:2]) + noise)


def blanks(count: int = 4) -> list[RGB8]:
    return [seen(np.ones((*SIZE, 3)), seed) for seed in range(count)]


@pytest.fixture(scope="module")
def profile() -> CameraProfile:
    return measure(blanks(), "toy")


def test_a_blank_field_becomes_white_and_even(profile: CameraProfile) -> None:
    blank = seen(np.ones((*SIZE, 3)), 99)
    even = Correction(profile)(blank, np.empty_like(blank)).astype(float)
    assert np.abs(even.mean(axis=(0, 1)) - profile.white).max() < 0.3
    corners = even.reshape(4, 60, 4, 80, 3).mean(axis=(1, 3))
    assert np.abs(corners - profile.white).max() < 1.0
    assert profile.uneven > 0.3
    assert profile.left < 0.02


def test_tissue_under_uneven_light_looks_as_under_even_light(profile: CameraProfile) -> None:
    scene = demo(size=320)[:240] / 255.0
    uneven = seen(scene, 5)
    corrected = Correction(profile)(uneven, np.empty_like(uneven))
    wanted = quantize(scene * profile.white / 255.0)
    before, after = (np.abs(each.astype(float) - wanted).mean() for each in (uneven, corrected))
    assert after < 2.0 < 20.0 < before


def test_it_is_to_the_bit_what_is_documented(profile: CameraProfile) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    gains = np.rint(profile.white / profile.blank.levels(*SIZE) * 2048) / 2048
    expected = quantize(frame / 255.0 * gains)
    np.testing.assert_array_equal(Correction(profile)(frame, np.empty_like(frame)), expected)
    np.testing.assert_array_equal(Correction(profile)(frame, frame), expected)  # in place


def test_a_profile_serves_other_sizes_of_the_same_shape_only(profile: CameraProfile) -> None:
    correct, half = Correction(profile), seen(np.ones((SIZE[0] // 2, SIZE[1] // 2, 3)))
    assert np.abs(correct(half, half).mean(axis=(0, 1)) - profile.white).max() < 0.5
    other = np.zeros((240, 240, 3), np.uint8)
    with pytest.raises(FrameError, match="another part of the sensor"):
        correct(other, other)


def test_dust_leaves_no_mark(profile: CameraProfile) -> None:
    dusty = blanks()
    for frame in dusty:
        frame[50:56, 100:106] = 40
    clean, dirty = profile.blank.levels(*SIZE), measure(dusty, "dusty").blank.levels(*SIZE)
    assert np.abs(dirty / clean - 1).max() < 0.02


REFUSED = {
    "nothing": ([], "there are no frames"),
    "tissue": ([demo(size=256) // 2 + 60], "it is not blank"),
    "saturated": ([np.full((64, 64, 3), 255, np.uint8)], "100.0 % of it is saturated"),
    "dark": ([np.full((64, 64, 3), 9, np.uint8)], "it is too dark"),
    "two sizes": ([np.full((64, 64, 3), 200, np.uint8), np.full((64, 48, 3), 200, np.uint8)], "differ in size"),
    "automatic exposure": (
        [np.full((64, 64, 3), level, np.uint8) for level in (200, 180)],
        "wanders from 180 to 200.*switch the camera's automatic exposure",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_blank_field_is_refused(case: str) -> None:
    frames, message = REFUSED[case]
    with pytest.raises(FrameError, match=message):
        measure(frames, "bad")


def test_a_small_frame_has_a_profile_too() -> None:
    small = np.full((5, 4, 3), 200, np.uint8)
    np.testing.assert_array_equal(Correction(measure([small], "small"))(small, np.empty_like(small)), 245)


Nodes = tuple[tuple[float, ...], ...]

_levels = st.floats(31, 255)
_nodes = st.integers(2, 5).flatmap(
    lambda columns: st.lists(
        st.lists(_levels, min_size=columns, max_size=columns).map(tuple), min_size=2, max_size=5
    ).map(tuple)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(red=_nodes, green=_nodes, blue=_nodes, name=st.text(), note=st.text())
def test_what_is_read_is_what_was_saved(
    tmp_path: Path, red: object, green: object, blue: object, name: str, note: str
) -> None:
    field = Field(red=red, green=green, blue=blue)  # type: ignore[arg-type]
    profile = CameraProfile(name=name, width=4, height=3, blank=field, note=note)
    save(tmp_path / "x.toml", profile)
    assert read(tmp_path / "x.toml") == profile


WRONG = {
    "an unknown key": (r"white = ", "whit = ", "whit: Object contains unknown field `whit`"),
    "out of range": (r"white = .*", "white = 300.0", "white: Expected `float` <= 255.0"),
    "a missing key": (r"width = .*\n", "", "width: Object missing required field `width`"),
    "text for a number": (r"frames = .*", 'frames = "x"', "frames: Expected `int`, got `str`"),
    "no level": (r"green = \[\n    \[\S+", "green = [\n    [0.0,", "[blank] green: Expected `float` > 0.0"),
    "too dark": (r"green = \[\n    \[\S+", "green = [\n    [1.0,", "blank: blank is too dark"),
    "a short row": (r"blue = \[\n    \[\S+", "blue = [\n    [", "[blank] blue: blue has rows of different lengths"),
    "no field": (r"\[blank\](.|\n)*", "", "blank: Object missing required field `blank`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_with_its_line_and_key(case: str, profile: CameraProfile, tmp_path: Path) -> None:
    pattern, replacement, message = WRONG[case]
    save(tmp_path / "bad.toml", profile)
    text, found = re.subn(pattern, replacement, (tmp_path / "bad.toml").read_text("utf-8"), count=1)
    assert found
    (tmp_path / "bad.toml").write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        read(tmp_path / "bad.toml")
    assert message in str(caught.value)
    line = re.search(r"bad\.toml, line (\d+):", str(caught.value))
    assert line is not None
    key = message.partition(":")[0].rpartition(" ")[2]
    if key in text:
        assert key in text.splitlines()[int(line[1]) - 1]
