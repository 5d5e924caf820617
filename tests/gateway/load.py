"""Many clients of many tenants over both faces of several gateways, in bare HTTP so that the load costs little itself.

Every client knows what it has stored. Every stored item carries its tenant's mark, and every answer is searched for the
marks of others.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio

from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway.registry import Registry
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.stores.platform.store import PlatformStore
from tests.gateway.process import Operator
from tests.gateway.running import GENEROUS, silent, with_registry

CLIENTS, TENANTS = 64, 16
_MARK = re.compile(rb"mark-(\w+)-")
_PK = "deploy#alpha#load"
_LENGTH = re.compile(rb"content-length: (\d+)", re.I)


def add_tenants(operator: Operator) -> list[str]:
    """Deployments `t0` to `t15` without a narrow limit, and their tokens."""
    path = operator.folder / "items-gateway.sqlite3"

    async def add(registry: Registry) -> list[str]:
        await registry.create_if_missing(silent)
        return [await registry.add(f"t{at}", Prefix(f"deploy#t{at}"), **GENEROUS) for at in range(TENANTS)]

    return with_registry(lambda: LocalStore(path, "ddb-mcp-local-gateway", registry=True), add)


def headers(token: str) -> str:
    """The lines of a request's head that a tenant's clients send."""
    return f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nAccept: application/json\r\n"


class Connection:
    """HTTP/1.1 with one gateway."""

    def __init__(self, url: str) -> None:
        self._at = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, headers: str, body: bytes) -> tuple[int, bytes]:
        """Status and body. Raises OSError or EOFError where the gateway is gone."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._at.hostname, self._at.port)
            reader, writer = self._streams
            head = f"POST {path} HTTP/1.1\r\nHost: {self._at.netloc}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(answer)
            assert found, answer
            return int(answer[9:12]), await reader.readexactly(int(found[1]))
        except (OSError, EOFError):
            await self.close()
            raise

    async def close(self) -> None:
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@dataclass
class Load:
    """The clients and what they have seen.

    Attributes:
        urls: the gateways, which each client asks in turn.
        tokens: of the tenants `t0`, `t1`, …
        writes: whether clients write too. Without, they only read.
        acknowledged: the last value of each key whose write was acknowledged.
        begun: the last value of each key whose write was begun.
        answers: how many there were of each status; `by_client`, how many each client had.
        answered: set with each answer.
        lost: requests that a gateway did not answer.
        foreign: marks of others in an answer.
    """

    urls: Sequence[str]
    tokens: Sequence[str]
    writes: bool = True
    acknowledged: dict[tuple[int, str], int] = field(default_factory=dict)
    begun: dict[tuple[int, str], int] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    by_client: Counter[int] = field(default_factory=Counter)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    lost: int = 0
    foreign: list[bytes] = field(default_factory=list)
    stop: bool = False

    async def run(self, conduct: Callable[[], Awaitable[None]]) -> None:
        """Have all clients ask while `conduct` runs."""
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(_Client(self, number).run())
            await conduct()
            self.stop = True

    async def everybody(self, answers: int) -> None:
        """Return when each client has had so many further answers."""
        before = self.by_client.copy()
        while not all(self.by_client[at] >= before[at] + answers for at in range(CLIENTS)):
            self.answered.clear()
            await self.answered.wait()

    async def check(self) -> None:
        """Every acknowledged write is there, in the partition of its own client."""
        for number in range(CLIENTS):
            stored = await _Client(self, number).stored()
            for (of, sk), value in self.acknowledged.items():
                # One that was not acknowledged may have been done.
                assert of != number or value <= stored[sk] <= self.begun[of, sk], (number, sk)
        assert not self.foreign


class _Client:
    """A client of one tenant, over the HTTP API or over MCP."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._number = number
        self._tenant = number % TENANTS
        self._mcp = number // TENANTS % 2 == 1
        self._pk = f"deploy#t{self._tenant}#client#{number}"
        self._headers = headers(load.tokens[self._tenant])
        self._connections = itertools.cycle([Connection(url) for url in load.urls])

    async def run(self) -> None:
        at = 0
        async with self._connected():
            while not self._load.stop:
                sk, at = f"{at % 20:02}", at + 1
                if self._load.writes:
                    await self._write(sk, at)
                await self._read(sk)

    async def stored(self) -> dict[str, int]:
        async with self._connected():
            answer = await self._call("query", {"pk": self._pk, "attributes": ["n"]})
        return {item["sk"]: item["n"] for item in answer["items"]}

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for connection in itertools.islice(self._connections, len(self._load.urls)):
                await connection.close()

    async def _write(self, sk: str, value: int) -> None:
        key, load = (self._number, sk), self._load
        load.begun[key] = value
        item = {"pk": self._pk, "sk": sk, "n": value, "text": f"mark-t{self._tenant}-" * 20}
        await self._call("put", {"item": item})
        load.acknowledged[key] = value

    async def _read(self, sk: str) -> None:
        found = await self._call("get", {"pk": self._pk, "sk": sk})
        if self._load.writes:
            assert found["item"]["n"] == self._load.acknowledged[self._number, sk], found
        await self._call("query", {"pk": self._pk, "limit": 10})
        await self._call("scan", {"limit": 10})

    async def _call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The result, from the gateway whose turn it is or, where it is gone, from the next."""
        body: dict[str, Any] = arguments
        path = f"/api/data/dynamodb/{operation}"
        if self._mcp:
            path, params = "/mcp", {"name": operation, "arguments": arguments}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        for connection in itertools.islice(self._connections, len(self._load.urls)):
            with suppress(OSError, EOFError):
                answer = await connection.post(path, self._headers, json.dumps(body).encode())
                return self._checked(*answer)
            self._load.lost += 1
        raise AssertionError("no gateway is left")

    def _checked(self, status: int, content: bytes) -> dict[str, Any]:
        load = self._load
        load.answers[status] += 1
        load.by_client[self._number] += 1
        load.answered.set()
        load.foreign += [mark for mark in _MARK.findall(content) if mark != f"t{self._tenant}".encode()]
        assert status == 200, content
        document: dict[str, Any] = json.loads(content)
        if not self._mcp:
            return document
        result: dict[str, Any] = document["result"]["structuredContent"]
        return result


def add_rated(operator: Operator) -> str:
    """A deployment `alpha` without a narrow limit, and its token."""
    return operator.deployments("add", "alpha", "--requests-per-second", "100000", "--items-per-second", "10000000")


class Writers:
    """Clients that write, read back and count; `acknowledged` maps each key that was ever acknowledged to its value."""

    def __init__(self, url: str, token: str, clients: int) -> None:
        self._settings = PlatformSettings(api_url=url, auth_token=token)
        self._clients = clients
        self.acknowledged: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.stop = False

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            for number in range(self._clients):
                group.start_soon(self._client, number)

    async def _client(self, number: int) -> None:
        store = PlatformStore(self._settings)
        service = DataService(store, None)
        at = 0
        while not self.stop:
            at += 1
            sk = f"{number}-{at % 20}"
            try:
                await service.run_operation("put", {"item": {"pk": _PK, "sk": sk, "n": at, "text": "x" * 200}})
                self.acknowledged[sk] = at
                self.calls["put"] += 1
                found = await service.run_operation("get", {"pk": _PK, "sk": sk})
                assert found["item"]["n"] == at
                await service.run_operation("query", {"pk": _PK, "sk_prefix": f"{number}-", "limit": 10})
                self.calls["read"] += 2
            except DdbMcpError as error:
                self.calls[error.code] += 1
        await store.close()

    async def stored(self) -> dict[str, int]:
        store = PlatformStore(self._settings)
        service = DataService(store, None)
        found: dict[str, int] = {}
        arguments: dict[str, Any] = {"pk": _PK, "limit": 1000}
        while True:
            page = await service.run_operation("query", arguments)
            found |= {item["sk"]: item["n"] for item in page["items"]}
            if page["complete"]:
                await store.close()
                return found
            arguments["cursor"] = page["cursor"]
