"""Sources seen through a camera profile."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import stainstream as ss
from stainstream.color.flatfield import Correction, measure, read, save
from stainstream.errors import SourceError, UsageError
from tests.color.test_flatfield import blanks


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "toy.toml"
    save(path, measure(blanks(), "toy"))
    return path


def test_every_source_takes_a_profile(profile: Path) -> None:
    correct = Correction(read(profile))
    with (
        ss.open_source("demo?size=320x240&rate=0&frames=3") as plain,
        ss.open_source(f"demo?size=320x240&rate=0&frames=3&profile={profile}") as profiled,
    ):
        for before, after in zip(plain, profiled, strict=True):
            assert (after.seq, after.meta["x"], after.meta["camera_profile"]) == (before.seq, before.meta["x"], "toy")
            np.testing.assert_array_equal(after.image, correct(before.image, before.image))


def test_pixels_that_a_source_still_needs_are_left_alone(profile: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), blanks(1)[0][..., ::-1])
    with ss.open_source(f"{tmp_path / 'a.png'}?loop=1&profile={profile}") as source:
        frames = iter(source)
        images = [next(frames).image for _ in range(3)]
        source.stop()
    for image in images:
        np.testing.assert_array_equal(image, images[0])
    assert abs(float(images[0].mean()) - 245) < 1


def test_counters_and_abilities_are_the_sources_own(profile: Path, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "2.png"), blanks(1)[0])
    source = ss.open_source(f"{tmp_path}?profile={profile}")
    memory = ss.open_sink("memory")
    report = ss.Pipeline(source, None, {"memory": memory}, policy="lossless").run()
    assert source.waits
    assert report.rejected == {"unreadable image": 1}
    assert report.delivered == 1
    assert report.lost == 0
    with pytest.raises(AttributeError, match="no_such_thing"):
        source.no_such_thing  # type: ignore[attr-defined]  # noqa: B018


def test_frames_of_another_shape_end_the_stream_with_the_reason(profile: Path) -> None:
    with (
        ss.open_source(f"demo?size=64x64&profile={profile}") as source,
        pytest.raises(SourceError, match="another part"),
    ):
        next(iter(source))


def test_a_profile_that_is_missing_or_wrong_is_refused(profile: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none\.toml"):
        ss.open_source(f"demo?profile={tmp_path / 'none.toml'}")
    text = profile.read_text("utf-8").replace("white", "wite")
    (tmp_path / "bad.toml").write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"bad\.toml, line 3: wite: .*unknown field"):
        ss.open_source(f"camera0?profile={tmp_path / 'bad.toml'}")
