"""The desktop's browser."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser

__all__ = ["has_desktop", "show"]


def has_desktop() -> bool:
    """Whether somebody sits in front of this computer who can be shown a page."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("win32", "darwin") or any(os.environ.get(key) for key in ("DISPLAY", "WAYLAND_DISPLAY"))


def show(url: str) -> None:
    """Open `url` in the user's browser; does not wait for it."""
    threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()
