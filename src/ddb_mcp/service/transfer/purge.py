"""Counts and deletes the items of a deployment."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import NotProvisioned, Unavailable
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.service.concurrency import run_until_failure
from ddb_mcp.service.reading.pages import AGGREGATE_BYTES
from ddb_mcp.stores.base import NO_CONDITION, Position, Read, Store, StorePage

Advance = Callable[[int], None]
"""Called with the number of items just done."""

_COUNTED = 1000


@dataclass(frozen=True)
class ItemCount:
    """`exact` is False if there may be more."""

    items: int
    exact: bool

    def __str__(self) -> str:
        text = f"{self.items:,} item{'' if self.items == 1 else 's'}"
        return text if self.exact else f"at least {text}"


@dataclass(frozen=True)
class PurgeResult:
    """`complete` is False if the store cannot tell whether it showed everything (a platform without pages)."""

    deleted: int
    complete: bool


async def count_items(store: Store, prefix: Prefix) -> ItemCount:
    """Return the number of items under `prefix`, up to 1,000, within the time of a listing.

    Raises:
        DdbMcpError: what the store raises.
    """
    number, complete = 0, False
    with anyio.move_on_after(limits.READ_SECONDS):
        async for page in _iter_pages(store, prefix):
            number += len(_list_own_keys(page, prefix))
            complete = page.next is None and page.complete
            if number > _COUNTED:
                return ItemCount(_COUNTED, exact=False)
    return ItemCount(number, complete)


async def delete_all(store: Store, prefix: Prefix, advance: Advance) -> PurgeResult:
    """Delete every item under `prefix` that exists when this begins.

    It can be interrupted at any point and run again: deleted items stay deleted, and the rest is found again.

    Args:
        advance: called with the number of items just deleted.

    Raises:
        Unavailable: the platform keeps showing items that were deleted.
        DdbMcpError: what the store raises.
    """

    async def delete(key: Key) -> None:
        await store.delete(key, NO_CONDITION)
        advance(1)

    deleted, before = 0, (0, 0)
    while True:
        number, digest, complete = 0, 0, True
        async for page in _iter_pages(store, prefix):
            own = _list_own_keys(page, prefix)
            await run_until_failure(own, delete)
            number, digest, complete = number + len(own), digest + sum(map(hash, own)), page.complete
        deleted += number
        # A store that cannot tell whether there is more is read again, as long as it shows new items. Their
        # number and the sum of their hashes tell; the keys themselves could fill the memory.
        if complete or not number:
            return PurgeResult(deleted, complete)
        if (number, digest) == before:
            raise Unavailable("The platform still shows items that were deleted.", next="Look at them with scan.")
        before = number, digest


async def _iter_pages(store: Store, prefix: Prefix) -> AsyncIterator[StorePage]:
    """Yield the pages of all items under `prefix`, keys only; none if there is no table yet."""
    page: StorePage | None = await _read_page(store, prefix, None)
    while page is not None:
        # Read before the keys that it starts from are deleted: dynoxide finds nothing after such a key.
        following = None if page.next is None else await _read_page(store, prefix, page.next)
        yield page
        page = following


async def _read_page(store: Store, prefix: Prefix, position: Position | None) -> StorePage:
    read = Read(
        pk_prefix=prefix.joined,
        attributes=(),
        position=position,
        limit=limits.LIMIT_MAX,
        max_bytes=AGGREGATE_BYTES,
    )
    try:
        return await store.scan(read)
    except NotProvisioned:
        return StorePage([], None, 0)


def _list_own_keys(page: StorePage, prefix: Prefix) -> list[Key]:
    return [key for key in map(Key.of, page.items) if prefix.owns(key.pk)]
