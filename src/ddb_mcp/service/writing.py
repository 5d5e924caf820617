"""`put` and `delete`: one item, or a batch of independent writes."""

import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import Filter
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, InvalidArgument, Timeout
from ddb_mcp.core.expressions import check_update
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.items import Item, parse_item, parse_json, to_json, value_size
from ddb_mcp.core.keys import Key
from ddb_mcp.core.text import clip, size
from ddb_mcp.service.arguments import DeleteArguments, PutArguments, attribute_names
from ddb_mcp.service.calls import Call, shown_failure
from ddb_mcp.service.outlines import OUTLINE_DELETED, refuse_outline, shown
from ddb_mcp.service.parameters import check_bounds
from ddb_mcp.service.results import DeleteResult, Failure, PutResult
from ddb_mcp.stores.base import Condition, Written

_T = TypeVar("_T")
_R = TypeVar("_R")

_MS_THRESHOLD = 10**11


async def put(call: Call, arguments: PutArguments) -> PutResult:
    """Store one item, or several independent ones."""
    if (arguments.item is None) == (arguments.items is None):
        raise InvalidArgument("Give either item or items.")
    if arguments.create_only and (arguments.expect or arguments.merge or arguments.remove):
        raise InvalidArgument("create_only does not go together with expect, merge or remove.")
    condition = Condition(bool(arguments.create_only), _expectation(arguments.expect))
    remove = attribute_names(arguments.remove, "remove") or ()
    merge = bool(arguments.merge or remove)

    async def write(item: Item) -> Written:
        if merge:
            return await call.store.merge(item, remove, condition)
        return await call.store.put(item, condition)

    if arguments.item is not None:
        item = _own_item(call, arguments.item, "item", merge, remove)
        return _put_result(item, await write(item), call.max_bytes)
    items = [_own_item(call, item, f"items[{at}]", merge, remove) for at, item in enumerate(arguments.items or ())]
    _refuse_twice([Key.of(item) for item in items], "items")
    await call.store.check_batch(items, condition, merge=merge)
    written, failed = await _each(call, items, write)
    warnings: list[str] = []
    for at, done in written.items():
        texts = _ttl_warnings(items[at])
        if gone := [clip(name, 50) for name in done.dropped if name not in remove]:
            texts.append(clip(f"replaced a stored item; gone: {', '.join(gone)}", 300))
        warnings += (f"items[{at}]: {text}" for text in texts)
    result: PutResult = {"written": len(written), "failed": failed}
    if warnings:
        result["warnings"] = _fitting(warnings, call.max_bytes - limits.ENVELOPE_BYTES - size(failed))
    return result


async def delete(call: Call, arguments: DeleteArguments) -> DeleteResult:
    """Delete one item, or several independent keys."""
    condition = Condition(expect=_expectation(arguments.expect))
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
    await call.store.check_batch((), condition, merge=False)

    async def delete_key(key: Key) -> bool:
        return (await call.store.delete(key, condition)).deleted is not False

    deleted, failed = await _each(call, keys, delete_key)
    return {"deletedCount": sum(deleted.values()), "failed": failed}


async def _delete_one(call: Call, key: Key, condition: Condition) -> DeleteResult:
    done = await call.store.delete(key, condition)
    result: DeleteResult = {}
    if done.deleted is not None:
        result["deleted"] = done.deleted
    if (item := call.guarded(done.item)) is not None:
        plain, outlined = shown(item, call.max_bytes - limits.ITEM_ENVELOPE_BYTES, OUTLINE_DELETED)
        result["item"] = plain
        if outlined:
            result["outlined"] = True
    return result


async def _each(
    call: Call, entries: Sequence[_T], write: Callable[[_T], Awaitable[_R]]
) -> tuple[dict[int, _R], list[Failure]]:
    """Independent writes, done concurrently; the results and the failures, by position."""
    done: dict[int, _R] = {}
    failed: dict[int, Failure] = {}
    limiter = anyio.CapacityLimiter(limits.CONCURRENT_WRITES)
    last_start = anyio.current_time() + limits.BATCH_SECONDS

    async def one(at: int, entry: _T) -> None:
        async with limiter:
            try:
                if anyio.current_time() > last_start:
                    raise Timeout(f"Nothing was sent for this entry: the batch took over {limits.BATCH_SECONDS} s.")
                done[at] = await write(entry)
            except ConditionFailed as error:
                told = shown_failure(call, error, call.max_bytes // 10)
                failed[at] = {"index": at, "error": told.to_json()}
            except DdbMcpError as error:
                failed[at] = {"index": at, "error": error.to_json()}

    async with anyio.create_task_group() as group:
        for at, entry in enumerate(entries):
            group.start_soon(one, at, entry)
    failures = [failed[at] for at in sorted(failed)]
    _shorten(failures, call.max_bytes - limits.ENVELOPE_BYTES)
    return dict(sorted(done.items())), failures


def _own_item(call: Call, given: Any, where: str, merge: bool, remove: tuple[str, ...]) -> Item:
    if isinstance(given, str):
        given = parse_json(given, where)
        if isinstance(given, str):
            raise InvalidArgument(f"{where} is a JSON string within a JSON string.", next="Send the object itself.")
    check_bounds(given, "item", where)
    item = parse_item(given, where)
    for name in remove:
        if name in item:
            raise InvalidArgument(f"remove names {name!r}, which {where} sets; do one or the other.")
    call.own.check_key(*Key.of(item), f"{where}.")
    refuse_outline(item, where)
    if merge:
        check_update(item, [(name,) for name in remove])
    return item


def _expectation(expect: dict[str, Any] | None) -> Filter:
    if expect is None:
        return ()
    if len(expect) > 50:
        raise InvalidArgument(f"expect has {len(expect)} attributes; the limit is 50.")
    return parse_filter(expect, "expect")


def _refuse_twice(keys: list[Key], parameter: str) -> None:
    if len(set(keys)) < len(keys):
        twice = next(at for at, key in enumerate(keys) if key in keys[:at])
        raise InvalidArgument(f"{parameter}[{twice}] has the same key as an entry before it.")


def _put_result(item: Item, written: Written, max_bytes: int) -> PutResult:
    key, warnings = Key.of(item), _ttl_warnings(item)
    result: PutResult = {"pk": key.pk, "sk": key.sk}
    if written.created is not None:
        result["created"] = written.created
    if written.dropped:
        dropped = {name: to_json(value) for name, value in sorted(written.dropped.items())}
        room = max_bytes - limits.ENVELOPE_BYTES - size(result)
        if size(dropped) > room:
            room -= limits.HIDDEN_BYTES
            by_size = sorted((size({name: value}), name) for name, value in dropped.items())
            fit = sum(total <= room for total in itertools.accumulate(length for length, _ in by_size))
            hidden = [name for _, name in reversed(by_size[fit:])]
            for name in hidden:
                del dropped[name]
            told = ", ".join(f"{clip(name, 50)} ({value_size(written.dropped[name])} bytes)" for name in hidden[:5])
            warnings.append(
                clip(f"{len(hidden)} attributes were dropped that are too long to show: {told}", limits.HIDDEN_BYTES)
            )
        result["dropped"] = dropped
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


def _shorten(failures: list[Failure], max_bytes: int) -> None:
    """Leave out what the first failures of a batch tell already: stored items, then all but the code.

    Index and code of each failure stay, whatever `max_bytes` is.
    """
    over = size(failures) - max_bytes
    for names in (("item",), ("message", "next", "retryable")):
        for failure in reversed(failures):
            if over <= 0:
                return
            before = size(failure)
            for name in names:
                failure["error"].pop(name, None)
            over -= before - size(failure)


def _ttl_warnings(item: Item) -> list[str]:
    """Why a `ttl` will never expire anything."""
    if "ttl" not in item:
        return []
    ((kind, content),) = item["ttl"].items()
    if kind != "N":
        return ["ttl is not a number, so the item will never expire; it wants seconds since 1970 as a number."]
    seconds = float(content)
    if seconds > _MS_THRESHOLD:
        return ["ttl looks like milliseconds, so the item will not expire for ages; it wants seconds since 1970."]
    if seconds < time.time() - limits.TTL_PAST_SECONDS:
        return ["ttl is more than five years past, which DynamoDB ignores, so the item will never expire."]
    return []
