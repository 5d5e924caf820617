"""The registry's items as plain JSON objects, with the usual string keys `pk` and `sk`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ddb_mcp.core.errors import ConditionFailed, Misconfigured
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.items import item_to_json, parse_item
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import Read, Store, StorePage, WriteCondition

Record = dict[str, Any]


@contextmanager
def sound(record: Record) -> Iterator[None]:
    """Raise Misconfigured instead of what a record raises that lacks members, or has them of other types."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, Misconfigured):
        raise Misconfigured(
            f"The gateway's registry has a damaged record: {record['pk']}, {record['sk']}.",
            next="Restore the registry from a backup.",
        ) from None


async def read_record(store: Store, key: Key) -> Record | None:
    """Return a record, None if there is none with this key."""
    item = await store.get(key)
    return None if item is None else item_to_json(item)


async def write_record(store: Store, record: Record, **same: Any) -> bool:
    """Write a record if the stored record has these members or, without any, if there is none.

    Return False if that does not hold.
    """
    condition = _expect_members(same) if same else WriteCondition(create_only=True)
    try:
        await store.put(parse_item(record, "record"), condition)
    except ConditionFailed:
        return False
    return True


async def delete_record(store: Store, key: Key, **same: Any) -> bool:
    """Delete a record if it has these members. Return False if it has not, or is gone."""
    try:
        await store.delete(key, _expect_members(same))
    except ConditionFailed:
        return False
    return True


def _expect_members(members: Record) -> WriteCondition:
    return WriteCondition(expect=parse_filter(members, "expect"))


async def iter_records(listing: Callable[[Read], Awaitable[StorePage]], read: Read) -> AsyncIterator[Record]:
    """Yield the records on all pages of a store's `query` or `scan`."""
    while True:
        page = await listing(read)
        for item in page.items:
            yield item_to_json(item)
        if page.next is None:
            return
        read = read._replace(position=page.next)
