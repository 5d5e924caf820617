"""Gateways in this process, on free ports, and clients of them."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
from starlette.types import ASGIApp

from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway.access_log import log_request
from ddb_mcp.gateway.app import Gateway
from ddb_mcp.gateway.registry import Registry
from ddb_mcp.stores.base import Store
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.stores.platform.store import PlatformStore
from ddb_mcp.web.listening import listen
from ddb_mcp.web.serving import HttpServer
from tests.support.faults import FaultProxy

GENEROUS: dict[str, Any] = {"requests_per_second": 1_000_000, "items_per_second": 100_000_000}

_T = TypeVar("_T")


class RunningGateway:
    """Where the gateway is, and its registry as the command line would open it."""

    def __init__(self, url: str, registry: Callable[[], Store]) -> None:
        self.url = url
        self.registry_store = registry
        self._tokens: dict[str, str] = {}

    def token(self, prefix: str, **rates: Any) -> str:
        """The token of the deployment with this prefix, which is registered first if it is new."""
        if prefix not in self._tokens:
            name = f"tenant-{len(self._tokens)}"
            self._tokens[prefix] = self.registry(
                lambda registry: registry.add(name, Prefix(prefix), **(GENEROUS | rates))
            )
        return self._tokens[prefix]

    def read_only_token(self, prefix: str) -> str:
        """One more token of that deployment, read-only."""
        self.token(prefix)
        name = f"tenant-{list(self._tokens).index(prefix)}"
        return self.registry(lambda registry: registry.add_token(name, read_only=True))

    def registry(self, act: Callable[[Registry], Awaitable[_T]]) -> _T:
        """What an operator does to the registry."""
        return with_registry(self.registry_store, act)

    def settings(self, prefix: str) -> PlatformSettings:
        return PlatformSettings(api_url=self.url, auth_token=self.token(prefix))

    def store(self, prefix: Prefix) -> PlatformStore:
        """A client's store for the deployment with this prefix."""
        return PlatformStore(self.settings(prefix.text))


def with_registry(store: Callable[[], Store], act: Callable[[Registry], Awaitable[_T]]) -> _T:
    """What `act` returns, given a registry over a store of its own."""

    async def run() -> _T:
        registry = Registry(store())
        try:
            return await act(registry)
        finally:
            await registry.close()

    return anyio.run(run)


async def silent(message: str) -> None:
    """Progress that nobody wants to hear of."""


@contextmanager
def running_gateway(store: Store, folder: Path) -> Iterator[RunningGateway]:
    """The gateway over `store`, with its registry in a file."""

    def registry() -> Store:
        return LocalStore(folder / "registry.sqlite3", "gateway-table-gateway")

    with_registry(registry, lambda registry: registry.create_if_missing(silent))
    with served(lambda: Gateway(Registry(registry()), store)) as url:
        yield RunningGateway(url, registry)


class _RoundRobin(FaultProxy):
    """A proxy that gives each request to the next of several servers."""

    def __init__(self, *urls: str) -> None:
        self._turns = itertools.cycle([urlsplit(url).netloc for url in urls])
        super().__init__(urls[0])

    @property
    def upstream(self) -> str:
        return next(self._turns)

    @upstream.setter
    def upstream(self, first: str) -> None:
        """The proxy sets its one server, which is the first of these."""


@contextmanager
def running_gateways(store: Store, folder: Path) -> Iterator[RunningGateway]:
    """Two gateways that share a registry and take turns, request by request."""

    def registry() -> Store:
        return LocalStore(folder / "registry.sqlite3", "gateway-table-gateway")

    def gateway() -> Gateway:
        return Gateway(Registry(registry()), store)

    with_registry(registry, lambda registry: registry.create_if_missing(silent))
    with served(gateway) as one, served(gateway) as other, _RoundRobin(one, other) as proxy:
        yield RunningGateway(proxy.endpoint, registry)


@contextmanager
def served(make: Callable[[], ASGIApp]) -> Iterator[str]:
    """The address of a gateway that runs in a thread of its own, with the very class that `serve` uses."""
    with listen("127.0.0.1", 0) as listener, _serving(make, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def _serving(make: Callable[[], ASGIApp], listener: socket.socket) -> Iterator[None]:
    made: list[HttpServer] = []

    def serve() -> None:
        made.append(HttpServer(make(), listener, log=log_request))
        made[0].run()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        while thread.is_alive() and not (made and made[0].started):
            time.sleep(0.01)
        yield
    finally:
        if made:
            made[0].stop()
        thread.join()
