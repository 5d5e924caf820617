"""PutItem, UpdateItem, DeleteItem, and the ConditionCheck of a transaction: each a `Write`, alone or with others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ddb_mcp.core.conditions import Steps
from ddb_mcp.core.expression_reader import Placeholders, read_update
from ddb_mcp.core.expression_trees import Condition, Update
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import pick
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.calls import Call, choice, condition, placeholders, write_units
from ddb_mcp.endpoint.failures import Failure, invalid
from ddb_mcp.endpoint.values import KEYS, check_nesting, encode_item, read_item, read_key
from ddb_mcp.stores.local.table import Changes, Stored
from ddb_mcp.stores.workers import convert


@dataclass(frozen=True)
class Write:
    """One write to the item with a key.

    Attributes:
        condition: what must hold for the stored item.
        change: makes the new item of the stored item; None where nothing is to change.
        update: the update expression, of an UpdateItem.
        shows_item: whether the failure of the condition carries the stored item.
    """

    key: Key
    condition: Condition | None
    change: Callable[[Item | None], Item | None] | None
    update: Update | None = None
    shows_item: bool = False

    def changes(self, stored: Stored) -> Changes:
        """The new item. Raises Failure, where the condition does not hold too, or InvalidArgument."""
        old = stored[self.key]
        if self.condition is not None and not self.condition.holds(old or {}, Steps(stored.check)):
            members: dict[str, Any] = {"Item": encode_item(old)} if old and self.shows_item else {}
            raise Failure("ConditionalCheckFailedException", "The conditional request failed", **members)
        return {} if self.change is None else {self.key: self.change(old)}


def put(request: Mapping[str, Any]) -> Write:
    """The write that a PutItem describes. Raises Failure or InvalidArgument, as the other functions do."""
    known = placeholders(request)
    item = read_item(request["Item"])
    return Write(Key.of(item), _condition(request, known), lambda old: item, shows_item=_shows_item(request))


def delete(request: Mapping[str, Any]) -> Write:
    return _by_key(request, lambda old: None)


def condition_check(request: Mapping[str, Any]) -> Write:
    return _by_key(request, None)


def update(request: Mapping[str, Any]) -> Write:
    known = placeholders(request)
    text = request.get("UpdateExpression")
    update = Update() if text is None else read_update("UpdateExpression", text, known)
    expected = _condition(request, known)
    key = read_key(request["Key"])
    for path in update.paths:
        if path[0] in KEYS:
            raise invalid(
                "One or more parameter values were invalid: "
                f"Cannot update attribute {path[0]}. This attribute is part of the key"
            )

    nested = {str(path[0]) for path in update.paths if len(path) > 1}

    def change(old: Item | None) -> Item:
        new = update.applied(key.attributes if old is None else old)
        for name in nested & new.keys():
            check_nesting(new[name])
        return new

    return Write(key, expected, change, update, _shows_item(request))


def _by_key(request: Mapping[str, Any], change: Callable[[Item | None], None] | None) -> Write:
    # DynamoDB finds fault with the expressions first, and with the key after them.
    expected = _condition(request, placeholders(request))
    return Write(read_key(request["Key"]), expected, change, shows_item=_shows_item(request))


def _condition(request: Mapping[str, Any], known: Placeholders) -> Condition | None:
    """The condition of a write, which is the last expression to be read: every placeholder must be used then."""
    expected = condition(request, "ConditionExpression", known)
    known.check_all_used()
    return expected


def _shows_item(request: Mapping[str, Any]) -> bool:
    return request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"


async def put_item(call: Call) -> dict[str, Any]:
    choice(call.request, "ReturnValues", "NONE", "ALL_OLD")
    return await _write_alone(call, put)


async def delete_item(call: Call) -> dict[str, Any]:
    choice(call.request, "ReturnValues", "NONE", "ALL_OLD")
    return await _write_alone(call, delete)


async def update_item(call: Call) -> dict[str, Any]:
    return await _write_alone(call, update)


async def _write_alone(call: Call, read: Callable[[Mapping[str, Any]], Write]) -> dict[str, Any]:
    """Do the one write that the request describes, and answer it."""
    write = await convert(partial(read, call.request), call.request)
    name, table = await call.tables.find(call.request["TableName"])
    call.check_write(name)
    call.check_key(name, write.key.pk)

    def decide(stored: Stored) -> tuple[Changes, tuple[dict[str, Encoded], dict[str, Any]]]:
        old = stored[write.key]
        changes = write.changes(stored)
        new = changes[write.key]
        answer = _returned(call.request.get("ReturnValues", "NONE"), write, old, new)
        return changes, (answer, call.consumed(name, lambda: write_units(old, new)))

    answer, consumed = await table.change([write.key], decide)
    return {**answer, **consumed}


def _returned(values: str, write: Write, old: Item | None, new: Item | None) -> dict[str, Encoded]:
    """The `Attributes` of the answer that `ReturnValues` asks for."""
    item = old if values.endswith("OLD") else new
    if values == "NONE" or not item:
        return {}
    if values.startswith("UPDATED"):
        item = pick(item, write.update.paths if write.update else [], keys=False)
    return {"Attributes": encode_item(item)} if item else {}
