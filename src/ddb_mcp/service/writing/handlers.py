"""`put` and `delete`: one item, or a batch of independent writes."""

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, InvalidArgument, Timeout
from ddb_mcp.core.indexes import IndexRules
from ddb_mcp.core.items import Item, item_to_json
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import format_path
from ddb_mcp.core.text import count_bytes, shorten
from ddb_mcp.core.updates import Update
from ddb_mcp.service.arguments import DeleteArguments, PutArguments
from ddb_mcp.service.call_context import CallContext, show_failed_condition
from ddb_mcp.service.concurrency import run_concurrently
from ddb_mcp.service.outlines import OUTLINE_DELETED, show_item
from ddb_mcp.service.results import ITEM_ENVELOPE_BYTES, DeleteResult, Failure, PutResult
from ddb_mcp.service.writing import where as selected
from ddb_mcp.service.writing.dropped_values import show_dropped
from ddb_mcp.service.writing.inputs import make_update, parse_changes, parse_expect, parse_own_item
from ddb_mcp.service.writing.warnings import list_absent_warnings, list_write_warnings
from ddb_mcp.stores.base import WriteCondition, Written
from ddb_mcp.stores.workers import offload, run_in_steps

WARNINGS_MAX = 10


# One failure of a batch takes a tenth of the result's bytes at most, and shows no stored item in less than _LEAST_SHOWN
# bytes, nor one that is longer than _MOST_SHOWN: as Python objects, wide items take a hundred times as much. Position
# and code of each failure take _CODE_BYTES.
_FAILURES_IN_FULL = 10
_MOST_SHOWN = 40_000
_LEAST_SHOWN = 200
_CODE_BYTES = len('{"index":99,"error":{"code":"condition_failed"}},')

_T = TypeVar("_T")
_R = TypeVar("_R")


async def put(call: CallContext, arguments: PutArguments) -> PutResult:
    """Store or change one item, several independent items, or all items that `where` selects.

    Raises:
        InvalidArgument, PrefixViolation: an argument is wrong; nothing was written.
        DdbMcpError: what the store raises for one item. For several items it is in the result.
    """
    if arguments.where is not None:
        return await selected.put(call, arguments)
    _refuse_alone(arguments, "copy_to", "move_to", "dry_run", "cursor")
    if (arguments.item is None) == (arguments.items is None):
        raise InvalidArgument("Pass either item or items.")
    merges = bool(arguments.merge or arguments.remove or arguments.add)
    if arguments.create_only and (arguments.expect or merges):
        raise InvalidArgument("create_only cannot be combined with expect, merge, remove or add.")
    condition = WriteCondition(bool(arguments.create_only), parse_expect(arguments.expect))
    names = arguments.remove, arguments.add
    change = await offload(partial(parse_changes, *names), *names) if merges else None
    rules = await call.get_index_rules()
    rules.check_additions(change.add if change else {})

    if arguments.items is not None:
        values = {f"items[{at}]": value for at, value in enumerate(arguments.items)}
        return await _put_batch(call, await _parse_write(call, values, change, rules), condition)
    (write,) = await _parse_write(call, {"item": arguments.item}, change, rules)
    written = await _write(call, write, condition)
    return await offload(partial(_make_put_result, call, write, written), _get_item(write), *written.dropped.values())


async def _parse_write(
    call: CallContext, values: dict[str, Any], change: Update | None, rules: IndexRules
) -> list[Item | Update]:
    """Return the writes of these items, by the names that errors give them. Raises InvalidArgument, PrefixViolation."""
    writes: list[Item | Update] = []

    def check() -> Iterator[None]:
        for where, value in values.items():
            item = parse_own_item(call, value, where)
            rules.check_item(item, where)
            writes.append(make_update(item, change, where) if change else item)
            yield

    await run_in_steps(check(), values, change and [len(values) * [*map(str, change.remove)]])
    return writes


async def _put_batch(call: CallContext, writes: list[Item | Update], condition: WriteCondition) -> PutResult:
    _refuse_twice([Key.of(_get_item(write)) for write in writes], "items")
    await call.store.check_batch(writes, condition)
    room = _get_room(call)
    written, failed = await _run_batch(call, writes, lambda write: _write(call, write, condition, room))
    warnings: list[str] = []

    def warn() -> Iterator[None]:
        for at, outcome in written.items():
            texts = [
                *list_write_warnings(writes[at], ttl_is_off=call.ttl_is_off),
                *list_absent_warnings(outcome),
            ]
            if gone := [shorten(format_path(path), 50) for path in outcome.gone]:
                texts.append(shorten(f"replaced a stored item; dropped: {', '.join(gone)}", 300))
            warnings.extend(f"items[{at}]: {text}" for text in texts)
            yield

    await run_in_steps(warn(), [*map(_get_item, writes)])
    result: PutResult = {"written": len(written)}
    if warnings:
        result["warnings"] = _fit_warnings(warnings, call.max_bytes - limits.ENVELOPE_BYTES - count_bytes(failed))
    return {**result, "failed": failed}


async def _write(
    call: CallContext, write: Item | Update, condition: WriteCondition, room: int | None = None
) -> Written:
    if isinstance(write, Update):
        return await call.store.merge(write, condition, room=room)
    return await call.store.put(write, condition, room=room)


def _get_room(call: CallContext) -> int:
    """Return how many bytes one failure of a batch may take."""
    return min(call.max_bytes // _FAILURES_IN_FULL, _MOST_SHOWN)


def _get_item(write: Item | Update) -> Item:
    return write.item if isinstance(write, Update) else write


async def delete(call: CallContext, arguments: DeleteArguments) -> DeleteResult:
    """Delete one item, several independent keys, or all items that `where` selects. Raises as `put` does."""
    if arguments.where is not None:
        return await selected.delete(call, arguments)
    _refuse_alone(arguments, "dry_run", "cursor")
    condition = WriteCondition(expect=parse_expect(arguments.expect))
    if arguments.keys is None:
        for name in ("pk", "sk"):
            if getattr(arguments, name) is None:
                raise InvalidArgument(f"{name} is missing.", next="Pass pk and sk, or keys.")
        key = call.prefix.check_key(cast("str", arguments.pk), cast("str", arguments.sk))
        return await _delete_one(call, key, condition)
    if arguments.pk is not None or arguments.sk is not None:
        raise InvalidArgument("Pass either pk and sk, or keys.")
    keys = [call.prefix.check_key(key.pk, key.sk, f"keys[{at}].") for at, key in enumerate(arguments.keys)]
    _refuse_twice(keys, "keys")
    await call.store.check_batch((), condition)

    async def delete_key(key: Key) -> bool:
        room = _get_room(call)
        return (await call.store.delete(key, condition, room=room)).deleted is not False

    deleted, failed = await _run_batch(call, keys, delete_key)
    return {"deletedCount": sum(deleted.values()), "failed": failed}


async def _delete_one(call: CallContext, key: Key, condition: WriteCondition) -> DeleteResult:
    outcome = await call.store.delete(key, condition)
    result: DeleteResult = {}
    if outcome.deleted is not None:
        result["deleted"] = outcome.deleted
    if (item := call.drop_foreign(outcome.item)) is not None:
        room = call.max_bytes - ITEM_ENVELOPE_BYTES
        plain, outlined = await offload(partial(show_item, item, room, OUTLINE_DELETED), item)
        if outlined:
            result["outlined"] = True
        result["item"] = plain
    return result


async def _run_batch(
    call: CallContext, entries: Sequence[_T], write: Callable[[_T], Awaitable[_R]]
) -> tuple[dict[int, _R], list[Failure]]:
    """Do independent writes concurrently; return the results and the failures, by position.

    A failure for which the result has no bytes left keeps its code only.
    """
    done: dict[int, _R] = {}
    failed: dict[int, Failure] = {}
    left = call.max_bytes - limits.ENVELOPE_BYTES - _CODE_BYTES * len(entries)
    last_start = anyio.current_time() + limits.BATCH_SECONDS

    async def attempt(numbered: tuple[int, _T]) -> None:
        at, entry = numbered
        try:
            if anyio.current_time() > last_start:
                raise Timeout(f"Nothing was sent for this entry: the batch took over {limits.BATCH_SECONDS} s.")
            done[at] = await write(entry)
        except DdbMcpError as error:
            await fail(at, error)

    async def fail(at: int, error: DdbMcpError) -> None:
        nonlocal left
        if isinstance(error, ConditionFailed):
            room = min(left, _get_room(call))
            error = (
                await show_failed_condition(call, error, room)
                if room > _LEAST_SHOWN
                else ConditionFailed(error.message)
            )
        failed[at] = {"index": at, "error": error.to_json()}
        if (length := count_bytes(failed[at])) > left:
            failed[at]["error"] = {"code": error.code}
        else:
            left -= length

    await run_concurrently(enumerate(entries), attempt)
    return dict(sorted(done.items())), [failed[at] for at in sorted(failed)]


def _refuse_alone(arguments: PutArguments | DeleteArguments, *names: str) -> None:
    for name in names:
        if getattr(arguments, name) is not None:
            raise InvalidArgument(f"{name} requires where.", next="Pass where, or omit it.")


def _refuse_twice(keys: list[Key], parameter: str) -> None:
    if len(set(keys)) < len(keys):
        twice = next(at for at, key in enumerate(keys) if key in keys[:at])
        raise InvalidArgument(f"{parameter}[{twice}] repeats the key of an earlier entry.")


def _make_put_result(call: CallContext, write: Item | Update, written: Written) -> PutResult:
    key, warnings = Key.of(_get_item(write)), list_write_warnings(write, ttl_is_off=call.ttl_is_off)
    warnings += list_absent_warnings(written)
    result: PutResult = {"pk": key.pk, "sk": key.sk}
    if written.created is not None:
        result["created"] = written.created
    values: PutResult = {}
    if written.updated or written.dropped:
        room = call.max_bytes - limits.ENVELOPE_BYTES - count_bytes(result) - count_bytes(warnings)
    if written.updated:
        values["updated"] = item_to_json(written.updated)
        if count_bytes(values["updated"]) > room:
            values["updated"] = {}
            warnings.append("The new values of add are too long to show. They are stored.")
        room -= count_bytes(values["updated"])
    if written.dropped:
        values["dropped"], more = show_dropped(written.dropped, room)
        warnings += more
    if warnings:
        result["warnings"] = warnings
    return {**result, **values}


def _fit_warnings(warnings: list[str], room: int) -> list[str]:
    """Return as many of the warnings as there is room for, and the number of the others."""
    fit = sum(
        total <= room for total in itertools.accumulate(count_bytes(text) + 1 for text in warnings[:WARNINGS_MAX])
    )
    more = len(warnings) - fit
    return warnings[:fit] + ([f"and {more} more"] if more else [])
