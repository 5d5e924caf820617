"""A server that a host starts with wrong settings: it says what to correct, and does nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.protocol.wire import DDB_MCP, ENVELOPE, Wire
from tests.stdio.server import read

if TYPE_CHECKING:
    from mcp_types import CallToolResult

TOOLS: dict[str, dict[str, Any]] = {
    "provision": {},
    "info": {},
    "get": {"pk": "deploy#local#a", "sk": "b"},
    "put": {"item": {"pk": "deploy#local#a", "sk": "b"}},
    "delete": {"pk": "deploy#local#a", "sk": "b"},
    "query": {"pk": "deploy#local#a"},
    "scan": {"no such": "argument"},
}
SKILL = "skill://dynamodb-database/SKILL.md"
SECRET = "open-sesame"


@dataclass
class Seen:
    """What a host saw of a server."""

    version: str = ""
    instructions: str = ""
    tools: list[str] = field(default_factory=list)
    results: dict[str, CallToolResult] = field(default_factory=dict)
    skill: str = ""


def look(log: Path, era: str, *words: str, **settings: str) -> Seen:
    """Start the server as a host does, in an empty home, with the official client; call every tool; read the skill."""
    seen = Seen()
    command = StdioServerParameters(
        command=DDB_MCP[0], args=[*words], env={"HOME": str(log.parent), "XDG_DATA_HOME": str(log.parent), **settings}
    )

    async def run() -> None:
        with log.open("w") as errors:
            async with Client(stdio_client(command, errlog=errors), mode=era, read_timeout_seconds=300) as client:
                seen.version = client.protocol_version
                seen.instructions = client.instructions or ""
                seen.tools = [tool.name for tool in (await client.list_tools()).tools]
                for tool in seen.tools:
                    seen.results[tool] = await client.call_tool(tool, TOOLS[tool])
                (content,) = (await client.read_resource(SKILL)).contents
                seen.skill = getattr(content, "text", "")

    anyio.run(run)
    return seen


@pytest.mark.parametrize("era", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("words", "settings", "message", "correction"),
    [
        ([], {"DDB_MCP_MOED": "local"}, "DDB_MCP_MOED is not a setting", "Did you mean DDB_MCP_MODE?"),
        (["--mode", "locl"], {}, "DDB_MCP_MODE is 'locl'", "Did you mean 'local'?"),
        ([], {"DYNAMODB_TABLE": "app"}, "needs DYNAMODB_PREFIX", "Set DYNAMODB_PREFIX"),
        # What the store finds before it has read anything.
        (
            [],
            {"DDB_MCP_API_URL": "http://x.example", "DDB_MCP_AUTH_TOKEN": SECRET},
            "http://x.example",
            "DDB_MCP_ALLOW_HTTP",
        ),
    ],
)
def test_every_call_says_what_to_correct_and_nothing_is_made(
    tmp_path: Path, era: str, words: list[str], settings: dict[str, str], message: str, correction: str
) -> None:
    log = tmp_path / "stderr"
    seen = look(log, era, *words, **settings)
    assert (seen.version == "2026-07-28") is (era == "auto")
    assert seen.tools == list(TOOLS)
    for result in seen.results.values():
        error = read(result).error
        assert error["code"] == "misconfigured"
        assert message in error["message"]
        assert correction in error["next"]
    assert message in seen.instructions
    assert correction in seen.instructions
    assert SKILL in seen.instructions
    assert "# " in seen.skill
    (line,) = log.read_text().splitlines()
    assert " ERROR " in line
    assert message in line
    assert correction in line
    assert SECRET not in line + seen.instructions + repr(seen.results)
    assert list(tmp_path.iterdir()) == [log]


@pytest.mark.parametrize("era", ["legacy", "auto"])
def test_right_settings_say_none_of_this(tmp_path: Path, era: str) -> None:
    log = tmp_path / "stderr"
    seen = look(log, era)
    assert read(seen.results["put"]).result["created"] is True
    assert "settings are wrong" not in seen.instructions
    assert log.read_text() == ""


@pytest.mark.parametrize("name", ["API_URL", "AUTH_TOKEN"])
def test_one_of_the_platforms_variables_alone_is_ignored_with_one_warning(tmp_path: Path, name: str) -> None:
    log = tmp_path / "stderr"
    seen = look(log, "auto", **{name: SECRET})
    assert read(seen.results["info"]).result["mode"] == "local"
    (line,) = log.read_text().splitlines()
    assert " WARNING " in line
    assert f"{name} is ignored" in line
    assert SECRET not in line


def test_clients_do_not_keep_what_a_wrong_setting_made(tmp_path: Path) -> None:
    with Wire(DDB_MCP, {"HOME": str(tmp_path), "DDB_MCP_MODE": "locl"}) as wire:
        for method in ("server/discover", "tools/list"):
            answer = wire.ask(method, {"_meta": ENVELOPE})["result"]
            assert answer["ttlMs"] == 0
            assert answer["cacheScope"] == "private"
        wire.end_input()
        assert wire.wait() == 0


def test_a_variable_of_odd_characters_stays_one_line(tmp_path: Path) -> None:
    with Wire(DDB_MCP, {"HOME": str(tmp_path), "DDB_MCP_\u202eX\n": "1"}) as wire:
        said = wire.shake_hands()["instructions"]
        assert "\\u202e" in said
        assert "\u202e" not in said
        assert "misconfigured" in json.dumps(wire.call("info"))
        wire.end_input()
        wire.rest()
        assert wire.wait() == 0
    assert len(wire.errors.splitlines()) == 1
