"""The seven operations over any store: checks what comes in, guards what goes out, shapes the result."""

import itertools
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar, cast

import anyio

from ddb_mcp import __version__
from ddb_mcp.core.conditions import Filter, KeyRange, parse_range
from ddb_mcp.core.errors import (
    ConditionFailed,
    DdbMcpError,
    Internal,
    InvalidArgument,
    Misconfigured,
    NotProvisioned,
    ReadOnly,
    Timeout,
)
from ddb_mcp.core.expressions import check_update
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.items import (
    ITEM_MAX_BYTES,
    TTL_PAST_SECONDS,
    Item,
    check_unicode,
    item_to_json,
    parse_item,
    to_json,
    value_size,
)
from ddb_mcp.core.keys import PK_MAX_BYTES, SK_MAX_BYTES, Key, Prefix
from ddb_mcp.core.limits import ENVELOPE_BYTES, READ_SECONDS
from ddb_mcp.core.text import clip, size
from ddb_mcp.service.arguments import (
    BATCH_MAX,
    LIMIT_DEFAULT,
    LIMIT_MAX,
    Arguments,
    DeleteArguments,
    GetArguments,
    InfoArguments,
    ProvisionArguments,
    PutArguments,
    QueryArguments,
    ScanArguments,
)
from ddb_mcp.service.cursors import Seal
from ddb_mcp.service.instructions import instructions
from ddb_mcp.service.listing import Listing
from ddb_mcp.service.outlines import OUTLINE_DELETED, OUTLINE_NEXT, outline, refuse_outline
from ddb_mcp.service.results import (
    DeleteResult,
    Failure,
    GetResult,
    InfoResult,
    PageResult,
    PlainItem,
    ProvisionResult,
    PutResult,
)
from ddb_mcp.stores.base import Condition, Deployment, Progress, Read, Store, Written

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_R = TypeVar("_R")

WRITES = frozenset({"provision", "put", "delete"})
_CONCURRENT_WRITES = 16
# When the last entry of a batch may begin: with its own retries the call still ends before hosts give up.
_BATCH_SECONDS = READ_SECONDS
_WARNINGS_MAX = 10
_HIDDEN_BYTES = 300
_ITEM_ENVELOPE_BYTES = len('{"deleted":true,"outlined":true,"item":}')
_MS_THRESHOLD = 10**11


async def _no_progress(message: str) -> None:
    pass


class DataService:
    """One deployment's access to its slice of a table. Safe for concurrent use.

    Args:
        store: where the data is.
        prefix: what this deployment owns; None where the store's `info` has to say it (platform mode).
        read_only: refuse the operations in `WRITES`.
        read_budget: stored items that one query or scan may read.
        max_result_bytes: bytes of compact JSON that one result may have.
        cursor_key: see `Seal`.
    """

    def __init__(
        self,
        store: Store,
        prefix: Prefix | None,
        *,
        read_only: bool = False,
        read_budget: int = 100_000,
        max_result_bytes: int = 32768,
        cursor_key: bytes | None = None,
    ) -> None:
        self.store = store
        self._prefix = prefix
        self._learns = prefix is None
        self._read_only = read_only
        self._read_budget = read_budget
        self._max_result_bytes = max_result_bytes
        self._seal = Seal(cursor_key)
        self._operations: dict[str, tuple[type[Arguments], Callable[..., Awaitable[Any]]]] = {
            "provision": (ProvisionArguments, self._provision),
            "info": (InfoArguments, self._info),
            "get": (GetArguments, self._get),
            "put": (PutArguments, self._put),
            "delete": (DeleteArguments, self._delete),
            "query": (QueryArguments, self._query),
            "scan": (ScanArguments, self._scan),
        }

    async def call(
        self, operation: str, arguments: Any, progress: Progress = _no_progress, *, max_bytes: int | None = None
    ) -> dict[str, Any]:
        """Run one operation.

        Args:
            operation: `provision`, `info`, `get`, `put`, `delete`, `query` or `scan`.
            arguments: a JSON object, checked here against the operation's model in `ddb_mcp.service.arguments`.
            progress: told what is being done while a call lasts.
            max_bytes: a byte budget for this call instead of the service's own.

        Returns:
            The structured result, see `ddb_mcp.service.results`.

        Raises:
            DdbMcpError: one of its subclasses, each a code of the contract.
        """
        model, run = self._operations[operation]
        checked, call = model.parse(arguments), _Call(progress, max_bytes or self._max_result_bytes)
        if self._read_only and operation in WRITES:
            raise ReadOnly(f"This server is read-only; {operation} is switched off.")
        try:
            if self._prefix is None and operation not in ("provision", "info"):
                self._learn(await self.store.info())
            return cast("dict[str, Any]", await run(checked, call))
        except NotProvisioned:
            if self._learns:
                self._prefix = None
            raise
        except ConditionFailed as failed:
            raise self._shown_failure(failed, call.max_bytes) from None
        except DdbMcpError:
            raise
        except Exception:
            number = secrets.token_hex(4)
            logger.exception("Internal error %s in %s", number, operation)
            raise Internal(f"Internal error {number}.") from None

    def _learn(self, deployment: Deployment) -> Deployment:
        if self._learns and deployment.prefix is not None:
            try:
                self._prefix = Prefix(deployment.prefix)
            except Misconfigured as wrong:
                raise Misconfigured(f"{wrong.message} The platform gave it.", next="Ask whoever runs it.") from None
        return deployment

    @property
    def _own(self) -> Prefix:
        assert self._prefix is not None
        return self._prefix

    async def _provision(self, arguments: ProvisionArguments, call: "_Call") -> ProvisionResult:
        made = self._learn(await self.store.provision(call.progress))
        common = self._common(made)
        return cast(
            "ProvisionResult",
            {**common, "created": made.created, "instructions": self._instructions(made), **made.details},
        )

    async def _info(self, arguments: InfoArguments, call: "_Call") -> InfoResult:
        found = self._learn(await self.store.info())
        return cast(
            "InfoResult",
            {
                **self._common(found),
                "provisioned": found.provisioned,
                "version": __version__,
                "readOnly": self._read_only,
                "limits": {
                    "itemBytes": ITEM_MAX_BYTES,
                    "pkBytes": PK_MAX_BYTES,
                    "skBytes": SK_MAX_BYTES,
                    "resultBytes": self._max_result_bytes,
                    "readBudget": self._read_budget,
                    "limit": LIMIT_MAX,
                    "batch": BATCH_MAX,
                },
                "features": sorted(found.features),
                "instructions": self._instructions(found),
                **found.details,
            },
        )

    def _common(self, deployment: Deployment) -> dict[str, Any]:
        return {
            "tableName": deployment.table_name,
            "prefix": self._own.text,
            "region": deployment.region,
            "mode": self.store.mode,
        }

    def _instructions(self, deployment: Deployment) -> str:
        return deployment.instructions or instructions(
            table=deployment.table_name, prefix=self._own.text, region=deployment.region, mode=self.store.mode
        )

    async def _get(self, arguments: GetArguments, call: "_Call") -> GetResult:
        key = self._own.check_key(arguments.pk, arguments.sk)
        item = self._guarded(await self.store.get(key, _names(arguments.attributes, "attributes")))
        if item is None:
            return {"found": False}
        if arguments.attributes is not None:
            return {"found": True, "item": item_to_json(item)}  # what was asked for by name comes whole
        shown, outlined = _shown(item, call.max_bytes - _ITEM_ENVELOPE_BYTES)
        return {"found": True, "item": shown, "outlined": True} if outlined else {"found": True, "item": shown}

    async def _put(self, arguments: PutArguments, call: "_Call") -> PutResult:
        if (arguments.item is None) == (arguments.items is None):
            raise InvalidArgument("Give either item or items.")
        if arguments.create_only and (arguments.expect or arguments.merge or arguments.remove):
            raise InvalidArgument("create_only does not go together with expect, merge or remove.")
        condition = Condition(bool(arguments.create_only), self._expectation(arguments.expect))
        remove = _names(arguments.remove, "remove") or ()
        merge = bool(arguments.merge or remove)

        async def write(item: Item) -> Written:
            if merge:
                return await self.store.merge(item, remove, condition)
            return await self.store.put(item, condition)

        if arguments.item is not None:
            item = self._own_item(arguments.item, "item", merge, remove)
            return _put_result(item, await write(item), call.max_bytes)
        items = [self._own_item(item, f"items[{at}]", merge, remove) for at, item in enumerate(arguments.items or ())]
        _refuse_twice([Key.of(item) for item in items], "items")
        await self.store.check_batch(items, condition, merge=merge)
        written, failed = await self._each(call, items, write)
        warnings: list[str] = []
        for at, done in written.items():
            texts = _ttl_warnings(items[at])
            if gone := [clip(name, 50) for name in done.dropped if name not in remove]:
                texts.append(clip(f"replaced a stored item; gone: {', '.join(gone)}", 300))
            warnings += (f"items[{at}]: {text}" for text in texts)
        result: PutResult = {"written": len(written), "failed": failed}
        if warnings:
            result["warnings"] = _fitting(warnings, call.max_bytes - ENVELOPE_BYTES - size(failed))
        return result

    async def _delete(self, arguments: DeleteArguments, call: "_Call") -> DeleteResult:
        condition = Condition(expect=self._expectation(arguments.expect))
        if arguments.keys is None:
            for name in ("pk", "sk"):
                if getattr(arguments, name) is None:
                    raise InvalidArgument(f"{name} is missing.", next="Give pk and sk, or keys.")
            key = self._own.check_key(cast("str", arguments.pk), cast("str", arguments.sk))
            return await self._delete_one(call, key, condition)
        if arguments.pk is not None or arguments.sk is not None:
            raise InvalidArgument("Give either pk and sk, or keys.")
        keys = [self._own.check_key(key.pk, key.sk, f"keys[{at}].") for at, key in enumerate(arguments.keys)]
        _refuse_twice(keys, "keys")
        await self.store.check_batch((), condition, merge=False)

        async def delete(key: Key) -> bool:
            return (await self.store.delete(key, condition)).deleted is not False

        deleted, failed = await self._each(call, keys, delete)
        return {"deletedCount": sum(deleted.values()), "failed": failed}

    async def _delete_one(self, call: "_Call", key: Key, condition: Condition) -> DeleteResult:
        done = await self.store.delete(key, condition)
        result: DeleteResult = {}
        if done.deleted is not None:
            result["deleted"] = done.deleted
        if (item := self._guarded(done.item)) is not None:
            shown, outlined = _shown(item, call.max_bytes - _ITEM_ENVELOPE_BYTES, OUTLINE_DELETED)
            result["item"] = shown
            if outlined:
                result["outlined"] = True
        return result

    async def _each(
        self, call: "_Call", entries: Sequence[_T], write: Callable[[_T], Awaitable[_R]]
    ) -> tuple[dict[int, _R], list[Failure]]:
        """Independent writes, done concurrently; the results and the failures, by position."""
        done: dict[int, _R] = {}
        failed: dict[int, Failure] = {}
        limiter = anyio.CapacityLimiter(_CONCURRENT_WRITES)
        last_start = anyio.current_time() + _BATCH_SECONDS

        async def one(at: int, entry: _T) -> None:
            async with limiter:
                try:
                    if anyio.current_time() > last_start:
                        raise Timeout(f"Nothing was sent for this entry: the batch took over {_BATCH_SECONDS} s.")
                    done[at] = await write(entry)
                except ConditionFailed as error:
                    shown = self._shown_failure(error, call.max_bytes // 10)
                    failed[at] = {"index": at, "error": shown.to_json()}
                except DdbMcpError as error:
                    failed[at] = {"index": at, "error": error.to_json()}

        async with anyio.create_task_group() as group:
            for at, entry in enumerate(entries):
                group.start_soon(one, at, entry)
        failures = [failed[at] for at in sorted(failed)]
        _shorten(failures, call.max_bytes - ENVELOPE_BYTES)
        return dict(sorted(done.items())), failures

    def _own_item(self, given: Any, where: str, merge: bool, remove: tuple[str, ...]) -> Item:
        item = parse_item(given, where)
        for name in remove:
            if name in item:
                raise InvalidArgument(f"remove names {name!r}, which {where} sets; do one or the other.")
        self._own.check_key(*Key.of(item), f"{where}.")
        refuse_outline(item, where)
        if merge:
            check_update(item, remove)
        return item

    def _expectation(self, expect: dict[str, Any] | None) -> Filter:
        if expect is None:
            return ()
        if len(expect) > 50:
            raise InvalidArgument(f"expect has {len(expect)} attributes; the limit is 50.")
        return parse_filter(expect, "expect")

    def _guarded(self, item: Item | None) -> Item | None:
        """The item, unless a store returned one of another deployment: that is left out and logged."""
        if item is None or self._own.owns(item["pk"]["S"]):
            return item
        logger.error("The store returned an item of another deployment; it was left out.")
        return None

    def _shown_failure(self, failed: ConditionFailed, max_bytes: int) -> ConditionFailed:
        """The failure with its stored item as plain JSON."""
        item = self._guarded(failed.item)
        failed.item = None
        if item is None:
            return failed
        room = max_bytes - size({"error": failed.to_json()}) - len(',"item":')
        return ConditionFailed(failed.message, item=_shown(item, room)[0], next=failed.next)

    async def _query(self, arguments: QueryArguments, call: "_Call") -> PageResult:
        pk = self._own.check(arguments.pk)
        keys = parse_range(arguments.sk_prefix, arguments.sk_from, arguments.sk_to)
        clauses = parse_filter(arguments.filter, "filter", keys_allowed=False) if arguments.filter else ()
        read = self._read(arguments, clauses, pk=pk, keys=keys, descending=bool(arguments.descending))
        return await self._list(call, "query", arguments, read)

    async def _scan(self, arguments: ScanArguments, call: "_Call") -> PageResult:
        pk_prefix = self._own.check_scan(arguments.pk_prefix)
        clauses = parse_filter(arguments.filter, "filter") if arguments.filter else ()
        return await self._list(call, "scan", arguments, self._read(arguments, clauses, pk_prefix=pk_prefix))

    def _read(
        self,
        arguments: QueryArguments | ScanArguments,
        clauses: Filter,
        *,
        pk: str | None = None,
        pk_prefix: str | None = None,
        keys: KeyRange | None = None,
        descending: bool = False,
    ) -> Read:
        attributes = _names(arguments.attributes, "attributes")
        return Read(
            pk=pk,
            pk_prefix=pk_prefix,
            range=keys or KeyRange(),
            filter=clauses,
            attributes=() if arguments.view in ("keys", "count") else attributes,
            descending=descending,
            limit=arguments.limit or LIMIT_DEFAULT,
            read_limit=self._read_budget,
        )

    async def _list(
        self, call: "_Call", operation: str, arguments: QueryArguments | ScanArguments, read: Read
    ) -> PageResult:
        attributes = sorted(arguments.attributes or ())  # views without attributes have none in `read`
        bound = [operation, self._own.joined, arguments.view or "items", attributes, asdict(_in_order(read))]
        carried = 0
        if arguments.cursor is not None:
            position, carried = self._seal.open(arguments.cursor, bound)
            read = replace(read, position=position)
        listing = Listing(
            self.store.query if read.pk is not None else self.store.scan,
            self._own,
            read,
            view=arguments.view or "items",
            max_bytes=call.max_bytes,
            carried=carried,
            seal=lambda position, total: self._seal.seal([position, total], bound),
        )
        return await listing.run(call.progress)


@dataclass(frozen=True)
class _Call:
    progress: Progress
    max_bytes: int


def _names(names: list[str] | None, parameter: str) -> tuple[str, ...] | None:
    if names is None:
        return None
    for name in names:
        check_unicode(name, f"a name in {parameter}")
        if parameter == "remove" and name in ("pk", "sk"):
            raise InvalidArgument("remove cannot name pk or sk, which are the key.")
    return tuple(dict.fromkeys(names))


def _refuse_twice(keys: list[Key], parameter: str) -> None:
    if len(set(keys)) < len(keys):
        twice = next(at for at, key in enumerate(keys) if key in keys[:at])
        raise InvalidArgument(f"{parameter}[{twice}] has the same key as an entry before it.")


def _in_order(read: Read) -> Read:
    """What of a read a cursor is bound to: not its limits, nor the order in which a host sends a filter's members."""
    clauses = tuple(sorted(read.filter, key=repr))
    return replace(read, filter=clauses, attributes=None, limit=0, read_limit=0, max_bytes=0)


def _put_result(item: Item, written: Written, max_bytes: int) -> PutResult:
    key, warnings = Key.of(item), _ttl_warnings(item)
    result: PutResult = {"pk": key.pk, "sk": key.sk}
    if written.created is not None:
        result["created"] = written.created
    if written.dropped:
        dropped = {name: to_json(value) for name, value in sorted(written.dropped.items())}
        room = max_bytes - ENVELOPE_BYTES - size(result)
        if size(dropped) > room:
            room -= _HIDDEN_BYTES
            by_size = sorted((size({name: value}), name) for name, value in dropped.items())
            fit = sum(total <= room for total in itertools.accumulate(length for length, _ in by_size))
            hidden = [name for _, name in reversed(by_size[fit:])]
            for name in hidden:
                del dropped[name]
            told = ", ".join(f"{clip(name, 50)} ({value_size(written.dropped[name])} bytes)" for name in hidden[:5])
            warnings.append(
                clip(f"{len(hidden)} attributes were dropped that are too long to show: {told}", _HIDDEN_BYTES)
            )
        result["dropped"] = dropped
    if warnings:
        result["warnings"] = warnings
    return result


def _fitting(warnings: list[str], room: int) -> list[str]:
    """As many of the warnings as there is room for, and the number of the others."""
    fit = sum(total <= room for total in itertools.accumulate(size(text) + 1 for text in warnings[:_WARNINGS_MAX]))
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


def _shown(item: Item, room: int, next: str = OUTLINE_NEXT) -> tuple[PlainItem, bool]:
    """The item as plain JSON, or its outline where it is too long, and whether it is that."""
    shown = item_to_json(item)
    return (shown, False) if size(shown) <= room else (outline(item, room, next), True)


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
    if seconds < time.time() - TTL_PAST_SECONDS:
        return ["ttl is more than five years past, which DynamoDB ignores, so the item will never expire."]
    return []
