"""The ring of slots, on a device that finishes what it likes when it likes."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stainstream.engines.ring import Ring
from stainstream.errors import EngineError

Bytes = NDArray[np.uint8]


class Device:
    """Does nothing before somebody waits; then lanes take turns at random, each in its own order: copy in, invert, copy
    out. Until then it reads and writes its memory whenever it pleases, so that whoever uses it too early is found out.
    """

    def __init__(self, seed: int = 0, room: int = 1 << 30, lose_after: int | None = None) -> None:
        self.random = random.Random(seed)
        self.room, self.lose_after = room, lose_after
        self.lanes: list[Lane] = []
        self.blocks: list[tuple[int, int]] = []
        self.completed: list[int] = []
        self.lock = threading.RLock()

    def lane(self) -> Lane:
        self.lanes.append(Lane(self, len(self.lanes)))
        return self.lanes[-1]

    def pinned(self, size: int) -> Bytes:
        if size > self.room:
            raise EngineError(f"cannot pin {size} bytes", "out of memory")
        self.room -= size
        block = np.full(size, 0xEE, np.uint8)
        self.blocks.append((block.ctypes.data, size))
        return block

    def is_pinned(self, array: Bytes) -> bool:
        at = array.ctypes.data
        return any(start <= at and at + array.nbytes <= start + size for start, size in self.blocks)

    def until(self, done: Callable[[], bool]) -> None:
        with self.lock:
            while not done():
                lane = self.random.choice([lane for lane in self.lanes if lane.waiting])
                lane.waiting.popleft()()


class Lane:
    def __init__(self, device: Device, number: int) -> None:
        self.device, self.number = device, number
        self.waiting: deque[Callable[[], None]] = deque()
        self.memory = np.empty(0, np.uint8)
        self.started = 0
        self.closed = False

    def start(self, source: Bytes, target: Bytes) -> None:
        device = self.device
        assert not self.closed
        assert not self.waiting, "the slot was still in use"
        assert device.is_pinned(source)
        assert device.is_pinned(target)
        assert source.shape == target.shape
        assert not np.may_share_memory(source, target)
        if device.lose_after is not None and sum(lane.started for lane in device.lanes) >= device.lose_after:
            raise EngineError("cannot run a kernel", "the GPU is lost")
        self.started += 1

        def copy_in() -> None:
            self.memory = source.copy()

        def invert() -> None:
            self.memory = 255 - self.memory

        def copy_out() -> None:
            np.copyto(target, self.memory)
            device.completed.append(self.number)

        with device.lock:
            self.waiting.extend((copy_in, invert, copy_out))

    def wait(self) -> None:
        self.device.until(lambda: not self.waiting)

    def close(self) -> None:
        assert not self.waiting
        self.closed = True


def _ring(device: Device, slots: int) -> Ring:
    return Ring([device.lane() for _ in range(slots)], device)


def _noise(size: int, seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (size, 3), np.uint8)


@settings(max_examples=200, deadline=None)
@given(
    slots=st.integers(1, 5),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    seed=st.integers(0, 1000),
    places=st.lists(st.sampled_from(["apart", "in place", "pinned", "pinned in place"]), min_size=30, max_size=30),
    ahead=st.integers(1, 8),
)
def test_every_frame_arrives_whole_in_whatever_order_the_device_finishes(
    slots: int, sizes: list[int], seed: int, places: list[str], ahead: int
) -> None:
    device = Device(seed)
    ring = _ring(device, slots)
    waiting: deque[tuple[Callable[[], None], Bytes, Bytes]] = deque()

    def arrive() -> None:
        finish, out, expected = waiting.popleft()
        finish()
        np.testing.assert_array_equal(out, expected)

    for k, (size, place) in enumerate(zip(sizes, places, strict=False)):
        image = _noise(size, k)
        if place.startswith("pinned"):
            source = device.pinned(image.nbytes).reshape(image.shape)
            source[...] = image
        else:
            source = image.copy()
        target = source if place.endswith("in place") else np.zeros_like(source)
        if place == "pinned":
            target = device.pinned(image.nbytes).reshape(image.shape)
        waiting.append((ring.start(source, target), target, 255 - image))
        if len(waiting) >= ahead:
            arrive()
    while waiting:
        arrive()
    ring.close()
    assert all(lane.closed for lane in device.lanes)


def test_completions_do_come_in_another_order() -> None:
    orders = set()
    for seed in range(20):
        device = Device(seed)
        ring = _ring(device, 3)
        for finish in [ring.start(_noise(4, k), np.empty((4, 3), np.uint8)) for k in range(3)]:
            finish()
        orders.add(tuple(device.completed))
    assert len(orders) > 2


def test_frames_of_several_slots_are_under_way_at_once() -> None:
    device = Device()
    ring = _ring(device, 3)
    finish = [ring.start(_noise(4, k), np.empty((4, 3), np.uint8)) for k in range(3)]
    assert [len(lane.waiting) for lane in device.lanes] == [3, 3, 3]
    for each in finish:
        each()


def test_what_is_pinned_is_not_copied_and_anything_else_once() -> None:
    device = Device()
    ring = _ring(device, 1)
    source, target = (device.pinned(30).reshape(10, 3) for _ in range(2))
    before = len(device.blocks)
    ring.start(source, target)()
    assert len(device.blocks) == before  # no slot was needed
    for _ in range(3):
        ring.start(_noise(10, 0), target)()
    assert len(device.blocks) == before + 1  # one for the way in, made once
    ring.start(_noise(10, 0), np.empty((10, 3), np.uint8))()
    assert len(device.blocks) == before + 2


def test_the_input_is_as_it_was_until_the_frame_has_arrived() -> None:
    device = Device()
    ring = _ring(device, 2)
    image = device.pinned(30).reshape(10, 3)
    image[...] = before = _noise(10, 1)
    finish = ring.start(image, image)
    device.until(lambda: not device.lanes[0].waiting)  # the device is done, nobody has asked yet
    np.testing.assert_array_equal(image, before)
    finish()
    np.testing.assert_array_equal(image, 255 - before)


def test_a_lost_device_fails_each_frame_by_itself_and_leaves_its_input() -> None:
    device = Device(lose_after=2)
    ring = _ring(device, 2)
    images = [_noise(5, k) for k in range(2)]
    outs = [np.zeros_like(image) for image in images]
    finish = [ring.start(image, out) for image, out in zip(images, outs, strict=True)]
    image = _noise(5, 9)
    with pytest.raises(EngineError, match="the GPU is lost"):
        ring.start(image, image)
    np.testing.assert_array_equal(image, _noise(5, 9))
    for each, image, out in zip(finish, images, outs, strict=True):
        each()
        np.testing.assert_array_equal(out, 255 - image)


def test_parts_of_one_frame_are_all_done_with_when_one_fails() -> None:
    device = Device(lose_after=3)
    ring = _ring(device, 2)
    image = _noise(60, 0)
    out = np.zeros_like(image)
    with pytest.raises(EngineError, match="the GPU is lost"):
        ring.run((image[k : k + 10], out[k : k + 10]) for k in range(0, 60, 10))
    assert not any(lane.waiting for lane in device.lanes)
    kept = out.copy()
    ring.close()
    np.testing.assert_array_equal(out, kept)


def test_memory_that_runs_out_is_an_error_and_the_next_frame_works() -> None:
    device = Device(room=100)
    ring = _ring(device, 1)
    with pytest.raises(EngineError, match="out of memory"):
        ring.start(_noise(1000, 0), np.empty((1000, 3), np.uint8))
    image, out = _noise(10, 1), np.empty((10, 3), np.uint8)
    ring.start(image, out)()
    np.testing.assert_array_equal(out, 255 - image)


def test_many_threads_share_it() -> None:
    device = Device(3)
    ring = _ring(device, 3)

    def work(thread: int) -> bool:
        good = True
        for k in range(40):
            image = _noise(1 + (7 * k + thread) % 50, k)
            out = np.empty_like(image)
            ring.start(image, out)()
            good &= np.array_equal(out, 255 - image)
        return good

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))


def test_closing_lets_frames_arrive_and_then_refuses_more() -> None:
    device = Device()
    ring = _ring(device, 2)
    image, out = _noise(10, 0), np.zeros((10, 3), np.uint8)
    finish = ring.start(image, out)
    ring.close()
    ring.close()
    np.testing.assert_array_equal(out, 255 - image)
    finish()
    with pytest.raises(EngineError, match="closed by another thread"):
        ring.start(image, out)
