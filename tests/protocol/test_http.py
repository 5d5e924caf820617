"""Streamable HTTP: both protocol eras, and who is kept out."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mcp import Client

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.server.http_app import serve_http
from ddb_mcp.web import request_context
from ddb_mcp.web.listening import Listening, parse_address
from tests.protocol.toy import build
from tests.protocol.wire import DDB_MCP, ENVELOPE, listening
from tests.support.faults import slow_bodies
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
TOKEN = "correct-horse-battery-staple"
TOY_HTTP = (sys.executable, "-m", "tests.protocol.toy", "http")


@pytest.fixture(scope="module", params=["http", "plain-http"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    # What runs without some libraries cannot be forked from a process that has imported them: `env` is another program.
    program = TOY_HTTP if request.param == "http" else ("env", *TOY_HTTP[:-1], request.param)
    with listening((*program, "127.0.0.1", "0")) as (url, _):
        yield url


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A server on all interfaces, which therefore demands a token."""
    with listening((*TOY_HTTP, "0.0.0.0", "0", TOKEN)) as (url, _):
        yield url.replace("0.0.0.0", "127.0.0.1")


@pytest.mark.anyio
async def test_slow_bodies_leave_connections_for_others(local: dict[str, str]) -> None:
    with (
        listening((*DDB_MCP, "--http", "127.0.0.1:0"), **local) as (url, _),
        slow_bodies(url, "/mcp", {"Content-Type": "application/json", "Accept": "application/json"}),
    ):
        for _ in range(5):  # each is a connection of its own
            async with Client(url, read_timeout_seconds=PATIENCE) as client:
                assert not (await client.call_tool("info", {})).is_error


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_official_client_is_served(mode: str, local: dict[str, str]) -> None:
    with listening((*DDB_MCP, "--http", "127.0.0.1:0"), **local) as (url, _):
        async with Client(url, mode=mode, read_timeout_seconds=PATIENCE) as client:
            assert client.server_capabilities.extensions == {
                "io.modelcontextprotocol/skills": {},
                "io.modelcontextprotocol/ui": {},
            }
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
def test_requests_to_other_names_and_from_other_sites_are_refused_on_any_address(
    url: str, guarded: str, headers: dict[str, str], status: int
) -> None:
    for address in (url, guarded):
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
            serve_http(build, Listening(host, 0))


@pytest.mark.parametrize("token", ["two words", "ends in a line\n", "naïve"])
def test_a_token_that_no_header_carries_is_a_clear_error(token: str) -> None:
    with pytest.raises(Misconfigured, match="DDB_MCP_HTTP_TOKEN"):
        serve_http(build, Listening("127.0.0.1", 0), token)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only 127.0.0.1 is there")
def test_any_loopback_address_is_served_under_its_own_name() -> None:
    with listening((*TOY_HTTP, "127.0.0.2", "0")) as (url, _):
        assert url.startswith("http://127.0.0.2:")
        assert _post(url, {}).status_code == 200
        assert _post(url, {"Host": "127.0.0.3"}).status_code == 421


def test_an_address_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Misconfigured, match="Cannot listen"):
        serve_http(build, Listening("127.0.0.1", taken.getsockname()[1]))


def test_addresses() -> None:
    assert parse_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert parse_address("localhost:0") == ("localhost", 0)
    assert parse_address("[::1]:8765") == ("::1", 8765)


@pytest.mark.parametrize(
    "text", ["", "localhost", ":80", "localhost:", "localhost:x", "localhost:65536", "::1:80", "a:-1"]
)
def test_what_is_no_address_is_a_clear_error(text: str) -> None:
    with pytest.raises(Misconfigured, match="not a valid listen address"):
        parse_address(text)


def test_a_short_token_is_not_enough_beyond_loopback() -> None:
    with pytest.raises(Misconfigured, match="DDB_MCP_HTTP_TOKEN has 19 characters"):
        serve_http(build, Listening("0.0.0.0", 0, behind_tls_proxy=True), "x" * 19)


def test_beyond_loopback_tokens_do_not_travel_in_the_clear() -> None:
    with pytest.raises(Misconfigured, match="unencrypted"):
        serve_http(build, Listening("0.0.0.0", 0), TOKEN)


def test_health_needs_neither_token_nor_name(guarded: str) -> None:
    address = guarded.removesuffix("/mcp") + "/health"
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        answer = client.get(address, headers={"Host": "10.0.0.7:8080"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "path",
    ["/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server/mcp", "/register", "/"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_hosts_probe_is_answered_in_json_without_a_token(guarded: str, method: str, path: str) -> None:
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        answer = client.request(method, guarded.removesuffix("/mcp") + path)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_a_missing_token_is_told_in_json(guarded: str) -> None:
    answer = _post(guarded, {})
    assert answer.json() == {"error": "unauthenticated", "message": "The bearer token is missing or wrong."}


def test_a_refused_name_tells_the_setting_and_is_escaped_in_the_log() -> None:
    with listening((*TOY_HTTP, "127.0.0.1", "0")) as (url, process):
        host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as connection:
            name = b"\xe2\x80\xae\xc2\x9b31m.example"
            head = b"POST /mcp HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % name
            connection.sendall(head)
            answer = b"".join(iter(lambda: connection.recv(10_000), b""))
        process.terminate()
        process.wait(PATIENCE)
        assert process.stderr is not None
        log = process.stderr.read()
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"DDB_MCP_HTTP_HOSTS" in answer
    assert b"DDB_MCP_HTTP_HOSTS" in log.encode()
    assert log.isascii()
    assert "\\x9b31m.example" in log


@pytest.mark.parametrize("origin", ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:80"])
def test_browsers_on_this_machine_are_told_that_they_may(guarded: str, origin: str) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,mcp-protocol-version",
    }
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        answer = client.options(guarded, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "mcp-protocol-version" in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    told = _post(guarded, {"Origin": origin, "Authorization": f"Bearer {TOKEN}"})
    assert told.headers["access-control-allow-origin"] == origin


def test_browsers_elsewhere_are_not(guarded: str) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        answer = client.options(guarded, headers=asked)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


MODERN = {
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "echo",
}


def _echo(arguments: str, *, modern: bool = False) -> bytes:
    meta = f'"_meta":{json.dumps(ENVELOPE)},' if modern else ""
    return (
        f'{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{{meta}"name":"echo","arguments":{arguments}}}}}'
    ).encode()


def _raw(url: str, body: bytes, **headers: str) -> httpx.Response:
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        return client.post(url, headers={**HEADERS, **headers}, content=body)


def _result(answer: httpx.Response) -> dict[str, Any]:
    """The message, whichever way it came."""
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        (text,) = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    message: dict[str, Any] = json.loads(text)
    return message


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("*/*", None),
        ("application/json, text/event-stream", None),
    ],
)
def test_a_client_gets_the_media_type_that_it_takes(url: str, accept: str, kind: str | None, modern: bool) -> None:
    answer = _raw(url, _echo('{"a":1}', modern=modern), Accept=accept, **(MODERN if modern else {}))
    assert answer.status_code == 200
    if kind:
        assert answer.headers["content-type"].startswith(kind)
    assert _result(answer)["result"]["structuredContent"] == {"tool": "echo", "a": 1}


def test_a_client_that_takes_neither_media_type_is_told_so(url: str) -> None:
    assert _raw(url, _echo("{}"), Accept="image/png").status_code == 406


@pytest.mark.parametrize("modern", [False, True])
def test_fractions_come_with_every_digit(url: str, modern: bool) -> None:
    """The toy shows a Decimal as text."""
    body = _echo('{"a":0.123456789012345678901}', modern=modern)
    answer = _raw(url, body, **(MODERN if modern else {}))
    assert _result(answer)["result"]["structuredContent"]["a"] == "0.123456789012345678901"


BAD = {
    "no JSON": (b"nonsense", -32700),
    "no message": (b'{"a":1}', -32600),
    "a malformed answer": (b'{"jsonrpc":"2.0","id":7,"error":1}', -32600),
    "a batch": (b'[{"jsonrpc":"2.0","id":7,"method":"ping"}]', -32600),
    "nested too deep": (b"[" * 100_000 + b"]" * 100_000, -32700),
    "parameters that do not fit": (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":5}}', -32602),
    "an unknown prompt": (b'{"jsonrpc":"2.0","id":7,"method":"prompts/get","params":{"name":"x"}}', -32601),
}


@pytest.mark.parametrize(("body", "code"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("modern", [False, True])
def test_what_cannot_be_served_is_refused_in_our_own_words(url: str, body: bytes, code: int, modern: bool) -> None:
    answer = _raw(url, body, **({"MCP-Protocol-Version": "2026-07-28"} if modern else {}))
    assert "pydantic" not in answer.text
    assert "validation error" not in answer.text.lower()
    if not modern:
        assert _result(answer)["error"]["code"] == code


def test_a_body_that_is_too_long_is_refused(url: str) -> None:
    answer = _raw(url, b" " * (request_context.BODY_MAX_BYTES + 1))
    assert answer.status_code == 413
    assert str(request_context.BODY_MAX_BYTES) in answer.json()["error"]["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_open_stream_and_a_call_under_way_end_without_an_error_in_the_log(number: signal.Signals) -> None:
    with listening((*TOY_HTTP, "127.0.0.1", "0")) as (url, process), httpx.Client(trust_env=False) as client:
        call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}
        body = {**call, "params": {"name": "sleep", "arguments": {"seconds": 2}}}
        stream = client.stream("GET", url, headers={"Accept": "text/event-stream"}, timeout=PATIENCE)
        post = client.stream("POST", url, headers=HEADERS, json=body, timeout=PATIENCE)
        with stream as events, post as answer:
            assert (events.status_code, answer.status_code) == (200, 200)
            process.send_signal(number)
            assert '"structuredContent":{"tool":"sleep"}' in answer.read().decode()
            assert "data:" not in events.read().decode()
        assert process.wait(PATIENCE) == -number
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_query_parameters_are_strict_and_read_only_is_one(local: dict[str, str]) -> None:
    put = {"name": "put", "arguments": {"item": {"pk": "deploy#x#a", "sk": "1"}}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": put}
    with listening((*DDB_MCP, "--http", "127.0.0.1:0"), **local) as (url, _):
        for query in ("?readonly=true", "?read_only=on", "?read_only=true&read_only=true"):
            answer = _post(url + query, {})
            assert answer.status_code == 400
            assert "?read_only=true" in answer.json()["next"]
        assert '\\"code\\":\\"read_only\\"' in _post(f"{url}/?read_only=true", {}, call).text
        listed = _post(f"{url}?read_only=1", {}, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).text
        assert set(re.findall(r'"name":"(\w+)"', listed)) == {"info", "get", "query", "scan"}
        assert "read_only" not in _post(url, {}, call).text
