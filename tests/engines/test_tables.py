"""What every table engine must do, whatever it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainstream.color.lut import COLORS, Lut
from stainstream.engines import Engine
from stainstream.errors import EngineError, FrameError
from stainstream.frame import RGB8
from stainstream.model import Network
from tests.engines.tables import EVERY, KINDS, looked_up, scrambled

GUARD = 128
LENGTHS = sorted(
    {1, 2, 3, 5}
    | {multiple + near for multiple in (8, 32, 64, 96, 256, 288, 512, 1024) for near in (-2, -1, 0, 1, 2, 7)}
)
BIG = (1 << 19) * 3  # pixels that `LutNumba` spreads over three threads


@pytest.fixture(scope="module")
def lut() -> Lut:
    return scrambled()


@pytest.fixture(scope="module", params=EVERY)
def engine(request: pytest.FixtureRequest, lut: Lut) -> Iterator[Engine]:
    with KINDS[request.param](lut, 3) as opened:
        yield opened


def _noise(shape: tuple[int, ...], seed: int = 0) -> RGB8:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _guarded(shape: tuple[int, ...], offset: int) -> tuple[RGB8, Callable[[], bool]]:
    """A buffer at an odd address, and whether the bytes around it are still what they were."""
    size = int(np.prod(shape))
    memory = np.full(size + 2 * GUARD + 64, 0xA5, np.uint8)
    start = GUARD + offset

    def untouched() -> bool:
        return bool((memory[:start] == 0xA5).all() and (memory[start + size :] == 0xA5).all())

    return memory[start : start + size].reshape(shape), untouched


@pytest.mark.parametrize("in_place", [False, True], ids=["apart", "in place"])
def test_every_length_around_a_blocks_border_writes_its_pixels_and_no_byte_more(
    engine: Engine, lut: Lut, in_place: bool
) -> None:
    for length in LENGTHS:
        for shape in ((1, length, 3), (length, 1, 3)):
            rgb = _noise(shape, length)
            out, untouched = _guarded(shape, length % 64)
            if in_place:
                out[...] = rgb
            expected = looked_up(lut, rgb)
            assert engine(out if in_place else rgb, out) is out
            assert np.array_equal(out, expected), shape
            assert untouched(), shape


VIEWS: dict[str, Callable[[RGB8], RGB8]] = {
    "as it is": lambda image: image,
    "flipped": lambda image: image[..., ::-1, :],
    "upside down": lambda image: image[..., ::-1, ::-1, :],
    "BGR": lambda image: image[..., ::-1],
    "every third column": lambda image: image.repeat(3, axis=-2)[..., ::3, :],
    "transposed": lambda image: np.ascontiguousarray(image.swapaxes(-2, -3)).swapaxes(-2, -3),
    "planar": lambda image: np.moveaxis(np.ascontiguousarray(np.moveaxis(image, -1, 0)), 0, -1),
    "cut out": lambda image: np.pad(image, [(0, 0)] * (image.ndim - 2) + [(1, 2), (0, 0)])[..., 1:-2, :],
    "Fortran": np.asfortranarray,
}
SHAPES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)),
    st.tuples(st.just(1), st.integers(1, 600), st.just(3)),
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 70), st.just(3)),
)


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, given_as=st.sampled_from(list(VIEWS)), taken_as=st.sampled_from([*VIEWS, "new", "in place"]))
def test_any_shape_and_any_view_in_and_out(
    engine: Engine, lut: Lut, shape: tuple[int, ...], given_as: str, taken_as: str
) -> None:
    rgb = VIEWS[given_as](_noise(shape))
    before = rgb.copy()
    if taken_as == "in place":
        assert engine(rgb, rgb) is rgb
        assert np.array_equal(rgb, looked_up(lut, before))
        return
    out = None if taken_as == "new" else VIEWS[taken_as](np.zeros(shape, np.uint8))
    result = engine(rgb, out)
    assert out is None or result is out
    assert result.dtype == np.uint8
    assert np.array_equal(result, looked_up(lut, before))
    assert np.array_equal(rgb, before)


@settings(max_examples=100, deadline=None)
@given(pixels=st.integers(1, 700), shift=st.integers(-400, 400))
def test_an_output_that_overlaps_the_input_is_still_right(engine: Engine, lut: Lut, pixels: int, shift: int) -> None:
    memory = _noise((3 * pixels + abs(shift),), pixels)
    first, second = (memory[at : at + 3 * pixels].reshape(1, pixels, 3) for at in (max(0, -shift), max(0, shift)))
    expected = looked_up(lut, first)
    beside = np.ones(memory.size, bool)
    beside[max(0, shift) : max(0, shift) + 3 * pixels] = False
    before = memory.copy()
    assert engine(first, second) is second
    assert np.array_equal(second, expected)
    assert np.array_equal(memory[beside], before[beside])


def test_an_output_that_is_the_input_mirrored_is_still_right(engine: Engine, lut: Lut) -> None:
    image = _noise((20, 30, 3))
    expected = looked_up(lut, image)
    mirrored = image[:, ::-1]
    assert engine(image, mirrored) is mirrored
    assert np.array_equal(mirrored, expected)


def test_a_read_only_input_is_read(engine: Engine, lut: Lut) -> None:
    image = _noise((9, 11, 3))
    image.flags.writeable = False
    assert np.array_equal(engine(image), looked_up(lut, image))


@pytest.mark.parametrize("pixels", [BIG - 1, BIG, BIG + 1, BIG + 2, 2 * (1 << 19), 2 * (1 << 19) + 1])
def test_a_frame_spread_over_threads_has_no_seams(engine: Engine, lut: Lut, pixels: int) -> None:
    rgb = _noise((1, pixels, 3))
    out, untouched = _guarded(rgb.shape, 1)
    expected = looked_up(lut, rgb)
    assert np.array_equal(engine(rgb, out), expected)
    assert untouched()
    assert np.array_equal(engine(rgb, rgb), expected)


def test_many_threads_may_call_at_once(engine: Engine, lut: Lut) -> None:
    shapes = [(64, 64, 3), (1, 1, 3), (33, 77, 3), (2, 40, 40, 3), (1, 1 << 20, 3), (1024, 1100, 3)]
    images = [_noise(shape, seed) for seed, shape in enumerate(shapes)]
    expected = [looked_up(lut, image) for image in images]
    barrier = threading.Barrier(8)

    def work(thread: int) -> bool:
        barrier.wait()
        return all(
            np.array_equal(engine(images[k % len(images)]), expected[k % len(images)])
            for k in range(thread, thread + 12)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


WRONG: dict[str, tuple[Any, str]] = {
    "float": (np.zeros((4, 4, 3), np.float32), "the image is float32: a uint8 array is needed"),
    "16 bits": (np.zeros((4, 4, 3), np.uint16), "the image is uint16"),
    "signed": (np.zeros((4, 4, 3), np.int8), "the image is int8"),
    "a list": ([[[0, 0, 0]]], "the image is list: a uint8 array is needed"),
    "None": (None, "the image is NoneType"),
    "gray": (np.zeros((4, 4), np.uint8), "the image has shape (4, 4): (height, width, 3)"),
    "one channel": (np.zeros((4, 4, 1), np.uint8), "the image has shape (4, 4, 1)"),
    "alpha": (np.zeros((4, 4, 4), np.uint8), "the image has shape (4, 4, 4)"),
    "planar": (np.zeros((3, 4, 4), np.uint8), "the image has shape (3, 4, 4)"),
    "5-D": (np.zeros((1, 1, 4, 4, 3), np.uint8), "the image has shape (1, 1, 4, 4, 3)"),
    "no rows": (np.zeros((0, 4, 3), np.uint8), "the image has shape (0, 4, 3)"),
    "no images": (np.zeros((0, 4, 4, 3), np.uint8), "the image has shape (0, 4, 4, 3)"),
    "a number": (np.uint8(3), "the image is uint8"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_image_is_refused(engine: Engine, kind: str) -> None:
    image, message = WRONG[kind]
    with pytest.raises(FrameError) as caught:
        engine(image)
    assert message in str(caught.value)


def _read_only() -> RGB8:
    out = np.zeros((4, 5, 3), np.uint8)
    out.flags.writeable = False
    return out


WRONG_OUT: dict[str, Any] = {
    "float": np.zeros((4, 5, 3), np.float32),
    "another shape": np.zeros((5, 4, 3), np.uint8),
    "a batch": np.zeros((1, 4, 5, 3), np.uint8),
    "bytes": bytearray(60),
    "read-only": _read_only(),
}


@pytest.mark.parametrize("kind", WRONG_OUT)
def test_a_wrong_output_is_refused_before_anything_is_written(engine: Engine, kind: str) -> None:
    with pytest.raises(FrameError, match="out "):
        engine(_noise((4, 5, 3)), WRONG_OUT[kind])
    assert not np.frombuffer(WRONG_OUT[kind], np.uint8).any()


@pytest.mark.parametrize("kind", EVERY)
def test_it_works_only_while_it_is_open(kind: str, lut: Lut) -> None:
    image = _noise((5, 7, 3))
    engine = KINDS[kind](lut, 2)
    with pytest.raises(EngineError, match="is closed: use it inside a with block"):
        engine(image)
    for _ in range(2):
        with engine:
            assert np.array_equal(engine(image), looked_up(lut, image))
        with pytest.raises(EngineError, match="is closed"):
            engine(image)


@pytest.mark.parametrize("kind", EVERY)
def test_closing_under_a_running_call_gives_the_right_frame_or_an_error(kind: str, lut: Lut) -> None:
    image = _noise((1, BIG, 3))
    expected = looked_up(lut, image)
    engine = KINDS[kind](lut, 3)

    def call(_: int) -> str:
        outcome = "right"
        while outcome == "right":
            try:
                outcome = "right" if np.array_equal(engine(image), expected) else "wrong"
            except EngineError:
                outcome = "closed"
        return outcome

    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            engine.open()
            running = [pool.submit(call, k) for k in range(4)]
            threading.Event().wait(0.05)
            engine.close()
            assert {each.result() for each in running} == {"closed"}


@pytest.mark.parametrize("kind", EVERY)
def test_a_network_is_refused_with_a_reason(kind: str, tmp_path: Path) -> None:
    network = Network(tmp_path / "a.onnx", "blur", "00")
    assert KINDS[kind].incompatible(network) == "it is not pixelwise, so it has no table"
    with pytest.raises(EngineError, match=r"engine \w+ cannot run 'blur': it is not pixelwise, so it has no table"):
        KINDS[kind](network)


@pytest.mark.parametrize("kind", EVERY)
def test_what_a_word_holds_beyond_its_three_bytes_does_not_count(kind: str, lut: Lut) -> None:
    dirty = Lut(lut.table | np.uint32(0xAB000000), "dirty")
    image = _noise((3, 400, 3))
    with KINDS[kind](dirty) as engine:
        assert np.array_equal(engine(image), looked_up(lut, image))


@pytest.mark.parametrize("kind", EVERY)
def test_a_table_may_be_a_view(kind: str, lut: Lut) -> None:
    wide = np.repeat(lut.table, 2)
    image = _noise((3, 400, 3))
    with KINDS[kind](Lut(wide[::2], "view")) as engine:
        assert np.array_equal(engine(image), looked_up(lut, image))


def test_the_table_is_not_changed(engine: Engine, lut: Lut) -> None:
    engine(_noise((40, 50, 3)))
    assert lut.table.shape == (COLORS,)
    assert Lut(lut.table, "again").digest == lut.digest
    assert engine.detail
