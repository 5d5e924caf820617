"""One query or scan: reads store pages on and on until the result is full, the data ends or the budget is spent.

Whole items only, and the cursor continues after the last item returned, so following cursors yields each exactly once.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import ALL_SORT_KEYS
from ddb_mcp.core.errors import DdbMcpError, Timeout
from ddb_mcp.core.indexes import IndexKey
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import count_bytes, shorten
from ddb_mcp.service.arguments import View
from ddb_mcp.service.reading.hints import explain_missing, explain_no_match, explain_no_sort_key
from ddb_mcp.service.reading.page_items import PageItems
from ddb_mcp.service.reading.projections import Projection
from ddb_mcp.service.reading.summary import Summary
from ddb_mcp.service.results import PageResult, Stopped
from ddb_mcp.service.selection import is_requested
from ddb_mcp.stores.base import Position, Progress, Read, StorePage
from ddb_mcp.stores.workers import offload, run_in_steps, run_in_worker

# A store page whose items are only counted.
# In Python's objects, a page of small numbers takes thirty times as much.
AGGREGATE_BYTES = 1_000_000
HINT_SECONDS = 3
HINT_ITEMS = 100
# 1/HINT_SHARE of the read budget is left for a hint, even if a listing has spent the whole budget.
HINT_SHARE = 20
HINT_READS = 1000
HINT_READ_BYTES = 1_000_000
HINT_BYTES = 400


class PageReader:
    """One call of query or scan.

    Args:
        fetch: the store's method.
        own: the deployment's prefix; items of others are left out and logged.
        read: what to read, and its limits for the whole call.
        view: what the result shows.
        projection: the part of each item that is shown, None for the whole item.
        max_bytes: bytes of compact JSON that the result may have. A key alone may be longer, and so may a cursor.
        cursor_bytes: bytes that a cursor takes more than an ordinary one.
        carried: for `count`, the total of the pages before.
        seal: makes a cursor from a position and the running count.
    """

    def __init__(
        self,
        fetch: Callable[[Read], Awaitable[StorePage]],
        own: Prefix,
        read: Read,
        *,
        view: View,
        projection: Projection | None,
        max_bytes: int,
        cursor_bytes: int,
        carried: int,
        seal: Callable[[Position, int], str],
    ) -> None:
        self._fetch = fetch
        self._own = own
        self._read = read
        self._view = view
        self._projection = projection
        self._max_bytes = max_bytes
        self._seal = seal
        self._aggregates = view in ("count", "summary")
        self._entries = PageItems(projection, max_bytes - limits.ENVELOPE_BYTES - cursor_bytes)
        self._count = carried
        self._summary = Summary(own, None if projection is None else projection.list_names())
        self._position = read.position
        self._entries_before = 0  # the number of entries before the position
        self._stopped: Stopped | None = None
        self._scanned = 0
        self._capacity: float | None = None
        self._hint: str | None = None

    async def read_page(self, progress: Progress) -> PageResult:
        """Return the page.

        Raises:
            Timeout: no store page came back in time.
            DdbMcpError: what the store raises. Items read before are lost; the same call reads them again.
        """
        with anyio.move_on_after(limits.READ_SECONDS) as scope:
            await self._read_on(progress)
        if scope.cancelled_caught:
            while len(self._entries) > self._entries_before:  # the position after them is not known
                self._entries.drop_last()
            if self._position == self._read.position and not self._entries:
                raise Timeout(f"The read took longer than {limits.READ_SECONDS} s and returned nothing.")
            self._stopped = "timeout"
        with anyio.move_on_after(HINT_SECONDS), suppress(DdbMcpError):  # the page is complete without a hint
            reason = await self._find_hint()
            self._hint = shorten(reason, HINT_BYTES) if reason else None
        while isinstance(page := await self._fit(), int):
            over = page
            while over > 0 and len(self._entries) > 1:
                over -= self._entries.last.bytes
                self._entries.drop_last()
            self._stop_at(await self._entries.last.position())
        return page

    async def _fit(self) -> PageResult | int:
        """Make the page, in the worker if it is large: a summary has many groups, an outline replaces a long item."""
        is_long = self._view == "summary" or self._entries.outlined or self._entries.bytes > limits.LOOP_BYTES
        return await run_in_worker(self._make_fitting_page) if is_long else self._make_fitting_page()

    def _make_fitting_page(self) -> PageResult | int:
        """Return the page, and by how many bytes it is too long with its last items.

        Its only item is shown in full instead of outlined if there is room, and shorter if it is too long.
        """
        page = self._make_page()
        if (over := self._measure(page) - self._max_bytes) > 0 and self._entries:
            if len(self._entries) > 1:
                return over
            self._entries.shorten_first(over)
            return self._make_page()
        if page.get("outlined") != [0] or len(self._entries) > 1:
            return page
        fits: PageResult = {**page, "items": [self._entries.first_whole()]}
        del fits["outlined"]
        return fits if count_bytes(fits) <= self._max_bytes else page

    def _measure(self, page: PageResult) -> int:
        """Return the bytes of the page, whose items were counted as they came."""
        rest = {name: value for name, value in page.items() if name != "items"}
        return count_bytes(rest) + (len(',"items":[]') + self._entries.bytes - 1 if self._entries else 0)

    async def _read_on(self, progress: Progress) -> None:
        while True:
            page = await self._fetch(self._next_read())
            self._scanned += page.scanned
            self._spend(page)
            if not await self._take(page):
                return
            self._go_to(page.next)
            self._stopped = self._reason_to_stop(page)
            if self._stopped or page.next is None:
                return
            if page.scanned:  # through a gateway, none of a page of other tenants' items
                await progress(f"{self._scanned} items read")

    def _next_read(self) -> Read:
        return self._read._replace(
            position=self._position,
            limit=limits.LIMIT_MAX if self._aggregates else self._read.limit - len(self._entries),
            read_limit=self._read.read_limit - self._scanned,
            max_bytes=AGGREGATE_BYTES if self._aggregates else max(1, self._entries.room),
        )

    def _reason_to_stop(self, page: StorePage) -> Stopped | None:
        """Return why nothing is read after this page, None if there is no reason or no more."""
        if page.next is None:
            return None if page.complete else "platform"
        if not self._aggregates and len(self._entries) >= self._read.limit:
            return "limit"
        if page.full and self._entries:
            return "bytes"
        return "read_budget" if page.spent or self._scanned >= self._read.read_limit else None

    async def _take(self, page: StorePage) -> bool:
        """Put a page's items into the result; False if an item did not fit and the page was left in its middle."""
        taken = len(page.items)

        def take() -> Iterator[None]:
            nonlocal taken
            for at, item in self._iter_own_items(page, self._read):
                if not self._take_item(page, at, item):
                    taken = at
                    return
                yield

        await run_in_steps(take(), page.items)
        if taken < len(page.items):
            self._stop_at(await page.after(taken - 1) if taken else self._position)
        return taken == len(page.items)

    def _take_item(self, page: StorePage, at: int, item: Item) -> bool:
        """Put an item of a page into the result; False if it does not fit."""
        if not self._aggregates:
            return self._entries.add(page, at)
        self._count += 1
        if self._view == "summary":
            self._summary.add(item)
        return True

    def _iter_own_items(self, page: StorePage, read: Read) -> Iterator[tuple[int, Item]]:
        for at, item in enumerate(page.items):
            if is_requested(item, read, self._own):
                yield at, item

    def _stop_at(self, position: Position | None) -> None:
        self._go_to(position)
        self._stopped = "platform" if position is None else "bytes"

    def _go_to(self, position: Position | None) -> None:
        self._position, self._entries_before = position, len(self._entries)

    async def _find_hint(self) -> str | None:
        """Return why the first page is empty or has nothing at a path, if one small read shows it."""
        if self._read.position is not None:
            return None
        if not self._count and not self._entries:
            return await self._explain_empty_page()
        if self._view != "items" or self._projection is None or not self._entries.missing:
            return None
        # Items behind this page may have the paths.
        limit = min(len(self._entries), HINT_ITEMS)
        items = await self._sample(self._read._replace(attributes=None, limit=limit)) or [self._entries.first]
        missing = self._projection._replace(paths=tuple(self._entries.missing))
        return await offload(partial(explain_missing, missing, items), items)

    async def _explain_empty_page(self) -> str | None:
        keys, every = self._read.range, self._read._replace(filter=(), limit=HINT_ITEMS)
        # If items were read and a filter left them out, the sort keys are not the reason. Some engines, and a
        # platform without ranges, read more than the range.
        if keys != ALL_SORT_KEYS and not (self._scanned and self._read.filter):
            index = self._read.secondary_index
            sort_key = index.sk if index and index.sk else IndexKey("sk")
            names = index.key_names if index else ()
            items = await self._sample(every._replace(range=ALL_SORT_KEYS, attributes=names))
            return explain_no_sort_key(keys.prefix or "", [text for item in items if (text := sort_key.get_text(item))])
        if self._read.filter:
            items = await self._sample(every._replace(attributes=None))
            return await offload(partial(explain_no_match, self._read.filter, items), items)
        return None

    async def _sample(self, read: Read) -> list[Item]:
        """Return some items for a hint. A part of the read budget is kept for hints."""
        budget = max(self._read.read_limit - self._scanned, self._read.read_limit // HINT_SHARE)
        budget = min(HINT_READS, budget)
        items: list[Item] = []
        while budget > 0 and not items:
            page = await self._fetch(read._replace(max_bytes=HINT_READ_BYTES, read_limit=budget))
            self._spend(page)
            items = [item for _, item in self._iter_own_items(page, read)]
            if page.next is None or page.spent:
                break
            read, budget = read._replace(position=page.next), budget - max(1, page.scanned)
        return items

    def _spend(self, page: StorePage) -> None:
        if page.capacity is not None:
            self._capacity = (self._capacity or 0.0) + page.capacity

    def _make_page(self) -> PageResult:
        page: dict[str, Any] = {
            "count": self._count if self._aggregates else len(self._entries),
            "complete": self._stopped is None,
        }
        if self._stopped is not None:
            page["stopped"] = self._stopped
            if self._position is not None:
                page["cursor"] = self._seal(self._position, self._count if self._view == "count" else 0)
        if outlined := self._entries.outlined:
            page["outlined"] = outlined
        if self._view == "summary" and (self._stopped or self._read.position is not None):
            page["hint"] = "This summary covers only what this call read; the other pages cover the rest."
        elif self._hint:
            page["hint"] = self._hint
        elif self._view == "items" and (index := self._read.secondary_index) and index.projected:
            page["hint"] = shorten(f"This index has only {', '.join(index.projected)}; get shows the rest.", HINT_BYTES)
        page["scanned"] = self._scanned
        if self._capacity is not None:
            page["capacity"] = self._capacity
        # Items come last: a host that shows only the beginning of a result still shows the other members.
        if not self._aggregates:
            page["items"] = self._entries.items
        if self._view == "summary":
            page["groups"] = self._summary.groups(self._max_bytes - count_bytes(page) - len(',"groups":[]'))
        return cast("PageResult", page)
