"""One query or scan: reads store pages on and on until the result is full, the data ends or the budget is spent.

Whole items only, and the cursor goes on after the last item returned, so following cursors yields each exactly once.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, Timeout
from ddb_mcp.core.items import Item, item_to_json
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import clip, size
from ddb_mcp.service.arguments import View
from ddb_mcp.service.hints import why_nothing_matched
from ddb_mcp.service.outlines import outline
from ddb_mcp.service.results import PageResult, PlainItem, Stopped
from ddb_mcp.service.summary import Summary
from ddb_mcp.stores.base import Position, Progress, Read, StorePage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Entry:
    """An item of the result, and where it came from: position `at` of a store page that was read from `start`."""

    shown: PlainItem
    bytes: int
    outlined: bool
    page: StorePage
    start: Position | None
    at: int


class Listing:
    """One call of query or scan.

    Args:
        fetch: the store's method.
        own: what this deployment owns; other items are left out and logged.
        read: what to read, and its limits for the whole call.
        max_bytes: bytes of compact JSON that the result may have. A key alone may be longer.
        carried: for `count`, what the pages before have counted.
        seal: makes a cursor from a position and the running count.
    """

    def __init__(
        self,
        fetch: Callable[[Read], Awaitable[StorePage]],
        own: Prefix,
        read: Read,
        *,
        view: View,
        max_bytes: int,
        carried: int,
        seal: Callable[[Position, int], str],
    ) -> None:
        self._fetch = fetch
        self._own = own
        self._read = read
        self._view = view
        self._max_bytes = max_bytes
        self._seal = seal
        self._aggregates = view in ("count", "summary")
        self._entries: list[_Entry] = []
        self._bytes = 0
        self._count = carried
        self._summary = Summary(own)
        self._position = read.position
        self._stopped: Stopped | None = None
        self._scanned = 0
        self._capacity: float | None = None
        self._hint: str | None = None

    async def run(self, progress: Progress) -> PageResult:
        """The page.

        Raises:
            Timeout: nothing at all came back in time.
            DdbMcpError: what the store raises; what was read before is lost, and the same call reads it again.
        """
        with anyio.move_on_after(limits.READ_SECONDS) as scope:
            await self._read_on(progress)
        if scope.cancelled_caught:
            if self._position == self._read.position and not self._entries:
                raise Timeout(f"The read took longer than {limits.READ_SECONDS} s and gave nothing.")
            self._stopped = "timeout"
        with anyio.move_on_after(limits.HINT_SECONDS), suppress(DdbMcpError):  # the page stands without a hint
            await self._explain()
        while size(page := self._page()) > self._max_bytes and len(self._entries) > 1:
            self._drop_last()
            kept = self._entries[-1]
            await self._leave(kept.page, kept.start, kept.at + 1)
        if page.get("outlined") == [0] and len(self._entries) == 1:  # what an envelope may take was not needed
            whole = item_to_json(self._entries[0].page.items[self._entries[0].at])
            fits: PageResult = {**page, "items": [whole]}
            del fits["outlined"]
            if size(fits) <= self._max_bytes:
                return fits
        return page

    async def _read_on(self, progress: Progress) -> None:
        while True:
            page = await self._fetch(
                replace(
                    self._read,
                    position=self._position,
                    limit=limits.LIMIT_MAX if self._aggregates else self._read.limit - len(self._entries),
                    read_limit=self._read.read_limit - self._scanned,
                    max_bytes=limits.AGGREGATE_BYTES if self._aggregates else max(1, self._room()),
                )
            )
            self._scanned += page.scanned
            self._spend(page)
            if not await self._take(page):
                return
            self._position = page.next
            if page.next is None:
                self._stopped = None if page.complete else "platform"
                return
            if not self._aggregates and len(self._entries) >= self._read.limit:
                self._stopped = "limit"
                return
            if page.full and self._entries:
                self._stopped = "bytes"
                return
            if page.spent or self._scanned >= self._read.read_limit:
                self._stopped = "read_budget"
                return
            await progress(f"{self._scanned} items read")

    async def _take(self, page: StorePage) -> bool:
        """Put a page's items into the result; False when one did not fit and the page was left in the middle."""
        start = self._position
        for at, item in self._own_items(page):
            if at % limits.CHECKPOINT_ITEMS == 0:
                await cancel_shielded_checkpoint()  # where it was cancelled, the position would no longer be right
            if self._aggregates:
                self._count += 1
                if self._view == "summary":
                    self._summary.add(item)
                continue
            entry = self._entry(item, page, start, at)
            if self._entries and entry.bytes > self._room():
                await self._leave(page, start, at)
                return False
            self._add(entry)
        return True

    def _own_items(self, page: StorePage) -> Iterator[tuple[int, Item]]:
        for at, item in enumerate(page.items):
            if self._own.owns(item["pk"]["S"]):
                yield at, item
            else:
                logger.error("The store returned an item of another deployment; it was left out.")

    async def _leave(self, page: StorePage, start: Position | None, kept: int) -> None:
        """Let the listing go on after the first `kept` items of a page that was read from `start`."""
        self._stopped = "bytes"
        if kept == 0:
            self._position = start
        elif kept == len(page.items):
            self._position = page.next
        else:
            self._position = await page.after(kept - 1)
            if self._position is None:
                self._stopped = "platform"

    def _entry(self, item: Item, page: StorePage, start: Position | None, at: int) -> _Entry:
        shown = {"pk": item["pk"]["S"], "sk": item["sk"]["S"]} if self._view == "keys" else item_to_json(item)
        length, budget = size(shown) + 1, self._max_bytes - limits.ENVELOPE_BYTES
        if outlined := length > budget:
            shown = outline(item, budget)
            length = size(shown) + 1
        return _Entry(shown, length, outlined, page, start, at)

    def _add(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._bytes += entry.bytes

    def _drop_last(self) -> None:
        self._bytes -= self._entries.pop().bytes

    def _room(self) -> int:
        return self._max_bytes - limits.ENVELOPE_BYTES - self._bytes

    async def _explain(self) -> None:
        """Where a filter matched nothing, look at some items without it for a reason that can be seen.

        A twentieth of the read budget is for this even where the listing has spent it.
        """
        if self._count or self._entries or not self._read.filter or self._read.position is not None:
            return
        budget = max(self._read.read_limit - self._scanned, self._read.read_limit // 20)
        seen: list[Item] = []
        read = replace(
            self._read, filter=(), attributes=None, limit=limits.HINT_ITEMS, max_bytes=limits.HINT_READ_BYTES
        )
        read = replace(read, read_limit=min(limits.HINT_READS, budget))
        while read.read_limit > 0 and len(seen) < limits.HINT_ITEMS:
            sample = await self._fetch(read)
            self._spend(sample)
            seen += (item for _, item in self._own_items(sample))
            if sample.next is None or sample.spent:
                break
            read = replace(read, position=sample.next, read_limit=read.read_limit - max(1, sample.scanned))
        if reason := why_nothing_matched(self._read.filter, seen):
            self._hint = clip(reason, limits.HINT_BYTES)

    def _spend(self, page: StorePage) -> None:
        if page.capacity is not None:
            self._capacity = (self._capacity or 0.0) + page.capacity

    def _page(self) -> PageResult:
        page: PageResult = {
            "count": self._count if self._aggregates else len(self._entries),
            "complete": self._stopped is None,
            "scanned": self._scanned,
        }
        if self._stopped is not None:
            page["stopped"] = self._stopped
            if self._position is not None:
                page["cursor"] = self._seal(self._position, self._count if self._view == "count" else 0)
        if self._capacity is not None:
            page["capacity"] = self._capacity
        if outlined := [at for at, entry in enumerate(self._entries) if entry.outlined]:
            page["outlined"] = outlined
        if self._hint:
            page["hint"] = self._hint
        # Last, so that a host that shows only the beginning of a result still shows what the page is.
        if not self._aggregates:
            page["items"] = [entry.shown for entry in self._entries]
        if self._view == "summary":
            if self._stopped or self._read.position is not None:
                page["hint"] = "This summary covers what this call read; the other pages of the listing cover the rest."
            page["groups"] = self._summary.groups(self._max_bytes - size(page) - len(',"groups":[]'))
        return page
