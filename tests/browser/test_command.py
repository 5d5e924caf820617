"""`ddb-mcp browse` as a command and as an HTTP server: who reaches it, and who does not."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ddb_mcp.stores.local.store import LocalStore
from tests.browser import data
from tests.browser.visits import Browse
from tests.gateway.running import running_gateway
from tests.platform.documented import DocumentedPlatform
from tests.support.forking import DDB_MCP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.running import RunningGateway
    from tests.support.engines import Engine


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "items.sqlite3"
    data.store(path, data.shop())
    return path


@pytest.fixture(scope="module")
def reading(items: Path) -> Iterator[Browse]:
    with Browse(items) as process:
        yield process


def call(address: str, tool: Any, arguments: Any = None, **headers: str) -> httpx.Response:
    """A tool call as the page's host makes it; a header given as "" is left out."""
    given = {"Origin": address[: address.index("/", 8)], **headers}
    body = json.dumps({"name": tool, "arguments": {} if arguments is None else arguments})
    return httpx.post(address + "call", content=body, headers={name: value for name, value in given.items() if value})


def test_stdout_has_the_address_alone_and_stderr_says_how_to_end_it(items: Path) -> None:
    with Browse(items) as process:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", process.address)
        out, err = process.end(signal.SIGINT)
    assert out == ""
    assert "read-only" in err
    assert "Ctrl-C" in err
    assert process.address.split("/")[3] not in err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_by_a_signal_though_a_browser_keeps_its_connection(items: Path, how: int) -> None:
    with Browse(items) as process, httpx.Client() as client:
        assert client.get(process.address).status_code == 200
        process.end(how)
        assert process.code is not None
        with pytest.raises(httpx.ConnectError):
            httpx.get(process.address)


def test_each_run_has_a_secret_of_its_own(items: Path, reading: Browse) -> None:
    port = reading.address.split("/")[2].rpartition(":")[2]
    with Browse(items) as other:
        assert other.address.split("/")[3] != reading.address.split("/")[3]
        mixed = other.address.replace(other.address.split("/")[3], reading.address.split("/")[3])
        assert httpx.get(mixed).status_code == 404
    refused = subprocess.run(
        [DDB_MCP, "browse", "--no-open", "--port", port],
        env={"PATH": "", "HOME": str(items.parent), **data.environment(items)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"port {port}" in refused.stderr


def test_the_pages_carry_what_keeps_others_out(reading: Browse) -> None:
    for place, text in (("", "ddb-mcp"), ("page", "Data browser")):
        answer = httpx.get(reading.address + place)
        assert answer.status_code == 200
        assert text in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["", "/", "/page", "/call", "/wrong/", "/wrong/page", "/wrong/call", "/é/page"])
def test_nothing_is_there_without_the_secret(reading: Browse, path: str) -> None:
    root = reading.address[: reading.address.index("/", 8)]
    assert httpx.get(root + path).status_code == 404
    assert httpx.post(root + path, content=b"{}", headers={"Origin": root}).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.evil.example:8000"])
def test_another_name_for_this_machine_is_refused(reading: Browse, host: str) -> None:
    assert httpx.get(reading.address, headers={"Host": host}).status_code == 403
    assert call(reading.address, "info", Host=host).status_code == 403


@pytest.mark.parametrize("origin", ["", "null", "https://evil.example", "http://127.0.0.1:1"])
def test_calls_are_taken_from_its_own_page_alone(reading: Browse, origin: str) -> None:
    assert call(reading.address, "info", Origin=origin).status_code == 403


def test_localhost_is_this_machine_too(reading: Browse) -> None:
    address = reading.address.replace("127.0.0.1", "localhost")
    port = address.split(":")[2].split("/")[0]
    answer = call(reading.address, "info", Host=f"localhost:{port}", Origin=f"http://localhost:{port}")
    assert answer.status_code == 200


def test_a_call_is_answered_with_the_structured_result_alone(reading: Browse) -> None:
    result = call(reading.address, "get", data.key("user#1", "PROFILE")).json()
    assert result["structuredContent"]["item"]["email"] == "ada@example.com"
    assert result["content"] == []


def test_it_is_read_only_unless_told_otherwise(reading: Browse, items: Path) -> None:
    new = data.key("user#new", "PROFILE")
    for tool, arguments in (("put", {"item": new}), ("delete", data.key("user#1", "PROFILE")), ("provision", {})):
        result = call(reading.address, tool, arguments).json()
        assert result["isError"] is True
        assert '"code":"read_only"' in result["content"][0]["text"]
    assert data.call(items, "get", **new) == {"found": False}


def test_write_and_read_only_contradict_each_other(items: Path) -> None:
    done = subprocess.run(
        [DDB_MCP, "browse", "--no-open", "--write"],
        env={"PATH": "", "HOME": str(items.parent), **data.environment(items), "DDB_MCP_READ_ONLY": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "read-only" in done.stderr


@pytest.mark.parametrize("tool", ["drop", "", None, 7, ["get"], {"a": 1}])
def test_an_unknown_tool_is_refused(reading: Browse, tool: Any) -> None:
    assert call(reading.address, tool).status_code == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"\xff", b'{"name": "info"', b"[" * 100_000])
def test_a_body_that_is_no_call_is_refused(reading: Browse, body: bytes) -> None:
    root = reading.address[: reading.address.index("/", 8)]
    answer = httpx.post(reading.address + "call", content=body, headers={"Origin": root})
    assert answer.status_code == 400 or answer.json()["isError"] is True


@pytest.mark.parametrize("arguments", [[], 7, "x", {"a": 1}])
def test_wrong_arguments_are_an_error_of_the_tool(reading: Browse, arguments: Any) -> None:
    result = call(reading.address, "query", arguments).json()
    assert result["isError"] is True
    assert "invalid_argument" in result["content"][0]["text"]


def test_a_body_of_any_length_is_not_taken(reading: Browse) -> None:
    root = reading.address[: reading.address.index("/", 8)]
    host = root.removeprefix("http://")
    place = reading.address.removeprefix(root) + "call"
    head = f"POST {place} HTTP/1.1\r\nHost: {host}\r\nOrigin: {root}\r\nContent-Length: {10**12}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(host.partition(":")[2]))) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_it_shows_a_table_behind_dynamodb_s_protocol(tmp_path: Path, dynoxide: Engine) -> None:
    key = data.key("user#1", "PROFILE")
    settings = {
        "DDB_MCP_MODE": "direct",
        "DDB_MCP_LOCAL_PATH": "",
        "DYNAMODB_TABLE": "browsed",
        "AWS_ENDPOINT_URL_DYNAMODB": dynoxide.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with Browse(tmp_path / "none", "--write", **settings) as process:
        assert call(process.address, "provision").json()["structuredContent"]["mode"] == "direct"
        assert call(process.address, "put", {"item": {**key, "name": "Ada"}}).json()["structuredContent"]["created"]
        page = call(process.address, "scan", {"view": "summary"}).json()["structuredContent"]
        assert [(group["pk"], group["sk"]) for group in page["groups"]] == [("user", "PROFILE")]


def test_it_shows_a_deployment_behind_a_gateway(tmp_path: Path) -> None:
    key = data.key("user#1", "PROFILE")
    store = LocalStore(tmp_path / "items.sqlite3", "browsed")
    with running_gateway(store, tmp_path) as gateway, Browse(tmp_path / "none", "--write", **_platform(gateway)) as own:
        assert call(own.address, "put", {"item": {**key, "name": "Ada"}}).json()["structuredContent"]["created"]
        foreign = call(own.address, "put", {"item": {"pk": "deploy#other#user#1", "sk": "PROFILE"}}).json()
        assert '"code":"prefix_violation"' in foreign["content"][0]["text"]
        page = call(own.address, "scan", {"view": "summary"}).json()["structuredContent"]
        assert [(group["pk"], group["sk"]) for group in page["groups"]] == [("user", "PROFILE")]


def test_it_says_what_a_platform_without_our_extensions_lacks(tmp_path: Path) -> None:
    with DocumentedPlatform() as platform:
        key = {"pk": f"{platform.prefix}#user#1", "sk": "PROFILE"}
        settings = {"DDB_MCP_API_URL": platform.url, "DDB_MCP_AUTH_TOKEN": platform.token}
        with Browse(tmp_path / "none", "--write", **_LOCAL_UNSET, **settings) as process:
            item = {**key, "name": "Ada"}
            assert "structuredContent" in call(process.address, "put", {"item": item}).json()
            assert call(process.address, "get", key).json()["structuredContent"]["item"] == item
            refused = call(process.address, "put", {"item": item, "expect": {"name": "Ada"}}).json()
            assert '"code":"unsupported"' in refused["content"][0]["text"]


_LOCAL_UNSET = {"DDB_MCP_MODE": "platform", "DDB_MCP_LOCAL_PATH": "", "DYNAMODB_PREFIX": ""}


def _platform(gateway: RunningGateway) -> dict[str, str]:
    return {**_LOCAL_UNSET, "DDB_MCP_API_URL": gateway.url, "DDB_MCP_AUTH_TOKEN": gateway.token(data.PREFIX)}
