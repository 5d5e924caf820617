"""Text of results: compact JSON, its size in bytes, and text cut to a number of bytes."""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from ddb_mcp.core import limits

# An error quotes this much of a name or a path.
QUOTED_CHARACTERS = 100


# Characters that steer a terminal or a reader unseen: controls, line breaks of every kind, marks that turn the
# direction of text, and tags. JSON escapes the first 32 by itself.
_STEERING_RANGES = (
    (0x00, 0x1F),
    (0x7F, 0x9F),
    (0x061C, 0x061C),
    (0x200E, 0x200F),
    (0x2028, 0x202E),
    (0x2066, 0x2069),
    (0xE0000, 0xE0FFF),
)
_STEERING = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _STEERING_RANGES) + "]")
# `truncate` measures text in pieces of this many characters.
_PIECE = 1024


def encode_json(value: Any) -> str:
    """Encode JSON on one line without spaces. Escapes invisible control characters; values stay exact."""
    return escape_controls(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def escape_controls(text: str) -> str:
    """Return the text, for logs and terminals, with `\\uXXXX` for what may steer a terminal or mislead a reader."""
    return text.translate(_make_escapes()) if _STEERING.search(text) else text


@cache
def _make_escapes() -> dict[int, str]:
    return {code: json.dumps(chr(code))[1:-1] for first, last in _STEERING_RANGES for code in range(first, last + 1)}


def count_bytes(value: Any) -> int:
    """Return the size of the compact JSON in bytes of UTF-8. A lone surrogate counts as its escape."""
    return len(encode_json(value).encode(errors="backslashreplace"))


def truncate(text: str, max_bytes: int) -> str:
    """Return as much of the text's beginning as takes `max_bytes` bytes of JSON, its quotes among them."""
    left = max_bytes - len('""')
    for at in range(0, len(text), _PIECE):
        piece = text[at : at + _PIECE]
        if (length := _count_content_bytes(piece)) > left:
            ends = range(1, len(piece) + 1)
            return text[: at + bisect_right(ends, left, key=lambda end: _count_content_bytes(piece[:end]))]
        left -= length
    return text


def _count_content_bytes(text: str) -> int:
    """Return the bytes of the text in JSON, without quotes."""
    return count_bytes(text) - len('""')


def shorten(text: str, max_bytes: int) -> str:
    """Return the text, or as much of its beginning as takes `max_bytes` bytes of JSON with a mark that it continues."""
    if len(truncate(text, max_bytes)) == len(text):
        return text
    return truncate(text, max_bytes - len("…".encode())) + "…"


def exceeds_members(text: str, most: int) -> bool:
    """Return whether JSON has more than `most` members, counted in its text before it is parsed.

    Args:
        text: JSON, or anything else.
        most: members of all its lists and objects together.
    """
    # Commas in strings do not separate members, but few texts have enough of them to matter.
    return count_marks(text) > most and _count_marks_outside_strings(text) > most


def _count_marks_outside_strings(text: str) -> int:
    """Count in pieces, between which other threads get the interpreter."""
    text = text.replace("\\\\", "").replace('\\"', "")
    count = inside = 0
    for at in range(0, len(text), limits.LOOP_BYTES):
        parts = text[at : at + limits.LOOP_BYTES].split('"')
        count += count_marks("".join(parts[inside::2]))
        inside = (inside + len(parts) - 1) % 2
    return count


def count_marks(text: str) -> int:
    """Return the most members that JSON can have, two for an attribute value; fewer if its strings have such marks."""
    return text.count(",") + text.count("[") + text.count("{")


def quote_start(text: str, characters: int = QUOTED_CHARACTERS) -> str:
    """Return the text, or its beginning with a mark that it continues: errors quote nothing long."""
    return text if len(text) <= characters else text[:characters] + "…"


def build_object(pairs: list[tuple[str, Any]], on_duplicate: Callable[[str], object]) -> dict[str, Any]:
    """Return the JSON object with these members, for `json.loads(object_pairs_hook=…)`.

    Args:
        on_duplicate: called with a name, quoted, that two members have. The last of them is taken if it returns.
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        on_duplicate(repr(quote_start(name)))
    return members
