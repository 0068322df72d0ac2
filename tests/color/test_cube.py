"""``.cube`` files: read, written, interpolated, also by FFmpeg."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stainstream.color.cube import Cube
from stainstream.color.lut import Colors, quantize
from stainstream.errors import ModelError
from stainstream.frame import RGB8

RNG = np.random.default_rng(0)


def _bent(rgb: Colors) -> Colors:
    """A smooth map that mixes channels and leaves no axis alone."""
    mixed = rgb @ np.array([[0.7, 0.1, 0.0], [0.2, 0.6, 0.3], [0.0, 0.2, 0.7]])
    return np.asarray(0.05 + 0.9 * mixed**1.3)


def _cube(size: int, low: float = 0.0, high: float = 1.0) -> Cube:
    return Cube(RNG.random((size, size, size, 3)), "random", (low,) * 3, (high,) * 3)


def test_at_its_points_it_is_the_method_and_between_them_it_is_near() -> None:
    cube = Cube.sample(_bent, 17, "bent")
    axis = np.linspace(0, 1, 17)
    points = np.stack(np.meshgrid(axis, axis, axis), axis=-1)
    np.testing.assert_allclose(cube(points), _bent(points), atol=1e-12)
    colors = RNG.random((5000, 3))
    coarse, fine = (np.abs(Cube.sample(_bent, size, "")(colors) - _bent(colors)).max() for size in (9, 33))
    assert fine < coarse / 4 < 0.01


@pytest.mark.parametrize("shape", [(3,), (0, 3), (7, 3), (2, 4, 5, 3)])
def test_the_shape_stays(shape: tuple[int, ...]) -> None:
    colors = RNG.random(shape)
    assert _cube(4)(colors).shape == shape


def test_it_interpolates_as_scipy_does() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    cube, axis = _cube(6), np.linspace(0, 1, 6)
    colors = RNG.random((1000, 3))
    theirs = interpolate.RegularGridInterpolator((axis, axis, axis), cube.values)(colors)
    np.testing.assert_allclose(cube(colors), theirs, atol=1e-12)


def test_colors_beyond_the_domain_are_mapped_as_its_edge() -> None:
    cube = _cube(5, 0.25, 0.75)
    np.testing.assert_allclose(cube(np.array([0.0, 0.5, 1.0])), cube(np.array([0.25, 0.5, 0.75])))
    np.testing.assert_allclose(cube(np.array([0.25, 0.25, 0.75])), cube.values[0, 0, -1])


def test_red_changes_fastest_and_the_head_says_what_it_is() -> None:
    cube = Cube.sample(lambda rgb: rgb, 2, 'the "name"\nof it')
    text = cube.text(["made by\nhand"])
    head, rows = text.splitlines()[:5], text.splitlines()[5:]
    assert head == [
        "# made by hand",
        "TITLE \"the 'name' of it\"",
        "LUT_3D_SIZE 2",
        "DOMAIN_MIN 0.0000000 0.0000000 0.0000000",
        "DOMAIN_MAX 1.0000000 1.0000000 1.0000000",
    ]
    assert rows[:3] == [
        "0.0000000 0.0000000 0.0000000",
        "1.0000000 0.0000000 0.0000000",
        "0.0000000 1.0000000 0.0000000",
    ]
    assert len(rows) == 8


@settings(max_examples=50, deadline=None)
@given(
    size=st.integers(2, 6),
    seed=st.integers(0, 999),
    low=st.floats(-2, 0.4),
    name=st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters='"'), min_size=1, max_size=20),
    comment=st.text(max_size=40),
)
def test_what_is_written_is_read_again(size: int, seed: int, low: float, name: str, comment: str) -> None:
    values = np.random.default_rng(seed).uniform(-0.5, 1.5, (size, size, size, 3))
    again = Cube.parse(Cube(values, name, (low,) * 3, (0.9, 1.0, 2.0)).text([comment]), "file")
    np.testing.assert_allclose(again.values, values, atol=1e-7)
    np.testing.assert_allclose([again.low, again.high], [(low,) * 3, (0.9, 1.0, 2.0)], atol=1e-7)
    assert again.name == name


ROWS = "0 0 0\n" * 8


def test_other_programs_ways_to_write_are_read() -> None:
    cube = Cube.parse(
        f"\ufeff# a comment\r\n\r\nLUT_3D_SIZE   2\r\nLUT_3D_INPUT_RANGE 0 2\r\n{ROWS}# the end\r\n", "mine"
    )
    assert (cube.name, cube.size, cube.low, cube.high) == ("mine", 2, (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    rows = "1e-1 +.5 -0\n" * 8
    assert Cube.parse(f"LUT_3D_SIZE 2\n{rows}").values[1, 1, 1].tolist() == [0.1, 0.5, 0.0]


WRONG = {
    "nothing": ("", "there is no LUT_3D_SIZE"),
    "no size": (ROWS, "line 8 is wrong: there is no LUT_3D_SIZE"),
    "one dimension": ("LUT_1D_SIZE 8\n" + ROWS, "line 1 is wrong: it is a table of one dimension"),
    "a color too few": ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 7, "line 8 is wrong: there are 7 colors instead of 2^3 = 8"),
    "colors too many": ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 9, "there are 9 colors"),
    "a huge size": ("LUT_3D_SIZE 99999999999999999999\n" + ROWS, "line 1 is wrong: LUT_3D_SIZE is '999"),
    "size 1": ("LUT_3D_SIZE 1\n0 0 0\n", "not a number from 2 to 256"),
    "two numbers": ("LUT_3D_SIZE 2\n" + ROWS[:-6] + "0 0\n", "line 9 is wrong: '0 0' is not 3 numbers"),
    "a word": ("LUT_3D_SIZE 2\n" + ROWS[:-6] + "0 zero 0\n", "line 9 is wrong: '0 zero 0' is not 3 numbers"),
    "not a number": ("LUT_3D_SIZE 2\n" + ROWS[:-6] + "0 nan 0\n", "line 9 is wrong"),
    "infinite": ("LUT_3D_SIZE 2\n" + ROWS[:-6] + "0 1e999 0\n", "line 9 is wrong"),
    "an unknown keyword": ("LUT_4D_SIZE 2\n" + ROWS, "line 1 is wrong: unknown keyword 'LUT_4D_SIZE'"),
    "an empty domain": ("LUT_3D_SIZE 2\nDOMAIN_MAX 1 0 1\n" + ROWS, "line 2 is wrong: the domain from"),
    "a domain of two": ("LUT_3D_SIZE 2\nDOMAIN_MAX 1 1\n" + ROWS, "line 2 is wrong: '1 1' is not 3 numbers"),
}


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "wrong.cube"
    path.write_text(text)
    with pytest.raises(ModelError) as caught:
        Cube.read(path)
    assert str(caught.value).startswith(f"cannot use {path}: line ")
    assert reason in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text("LUT_3D_SIZE0123456789.- \n#eE", max_size=200)))
def test_whatever_a_file_holds_it_is_a_cube_or_refused(text: str) -> None:
    try:
        cube = Cube.parse(text)
    except ModelError:
        return
    assert np.isfinite(cube.values).all()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*none\.cube"):
        Cube.read(tmp_path / "none.cube")


@pytest.mark.parametrize("size", [1, 257])
def test_sizes_that_no_program_reads_are_refused(size: int) -> None:
    with pytest.raises(ModelError, match="from 2 to 256"):
        Cube.sample(_bent, size, "")


def test_a_method_that_gives_no_number_is_refused() -> None:
    with pytest.raises(ModelError, match="no number"):
        Cube.sample(lambda rgb: rgb / 0.0, 3, "broken")


def _ffmpeg() -> str:
    found = shutil.which("ffmpeg")
    return found or str(pytest.importorskip("imageio_ffmpeg", exc_type=ImportError).get_ffmpeg_exe())


def _filtered(program: str, folder: Path, rgb: RGB8, filters: str) -> NDArray[np.int64]:
    height, width = rgb.shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    command = [program, "-v", "error", *raw, "-s", f"{width}x{height}", "-i", "-", "-vf", filters, *raw, "-"]
    done = subprocess.run(command, input=rgb.tobytes(), cwd=folder, capture_output=True, check=True, timeout=60)
    return np.frombuffer(done.stdout, np.uint8).reshape(rgb.shape).astype(np.int64)


@pytest.mark.parametrize("size", [9, 33])
def test_ffmpeg_makes_the_same_of_it(tmp_path: Path, size: int) -> None:
    program = _ffmpeg()
    (tmp_path / "bent.cube").write_text(Cube.sample(_bent, size, "bent").text(["a comment"]))
    rgb = RNG.integers(0, 256, (64, 96, 3), np.uint8)
    ours = quantize(Cube.read(tmp_path / "bent.cube")(rgb / 255.0), "truncate").astype(int)  # as FFmpeg does
    off = np.abs(_filtered(program, tmp_path, rgb, "format=gbrp,lut3d=bent.cube:interp=trilinear") - ours)
    assert off.max() <= 1
    assert off.mean() < 1e-3
    assert np.abs(_filtered(program, tmp_path, rgb, "format=gbrp,lut3d=bent.cube") - ours).max() <= 2  # tetrahedral
