"""A gateway in this process, on a free port, and clients of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddb_mcp.config import PlatformSettings
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway.app import Gateway
from ddb_mcp.gateway.deployments import Registry
from ddb_mcp.server.serving import HttpServer
from ddb_mcp.server.sockets import listen
from ddb_mcp.stores.base import Store
from ddb_mcp.stores.platform.store import PlatformStore

GENEROUS = {"requests_per_second": 1_000_000, "items_per_second": 100_000_000}


class RunningGateway:
    """Where the gateway is, and its registry as the command line would open it."""

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self._path = path
        self._tokens: dict[str, str] = {}

    def token(self, prefix: str, **rates: int) -> str:
        """The token of the deployment with this prefix, which is registered first if it is new."""
        if prefix not in self._tokens:
            registry = Registry(self._path, "tests")
            name = f"tenant-{len(registry.list())}"
            self._tokens[prefix] = registry.add(name, Prefix(prefix), **(GENEROUS | rates))
            registry.close()
        return self._tokens[prefix]

    def settings(self, prefix: str) -> PlatformSettings:
        return PlatformSettings(api_url=self.url, auth_token=self.token(prefix))

    def store(self, prefix: Prefix) -> PlatformStore:
        """A client's store for the deployment with this prefix."""
        return PlatformStore(self.settings(prefix.text))


@contextmanager
def running_gateway(store: Store, folder: Path) -> Iterator[RunningGateway]:
    """The gateway over `store`, served from a thread by the very class that `serve` uses."""
    path = folder / "registry.sqlite3"
    Registry(path, "tests").close()
    with listen("127.0.0.1", 0) as listener:
        made: list[HttpServer] = []

        def serve() -> None:
            # SQLite connections stay in the thread that opened them.
            made.append(HttpServer(Gateway(Registry(path, "tests"), store).app(), listener))
            made[0].run()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            while thread.is_alive() and not (made and made[0].started):
                time.sleep(0.01)
            yield RunningGateway(f"http://127.0.0.1:{listener.getsockname()[1]}", path)
        finally:
            if made:
                made[0].stop()
            thread.join()
