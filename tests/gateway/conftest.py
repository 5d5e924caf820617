"""One gateway over SQLite for the tests of a module."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ddb_mcp.gateway import budgets
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.stores.platform.store import PlatformStore
from tests.gateway.running import RunningGateway, running_gateway

PATH = "/api/data/dynamodb/"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    document: Any


def post(url: str, operation: str, body: Any, *, authorization: str | None = None) -> Answer:
    """One request, its body as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if authorization is None else {"Authorization": authorization}
    return request(url, "POST", PATH + operation, content, headers)


def request(url: str, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> Answer:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=300)
    try:
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, json.loads(response.read()))
    finally:
        connection.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(LocalStore(folder / "items.sqlite3", "gateway-table"), folder) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


class Client:
    """A service in platform mode, called from a test."""

    def __init__(self, portal: BlockingPortal, store: PlatformStore) -> None:
        self.portal = portal
        self.store = store
        self.service = DataService(store, None)

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        return self.portal.call(self.service.run_operation, operation, arguments)


@pytest.fixture
def connect(portal: BlockingPortal) -> Iterator[Callable[[PlatformStore], Client]]:
    clients: list[Client] = []

    def connect(store: PlatformStore) -> Client:
        clients.append(Client(portal, store))
        return clients[-1]

    yield connect
    for client in clients:
        portal.call(client.store.close)


class Clock:
    """The clock of all budgets in this process. It stands still but for what a test adds to `now`."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return time.thread_time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(budgets, "time", clock)
    return clock
