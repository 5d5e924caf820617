"""The operations of a deployment as a host calls them: by the official MCP client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from ddb_mcp.core import errors
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError

_ERRORS: dict[str, Callable[..., DdbMcpError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, DdbMcpError) and kind is not DdbMcpError
}


ByHand = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Sends a JSON-RPC message as ASCII and gives the answer to it."""


class OverMcp:
    """What `DataService.call` gives and raises, by way of `tools/call`.

    Args:
        by_hand: for half characters, which a host may send and the official client cannot. Not over streams in memory.
    """

    def __init__(self, client: Client, by_hand: ByHand | None = None) -> None:
        self._client = client
        self._by_hand = by_hand

    async def run_operation(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if self._by_hand and not _is_text(arguments):
            params = {"name": operation, "arguments": arguments}
            answer = await self._by_hand({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
            result = CallToolResult.model_validate(answer["result"])
        else:
            result = await self._client.call_tool(operation, arguments)
        (block,) = result.content
        assert isinstance(block, TextContent)
        lines = block.text.splitlines()
        said = json.loads(lines[0] if len(lines) == 1 else lines[1])  # the second of three is within the fence
        if not result.is_error:
            content: dict[str, Any] = result.structured_content or {}
            assert said == content
            assert ("notice" in content) is (len(lines) == 3)
            assert next(iter(said)) == next(iter(content)) == "notice" or "notice" not in said
            content.pop("notice", None)
            return content
        error = said["error"]
        if error["code"] == "condition_failed":
            raise ConditionFailed(error["message"], item=error.get("item"), next=error["next"])
        raise _ERRORS[error["code"]](error["message"], next=error["next"])


@asynccontextmanager
async def connected(url: str, token: str, query: str = "", mode: str = "auto") -> AsyncIterator[Client]:
    """Connect the official client to a gateway, as a host does: with an address and a header."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=300, verify=False) as http:
        transport = streamable_http_client(f"{url}/mcp{query}", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


def _is_text(arguments: dict[str, Any]) -> bool:
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
