"""The ring: no frame is torn, none is overwritten while somebody looks at it, none is out of order."""

from __future__ import annotations

import gc
import mmap
import random
from collections import deque

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from stainstream.capture.driver import gap
from stainstream.capture.memory import Shared
from stainstream.capture.ring import SLOTS, Ring, Taker, size_of
from stainstream.config import settings as checked
from stainstream.sources.camera import CameraOptions

from .drivers import Counting

BYTE = np.dtype(np.uint8)


class Handover(RuleBasedStateMachine):
    """Frames given, taken, looked at and let go of in any order."""

    @initialize(size=st.integers(1, 10_000))
    def start(self, size: int) -> None:
        memory = mmap.mmap(-1, size_of(size))
        self.size, self.number = size, 0
        self.ring, self.taker = Ring(memory, size), Taker(memory, size)
        self.sent: deque[tuple[int, int]] = deque()
        self.held: list[tuple[int, NDArray[np.uint8]]] = []

    @rule()
    def give(self) -> None:
        taken = self.ring.take()
        if taken is None:
            assert len(self.sent) >= SLOTS - 8  # those who look get copies before the slots run out
            return
        slot, room = taken
        self.number = (self.number + 1) % 256
        room[:] = self.number
        self.ring.give(slot)
        self.sent.append((slot, self.number))

    @rule()
    def begin_and_die(self) -> None:
        """A process that is killed while it writes has marked nothing."""
        if (taken := self.ring.take()) is not None:
            taken[1][: self.size // 2] = 255

    @precondition(lambda self: self.sent)
    @rule(view=st.booleans())
    def lend(self, view: bool) -> None:
        slot, number = self.sent.popleft()
        image = self.taker.lend(slot, (1, self.size), BYTE)
        assert image.flags.writeable
        self.held.append((number, image[:, ::2] if view else image))

    @precondition(lambda self: self.sent)
    @rule()
    def drop(self) -> None:
        self.taker.free(self.sent.popleft()[0])

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        del self.held[data.draw(st.integers(0, len(self.held) - 1))]

    @invariant()
    def nothing_changed_under_anybodys_eyes(self) -> None:
        for number, image in getattr(self, "held", ()):
            assert (image == number).all()


Handover.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
test_handover = Handover.TestCase


def test_all_slots_come_back() -> None:
    memory = mmap.mmap(-1, size_of(100))
    ring, taker = Ring(memory, 100), Taker(memory, 100)
    for _ in range(10 * SLOTS):
        taken = ring.take()
        assert taken is not None
        ring.give(taken[0])
        view = taker.lend(taken[0], (10, 10), BYTE)[3:, :2]
        del view
    gc.collect()
    taken = ring.take()
    assert taken is not None
    assert taken[0] == 0


def test_frames_outlive_the_ring() -> None:
    shared = Shared()
    size = 1 << 20
    memory = shared.map(size_of(size))
    ring, taker = Ring(memory, size), Taker(Shared(shared.token).map(size_of(size)), size)
    taken = ring.take()
    assert taken is not None
    taken[1][:] = 7
    ring.give(taken[0])
    image = taker.lend(taken[0], (1024, 1024), BYTE)
    shared.close()
    shared.close()
    del ring, taker, memory, taken
    gc.collect()
    assert (image == 7).all()


def test_memory_that_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems without anonymous files in memory."""
    monkeypatch.setattr("stainstream.capture.memory.sys.platform", "darwin")
    shared = Shared()
    first, second = shared.map(5000), Shared(shared.token).map(5000)
    shared.close()
    first[4999] = 9
    assert second[4999] == 9


@pytest.mark.parametrize(
    ("before", "now", "last", "missing"),
    [(None, 65401, 0, 0), (1, 2, 0, 0), (1, 5, 0, 3), (65535, 1, 65535, 0), (65534, 3, 65535, 3), (9, 2, 0, 0)],
)
def test_gap(before: int | None, now: int, last: int, missing: int) -> None:
    assert gap(before, now, last) == missing


def test_frames_at_full_speed_between_processes() -> None:
    """Two processes that run as fast as they can, one of whom keeps some frames and is slow at times."""
    chance = random.Random(1)
    kept: deque[tuple[int, NDArray[np.uint32]]] = deque(maxlen=20)
    with Counting("counting", checked({"stall": 5, "frozen": 0}, CameraOptions, "test")) as source:
        last_seq, last_number = -1, 0
        for count, frame in enumerate(source):
            words = frame.image.view(np.uint32)
            number = int(words[0, 0])
            assert (words == number).all()
            assert number == frame.meta["device_frame"]
            assert number > last_number
            # What is missing in the camera's own count is missing in ours, and was counted.
            assert frame.seq - last_seq == number - last_number
            last_seq, last_number = frame.seq, number
            if chance.random() < 0.3:
                kept.append((number, words))
            if chance.random() < 0.02:
                kept.clear()
            if chance.random() < 0.01:
                assert all((image == value).all() for value, image in kept)
            if count == 1500:
                break
        assert source.lost == last_number - count - 1
    assert all((image == value).all() for value, image in kept)
