"""The registry's items as plain JSON objects, whose `pk` and `sk` are strings like everybody's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.items import Item, item_to_json, parse_item
from ddb_mcp.stores.base import Read, StorePage, WriteCondition

Record = dict[str, Any]


def to_item(record: Record) -> Item:
    """The item that holds a record."""
    return parse_item(record, "record")


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


def expect_members(**members: Any) -> WriteCondition:
    """The condition that the stored record has these members."""
    return WriteCondition(expect=parse_filter(members, "expect"))


async def iter_records(listing: Callable[[Read], Awaitable[StorePage]], read: Read) -> AsyncIterator[Record]:
    """The records of all pages of a store's `query` or `scan`."""
    while True:
        page = await listing(read)
        for item in page.items:
            yield item_to_json(item)
        if page.next is None:
            return
        read = read._replace(position=page.next)
