"""Buffers that are used again, but never while somebody looks at them."""

from __future__ import annotations

import numpy as np
import pytest

from stainstream.frame import RGB8
from stainstream.stream.pool import Pool


def test_a_buffer_comes_back_when_nobody_holds_it() -> None:
    pool = Pool()
    address = pool.take(4, 5).ctypes.data
    assert pool.take(4, 5).ctypes.data == address


@pytest.mark.parametrize(
    "hold",
    [
        lambda image: image,
        lambda image: image[1:, ::2],
        lambda image: image.reshape(-1),
        memoryview,
        lambda image: memoryview(image)[1:],
        lambda image: np.asarray(memoryview(image[2:])),
        lambda image: image[0].view(np.uint8),
    ],
    ids=["itself", "view", "reshaped", "memoryview", "slice", "array of a memoryview", "row"],
)
def test_a_buffer_stays_away_while_anything_refers_to_it(hold: object) -> None:
    assert callable(hold)
    pool = Pool()
    held = hold(pool.take(4, 6))
    address = pool._buffers[0].ctypes.data
    for _ in range(5):
        assert pool.take(4, 6).ctypes.data != address
    del held
    assert address in {image.ctypes.data for image in (pool.take(4, 6), pool.take(4, 6))} | {
        pool.take(4, 6).ctypes.data
    }


def test_more_than_the_limit_is_lent_but_not_kept() -> None:
    pool = Pool(limit=2)
    held: list[RGB8] = [pool.take(2, 2) for _ in range(5)]
    assert len({image.ctypes.data for image in held}) == 5
    assert len(pool._buffers) == 2


def test_another_size_starts_anew() -> None:
    pool = Pool()
    pool.take(2, 2)
    assert pool.take(3, 4).shape == (3, 4, 3)
    assert len(pool._buffers) == 1
