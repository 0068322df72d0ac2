"""The capture process itself: what it is told, what it says, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import msgspec
import numpy as np
import psutil
import pytest

from stainstream.capture.messages import Failure, Opened, Order, Picture, decode, encode
from stainstream.capture.process import Ended, Process, attached
from stainstream.capture.worker import fingerprint


def test_cameras_are_listed_by_all_drivers_at_once_and_none_waits_for_one_that_hangs() -> None:
    began = time.monotonic()
    found = attached(
        {
            "listed": "tests.capture.drivers:Listed",
            "hanging": "tests.capture.drivers:HangingList",
            "crashing": "tests.capture.drivers:CrashingList",
            "broken": "tests.capture.drivers:BrokenList",
            "missing": "no.such:Driver",
        },
        patience=5,
    )
    assert time.monotonic() - began < 15
    assert [each.address for each in found["listed"] if not isinstance(each, str)] == ["made-up:1"]
    assert found["hanging"] == "its driver did not answer in time"
    assert str(found["crashing"]).startswith("its driver crashed")
    assert found["broken"] == "cannot list cameras: the library is missing; run: make it so"
    assert "No module named 'no'" in found["missing"]
    assert not [each for each in psutil.Process().children() if "stainstream.capture" in each.cmdline()]


def test_the_oldest_of_too_many_pictures_is_dropped_and_counted() -> None:
    process = Process()
    process.begin("tests.capture.drivers:CountingDriver", "counting", {})
    time.sleep(2.0)
    events = []
    while (event := process.next(0.0)) is not None:
        events.append(event)
        if len(events) == 4:
            break
    process.end(1.0)
    pictures = [event for event in events if isinstance(event, Picture)]
    assert isinstance(events[0], Opened)
    assert pictures[0].lost == pictures[0].meta["device_frame"] - 1 > 10


def test_a_process_whose_owner_never_speaks_ends_with_it() -> None:
    process = Process()
    process.end(5.0)
    process.end(5.0)
    event = process.next(5.0)
    assert isinstance(event, Ended)


def test_nothing_but_messages_leaves_by_stdout() -> None:
    """Vendors' libraries print."""
    order = encode(Order("tests.capture.drivers:Chatty"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "stainstream.capture"],
        input=order,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
    )
    lines = done.stdout.splitlines(keepends=True)
    assert [type(decode(line)).__name__ for line in lines] == ["Said", "Found"]
    assert b"printed" in done.stderr


def test_messages_are_lines() -> None:
    message = Failure("a\nb")
    assert encode(message).count(b"\n") == 1
    assert decode(encode(message)) == message
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"type":"nonsense"}\n')


@pytest.mark.parametrize("shape", [(64, 96, 3), (2160, 3840), (3, 100, 100), (1, 1)])
def test_fingerprints(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0)
    image = noise.integers(0, 256, shape, np.uint8)
    other = noise.integers(0, 256, shape, np.uint8)
    assert fingerprint(np.full(shape, 7, np.uint8)) is None
    assert fingerprint(image) == fingerprint(image.copy())
    if image.size > 1:
        assert fingerprint(image) != fingerprint(other)
