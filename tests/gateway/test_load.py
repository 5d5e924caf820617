"""Many clients at once, and a gateway that is killed under them: what was acknowledged is there."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from ddb_mcp.stores.platform import api
from tests.gateway.load import TENANTS, Load, Writers, add_rated, add_tenants
from tests.gateway.process import GatewayProcess, Operator
from tests.support.waiting import wait_until

pytestmark = pytest.mark.extended


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
        load = Load([killed.url, left.url], tokens)

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
        assert {entry["tenant"] for entry in left.requests()} == {f"t{at}" for at in range(TENANTS)}


def test_a_kill_under_load_loses_nothing_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PLATFORM_BACKOFF_SECONDS", 0.02)  # so that clients meet the gap rather than wait it out
    operator = Operator(tmp_path)
    token = add_rated(operator)

    async def until(enough: Callable[..., bool]) -> None:
        await anyio.to_thread.run_sync(wait_until, enough)

    async def attempt(first: GatewayProcess) -> None:
        load = Writers(first.url, token, 16)
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
