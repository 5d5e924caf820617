"""The end of a deployment: its tokens, then its data, then its name."""

import time
from collections.abc import Awaitable, Callable

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import NotProvisioned
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway.registry import Registry, Tenant
from ddb_mcp.service.purge import purge
from ddb_mcp.stores.base import Progress, Read, Store

Sleep = Callable[[float], Awaitable[None]]


async def remove(
    registry: Registry,
    store: Store,
    name: str,
    progress: Progress,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = anyio.sleep,
) -> int:
    """End a deployment's tokens, wait until no request that they opened can write, delete its data, forget it.

    Interrupted at any point, it goes on where it was when run again.

    Args:
        store: where the data are.

    Returns:
        How many items were deleted.

    Raises:
        InvalidArgument: there is no such deployment.
        DdbMcpError: what the store raises; the deployment is then still being removed.
    """
    tenant = await registry.close_off(name)
    deleted = 0
    if tenant.state == "removing":  # one that was never added has no data: the prefix may be another's by now
        await _wait(tenant, progress, clock, sleep)
        deleted = (await purge(store, tenant.prefix, progress)).deleted
    await registry.forget(tenant)
    return deleted


async def count(store: Store, prefix: Prefix) -> int:
    """How many items a removal would delete now. Raises DdbMcpError as the store does."""
    found, position = 0, None
    while True:
        read = Read(pk_prefix=prefix.joined, attributes=(), position=position, limit=1000, max_bytes=4_000_000)
        try:
            page = await store.scan(read)
        except NotProvisioned:
            return 0
        found += sum(prefix.owns(item["pk"]["S"]) for item in page.items)
        if (position := page.next) is None:
            return found


async def _wait(tenant: Tenant, progress: Progress, clock: Callable[[], float], sleep: Sleep) -> None:
    assert tenant.closed is not None
    passed = max(0.0, clock() - tenant.closed)  # another machine's clock may have been ahead of this one
    if (left := limits.REMOVAL_SECONDS - passed) > 0:
        await progress(f"Waiting {left:.0f} s for requests that may be under way")
        await sleep(left)
