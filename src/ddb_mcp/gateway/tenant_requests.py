"""Requests of tenants, over the HTTP API or MCP: their access, their deadline and their costs."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, OutcomeUnknown, Timeout, Unauthenticated
from ddb_mcp.gateway import tenant_store
from ddb_mcp.gateway.budgets import BudgetSpent, TenantBudget, TenantBudgets
from ddb_mcp.gateway.registry import Access, Registry
from ddb_mcp.gateway.tenant_store import TenantStore, hide_registry_error
from ddb_mcp.service.operations import BY_NAME
from ddb_mcp.service.service import DataService, ignore_progress
from ddb_mcp.stores.base import Progress, Store
from ddb_mcp.stores.workers import current_account
from ddb_mcp.web.request_context import RequestContext
from ddb_mcp.web.requests import parse_bearer_token

# Gateway: one request. It ends this long after its head has come, whatever it waits for: `BODY_SECONDS` for its body,
# then a batch with the attempts of its last entry. A token's record is read again if it was read longer ago than
# `RECORD_SECONDS`, because a body or a turn came late.
REQUEST_SECONDS = limits.HOST_SECONDS
RECORD_SECONDS = 0.5
# A registry that has not answered by then is out of reach.
REGISTRY_SECONDS = 15
# One request of a `where`. A client waits longer than this for an answer, and sends no request after `WHERE_SECONDS`.
GATEWAY_WHERE_MAX = 100
GATEWAY_WHERE_SECONDS = 15


GATEWAY_ANSWER_MAX_BYTES = 5_000_000


class Admission:
    """Admits the requests of tenants. There is one in a process.

    Args:
        registry: deployments, tokens and rights.
        store: where the items of all deployments are.
        read_only: refuse all writes.
        processes: how many share each tenant's rates.
    """

    def __init__(self, registry: Registry, store: Store, *, read_only: bool = False, processes: int = 1) -> None:
        self.registry = registry
        self.store = store
        self._read_only = read_only
        self._budgets = TenantBudgets(processes)

    async def admit(self, authorization: Sequence[str], context: RequestContext, *, read_only: bool) -> "TenantRequest":
        """Admit a request with these `Authorization` headers. Its tenant is charged for conversions of this task.

        Args:
            read_only: refuse writes, even if the token allows them.

        Raises:
            Unauthenticated: no token came, or it opens nothing.
            BudgetSpent: the tenant has to wait.
            Unavailable: the registry cannot be read.
        """
        token = parse_bearer_token(authorization)
        if token is None:
            raise Unauthenticated("Send the token once, as Authorization: Bearer …", next=_CURRENT)
        deadline = time.monotonic() + REQUEST_SECONDS  # before its deployment's record is read
        access = await self.authenticate(token)
        context.facts |= {"tenant": access.tenant.name, "token_id": access.token_id}
        budget = self._budgets.of(access.tenant)
        budget.admit()
        current_account.set(budget.account)
        if not context.admit(access.tenant.name):
            raise BudgetSpent("calls at once", 1)
        return TenantRequest(self, token, access, read_only or self._read_only, budget, deadline, context)

    async def authenticate(self, token: str) -> Access:
        """Return the access that a token gives now. Raises Unauthenticated or Unavailable."""
        try:
            with anyio.fail_after(REGISTRY_SECONDS):
                access = await self.registry.authenticate(token)
        except (DdbMcpError, TimeoutError) as error:
            raise hide_registry_error(error) from error
        if access is None:
            raise Unauthenticated("The token is not valid.", next=_CURRENT)
        return access


_CURRENT = "Use one of the deployment's current tokens."


@dataclass
class TenantRequest:
    """One request of a tenant.

    Attributes:
        access: its token's, as the registry had it at `read_at`.
        is_limited: whether the gateway or the request allows no writing, whatever the token allows.
        budget: its tenant's.
        deadline: by `time.monotonic`; no attempt of a store is begun after it.
        context: of its connection.
    """

    admission: Admission
    token: str
    access: Access
    is_limited: bool
    budget: TenantBudget
    deadline: float
    context: RequestContext
    read_at: float = field(default_factory=time.monotonic)

    @property
    def read_only(self) -> bool:
        """Return whether writes are disabled."""
        return self.is_limited or self.access.read_only

    @asynccontextmanager
    async def turn(self, operation: str, arguments: Mapping[str, Any]) -> AsyncIterator[None]:
        """Wait until the tenant may have an operation carried out, and hold that until its answer is encoded.

        From then on, a write of a single item is finished even if the client leaves.

        Raises:
            BudgetSpent: its calls have spent the work meanwhile.
            OutcomeUnknown, Timeout: its deadline is over.
        """
        with anyio.move_on_after(self.deadline - time.monotonic()):
            async with self.budget.turn(listing=BY_NAME[operation].is_listing(arguments)):
                if not BY_NAME[operation].ends_with_client(arguments):
                    self.context.outlive_client()
                yield
                return
        raise _make_deadline_error(operation)

    async def run_operation(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        progress: Progress = ignore_progress,
        *,
        max_bytes: int,
        max_result_bytes: int = GATEWAY_ANSWER_MAX_BYTES,
        read_limit: int = tenant_store.GATEWAY_READ_BUDGET,
    ) -> dict[str, Any]:
        """Carry out an operation of the tenant's, within its `turn`.

        Args:
            max_bytes, max_result_bytes: of this answer, and what `info` says of answers.
            read_limit: own items that a listing may read.

        Raises:
            DdbMcpError: as `DataService.call`, and Unauthenticated too.
        """
        if time.monotonic() - self.read_at > RECORD_SECONDS:
            # The token may have been revoked while a body or a turn came.
            self.access = await self.admission.authenticate(self.token)
        service = DataService(
            TenantStore(self.admission.store, self.access.tenant, self.budget),
            self.access.tenant.prefix,
            read_only=self.read_only,
            read_budget=read_limit,
            max_result_bytes=max_result_bytes,
            max_writes=GATEWAY_WHERE_MAX,
            write_seconds=GATEWAY_WHERE_SECONDS,
            cursor_key=self.access.cursor_key,
        )
        return await service.run_operation(operation, arguments, progress, max_bytes=max_bytes)


def _make_deadline_error(operation: str) -> DdbMcpError:
    late = f"{operation} took longer than {REQUEST_SECONDS} s"
    if operation in ("put", "delete"):
        return OutcomeUnknown(f"The outcome is unknown: {late}, and the write may have been done.")
    return Timeout(f"{late}.")
