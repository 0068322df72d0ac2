"""Frames out of range."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import stainstream as ss
from stainstream.color.surveyor import of
from stainstream.frame import Frame, PixelFormat
from stainstream.model import find
from stainstream.stream.drift import Drift
from tests.normalizers.tiles import LOW_TISSUE, demo, restained

SURVEY = of([demo(row, column) for row in range(3) for column in range(4)])


def _frame(image: ss.RGB8, at: int = 0) -> Frame:
    return Frame(image, PixelFormat.RGB8, captured_ns=at)


def _see(drift: Drift, image: ss.RGB8, at: int = 0) -> dict[str, object]:
    return dict(drift.see(image, _frame(image, at)))


def test_usual_frames_pass_and_strange_ones_are_marked_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    drift, images = Drift(), [demo(1, 1), restained(demo(1, 1))]
    drift.know("toy", SURVEY)
    before = [image.copy() for image in images]
    with caplog.at_level(logging.WARNING):
        usual, strange = (_see(drift, image)["drift"] for image in images)
        for _ in range(4):
            _see(drift, images[1])
    assert isinstance(usual, dict)
    assert isinstance(strange, dict)
    assert not usual["out_of_range"]
    assert strange["out_of_range"]
    assert strange["distance"] > strange["limit"] == round(SURVEY.reach, 2) > usual["distance"]
    assert drift.counts == {"out of range": 5}
    (record,) = caplog.records  # not five of them
    assert f"{strange['distance']:.1f}" in record.getMessage()
    assert "toy" in record.getMessage()
    assert all((image == copy).all() for image, copy in zip(images, before, strict=True))


@pytest.mark.parametrize("name", LOW_TISSUE)
def test_without_tissue_nothing_is_said(name: str) -> None:
    drift = Drift()
    drift.know("toy", SURVEY)
    assert _see(drift, LOW_TISSUE[name]) == {}
    assert drift.counts == {}


def test_a_model_without_a_survey_is_compared_with_nothing() -> None:
    drift = Drift()
    assert _see(drift, demo()) == {}
    drift.know("toy", SURVEY)
    assert "drift" in _see(drift, demo())
    drift.know("other", None)
    assert _see(drift, demo()) == {}


def test_live_frames_that_follow_fast_are_taken_to_be_alike() -> None:
    drift, usual, strange = Drift(0.005), demo(1, 1), restained(demo(1, 1))
    drift.know("toy", SURVEY)
    marks = [_see(drift, image, at) for image, at in ((usual, 0), (strange, 4_000_000), (strange, 5_000_000))]
    assert [mark["drift"]["out_of_range"] for mark in marks] == [False, False, True]  # type: ignore[index]


@pytest.mark.parametrize("name", ["default", "he-reinhard"])
def test_shipped_models_know_their_scanners_and_warn_of_others(name: str) -> None:
    card = find(name).card
    assert card is not None
    survey = card.survey
    assert survey is not None
    assert survey.license == "CC0-1.0"
    # The default has seen four scanners: only what is far from all stands out, such as another stain's colors.
    green = np.ascontiguousarray(demo(1, 1)[..., [1, 0, 2]])
    strange = green if name == "default" else restained(restained(demo(1, 1)))
    own, other = survey.drift(demo(1, 1)), survey.drift(strange)
    assert own is not None
    assert other is not None
    assert own < survey.reach < other
