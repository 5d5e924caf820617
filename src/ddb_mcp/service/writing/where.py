"""`put` and `delete` with `where`: the same write to every selected item, each under a condition, with a cursor."""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import ITEM_EXISTS, iter_comparisons
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, InvalidArgument, OutcomeUnknown, PrefixViolation, Timeout
from ddb_mcp.core.expressions import ExpressionBuilder
from ddb_mcp.core.items import Item, convert_attributes, from_json, measure_item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import project
from ddb_mcp.core.text import count_bytes
from ddb_mcp.core.updates import Update
from ddb_mcp.service.arguments import DeleteArguments, PutArguments, Where
from ddb_mcp.service.call_context import CallContext
from ddb_mcp.service.concurrency import run_concurrently
from ddb_mcp.service.cursors import SCAN_CURSOR_LENGTHS
from ddb_mcp.service.outlines import show_item
from ddb_mcp.service.parameters import parse_text
from ddb_mcp.service.reading.pages import AGGREGATE_BYTES
from ddb_mcp.service.results import DeleteResult, Failure, PlainItem, PutResult
from ddb_mcp.service.selection import is_requested, parse_selection
from ddb_mcp.service.writing.inputs import make_update, parse_changes
from ddb_mcp.service.writing.moves import copy_item, move_item
from ddb_mcp.service.writing.warnings import list_write_warnings
from ddb_mcp.stores.base import Read, SelectionResult, SelectionWrite, StorePage, WriteCondition
from ddb_mcp.stores.workers import offload

# A `where` reports progress after this many items.
WHERE_PROGRESS_ITEMS = 100


_CHANGES = "item, remove, add, copy_to or move_to"
# Errors that concern one item. Any other error would also fail the next write.
_ERRORS_OF_ONE_ITEM = (ConditionFailed, InvalidArgument, OutcomeUnknown, PrefixViolation)


async def put(call: CallContext, arguments: PutArguments) -> PutResult:
    """Set, add and remove in every item that `where` selects, or copy or move each to another partition.

    Raises:
        InvalidArgument, PrefixViolation: an argument is wrong, or cannot be combined with `where`.
        DdbMcpError: what the store raises before anything was written; later errors are in the result.
    """
    _refuse(arguments, _CHANGES, "items", "merge", "create_only", "expect")
    assert arguments.where is not None
    selection = SelectionWrite(_parse_where(call, arguments.where), dry_run=bool(arguments.dry_run))
    if arguments.copy_to is not None:
        selection = selection._replace(copy_to=_parse_target(call, arguments, "copy_to"))
    elif arguments.move_to is not None:
        selection = selection._replace(move_to=_parse_target(call, arguments, "move_to"))
    else:
        change = await offload(partial(_parse_change, arguments), arguments.item)
        rules = await call.get_index_rules()
        rules.check_item(change.item, "item")
        rules.check_additions(change.add)
        selection = selection._replace(change=change)
    return cast("PutResult", await _write_selected(call, "put", selection, arguments.cursor))


async def delete(call: CallContext, arguments: DeleteArguments) -> DeleteResult:
    """Delete every item that `where` selects. Raises as `put` does."""
    _refuse(arguments, "", "pk", "sk", "keys", "expect")
    assert arguments.where is not None
    selection = SelectionWrite(_parse_where(call, arguments.where), dry_run=bool(arguments.dry_run))
    return cast("DeleteResult", await _write_selected(call, "delete", selection, arguments.cursor))


def _refuse(arguments: PutArguments | DeleteArguments, instead: str, *names: str) -> None:
    """Raise InvalidArgument if an argument is set that cannot be combined with `where`."""
    refused = [name for name in names if getattr(arguments, name) is not None]
    if refused:
        advice = f"With where, pass {instead}." if instead else "Move the selection into where."
        raise InvalidArgument(f"{refused[0]} cannot be combined with where.", next=advice)


def _parse_where(call: CallContext, where: Where) -> Read:
    """Return the read of the items that are selected.

    Raises:
        InvalidArgument, PrefixViolation: see `parse_selection`; or everything of the deployment is selected.
    """
    read = parse_selection(where, call.prefix, "where.")
    if read.pk_prefix == call.prefix.joined and not where.filter:  # a range of sort keys alone narrows nothing
        raise InvalidArgument(
            "where selects every item of this deployment.",
            next="Add a pk, a longer pk_prefix or a filter to where. `ddb-mcp purge` deletes everything.",
        )
    text = ExpressionBuilder().condition((ITEM_EXISTS, *read.filter))
    if len(text) > limits.EXPRESSION_MAX_BYTES:
        raise InvalidArgument("where.filter is too long to guard each write.", next="Use fewer conditions.")
    return read._replace(read_limit=call.read_budget, max_bytes=AGGREGATE_BYTES)


def _parse_change(arguments: PutArguments) -> Update:
    """Return the change of each item. Raises InvalidArgument."""
    item = arguments.item
    if isinstance(item, str):
        item = parse_text(item, "item", "item")
    if item is not None and not isinstance(item, dict):
        raise InvalidArgument("item must be an object.")
    for name in ("pk", "sk"):
        if item and name in item:
            raise InvalidArgument(f"item.{name} cannot be combined with where, which selects the keys.")
    shared = parse_changes(arguments.remove, arguments.add)
    update = make_update(convert_attributes(item or {}, from_json, "item"), shared, "item")
    if not (update.item or update.remove or update.add):
        raise InvalidArgument("There is nothing to write.", next=f"With where, pass {_CHANGES}.")
    if measure_item(update.item) > limits.ITEM_MAX_BYTES:
        raise InvalidArgument(f"item has more than {limits.ITEM_MAX_BYTES} bytes by DynamoDB's size rules.")
    return update


def _parse_target(call: CallContext, arguments: PutArguments, parameter: str) -> str:
    """Return the partition key in `copy_to` or `move_to`. Raises InvalidArgument or PrefixViolation."""
    for name in {"item", "remove", "add", "copy_to", "move_to"} - {parameter}:
        if getattr(arguments, name) is not None:
            raise InvalidArgument(f"{name} cannot be combined with {parameter}.", next="Make two calls.")
    assert arguments.where is not None
    if arguments.where.pk is None:
        raise InvalidArgument(f"{parameter} requires where.pk: it works on one partition.")
    pk = call.prefix.check_pk(getattr(arguments, parameter), parameter)
    if pk == arguments.where.pk:
        raise InvalidArgument(f"{parameter} is the same as where.pk; use another pk.")
    return pk


async def _write_selected(
    call: CallContext, operation: str, selection: SelectionWrite, cursor: str | None
) -> dict[str, Any]:
    """Carry out a selection. Returns the result of `put` or `delete` with `where`."""
    read, change = selection.read, selection.change
    clauses = sorted(map(repr, read.filter))
    bound: list[Any] = [operation, call.prefix.joined, read.pk, read.pk_prefix, read.range, clauses, selection.copy_to]
    bound += [selection.move_to, change and [change.item, change.remove, dict(change.add)], selection.dry_run]
    if cursor is not None:
        position = await offload(partial(call.seal.open, cursor, bound), change and change.item)
        read = read._replace(position=position)
    selection = selection._replace(read=read._replace(limit=call.max_writes))
    selected = await call.store.write_selected(selection, call.progress)
    if selected is None:
        selected = await _SelectionWriter(call, selection).run()
    result: dict[str, Any] = {"matched": selected.matched, "complete": selected.complete}
    if not selected.complete and selected.next is not None:
        lengths = SCAN_CURSOR_LENGTHS if read.pk is None and call.store.positions_may_be_foreign else ()
        seal = partial(call.seal.seal, selected.next, bound, lengths)
        result["cursor"] = await offload(seal, change and change.item)
    if not selection.dry_run:
        result["written" if operation == "put" else "deletedCount"] = selected.written
        result["failedCount"] = selected.failures
    warnings = []
    if change and selected.written:
        warn = partial(list_write_warnings, change, ttl_is_off=call.ttl_is_off)
        warnings = await offload(warn, change.item)
    if selected.stopped is not None:
        stopped = selected.stopped
        texts = ("The call stopped early.", stopped.message, stopped.quoted, stopped.next)
        warnings.append(" ".join(filter(None, texts)))
    if warnings:
        result["warnings"] = warnings
    if selection.dry_run:
        result["sample"] = await _show_sample(selected.sample, call.max_bytes - count_bytes({**result, "sample": []}))
    else:
        result["failed"] = [_make_failure(key, error) for key, error in selected.failed]
    shown = result["sample" if selection.dry_run else "failed"]
    while shown and count_bytes(result) > call.max_bytes:
        shown.pop()
    return result


async def _show_sample(sample: list[Item], room: int) -> list[PlainItem]:
    """Return the items as plain JSON, or as outlines, in `room` bytes, of which each has an equal share."""
    shown: list[PlainItem] = []
    for item in sample:
        share = room // (len(sample) - len(shown)) - len(",")
        shown.append((await offload(partial(show_item, item, share), item))[0])
        room -= count_bytes(shown[-1]) + len(",")
    return shown


def _get_time() -> float:
    return anyio.current_time()


class _SelectionWriter:
    """One call of `where` over the store's own methods."""

    def __init__(self, call: CallContext, selection: SelectionWrite) -> None:
        self._call = call
        self._selection = selection
        self._read = selection.read
        self._guard = WriteCondition(expect=(ITEM_EXISTS, *selection.read.filter))
        self._target = selection.copy_to or selection.move_to
        self._named = [clause.path for clause in iter_comparisons(selection.read.filter)]
        self._until = _get_time() + call.write_seconds
        self._scanned = 0
        self._selected = SelectionResult(next=selection.read.position)

    async def run(self) -> SelectionResult:
        """Read and write until the end of the selection, or up to the limits of one call.

        Raises:
            Timeout: no page was read in time.
            DdbMcpError: the reason why nothing was written.
        """
        selected = self._selected
        try:
            while await self._write_page():
                await self._report()
        except DdbMcpError as error:
            selected.stopped = error
        if selected.stopped is not None and selected.failures == selected.matched:
            raise selected.stopped
        if not selected.matched and not selected.complete and selected.next == self._read.position:
            raise Timeout(f"Nothing was read and written within {self._call.write_seconds} s.")
        return selected

    async def _write_page(self) -> bool:
        """Read a page and write to its items. False if the call ends."""
        selected, dry_run = self._selected, self._selection.dry_run
        start = selected.next
        limit = limits.LIMIT_MAX if dry_run else self._read.limit - selected.matched
        page = await self._fetch(self._read._replace(position=start, limit=limit))
        if page is None:
            return False
        self._scanned += page.scanned
        begun = len(page.items) if dry_run else await self._write_to(page)
        if dry_run:
            self._count(page)
        if begun < len(page.items):
            selected.next = await page.after(begun - 1) if begun else start
            return False
        selected.next = page.next
        selected.complete = page.next is None and page.complete
        is_full = not dry_run and selected.matched >= self._read.limit
        if page.next is None or is_full or page.spent or selected.stopped is not None:
            return False
        return self._scanned < self._read.read_limit

    async def _report(self) -> None:
        await self._call.progress(f"{self._selected.matched} items selected, {self._selected.written} written")

    async def _fetch(self, read: Read) -> StorePage | None:
        """Return a page, None if the time of the call is over first."""
        read = read._replace(
            read_limit=max(1, self._read.read_limit - self._scanned), attributes=self._list_attributes()
        )
        store = self._call.store
        with anyio.move_on_after(self._until - anyio.current_time()):
            return await (store.query if read.pk is not None else store.scan)(read)
        return None

    def _list_attributes(self) -> tuple[str, ...] | None:
        """Return the attributes that the next page needs besides the keys: all to copy, those of a sample, or none."""
        if not self._selection.dry_run:
            return None if self._target else ()
        names = dict.fromkeys(str(path[0]) for path in self._named if path[0] not in ("pk", "sk"))
        return tuple(names) if len(self._selected.sample) < limits.WHERE_SAMPLE else ()

    def _selects(self, item: Item) -> bool:
        return is_requested(item, self._read, self._call.prefix)

    def _count(self, page: StorePage) -> None:
        selected = self._selected
        items = [item for item in page.items if self._selects(item)]
        selected.matched += len(items)
        selected.sample += [project(item, self._named) for item in items[: limits.WHERE_SAMPLE - len(selected.sample)]]

    async def _write_to(self, page: StorePage) -> int:
        """Write to the items of a page, several at a time. Returns how many writes were begun."""
        begun = 0

        def due() -> Iterator[Item]:
            nonlocal begun
            while begun < len(page.items) and self._selected.stopped is None and _get_time() < self._until:
                begun += 1
                yield page.items[begun - 1]

        async def write(item: Item) -> None:
            if self._selects(item):
                await self._write(item)

        await run_concurrently(due(), write)
        return begun

    async def _write(self, item: Item) -> None:
        selected, key = self._selected, Key.of(item)
        selected.matched += 1
        try:
            done = await self._write_one(key, item)  # awaited first: other writes change the sum meanwhile
            selected.written += done
        except DdbMcpError as error:
            selected.failures += 1
            if len(selected.failed) < limits.WHERE_FAILURES:
                selected.failed.append((key, error))
            if not isinstance(error, _ERRORS_OF_ONE_ITEM):
                selected.stopped = error
        if selected.matched % WHERE_PROGRESS_ITEMS == 0:
            await self._report()

    async def _write_one(self, key: Key, item: Item) -> bool:
        """Write to one item. Returns whether it was written."""
        store, change = self._call.store, self._selection.change
        if self._target is not None:
            await self._copy(item, {**item, "pk": {"S": self._target}})
            return True
        try:
            if change is None:
                return (await store.delete(key, self._guard, room=0)).deleted is not False
            await store.merge(change._replace(item={**key.attributes, **change.item}), self._guard, room=0)
        except ConditionFailed as error:
            change_seen = "has changed, and where no longer selects it" if error.exists else "is gone"
            raise ConditionFailed(f"The item {change_seen}.", next="Left alone; nothing was written to it.") from None
        return True

    async def _copy(self, item: Item, copy: Item) -> None:
        if await offload(partial(measure_item, copy), copy) > limits.ITEM_MAX_BYTES:
            raise InvalidArgument(f"The copy would have more than {limits.ITEM_MAX_BYTES} bytes.")
        (await self._call.get_index_rules()).check_item(copy, "the copy")
        store = self._call.store
        if self._selection.move_to is None:
            await copy_item(store, copy)
        elif not await store.move(item, copy):
            await move_item(store, item, copy)


def _make_failure(key: Key, error: DdbMcpError) -> Failure:
    """Return a failed write by its key, without the stored item: there may be many failures."""
    shown = error.to_json()
    shown.pop("item", None)
    return {"pk": key.pk, "sk": key.sk, "error": shown}
