"""Frames kept at hand."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from stainstream.api import open_sink
from stainstream.errors import UsageError
from stainstream.frame import Frame, PixelFormat
from stainstream.sinks.memory import Memory


def _memory(address: str) -> Memory:
    sink = open_sink(address)
    assert isinstance(sink, Memory)
    return sink


def _frame(seq: int) -> Frame:
    return Frame(np.full((4, 5, 3), seq % 256, np.uint8), PixelFormat.RGB8, seq, 17, {"slide": seq})


@pytest.mark.parametrize(("address", "kept"), [("memory", [*range(9)]), ("memory?keep=3", [6, 7, 8])])
def test_keeps_the_last(address: str, kept: list[int]) -> None:
    with _memory(address) as sink:
        for seq in range(9):
            sink.write(_frame(seq))
    assert [frame.seq for frame in sink.frames] == kept
    assert all(frame.meta == {"slide": frame.seq} and frame.captured_ns == 17 for frame in sink.frames)


def test_a_buffer_used_again_does_not_change_what_is_kept() -> None:
    frame = _frame(1)
    with _memory("memory") as sink:
        sink.write(frame)
        frame.image[:] = 99
        (kept,) = sink.frames
    assert (kept.image == 1).all()


def test_can_be_read_while_another_thread_writes() -> None:
    sink = _memory("memory?keep=10")

    def write() -> None:
        for seq in range(3000):
            sink.write(_frame(seq))

    writing = threading.Thread(target=write)
    writing.start()
    while writing.is_alive():
        numbers = [frame.seq for frame in sink.frames]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    assert [frame.seq for frame in sink.frames] == list(range(2990, 3000))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UsageError, match="keep"):
        open_sink("memory?keep=-1")
