"""What an agent's host does with a server: starts its command and speaks to it with the official client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from ddb_mcp.service import instructions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TOOLS = ["provision", "info", "get", "put", "delete", "query", "scan"]
PATIENCE = 300


@dataclass(frozen=True)
class Visit:
    """What a server said of itself, and its result of `info`."""

    name: str
    version: str
    tools: list[str]
    info: dict[str, Any]
    skill: str


def visit(
    command: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Visit:
    """Start a server over stdio, list its tools, call `info`, and read its skill.

    The client gives the server `env` and the few variables that hosts pass on, such as HOME and PATH.
    """

    async def visit() -> Visit:
        server = StdioServerParameters(command=command, args=list(args), env=dict(env or {}), cwd=cwd)
        with anyio.fail_after(PATIENCE):
            async with Client(stdio_client(server)) as client:
                tools = [tool.name for tool in (await client.list_tools()).tools]
                info = await client.call_tool("info", {})
                assert not info.is_error, info.content
                assert client.server_info is not None
                (skill,) = (await client.read_resource(instructions.URI)).contents
                return Visit(
                    name=client.server_info.name,
                    version=client.server_info.version,
                    tools=tools,
                    info=info.structured_content or {},
                    skill=getattr(skill, "text", ""),
                )

    return anyio.run(visit)
