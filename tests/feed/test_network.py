"""Acknowledged feeds over networks that delay, drip, break and fall silent."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stainstream.feed import Counts, End, Publisher, Subscriber, Tile, link

from .proxy import Proxy


def tile(seq: int, side: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seq).integers(0, 256, (side, side, 3), np.uint8)


def survive(tiles: int, harm: Callable[[Proxy, int], None], side: int = 32, **toxics: Any) -> int:
    """Send a series through a proxy that `harm` is done to before each tile is accepted; how many came twice."""
    counts: list[Counts] = []

    def scan(publisher: Publisher) -> None:
        series = publisher.begin("s")
        for seq in range(tiles):
            series.send(tile(seq, side))
        counts.append(series.end(timeout=60))

    with Publisher("tcp://127.0.0.1:0") as publisher:
        port = int(publisher.address.rpartition(":")[2])
        with Proxy(port, **toxics) as proxy, Subscriber(proxy.address) as subscriber:
            thread = threading.Thread(target=scan, args=(publisher,))
            thread.start()
            for seq in range(tiles):
                item = subscriber.take(timeout=60)
                assert isinstance(item, Tile)
                assert item.sequence == seq
                assert np.array_equal(item.image, tile(seq, side))
                harm(proxy, seq)
                subscriber.accept()
            last = subscriber.take(timeout=60)
            assert last == End("s", Counts(tiles, tiles, {}))
            subscriber.accept()
            thread.join()
    assert counts == [Counts(tiles, tiles, {})]
    return subscriber.duplicates


def test_connections_that_are_reset() -> None:
    chance = random.Random(1)

    def harm(proxy: Proxy, _: int) -> None:
        if chance.random() < 0.03:
            proxy.reset_peer()

    survive(300, harm)


def test_delays() -> None:
    survive(100, lambda *_: None, latency_s=0.005)


def test_messages_that_come_in_small_pieces() -> None:
    survive(20, lambda *_: None, slicer=200, pause_s=0.0005)


def test_a_line_so_slow_that_a_tile_takes_longer_than_silence_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pings wait behind the tile; the subscriber becomes more patient until it has got one."""
    monkeypatch.setattr(link, "_SILENCE_S", 0.3)
    monkeypatch.setattr(link, "_GREET_S", 0.1)
    survive(2, lambda *_: None, side=128, slicer=1000, pause_s=0.02)  # 50 pieces, a second


def test_connections_that_fall_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_SILENCE_S", 0.5)
    monkeypatch.setattr(link, "_GREET_S", 0.1)

    def harm(proxy: Proxy, seq: int) -> None:
        if seq in (10, 40):
            proxy.timeout = True  # what is under way, and the acknowledgement, are gone
            timer = threading.Timer(1.0, setattr, (proxy, "timeout", False))
            timer.start()

    survive(80, harm)


def test_a_consumer_that_is_slow_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_SILENCE_S", 0.5)
    monkeypatch.setattr(link, "_GREET_S", 0.1)

    def harm(_: Proxy, seq: int) -> None:
        if seq == 3:
            threading.Event().wait(2.0)

    assert survive(10, harm) == 0
