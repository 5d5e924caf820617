"""Kill -9, and several processes on one file: what was acknowledged is there, and no half of a transaction.

Run as `python -m tests.endpoint.test_durable NAME ENDPOINT` it is an app: it writes through an endpoint, and prints the
sort keys of each write that was acknowledged, as a line of JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import anyio
import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from mcp.shared.exceptions import MCPError

from ddb_mcp.core.keys import Key
from ddb_mcp.stores.local.store import LocalStore
from tests.endpoint.support import PREFIX, address, serving, start
from tests.stdio.server import Server
from tests.support.engines import client_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PK = f"{PREFIX}#kill"
PARTS = "abc"
STATE = ("state-a", "state-b")  # every transaction writes both
SETTINGS = {"DDB_MCP_MODE": "local", "DYNAMODB_TABLE": "items", "DYNAMODB_PREFIX": PREFIX}
KILLS = (
    ("endpoint-1", "tools-1", "app", "tools-2", "endpoint-2"),
    ("app", "tools-2", "endpoint-2", "endpoint-1", "tools-1"),
)


def item(sk: str, text: str | None = None) -> dict[str, Any]:
    """The item that a write stores under this sort key: of a few bytes or of some pages."""
    return {"pk": PK, "sk": sk, "text": sk * (zlib.crc32(sk.encode()) % 800) if text is None else text}


def typed(plain: dict[str, str]) -> dict[str, Any]:
    return {name: {"S": text} for name, text in plain.items()}


def by_sdk(name: str, endpoint: str) -> Iterator[list[str]]:
    """Put single items, and several in transactions, until the endpoint is gone; the sort keys of each write."""
    client: Any = boto3.client("dynamodb", endpoint_url=endpoint, **client_options())
    for at in itertools.count():
        new = [item(f"{name}-{at:05}-{part}") for part in (PARTS if at % 2 else PARTS[0])]
        puts = [
            {"Put": {"TableName": "items", "Item": typed(each)}}
            for each in [*new, *(item(sk, new[0]["sk"]) for sk in STATE)]
        ]
        try:
            if len(new) > 1:
                client.transact_write_items(TransactItems=puts)
            else:
                client.put_item(**puts[0]["Put"])
        except BotoCoreError:
            return
        except ClientError as error:  # the others had the file's lock for too long: nothing was promised
            if error.response["Error"]["Code"] != "ThrottlingException":
                raise
        else:
            yield [each["sk"] for each in new]


def by_tools(name: str, server: Server) -> Iterator[list[str]]:
    """Put single items and batches until the server is gone; the sort keys of each call."""
    for at in itertools.count():
        new = [item(f"{name}-{at:05}-{part}") for part in range(10 if at % 2 else 1)]
        try:
            answer = server.call("put", **({"items": new} if len(new) > 1 else {"item": new[0]}))
        except MCPError:
            return
        if answer.is_error:
            assert answer.error["retryable"], answer.body
        elif not answer.body.get("failed"):
            yield [each["sk"] for each in new]


class Writers:
    """Processes that write to one file: two endpoints, two servers with the tools, and an app on an endpoint."""

    def __init__(self, file: Path, turn: int, stack: ExitStack) -> None:
        self.acknowledged: dict[str, list[str]] = {}
        self._pids: dict[str, int] = {}
        self._threads = stack.enter_context(ThreadPoolExecutor(5))
        self._running = {}
        writes: dict[str, Iterator[list[str]]] = {}
        for at in (1, 2):
            server = stack.enter_context(Server(file, **SETTINGS))
            writes[f"tools-{at}"], self._pids[f"tools-{at}"] = by_tools(f"{turn}-tools-{at}", server), server.pid
            server.result("provision")
        for at in (1, 2):
            endpoint = self._begun(f"endpoint-{at}", start(file, **SETTINGS), stack)
            where = address(endpoint)
            writes[f"endpoint-{at}"] = by_sdk(f"{turn}-endpoint-{at}", where)
        command = [sys.executable, "-m", __name__, f"{turn}-app", where]
        app = self._begun("app", subprocess.Popen(command, stdout=subprocess.PIPE, text=True), stack)
        assert app.stdout
        writes["app"] = map(json.loads, app.stdout)
        for name, acknowledged in writes.items():
            self.acknowledged[name] = []
            self._running[name] = self._threads.submit(self._keep, name, acknowledged)

    def _begun(self, name: str, process: subprocess.Popen[str], stack: ExitStack) -> subprocess.Popen[str]:
        stack.enter_context(process)
        stack.callback(process.kill)
        self._pids[name] = process.pid
        return process

    def _keep(self, name: str, acknowledged: Iterator[list[str]]) -> None:
        for sks in acknowledged:
            self.acknowledged[name] += sks

    def kill(self, name: str, meanwhile: Callable[[], None]) -> None:
        """Kill one that writes, once all that are left have written something since the last was killed."""
        before = {each: len(self.acknowledged[each]) for each in self._running}
        while any(len(self.acknowledged[each]) < count + 4 for each, count in before.items()):
            meanwhile()
            for each, running in self._running.items():
                assert not running.done(), f"{each} has ended: {running.exception()}"
        os.kill(self._pids[name], signal.SIGKILL)
        self._running.pop(name).result()


@pytest.mark.parametrize("turns", [1, pytest.param(2, marks=pytest.mark.extended)])
def test_kill_9_in_turn_loses_nothing_and_halves_nothing(tmp_path: Path, turns: int) -> None:
    file = tmp_path / "items.sqlite3"
    chance = random.Random(7)
    acknowledged: set[str] = set()
    store = LocalStore(file, "items")

    def look() -> None:
        """Read what transactions write, in a process of its own."""
        one, other = anyio.run(store.items, [Key(PK, sk) for sk in STATE], lambda stored: list(stored.values()))
        assert one is None or one["text"] == (other or {})["text"]
        time.sleep(chance.uniform(0, 0.01))

    for turn, kills in enumerate(KILLS[:turns]):
        with ExitStack() as stack:
            writers = Writers(file, turn, stack)
            for name in kills:
                writers.kill(name, look)
        for sks in writers.acknowledged.values():
            acknowledged |= set(sks)
        assert acknowledged <= stored(file)
    anyio.run(store.close)


def stored(file: Path) -> set[str]:
    """The sort keys that a new process finds, each with the whole of its item, and of its transaction."""
    with serving(file, **SETTINGS) as engine:
        pages = engine.client().get_paginator("scan").paginate(TableName="items")
        found: dict[str, Any] = {each["sk"]["S"]: each for page in pages for each in page["Items"]}
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    one, other = (found.pop(sk)["text"] for sk in STATE)
    assert one == other
    for sk, each in found.items():
        assert each == typed(item(sk))
        of, at, _ = sk.rsplit("-", 2)
        if "tools" not in of and int(at) % 2:
            assert {f"{of}-{at}-{part}" for part in PARTS} <= found.keys()
    return set(found)


if __name__ == "__main__":
    for written in by_sdk(*sys.argv[1:]):
        sys.stdout.write(json.dumps(written) + "\n")
        sys.stdout.flush()
