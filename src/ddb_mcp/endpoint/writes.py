"""PutItem, UpdateItem, DeleteItem and the ConditionCheck of a transaction, each as a `WriteRequest`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ddb_mcp.core.conditions import StepCounter
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import Path, project
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.errors import EndpointError, make_validation_error
from ddb_mcp.endpoint.expressions.nodes import ConditionNode
from ddb_mcp.endpoint.expressions.parser import ExpressionReader
from ddb_mcp.endpoint.requests import EndpointRequest, count_write_units
from ddb_mcp.endpoint.values import KEYS, check_nesting, encode_item, read_item, read_key
from ddb_mcp.stores.local.table import Changes, Stored
from ddb_mcp.stores.workers import convert

_Change = Callable[[Item | None], Item | None]


@dataclass(frozen=True)
class WriteRequest:
    """One write to the item with a key.

    Attributes:
        condition: must hold for the stored item.
        change: makes the new item of the stored item; None if nothing is to change.
        shows_item: whether the failure of the condition carries the stored item.
        paths: what an UpdateItem changes.
    """

    key: Key
    condition: ConditionNode | None
    change: _Change | None
    shows_item: bool
    paths: Iterable[Path] = ()

    def changes(self, stored: Stored) -> Changes:
        """Return the new item. Raises EndpointError, also if the condition does not hold, or InvalidArgument."""
        old = stored[self.key]
        if self.condition is not None and not self.condition.holds(old or {}, StepCounter(stored.check)):
            members: dict[str, Any] = {"Item": encode_item(old)} if old and self.shows_item else {}
            raise EndpointError("ConditionalCheckFailedException", "The conditional request failed", **members)
        return {} if self.change is None else {self.key: self.change(old)}


def read_put(request: Mapping[str, Any]) -> WriteRequest:
    """Return the write that a PutItem describes. Raises EndpointError or InvalidArgument, as the other functions do."""
    reader = ExpressionReader(request)
    item = read_item(request["Item"])
    return _make_write(request, reader, lambda old: item, key=Key.of(item))


def read_delete(request: Mapping[str, Any]) -> WriteRequest:
    return _make_write(request, ExpressionReader(request), lambda old: None)


def read_condition_check(request: Mapping[str, Any]) -> WriteRequest:
    return _make_write(request, ExpressionReader(request), None)


def read_update(request: Mapping[str, Any]) -> WriteRequest:
    reader = ExpressionReader(request)
    update = reader.read_update()
    nested = {str(path[0]) for path in update.paths if len(path) > 1}

    def change(old: Item | None) -> Item | None:
        new = update.apply(write.key.attributes if old is None else old)
        if old is None and update.paths and new == write.key.attributes:
            return None  # what only removes creates nothing
        for name in nested & new.keys():
            check_nesting(new[name])
        return new

    write = _make_write(request, reader, change, paths=update.paths)
    for path in update.paths:
        if path[0] in KEYS:
            raise make_validation_error(
                "One or more parameter values were invalid: "
                f"Cannot update attribute {path[0]}. This attribute is part of the key"
            )
    return write


def _make_write(
    request: Mapping[str, Any],
    reader: ExpressionReader,
    change: _Change | None,
    *,
    key: Key | None = None,
    paths: Iterable[Path] = (),
) -> WriteRequest:
    # DynamoDB finds fault with the expressions first, of which the condition is the last, and with the key after them.
    condition = reader.read_condition("ConditionExpression")
    reader.check_all_used()
    shows_item = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return WriteRequest(key or read_key(request["Key"]), condition, change, shows_item, paths)


async def write_item(read: Callable[[Mapping[str, Any]], WriteRequest], call: EndpointRequest) -> dict[str, Any]:
    """Do the one write that a request describes, and answer it."""
    returned = call.request.get("ReturnValues", "NONE")
    if call.operation != "UpdateItem" and returned not in ("NONE", "ALL_OLD"):
        raise make_validation_error("ReturnValues can only be ALL_OLD or NONE")
    write = await convert(partial(read, call.request), call.request)
    name, table = await call.find_table(call.request["TableName"], [write.key], writes=True)

    def decide(stored: Stored) -> tuple[Changes, tuple[dict[str, Encoded], dict[str, Any]]]:
        old = stored[write.key]
        changes = write.changes(stored)
        new = changes[write.key]
        answer = _make_returned(returned, write.paths, old if returned.endswith("OLD") else new)
        return changes, (answer, call.consumed(name, lambda: count_write_units(old, new)))

    answer, consumed = await table.change([write.key], decide)
    return {**answer, **consumed}


def _make_returned(values: str, paths: Iterable[Path], item: Item | None) -> dict[str, Encoded]:
    """Return the `Attributes` of the answer that `ReturnValues` asks for."""
    if values == "NONE" or not item:
        return {}
    if values.startswith("UPDATED"):
        item = project(item, paths, keys=False)
    return {"Attributes": encode_item(item)} if item else {}
