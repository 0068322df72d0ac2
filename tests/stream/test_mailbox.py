"""The hand-over between threads."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stainstream.stream.mailbox import Mailbox


@given(st.integers(1, 5), st.lists(st.integers(), max_size=30))
def test_live_keeps_the_newest_and_returns_the_oldest(capacity: int, items: list[int]) -> None:
    box: Mailbox[int] = Mailbox(capacity, "live")
    gone = [each for item in items if (each := box.put(item)) is not None]
    box.close()
    kept = []
    while (item := box.get()) is not None:
        kept.append(item)
    assert kept == items[-capacity:]
    assert gone + kept == items


def test_lossless_waits_for_room() -> None:
    box: Mailbox[int] = Mailbox(1, "lossless")
    assert box.put(1) is None
    done = threading.Event()

    def give() -> None:
        box.put(2)
        done.set()

    giver = threading.Thread(target=give)
    giver.start()
    assert not done.wait(0.1)
    assert box.get() == 1
    assert done.wait(2)
    assert box.get() == 2
    giver.join()


@pytest.mark.parametrize("policy", ["live", "lossless"])
def test_a_closed_mailbox_takes_nothing_in_and_gives_what_it_has(policy: str) -> None:
    box: Mailbox[int] = Mailbox(2, "live" if policy == "live" else "lossless")
    box.put(1)
    box.close()
    assert box.put(2) == 2
    assert box.get() == 1
    assert box.get() is None


def test_close_wakes_whoever_waits() -> None:
    empty: Mailbox[int] = Mailbox(1, "live")
    full: Mailbox[int] = Mailbox(1, "lossless")
    full.put(1)
    results: list[int | None] = []
    threads = [
        threading.Thread(target=lambda: results.append(empty.get())),
        threading.Thread(target=lambda: results.append(full.put(2))),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    empty.close()
    full.close()
    for thread in threads:
        thread.join(2)
        assert not thread.is_alive()
    assert sorted(results, key=str) == [2, None]


def test_clear_takes_everything_out() -> None:
    box: Mailbox[int] = Mailbox(3, "live")
    for item in (1, 2, 3):
        box.put(item)
    box.close()
    assert box.clear() == [1, 2, 3]
    assert box.clear() == []
    assert box.get() is None


@pytest.mark.parametrize("policy", ["live", "lossless"])
def test_nothing_is_lost_or_doubled_between_threads(policy: str) -> None:
    box: Mailbox[int] = Mailbox(2, "live" if policy == "live" else "lossless")
    taken: list[int] = []

    def take() -> None:
        while (item := box.get()) is not None:
            taken.append(item)

    taker = threading.Thread(target=take)
    taker.start()
    gone = [each for item in range(1, 20_001) if (each := box.put(item)) is not None]
    box.close()
    taker.join(10)
    assert not taker.is_alive()
    assert sorted(taken + gone) == list(range(1, 20_001))
    assert taken == sorted(taken)
    assert policy == "live" or not gone
