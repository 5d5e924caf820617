"""A documented platform for each test, and a service over a client of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ddb_mcp.config.resolve import resolve_settings
from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.platform.store import PlatformStore
from tests.platform.documented import TOKEN, DocumentedPlatform


class Client:
    """A service in platform mode, called from a test."""

    def __init__(self, portal: BlockingPortal, environment: dict[str, str], **limits: float) -> None:
        settings = resolve_settings(environment)
        assert isinstance(settings, PlatformSettings)
        self._portal = portal
        self.store = PlatformStore(settings, **limits)
        self.service = DataService(self.store, None)

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        return self._portal.call(self.service.run_operation, operation, arguments)

    def fails(self, code: str, operation: str, /, **arguments: Any) -> DdbMcpError:
        with pytest.raises(DdbMcpError) as caught:
            self.call(operation, **arguments)
        assert caught.value.code == code, f"{caught.value.code}: {caught.value.message}"
        return caught.value


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def platform() -> Iterator[DocumentedPlatform]:
    with DocumentedPlatform() as platform:
        yield platform


@pytest.fixture
def connect(portal: BlockingPortal) -> Iterator[Callable[..., Client]]:
    """Makes clients: `connect(url)`, or with an environment of its own; limits as `PlatformStore` takes them."""
    clients: list[Client] = []

    def connect(url: str | None = None, environment: dict[str, str] | None = None, **limits: float) -> Client:
        if environment is None:
            environment = {"DDB_MCP_API_URL": url or "", "DDB_MCP_AUTH_TOKEN": TOKEN}
        limits = {"call_seconds": 300, **limits}  # a slow machine makes all its attempts
        clients.append(Client(portal, environment, **limits))
        return clients[-1]

    yield connect
    for client in clients:
        portal.call(client.store.close)


@pytest.fixture
def client(platform: DocumentedPlatform, connect: Callable[..., Client]) -> Client:
    return connect(platform.url)
