"""A client that leaves: its reads end, and so do its writes that have not begun. A write of one item is finished."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ddb_mcp.core.items import Item
from ddb_mcp.gateway import access_log
from ddb_mcp.gateway.budgets import TENANT_CALLS_AT_ONCE
from ddb_mcp.service.concurrency import CONCURRENT_WRITES
from ddb_mcp.stores.base import Read, StorePage, WriteCondition, Written
from ddb_mcp.stores.local.store import LocalStore
from tests.gateway.conftest import PATH, post
from tests.gateway.running import RunningGateway, running_gateway
from tests.protocol.wire import ENVELOPE
from tests.support.waiting import PATIENCE, wait_until

PREFIX = "deploy#leaving"
SCAN = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "scan", "arguments": {}}}
MODERN_SCAN = {**SCAN, "params": {"name": "scan", "arguments": {}, "_meta": ENVELOPE}}
MODERN = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "scan"}


class Slow(LocalStore):
    """A scan goes on for ever, and a put waits until it may go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "gateway-table")
        self.under_way: list[str] = []
        self.puts = 0
        self.may_go_on = threading.Event()

    async def scan(self, read: Read) -> StorePage:
        self.under_way.append("scan")
        try:
            while True:
                await super().scan(read)
                await anyio.sleep(0.01)
        finally:
            self.under_way.remove("scan")

    async def put(self, item: Item, condition: WriteCondition, *, room: int | None = None) -> Written:
        self.under_way.append("put")
        self.puts += 1
        try:
            await anyio.to_thread.run_sync(self.may_go_on.wait, PATIENCE)
            return await super().put(item, condition)
        finally:
            self.under_way.remove("put")


@pytest.fixture
def store(tmp_path: Path) -> Slow:
    return Slow(tmp_path / "items.sqlite3")


@pytest.fixture
def gateway(store: Slow, tmp_path: Path) -> Iterator[RunningGateway]:
    with running_gateway(store, tmp_path) as gateway:
        yield gateway
        store.may_go_on.set()


def asking(gateway: RunningGateway, path: str, document: Any, **headers: str) -> socket.socket:
    """A connection that has sent a request."""
    host, port = gateway.url.removeprefix("http://").split(":")
    body = json.dumps(document).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {gateway.token(PREFIX)}"]
    lines += [f"{name}: {value}" for name, value in {"Content-Length": str(len(body)), **headers}.items()]
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return connection


def log_of(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the access log is told from now on."""
    told: list[dict[str, Any]] = []
    handler, logger = logging.Handler(), logging.Logger("this test's own")
    monkeypatch.setattr(handler, "emit", lambda record: told.append(json.loads(record.getMessage())))
    logger.addHandler(handler)
    monkeypatch.setattr(access_log, "access_log", logger)
    return told


def mcp(**headers: str) -> dict[str, str]:
    return {"Content-Type": "application/json", **headers}


@pytest.mark.parametrize(
    ("path", "document", "headers"),
    [
        (PATH + "scan", {}, {}),
        (PATH + "scan", {"view": "summary"}, {}),
        ("/mcp", SCAN, mcp(Accept="application/json")),
        ("/mcp", SCAN, mcp(Accept="text/event-stream")),
        ("/mcp", MODERN_SCAN, mcp(Accept="application/json", **MODERN)),
    ],
    ids=["scan", "summary", "json", "events", "modern"],
)
def test_a_read_ends_and_is_logged(
    gateway: RunningGateway,
    store: Slow,
    path: str,
    document: Any,
    headers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged = log_of(monkeypatch)
    with asking(gateway, path, document, **headers):
        wait_until(lambda: store.under_way == ["scan"])
    wait_until(lambda: store.under_way == [])
    wait_until(lambda: len(logged) == 1)
    line = logged[0]
    assert line["tenant"]
    assert (line["tool"], line["status"], line["error"]) == ("scan", 499, "client_gone")


def test_a_write_is_done(gateway: RunningGateway, store: Slow) -> None:
    key = {"pk": PREFIX + "#a", "sk": "1"}
    with asking(gateway, PATH + "put", {"item": key}):
        wait_until(lambda: store.under_way == ["put"])
    with asking(gateway, PATH + "scan", {}):
        wait_until(lambda: store.under_way == ["put", "scan"])
    wait_until(lambda: store.under_way == ["put"])  # it has seen the client of the scan leave, after that of the put
    store.may_go_on.set()
    wait_until(lambda: store.under_way == [])
    got = post(gateway.url, "get", key, authorization=f"Bearer {gateway.token(PREFIX)}")
    assert got.document["found"] is True


@pytest.mark.parametrize("path", [PATH + "put", "/mcp"])
def test_a_batch_begins_no_more_writes(gateway: RunningGateway, store: Slow, path: str) -> None:
    items = [{"pk": PREFIX + "#a", "sk": str(at)} for at in range(100)]
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "put", "arguments": {"items": items}}}
    begun = ["put"] * CONCURRENT_WRITES
    with asking(gateway, path, call if path == "/mcp" else {"items": items}, **mcp(Accept="application/json")):
        wait_until(lambda: store.under_way == begun)
    with asking(gateway, PATH + "scan", {}):
        wait_until(lambda: store.under_way == [*begun, "scan"])
    wait_until(lambda: store.under_way == begun)  # it has seen both clients leave
    store.may_go_on.set()
    wait_until(lambda: store.under_way == [])
    assert store.puts == CONCURRENT_WRITES


@pytest.mark.parametrize("path", [PATH + "put", "/mcp"])
def test_a_write_that_waits_for_its_turn_is_not_begun(
    gateway: RunningGateway, store: Slow, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(sk: int) -> socket.socket:
        item = {"item": {"pk": PREFIX + "#a", "sk": str(sk)}}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "put", "arguments": item}}
        return asking(gateway, path, call if path == "/mcp" else item, **mcp(Accept="application/json"))

    logged = log_of(monkeypatch)
    with contextlib.ExitStack() as stack:
        for sk in range(TENANT_CALLS_AT_ONCE):
            stack.enter_context(put(sk))
        wait_until(lambda: len(store.under_way) == TENANT_CALLS_AT_ONCE)
        put(TENANT_CALLS_AT_ONCE).close()
        wait_until(lambda: len(logged) == 1)  # it has ended while the others are under way
        store.may_go_on.set()
        wait_until(lambda: store.under_way == [])
    assert store.puts == TENANT_CALLS_AT_ONCE
