"""PutItem, UpdateItem, DeleteItem and the ConditionCheck of a transaction, each as a `WriteRequest`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ddb_mcp.core.conditions import StepCounter
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import project
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.errors import EndpointError, make_validation_error
from ddb_mcp.endpoint.expressions.nodes import ConditionNode, UpdateExpression
from ddb_mcp.endpoint.expressions.parser import Placeholders, parse_update
from ddb_mcp.endpoint.requests import EndpointRequest, count_write_units, get_choice, make_placeholders, read_condition
from ddb_mcp.endpoint.values import KEYS, check_nesting, encode_item, read_item, read_key
from ddb_mcp.stores.local.table import Changes, Stored
from ddb_mcp.stores.workers import convert


@dataclass(frozen=True)
class WriteRequest:
    """One write to the item with a key.

    Attributes:
        condition: what must hold for the stored item.
        change: makes the new item of the stored item; None where nothing is to change.
        update: the update expression, of an UpdateItem.
        shows_item: whether the failure of the condition carries the stored item.
    """

    key: Key
    condition: ConditionNode | None
    change: Callable[[Item | None], Item | None] | None
    update: UpdateExpression | None = None
    shows_item: bool = False

    def changes(self, stored: Stored) -> Changes:
        """The new item. Raises Failure, where the condition does not hold too, or InvalidArgument."""
        old = stored[self.key]
        if self.condition is not None and not self.condition.holds(old or {}, StepCounter(stored.check)):
            members: dict[str, Any] = {"Item": encode_item(old)} if old and self.shows_item else {}
            raise EndpointError("ConditionalCheckFailedException", "The conditional request failed", **members)
        return {} if self.change is None else {self.key: self.change(old)}


def read_put(request: Mapping[str, Any]) -> WriteRequest:
    """The write that a PutItem describes. Raises Failure or InvalidArgument, as the other functions do."""
    known = make_placeholders(request)
    item = read_item(request["Item"])
    return WriteRequest(Key.of(item), _condition(request, known), lambda old: item, shows_item=_shows_item(request))


def read_delete(request: Mapping[str, Any]) -> WriteRequest:
    return _by_key(request, lambda old: None)


def read_condition_check(request: Mapping[str, Any]) -> WriteRequest:
    return _by_key(request, None)


def read_update(request: Mapping[str, Any]) -> WriteRequest:
    known = make_placeholders(request)
    text = request.get("UpdateExpression")
    update = UpdateExpression() if text is None else parse_update("UpdateExpression", text, known)
    expected = _condition(request, known)
    key = read_key(request["Key"])
    for path in update.paths:
        if path[0] in KEYS:
            raise make_validation_error(
                "One or more parameter values were invalid: "
                f"Cannot update attribute {path[0]}. This attribute is part of the key"
            )

    nested = {str(path[0]) for path in update.paths if len(path) > 1}

    def change(old: Item | None) -> Item:
        new = update.apply(key.attributes if old is None else old)
        for name in nested & new.keys():
            check_nesting(new[name])
        return new

    return WriteRequest(key, expected, change, update, _shows_item(request))


def _by_key(request: Mapping[str, Any], change: Callable[[Item | None], None] | None) -> WriteRequest:
    # DynamoDB finds fault with the expressions first, and with the key after them.
    expected = _condition(request, make_placeholders(request))
    return WriteRequest(read_key(request["Key"]), expected, change, shows_item=_shows_item(request))


def _condition(request: Mapping[str, Any], known: Placeholders) -> ConditionNode | None:
    """The condition of a write, which is the last expression to be read: every placeholder must be used then."""
    expected = read_condition(request, "ConditionExpression", known)
    known.check_all_used()
    return expected


def _shows_item(request: Mapping[str, Any]) -> bool:
    return request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"


async def put_item(call: EndpointRequest) -> dict[str, Any]:
    get_choice(call.request, "ReturnValues", "NONE", "ALL_OLD")
    return await _write_alone(call, read_put)


async def delete_item(call: EndpointRequest) -> dict[str, Any]:
    get_choice(call.request, "ReturnValues", "NONE", "ALL_OLD")
    return await _write_alone(call, read_delete)


async def update_item(call: EndpointRequest) -> dict[str, Any]:
    return await _write_alone(call, read_update)


async def _write_alone(call: EndpointRequest, read: Callable[[Mapping[str, Any]], WriteRequest]) -> dict[str, Any]:
    """Do the one write that the request describes, and answer it."""
    write = await convert(partial(read, call.request), call.request)
    name, table = await call.tables.find(call.request["TableName"])
    call.check_write(name)
    call.check_key(name, write.key.pk)

    def decide(stored: Stored) -> tuple[Changes, tuple[dict[str, Encoded], dict[str, Any]]]:
        old = stored[write.key]
        changes = write.changes(stored)
        new = changes[write.key]
        answer = _make_returned(call.request.get("ReturnValues", "NONE"), write, old, new)
        return changes, (answer, call.consumed(name, lambda: count_write_units(old, new)))

    answer, consumed = await table.change([write.key], decide)
    return {**answer, **consumed}


def _make_returned(values: str, write: WriteRequest, old: Item | None, new: Item | None) -> dict[str, Encoded]:
    """The `Attributes` of the answer that `ReturnValues` asks for."""
    item = old if values.endswith("OLD") else new
    if values == "NONE" or not item:
        return {}
    if values.startswith("UPDATED"):
        item = project(item, write.update.paths if write.update else [], keys=False)
    return {"Attributes": encode_item(item)} if item else {}
