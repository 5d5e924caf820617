"""Results and errors as MCP content: compact, complete in both channels, stored values fenced.

Both have a byte budget, and callers encode large ones in the worker, see `stores/workers.py`.
"""

import secrets
from typing import Any

from mcp_types import CallToolResult, TextContent

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.text import count_bytes, encode_json, shorten

# Bytes that the fence adds to the JSON inside. Its text is new in each result.
FENCE_BYTES = len("<stored-data-0123456789abcdef>\n\n</stored-data-0123456789abcdef>")
_STORED = (
    *("item", "items", "parts", "groups", "dropped", "updated", "failed", "keys", "hint", "warnings"),
    "lambdaFunctions",
)
# Bytes of an error's members. They may quote a caller's long name, or show the key to use instead.
_LONGEST = {"message": 1200, "next": 5000, "quoted": 2000}
# Bytes of an error's text besides these members: its code, the names of its members, and the fence.
_ERROR_BYTES = 250


def make_result(result: dict[str, Any], max_bytes: int = limits.MCP_RESULT_BYTES) -> CallToolResult:
    """A tool's result. The text is one line of JSON, fenced where it carries what somebody stored.

    Args:
        max_bytes: bytes of the text. Operations keep items within it; other members are shortened here to fit.
    """
    room = max_bytes - FENCE_BYTES
    text = encode_json(result)
    if len(text.encode(errors="backslashreplace")) > room:
        result = _shorten_failures(result, room)
        text = encode_json(result)
    stored = any(result.get(name) for name in _STORED)
    return CallToolResult(content=[_make_text(_fence(text) if stored else text)], structured_content=result)


def make_error(error: DdbMcpError, max_bytes: int = limits.MCP_RESULT_BYTES) -> CallToolResult:
    """A tool's error, in the text alone: clients check `structuredContent` against the schema of a success."""
    shown = error.to_json()
    for name, longest in _LONGEST.items():
        if name in shown:
            shown[name] = shorten(shown[name], min(longest, (max_bytes - _ERROR_BYTES) // len(_LONGEST)))
    text = encode_json({"error": shown})
    return CallToolResult(
        content=[_make_text(_fence(text) if shown.keys() & {"item", "quoted"} else text)], is_error=True
    )


def _shorten_failures(result: dict[str, Any], room: int) -> dict[str, Any]:
    """The result with only the code of each failure, then with fewer failures. `failedCount` always counts all."""
    failed: list[dict[str, Any]] = result.get("failed", [])
    if failed:
        codes = [{**entry, "error": {"code": entry["error"]["code"]}} for entry in failed]
        result = {"failedCount": len(failed), **result, "failed": codes}
        left = max(0, room - count_bytes({**result, "failed": []}))
        while count_bytes(codes) > left and codes:
            codes = codes[: min(len(codes) - 1, len(codes) * left // count_bytes(codes))]
        result["failed"] = codes
    if "instructions" in result and (over := count_bytes(result) - room) > 0:
        result = {**result, "instructions": shorten(result["instructions"], count_bytes(result["instructions"]) - over)}
    return result


def count_text_bytes(result: CallToolResult) -> int:
    """Bytes of the result's text, for the log."""
    return sum(len(block.text.encode()) for block in result.content if isinstance(block, TextContent))


def _fence(text: str) -> str:
    boundary = f"stored-data-{secrets.token_hex(8)}"
    return f"<{boundary}>\n{text}\n</{boundary}>"


def _make_text(text: str) -> TextContent:
    # An error may quote a lone surrogate that the caller sent; only its escape can be sent back.
    return TextContent(text=text.encode(errors="backslashreplace").decode())
