"""How the C library keeps memory."""

from __future__ import annotations

import mmap
import platform
import subprocess
import sys

import pytest

TOUCH = """
import resource, sys, threading
from stainstream.stream.memory import keep_large_blocks
SIZE = 24 << 20
if sys.argv[1] == "keep":
    assert keep_large_blocks()
def touch():
    for _ in range(20):
        blocks = [b"x" * SIZE for _ in range(4)]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
before = faults()
worker = threading.Thread(target=touch)
worker.start()
worker.join()
print(faults() - before)
"""


def faults(advice: str) -> int:
    command = [sys.executable, "-c", TOUCH, advice]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes the advice")
def test_pages_are_not_cleared_again_for_each_block() -> None:
    assert faults("keep") < (24 << 20) // mmap.PAGESIZE, "not even those of one block"
    assert faults("default") > 20 * (24 << 20) // mmap.PAGESIZE


@pytest.mark.skipif(platform.libc_ver()[0] == "glibc", reason="glibc takes the advice")
def test_other_libraries_are_left_alone() -> None:
    from stainstream.stream.memory import keep_large_blocks

    assert not keep_large_blocks()
