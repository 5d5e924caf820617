"""Conversions of a gateway's tenants: whose they are, and how many wait at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway.budgets import TenantBudget
from ddb_mcp.gateway.tenants import Tenant
from ddb_mcp.stores.workers import FairLock, current_account
from tests.gateway.conftest import post, request
from tests.gateway.running import RunningGateway

WIDE = {"m": {f"a{at}": None for at in range(20_000)}}


class Seen:
    """The turns that were taken: by owner, and the most that waited at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.owners: list[str] = []
        self.waiting = self.most = 0
        take = FairLock.hold

        @asynccontextmanager
        async def counted(lock: FairLock, owner: str) -> AsyncIterator[None]:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            async with take(lock, owner):
                self.waiting -= 1
                self.owners.append(owner)
                yield

        monkeypatch.setattr(FairLock, "hold", counted)


PK = "deploy#turns#a"
CALLS: list[tuple[str, dict[str, Any], int]] = [
    ("put", {"item": {"pk": PK, "sk": "1", **WIDE}}, 4),
    ("get", {"pk": PK, "sk": "1"}, 2),
    ("query", {"pk": PK}, 2),
    ("scan", {"view": "summary"}, 2),
]


@pytest.mark.parametrize("over_mcp", [False, True])
def test_every_conversion_is_its_tenants(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, over_mcp: bool
) -> None:
    """Bodies, arguments, items read from the file, and answers."""
    seen = Seen(monkeypatch)
    token = gateway.token("deploy#turns")
    access = gateway.registry(lambda registry: registry.authenticate(token))
    assert access is not None
    for tool, arguments, least in CALLS:
        seen.owners.clear()
        if over_mcp:
            params = {"name": tool, "arguments": arguments}
            message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            answer = request(gateway.url, "POST", "/mcp", message, headers)
            assert not answer.document["result"]["isError"]
        else:
            answer = post(gateway.url, tool, arguments, authorization=f"Bearer {token}")
        assert answer.status == 200
        assert len(seen.owners) >= least
        assert set(seen.owners) == {access.tenant.name}


@pytest.mark.anyio
async def test_of_a_tenants_bodies_one_at_a_time_waits_to_be_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch)
    budget = TenantBudget(Tenant("a", Prefix("deploy#a"), "active", "", 0), 1)
    current_account.set(budget.account)
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(budget.parse, len, bytes(limits.LOOP_BYTES))
    assert seen.owners == ["a"] * 100
    assert seen.most == 1
