"""The items and updates of a put: made of its arguments, and checked before anything is written."""

from collections.abc import Mapping
from typing import Any

from ddb_mcp.core.conditions import Filter
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expressions import check_update
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.items import AttributeValue, Item, from_json, parse_item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import Path, find_overlap, format_path, parse_path
from ddb_mcp.core.text import quote_start
from ddb_mcp.core.updates import Update
from ddb_mcp.service.call_context import CallContext
from ddb_mcp.service.outlines import refuse_outline
from ddb_mcp.service.parameters import check_bounds, parse_text

_KEY = ("pk", "sk")
_ADDABLE = frozenset({"N", "SS", "NS", "BS"})
# Words of MongoDB's updates, and what to write instead.
MONGODB_WORDS = {
    "$inc": 'Write add: {"name": 1}, beside item.',
    "$mul": "Read the item, then put the product with expect on the value you read.",
    "$addToSet": 'Write add: {"name": {"SS": ["member"]}}, beside item.',
    "$push": "Read the item, then put the whole list with expect on the list you read.",
    "$pull": 'Write remove: ["list[2]"], beside item.',
    "$set": "Write the attributes in item, with merge.",
    "$unset": 'Write remove: ["name"], beside item.',
    "$setOnInsert": "Write create_only.",
}


def parse_expect(expect: dict[str, Any] | None) -> Filter:
    """Return the clauses of `expect`, none if it is omitted. Raises InvalidArgument."""
    return () if expect is None else parse_filter(expect, "expect")


def list_mongodb_words(item: Item) -> list[str]:
    """Return the words of MongoDB's updates that stand where an item's attributes or their values do."""
    names = {*item, *(next(iter(value["M"])) for value in item.values() if value.get("M"))}
    return [word for word in MONGODB_WORDS if word in names]


def parse_changes(remove: list[str] | None, add: Mapping[str, Any] | None) -> Update:
    """Return the part of an update that is the same for all items: one without an item.

    Raises:
        InvalidArgument: a path or a number is not valid, or two paths touch one another.
    """
    update = Update({}, tuple(parse_path(name, "remove") for name in remove or ()), _parse_additions(add or {}))
    check_update({}, update.remove, update.add)  # first: no more paths than fit are compared, for each item again
    _check_paths(update)
    return update


def parse_own_item(call: CallContext, value: Any, where: str) -> Item:
    """Return an item as it came, checked. Raises InvalidArgument or PrefixViolation."""
    if isinstance(value, str):
        value = parse_text(value, "item", where)
        if isinstance(value, str):
            raise InvalidArgument(f"{where} is a JSON string within a JSON string.", next="Send the object itself.")
    elif where != "item":  # an entry of `items`; a single item was checked with the arguments
        check_bounds(value, "item", where)
    item = parse_item(value, where)
    call.prefix.check_key(*Key.of(item), f"{where}.")
    refuse_outline(item, where)
    return item


def make_update(item: Item, change: Update, where: str) -> Update:
    """Return the update of one item. Raises InvalidArgument."""
    if words := list_mongodb_words(item):
        raise InvalidArgument(f"{where} has {words[0]}, which put does not support.", next=MONGODB_WORDS[words[0]])
    update = change._replace(item=item)
    _check_paths(update)
    check_update(update.item, update.remove, update.add)
    return update


def _parse_additions(add: Mapping[str, Any]) -> dict[str, AttributeValue]:
    additions = {}
    for name, value in add.items():
        if not name:
            raise InvalidArgument("add has an attribute with an empty name.")
        additions[name] = from_json(value, f"add.{quote_start(name)}")
        if not _ADDABLE & additions[name].keys():
            raise InvalidArgument(
                f"add.{quote_start(name)} must be a number or a set.",
                next='Write add: {"visits": 1, "tags": {"SS": ["new"]}}; set everything else in item.',
            )
    return additions


def _check_paths(update: Update) -> None:
    """Raise InvalidArgument if two paths of an update touch, or if it names the key."""
    key = next((path for path in (*update.remove, *((name,) for name in update.add)) if path[0] in _KEY), None)
    if key is not None:
        raise InvalidArgument(f"{key[0]} is in the key, which never changes.", next="Put the item under another key.")
    paths: list[Path] = [(name,) for name in (*update.item, *update.add) if name not in _KEY]
    if pair := find_overlap([*paths, *update.remove]):
        if pair[0] == pair[1]:
            raise InvalidArgument(f"{_format_path(pair[0])} is named twice; one call can change a value only once.")
        raise InvalidArgument(
            f"{_format_path(pair[0])} and {_format_path(pair[1])} overlap; one call can change a value only once."
        )
    taken: dict[Path, Path] = {}
    for path in sorted(update.remove, key=lambda path: not isinstance(path[-1], int)):
        for length in range(1, len(path)):
            by = taken.get(path[:length])
            if by is not None and isinstance(path[length], int):
                raise InvalidArgument(
                    f"remove: {_format_path(by)} and {_format_path(path)} are positions in the same list.",
                    next="Remove one position of a list per call: later positions shift.",
                )
        if isinstance(path[-1], int):
            taken[path[:-1]] = path


def _format_path(path: Path) -> str:
    return quote_start(format_path(path))
