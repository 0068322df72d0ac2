"""The accounting identity, as arithmetic."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stainstream.stream.ledger import Ledger

MOVES = st.lists(st.sampled_from(["capture", "reject", "drop", "drop a", "deliver a", "deliver b"]), max_size=60)


@given(MOVES, st.dictionaries(st.sampled_from(["short payload", "not JSON"]), st.integers(1, 9)))
def test_the_identity_holds_after_every_move(moves: list[str], rejected: dict[str, int]) -> None:
    ledger = Ledger(["a", "b"])
    for move in moves:
        report = ledger.report(rejected, 0)
        under_way = {name: account.under_way for name, account in report.sinks.items()}
        what, _, sink = move.partition(" ")
        if what == "capture":
            ledger.capture()
        elif what == "reject" and all(under_way.values()):
            ledger.reject("unusable frame")
        elif what == "drop" and not sink and all(under_way.values()):
            ledger.drop("engine busy")
        elif what == "drop" and sink and under_way[sink]:
            ledger.drop("sink busy", sink)
        elif what == "deliver" and under_way[sink]:
            ledger.deliver(sink, time.monotonic_ns())
        assert ledger.report(rejected, 0).balanced
    assert sum(ledger.report(rejected, 0).rejected.values()) >= sum(rejected.values())


def test_a_frame_that_vanishes_is_seen() -> None:
    ledger = Ledger(["a"])
    ledger.capture()
    ledger._accounts["a"].under_way = 0
    assert not ledger.report({}, 0).balanced


def test_latency_is_from_capture_to_delivery_in_ms() -> None:
    ledger = Ledger(["a"])
    assert ledger.report({}, 0).latency_ms is None
    for _ in range(10):
        ledger.capture()
        ledger.deliver("a", time.monotonic_ns() - 5_000_000)
    latency = ledger.report({}, 0).latency_ms
    assert latency is not None
    assert np.allclose(latency, 5.0, atol=2.0)


def test_lines_name_every_cause() -> None:
    ledger = Ledger(["null"])
    for _ in range(4):
        ledger.capture()
    ledger.deliver("null", time.monotonic_ns())
    ledger.drop("engine busy")
    ledger.reject("unusable frame")
    (line,) = ledger.report({"short payload": 2}, 0).lines()
    assert line == (
        "null: captured 6 = delivered 1 + dropped 1 (engine busy 1)"
        " + rejected 3 (short payload 2, unusable frame 1) + under way 1"
    )
