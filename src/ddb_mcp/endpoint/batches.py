"""BatchGetItem and BatchWriteItem: up to 100 or 25 items, handled one at a time to save memory."""

from collections.abc import Iterator
from typing import Any

from anyio import create_task_group
from anyio.lowlevel import checkpoint

from ddb_mcp.core.errors import DdbMcpError, Timeout
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.errors import make_validation_error, require_valid
from ddb_mcp.endpoint.expressions.parser import ExpressionReader
from ddb_mcp.endpoint.reads import read_and_encode
from ddb_mcp.endpoint.requests import (
    EndpointRequest,
    Paths,
    count_read_units,
    count_write_units,
    read_only_projection,
)
from ddb_mcp.endpoint.values import SEVERAL_TYPES, check_index_keys, check_size, read_item, read_values, to_key
from ddb_mcp.stores.local.file import FileLocked
from ddb_mcp.stores.local.table import Changes, LocalTable, StoredItems
from ddb_mcp.stores.workers import offload

BATCH_GET_MAX_BYTES = 16 * 2**20
BATCH_GET_MAX = 100
BATCH_WRITE_MAX = 25


async def batch_get_item(call: EndpointRequest) -> dict[str, Any]:
    requests = call.request["RequestItems"]
    count = sum(len(request["Keys"]) for request in requests.values())
    require_valid(count <= BATCH_GET_MAX, "Too many items requested for the BatchGetItem call")
    gets = await offload(lambda: {alias: _read_gets(request) for alias, request in requests.items()}, requests)
    responses: dict[str, list[Encoded]] = {}
    unprocessed: dict[str, Any] = {}
    units: dict[str, float] = {}
    left = BATCH_GET_MAX_BYTES
    for alias, (keys, paths) in gets.items():
        request = requests[alias]
        name, table = await call.find_table(alias, keys)
        consistent = bool(request.get("ConsistentRead"))
        responses[name], units[name], late = [], 0.0, []
        for key in keys:
            size, item = await read_and_encode(table, key, paths) if left > 0 else (0, None)
            if (left := left - max(size, len(item.text) if item else 0)) < 0:
                late.append(key.attributes)
                continue
            units[name] += count_read_units(size, consistent=consistent)
            responses[name] += [] if item is None else [item]
            await checkpoint()
        if late:
            unprocessed[alias] = {**request, "Keys": late}
    answer = {"Responses": responses, "UnprocessedKeys": unprocessed}
    return {**answer, **call.consumed_by_tables(units)}


def _read_gets(request: dict[str, Any]) -> tuple[list[Key], Paths]:
    """Parse the keys and the projection for one table. Raises EndpointError or InvalidArgument."""
    paths = read_only_projection(ExpressionReader(request, "ProjectionExpression"))
    keys = [to_key(read_values(key), exact=True) for key in request["Keys"]]
    _refuse_duplicates(keys)
    return keys, paths


async def batch_write_item(call: EndpointRequest) -> dict[str, Any]:
    requests = call.request["RequestItems"]
    count = sum(map(len, requests.values()))
    require_valid(count <= BATCH_WRITE_MAX, "Too many items requested for the BatchWriteItem call")
    writes = await offload(lambda: {alias: list(_writes(entries)) for alias, entries in requests.items()}, requests)
    tables = {}
    for alias, pairs in writes.items():
        keys = [key for key, _ in pairs]
        tables[alias] = name, table = await call.find_table(alias, keys, writes=True)
        _refuse_duplicates(keys)
        indexes = await table.get_indexes()
        for _, item in pairs:
            check_index_keys(indexes, item or {})
    unprocessed: dict[str, Any] = {}
    units: dict[str, float] = {}
    failures: dict[Key, DdbMcpError] = {}
    for alias, pairs in writes.items():
        name, table = tables[alias]
        failures, units[name] = await _write_each(call, table, pairs)
        if failures:
            late = [request for request, (key, _) in zip(requests[alias], pairs, strict=True) if key in failures]
            unprocessed[alias] = late
    if sum(map(len, unprocessed.values())) == count:
        raise next(iter(failures.values()))  # no write succeeded
    return {"UnprocessedItems": unprocessed, **call.consumed_by_tables(units)}


async def _write_each(
    call: EndpointRequest, table: LocalTable, pairs: list[tuple[Key, Item | None]]
) -> tuple[dict[Key, DdbMcpError], float]:
    """Execute the writes one by one, so that only one stored item is in memory. They share transactions.

    Return the writes that timed out and the capacity units of the others. Raises DdbMcpError for other failures.
    """
    failures: dict[Key, DdbMcpError] = {}
    units: list[float] = []

    async def write(key: Key, item: Item | None) -> None:
        def decide(stored: StoredItems) -> tuple[Changes, float]:
            return {key: item}, call.units(lambda: count_write_units(stored[key], item))

        try:
            units.append(await table.change([key], decide))
        except DdbMcpError as error:
            failures[key] = error

    async with create_task_group() as group:
        for key, item in pairs:
            group.start_soon(write, key, item)
    for failure in failures.values():
        if not isinstance(failure, FileLocked | Timeout):
            raise failure
    return failures, sum(units)


def _writes(requests: list[dict[str, Any]]) -> Iterator[tuple[Key, Item | None]]:
    """Yield the key and the new item of each request, None to delete it."""
    for request in requests:
        match request.get("PutRequest"), request.get("DeleteRequest"):
            case {"Item": attributes}, None:
                item = read_item(attributes)
                check_size(item)
                yield to_key(item), item
            case None, {"Key": attributes}:
                yield to_key(read_values(attributes), exact=True), None
            case _:
                raise make_validation_error(SEVERAL_TYPES)  # AWS's message


def _refuse_duplicates(keys: list[Key]) -> None:
    require_valid(len(set(keys)) == len(keys), "Provided list of item keys contains duplicates")
