"""The stores that the contract suite runs against. A new one is one more entry in `BACKENDS`.

`make test` has one backend for each way that a call takes: SQLite, DynamoDB's protocol, a platform's, MCP over HTTP.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from jsonschema import Draft202012Validator
from mcp import Client

from ddb_mcp.core.errors import DdbMcpError, InvalidArgument
from ddb_mcp.core.keys import Prefix
from ddb_mcp.server.app import build_server
from ddb_mcp.server.content import MARK_BYTES
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import Store
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.stores.platform.store import PlatformStore
from tests.direct.support import connected
from tests.gateway.running import running_gateway, running_gateways
from tests.support.engines import ENGINES, Engine
from tests.support.through_mcp import OverMcp
from tests.support.through_mcp import connected as client_of


@dataclass
class Api:
    """One deployment's seven operations, called from a test."""

    portal: BlockingPortal
    service: DataService | OverMcp
    prefix: str

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        return self.portal.call(partial(self.service.run_operation, operation, arguments))

    def start(self, operation: str, /, **arguments: Any) -> Future[dict[str, Any]]:
        return self.portal.start_task_soon(partial(self.service.run_operation, operation, arguments))

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


def normal(value: Any) -> Any:
    """Sets have no order."""
    if isinstance(value, dict):
        if len(value) == 1 and (name := next(iter(value))) in ("SS", "NS", "BS"):
            return {name: sorted(value[name])}
        return {name: normal(entry) for name, entry in value.items()}
    return [normal(entry) for entry in value] if isinstance(value, list) else value


class Backend:
    """One store, shared by the tests of a session; each test has a deployment of its own in it."""

    def __init__(self, name: str, portal: BlockingPortal, connect: Connect) -> None:
        self.name = name
        self._portal = portal
        self._connect = connect

    def api(self, prefix: str | None = None, **options: Any) -> Api:
        prefix = prefix or f"deploy#{uuid.uuid4().hex[:12]}"
        return Api(self._portal, self._connect(Prefix(prefix), options), prefix)


Connect = Callable[[Prefix, dict[str, Any]], DataService | OverMcp]
"""Makes what answers a deployment's calls, with these options of `DataService`."""
Stores = Callable[[ExitStack, pytest.FixtureRequest, Path], Callable[[Prefix], Store]]


def _service(stores: Stores) -> Callable[[ExitStack, pytest.FixtureRequest, Path], Connect]:
    """The service over these stores, called straight."""

    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Connect:
        store_of = stores(stack, request, folder)
        return lambda prefix, options: DataService(store_of(prefix), prefix, **options)

    return start


def _local(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Callable[[Prefix], Store]:
    store = LocalStore(folder / "items.sqlite3", "contract")
    portal: BlockingPortal = request.getfixturevalue("portal")
    stack.callback(portal.call, store.close)
    return lambda prefix: store


def _direct(engine: str) -> Stores:
    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Callable[[Prefix], Store]:
        running: Engine = request.getfixturevalue(engine)
        portal: BlockingPortal = request.getfixturevalue("portal")
        table = running.create_table()
        # One client for all deployments, as a gateway has it: making one takes longer than most tests.
        shared = connected(portal, running.endpoint, table, "deploy#contract")
        return lambda prefix: shared

    return start


def _gateway(behind: Stores) -> Stores:
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


def _gateways(behind: Stores) -> Callable[[ExitStack, pytest.FixtureRequest, Path], Connect]:
    """The official client, an MCP server in platform mode, and two gateways that answer in turn."""

    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Connect:
        shared = behind(stack, request, folder)(Prefix("deploy#gateway"))
        portal: BlockingPortal = request.getfixturevalue("portal")
        gateway = stack.enter_context(running_gateways(shared, folder))

        def connect(prefix: Prefix, options: dict[str, Any]) -> DataService | OverMcp:
            try:
                settings = replace(
                    gateway.settings(prefix.text),
                    max_result_bytes=options.get("max_result_bytes", 32768) + MARK_BYTES,
                    read_only=options.get("read_only", False),
                )
            except InvalidArgument:  # see `_gateway`
                return DataService(shared, prefix, **options)
            server = build_server(DataService(PlatformStore(settings), None, **options), settings)
            return OverMcp(stack.enter_context(portal.wrap_async_context_manager(Client(server))))

        return connect

    return start


def _mcp(behind: Stores) -> Callable[[ExitStack, pytest.FixtureRequest, Path], Connect]:
    """The official client and a gateway, over MCP all the way."""

    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Connect:
        shared = behind(stack, request, folder)(Prefix("deploy#gateway"))
        portal: BlockingPortal = request.getfixturevalue("portal")
        gateway = stack.enter_context(running_gateway(shared, folder))

        def connect(prefix: Prefix, options: dict[str, Any]) -> DataService | OverMcp:
            if options.keys() - {"read_only"}:
                pytest.skip("a gateway has budgets of its own")
            try:
                token = gateway.token(prefix.text)
            except InvalidArgument:  # see `_gateway`
                return DataService(shared, prefix, **options)
            query = "?read_only=true" if options.get("read_only") else ""

            async def by_hand(message: dict[str, Any]) -> dict[str, Any]:
                headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
                async with httpx2.AsyncClient(headers=headers, timeout=300, verify=False) as http:
                    content, media = json.dumps(message), {"Content-Type": "application/json"}
                    answer: dict[str, Any] = (
                        await http.post(f"{gateway.url}/mcp{query}", content=content, headers=media)
                    ).json()
                    return answer

            return OverMcp(
                stack.enter_context(portal.wrap_async_context_manager(client_of(gateway.url, token, query))), by_hand
            )

        return connect

    return start


BACKENDS: dict[str, Callable[[ExitStack, pytest.FixtureRequest, Path], Connect]] = {
    "local": _service(_local),
    **{engine: _service(_direct(engine)) for engine in ENGINES},
    "gateway": _service(_gateway(_local)),
    "mcp-gateways-dynoxide": _gateways(_direct("dynoxide")),
    "mcp": _mcp(_local),
}
_EVERY_TIME = ("local", "dynoxide", "gateway", "mcp")
_PARAMETERS = [name if name in _EVERY_TIME else pytest.param(name, marks=pytest.mark.extended) for name in BACKENDS]


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="session", autouse=True)
def schemas_checked_once() -> Iterator[None]:
    """The client of each test finds the same schemas of the tools to be valid, which takes longer than a call."""
    check, checked = Draft202012Validator.check_schema, set[str]()

    def check_once(schema: Any, *given: Any, **named: Any) -> None:
        text = json.dumps(schema, sort_keys=True)
        if text not in checked:
            check(schema, *given, **named)
            checked.add(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft202012Validator, "check_schema", check_once)
        yield


@pytest.fixture(scope="session", params=_PARAMETERS)
def backend(
    request: pytest.FixtureRequest, portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    with ExitStack() as stack:
        connect = BACKENDS[request.param](stack, request, tmp_path_factory.mktemp(request.param))
        yield Backend(request.param, portal, connect)


@pytest.fixture
def api(backend: Backend) -> Api:
    """A fresh deployment, provisioned."""
    api = backend.api()
    api.call("provision")
    return api
