"""The tools' operations over a table of items in a file on this machine."""

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import KeyRange, matches
from ddb_mcp.core.errors import ConditionFailed, InvalidArgument
from ddb_mcp.core.indexes import Index, IndexKey, list_key_conflicts
from ddb_mcp.core.items import Item, measure_item, select_attributes
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import (
    FEATURES,
    Deleted,
    Deployment,
    Progress,
    Read,
    Store,
    StorePage,
    WriteCondition,
    Written,
    is_visible_in,
    make_after,
)
from ddb_mcp.stores.local.table import Changes, Documents, LocalTable, Rows, StoredItems, get_range_end

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
        indexes: secondary indexes that `provision` creates.
        registry: see `LocalTable`.

    Raises (each method): as `LocalTable` does.
    """

    mode = "local"
    positions_may_be_foreign = False

    def __init__(self, path: Path, table: str, *, indexes: tuple[Index, ...] = (), registry: bool = False) -> None:
        super().__init__(path, registry=registry)
        self._table = table
        self._declared = indexes
        for warning in self._file.warnings():
            logger.warning("%s", warning)

    async def provision(self, progress: Progress) -> Deployment:
        created = await self.create()
        if (await self.load_facts()).get("ttl") == "off":  # the app's CreateTable leaves it off, as DynamoDB does
            await self.update_facts(lambda noted: {**noted, "ttl": "on"})
        if self._declared:
            await self.create_indexes(self._declared)
        deployment = await self._deployment(provisioned=True)
        warnings = list_key_conflicts(self._declared, deployment.indexes or ())
        return deployment._replace(created=created, details={"warnings": warnings} if warnings else {})

    async def info(self) -> Deployment:
        details: dict[str, Any] = {"warnings": warnings} if (warnings := await self.warnings()) else {}
        if (await self.load_facts()).get("ttl") == "off":
            details["ttl"] = "disabled"
        deployment = await self._deployment(provisioned=await self.exists())
        return deployment._replace(details=details)

    async def _deployment(self, *, provisioned: bool) -> Deployment:
        return Deployment(
            table_name=self._table,
            region="local",
            provisioned=provisioned,
            features=FEATURES,
            indexes=await self.get_indexes(),
        )

    async def get(self, key: Key) -> Item | None:
        return await self.items([key], lambda stored: stored[key])

    async def put(self, item: Item, condition: WriteCondition, *, room: int | None = None) -> Written:
        key = Key.of(item)

        def put(stored: StoredItems) -> tuple[Changes, Written]:
            condition.check(stored[key], stored.check, room=room)
            return {key: item}, Written.from_replacement(stored[key], item).limit(room)

        return await self.change([key], put)

    async def merge(self, update: Update, condition: WriteCondition, *, room: int | None = None) -> Written:
        key = Key.of(update.item)

        def merge(stored: StoredItems) -> tuple[Changes, Written]:
            old = stored[key]
            condition.check(old, stored.check, room=room)
            new = update.apply(old)
            if (size := measure_item(new)) > limits.ITEM_MAX_BYTES:
                raise InvalidArgument(f"The merged item would have {size} bytes; the limit is {limits.ITEM_MAX_BYTES}.")
            changes = {} if old is None and update.only_removes else {key: new}
            return changes, Written.from_update(update, old, new).limit(room, update.remove)

        return await self.change([key], merge)

    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Deleted:
        def delete(stored: StoredItems) -> tuple[Changes, Deleted]:
            condition.check(stored[key], stored.check, room=room)
            return {key: None}, Deleted(stored[key] is not None, stored[key]).limit(room)

        return await self.change([key], delete)

    async def move(self, item: Item, copy: Item) -> bool:
        source, target = Key.of(item), Key.of(copy)

        def move(stored: StoredItems) -> tuple[Changes, bool]:
            if not is_visible_in(item, stored[source]):
                state = "is gone" if stored[source] is None else "has changed"
                raise ConditionFailed(
                    f"The item {state}.", next="Left alone; call again to include what is stored now."
                )
            if not is_visible_in(copy, stored[target]):
                WriteCondition(create_only=True).check(stored[target], room=0)
            return {target: copy, source: None}, True

        return await self.change([source, target], move)

    async def query(self, read: Read) -> StorePage:
        assert read.pk is not None
        index = read.secondary_index
        sort_key = (index.sk or index.pk) if index else IndexKey("sk")
        rows = Rows(
            read.pk, bounds=make_bounds(read.range, sort_key), descending=read.descending, secondary_index=index
        )
        if read.position is not None:
            *before, pk, sk = read.position
            # In an index without a sort key, all items of a partition have the partition key in its place.
            after_sort_key = sort_key.encode(before[0] or read.pk) if before else b""
            rows = rows._replace(after=Key(pk, sk), after_sort_key=after_sort_key)
        return await self.read(rows, partial(_fill_page, read))

    async def scan(self, read: Read) -> StorePage:
        assert read.pk_prefix is not None
        after = None if read.position is None else Key(*read.position)
        rows = Rows(pk_prefix=read.pk_prefix, pk_is_longer=read.pk_is_longer, after=after)
        return await self.read(rows, partial(_fill_page, read))


def make_bounds(keys: KeyRange, sort_key: IndexKey) -> tuple[tuple[str, bytes], ...]:
    """Return a range as comparisons with the bytes of a sort key."""
    pairs = ((">=", keys.low), ("<=", keys.high), (">=", keys.prefix))
    bounds = [(comparison, sort_key.encode(bound)) for comparison, bound in pairs if bound is not None]
    if keys.prefix is not None and (end := get_range_end(sort_key.encode(keys.prefix))):
        bounds.append(("<", end))
    return tuple(bounds)


def _fill_page(read: Read, documents: Documents) -> StorePage:
    index = read.secondary_index
    items: list[Item] = []
    positions: list[list[str]] = []  # not the items, which a page may outlive
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
        last = _get_position(item, index)
        if index:
            item = select_attributes(item, index.projected)
        if (index is None or last[1].startswith(read.pk_prefix or "")) and matches(read.filter, item, documents.check):
            size += len(document)
            items.append(select_attributes(item, read.attributes))
            positions.append(last)
    else:
        last = None
    return StorePage(items, last, scanned, make_after(positions))


def _get_position(item: Item, index: Index | None) -> list[str]:
    before = [(index.sk and index.sk.get_text(item)) or ""] if index else []
    return [*before, item["pk"]["S"], item["sk"]["S"]]
