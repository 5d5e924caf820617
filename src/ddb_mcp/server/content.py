"""Results and errors as MCP content: compact, complete in both channels, stored values marked in both.

Hosts pass on the structured result or the text, so each says by itself what is stored: `notice`, and the fence.
Both have a byte budget, and callers encode large ones in the worker, see `stores/workers.py`.
"""

import secrets
from typing import Any

from mcp_types import CallToolResult, TextContent

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.text import count_bytes, encode_json, shorten
from ddb_mcp.service.results import NOTICE, add_notice, has_stored_values

# A result over MCP, as a server that is not configured otherwise has it.
MCP_RESULT_BYTES = 32_768


_NOTICE_TEXT = encode_json({"notice": NOTICE})[:-1] + ","
# Bytes that the notice and the fence add to the JSON of a result. The fence is new in each result.
MARK_BYTES = len(_NOTICE_TEXT) - 1 + len("<stored-data-0123456789abcdef>\n\n</stored-data-0123456789abcdef>")
# Bytes of an error's members. They may quote a caller's long name, or show the key to use instead.
_LONGEST = {"message": 1200, "next": 5000, "quoted": 2000}
# Bytes of an error's text besides these members: its code, the names of its members, and the fence.
_ERROR_BYTES = 250


def make_result(result: dict[str, Any], max_bytes: int = MCP_RESULT_BYTES) -> CallToolResult:
    """Return a tool's result. The text is one line of JSON, fenced if it has stored values.

    Args:
        max_bytes: bytes of the text. Operations keep items within it; other members are shortened here to fit.
    """
    room = max_bytes - MARK_BYTES
    text = encode_json(result)
    if len(text) > room or (not text.isascii() and len(text.encode(errors="backslashreplace")) > room):
        result = _shorten_failures(result, room)
        text = encode_json(result)
    if has_stored_values(result):
        text = _fence(_NOTICE_TEXT + text[1:])
    return CallToolResult(content=[_make_text(text)], structured_content=add_notice(result))


def make_error(error: DdbMcpError, max_bytes: int = MCP_RESULT_BYTES) -> CallToolResult:
    """Return a tool's error, in the text alone: clients check `structuredContent` against the schema of a success."""
    shown = error.to_json()
    for name, longest in _LONGEST.items():
        if name in shown:
            shown[name] = shorten(shown[name], min(longest, (max_bytes - _ERROR_BYTES) // len(_LONGEST)))
    text = encode_json({"error": shown})
    return CallToolResult(
        content=[_make_text(_fence(text) if shown.keys() & {"item", "quoted"} else text)], is_error=True
    )


def _shorten_failures(result: dict[str, Any], room: int) -> dict[str, Any]:
    """Return the result with each failure's code only, then with fewer failures. `failedCount` always counts all."""
    failed: list[dict[str, Any]] = result.get("failed", [])
    if failed:
        codes = [{**entry, "error": {"code": entry["error"]["code"]}} for entry in failed]
        result = {"failedCount": len(failed), **result, "failed": []}
        left = max(0, room - count_bytes(result))
        while count_bytes(codes) > left and codes:
            codes = codes[: min(len(codes) - 1, len(codes) * left // count_bytes(codes))]
        result["failed"] = codes
    if "instructions" in result and (over := count_bytes(result) - room) > 0:
        result = {**result, "instructions": shorten(result["instructions"], count_bytes(result["instructions"]) - over)}
    return result


def count_text_bytes(result: CallToolResult) -> int:
    """Return the size of the result's text in bytes, for the log."""
    return sum(len(block.text.encode()) for block in result.content if isinstance(block, TextContent))


def _fence(text: str) -> str:
    boundary = f"stored-data-{secrets.token_hex(8)}"
    return f"<{boundary}>\n{text}\n</{boundary}>"


def _make_text(text: str) -> TextContent:
    # An error may quote a lone surrogate that the caller sent; only its escape can be sent back.
    return TextContent(text=text.encode(errors="backslashreplace").decode())
