"""Outlines: paths, types and sizes in place of an item that is too long to show."""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import get_type
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item, exceeds_bytes, item_to_json, measure_item, measure_value
from ddb_mcp.core.paths import Path, format_path, get_value, list_members, project
from ddb_mcp.core.text import count_bytes
from ddb_mcp.service.results import PlainItem

OUTLINE_NEXT = "Too long to show. Call get with attributes: paths, or parts of long values: body[0:20000]."
_TIMES_MEASURED = 4
OUTLINE_DELETED = "Too long to show. It was deleted, so its parts cannot be had any more."


def refuse_outline(item: Item, where: str) -> None:
    """Raise InvalidArgument for an outline sent back as if it were the item: it would replace what it stands for."""
    if item.get("outline", {}).get("M", {}).get("next") in ({"S": OUTLINE_NEXT}, {"S": OUTLINE_DELETED}):
        raise InvalidArgument(
            f"{where} is the outline of an item, not the item itself.", next="Use merge to change single attributes."
        )


def make_outline(
    item: Item, budget: int, advice: str = OUTLINE_NEXT, paths: Iterable[Path] | None = None
) -> dict[str, Any]:
    """The outline of an item: its key, and the path, type, bytes and number of members of each value.

    The first members of maps and lists that are themselves too long follow after all other values. Values are measured
    for a few times the bytes of the item: in deep nesting each level has nearly all of them.

    Args:
        item: the whole item.
        budget: bytes the outline may take; values that do not fit are only counted, the key always stands.
        advice: the outline's member `next`.
        paths: the paths that the call asked for, None for the whole item.
    """
    if paths is None:
        paths = ((name,) for name in sorted(item.keys() - {"pk", "sk"}))
    values = [(path, value) for path in paths if (value := get_value(item, path)) is not None]
    shown: dict[str, Any] = {"pk": item["pk"]["S"], "sk": item["sk"]["S"]}
    attributes: list[dict[str, Any]] = []
    item_bytes = measure_item(item)
    shown["outline"] = about = {"bytes": item_bytes, "attributes": attributes, "next": advice}
    room = min(budget, limits.OUTLINE_BYTES + count_bytes(shown)) - count_bytes(shown) - 40
    waiting, measured = deque(values), 0
    while waiting:
        path, value = waiting.popleft()
        entry = _outline_value(path, value)
        room -= count_bytes(entry) + 1
        if room < 0:
            break
        attributes.append(entry)
        measured += entry["bytes"]
        if measured <= _TIMES_MEASURED * item_bytes and exceeds_bytes(value, budget):
            inner = islice(list_members(value), limits.OUTLINE_MEMBERS)
            waiting.extend(((*path, step), member) for step, member in inner)
    if len(attributes) < len(values):
        about["more"] = len(values) - len(attributes)
    return shown


def _outline_value(path: Path, value: AttributeValue) -> dict[str, Any]:
    entry = {"path": format_path(path), "type": get_type(value), "bytes": measure_value(value)}
    return entry | ({"members": len(value[get_type(value)])} if get_type(value) in ("L", "M") else {})


def show_item(
    item: Item, room: int, next: str = OUTLINE_NEXT, paths: Iterable[Path] | None = None
) -> tuple[PlainItem, bool]:
    """The item as plain JSON, or its outline where that is too long, and whether it is an outline.

    Args:
        item: the whole item.
        room: bytes of compact JSON.
        next: see `make_outline`.
        paths: the paths that the call asked for, None for the whole item.
    """
    fitted = fit_whole(item if paths is None else project(item, paths), room)
    return (make_outline(item, room, next, paths), True) if fitted is None else (fitted[0], False)


def fit_whole(item: Item, room: int) -> tuple[PlainItem, int] | None:
    """The item as plain JSON and its bytes, None where it is longer than `room` bytes."""
    if exceeds_bytes({"M": item}, room):  # saves the conversion
        return None
    plain = item_to_json(item)
    length = count_bytes(plain)
    return (plain, length) if length <= room else None
