"""How long an operation on a local file may take. Its thread checks here whether the caller still waits."""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.errors import Timeout, Unavailable
from ddb_mcp.core.items import Item

# LOCK_SECONDS: a call waits this long for another process's lock. LOCK_SLICE_SECONDS: SQLite waits this long before the
# call's own deadline is checked again. LOCK_HELD_SECONDS: a write holds the lock this long at most.
LOCK_SECONDS = 10
LOCK_SLICE_SECONDS = 0.025
LOCK_HELD_SECONDS = 2


_CONTENT = {"S": str, "N": str, "B": str, "BOOL": bool, "NULL": bool, "M": dict} | dict.fromkeys(
    ("L", "SS", "NS", "BS"), list
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,200}(\.[0-9]{1,200})?([eE][+-]?[0-9]{1,3})?")
_BINARY = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class NeedsWorker(Exception):
    """An operation met a long item, and is to be repeated in the worker of conversions. No caller sees it."""


class Deadline:
    """The time limit of one operation, from now on.

    Args:
        seconds: how long its work may take.
        long: whether it may read long items.
    """

    def __init__(self, seconds: float, *, long: bool = False) -> None:
        now = time.monotonic()
        self._end = now + seconds
        self._wait_until = now + LOCK_SECONDS
        self._hold_until = math.inf
        self._is_cancelled = False
        self._long = long

    def cancel(self) -> None:
        """Let the thread end, wherever it is. Called by the event loop."""
        self._is_cancelled = True

    @property
    def is_over(self) -> bool:
        """Return whether the operation was cancelled, or its time is over."""
        return self._is_cancelled or time.monotonic() > min(self._end, self._hold_until)

    def check(self) -> None:
        """Raise Timeout if the time is over. Called every few steps of the work."""
        if self.is_over:
            raise timed_out()

    def wait_after(self, locked: Unavailable) -> None:
        """Wait a moment for another process's lock. Raises `locked`, or Timeout, if no time is left."""
        if time.monotonic() > self._wait_until:
            raise locked
        time.sleep(LOCK_SLICE_SECONDS / 5)
        self.check()

    def hold_lock(self) -> None:
        """Shorten the time while the file is locked: other processes and other writes wait."""
        self._hold_until = time.monotonic() + LOCK_HELD_SECONDS

    def release_lock(self) -> None:
        """Restore the time that `hold_lock` shortened."""
        self._hold_until = math.inf

    def is_long(self, length: int) -> bool:
        """Return whether JSON of this length is too long for this operation."""
        return length > limits.LOOP_BYTES and not self._long

    def check_length(self, length: int) -> None:
        """Raise NeedsWorker if JSON of this length is too long for this operation."""
        if self.is_long(length):
            raise NeedsWorker

    def read_item(self, document: str) -> Item:
        """Return a stored item from its JSON.

        Raises:
            NeedsWorker: it is too long for this operation.
            sqlite3.DataError: the JSON is damaged.
        """
        self.check_length(len(document))
        try:
            item: Item = json.loads(document)
            if item["pk"].keys() == item["sk"].keys() == {"S"} and _are_values(item.values(), 0):
                return item
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise sqlite3.DataError("a stored item is damaged")


def _are_values(values: Iterable[dict[str, Any]], depth: int) -> bool:
    """Return whether these are attribute values, nested this deep in lists and maps."""
    for value in values:
        ((kind, content),) = value.items()
        if not isinstance(content, _CONTENT[kind]) or (kind in _WITHIN and not _WITHIN[kind](content, depth)):
            return False
    return depth <= limits.MAX_DEPTH


def _is_number(text: str, depth: int = 0) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _is_binary(text: str, depth: int = 0) -> bool:
    return len(text) % 4 == 0 and _BINARY.fullmatch(text) is not None


_WITHIN: dict[str, Callable[[Any, int], bool]] = {
    "N": _is_number,
    "B": _is_binary,
    "L": lambda content, depth: _are_values(content, depth + 1),
    "M": lambda content, depth: _are_values(content.values(), depth + 1),
    "SS": lambda content, depth: all(isinstance(member, str) for member in content),
    "NS": lambda content, depth: all(map(_is_number, content)),
    "BS": lambda content, depth: all(map(_is_binary, content)),
}


def timed_out() -> Timeout:
    """Return the error for an operation whose time is over."""
    return Timeout("The local store took too long; nothing was written.", next="Request less, and call again.")
