"""Which images belong together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from stainstream.errors import FrameError, SourceError, UsageError
from stainstream.evaluation.pairs import Crop, match


def _touch(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return str(folder)


def test_names_count_and_suffixes_do_not(tmp_path: Path) -> None:
    source = _touch(tmp_path / "s", "tile10.png", "tile2.png", "only here.png")
    target = _touch(tmp_path / "t", "tile2.jpg", "tile10.tif", "only there.png")
    matched = match(source, target, {})
    assert [pair.name for pair in matched.pairs] == ["tile2", "tile10"]
    assert matched.pairs[0].target == tmp_path / "t" / "tile2.jpg"
    assert [path.name for path in matched.alone] == ["only here.png", "only there.png"]


def test_a_result_must_be_there_as_well(tmp_path: Path) -> None:
    sides = [_touch(tmp_path / side, "a.png", "b.png") for side in "st"]
    matched = match(sides[0], sides[1], {"theirs": _touch(tmp_path / "r", "b.png")})
    (pair,) = matched.pairs
    assert pair.results == {"theirs": tmp_path / "r" / "b.png"}
    assert [path.name for path in matched.alone] == ["a.png", "a.png"]


def test_folders_in_folders_are_part_of_the_name(tmp_path: Path) -> None:
    sides = [_touch(tmp_path / side, "x/a.png", "y/a.png") for side in "st"]
    assert [pair.name for pair in match(sides[0], sides[1], {}, recursive=True).pairs] == ["x/a", "y/a"]


def test_two_files_are_a_pair_whatever_their_names(tmp_path: Path) -> None:
    _touch(tmp_path, "before.png", "after.jpg")
    (pair,) = match(str(tmp_path / "before.png"), str(tmp_path / "after.jpg"), {}).pairs
    assert (pair.name, pair.target.name) == ("before", "after.jpg")


def test_a_pattern_is_matched_by_names(tmp_path: Path) -> None:
    target = _touch(tmp_path / "t", "a1.png", "a2.png")
    _touch(tmp_path / "s", "a1.png", "b1.png")
    assert [pair.name for pair in match(f"{tmp_path}/s/a*.png", target, {}).pairs] == ["a1"]


def test_what_cannot_be_matched_is_refused(tmp_path: Path) -> None:
    one, other = _touch(tmp_path / "s", "a.png"), _touch(tmp_path / "t", "b.png")
    with pytest.raises(UsageError, match=r"no file's name occurs on all sides, for example .*a\.png and .*b\.png"):
        match(one, other, {})
    both = _touch(tmp_path / "u", "a.png", "a.jpg")
    with pytest.raises(UsageError, match=r"a\.(png|jpg) and .*a\.(png|jpg) differ in the suffix only"):
        match(both, one, {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="empty: the folder holds no images"):
        match(one, str(tmp_path / "empty"), {})


def test_a_crop_leaves_the_middle(tmp_path: Path) -> None:
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    np.testing.assert_array_equal(Crop(1, 2, 3, 1)(image), image[2:4, 1:4])
    np.testing.assert_array_equal(Crop()(image), image)
    for crop in (Crop(7), Crop(0, 3, 0, 2), Crop(99, 0, 99, 0), Crop(4, 0, 4, 0)):
        with pytest.raises(FrameError, match="nothing is left"):
            crop(image)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    (pair,) = match(str(tmp_path), str(tmp_path), {}, Crop(1, 2, 3, 1)).pairs
    np.testing.assert_array_equal(pair.read(pair.source), image[2:4, 1:4])


@pytest.mark.parametrize("text", ["", "16", "1,2,3", "1,2,3,4,5", "-1,0,0,0", "a,b,c,d", "1.5,0,0,0", "9999999,0,0,0"])
def test_a_crop_is_four_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="left,top,right,bottom"):
        Crop.parse(text)
