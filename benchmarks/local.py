"""Local mode's figures: `python -m benchmarks.local`.

Medians of interleaved rounds, so that a machine that drifts drifts for both sides of a ratio.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Self

from anyio.from_thread import start_blocking_portal
from benchmarks.selections import deletes

from ddb_mcp.core.keys import Prefix
from ddb_mcp.server.tools import list_tools
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.local.store import LocalStore

DDB_MCP = [str(Path(sys.executable).with_name("ddb-mcp"))]
SDK_SERVER = [sys.executable, str(Path(__file__).with_name("sdk_server.py"))]
HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}
PREFIX = "deploy#local"
OWN, FOREIGN = 1_000, 1_000_000
KILLS, WRITERS = 20, 4


def main() -> None:
    print("Local mode")
    seen = [[tool.name, tool.description, tool.input_schema] for tool in list_tools(read_only=False)]
    print(f"  names, descriptions and input schemas of the tools: {len(json.dumps(seen, separators=(',', ':')))} bytes")
    with tempfile.TemporaryDirectory() as folder:
        _calls(Path(folder))
        _indexes(Path(folder))
        _text(Path(folder))
        _scan(Path(folder))
        _where(Path(folder))
        _kills(Path(folder))


class Server:
    """A server as a host starts it, after the handshake."""

    def __init__(self, command: list[str], file: Path, **settings: str) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "DDB_MCP_MODE": "local", "DDB_MCP_LOCAL_PATH": str(file), **settings},
        )
        self._asked = 0
        self._ask("initialize", HANDSHAKE)
        self._send({"method": "notifications/initialized"})

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool. Raises EOFError or OSError if the server is gone."""
        result: dict[str, Any] = self._ask("tools/call", {"name": tool, "arguments": arguments})
        assert not result.get("isError"), result
        return result

    def _ask(self, method: str, params: dict[str, Any]) -> Any:
        assert self.process.stdout is not None
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": params})
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)["result"]

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()


def _calls(folder: Path) -> None:
    item = {"pk": f"{PREFIX}#user#7", "sk": "PROFILE", "name": "Ada", "visits": 3, "tags": ["a", "b"], "bio": "x" * 200}
    with Server(SDK_SERVER, folder / "none") as floor, Server(DDB_MCP, folder / "calls") as ours:
        ours.call("put", item=item)
        noop, get, put = _medians(
            600,
            lambda: floor.call("noop"),
            lambda: ours.call("get", pk=item["pk"], sk=item["sk"]),
            lambda: ours.call("put", item=item),
        )
    print(f"  a tool of the SDK's that does nothing: {noop * 1000:.2f} ms")
    for name, taken in (("get", get), ("put", put)):
        verdict = "" if taken - noop <= 0.00035 else "  (over 0.35 ms)"
        print(f"    {name}: {taken / noop:.2f} of it, {(taken - noop) * 1000:+.2f} ms{verdict}")


def _indexes(folder: Path) -> None:
    item = {"pk": f"{PREFIX}#a", "GSI1PK": f"{PREFIX}#a", "bio": "x" * 200}
    items = [{**item, "sk": f"{at:04}", "GSI1SK": f"{at:04}"} for at in range(500)]
    with (
        Server(DDB_MCP, folder / "plain") as plain,
        Server(DDB_MCP, folder / "indexed", DDB_MCP_INDEXES="GSI1=GSI1PK,GSI1SK") as indexed,
    ):
        for server in (plain, indexed):
            server.call("provision")
            for start in range(0, len(items), 100):
                server.call("put", items=items[start : start + 100])
        put, put_indexed, query, query_index = _medians(
            400,
            lambda: plain.call("put", item=items[7]),
            lambda: indexed.call("put", item=items[7]),
            lambda: indexed.call("query", pk=item["pk"], limit=20),
            lambda: indexed.call("query", index="GSI1", pk=item["pk"], limit=20),
        )
    print("  with a secondary index")
    for name, taken, without, reach in (("put", put_indexed, put, 1.6), ("query", query_index, query, 1.2)):
        verdict = "" if taken <= reach * without else f"  (over {reach:g})"
        print(f"    {name}: {taken / without:.2f} of the same without it, {taken * 1000:.2f} ms{verdict}")


def _text(folder: Path) -> None:
    with Server(DDB_MCP, folder / "text") as server:
        for name, item in (
            ("small", {"total": 12.5}),
            ("middling", {"name": "Ada Lovelace", "tags": ["a", "b"], "address": {"city": "Paris", "zip": "75001"}}),
            ("large", {"bio": "x" * 500, "history": [{"at": at, "what": "login"} for at in range(10)]}),
        ):
            items = [{"pk": f"{PREFIX}#{name}", "sk": f"{at:03}", **item} for at in range(20)]
            server.call("put", items=items)
            text = server.call("query", pk=f"{PREFIX}#{name}")["content"][0]["text"]
            compact = sum(len(json.dumps(item, ensure_ascii=False, separators=(",", ":"))) for item in items)
            verdict = "" if len(text) <= 1.1 * compact + 300 else "  (over 1.1 and 300 bytes)"
            more = len(text) - compact
            print(f"  a query's text, {name} items: {len(text) / compact:.2f} of their JSON, {more:+} bytes{verdict}")


def _scan(folder: Path) -> None:
    with start_blocking_portal() as portal, ExitStack() as stack:
        scans: list[Callable[[], None]] = []
        for name, foreign in (("alone", 0), ("among", FOREIGN)):
            store = LocalStore(folder / name, "benchmark")
            stack.callback(portal.call, store.close)
            service = DataService(store, Prefix(PREFIX), max_result_bytes=10_000_000)
            portal.call(service.run_operation, "provision", {})
            _fill(store, foreign)

            def scan(service: DataService = service) -> None:
                page = portal.call(service.run_operation, "scan", {"limit": 1000})
                assert (page["count"], page["complete"]) == (OWN, True)

            scans.append(scan)
        alone, among = _medians(31, *scans)
    verdict = "" if among <= 1.2 * alone else "  (over 1.2)"
    print(
        f"  a scan of {OWN} items: {alone * 1000:.1f} ms; with {FOREIGN} of others in the file: {among * 1000:.1f} ms"
    )
    print(f"    {among / alone:.2f} of it{verdict}")


def _where(folder: Path) -> None:
    with start_blocking_portal() as portal:
        store = LocalStore(folder / "where", "benchmark")
        deletes(portal, store, PREFIX, 2)
        portal.call(store.close)


def _fill(store: LocalStore, foreign: int) -> None:
    """Items as the store keeps them, put in by SQL; those of others on both sides of our own."""

    def rows() -> Iterator[tuple[bytes, bytes, str, None]]:
        for prefix, count in (("deploy#a", foreign // 2), (PREFIX, OWN), ("deploy#z", foreign - foreign // 2)):
            for at in range(count):
                pk, sk = f"{prefix}#user#{at:07}", "PROFILE"
                document = {"pk": {"S": pk}, "sk": {"S": sk}, "name": {"S": "Ada"}, "n": {"N": str(at)}}
                yield pk.encode(), sk.encode(), json.dumps(document), None

    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.executemany("INSERT INTO items (pk, sk, document, expires) VALUES (?, ?, ?, ?)", rows())


def _kills(folder: Path) -> None:
    """Servers on one file, each killed with SIGKILL while it writes and another put in its place."""
    file = folder / "kills"
    acknowledged: list[str] = []

    def write(server: Server, name: str) -> None:
        try:
            for at in range(1_000_000):
                server.call("put", item={"pk": f"{PREFIX}#kill", "sk": f"{name}-{at:06}", "text": "x" * (at % 3000)})
                acknowledged.append(f"{name}-{at:06}")
        except (EOFError, OSError):
            pass

    moments = random.Random(9)
    with ExitStack() as stack:
        running: list[tuple[Server, threading.Thread]] = []
        for kill in range(KILLS + WRITERS):
            server = stack.enter_context(Server(DDB_MCP, file))
            writer = threading.Thread(target=write, args=(server, f"{kill:03}"))
            writer.start()
            running.append((server, writer))
            if kill >= WRITERS:
                time.sleep(moments.uniform(0.05, 0.3))
                victim, writer = running.pop(moments.randrange(WRITERS))
                victim.process.kill()
                writer.join()
        for victim, writer in running:
            victim.process.kill()
            writer.join()
    with start_blocking_portal() as portal:
        store = LocalStore(file, "benchmark")
        service = DataService(store, Prefix(PREFIX), max_result_bytes=10_000_000, read_budget=10_000_000)
        stored: set[str] = set()
        cursor: dict[str, str] = {}
        while True:
            arguments = {"pk": f"{PREFIX}#kill", "limit": 1000, "attributes": ["n"], **cursor}
            page = portal.call(partial(service.run_operation, "query", arguments))
            stored |= {item["sk"] for item in page["items"]}
            if page["complete"]:
                break
            cursor = {"cursor": page["cursor"]}
        portal.call(store.close)
    lost = len(set(acknowledged) - stored)
    print(
        f"  kill -9, {WRITERS} servers on one file, {KILLS + WRITERS} killed: {len(acknowledged)} writes acknowledged"
    )
    print(f"    {lost} of them lost")
    assert not lost


def _medians(rounds: int, *sides: Callable[[], Any]) -> list[float]:
    """Seconds that each side takes, by the median of interleaved rounds after some that do not count."""
    times: list[list[float]] = [[] for _ in sides]
    for at in range(-5, rounds):
        for side, taken in zip(sides, times, strict=True):
            begun = time.perf_counter()
            side()
            if at >= 0:
                taken.append(time.perf_counter() - begun)
    return [median(taken) for taken in times]


if __name__ == "__main__":
    main()
