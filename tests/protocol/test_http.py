"""Streamable HTTP: both protocol eras, and who is kept out."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mcp import Client

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.server.http import parse_address, serve_http
from tests.protocol.toy import build
from tests.protocol.wire import DDB_MCP, PATIENCE, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
TOKEN = "correct-horse"
TOY_HTTP = (sys.executable, "-m", "tests.protocol.toy", "http")


@contextlib.contextmanager
def listening(command: Sequence[str], **settings: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The URL that the server says it listens on, and its process."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=clean_environment(**settings), text=True) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            assert said.startswith("ddb-mcp: listening on "), said + process.stderr.read()
            yield said.split()[-1], process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening((*TOY_HTTP, "127.0.0.1", "0")) as (url, _):
        yield url


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A server on all interfaces, which therefore demands a token."""
    with listening((*TOY_HTTP, "0.0.0.0", "0", TOKEN)) as (url, _):
        yield url.replace("0.0.0.0", "127.0.0.1")


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_official_client_is_served(mode: str, local: dict[str, str]) -> None:
    with listening((*DDB_MCP, "--http", "127.0.0.1:0"), **local) as (url, _):
        async with Client(url, mode=mode, read_timeout_seconds=PATIENCE) as client:
            assert client.server_capabilities.extensions == {"io.modelcontextprotocol/skills": {}}
            assert len((await client.list_tools()).tools) == 7
            info = await client.call_tool("info", {})
            assert info.structured_content is not None
            assert info.structured_content["mode"] == "local"


def _post(url: str, headers: dict[str, str], body: Any = PING) -> httpx.Response:
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        return client.post(url, headers={**HEADERS, **headers}, json=body)


ALLOWED: tuple[dict[str, str], ...] = (
    {},
    {"Host": "localhost"},
    {"Host": "localhost:1234"},
    {"Host": "[::1]:80"},
    {"Origin": "http://localhost:3000"},
)
REFUSED = {
    "Host: evil.example": ({"Host": "evil.example"}, 421),
    "Host: that begins like ours": ({"Host": "localhost.evil.example"}, 421),
    "Host: that begins like ours, with a port": ({"Host": "127.0.0.1.evil.example:80"}, 421),
    "Origin: another site": ({"Origin": "https://evil.example"}, 403),
    "Origin: null": ({"Origin": "null"}, 403),
}


@pytest.mark.parametrize("headers", ALLOWED, ids=str)
def test_requests_to_this_machine_by_name_pass(url: str, headers: dict[str, str]) -> None:
    assert _post(url, headers).status_code == 200


@pytest.mark.parametrize(("headers", "status"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("server", ["url", "guarded"])
def test_requests_to_other_names_and_from_other_sites_are_refused_on_any_address(
    request: pytest.FixtureRequest, server: str, headers: dict[str, str], status: int
) -> None:
    address = request.getfixturevalue(server)
    assert _post(address, {"Authorization": f"Bearer {TOKEN}", **headers}).status_code == status


def test_a_proxys_name_is_served_where_it_is_configured(local: dict[str, str]) -> None:
    settings = {**local, "DDB_MCP_HTTP_HOSTS": "mcp.example.com, other.example"}
    with listening((*DDB_MCP, "--http", "127.0.0.1:0"), **settings) as (url, _):
        for host, status in (("mcp.example.com", 200), ("other.example:443", 200), ("evil.example", 421)):
            assert _post(url, {"Host": host}).status_code == status


def test_the_token_opens(guarded: str) -> None:
    for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
        assert _post(guarded, {"Authorization": value}).status_code == 200


WRONG = (
    None,
    "",
    TOKEN,
    "Bearer",
    "Bearer wrong",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Basic {TOKEN}",
)


@pytest.mark.parametrize("value", WRONG)
def test_nothing_else_does(guarded: str, value: str | None) -> None:
    answer = _post(guarded, {} if value is None else {"Authorization": value})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_two_tokens_do_not(guarded: str) -> None:
    host, port = guarded.removeprefix("http://").removesuffix("/mcp").split(":")
    body = json.dumps(PING)
    lines = [
        "POST /mcp HTTP/1.1",
        f"Host: {host}:{port}",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        f"Authorization: Bearer {TOKEN}",
        f"Authorization: Bearer {TOKEN}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "",
        body,
    ]
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


def test_an_answer_that_is_no_json_is_an_internal_error(url: str) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "surrogate", "arguments": {}}}
    assert '"code":-32603' in _post(url, {}, call).text
    assert _post(url, {}).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_does_not_wait_for_calls_in_flight(number: signal.Signals) -> None:
    call = {"name": "sleep", "arguments": {"seconds": 1000}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    with listening((*TOY_HTTP, "127.0.0.1", "0")) as (url, process), contextlib.ExitStack() as stack:
        host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")
        for _ in range(3):
            connection = stack.enter_context(socket.create_connection((host, int(port)), PATIENCE))
            head = [
                f"{name}: {value}" for name, value in {**HEADERS, "Host": host, "Content-Length": len(body)}.items()
            ]
            connection.sendall("\r\n".join(["POST /mcp HTTP/1.1", *head, "", body]).encode())
        assert _post(url, {}).status_code == 200
        process.send_signal(number)
        assert process.wait(PATIENCE) in (-number, 128 + number)


def test_an_address_beyond_loopback_needs_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):
        with pytest.raises(Misconfigured, match="token"):
            serve_http(build, host, 0)


@pytest.mark.parametrize("token", ["two words", "ends in a line\n", "naïve"])
def test_a_token_that_no_header_carries_is_a_clear_error(token: str) -> None:
    with pytest.raises(Misconfigured, match="DDB_MCP_HTTP_TOKEN"):
        serve_http(build, "127.0.0.1", 0, token)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only 127.0.0.1 is there")
def test_any_loopback_address_is_served_under_its_own_name() -> None:
    with listening((*TOY_HTTP, "127.0.0.2", "0")) as (url, _):
        assert url.startswith("http://127.0.0.2:")
        assert _post(url, {}).status_code == 200
        assert _post(url, {"Host": "127.0.0.3"}).status_code == 421


def test_an_address_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Misconfigured, match="Cannot listen"):
        serve_http(build, "127.0.0.1", taken.getsockname()[1])


def test_addresses() -> None:
    assert parse_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert parse_address("localhost:0") == ("localhost", 0)
    assert parse_address("[::1]:8765") == ("::1", 8765)


@pytest.mark.parametrize(
    "text", ["", "localhost", ":80", "localhost:", "localhost:x", "localhost:65536", "::1:80", "a:-1"]
)
def test_what_is_no_address_is_a_clear_error(text: str) -> None:
    with pytest.raises(Misconfigured, match="no address"):
        parse_address(text)
