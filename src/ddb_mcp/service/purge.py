"""Deletes everything that a deployment owns, and nothing else."""

from dataclasses import dataclass

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, NotProvisioned, Unavailable
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.stores.base import NO_CONDITION, Position, Progress, Read, Store, StorePage

_CONCURRENT_DELETES = 16
# How often everything there is may be found and deleted, and how often a part of it, where a store shows no more.
_PASSES, _PARTS = 10, 10_000
_TOLD = 200


async def _nowhere(at: int) -> Position:
    return None


@dataclass(frozen=True)
class Purged:
    """`complete` is False where the store cannot tell whether it showed everything (a platform without pages)."""

    deleted: int
    complete: bool


async def purge(store: Store, prefix: Prefix, progress: Progress) -> Purged:
    """Delete every item under `prefix`.

    Goes over the items until none is found. It can be interrupted at any point and run again: what is deleted stays
    deleted, and the rest is found anew.

    Raises:
        Unavailable: somebody keeps writing.
        DdbMcpError: what the store raises.
    """
    deleted = 0
    limiter = anyio.CapacityLimiter(_CONCURRENT_DELETES)
    failures: list[DdbMcpError] = []

    async def delete(key: Key) -> None:
        async with limiter:
            try:
                if not failures:
                    await store.delete(key, NO_CONDITION)
            except DdbMcpError as failure:
                failures.append(failure)

    async def scan(position: Position | None) -> StorePage:
        read = Read(
            pk_prefix=prefix.joined, attributes=(), position=position, limit=limits.LIMIT_MAX, max_bytes=4_000_000
        )
        try:
            return await store.scan(read)
        except NotProvisioned:
            return StorePage([], None, 0, _nowhere)

    passes, seen = 0, set[Key]()
    for _ in range(_PARTS):
        found = 0
        following: StorePage | None = await scan(None)
        while following is not None:
            page = following
            # Read before the keys that it starts from are deleted: dynoxide finds nothing after such a key.
            following = None if page.next is None else await scan(page.next)
            own = [key for key in map(Key.of, page.items) if prefix.owns(key.pk)]
            for at in range(0, len(own), _TOLD):
                async with anyio.create_task_group() as group:
                    for key in own[at : at + _TOLD]:
                        group.start_soon(delete, key)
                if failures:
                    raise failures[0]
                deleted += len(own[at : at + _TOLD])
                await progress(f"{deleted} items deleted")
            found += len(own)
        if not found:
            return Purged(deleted, page.complete)
        # A store that cannot tell whether there is more is asked on and on, as long as it shows others than before.
        passes += page.complete or seen >= set(own)
        seen = set(own)
        if passes == _PASSES:
            break
    raise Unavailable("New items kept appearing while the others were deleted.", next="Stop what writes them first.")
