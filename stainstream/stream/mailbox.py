"""A bounded hand-over between two threads."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import Generic, Literal, TypeAlias, TypeVar

__all__ = ["Mailbox", "Policy"]

T = TypeVar("T")

Policy: TypeAlias = Literal["live", "lossless"]
"""``live``: the newest wins, the oldest makes room. ``lossless``: the giver waits."""


class Mailbox(Generic[T]):
    """Holds at most `capacity` items; what happens when it is full is the policy's business.

    One thread gives, one takes, any thread may close. After `close` nothing is taken in, what is inside can still be
    taken out.

    Places are handed to and fro like the items themselves, each in a `SimpleQueue`: that is C code, and costs a tenth
    of a `Condition` on the path of every frame. None stands for the end in both.
    """

    def __init__(self, capacity: int, policy: Policy) -> None:
        self.capacity, self.policy = capacity, policy
        self._items: SimpleQueue[T | None] = SimpleQueue()
        self._places: SimpleQueue[bool | None] = SimpleQueue()
        for _ in range(capacity):
            self._places.put(True)
        self._closing = threading.Lock()
        self._closed = False

    def put(self, item: T) -> T | None:
        """Give an item; return the one that had to go: the oldest (live), or `item` itself if the mailbox is closed."""
        oldest = None
        try:
            place = self._places.get(block=self.policy == "lossless")
        except Empty:
            oldest, place = self._displaced()
        with self._closing:
            if place is None or self._closed:
                self._places.put(None)
                return item
            self._items.put(item)
            return oldest

    def _displaced(self) -> tuple[T | None, bool | None]:
        """The oldest item and its place; if the taker was quicker, only the place, which is about to be free."""
        try:
            oldest = self._items.get_nowait()
        except Empty:
            return None, self._places.get()
        if oldest is None:  # the end, which stays
            self._items.put(None)
            return None, None
        return oldest, True

    def get(self) -> T | None:
        """Take the oldest item; wait for one, or return None once the mailbox is closed and empty."""
        item = self._items.get()
        if item is None:
            self._items.put(None)  # the end stays
        else:
            self._places.put(True)
        return item

    def poll(self) -> T | None:
        """Take the oldest item; None if there is none at the moment."""
        return self.get() if not self._items.empty() else None

    def close(self) -> None:
        """Take nothing more in."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._items.put(None)
                self._places.put(None)

    def clear(self) -> list[T]:
        """Take everything out of a closed mailbox at once."""
        taken: list[T] = []
        while True:
            try:
                item = self._items.get_nowait()
            except Empty:
                self._items.put(None)
                return taken
            if item is not None:
                taken.append(item)
