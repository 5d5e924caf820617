"""TransactGetItems and TransactWriteItems, each on one table, since a table is a file.

DynamoDB's model allows 100 items, and `LocalTable` limits how much it loads of them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from ddb_mcp.core.errors import DdbMcpError, InvalidArgument
from ddb_mcp.core.items import Item, measure_item
from ddb_mcp.core.keys import Key
from ddb_mcp.endpoint.bodies import Encoded, encode
from ddb_mcp.endpoint.errors import (
    EndpointError,
    KeySchemaError,
    KeyValueError,
    make_validation_error,
    require_valid,
    translate_error,
)
from ddb_mcp.endpoint.requests import (
    EndpointRequest,
    Paths,
    count_read_units,
    count_write_units,
    encode_projected,
    read_get,
)
from ddb_mcp.endpoint.tables import parse_table_name
from ddb_mcp.endpoint.writes import WriteRequest, read_condition_check, read_delete, read_put, read_update
from ddb_mcp.stores.local.table import Changes, Decide, LocalTable, StoredItems, TokenReused
from ddb_mcp.stores.workers import offload

TRANSACT_MAX_BYTES = 4 * 2**20


_READERS: dict[str, tuple[str, Callable[[Mapping[str, Any]], WriteRequest]]] = {
    "ConditionCheck": ("ConditionCheckItem", read_condition_check),
    "Put": ("PutItem", read_put),
    "Delete": ("DeleteItem", read_delete),
    "Update": ("UpdateItem", read_update),
}
_NONE = {"Code": "None"}
_T = TypeVar("_T")


async def transact_get_items(call: EndpointRequest) -> dict[str, Any]:
    gets = [entry["Get"] for entry in call.request["TransactItems"]]
    read = await offload(lambda: _read_each((read_get, get) for get in gets), gets)
    keys, paths = [key for key, _ in read], [each for _, each in read]
    name, table = await _find_table(call, gets, keys)
    call.check_access("GetItem", name, keys, writes=False)
    answers, units = await table.items(keys, partial(_make_answers, call, paths))
    return {"Responses": answers, **call.consumed_by_tables({name: units}, "ReadCapacityUnits")}


def _make_answers(
    call: EndpointRequest, paths: list[Paths], stored: StoredItems
) -> tuple[list[dict[str, Encoded]], float]:
    """Return the response to each get and the capacity units of all. Raises EndpointError if they are too large."""
    _check_size(stored.values())
    parts = [encode_projected(item or {}, path) for item, path in zip(stored.values(), paths, strict=True)]
    answers = [{} if part == encode({}) else {"Item": part} for part in parts]
    return answers, call.units(partial(_units_of_reads, stored))


def _check_size(items: Iterable[Item | None]) -> None:
    size = sum(measure_item(item or {}) for item in items)
    require_valid(size <= TRANSACT_MAX_BYTES, "Transaction payload size cannot exceed 4 MB")


def _units_of_reads(stored: StoredItems) -> float:
    """Return the capacity units of transactional reads, which cost twice as much."""
    return sum(2 * count_read_units(measure_item(item or {}), consistent=True) for item in stored.values())


async def transact_write_items(call: EndpointRequest) -> dict[str, Any]:
    actions = [_get_action(entry) for entry in call.request["TransactItems"]]
    requests = [request for _, request in actions]
    writes = await offload(lambda: _read_each((_READERS[kind][1], request) for kind, request in actions), requests)
    keys = [write.key for write in writes]
    name, table = await _find_table(call, requests, keys)
    for (kind, _), key in zip(actions, keys, strict=True):
        call.check_access(_READERS[kind][0], name, [key], writes=True)

    def decide(stored: StoredItems) -> tuple[Changes, float]:
        changes = _make_changes(writes, stored)
        _check_size(changes.values())
        return changes, call.units(lambda: sum(2 * count_write_units(stored[key], changes.get(key)) for key in keys))

    units, kind = await _write_once(call, table, keys, decide), "WriteCapacityUnits"
    if units is None:  # repeated: AWS charges reads
        units, kind = await table.items(keys, _units_of_reads), "ReadCapacityUnits"
    return call.consumed_by_tables({name: units}, kind)


def _get_action(entry: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    actions = [(kind, request) for kind, request in entry.items() if kind in _READERS and request is not None]
    if len(actions) != 1:
        raise make_validation_error(
            "TransactItems can only contain one of Check, Put, Update or Delete"
            if actions
            else "Invalid Request: TransactWriteRequest should contain Delete or Put or Update request"
        )
    return actions[0]


def _try_each(
    steps: Iterable[Callable[[], _T]], failures: tuple[type[EndpointError | DdbMcpError], ...], *, first: bool = False
) -> list[_T]:
    """Run the steps of a transaction and return their results.

    Args:
        steps: one per item.
        failures: the errors that cancel the transaction, with one reason per item.
        first: whether only the first error becomes a reason.
    """
    results: list[_T] = []
    reasons: list[dict[str, Any]] = []
    for step in steps:
        try:
            results.append(step())
            reasons.append(_NONE)
        except KeyValueError:
            raise
        except failures as error:
            failure = translate_error(error)
            code = "ValidationError" if failure.kind == "ValidationException" else "ConditionalCheckFailed"
            is_shown = len(results) == len(reasons) or not first
            reasons.append({"Code": code, "Message": failure.message, **failure.members} if is_shown else _NONE)
    if len(results) == len(reasons):
        return results
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    raise KeySchemaError(message, "TransactionCanceledException", CancellationReasons=reasons)


def _read_each(parts: Iterable[tuple[Callable[[Mapping[str, Any]], _T], Mapping[str, Any]]]) -> list[_T]:
    """Parse each part of a transaction. Raises EndpointError or InvalidArgument."""
    return _try_each([partial(read, request) for read, request in parts], (KeySchemaError,), first=True)


def _make_changes(writes: Sequence[WriteRequest], stored: StoredItems) -> dict[Key, Item | None]:
    """Return the changes of all writes. Raises EndpointError if one fails."""

    def change(write: WriteRequest) -> Changes:
        stored.check()
        return write.changes(stored)

    changes = _try_each([partial(change, write) for write in writes], (InvalidArgument, EndpointError))
    return {key: item for each in changes for key, item in each.items()}


async def _write_once(
    call: EndpointRequest, table: LocalTable, keys: Sequence[Key], decide: Decide[float]
) -> float | None:
    """Execute the writes and return their capacity units; None if the token shows that they are done already."""
    token = call.request.get("ClientRequestToken")
    if token is None:
        return await table.change(keys, decide)
    # The digest ignores parameters that only affect the response, such as ReturnConsumedCapacity.
    writes = {"TransactItems": call.request["TransactItems"]}
    digest = await offload(lambda: hashlib.sha256(json.dumps(writes, sort_keys=True).encode()).digest(), writes)
    try:
        return await table.change_once(token, digest, keys, decide)
    except TokenReused:
        raise EndpointError(
            "IdempotentParameterMismatchException",
            "The request uses the same client token as a previous, but non-identical request. Do not reuse a client "
            "token with different requests, unless the requests are identical",
        ) from None


async def _find_table(
    call: EndpointRequest, requests: Iterable[Mapping[str, Any]], keys: Iterable[Key]
) -> tuple[str, LocalTable]:
    """Return the table of a transaction. Raises EndpointError if there are several, or an item comes twice."""
    names = [parse_table_name(request["TableName"]) for request in requests]
    is_distinct = len(set(zip(names, keys, strict=True))) == len(names)
    require_valid(is_distinct, "Transaction request cannot include multiple operations on one item")
    name, *others = sorted(set(names))
    require_valid(
        not others,
        "In the ddb-mcp endpoint every table is a file, so a transaction is limited to one table, not "
        f"{', '.join([name, *others[:4]])}.",
    )
    return await call.find_table(name)
