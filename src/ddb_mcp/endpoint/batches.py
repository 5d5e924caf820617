"""BatchGetItem and BatchWriteItem: many items at once, each for itself."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.apart import worked
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import Path
from ddb_mcp.endpoint.calls import Call, only_projection, projected, read_units, stored_size, write_units
from ddb_mcp.endpoint.failures import invalid
from ddb_mcp.endpoint.tables import table_name
from ddb_mcp.endpoint.values import read_item, read_key
from ddb_mcp.stores.local.file import Locked
from ddb_mcp.stores.local.table import Changes, Stored


async def batch_get_item(call: Call) -> dict[str, Any]:
    requests = call.request["RequestItems"]
    keys_of = {alias: [read_key(key) for key in request["Keys"]] for alias, request in requests.items()}
    if sum(map(len, keys_of.values())) > limits.BATCH_GET_MAX:
        raise invalid("Too many items requested for the BatchGetItem call")
    responses: dict[str, list[Item]] = {}
    unprocessed: dict[str, Any] = {}
    units: dict[str, float] = {}
    left = limits.BATCH_GET_MAX_BYTES
    for alias, keys in keys_of.items():
        request = requests[alias]
        _refuse_duplicates(keys)
        paths = only_projection(request)
        name, table = await call.tables.find(alias)
        for key in keys:
            call.check_key(name, key.pk)
        consistent = bool(request.get("ConsistentRead"))
        items = await table.items(keys)
        taken = await worked(partial(_fitting, left, items, paths), items)
        sizes = [size for size, _ in taken.values()]
        left -= sum(sizes)
        units[name] = sum(read_units(size, consistent=consistent) for size in sizes)
        responses[name] = [item for _, item in taken.values() if item is not None]
        if len(taken) < len(keys):
            unprocessed[alias] = {**request, "Keys": [key.attributes for at, key in enumerate(keys) if at not in taken]}
    answer = {"Responses": responses, "UnprocessedKeys": unprocessed}
    return {**answer, **call.consumed_by_tables(units)}


def _fitting(
    room: int, items: Sequence[Item | None], paths: Iterable[Path] | None
) -> dict[int, tuple[int, Item | None]]:
    """By position, the bytes of each item for which there is room, and what the client gets of it."""
    taken: dict[int, tuple[int, Item | None]] = {}
    for at, item in enumerate(items):
        if (size := stored_size(item)) <= room:
            taken[at] = size, None if item is None else projected(item, paths)
            room -= size
    return taken


async def batch_write_item(call: Call) -> dict[str, Any]:
    requests = call.request["RequestItems"]
    if sum(map(len, requests.values())) > limits.BATCH_WRITE_MAX:
        raise invalid("Too many items requested for the BatchWriteItem call")
    writes = {alias: list(_writes(entries)) for alias, entries in requests.items()}
    tables = {}
    for alias, pairs in writes.items():
        keys = [key for key, _ in pairs]
        _refuse_duplicates(keys)
        name, tables[alias] = await call.tables.find(alias)
        call.check_write(name)
        for key in keys:
            call.check_key(name, key.pk)
    unprocessed: dict[str, Any] = {}
    units: dict[str, float] = {}
    for alias, pairs in writes.items():
        try:
            units[table_name(alias)] = await tables[alias].change([key for key, _ in pairs], _deciding(pairs))
        except Locked:
            if not units:  # nothing was done at all
                raise
            unprocessed[alias] = requests[alias]
    return {"UnprocessedItems": unprocessed, **call.consumed_by_tables(units)}


def _writes(requests: list[dict[str, Any]]) -> Iterator[tuple[Key, Item | None]]:
    """Each request's key and what is to be stored under it."""
    for request in requests:
        put, delete = request.get("PutRequest"), request.get("DeleteRequest")
        if (put is None) == (delete is None):
            raise invalid("Each write of the BatchWriteItem call must have one PutRequest or one DeleteRequest")
        if put is not None:
            item = read_item(put["Item"])
            yield Key.of(item), item
        else:
            assert delete is not None
            yield read_key(delete["Key"]), None


def _deciding(pairs: list[tuple[Key, Item | None]]) -> Any:
    def decide(stored: Stored) -> tuple[Changes, float]:
        units = sum(write_units(stored[key], item) for key, item in pairs)
        return dict(pairs), units

    return decide


def _refuse_duplicates(keys: list[Key]) -> None:
    if len(set(keys)) < len(keys):
        raise invalid("Provided list of item keys contains duplicates")
