"""A tenant that tries everything: keys and cursors of others, headers, paths, bodies, and time."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ddb_mcp.gateway import budgets
from ddb_mcp.web import connection as connection_module
from ddb_mcp.web import request_context
from tests.gateway.conftest import PATH, post, request
from tests.gateway.running import RunningGateway
from tests.support.tenants import foreign_keys

MINE, THEIRS = "deploy#abc123", "deploy#abc1234"
SECRET = {"pk": THEIRS + "#user", "sk": "1", "secret": "theirs alone"}


@pytest.fixture(scope="module")
def tokens(gateway: RunningGateway) -> tuple[str, str]:
    mine, theirs = gateway.token(MINE), gateway.token(THEIRS)
    put = post(gateway.url, "put", {"item": json.dumps(SECRET)}, authorization=f"Bearer {theirs}")
    assert put.status == 200
    for at in range(5):
        body = {"item": json.dumps({"pk": THEIRS + "#many", "sk": str(at)})}
        assert post(gateway.url, "put", body, authorization=f"Bearer {theirs}").status == 200
    return mine, theirs


def raw(gateway: RunningGateway, data: bytes) -> bytes:
    """All that is answered, where the answer ends the connection."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


FOREIGN = {**foreign_keys(MINE), "the other tenant": THEIRS + "#user", "the other tenant's prefix": THEIRS}


@pytest.mark.parametrize("pk", FOREIGN.values(), ids=FOREIGN)
def test_no_key_leads_out_of_the_prefix(gateway: RunningGateway, tokens: tuple[str, str], pk: str) -> None:
    key = {"pk": pk, "sk": "1"}
    smuggled = f'{{"pk": "{MINE}#user", "sk": "1", "pk": {json.dumps(pk)}}}'
    attempts: list[tuple[str, Any]] = [
        ("get", key),
        ("delete", key),
        ("delete", {"keys": [{"pk": MINE + "#user", "sk": "1"}, key]}),
        ("query", {"pk": pk}),
        ("query", {"pk": pk, "view": "count"}),
        ("put", {"item": json.dumps(key)}),
        ("put", {"item": key}),
        ("put", {"item": {"pk": {"S": pk}, "sk": {"S": "1"}}}),
        ("put", {"item": json.dumps({"pk": {"S": pk}, "sk": {"S": "1"}})}),
        ("put", {"item": smuggled}),
        ("put", {"items": [{"pk": MINE + "#user", "sk": "2"}, key]}),
        ("put", {"item": key, "merge": True}),
    ]
    if pk != MINE + "#":
        attempts.append(("scan", {"pk_prefix": pk}))
    for operation, body in attempts:
        answer = post(gateway.url, operation, body, authorization=f"Bearer {tokens[0]}")
        assert answer.status in (400, 403), (operation, body)
        assert answer.document["error"] in ("prefix_violation", "invalid_argument")
        assert "theirs alone" not in json.dumps(answer.document)
    theirs = post(gateway.url, "scan", {"view": "count"}, authorization=f"Bearer {tokens[1]}")
    assert theirs.document["count"] == 6
    mine = post(gateway.url, "scan", {}, authorization=f"Bearer {tokens[0]}")
    assert mine.document["items"] == []


def test_cursors_of_others_and_of_other_calls(gateway: RunningGateway, tokens: tuple[str, str]) -> None:
    query = {"pk": THEIRS + "#many", "limit": 2}
    cursor = post(gateway.url, "query", query, authorization=f"Bearer {tokens[1]}").document["cursor"]
    for operation, body in (
        ("query", {"pk": MINE + "#many", "limit": 2}),
        ("scan", {"limit": 2}),
        ("scan", {}),
    ):
        answer = post(gateway.url, operation, {**body, "cursor": cursor}, authorization=f"Bearer {tokens[0]}")
        assert (answer.status, answer.document["error"]) == (400, "invalid_cursor")
    altered = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    answer = post(gateway.url, "query", {**query, "cursor": altered}, authorization=f"Bearer {tokens[1]}")
    assert answer.document["error"] == "invalid_cursor"
    answer = post(gateway.url, "query", {**query, "cursor": cursor}, authorization=f"Bearer {tokens[1]}")
    assert [item["sk"] for item in answer.document["items"]] == ["2", "3"]


def test_headers(gateway: RunningGateway, tokens: tuple[str, str]) -> None:
    mine, theirs = tokens

    def status(*lines: str) -> int:
        head = "\r\n".join([f"POST {PATH}info HTTP/1.1", "Host: x", *lines, "Content-Length: 2", "Connection: close"])
        answer = raw(gateway, f"{head}\r\n\r\n{{}}".encode())
        code = int(answer.split()[1])
        if code == 200:
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["prefix"] == MINE
        return code

    assert status(f"Authorization: Bearer {mine}") == 200
    assert status(f"AUTHORIZATION:bearer   {mine}  ") == 200
    for lines in (
        [],
        ["Authorization:"],
        ["Authorization: Bearer"],
        ["Authorization: Bearer "],
        [f"Authorization: {mine}"],
        [f"Authorization: Basic {mine}"],
        [f"Authorization: Bearer {mine}", f"Authorization: Bearer {theirs}"],
        [f"Authorization: Bearer {mine}", f"Authorization: Bearer {mine}"],
        [f"Authorization: Bearer {mine}, Bearer {theirs}"],
        [f"Authorization: Bearer {mine},{theirs}"],
        [f"Authorization: Bearer {mine} {theirs}"],
        [f"Authorization: Bearer {mine}x"],
        [f"Authorization: Bearer {mine[:-1]}"],
        [f"Authorization: Bearer {mine.upper()}"],
        [f'Authorization: Bearer "{mine}"'],
        [f"Authorization: Bearer\t{mine}"],
        [f"Authorization : Bearer {mine}"],
        [f"X-Authorization: Bearer {mine}"],
        [f"Cookie: token={mine}"],
        [f"Authorization: Bearer {mine}\x00"],
        ["Authorization: Bearer " + "a" * 10_000],
        [f"X-Forwarded-User: {mine}", f"X-Forwarded-Authorization: Bearer {mine}"],
    ):
        assert status(*lines) in (400, 401), lines


def test_paths(gateway: RunningGateway, tokens: tuple[str, str]) -> None:
    headers = {"Authorization": f"Bearer {tokens[0]}"}
    for path in (
        "/api/data/dynamodb/../dynamodb/info",
        "//api/data/dynamodb/info",
        "/api/data//dynamodb/info",
        "/api/data/dynamodb/info%2f",
        "/api/data/dynamodb/info%00",
        "/api/data/dynamodb/INFO",
        "/api/data/dynamodb/info;x",
        "/api/data/dynamodb/info/../../../../etc/passwd",
        "/api/data/dynamodb/%2e%2e/info",
        "/API/DATA/DYNAMODB/info",
    ):
        assert request(gateway.url, "POST", path, b"{}", headers).status == 404, path
    path = "/api/data/dynamodb/%69nfo"
    assert request(gateway.url, "POST", path, b"{}", headers).document["prefix"] == MINE
    path += "?prefix=" + THEIRS.replace("#", "%23")
    assert request(gateway.url, "POST", path, b"{}", headers).status == 400


def test_smuggled_requests(gateway: RunningGateway, tokens: tuple[str, str]) -> None:
    inner = f"POST {PATH}info HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    for path in (f"POST {PATH}info", "GET /health", "POST /nowhere"):
        both = (
            f"{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens[0]}\r\n"
            f"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
        )
        answers = raw(gateway, both.encode())
        assert answers.startswith(b"HTTP/1.1 400")
        assert answers.count(b"HTTP/1.1") == 1
    twice = (
        f"POST {PATH}info HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens[0]}\r\n"
        f"Content-Length: 2\r\nContent-Length: 50\r\n\r\n{{}}{inner}"
    )
    assert raw(gateway, twice.encode()).startswith(b"HTTP/1.1 400")
    # A second request on the connection of the first does not inherit its token.
    first = f"POST {PATH}info HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens[0]}\r\n"
    answers = raw(gateway, f"{first}Content-Length: 2\r\n\r\n{{}}{inner}".encode())
    assert b"HTTP/1.1 200" in answers
    assert b"HTTP/1.1 401" in answers


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b'{"pk":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"filter": {"a": {"eq": ' + b"[" * 10_000 + b"]" * 10_000 + b'}}, "pk": "deploy#abc123#a"}',
        b'{"item": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
        b'{"item": "' + b"[" * 100_000 + b'"}',
        json.dumps({"item": '{"pk": "deploy#abc123#a", "sk": "1", "x": ' + "[" * 10_000 + "]" * 10_000 + "}"}).encode(),
        b'{"item": {"pk": "deploy#abc123#a", "sk": "1", "x": ' + b'{"M":' * 500 + b"{}" + b"}" * 500 + b"}}",
        b'{"items": [' + b"1," * 100_000 + b"1]}",
        b'{"expect": {"' + b"a." * 5_000 + b'a": 1}, "item": {"pk": "deploy#abc123#a", "sk": "1"}}',
    ],
    ids=range(9),
)
def test_bodies_that_should_break_something(gateway: RunningGateway, tokens: tuple[str, str], body: bytes) -> None:
    for operation in ("put", "query"):
        answer = post(gateway.url, operation, body, authorization=f"Bearer {tokens[0]}")
        assert (answer.status, answer.document["error"]) == (400, "invalid_argument")
        assert len(answer.document["message"]) < 1000


MINES = b'"pk": "deploy#abc123#a", "sk": "1"'


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("get", b"{" + MINES + b', "attributes": [' + b"1," * 500_000 + b"1]}"),
        ("get", b"{" + MINES + b"".join(b', "a%d": 1' % at for at in range(80_000)) + b"}"),
        (
            "query",
            b'{"pk": "deploy#abc123#a", "filter": {"a": 0'
            + b"".join(b', "a%d": 1' % at for at in range(80_000))
            + b"}}",
        ),
        ("put", b'{"item": {' + MINES + b', "l": [' + b"[]," * 300_000 + b"[]]}}"),
        ("put", json.dumps({"item": '{"pk": "deploy#abc123#a", "l": [' + "[]," * 300_000 + "[]]}"}).encode()),
        ("put", b'{"item": {' + MINES + b', "n": ' + b"9" * 1_000_000 + b"}}"),
        ("put", b'{"item": {' + MINES + b', "n": {"N": "' + b"9" * 1_000_000 + b'"}}}'),
        ("put", b'{"item": {' + MINES + b'}, "remove": [' + b'"a",' * 250_000 + b'"b"]}'),
        ("delete", b'{"keys": [{' + MINES + b"".join(b', "a%d": 1' % at for at in range(80_000)) + b"}]}"),
    ],
    ids=range(9),
)
def test_what_is_too_much_is_refused_in_few_words(
    gateway: RunningGateway, tokens: tuple[str, str], operation: str, body: bytes
) -> None:
    answer = post(gateway.url, operation, body, authorization=f"Bearer {tokens[0]}")
    assert (answer.status, answer.document["error"]) == (400, "invalid_argument")
    assert len(json.dumps(answer.document)) < 500


def test_a_hundred_megabytes(gateway: RunningGateway, tokens: tuple[str, str]) -> None:
    """Refused by its announced length, or as soon as it is too long: with a token, and at once without one."""
    for authorization, status in ((f"Authorization: Bearer {tokens[0]}\r\n", b"413"), ("", b"401")):
        for announced in ("Content-Length: 100000000", "Transfer-Encoding: chunked"):
            host, port = gateway.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), timeout=300) as connection:
                connection.sendall(f"POST {PATH}put HTTP/1.1\r\nHost: x\r\n{authorization}{announced}\r\n\r\n".encode())
                if "chunked" in announced and status == b"413":
                    for _ in range(request_context.BODY_MAX_BYTES // 100_000 + 1):
                        connection.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
                assert connection.recv(1000).split()[1] == status


@contextlib.contextmanager
def standing(gateway: RunningGateway, begun: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Connections that have sent as much of this as the gateway takes, and read nothing."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as held:
        connections = []
        for _ in range(count):
            connection = held.enter_context(socket.create_connection((host, int(port)), timeout=300))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(0.01)
            with contextlib.suppress(OSError):
                connection.sendall(begun)
            connections.append(connection)
        yield connections


def head(token: str, operation: str, length: int) -> bytes:
    lines = f"Host: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    return f"POST {PATH}{operation} HTTP/1.1\r\n{lines}".encode()


def assert_quiet_is_served(gateway: RunningGateway, token: str) -> None:
    for _ in range(10):
        key = {"pk": THEIRS + "#user", "sk": "1"}
        assert post(gateway.url, "get", key, authorization=f"Bearer {token}").status == 200


def assert_is_served_again(gateway: RunningGateway, token: str) -> None:
    deadline = time.monotonic() + 300
    while (answer := post(gateway.url, "info", {}, authorization=f"Bearer {token}")).status != 200:
        assert (answer.status, time.monotonic() < deadline) == (429, True)
        time.sleep(0.5)


def test_bodies_that_stall_count_against_their_tenant_alone(
    gateway: RunningGateway, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 of 3.9 MB, of which four have room."""
    monkeypatch.setattr(budgets, "ROOM_SECONDS", 2)
    monkeypatch.setattr(request_context, "BODY_SECONDS", 6)
    loud = gateway.token("deploy#stalling")
    with standing(gateway, head(loud, "put", 3_900_000) + b"x" * 3_800_000, 100) as connections:
        assert_quiet_is_served(gateway, tokens[1])
        statuses = set()
        for connection in connections:
            connection.settimeout(300)
            with contextlib.suppress(ConnectionError):
                statuses.add(connection.recv(12).partition(b" ")[2])
    assert {b"408", b"429"} <= statuses
    assert_is_served_again(gateway, loud)


def test_answers_that_nobody_reads_count_against_their_tenant_alone(
    gateway: RunningGateway, tokens: tuple[str, str]
) -> None:
    """100 pages of a megabyte."""
    loud = gateway.token("deploy#unread")
    for at in range(3):
        item = {"pk": "deploy#unread#a", "sk": str(at), "text": "x" * 400_000}
        assert post(gateway.url, "put", {"item": item}, authorization=f"Bearer {loud}").status == 200
    body = b'{"pk": "deploy#unread#a", "max_bytes": 1000000}'
    with standing(gateway, head(loud, "query", len(body)) + body, 100):
        assert_quiet_is_served(gateway, tokens[1])
    assert_is_served_again(gateway, loud)


def test_slow_connections_starve_nobody_and_end(
    gateway: RunningGateway, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 connections that send a byte now and then: half of them in the head of a request, half in its body."""
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 3)
    monkeypatch.setattr(request_context, "BODY_SECONDS", 8)
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST {PATH}put HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens[0]}\r\nContent-Length: 1000\r\n\r\n"
    ended: list[bytes] = []
    stop = threading.Event()

    def drip(connection: socket.socket, started: bytes) -> None:
        try:
            connection.sendall(started)
            while not stop.wait(0.5):
                connection.sendall(b"x")
        except OSError:
            pass
        try:
            ended.append(connection.recv(1000))
        except OSError:
            ended.append(b"")

    connections = [socket.create_connection((host, int(port)), timeout=300) for _ in range(200)]
    request(gateway.url, "GET", "/health", None, {})  # connections are taken in their order
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 300)  # for the quiet
    with ThreadPoolExecutor(200) as pool:
        for at, connection in enumerate(connections):
            pool.submit(drip, connection, head.encode() if at % 2 else b"POST ")
        deadline = time.monotonic() + 300
        answered = 0
        while len(ended) < 200 and time.monotonic() < deadline:
            assert post(gateway.url, "info", {}, authorization=f"Bearer {tokens[1]}").status == 200
            answered += 1
            time.sleep(0.1)
        stop.set()
    for connection in connections:
        connection.close()
    assert answered
    assert len(ended) == 200
    assert any(b" 408 " in answer for answer in ended), "slow bodies are told so"
