"""Removes a deployment: first its tokens, then its data, then its name."""

import time
from collections.abc import Awaitable, Callable

import anyio

from ddb_mcp.gateway.registry import Registry
from ddb_mcp.gateway.tenant_requests import REQUEST_SECONDS
from ddb_mcp.gateway.tenants import Tenant
from ddb_mcp.service.transfer.purge import Advance, delete_all
from ddb_mcp.stores.base import Progress, Store
from ddb_mcp.stores.direct.aws import AWS_STUCK_SECONDS
from ddb_mcp.stores.direct.session import AWS_CONNECT_SECONDS, AWS_READ_SECONDS
from ddb_mcp.stores.local.deadline import LOCK_SECONDS

# A store's attempt may outlast its request: an attempt at AWS, at the lock of a local file, or one that waits for a
# program that gives credentials. REMOVAL_SECONDS after a deployment's last token is revoked, no request of it can write
# any more, and `remove` deletes the data.
ATTEMPT_SECONDS = max(AWS_CONNECT_SECONDS + AWS_READ_SECONDS, LOCK_SECONDS, AWS_STUCK_SECONDS)
REMOVAL_SECONDS = REQUEST_SECONDS + ATTEMPT_SECONDS


Sleep = Callable[[float], Awaitable[None]]


async def remove_deployment(
    registry: Registry,
    store: Store,
    name: str,
    progress: Progress,
    advance: Advance = lambda items: None,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = anyio.sleep,
) -> int:
    """End a deployment's tokens, wait until no request that they opened can write, delete its data, forget it.

    If interrupted, it continues where it stopped when run again.

    Args:
        store: where the data are.
        progress: called with what the removal waits for.
        advance: called with the number of items just deleted.

    Returns:
        How many items were deleted.

    Raises:
        InvalidArgument: there is no such deployment.
        DdbMcpError: what the store raises; the deployment is then still being removed.
    """
    tenant = await registry.begin_removal(name)
    deleted = 0
    if tenant.state == "removing":  # not `adding`: then it has no data, and the prefix may be another's by now
        await _wait_for_requests(tenant, progress, clock, sleep)
        for _ in range(2):  # once more: a scan that is not strongly consistent may have missed some
            deleted += (await delete_all(store, tenant.prefix, advance)).deleted
    await registry.delete(tenant)
    return deleted


async def _wait_for_requests(tenant: Tenant, progress: Progress, clock: Callable[[], float], sleep: Sleep) -> None:
    assert tenant.closed is not None
    passed = max(0.0, clock() - tenant.closed)  # another machine's clock may have been ahead of this one
    if (left := REMOVAL_SECONDS - passed) > 0:
        await progress(f"Waiting {left:.0f} s for requests that may still be running")
        await sleep(left)
