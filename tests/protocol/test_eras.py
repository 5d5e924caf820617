"""The official client over stdio, in both protocol eras, against the real server in local mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import TextContent, TextResourceContents

from ddb_mcp import __version__
from ddb_mcp.server import skill
from ddb_mcp.service import instructions
from ddb_mcp.service.results import NOTICE
from tests.protocol.wire import DDB_MCP, clean_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.anyio

# What the client ends up with, by how it begins: with the handshake, or with `server/discover`.
NEGOTIATED = {"legacy": "2025-11-25", "auto": "2026-07-28"}
TOOLS = {"provision", "info", "get", "put", "delete", "query", "scan"}


@pytest.fixture(scope="module", params=NEGOTIATED)
async def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A client of one era, on a server of its own."""
    file = tmp_path_factory.mktemp(request.param) / "data.sqlite"
    server = StdioServerParameters(command=DDB_MCP[0], env=clean_environment(DDB_MCP_LOCAL_PATH=str(file)))
    async with Client(server, mode=request.param, read_timeout_seconds=300) as client:
        assert client.protocol_version == NEGOTIATED[request.param]
        yield client


async def test_the_server_says_who_it_is_and_what_it_has(client: Client) -> None:
    assert client.server_info is not None
    assert (client.server_info.name, client.server_info.version) == ("ddb-mcp", __version__)
    assert client.server_capabilities.extensions == {
        "io.modelcontextprotocol/skills": {},
        "io.modelcontextprotocol/ui": {},
    }
    assert client.server_capabilities.tools is not None
    assert client.server_capabilities.resources is not None
    assert client.server_capabilities.prompts is not None
    assert instructions.URI in (client.instructions or "")


async def test_tools_are_listed_and_called(client: Client) -> None:
    listed = await client.list_tools()
    assert {tool.name for tool in listed.tools} == TOOLS
    key = {"pk": "deploy#local#user#1", "sk": "PROFILE"}
    put = await client.call_tool("put", {"item": {**key, "name": "Ann"}})
    assert not put.is_error, put
    got = await client.call_tool("get", key)
    assert got.structured_content == {"notice": NOTICE, "found": True, "item": {**key, "name": "Ann"}}
    refused = await client.call_tool("get", {"pk": "deploy#other#user#1", "sk": "PROFILE"})
    assert refused.is_error
    assert refused.structured_content is None
    assert isinstance(refused.content[0], TextContent)
    assert '"prefix_violation"' in refused.content[0].text


async def test_the_skill_is_a_resource_and_a_prompt(client: Client) -> None:
    [resource] = (await client.list_resources()).resources
    [content] = (await client.read_resource(resource.uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.text == skill.load_skill().text
    assert resource.size == len(content.text.encode())
    [prompt] = (await client.list_prompts()).prompts
    [message] = (await client.get_prompt(prompt.name)).messages
    assert isinstance(message.content, TextContent)
    assert message.content.text == content.text


UNKNOWN: dict[str, Callable[[Client], Awaitable[object]]] = {
    "tool": lambda client: client.call_tool("nope", {}),
    "resource": lambda client: client.read_resource("skill://nope/SKILL.md"),
    "prompt": lambda client: client.get_prompt("nope"),
}


@pytest.mark.parametrize("ask", UNKNOWN.values(), ids=UNKNOWN.keys())
async def test_what_is_unknown_is_an_invalid_parameter(
    client: Client, ask: Callable[[Client], Awaitable[object]]
) -> None:
    with pytest.raises(MCPError) as caught:
        await ask(client)
    assert caught.value.code == -32602
    assert "nope" in caught.value.message


@pytest.mark.parametrize("client", ["auto"], indirect=True)  # the hints are new in 2026-07-28
async def test_lists_may_be_cached(client: Client) -> None:
    for result in (await client.list_tools(), await client.list_resources(), await client.list_prompts()):
        assert result.ttl_ms > 0
        assert result.cache_scope == "public"
