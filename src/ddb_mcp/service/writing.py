"""`put` and `delete`: one item, or a batch of independent writes."""

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, InvalidArgument, Timeout
from ddb_mcp.core.items import Item, item_to_json
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import path_text
from ddb_mcp.core.text import clip, size
from ddb_mcp.core.updates import Update
from ddb_mcp.service import dropped, selections
from ddb_mcp.service.arguments import DeleteArguments, PutArguments
from ddb_mcp.service.calls import Call, shown_failure
from ddb_mcp.service.concurrent import concurrently
from ddb_mcp.service.incoming import changes, expectation, item_of, update_of
from ddb_mcp.service.outlines import OUTLINE_DELETED, shown
from ddb_mcp.service.results import DeleteResult, Failure, PutResult
from ddb_mcp.service.warnings import absent_warnings, item_warnings
from ddb_mcp.stores.base import Condition, Written
from ddb_mcp.stores.workers import convert, convert_in_steps

# One failure of a batch takes a tenth of the result's bytes at most, and shows no stored item in less than _LEAST_SHOWN
# bytes. Position and code of each failure take _CODE_BYTES.
_FAILURES_IN_FULL = 10
_LEAST_SHOWN = 200
_CODE_BYTES = len('{"index":99,"error":{"code":"condition_failed"}},')

_T = TypeVar("_T")
_R = TypeVar("_R")


async def put(call: Call, arguments: PutArguments) -> PutResult:
    """Store or change one item, several independent items, or all items that `where` selects.

    Raises:
        InvalidArgument, PrefixViolation: an argument is wrong; nothing was written.
        DdbMcpError: what the store raises for one item. For several items it is in the result.
    """
    if arguments.where is not None:
        return await selections.put(call, arguments)
    _refuse_alone(arguments, "copy_to", "dry_run", "cursor")
    if (arguments.item is None) == (arguments.items is None):
        raise InvalidArgument("Give either item or items.")
    merges = bool(arguments.merge or arguments.remove or arguments.add)
    if arguments.create_only and (arguments.expect or merges):
        raise InvalidArgument("create_only does not go together with expect, merge, remove or add.")
    condition = Condition(bool(arguments.create_only), expectation(arguments.expect))
    names = arguments.remove, arguments.add
    change = await convert(partial(changes, *names), *names) if merges else None

    if arguments.items is not None:
        values = {f"items[{at}]": value for at, value in enumerate(arguments.items)}
        return await _put_batch(call, await _checked(call, values, change), condition)
    (write,) = await _checked(call, {"item": arguments.item}, change)
    written = await _write(call, write, condition)
    return await convert(partial(_put_result, write, written, call.max_bytes), _item(write), *written.dropped.values())


async def _checked(call: Call, values: dict[str, Any], change: Update | None) -> list[Item | Update]:
    """Return the writes of these items, by the names that errors give them. Raises InvalidArgument, PrefixViolation."""
    writes: list[Item | Update] = []

    def check() -> Iterator[None]:
        for where, value in values.items():
            item = item_of(call, value, where)
            writes.append(update_of(item, change, where) if change else item)
            yield

    await convert_in_steps(check(), values, change and [len(values) * [*map(str, change.remove)]])
    return writes


async def _put_batch(call: Call, writes: list[Item | Update], condition: Condition) -> PutResult:
    _refuse_twice([Key.of(_item(write)) for write in writes], "items")
    await call.store.check_batch(writes, condition)
    room = call.max_bytes // _FAILURES_IN_FULL
    written, failed = await _each(call, writes, lambda write: _write(call, write, condition, room))
    warnings: list[str] = []

    def warn() -> Iterator[None]:
        for at, outcome in written.items():
            texts = [*item_warnings(_item(writes[at])), *absent_warnings(outcome)]
            if gone := [clip(path_text(path), 50) for path in outcome.gone]:
                texts.append(clip(f"replaced a stored item; gone: {', '.join(gone)}", 300))
            warnings.extend(f"items[{at}]: {text}" for text in texts)
            yield

    await convert_in_steps(warn(), [*map(_item, writes)])
    result: PutResult = {"written": len(written), "failed": failed}
    if warnings:
        result["warnings"] = _fitting(warnings, call.max_bytes - limits.ENVELOPE_BYTES - size(failed))
    return result


async def _write(call: Call, write: Item | Update, condition: Condition, room: int | None = None) -> Written:
    if isinstance(write, Update):
        return await call.store.merge(write, condition, room=room)
    return await call.store.put(write, condition, room=room)


def _item(write: Item | Update) -> Item:
    return write.item if isinstance(write, Update) else write


async def delete(call: Call, arguments: DeleteArguments) -> DeleteResult:
    """Delete one item, several independent keys, or all items that `where` selects. Raises as `put` does."""
    if arguments.where is not None:
        return await selections.delete(call, arguments)
    _refuse_alone(arguments, "dry_run", "cursor")
    condition = Condition(expect=expectation(arguments.expect))
    if arguments.keys is None:
        for name in ("pk", "sk"):
            if getattr(arguments, name) is None:
                raise InvalidArgument(f"{name} is missing.", next="Give pk and sk, or keys.")
        key = call.own.check_key(cast("str", arguments.pk), cast("str", arguments.sk))
        return await _delete_one(call, key, condition)
    if arguments.pk is not None or arguments.sk is not None:
        raise InvalidArgument("Give either pk and sk, or keys.")
    keys = [call.own.check_key(key.pk, key.sk, f"keys[{at}].") for at, key in enumerate(arguments.keys)]
    _refuse_twice(keys, "keys")
    await call.store.check_batch((), condition)

    async def delete_key(key: Key) -> bool:
        room = call.max_bytes // _FAILURES_IN_FULL
        return (await call.store.delete(key, condition, room=room)).deleted is not False

    deleted, failed = await _each(call, keys, delete_key)
    return {"deletedCount": sum(deleted.values()), "failed": failed}


async def _delete_one(call: Call, key: Key, condition: Condition) -> DeleteResult:
    outcome = await call.store.delete(key, condition)
    result: DeleteResult = {}
    if outcome.deleted is not None:
        result["deleted"] = outcome.deleted
    if (item := call.guarded(outcome.item)) is not None:
        room = call.max_bytes - limits.ITEM_ENVELOPE_BYTES
        plain, outlined = await convert(partial(shown, item, room, OUTLINE_DELETED), item)
        result["item"] = plain
        if outlined:
            result["outlined"] = True
    return result


async def _each(
    call: Call, entries: Sequence[_T], write: Callable[[_T], Awaitable[_R]]
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
            room = min(left, call.max_bytes // _FAILURES_IN_FULL)
            error = await shown_failure(call, error, room) if room > _LEAST_SHOWN else ConditionFailed(error.message)
        failed[at] = {"index": at, "error": error.to_json()}
        if (length := size(failed[at])) > left:
            failed[at]["error"] = {"code": error.code}
        else:
            left -= length

    await concurrently(enumerate(entries), attempt)
    return dict(sorted(done.items())), [failed[at] for at in sorted(failed)]


def _refuse_alone(arguments: PutArguments | DeleteArguments, *names: str) -> None:
    for name in names:
        if getattr(arguments, name) is not None:
            raise InvalidArgument(f"{name} goes with where only.", next="Give where, or leave it out.")


def _refuse_twice(keys: list[Key], parameter: str) -> None:
    if len(set(keys)) < len(keys):
        twice = next(at for at, key in enumerate(keys) if key in keys[:at])
        raise InvalidArgument(f"{parameter}[{twice}] has the same key as an entry before it.")


def _put_result(write: Item | Update, written: Written, max_bytes: int) -> PutResult:
    item = _item(write)
    key, warnings = Key.of(item), [*item_warnings(item), *absent_warnings(written)]
    result: PutResult = {"pk": key.pk, "sk": key.sk}
    if written.created is not None:
        result["created"] = written.created
    room = max_bytes - limits.ENVELOPE_BYTES - size(result) - size(warnings)
    if written.updated:
        result["updated"] = item_to_json(written.updated)
        if size(result["updated"]) > room:
            result["updated"] = {}
            warnings.append("The new values of add are too long to show. They are stored.")
        room -= size(result["updated"])
    if written.dropped:
        result["dropped"], more = dropped.shown(written.dropped, room)
        warnings += more
    if warnings:
        result["warnings"] = warnings
    return result


def _fitting(warnings: list[str], room: int) -> list[str]:
    """As many of the warnings as there is room for, and the number of the others."""
    fit = sum(
        total <= room for total in itertools.accumulate(size(text) + 1 for text in warnings[: limits.WARNINGS_MAX])
    )
    more = len(warnings) - fit
    return warnings[:fit] + ([f"and {more} more"] if more else [])
