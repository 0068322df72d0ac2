"""Statistics that follow, tables that change between frames and by small steps."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import stainstream as ss
from stainstream.api import on_engine
from stainstream.color.lut import COLORS, Lut, bake
from stainstream.color.transition import identity, largest_change
from stainstream.frame import Frame, PixelFormat
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.reinhard import Reinhard
from stainstream.stream.adapt import Adapter
from tests.normalizers.tiles import LOW_TISSUE, demo, restained

STREAM = PROFILES["stream"]
GOAL = Reinhard.study(demo(1, 2, 256), STREAM)
RATE = 20.0


class Installed:
    """Notes the tables that an adapter takes into use."""

    def __init__(self) -> None:
        self.tables: list[tuple[float, Lut, bool]] = []
        self.news = threading.Condition()

    def __call__(self, table: Lut, exact: bool) -> None:
        with self.news:
            self.tables.append((time.monotonic(), table, exact))
            self.news.notify_all()


def _play(adapter: Adapter, image: ss.RGB8, until: Any, seconds: float = 60.0) -> None:
    """Show one picture, 20 times a second, until something has come true."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not come true"
        adapter.see(image, Frame(image, PixelFormat.RGB8, captured_ns=time.monotonic_ns()))
        time.sleep(0.05)


def _adapter(installed: Installed, seconds: float, started: bool = False) -> Adapter:
    source = Reinhard.study(demo(size=256), STREAM) if started else GOAL
    start = Reinhard(source, GOAL, STREAM)
    shown = bake(start, "reinhard") if started else identity()
    return Adapter(start, shown, seconds, installed, started=started, rate=RATE)


def test_colors_do_not_flicker_and_arrive_at_the_exact_table() -> None:
    installed, strange = Installed(), restained(demo(2, 2, 256))
    adapter = _adapter(installed, 0.3, started=True)
    shown = adapter._shown
    with adapter:
        began = time.monotonic()
        _play(adapter, strange, lambda: adapter.settled and len(installed.tables) > 3)
    assert adapter._goal is not None
    exact = bake(adapter._goal.fitted, "reinhard")
    assert installed.tables[-1][2]
    np.testing.assert_array_equal(installed.tables[-1][1].table, exact.table)
    fitted = Reinhard(Reinhard.study(strange, STREAM), GOAL, STREAM)
    some = strange.reshape(-1, 3) / 255.0
    assert np.abs(adapter._goal.fitted(some) - fitted(some)).mean() * 255 < 1.5  # learned from a sample
    for at, table, _ in installed.tables:
        assert largest_change(shown, table) <= RATE * (at - began) + 1e-9, "a color jumped"
        shown, began = table, at


def test_it_waits_starts_at_once_and_freezes() -> None:
    installed = Installed()
    adapter = _adapter(installed, 0.0)
    with adapter:
        glass = LOW_TISSUE["glass"]
        for _ in range(5):
            meta = adapter.see(glass, Frame(glass, PixelFormat.RGB8, captured_ns=time.monotonic_ns()))
            time.sleep(0.1)
        assert meta["adapt"] == "waiting"
        assert not installed.tables
        _play(adapter, demo(2, 2, 256), lambda: adapter._state == "frozen" and adapter.settled)
        count = len(installed.tables)
        for _ in range(10):
            meta = adapter.see(demo(), Frame(demo(), PixelFormat.RGB8, captured_ns=time.monotonic_ns()))
            time.sleep(0.1)
    assert meta["adapt"] == "frozen"
    assert len(installed.tables) == count
    assert largest_change(identity(), installed.tables[0][1]) > 8  # the first one is a jump: nothing was normal before


@pytest.mark.parametrize("name", LOW_TISSUE)
def test_statistics_are_held_visibly(name: str) -> None:
    installed, image = Installed(), LOW_TISSUE[name]
    adapter = _adapter(installed, 0.2, started=True)
    with adapter:
        _play(adapter, image, lambda: adapter.counts.get("statistics held, too little tissue", 0) > 5)
        assert adapter.see(image, Frame(image, PixelFormat.RGB8))["adapt"] == "held"
    assert not installed.tables


def test_a_single_stain_is_counted_and_changes_nothing() -> None:
    from stainstream.normalizers.macenko import Macenko

    installed = Installed()
    amounts = np.random.default_rng(0).uniform(0.3, 2.0, (64, 64, 1))
    single: ss.RGB8 = np.rint(255 * np.exp(-amounts * np.array([0.65, 0.70, 0.29]))).astype(np.uint8)
    goal = Macenko.study(demo(), STREAM)
    with Adapter(Macenko(goal, goal, STREAM), identity(), 0.1, installed, started=False) as adapter:
        _play(adapter, single, lambda: adapter.counts.get("statistics unusable") or installed.tables)
    for _, table, _ in installed.tables:
        assert table.table.max() < COLORS


def _constant(value: int) -> Lut:
    return Lut(np.full(COLORS, value | value << 8 | value << 16, np.uint32), str(value))


@pytest.mark.parametrize("engine", ["lut_numba", "lut_numpy"])
def test_every_frame_is_of_exactly_one_table_under_load(engine: str) -> None:
    """Tables are swapped as fast as it goes while frames pass flat out."""
    tables = [on_engine(_constant(value), engine, threads=1) for value in (10, 20, 30)]
    source = ss.open_source("demo?size=640x480&rate=0&frames=1500")
    memory = ss.open_sink("memory")
    pipeline = ss.Pipeline(source, tables[0].engine, {"memory": memory}, policy="lossless", meta={"table": 10})
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    swaps = 0
    for k in itertools.cycle((1, 2, 0)):
        if not thread.is_alive():
            break
        pipeline.swap(tables[k].engine, {"table": 10 * (k + 1)})
        swaps += 1
    thread.join()
    seen = [(frame.image.min(), frame.image.max(), frame.meta["table"]) for frame in _kept(memory)]
    assert swaps > 100
    assert len(seen) > 0
    assert all(low == high == table for low, high, table in seen)
    for each in tables:
        each.close()


def _kept(memory: Any) -> Iterator[Frame]:
    yield from memory.frames
