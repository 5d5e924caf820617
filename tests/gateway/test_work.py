"""What long work costs a tenant."""

from __future__ import annotations

import time

import anyio
import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway import budgets
from ddb_mcp.gateway.budgets import BudgetSpent, TenantBudget
from ddb_mcp.gateway.tenants import Tenant
from ddb_mcp.stores.workers import current_account


def busy(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.anyio
async def test_a_tenant_that_makes_others_wait_has_one_call_at_a_time_and_then_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budgets, "TENANT_WORK_PER_SECOND", 0.001)
    budget = TenantBudget(Tenant("a", Prefix("deploy#a"), "active", "claim", 0), 1)
    at_once = most = 0

    async def call() -> None:
        nonlocal at_once, most
        async with budget.turn():
            at_once += 1
            most = max(most, at_once)
            await anyio.sleep(0.01)
            at_once -= 1

    async def four() -> int:
        nonlocal most
        most = 0
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(call)
        return most

    assert await four() == 4
    budget.work.take(budgets.TENANT_WORK_BURST * 0.6)
    assert await four() == 1
    budget.admit()
    current_account.set(budget.account)
    budget.work.take(budgets.TENANT_WORK_BURST * 0.4 - 0.01)
    budget.admit()
    await budget.parse(lambda body: busy(0.05), bytes(limits.LOOP_BYTES))
    with pytest.raises(BudgetSpent, match="work"):
        budget.admit()


@pytest.mark.anyio
async def test_who_waited_for_a_turn_is_refused_where_the_work_is_spent_meanwhile() -> None:
    budget = TenantBudget(Tenant("a", Prefix("deploy#a"), "active", "", 0), 1)
    budget.admit()
    budget.work.take(budgets.TENANT_WORK_BURST + 1)
    with pytest.raises(BudgetSpent):
        async with budget.turn():
            pass
