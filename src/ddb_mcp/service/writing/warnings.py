"""Warnings about a write that was done."""

import time

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item
from ddb_mcp.core.paths import Path, format_path, list_members, parse_path
from ddb_mcp.core.text import shorten
from ddb_mcp.core.updates import Update
from ddb_mcp.service.writing.inputs import MONGODB_WORDS, list_mongodb_words
from ddb_mcp.stores.base import Written

_MAPS_NAMED = 10
_NAMES_NAMED = 3
_MS_THRESHOLD = 10**11
# Type names that count in DynamoDB JSON only, with the stored type of the value in such a map.
_UNTAKEN = {"S": "S", "BOOL": "BOOL", "NULL": "BOOL", "L": "L"}


def list_write_warnings(write: Item | Update, *, ttl_is_off: bool) -> list[str]:
    """Return warnings about attributes that probably do not do what was meant.

    Args:
        write: a whole item, or an update.
        ttl_is_off: whether the table is known to expire nothing by `ttl`, which is then an attribute like any other.
    """
    item, literal = (write.item, _warn_of_literal_names(write)) if isinstance(write, Update) else (write, [])
    return [*([] if ttl_is_off else _warn_of_ttl(item)), *_warn_of_maps(item), *_warn_of_words(item), *literal]


def _warn_of_literal_names(update: Update) -> list[str]:
    """Return a warning about names of an update that `filter` and `remove` would take for document paths."""
    names = [name for name in (*update.item, *update.add) if _is_path(name)]
    if not names:
        return []
    pairs = ", ".join(f"{shorten(name, 50)} as {shorten(format_path((name,)), 60)}" for name in names[:_NAMES_NAMED])
    advice = "item and add take names, not paths; to change a value inside a map or list, set the whole attribute."
    return [
        shorten(
            f"stored under literal names; filter, attributes and remove write them in backticks: {pairs}. {advice}", 600
        )
    ]


def _is_path(name: str) -> bool:
    try:
        return parse_path(name, "item") != (name,)
    except InvalidArgument:
        return False


def _warn_of_words(item: Item) -> list[str]:
    """Return which words of MongoDB's updates are stored as names; a put that replaces the item may have any names."""
    words = list_mongodb_words(item)
    return [f"{word} is stored as a name and changes nothing. {MONGODB_WORDS[word]}" for word in words]


def _warn_of_maps(item: Item) -> list[str]:
    """Return a warning about maps such as `{"S": "Ada"}` in a plain item: they look like DynamoDB JSON."""
    found: list[str] = []
    waiting: list[tuple[Path, AttributeValue]] = [((), {"M": item})]
    while waiting and len(found) < _MAPS_NAMED:  # each name may be as long as its item is deep
        path, value = waiting.pop()
        name, inner = next(iter(value["M"].items())) if len(value.get("M", ())) == 1 else ("", {})
        if inner and _UNTAKEN.get(name) in inner:
            found.append(format_path(path))
        waiting += (((*path, step), inner) for step, inner in list_members(value) if "M" in inner or "L" in inner)
    if not found:
        return []
    names = ", ".join(shorten(name, 50) for name in sorted(found))
    return [
        shorten(f"stored as maps that look like DynamoDB JSON, which is recognized only for a whole item: {names}", 400)
    ]


def _warn_of_ttl(item: Item) -> list[str]:
    """Return why a `ttl` expires nothing, or expires the item at once."""
    if "ttl" not in item:
        return []
    ((kind, content),) = item["ttl"].items()
    if kind != "N":
        return ["ttl is not a number, so the item will never expire; use a number of seconds since 1970."]
    seconds, now = float(content), time.time()
    if seconds > _MS_THRESHOLD:
        return [
            "ttl looks like milliseconds, so the item will not expire for thousands of years; use seconds since 1970."
        ]
    if seconds < now - limits.TTL_PAST_SECONDS:
        return ["ttl is more than five years in the past, which DynamoDB ignores, so the item will never expire."]
    if seconds < now:
        return ["ttl is in the past, so the item may be deleted at any moment."]
    return []


def list_absent_warnings(written: Written) -> list[str]:
    """Return a warning about paths of `remove` at which there was nothing."""
    if not written.absent:
        return []
    names = ", ".join(shorten(format_path(path), 50) for path in written.absent[:10])
    return [shorten(f"remove: nothing was stored at {names}", 300)]
