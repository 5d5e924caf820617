"""Budgets: the rates of one tenant in one gateway process, so that it does not slow down others."""

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import anyio

from ddb_mcp.core.errors import Throttled
from ddb_mcp.gateway.tenants import TENANTS_REMEMBERED, Tenant
from ddb_mcp.stores.workers import Account, is_large, run_in_worker

# In direct mode a scan reads past other tenants' items. They are paid from a budget of their own, and one request reads
# past no more than `GATEWAY_READ_BUDGET`.
TENANT_OTHERS_PER_SECOND = 20_000
# A deployment that was quiet may use its rates of this many seconds at once.
BURST_SECONDS = 5
# Bodies and answers together.
TENANT_BYTES_PER_SECOND = 20_000_000
TENANT_BYTES_BURST = 64_000_000
# Processor time of conversions in the worker thread. A tenant has half a second of it in a second, and this much at
# once; one that has used half of that has a single call carried out at a time.
TENANT_WORK_PER_SECOND = 0.5
TENANT_WORK_BURST = 2.0
# One deployment cannot take all worker threads of the process. Beyond TENANT_CALLS_AT_ONCE its calls wait for their
# turn; beyond a share of all connections (`web/connection_slots.py`) they are refused.
TENANT_CALLS_AT_ONCE = 12
# Of those, queries and scans: each may hold some thousand long items in a thread.
TENANT_LISTINGS_AT_ONCE = 3
# Bodies in work and answers being sent. A request that finds no room waits `ROOM_SECONDS`.
TENANT_BYTES_IN_FLIGHT = 16_000_000
ROOM_SECONDS = 10


_T = TypeVar("_T")


class BudgetSpent(Throttled):
    """A budget of the tenant is spent.

    Attributes:
        budget: its name.
        wait: seconds until it is worth asking again.
    """

    def __init__(self, what: str, wait: float) -> None:
        self.budget = what
        self.wait = max(1, math.ceil(wait))
        super().__init__(
            f"This deployment has used up its {what} for now.", next=f"Wait {self.wait} s, then call again."
        )


class TokenBucket:
    """A token bucket. It can go into debt; later requests wait until the debt is paid.

    Args:
        what: its name in a refusal.
        burst: its content at the beginning, and the most that it holds.
    """

    def __init__(self, what: str, per_second: float, burst: float) -> None:
        self._what = what
        self._per_second = per_second
        self._burst = self._level = burst
        self._at = time.monotonic()

    def check(self, least: float = 0) -> None:
        """Raise BudgetSpent if less than `least` is left."""
        now = time.monotonic()
        self._level = min(self._burst, self._level + (now - self._at) * self._per_second)
        self._at = now
        if self._level < least:
            raise BudgetSpent(self._what, (least - self._level) / self._per_second)

    def take(self, amount: float) -> None:
        """Take `amount`, even if that leaves a debt."""
        self._level -= amount

    def is_full(self, share: float) -> bool:
        """Return whether at least this share of the burst was left at the last check."""
        return self._level >= share * self._burst


class ByteRoom:
    """A number of bytes that several requests share; a request that finds no room waits.

    Args:
        what: its name in a refusal.
    """

    def __init__(self, what: str, size: int) -> None:
        self._what = what
        self._size = self._free = size
        self._freed: anyio.Event | None = None  # if requests wait

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Take room while this is open. Raises BudgetSpent if none comes free in time."""
        amount = min(amount, self._size)
        if self._free < amount:
            with anyio.move_on_after(ROOM_SECONDS):
                while self._free < amount:
                    self._freed = self._freed or anyio.Event()
                    await self._freed.wait()
        if self._free < amount:
            raise BudgetSpent(self._what, 1)
        with self.taken(amount):
            yield

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Take room for bytes that exist already, even if there is no room. Later requests wait longer."""
        self._free -= amount
        try:
            yield
        finally:
            self._free += amount
            if self._freed is not None:
                self._freed.set()
                self._freed = None


class TenantBudget:
    """The budget of one tenant, see `core/limits.py`.

    Attributes:
        account: its conversions are charged to `work`.
        work: seconds of conversions in the worker.
        items, others: items read, own ones and those of others that a scan has to read past.
        bytes: of bodies and answers.
        room: for bodies that are being read and answers that are being sent.
    """

    def __init__(self, tenant: Tenant, processes: int) -> None:
        def bucket(what: str, per_second: float, burst: float | None = None) -> TokenBucket:
            burst = per_second * BURST_SECONDS if burst is None else burst
            return TokenBucket(what, per_second / processes, max(1, burst / processes))

        self._requests = bucket("requests", tenant.requests_per_second)
        self.items = bucket("items read", tenant.items_per_second)
        self.others = bucket("scans", TENANT_OTHERS_PER_SECOND)
        self.bytes = bucket("bytes", TENANT_BYTES_PER_SECOND, TENANT_BYTES_BURST)
        self.room = ByteRoom("bytes in flight", TENANT_BYTES_IN_FLIGHT)
        self.work = TokenBucket("work", TENANT_WORK_PER_SECOND, TENANT_WORK_BURST)
        self.account = Account(tenant.name, self.work.take)
        self._parsing = anyio.Semaphore(1, fast_acquire=True)
        self._turns = anyio.Semaphore(TENANT_CALLS_AT_ONCE, fast_acquire=True)
        self._listings = anyio.Semaphore(TENANT_LISTINGS_AT_ONCE, fast_acquire=True)
        self._alone = anyio.Semaphore(1, fast_acquire=True)

    def admit(self) -> None:
        """Count a request. Raises BudgetSpent if the rate of requests or an earlier debt does not allow it."""
        self.work.check()
        self.items.check()
        self.bytes.check()
        self._requests.check(1)
        self._requests.take(1)

    @asynccontextmanager
    async def turn(self, *, listing: bool = False) -> AsyncIterator[None]:
        """Hold this while a call is carried out. Raises BudgetSpent if earlier calls have spent the work."""
        async with (
            self._listings if listing else nullcontext(),
            self._turns,
            nullcontext() if self.work.is_full(0.5) else self._alone,
        ):
            self.work.check()
            yield

    async def parse(self, parse: Callable[[bytes], _T], body: bytes) -> _T:
        """Parse a body: long ones in the worker, one at a time of each tenant.

        So at most this one and those of `TENANT_CALLS_AT_ONCE` calls wait for the worker at once.

        Raises:
            BudgetSpent: those before it have spent the work.
        """
        if not is_large(body):
            return parse(body)
        async with self._parsing:
            self.work.check()
            return await run_in_worker(partial(parse, body))


class TenantBudgets:
    """The budgets of the tenants that have sent requests lately, in one process of several."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._budgets: OrderedDict[str, tuple[tuple[int, int], TenantBudget]] = OrderedDict()

    def of(self, tenant: Tenant) -> TenantBudget:
        """Return the budget of a tenant: a new one if the tenant has new rates or was forgotten."""
        rates = tenant.requests_per_second, tenant.items_per_second
        entry = self._budgets.pop(tenant.name, None)
        if entry is None or entry[0] != rates:
            entry = rates, TenantBudget(tenant, self._processes)
        self._budgets[tenant.name] = entry
        if len(self._budgets) > TENANTS_REMEMBERED:
            self._budgets.popitem(last=False)  # quiet for so long that its budget is full again
        return entry[1]
