"""Text of results: compact JSON, its size in bytes, and text cut to a number of bytes."""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from typing import Any

from ddb_mcp.core import limits

# What steers a terminal or a reader unseen: controls, line breaks of every kind, marks that turn the direction of text,
# and tags. JSON escapes the first 32 by itself.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e0fff]")


def compact(value: Any) -> str:
    """JSON on one line without spaces. What steers a reader unseen is escaped in it, which leaves values exact."""
    return visible(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def visible(text: str) -> str:
    """The text, for people and logs, with `\\uXXXX` for each character that steers a terminal or a reader unseen."""
    return _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def size(value: Any) -> int:
    """Bytes of UTF-8 of the compact JSON. A lone surrogate that some store let in counts as its escape."""
    return len(compact(value).encode(errors="backslashreplace"))


def fitting(text: str, max_bytes: int) -> str:
    """As much of the text's beginning as takes `max_bytes` bytes of JSON, its quotes among them."""
    if len(text) <= max_bytes and size(text) <= max_bytes:  # no text of a longer value is made
        return text
    text = text[: max(0, max_bytes)]
    return text[: bisect_right(range(1, len(text) + 1), max_bytes, key=lambda length: size(text[:length]))]


def clip(text: str, max_bytes: int) -> str:
    """The text, or as much of its beginning as takes `max_bytes` bytes of JSON with a mark that it goes on."""
    return (
        text
        if len(text) <= max_bytes and size(text) <= max_bytes
        else fitting(text, max_bytes - len("…".encode())) + "…"
    )


def has_more_members(text: str, most: int) -> bool:
    """Whether JSON has more than so many members, counted in its text, before anything is built from it.

    Args:
        text: JSON, or anything else.
        most: members of all its lists and objects together.
    """
    # Commas in strings are no members; few texts have so many that their strings must be looked at.
    return marks(text) > most and _marks_outside_strings(text) > most


def _marks_outside_strings(text: str) -> int:
    """In pieces, between which other threads get the interpreter."""
    text = text.replace("\\\\", "").replace('\\"', "")
    count = inside = 0
    for at in range(0, len(text), limits.LOOP_BYTES):
        parts = text[at : at + limits.LOOP_BYTES].split('"')
        count += marks("".join(parts[inside::2]))
        inside = (inside + len(parts) - 1) % 2
    return count


def marks(text: str) -> int:
    """Return the most members that JSON can have, two for an attribute value; fewer if its strings have such marks."""
    return text.count(",") + text.count("[") + text.count("{")


def brief(text: str, characters: int = limits.QUOTED_CHARACTERS) -> str:
    """The text, or its beginning with a mark that it goes on: errors quote nothing long."""
    return text if len(text) <= characters else text[:characters] + "…"


def object_of(pairs: list[tuple[str, Any]], on_duplicate: Callable[[str], object]) -> dict[str, Any]:
    """The JSON object with these members, for `json.loads(object_pairs_hook=…)`.

    Args:
        on_duplicate: called with a name, quoted, that two members have. The last of them is taken if it returns.
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        on_duplicate(repr(brief(name)))
    return members
