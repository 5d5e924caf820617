"""A server over HTTP, a gateway, and Node with the packages of the hosts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from ddb_mcp.gateway.app import Gateway
from ddb_mcp.gateway.registry import Registry
from ddb_mcp.stores.local.store import LocalStore
from tests.gateway.running import RunningGateway, running_gateway, served
from tests.protocol.wire import DDB_MCP, listening
from tests.support.engines import CONFORMANCE_MODULES, NODE, environment, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    Node = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Runs Node in a folder where the hosts' packages are found, with a home of its own."""
    require("node", "conformance")
    folder: Path = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(CONFORMANCE_MODULES)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        settings = environment(HOME=str(folder))
        return subprocess.run([NODE, *arguments], cwd=folder, env=settings, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server over HTTP, in local mode."""
    path = tmp_path_factory.mktemp("data") / "data.sqlite"
    with listening((*DDB_MCP, "--http", "127.0.0.1:0"), DDB_MCP_LOCAL_PATH=str(path)) as (url, _):
        yield url


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway over local storage."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    with running_gateway(LocalStore(folder / "items.sqlite3", "gateway-table"), folder) as gateway:
        yield gateway


class _Authorized:
    """An application whose requests all carry a token, for clients that send no headers."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._header = b"authorization", f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], self._header]}
        await self._app(scope, receive, send)


@pytest.fixture(scope="session")
def open_gateway_url(gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MCP at a gateway of the same deployments, to which each request comes with the token of one."""
    token = gateway.token("deploy#local")
    items: Path = tmp_path_factory.mktemp("gateway") / "items.sqlite3"

    def make() -> ASGIApp:
        return _Authorized(Gateway(Registry(gateway.registry_store()), LocalStore(items, "gateway-table")), token)

    with served(make) as url:
        yield f"{url}/mcp"
