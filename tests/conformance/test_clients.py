"""Both generations of the TypeScript SDK's client, over stdio, over HTTP and at a gateway, in the eras they speak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp import __version__
from ddb_mcp.server import skill
from ddb_mcp.service import instructions
from ddb_mcp.service.results import NOTICE
from tests.protocol.wire import DDB_MCP

if TYPE_CHECKING:
    from tests.conformance.conftest import Node

SCRIPT = Path(__file__).with_name("client.mjs")
KEY = {"pk": "deploy#local#user#1", "sk": "PROFILE"}
ITEM = {**KEY, "name": "Ann", "visits": 3}


@pytest.fixture(scope="module", params=["v1 legacy", "v2 legacy", "v2 auto"])
def generation(request: pytest.FixtureRequest) -> dict[str, str]:
    sdk, era = request.param.split()
    return {"sdk": sdk, "era": era}


@pytest.fixture(scope="module", params=["stdio", "http", "gateway"])
def face(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def seen(
    request: pytest.FixtureRequest,
    face: str,
    generation: dict[str, str],
    node: Node,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What the client saw on its walk."""
    where: dict[str, Any]
    if face == "stdio":
        path = tmp_path_factory.mktemp("data") / "data.sqlite"
        where = {"command": DDB_MCP[0], "env": {"DDB_MCP_LOCAL_PATH": str(path)}}
    elif face == "http":
        where = {"url": request.getfixturevalue("url")}
    else:
        gateway = request.getfixturevalue("gateway")
        where = {"url": f"{gateway.url}/mcp", "headers": {"Authorization": f"Bearer {gateway.token('deploy#local')}"}}
    # From standard input, so that the script's imports are looked up in the folder that has the packages.
    done = node("--input-type=module", "--eval", SCRIPT.read_text(), "client", json.dumps({**generation, **where}))
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_the_client_speaks_the_era_it_was_told_to(seen: dict[str, Any], generation: dict[str, str]) -> None:
    # Results of 2026-07-28 carry the server's name and version.
    is_modern = "io.modelcontextprotocol/serverInfo" in seen["info"].get("_meta", {})
    assert is_modern == (generation["era"] == "auto")


def test_the_server_introduces_itself(seen: dict[str, Any]) -> None:
    assert seen["server"] == {"name": "ddb-mcp", "version": __version__}
    assert seen["capabilities"]["extensions"] == {
        "io.modelcontextprotocol/skills": {},
        "io.modelcontextprotocol/ui": {},
    }
    assert instructions.URI in seen["instructions"]
    assert set(seen["tools"]) == {"provision", "info", "get", "put", "delete", "query", "scan"}


def test_results_pass_the_clients_own_check_of_the_output_schema(seen: dict[str, Any], face: str) -> None:
    assert seen["put"]["structuredContent"] == {**KEY, "created": True}
    assert seen["get"]["structuredContent"] == {"notice": NOTICE, "found": True, "item": ITEM}
    assert seen["query"]["structuredContent"]["items"] == [ITEM]
    assert seen["scan"]["structuredContent"]["complete"]
    assert seen["info"]["structuredContent"]["mode"] == ("platform" if face == "gateway" else "local")
    assert seen["delete"]["structuredContent"]["item"] == ITEM


def test_errors_of_tools_arrive(seen: dict[str, Any]) -> None:
    for name, code in (("refused", "prefix_violation"), ("invalid", "invalid_argument")):
        assert seen[name]["isError"]
        assert json.loads(seen[name]["content"][0]["text"])["error"]["code"] == code


def test_the_skill_arrives(seen: dict[str, Any], generation: dict[str, str]) -> None:
    assert [resource["uri"] for resource in seen["resources"]] == [instructions.URI]
    assert seen["skill"]["text"] == skill.load_skill().text
    assert seen["prompt"]["messages"][0]["content"]["text"] == seen["skill"]["text"]
    if generation["sdk"] == "v2":  # the older has no Skills extension
        assert seen["skills"] == [{"uri": instructions.URI, "verified": True}]


def test_what_is_unknown_is_an_invalid_parameter(seen: dict[str, Any]) -> None:
    for error in seen["unknown"].values():
        assert error["code"] == -32602
