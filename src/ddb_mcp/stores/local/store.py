"""The tools' operations over a table of items in a file on this machine."""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import KeyRange, matches
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import Item, measure_item, select_attributes
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import (
    FEATURES,
    Deleted,
    Deployment,
    Position,
    Progress,
    Read,
    Store,
    StorePage,
    WriteCondition,
    Written,
)
from ddb_mcp.stores.local.table import Changes, Documents, LocalTable, Rows, Stored, get_range_end

SQLITE_PAGE_ROWS = 10_000
# A page ends after this time, so that a listing can report its position, and that others have their turn between pages
# of long items.
SQLITE_PAGE_SECONDS = 0.03


logger = logging.getLogger(__name__)


class LocalStore(LocalTable, Store):
    """`Store` over a table in a file.

    Args:
        path: the file.
        table: the name that results report.
        registry: see `LocalTable`.

    Raises (each method): as `LocalTable` does.
    """

    mode = "local"
    positions_may_be_foreign = False

    def __init__(self, path: Path, table: str, *, registry: bool = False) -> None:
        super().__init__(path, registry=registry)
        self._table = table
        for warning in self._file.warnings():
            logger.warning("%s", warning)

    async def provision(self, progress: Progress) -> Deployment:
        created = await self.create()
        if (await self.about()).get("ttl") == "off":  # the app's CreateTable leaves it off, as DynamoDB does
            await self.note(lambda noted: {**noted, "ttl": "on"})
        return self._deployment(provisioned=True, created=created)

    async def info(self) -> Deployment:
        deployment = self._deployment(provisioned=await self.exists())
        if warnings := await self.warnings():
            return deployment._replace(details={"warnings": warnings})
        return deployment

    def _deployment(self, *, provisioned: bool, created: bool = False) -> Deployment:
        return Deployment(
            table_name=self._table, region="local", provisioned=provisioned, created=created, features=FEATURES
        )

    async def get(self, key: Key) -> Item | None:
        return await self.items([key], lambda stored: stored[key])

    async def put(self, item: Item, condition: WriteCondition, *, room: int | None = None) -> Written:
        key = Key.of(item)

        def put(stored: Stored) -> tuple[Changes, Written]:
            condition.check(stored[key], stored.check, room=room)
            return {key: item}, Written.from_replacement(stored[key], item).limit(room)

        return await self.change([key], put)

    async def merge(self, update: Update, condition: WriteCondition, *, room: int | None = None) -> Written:
        key = Key.of(update.item)

        def merge(stored: Stored) -> tuple[Changes, Written]:
            old = stored[key]
            condition.check(old, stored.check, room=room)
            new = update.apply(old)
            if (size := measure_item(new)) > limits.ITEM_MAX_BYTES:
                raise InvalidArgument(f"The merged item would have {size} bytes; the limit is {limits.ITEM_MAX_BYTES}.")
            return {key: new}, Written.from_update(update, old, new).limit(room, update.remove)

        return await self.change([key], merge)

    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Deleted:
        def delete(stored: Stored) -> tuple[Changes, Deleted]:
            condition.check(stored[key], stored.check, room=room)
            return {key: None}, Deleted(stored[key] is not None, stored[key]).limit(room)

        return await self.change([key], delete)

    async def query(self, read: Read) -> StorePage:
        assert read.pk is not None
        rows = Rows(read.pk, bounds=_make_bounds(read.range), after=_to_key(read.position), descending=read.descending)
        return await self.read(rows, partial(_fill_page, read))

    async def scan(self, read: Read) -> StorePage:
        assert read.pk_prefix is not None
        rows = Rows(pk_prefix=read.pk_prefix, pk_is_longer=read.pk_is_longer, after=_to_key(read.position))
        return await self.read(rows, partial(_fill_page, read))


def _make_bounds(keys: KeyRange) -> tuple[tuple[str, bytes], ...]:
    pairs = ((">=", keys.low), ("<=", keys.high), (">=", keys.prefix))
    bounds = [(comparison, bound.encode()) for comparison, bound in pairs if bound is not None]
    if keys.prefix is not None:
        bounds.append(("<", get_range_end(keys.prefix.encode())))
    return tuple(bounds)


def _to_key(position: Position | None) -> Key | None:
    return None if position is None else Key(*position)


def _fill_page(read: Read, documents: Documents) -> StorePage:
    items: list[Item] = []
    scanned = size = 0
    last: list[str] | None = None
    end = time.monotonic() + SQLITE_PAGE_SECONDS
    for document in documents:
        is_full = (
            len(items) >= read.limit
            or scanned >= min(read.read_limit, SQLITE_PAGE_ROWS)
            or size > read.max_bytes
            or (scanned and time.monotonic() > end)
        )
        # A long item begins a page of its own: reading it again would read the others again too.
        if is_full or (scanned and documents.is_long(len(document))):
            break
        item = documents.item(document)
        scanned += 1
        last = _get_position(item)
        if matches(read.filter, item, documents.check):
            size += len(document)
            items.append(select_attributes(item, read.attributes))
    else:
        last = None
    return StorePage(items, last, scanned, _make_after(items))


def _make_after(items: list[Item]) -> Callable[[int], Awaitable[Position]]:
    positions = [_get_position(item) for item in items]  # not the items, which a page may outlive

    async def after(at: int) -> Position:
        return positions[at]

    return after


def _get_position(item: Item) -> list[str]:
    return [item["pk"]["S"], item["sk"]["S"]]
