"""The stores that the contract suite runs against. A new one is one more entry in `BACKENDS`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ddb_mcp.core.errors import DdbMcpError, InvalidArgument
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import Store
from ddb_mcp.stores.local.store import LocalStore
from tests.direct.support import connected
from tests.gateway.running import running_gateway
from tests.support.engines import ENGINES, Engine


@dataclass
class Api:
    """One deployment's seven operations, called from a test."""

    portal: BlockingPortal
    service: DataService
    prefix: str

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        return self.portal.call(partial(self.service.call, operation, arguments))

    def start(self, operation: str, /, **arguments: Any) -> Future[dict[str, Any]]:
        return self.portal.start_task_soon(partial(self.service.call, operation, arguments))

    def fails(self, code: str, operation: str, /, **arguments: Any) -> DdbMcpError:
        with pytest.raises(DdbMcpError) as caught:
            self.call(operation, **arguments)
        assert caught.value.code == code, caught.value.message
        assert caught.value.message
        return caught.value

    def pk(self, suffix: str) -> str:
        return f"{self.prefix}#{suffix}"

    def put(self, suffix: str, sk: str, /, **attributes: Any) -> dict[str, Any]:
        return self.call("put", item={"pk": self.pk(suffix), "sk": sk, **attributes})

    def put_all(self, items: list[dict[str, Any]]) -> None:
        for start in range(0, len(items), 100):
            result = self.call("put", items=items[start : start + 100])
            assert result == {"written": len(items[start : start + 100]), "failed": []}

    def item(self, suffix: str, sk: str) -> dict[str, Any] | None:
        return self.call("get", pk=self.pk(suffix), sk=sk).get("item")

    def walk(self, operation: str, /, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Every page of a listing."""
        page = self.call(operation, **arguments)
        yield page
        while not page["complete"]:
            page = self.call(operation, **arguments, cursor=page["cursor"])
            yield page


class Backend:
    """One store, shared by the tests of a session; each test has a deployment of its own in it."""

    def __init__(self, name: str, portal: BlockingPortal, service: Callable[[Prefix], Store]) -> None:
        self.name = name
        self._portal = portal
        self._service = service

    def api(self, prefix: str | None = None, **options: Any) -> Api:
        prefix = prefix or f"deploy#{uuid.uuid4().hex[:12]}"
        return Api(self._portal, DataService(self._service(Prefix(prefix)), Prefix(prefix), **options), prefix)


def _local(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Callable[[Prefix], Store]:
    store = LocalStore(folder / "items.sqlite3", "contract")
    return lambda prefix: store


def _direct(
    engine: str,
) -> Callable[[ExitStack, pytest.FixtureRequest, Path], Callable[[Prefix], Store]]:
    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Callable[[Prefix], Store]:
        running: Engine = request.getfixturevalue(engine)
        portal: BlockingPortal = request.getfixturevalue("portal")
        table = running.create_table()
        # One client for all deployments, as a gateway has it: making one takes longer than most tests.
        shared = connected(portal, running.endpoint, table, "deploy#contract")
        return lambda prefix: shared

    return start


def _gateway(
    behind: Callable[[ExitStack, pytest.FixtureRequest, Path], Callable[[Prefix], Store]],
) -> Callable[[ExitStack, pytest.FixtureRequest, Path], Callable[[Prefix], Store]]:
    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Callable[[Prefix], Store]:
        shared = behind(stack, request, folder)(Prefix("deploy#gateway"))
        gateway = stack.enter_context(running_gateway(shared, folder))
        portal: BlockingPortal = request.getfixturevalue("portal")

        def client(prefix: Prefix) -> Store:
            try:
                store = gateway.store(prefix)
            except InvalidArgument:  # the gateway takes no overlapping prefixes; somebody else may use the table itself
                return shared
            stack.callback(portal.call, store.close)
            return store

        return client

    return start


BACKENDS: dict[str, Callable[[ExitStack, pytest.FixtureRequest, Path], Callable[[Prefix], Store]]] = {
    "local": _local,
    **{engine: _direct(engine) for engine in ENGINES},
    "gateway": _gateway(_local),
    "gateway-dynoxide": _gateway(_direct("dynoxide")),
}


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="session", params=BACKENDS)
def backend(
    request: pytest.FixtureRequest, portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    with ExitStack() as stack:
        store = BACKENDS[request.param](stack, request, tmp_path_factory.mktemp(request.param))
        yield Backend(request.param, portal, store)


@pytest.fixture
def api(backend: Backend) -> Api:
    """A fresh deployment, provisioned."""
    api = backend.api()
    api.call("provision")
    return api
