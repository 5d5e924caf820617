"""`POST /mcp`: the tools of the token's deployment, for clients with an address and a header and nothing else."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from ddb_mcp.core import limits
from ddb_mcp.gateway import budgets
from ddb_mcp.web import request_context
from tests.gateway.conftest import post, request
from tests.gateway.running import RunningGateway
from tests.support.through_mcp import connected

PREFIX = "deploy#mcp"
ERAS = ("legacy", "auto")


@pytest.fixture(scope="module")
def token(gateway: RunningGateway) -> str:
    return gateway.token(PREFIX)


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    content: dict[str, Any] = result.structured_content
    return content


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_the_seven_tools_of_the_tokens_deployment(gateway: RunningGateway, token: str, mode: str) -> None:
    key = {"pk": f"{PREFIX}#{mode}", "sk": "1"}
    async with connected(gateway.url, token, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"provision", "info", "get", "put", "delete", "query", "scan"}
        info = await called(client, "info")
        assert (info["prefix"], info["mode"], info["readOnly"]) == (PREFIX, "platform", False)
        assert await called(client, "put", item={**key, "n": 1}) == {**key, "created": True}
        assert (await called(client, "get", **key))["item"] == {**key, "n": 1}
        assert (await called(client, "query", pk=key["pk"]))["items"] == [{**key, "n": 1}]
        foreign = await client.call_tool("get", {"pk": "deploy#other#x", "sk": "1"})
        assert foreign.is_error
        assert "prefix_violation" in str(foreign.content)
        assert (await called(client, "delete", **key))["deleted"] is True
        assert (await client.list_resources()).resources


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_read_only_narrows_and_never_widens(gateway: RunningGateway, token: str, mode: str) -> None:
    reading = await anyio.to_thread.run_sync(gateway.read_only_token, PREFIX)
    item = {"pk": f"{PREFIX}#a", "sk": "1"}
    for given, query in ((token, "?read_only=true"), (reading, ""), (reading, "?read_only=false")):
        async with connected(gateway.url, given, query, mode) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"info", "get", "query", "scan"}
            assert (await called(client, "info"))["readOnly"] is True
            refused = await client.call_tool("put", {"item": item})
            assert refused.is_error
            assert "read_only" in str(refused.content)
    async with connected(gateway.url, token, "?read_only=false", mode) as client:
        assert len((await client.list_tools()).tools) == 7


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def raw(gateway: RunningGateway, token: str | None, **headers: str) -> httpx.Response:
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if token:
        given["Authorization"] = f"Bearer {token}"
    with httpx.Client(trust_env=False, timeout=300) as client:
        del client.headers["accept"]
        return client.post(f"{gateway.url}/mcp", headers=given, json=PING)


def test_what_hosts_probe(gateway: RunningGateway, token: str) -> None:
    for path in (
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/register",
    ):
        for method in ("GET", "POST"):
            answer = request(gateway.url, method, path, b"{}", {})
            assert (answer.status, answer.document["error"]) == (404, "not_found"), path
    for wrong in (None, "made-up", token[:-1]):
        refused = raw(gateway, wrong)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"] == "unauthenticated"
    for method in ("GET", "DELETE", "PUT"):
        answer = request(gateway.url, method, "/mcp", None, {"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/json", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("application/json, text/event-stream", "application/json text/event-stream"),
        ("*/*", "application/json text/event-stream"),
        (None, "application/json text/event-stream"),
    ],
)
def test_one_media_type_is_enough(gateway: RunningGateway, token: str, accept: str | None, media: str) -> None:
    answer = raw(gateway, token, **({"Accept": accept} if accept else {}))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] in media.split()
    assert '"result":{}' in answer.text


def test_preflights(gateway: RunningGateway, token: str) -> None:
    headers = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, mcp-protocol-version",
    }
    with httpx.Client(trust_env=False) as client:
        answer = client.options(f"{gateway.url}/mcp", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert raw(gateway, token, Origin="https://app.example").headers["access-control-allow-origin"] == "*"
    assert raw(gateway, None, Origin="https://app.example").headers["access-control-allow-origin"] == "*"


def test_bodies_have_a_limit(gateway: RunningGateway, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = request(gateway.url, "POST", "/mcp", b" " * (request_context.BODY_MAX_BYTES + 1), headers)
    assert answer.status == 413


@pytest.mark.anyio
async def test_tenants_at_once_never_see_each_others_results(gateway: RunningGateway) -> None:
    """Eight tenants, four clients each of both eras, on one process."""
    tokens = [await anyio.to_thread.run_sync(gateway.token, f"deploy#t{at}") for at in range(8)]
    calls = 0

    async def tenant(number: int, mode: str) -> None:
        nonlocal calls
        pk = f"deploy#t{number}#{mode}"
        async with connected(gateway.url, tokens[number], mode=mode) as client:
            for at in range(6):
                await called(client, "put", item={"pk": pk, "sk": str(at), "owner": number})
                page = await called(client, "scan", pk_prefix=f"deploy#t{number}#", limit=1000)
                assert {item["owner"] for item in page["items"]} == {number}
                assert (await called(client, "info"))["prefix"] == f"deploy#t{number}"
                calls += 3

    async with anyio.create_task_group() as group:
        for number in range(8):
            for mode in (*ERAS, *ERAS):
                group.start_soon(tenant, number, mode)
    assert calls == 8 * 4 * 6 * 3


@pytest.mark.usefixtures("clock")
def test_a_message_counts_as_a_request_of_the_tenant(gateway: RunningGateway) -> None:
    few = gateway.token("deploy#few-mcp", requests_per_second=1)
    answers = [raw(gateway, few) for _ in range(7)]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert post(gateway.url, "info", {}, authorization=f"Bearer {few}").status == 429
    assert json.loads(answers[-1].text)["error"] == "throttled"


def test_the_parsing_of_a_long_message_is_work_of_the_tenant(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "TENANT_WORK_BURST", 1e-6)
    monkeypatch.setattr(budgets, "TENANT_WORK_PER_SECOND", 1e-9)
    headers = {"Authorization": f"Bearer {gateway.token('deploy#long-messages')}", "Content-Type": "application/json"}
    long = b"[" * (limits.LOOP_BYTES + 1)
    statuses = [request(gateway.url, "POST", "/mcp", long, headers).status for _ in range(2)]
    assert statuses == [400, 429]
