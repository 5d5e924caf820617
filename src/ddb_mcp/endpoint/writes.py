"""PutItem, UpdateItem, DeleteItem and ConditionCheck."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ddb_mcp.core.conditions import StepCounter
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import Path, project
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.errors import EndpointError, KeySchemaError, require_valid
from ddb_mcp.endpoint.expressions.nodes import ConditionNode
from ddb_mcp.endpoint.expressions.parser import ExpressionReader
from ddb_mcp.endpoint.requests import EndpointRequest, count_write_units
from ddb_mcp.endpoint.values import (
    INVALID,
    KEYS,
    check_index_keys,
    check_size,
    encode_item,
    get_item_key,
    read_item,
    read_values,
    to_key,
)
from ddb_mcp.stores.local.table import Changes, StoredItems
from ddb_mcp.stores.workers import offload


@dataclass(frozen=True)
class WriteRequest:
    """A write to one item.

    Attributes:
        request: its parameters.
        condition: the condition on the stored item.
        change: returns the new item for the stored one; None to change nothing.
        paths: the paths changed by UpdateItem.
        item: the item stored by PutItem.
    """

    request: Mapping[str, Any]
    key: Key
    condition: ConditionNode | None
    change: Callable[[Item | None], Item | None] | None
    paths: Iterable[Path] = ()
    item: Item | None = None

    def changes(self, stored: StoredItems) -> Changes:
        """Return the new item. Raises EndpointError or InvalidArgument, also if the condition does not hold."""
        if self.item is not None:
            check_index_keys(stored.indexes, self.item)
        old = stored[self.key]
        if self.condition is not None and not self.condition.holds(old or {}, StepCounter(stored.check)):
            is_shown = self.request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            members: dict[str, Any] = {"Item": encode_item(old)} if old and is_shown else {}
            raise EndpointError("ConditionalCheckFailedException", "The conditional request failed", **members)
        if self.change is None:
            return {}
        new = self.change(old)
        if new is not None and self.item is None:
            check_index_keys(stored.indexes, new, {path[0] for path in self.paths})
        return {self.key: new}


# The parsers check in the same order as AWS. They raise EndpointError or InvalidArgument.


def read_put(request: Mapping[str, Any]) -> WriteRequest:
    """Parse a PutItem."""
    reader = ExpressionReader(request, "ConditionExpression")
    item = read_item(request["Item"])
    _check_return_values(request)
    check_size(item)
    condition = _read_condition(reader)
    return WriteRequest(request, get_item_key(item), condition, lambda old: item, item=item)


def _read_by_key(change: Callable[[Item | None], Item | None] | None, request: Mapping[str, Any]) -> WriteRequest:
    reader = ExpressionReader(request, "ConditionExpression")
    values = read_values(request["Key"])
    _check_return_values(request)
    condition = _read_condition(reader)
    return WriteRequest(request, to_key(values, exact=True), condition, change)


read_delete = partial(_read_by_key, lambda old: None)
read_condition_check = partial(_read_by_key, None)


def read_update(request: Mapping[str, Any]) -> WriteRequest:
    """Parse an UpdateItem."""
    reader = ExpressionReader(request, "UpdateExpression", "ConditionExpression")
    values = read_values(request["Key"])
    update, condition = reader.read_update(), _read_condition(reader)
    key = to_key(values, exact=True)
    for path in update.paths:
        if path[0] in KEYS:
            raise KeySchemaError(f"{INVALID}Cannot update attribute {path[0]}. This attribute is part of the key")

    def change(old: Item | None) -> Item | None:
        new = update.apply(key.attributes if old is None else old)
        only_removes = old is None and bool(update.paths) and new == key.attributes
        return None if only_removes else new  # REMOVE alone does not create an item

    return WriteRequest(request, key, condition, change, update.paths)


def _check_return_values(request: Mapping[str, Any]) -> None:
    fits = request.get("ReturnValues", "NONE") in ("NONE", "ALL_OLD")
    require_valid(fits, "ReturnValues can only be ALL_OLD or NONE")


def _read_condition(reader: ExpressionReader) -> ConditionNode | None:
    """Parse the condition, the last expression of a write, and check that all placeholders are used."""
    condition = reader.read_condition("ConditionExpression")
    reader.check_all_used()
    return condition


async def write_item(read: Callable[[Mapping[str, Any]], WriteRequest], call: EndpointRequest) -> dict[str, Any]:
    """Execute a write and return the response."""
    returned = call.request.get("ReturnValues", "NONE")
    write = await offload(partial(read, call.request), call.request)
    name, table = await call.find_table(call.request["TableName"], [write.key], writes=True)

    def decide(stored: StoredItems) -> tuple[Changes, dict[str, Any]]:
        old = stored[write.key]
        changes = write.changes(stored)
        new = changes[write.key]
        answer = _make_returned(returned, write.paths, old if returned.endswith("OLD") else new)
        return changes, {**answer, **call.consumed(name, lambda: count_write_units(old, new))}

    return await table.change([write.key], decide)


def _make_returned(values: str, paths: Iterable[Path], item: Item | None) -> dict[str, Encoded]:
    """Return the `Attributes` requested by `ReturnValues`."""
    if values == "NONE" or not item:
        return {}
    if values.startswith("UPDATED"):
        item = project(item, paths, keys=False)
    return {"Attributes": encode_item(item)} if item else {}
