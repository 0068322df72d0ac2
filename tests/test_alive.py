"""Whether processes run."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from stainstream.alive import alive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


def test_a_process_is_alive_until_it_has_ended_whether_it_was_waited_for_or_not() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert alive(process.pid)
    process.kill()
    end = time.monotonic() + 10
    while alive(process.pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not alive(process.pid)  # nobody waited for it yet
    process.wait()
    assert not alive(process.pid)


def test_a_process_that_is_somebody_elses_is_alive() -> None:
    assert alive(1)
    assert alive(os.getpid())
