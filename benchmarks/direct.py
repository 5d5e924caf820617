"""Direct mode as ratios to boto3 in the same run: `python -m benchmarks.direct`.

Medians of interleaved rounds, so that a machine that drifts drifts for both sides. Everything runs against dynoxide on
loopback: what is measured is what this server adds, not how fast DynamoDB is. dynoxide does one request at a time and
answers at once; the scan is therefore measured a second time through a proxy that holds each answer back for as long as
a table in AWS may take for a page of 1 MB.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import anyio
import boto3
from anyio.from_thread import BlockingPortal, start_blocking_portal
from benchmarks.selections import deletes
from botocore.config import Config
from tests.support.engines import Engine, running

from ddb_mcp.config.settings import DirectSettings
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.direct.store import DirectStore

PREFIX = "deploy#abc123"
FOREIGN, OWN = 50_000, 20
CONCURRENT, GETS = 32, 640
DELAY = 0.05
SCAN_TARGET = 1.5
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running("dynoxide", Path(folder)) as engine:
        os.environ.update(VARIABLES, AWS_ENDPOINT_URL_DYNAMODB=engine.endpoint)
        client = boto3.client("dynamodb", config=Config(max_pool_connections=CONCURRENT))
        table = _fill(engine, client)
        print("Direct mode, against dynoxide on loopback, as a ratio to boto3")
        with start_blocking_portal() as portal:
            store = DirectStore(DirectSettings(table=table, prefix=Prefix(PREFIX)))
            _scan(portal, store, client, table, "answers at once")
            _concurrent_gets(portal, store, client, table)
            deletes(portal, store, PREFIX, 1.5)
            portal.call(store.close)
            with _delayed(engine.endpoint) as endpoint:
                os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = endpoint
                store = DirectStore(DirectSettings(table=table, prefix=Prefix(PREFIX)))
                far = boto3.client("dynamodb", endpoint_url=endpoint)
                _scan(portal, store, far, table, f"answers after {DELAY * 1000:.0f} ms")
                portal.call(store.close)
                os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = engine.endpoint
        _get_over_stdio(client, table)


def _scan(portal: BlockingPortal, store: DirectStore, client: Any, table: str, condition: str) -> None:
    service = DataService(store, Prefix(PREFIX))

    own_filter: dict[str, Any] = {
        "FilterExpression": "begins_with(pk, :p)",
        "ExpressionAttributeValues": {":p": {"S": f"{PREFIX}#"}},
    }

    def sequential(parameters: dict[str, Any]) -> None:
        found = 0
        start: dict[str, Any] = {}
        while True:
            page = client.scan(TableName=table, ConsistentRead=True, **parameters, **start)
            found += sum(item["pk"]["S"].startswith(f"{PREFIX}#") for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        assert found == OWN

    def ours() -> None:
        page = portal.call(service.run_operation, "scan", {})
        assert (page["count"], page["complete"]) == (OWN, True)

    plain, filtered, own = _medians(7, partial(sequential, {}), partial(sequential, own_filter), ours)
    print(f"  {OWN} own items among {FOREIGN} others in one scan, {condition}: {own * 1000:.0f} ms")
    for name, boto in (("loop", plain), ("loop with a filter expression", filtered)):
        verdict = "" if boto / own >= SCAN_TARGET else f"  (under {SCAN_TARGET})"
        print(f"    boto3's {name} {boto * 1000:.0f} ms: {boto / own:.2f} times as fast{verdict}")


def _concurrent_gets(portal: BlockingPortal, store: DirectStore, client: Any, table: str) -> None:
    keys = [Key(f"{PREFIX}#user#{at % OWN}", "profile") for at in range(GETS)]

    def threads() -> None:
        with ThreadPoolExecutor(CONCURRENT) as pool:
            for answer in pool.map(partial(_get_item, client, table), keys):
                assert answer["Item"]

    async def gather() -> None:
        limiter = anyio.CapacityLimiter(CONCURRENT)

        async def one(key: Key) -> None:
            async with limiter:
                assert await store.get(key)

        async with anyio.create_task_group() as group:
            for key in keys:
                group.start_soon(one, key)

    boto, own = _medians(9, threads, lambda: portal.call(gather))
    verdict = "" if boto / own >= 0.7 else "  (under 0.7)"
    print(f"  {CONCURRENT} concurrent gets:")
    print(
        f"    {GETS / own:.0f}/s, boto3 with {CONCURRENT} threads {GETS / boto:.0f}/s: {boto / own:.2f} of it{verdict}"
    )


def _get_over_stdio(client: Any, table: str) -> None:
    key = Key(f"{PREFIX}#user#1", "profile")
    with _server(table) as call:

        def ours() -> None:
            assert call("get", {"pk": key.pk, "sk": key.sk})["structuredContent"]["found"]

        boto, own = _medians(500, lambda: _get_item(client, table, key), ours)
    verdict = "" if own - boto <= 0.0015 else "  (over 1.5 ms)"
    print("  get over stdio:")
    print(f"    {own * 1000:.2f} ms, boto3's call {boto * 1000:.2f} ms: {(own - boto) * 1000:.2f} ms more{verdict}")


def _get_item(client: Any, table: str, key: Key) -> Any:
    return client.get_item(TableName=table, Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}}, ConsistentRead=True)


def _medians(rounds: int, *sides: Callable[[], None]) -> list[float]:
    """Seconds that each side takes, by the median of interleaved rounds after one that does not count."""
    times: list[list[float]] = [[] for _ in sides]
    for side in sides:
        side()
    for _ in range(rounds):
        for side, taken in zip(sides, times, strict=True):
            begun = time.perf_counter()
            side()
            taken.append(time.perf_counter() - begun)
    return [median(taken) for taken in times]


def _fill(engine: Engine, client: Any) -> str:
    table = engine.create_table()
    keys = [f"deploy#other{at % 997}#user#{at}" for at in range(FOREIGN)]
    keys += [f"{PREFIX}#user#{at}" for at in range(OWN)]
    for start in range(0, len(keys), 25):
        requests = [
            {"PutRequest": {"Item": {"pk": {"S": pk}, "sk": {"S": "profile"}, "bio": {"S": "x" * 150}}}}
            for pk in keys[start : start + 25]
        ]
        client.batch_write_item(RequestItems={table: requests})
    return table


@contextmanager
def _delayed(endpoint: str) -> Iterator[str]:
    """A proxy before `endpoint` that holds back what comes from there for `DELAY` seconds."""
    upstream = urlsplit(endpoint)

    def pump(source: socket.socket, target: socket.socket, delay: float) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                time.sleep(delay)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((upstream.hostname, upstream.port))
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=pump, args=(near, far, 0), daemon=True).start()
                threading.Thread(target=pump, args=(far, near, DELAY), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def _server(table: str) -> Iterator[Callable[[str, dict[str, Any]], Any]]:
    """The server as a host starts it, and a function that calls one of its tools."""
    settings = {"DYNAMODB_TABLE": table, "DYNAMODB_PREFIX": PREFIX}
    command = [str(Path(sys.executable).with_name("ddb-mcp"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **settings}
    ) as server:
        asked = 0

        def ask(method: str, params: dict[str, Any]) -> Any:
            nonlocal asked
            asked += 1
            _send(server, {"jsonrpc": "2.0", "id": asked, "method": method, "params": params})
            assert server.stdout is not None
            while (answer := json.loads(server.stdout.readline())).get("id") != asked:
                pass
            return answer["result"]

        client = {"name": "benchmark", "version": "1"}
        ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
        _send(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield lambda tool, arguments: ask("tools/call", {"name": tool, "arguments": arguments})
        assert server.stdin is not None
        server.stdin.close()


def _send(server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert server.stdin is not None
    server.stdin.write(json.dumps(message).encode() + b"\n")
    server.stdin.flush()


if __name__ == "__main__":
    main()
