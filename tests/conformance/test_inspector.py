"""The MCP Inspector's command line, over both transports, in both protocol eras."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.protocol.wire import DDB_MCP
from tests.support.engines import CONFORMANCE_MODULES

if TYPE_CHECKING:
    from tests.conformance.conftest import Node

INSPECTOR = str(CONFORMANCE_MODULES / ".bin" / "mcp-inspector")
# As the Inspector documents it.
TOOL_FAILED = 5


class Inspect(Protocol):
    def __call__(self, method: str, *options: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(params=["legacy", "modern"])
def era(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(params=["stdio", "http"])
def inspect(request: pytest.FixtureRequest, era: str, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Inspect:
    def run(method: str, *options: str) -> subprocess.CompletedProcess[str]:
        shared = [INSPECTOR, "--cli", "--protocol-era", era, "--format", "json", "--method", method, *options]
        if request.param == "http":
            return node(*shared, "--transport", "http", "--server-url", request.getfixturevalue("url"))
        path = tmp_path_factory.mktemp("data") / "data.sqlite"
        return node(*shared, "-e", f"DDB_MCP_LOCAL_PATH={path}", "--", *DDB_MCP)

    return run


def _result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(done.stdout)["result"]
    return result


def test_tools_are_listed_and_any_model_can_take_their_schemas(inspect: Inspect) -> None:
    done = inspect("tools/list", "--strict")
    assert done.returncode == 0, done.stderr
    assert len(_result(done)["tools"]) == 7


def test_a_tool_is_called(inspect: Inspect) -> None:
    done = inspect("tools/call", "--tool-name", "info")
    assert done.returncode == 0, done.stderr
    assert _result(done)["structuredContent"]["mode"] == "local"


def test_a_tools_error_is_seen_in_the_exit_code(inspect: Inspect) -> None:
    arguments = json.dumps({"pk": "deploy#other#user#1", "sk": "PROFILE"})
    done = inspect("tools/call", "--tool-name", "get", "--tool-args-json", arguments)
    assert done.returncode == TOOL_FAILED, done.stderr
    assert "prefix_violation" in done.stdout


def test_the_skill_is_what_its_listing_says(inspect: Inspect) -> None:
    done = inspect("skills/list", "--verify", "--require-digests")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["ok"], report["outcome"]) == (True, "verified")
    assert report["conformance"] == report["frontmatter"] == []


@pytest.mark.parametrize("method", ["resources/list", "resources/templates/list", "prompts/list"])
def test_lists_are_answered(inspect: Inspect, method: str) -> None:
    done = inspect(method)
    assert done.returncode == 0, done.stderr
