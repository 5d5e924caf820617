"""The scan of a shared table for one deployment's items: in up to eight segments, no more than needed."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.items import Item, select_attributes
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import Position, Read
from ddb_mcp.stores.direct.aws import Response
from ddb_mcp.stores.direct.wire import get_key

SCAN_SEGMENTS = 8
# Largest and smallest `Limit` of one request.
PAGE_ITEMS = 1000
PAGE_ITEMS_MIN = 16
# Few stored items are smaller. `max_bytes` / SMALL_ITEM_BYTES is thus the most that is worth fetching.
SMALL_ITEM_BYTES = 128
# Over-read factor: fetch 1.5 times what the last hit rate suggests, so that most scans need one round.
OVER_READ = 1.5


class ScanPosition(NamedTuple):
    """The position of a scan: the key to continue after in each unfinished segment, and what the last round found."""

    starts: dict[int, Key | None]
    total: int
    scanned: int = 0
    matched: int = 0

    @classmethod
    def from_position(cls, position: Position | None) -> "ScanPosition":
        """Return the position in a cursor; None for the beginning."""
        if position is None:
            return cls(dict.fromkeys(range(SCAN_SEGMENTS)), SCAN_SEGMENTS)
        total, scanned, matched, starts = position
        return cls({int(segment): key and _key(key) for segment, key in starts.items()}, total, scanned, matched)


class ScanPage(NamedTuple):
    """Items, each with its segment and key, in the order of the segments; and where each segment continues."""

    at: ScanPosition
    ends: Mapping[int, Key | None]
    items: list[Item]
    entries: list[tuple[int, Key]]
    scanned: int

    def get_end(self) -> Position | None:
        """Return the position after all items, None at the end of the table."""
        return self._position(dict(self.ends)) if self.ends else None

    def get_position_after(self, n: int) -> Position:
        """Return the position after item `n`: its segment continues there, later segments with items are read again."""
        segment, key = self.entries[n]
        ends = dict(self.ends)
        for other, _ in self.entries[n + 1 :]:
            ends[other] = self.at.starts[other]
        if self.entries[n + 1 :] and self.entries[n + 1][0] == segment:
            ends[segment] = key
        return self._position(dict(sorted(ends.items())))

    def _position(self, starts: dict[int, Key | None]) -> Position:
        counts = [self.scanned, len(self.entries)]
        return [self.at.total, *counts, {str(segment): key and _text(key) for segment, key in starts.items()}]

    @classmethod
    def from_responses(
        cls, at: ScanPosition, read: Read, segments: Sequence[int], answers: Sequence[Response]
    ) -> "ScanPage":
        """Return the page that the answers of some segments make.

        The keys of all segments must fit into a cursor. So a segment behind the first whose keys have no room in it is
        left where it was: a later call reads it again.
        """
        items: list[Item] = []
        entries: list[tuple[int, Key]] = []
        ends = dict(at.starts)
        first = next(iter(ends))
        bytes_of = {segment: _bytes(key) for segment, key in ends.items() if segment != first}
        for segment, answer in zip(segments, answers, strict=True):
            keys = [*map(get_key, answer["Items"]), *filter(None, [_last(answer)])]
            longest = max(map(_bytes, keys), default=0)
            if segment != first:
                grown = max(longest, bytes_of[segment])
                if sum(bytes_of.values()) - bytes_of[segment] + grown > limits.CURSOR_OTHER_KEYS_BYTES:
                    continue
                bytes_of[segment] = grown
            own_items = [item for item in answer["Items"] if get_key(item).pk.startswith(str(read.pk_prefix))]
            items += [select_attributes(item, read.attributes) for item in own_items]
            entries += [(segment, get_key(item)) for item in own_items]
            if (last := _last(answer)) is None:
                del ends[segment]
            else:
                ends[segment] = last
        return cls(at, ends, items, entries, sum(answer["ScannedCount"] for answer in answers))


def _last(answer: Response) -> Key | None:
    last = answer.get("LastEvaluatedKey")
    return None if last is None else get_key(last)


def _text(key: Key) -> str:
    """Return a key as one text, which a cursor's padding counts as one."""
    return f"{len(key.pk)}:{key.pk}{key.sk}"


def _key(text: str) -> Key:
    length, _, both = text.partition(":")
    return Key(both[: int(length)], both[int(length) :])


def _bytes(key: Key | None) -> int:
    """Return the bytes that a key takes in a cursor, with the byte that ends it."""
    return 0 if key is None else len(_text(key).encode()) + 1


def count_items_needed(read: Read) -> int:
    """Return the number of items that are worth fetching."""
    return min(read.limit, max(PAGE_ITEMS_MIN, read.max_bytes // SMALL_ITEM_BYTES))


def plan_wave(at: ScanPosition, read: Read) -> tuple[list[int], int]:
    """Return which segments to ask next, and for how many items each.

    One segment if it probably holds enough items, else all remaining segments, estimated from the last round. A table
    with this deployment's items alone is read in order. A table with mostly other deployments' items is read in waves
    that probably hold enough, and in whole pages after a round that found nothing.
    """
    most = need = max(1, read.read_limit)
    if at.matched == at.scanned:  # at the beginning, and where everything is own
        need = min(most, count_items_needed(read))
    elif at.matched:
        need = min(most, math.ceil(count_items_needed(read) * OVER_READ * at.scanned / at.matched))
    longest = max(map(_bytes, at.starts.values())) or 1
    at_once = 1 if need <= PAGE_ITEMS else 1 + limits.CURSOR_OTHER_KEYS_BYTES // longest
    segments = list(at.starts)[:at_once]
    return segments, max(1, need // len(segments))


async def gather(calls: list[Callable[[], Awaitable[Response]]]) -> list[Response]:
    """Return the responses to concurrent calls, in order. The first failure cancels the others and is raised itself."""
    answers: dict[int, Response] = {}

    async def one(at: int) -> None:
        answers[at] = await calls[at]()

    try:
        async with anyio.create_task_group() as group:
            for at in range(len(calls)):
                group.start_soon(one, at)
    except ExceptionGroup as failures:
        failure = failures.exceptions[0]
        raise failure from failure.__cause__
    return [answers[at] for at in range(len(calls))]
