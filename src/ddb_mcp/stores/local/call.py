"""The time of one call to a local table. Its worker thread checks here whether the caller still waits."""

import json
import threading
import time

from ddb_mcp.core import limits
from ddb_mcp.core.errors import Timeout
from ddb_mcp.core.items import Item


class Abandoned(Exception):
    """The call was cancelled. Ends its worker thread; no caller sees it."""


class MustWait(Exception):
    """Another process holds a lock on the file, and the call may wait for it."""


class Long(Exception):
    """The call met a long item, and is to be done again in the worker of conversions."""


class Call:
    """The time that one call has, from now on.

    Args:
        seconds: how long its work may take.
        long: whether it may read long items.
    """

    def __init__(self, seconds: float, *, long: bool = False) -> None:
        now = time.monotonic()
        self._deadline = now + seconds
        self._wait_until = now + limits.LOCK_SECONDS
        self._ended = threading.Event()
        self._long = long

    def end(self) -> None:
        """Let the thread end, wherever it is. Called by the event loop."""
        self._ended.set()

    @property
    def is_over(self) -> bool:
        """Whether the call was cancelled, or its time is over."""
        return self._ended.is_set() or time.monotonic() > self._deadline

    @property
    def may_wait(self) -> bool:
        """Whether there is time left to wait for another process's lock."""
        return time.monotonic() < self._wait_until

    def check(self) -> None:
        """Called every few steps of the work.

        Raises:
            Abandoned: the call was cancelled.
            Timeout: its time is over.
        """
        if self._ended.is_set():
            raise Abandoned
        if time.monotonic() > self._deadline:
            raise Timeout("The local store took too long; nothing was written.", next="Ask for less, and call again.")

    def is_long(self, document: str) -> bool:
        """Whether this call may not read the item that is this JSON."""
        return len(document) > limits.LOOP_BYTES and not self._long

    def item(self, document: str) -> Item:
        """A stored item, of its JSON. Raises Long."""
        if self.is_long(document):
            raise Long
        item: Item = json.loads(document)
        return item

    def pause(self) -> None:
        """Wait a moment for another process's lock. Raises as `check` does."""
        self._ended.wait(limits.LOCK_SLICE_SECONDS / 5)
        self.check()

    def hold(self) -> None:
        """Shorten the time: from now on the call holds the file's lock, for which other processes wait."""
        self._deadline = min(self._deadline, time.monotonic() + limits.LOCK_HELD_SECONDS)
