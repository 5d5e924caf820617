"""Many clients at once, and a gateway that is killed under them: what was acknowledged is there."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.platform.store import PlatformStore
from tests.gateway.load import TENANTS, add_tenants
from tests.gateway.load import Load as TenantLoad
from tests.gateway.process import GatewayProcess, Operator

PK = "deploy#alpha#load"


class Load:
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
                await service.call("put", {"item": {"pk": PK, "sk": sk, "n": at, "text": "x" * 200}})
                self.acknowledged[sk] = at
                self.calls["put"] += 1
                found = await service.call("get", {"pk": PK, "sk": sk})
                assert found["item"]["n"] == at
                await service.call("query", {"pk": PK, "sk_prefix": f"{number}-", "limit": 10})
                self.calls["read"] += 2
            except DdbMcpError as error:
                self.calls[error.code] += 1
        await store.close()

    async def stored(self) -> dict[str, int]:
        store = PlatformStore(self._settings)
        service = DataService(store, None)
        found: dict[str, int] = {}
        arguments: dict[str, Any] = {"pk": PK, "limit": 1000}
        while True:
            page = await service.call("query", arguments)
            found |= {item["sk"]: item["n"] for item in page["items"]}
            if page["complete"]:
                await store.close()
                return found
            arguments["cursor"] = page["cursor"]


def rated(operator: Operator) -> str:
    return operator.deployments("add", "alpha", "--requests-per-second", "100000", "--items-per-second", "10000000")


def unused_port() -> int:
    """A port that stays unused while no process listens on it: none that a system gives to connections."""
    for port in random.sample(range(10_000, 30_000), 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is unused")


def test_64_clients_of_16_tenants_go_on_where_one_of_two_gateways_is_killed(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    tokens = add_tenants(operator)
    with operator.serve() as killed, operator.serve() as left:
        load = TenantLoad([killed.url, left.url], tokens)

        async def conduct() -> None:
            await load.everybody(12)
            await anyio.to_thread.run_sync(killed.kill)
            await load.everybody(12)

        async def attempt() -> None:
            await load.run(conduct)
            await load.check()

        anyio.run(attempt)
        assert load.lost > 0
        assert load.answers.keys() == {200}
        assert {entry["status"] for entry in left.requests()} == {200}
        assert {entry["deployment"] for entry in left.requests()} == {f"t{at}" for at in range(TENANTS)}


def test_a_kill_under_load_loses_nothing_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        limits, "PLATFORM_BACKOFF_SECONDS", 0.02
    )  # so that clients meet the gap rather than wait it out
    operator = Operator(tmp_path)
    token = rated(operator)

    async def until(enough: Any) -> None:
        deadline = time.monotonic() + 300
        while not enough():
            assert time.monotonic() < deadline
            await anyio.sleep(0.05)

    async def attempt(first: GatewayProcess) -> None:
        load = Load(first.url, token, 16)
        async with anyio.create_task_group() as group:
            group.start_soon(load.run)
            for _ in range(3):
                before = load.calls["put"]
                await until(lambda before=before: load.calls["put"] > before + 50)
                failed = load.calls["unavailable"]
                running[-1].kill()
                await until(lambda failed=failed: load.calls["unavailable"] > failed)
                again = operator.serve(port=first.port)
                await anyio.to_thread.run_sync(again.__enter__)
                running.append(again)
            before = load.calls["put"]
            await until(lambda before=before: load.calls["put"] > before + 50)
            load.stop = True
        stored = await load.stored()
        # A write that was not acknowledged may have been done, and then a later one of the same client took its place.
        assert stored.keys() >= load.acknowledged.keys()
        assert all(stored[sk] >= value for sk, value in load.acknowledged.items())
        assert load.calls.keys() - {"outcome_unknown"} == {"put", "read", "unavailable"}

    running = [operator.serve(port=unused_port()).__enter__()]
    try:
        anyio.run(attempt, running[0])
    finally:
        for gateway in running:
            gateway.__exit__()
