"""Text of results: compact JSON, its size in bytes, and text cut to a number of bytes."""

import json
from typing import Any

from ddb_mcp.core import limits


def compact(value: Any) -> str:
    """JSON on one line without spaces, with nothing in it that any reader takes for a line break."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def size(value: Any) -> int:
    """Bytes of UTF-8 of the compact JSON. A lone surrogate that some store let in counts as its escape."""
    return len(compact(value).encode(errors="backslashreplace"))


def clip(text: str, max_bytes: int) -> str:
    """The text, or as much of its beginning as takes `max_bytes` bytes of JSON."""
    if size(text) <= max_bytes:
        return text
    text = text[:max_bytes]
    while size(text + "…") > max_bytes:
        text = text[:-1]
    return text + "…"


def brief(text: str) -> str:
    """The beginning of a name or a path that a caller sent, for an error: nothing long is sent back."""
    return text if len(text) <= limits.QUOTED_CHARACTERS else text[: limits.QUOTED_CHARACTERS] + "…"
