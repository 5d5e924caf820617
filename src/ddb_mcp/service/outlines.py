"""Outlines: what there is of an item that is too long to show, with paths, types and sizes of its long values."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from ddb_mcp.core.conditions import get_type
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item, exceeds_bytes, item_to_json, measure_item, measure_value, to_json
from ddb_mcp.core.paths import Path, format_path, get_value, list_members, project
from ddb_mcp.core.text import count_bytes
from ddb_mcp.service.results import PlainItem

# An outline: its bytes, and how many members of a long map or list it lists.
OUTLINE_BYTES = 8192
OUTLINE_MEMBERS = 20


OUTLINE_NEXT = "Too long to show. Call get with attributes: paths, or parts of long values: body[0:20000]."
OUTLINE_DELETED = "Too long to show. The item is deleted, so its parts can no longer be read."
_TIMES_MEASURED = 4
# Values of so few bytes take no more when they are shown than when they are listed.
_TINY_BYTES = 16
_MORE_BYTES = len(',"more":999999')


def refuse_outline(item: Item, where: str) -> None:
    """Raise InvalidArgument for an outline sent back as if it were the item: it would replace the item."""
    if item.get("outline", {}).get("M", {}).get("next") in ({"S": OUTLINE_NEXT}, {"S": OUTLINE_DELETED}):
        raise InvalidArgument(
            f"{where} is the outline of an item, not the item itself.", next="Use merge to change single attributes."
        )


def make_outline(
    item: Item,
    budget: int,
    advice: str = OUTLINE_NEXT,
    paths: Iterable[Path] | None = None,
    *,
    most: int = OUTLINE_BYTES,
) -> dict[str, Any]:
    """Return the outline of an item: its key, its shortest values as they are, and `outline`, which lists the others.

    A value that is not shown has its path, type, bytes and number of members. The first members of maps and lists that
    are themselves too long follow after all other values. `more` counts the values, or members, that are not listed.

    Args:
        item: the whole item.
        budget: bytes the outline may take; the key is always shown.
        advice: the outline's member `next`.
        paths: the requested paths, None for the whole item.
        most: bytes the outline may take besides the key, however large the budget is.
    """
    if paths is None:
        paths = ((name,) for name in sorted(item.keys() - {"pk", "sk"}))
    values = {path: value for path in paths if (value := get_value(item, path)) is not None}
    shown: dict[str, Any] = {"pk": item["pk"]["S"], "sk": item["sk"]["S"]}
    about: dict[str, Any] = {"bytes": measure_item(item), "attributes": [], "next": advice}
    room = min(budget, most + count_bytes(shown)) - count_bytes({**shown, "outline": about}) - _MORE_BYTES
    entries = _list_values(values, about["bytes"], budget, room)
    for path, entry in entries.items():
        if _stands_in_item(path, entry):
            shown[str(path[0])] = entry["value"]
        else:
            about["attributes"].append(entry)
    if more := len(values.keys() - entries.keys()):
        about["more"] = more
    return {**shown, "outline": about}


def _list_values(
    values: Mapping[Path, AttributeValue], item_bytes: int, budget: int, room: int
) -> dict[Path, dict[str, Any]]:
    """Return entries for as many values as have room, by path, with the shortest values in place of their sizes.

    Values are measured for a few times the bytes of the item: in deep nesting each level has nearly all of them.
    """
    found, waiting, measured = dict(values), deque(values), 0
    entries: dict[Path, dict[str, Any]] = {}
    while waiting:
        path = waiting.popleft()
        entry = _outline_value(path, found[path])
        measured += entry["bytes"]
        if entry["bytes"] <= _TINY_BYTES:
            entry = _show_value(path, found[path])
        cost = _count_entry(path, entry) + (_MORE_BYTES if "members" in entry else 0)
        if cost > room:
            break
        room -= cost
        entries[path] = entry
        if measured <= _TIMES_MEASURED * item_bytes and exceeds_bytes(found[path], budget):
            inner = {(*path, step): member for step, member in list_members(found[path])[:OUTLINE_MEMBERS]}
            found |= inner
            waiting.extend(inner)
    listed = Counter(path[:-1] for path in entries)
    for path, entry in entries.items():
        if listed[path] < entry.get("members", 0) and exceeds_bytes(found[path], budget):
            entry["more"] = entry["members"] - listed[path]
    long = [path for path in entries if "bytes" in entries[path]]
    for path in sorted(long, key=lambda path: int(entries[path]["bytes"])):
        if listed[path] or exceeds_bytes(found[path], room + _count_entry(path, entries[path])):
            break
        short = _show_value(path, found[path])
        room += _count_entry(path, entries[path]) - _count_entry(path, short)
        if room < 0:
            break
        entries[path] = short
    return entries


def _stands_in_item(path: Path, entry: dict[str, Any]) -> bool:
    """Return whether a value is shown as a member of the item, rather than by its path in `outline`."""
    return len(path) == 1 and path[0] != "outline" and "value" in entry


def _count_entry(path: Path, entry: dict[str, Any]) -> int:
    return count_bytes({path[0]: entry["value"]} if _stands_in_item(path, entry) else entry) + 1


def _show_value(path: Path, value: AttributeValue) -> dict[str, Any]:
    return {"path": format_path(path), "value": to_json(value)}


def _outline_value(path: Path, value: AttributeValue) -> dict[str, Any]:
    entry = {"path": format_path(path), "type": get_type(value), "bytes": measure_value(value)}
    return entry | ({"members": len(value[get_type(value)])} if get_type(value) in ("L", "M") else {})


def show_item(
    item: Item, room: int, next: str = OUTLINE_NEXT, paths: Iterable[Path] | None = None
) -> tuple[PlainItem, bool]:
    """Return the item as plain JSON, or its outline if that is too long, and whether it is an outline.

    Args:
        item: the whole item.
        room: bytes of compact JSON.
        next: see `make_outline`.
        paths: the requested paths, None for the whole item.
    """
    fitted = fit_whole(item if paths is None else project(item, paths), room)
    return (make_outline(item, room, next, paths, most=room), True) if fitted is None else (fitted[0], False)


def fit_whole(item: Item, room: int) -> tuple[PlainItem, int] | None:
    """Return the item as plain JSON and its bytes, None if it is longer than `room` bytes."""
    if exceeds_bytes({"M": item}, room):  # saves the conversion
        return None
    plain = item_to_json(item)
    length = count_bytes(plain)
    return (plain, length) if length <= room else None
