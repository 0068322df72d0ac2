"""What frames are, and how far others are from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stainstream.color.glance import glance
from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import quantize
from stainstream.color.spaces import lab_to_rgb, rgb_to_lab
from stainstream.color.survey import Palette
from stainstream.color.surveyor import gather
from stainstream.frame import RGB8
from tests.normalizers.tiles import LOW_TISSUE, demo, glass, restained, tile


def _shifted(image: RGB8, by: tuple[float, float, float]) -> RGB8:
    return quantize(lab_to_rgb(rgb_to_lab(image) + np.array(by)))


def test_the_distance_of_a_shift_is_the_color_difference() -> None:
    image = quantize(lab_to_rgb(np.random.default_rng(0).normal((50, 15, -15), (4, 4, 4), (200, 200, 3))))
    one, other = (Palette.of(ColorCounts.of(each)) for each in (image, _shifted(image, (3, -4, 0))))
    assert one is not None
    assert other is not None
    assert one.distance(other) == pytest.approx(5, abs=0.1)
    assert one.distance(one) == 0


def test_a_sample_says_what_the_whole_says() -> None:
    whole, sample = Palette.of(ColorCounts.of(demo(size=2048))), Palette.of(demo(size=2048))
    assert whole is not None
    assert sample is not None
    assert whole.distance(sample) < 1.5


@pytest.mark.parametrize("name", LOW_TISSUE)
def test_without_tissue_nothing_can_be_said(name: str) -> None:
    assert Palette.of(LOW_TISSUE[name]) is None


def test_glass_does_not_count() -> None:
    tissue = demo(size=256)
    alone, among = (Palette.of(ColorCounts.of(each)) for each in (tissue, np.vstack([tissue, glass()[:, :256]])))
    assert alone is not None
    assert among is not None
    assert alone.distance(among) < 1e-6


def test_frames_are_surveyed() -> None:
    frames = [demo(row, column) for row in range(2) for column in range(2)]
    counts, survey = gather([*frames, LOW_TISSUE["glass"], LOW_TISSUE["black"]])
    assert survey is not None
    assert (survey.frames, survey.skipped) == (4, 2)
    assert survey.palette == Palette.of(ColorCounts.gather(frames))
    np.testing.assert_array_equal(counts.words, ColorCounts.gather(frames).words)
    assert 0 < survey.spread <= survey.reach
    assert survey.converged < survey.reach


def test_more_frames_converge() -> None:
    frames = [demo(row, column, 256) for row in range(8) for column in range(8)]
    few, many = gather(frames[:2])[1], gather(frames)[1]
    assert few is not None
    assert many is not None
    assert many.converged < few.converged


def test_nothing_is_no_survey() -> None:
    assert gather([])[1] is None
    assert gather([LOW_TISSUE["blue pen"]])[1] is None


def test_a_frame_stained_otherwise_is_out_of_reach() -> None:
    survey = gather([demo(row, column) for row in range(3) for column in range(4)])[1]
    assert survey is not None
    usual, strange = survey.drift(demo(3, 1)), survey.drift(restained(demo(3, 1)))
    assert usual is not None
    assert strange is not None
    assert usual < 1.5 * survey.reach
    assert strange > 1.5 * survey.reach
    assert survey.drift(glass()) is None


def test_other_scanners_are_farther_away_than_ones_own(shared: Path) -> None:
    survey = gather(tile(shared, 2, k) for k in range(3))[1]
    assert survey is not None
    own, others = survey.drift(tile(shared, 2, 3)), [survey.drift(tile(shared, centre)) for centre in (0, 1, 3, 4)]
    assert own is not None
    assert all(other is not None and other > own for other in others)


@pytest.mark.parametrize("image", [demo(0, 0), demo(2, 3)[::-1, ::2], *LOW_TISSUE.values()])
def test_a_glance_sees_what_a_look_sees(image: RGB8) -> None:
    frame = image.view()
    frame.flags.writeable = False
    seen, palette = glance(frame, 16, 80.0, 0.01), Palette.of(np.ascontiguousarray(frame[8::16, 8::16]), 1 << 30)
    assert (seen is None) == (palette is None)
    if seen is not None and palette is not None:
        assert np.abs(np.subtract(seen, (palette.mean, palette.std))).max() < 0.01
