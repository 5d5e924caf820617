"""What docs/gateway.md tells to copy works: the snippets for hosts, and the calls of the command line."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from ddb_mcp.gateway import app, budgets, registry, removal, tenant_requests, tenant_store, tenants
from ddb_mcp.web import request_context, serving
from tests.gateway.process import Operator
from tests.gateway.running import RunningGateway

TEXT = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.M | re.S)


def block(language: str, word: str) -> str:
    (found,) = [str(text) for kind, text in BLOCKS if kind == language and word in text]
    return found


def claude_code(token: str) -> tuple[str, str]:
    words = shlex.split(block("sh", "claude mcp add").replace("$GATEWAY_TOKEN", token))
    assert words[:5] == ["claude", "mcp", "add", "--transport", "http"]
    return words[6], words[8].removeprefix("Authorization: ")


def vs_code(token: str) -> tuple[str, str]:
    document = json.loads(block("json", "promptString"))
    (asked,) = document["inputs"]
    server = document["servers"]["dynamodb"]
    return server["url"], server["headers"]["Authorization"].replace(f"${{input:{asked['id']}}}", token)


def cursor(token: str) -> tuple[str, str]:
    server = json.loads(block("json", "mcpServers"))["mcpServers"]["dynamodb"]
    return server["url"], server["headers"]["Authorization"].replace("${env:GATEWAY_TOKEN}", token)


def codex(token: str) -> tuple[str, str]:
    server = tomllib.loads(block("toml", "mcp_servers"))["mcp_servers"]["dynamodb"]
    assert server["bearer_token_env_var"] == "GATEWAY_TOKEN"
    return server["url"], f"Bearer {token}"


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("host", [claude_code, vs_code, cursor, codex])
async def test_a_host_with_the_snippet_has_the_tools(
    gateway: RunningGateway, token: str, host: Callable[[str], tuple[str, str]], mode: str
) -> None:
    url, authorization = host(token)
    url = url.replace("https://gateway.example", gateway.url)
    assert url.startswith(gateway.url)
    async with (
        httpx2.AsyncClient(headers={"Authorization": authorization}, timeout=300) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        assert len((await client.list_tools()).tools) == 7
        info = await client.call_tool("info", {})
        content: dict[str, Any] = info.structured_content or {}
        assert content["prefix"] == "deploy#docs"


@pytest.fixture(scope="module")
def token(gateway: RunningGateway) -> str:
    return gateway.token("deploy#docs")


def test_every_command_is_one(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    told = set(re.findall(r"`gateway ((?:deployments |tokens )?[a-z]+)", TEXT))
    assert told == {
        "check",
        "init",
        "serve",
        "deployments add",
        "deployments list",
        "deployments rotate",
        "deployments update",
        "deployments remove",
        "tokens add",
        "tokens revoke",
    }
    for command in [*told, "deployments show", "tokens list"]:
        helped = operator.run("gateway", *command.split(), "--help")
        assert helped.returncode == 0, command
        for flag in re.findall(rf"`gateway {command}[^|]*\|([^|]*)\|", TEXT)[:1]:
            for word in re.findall(r"--[a-z-]+", flag):
                assert word in helped.stdout, (command, word)


def test_the_table_of_budgets_is_the_one_in_force() -> None:
    from ddb_mcp.web.connection_slots import OWNER_SHARE

    def thousands(number: float) -> str:
        return f"{number:,.0f}"

    requests, items = tenants.TENANT_REQUESTS_PER_SECOND, tenants.TENANT_ITEMS_PER_SECOND
    for told in (
        f"{thousands(requests)} a second, bursts of {thousands(requests * budgets.BURST_SECONDS)};",
        f"{thousands(items)} a second, bursts of {thousands(items * budgets.BURST_SECONDS)};",
        f"{thousands(budgets.TENANT_OTHERS_PER_SECOND)} a second",
        f"{budgets.TENANT_BYTES_PER_SECOND // 10**6} MB a second, bursts of {budgets.TENANT_BYTES_BURST // 10**6} MB",
        f"{budgets.TENANT_BYTES_IN_FLIGHT // 10**6} MB of request bodies",
        f"{serving.CONNECTIONS_MAX * OWNER_SHARE:.0f}, including those that are sending or receiving: a quarter of a "
        f"process's {serving.CONNECTIONS_MAX} connections. {budgets.TENANT_CALLS_AT_ONCE} are processed at once",
        f"a body of {request_context.BODY_MAX_BYTES // 10**6} MB, "
        f"a response of {tenant_requests.GATEWAY_ANSWER_MAX_BYTES // 10**6} MB "
        f"(a page of {app.GATEWAY_PAGE_BYTES // 10**6} MB), "
        f"{thousands(tenant_store.GATEWAY_READ_BUDGET)} items read, {tenant_requests.REQUEST_SECONDS} s",
        f"waits {removal.REMOVAL_SECONDS:.0f} s",
        f"up to {registry.TOKENS_MAX} a deployment",
    ):
        assert told in TEXT, told
