"""A bounded hand-over between two threads."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Literal, TypeAlias, TypeVar

__all__ = ["Mailbox", "Policy"]

T = TypeVar("T")

Policy: TypeAlias = Literal["live", "lossless"]
"""``live``: the newest wins, the oldest makes room. ``lossless``: the giver waits."""


class Mailbox(Generic[T]):
    """Holds at most `capacity` items; what happens when it is full is the policy's business.

    One thread gives, one takes, any thread may close. After `close` nothing is taken in, what is inside can still be
    taken out.
    """

    def __init__(self, capacity: int, policy: Policy) -> None:
        self.capacity, self.policy = capacity, policy
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T) -> T | None:
        """Give an item; return the one that had to go: the oldest (live), or `item` itself if the mailbox is closed."""
        with self._changed:
            while self.policy == "lossless" and len(self._items) >= self.capacity and not self._closed:
                self._changed.wait()
            if self._closed:
                return item
            oldest = self._items.popleft() if len(self._items) >= self.capacity else None
            self._items.append(item)
            self._changed.notify_all()
            return oldest

    def get(self) -> T | None:
        """Take the oldest item; wait for one, or return None once the mailbox is closed and empty."""
        with self._changed:
            while not self._items:
                if self._closed:
                    return None
                self._changed.wait()
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Take nothing more in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[T]:
        """Take everything out at once."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items
