"""Whether a process of this computer still runs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["alive"]


def alive(pid: int) -> bool:
    """Whether the process of this number runs; one that ended but was not waited for yet does not. POSIX only."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # macOS has no /proc
        return not Path("/proc/self/stat").exists()
    except OSError:
        return False
