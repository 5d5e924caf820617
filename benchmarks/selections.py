"""`delete` by `where` as a ratio to the same writes made straight on a store, for the figures of its mode."""

from __future__ import annotations

import time
from functools import partial
from statistics import median

import anyio
from anyio.from_thread import BlockingPortal

from ddb_mcp.core.conditions import Comparison
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.service import concurrency
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import NO_CONDITION, Store, WriteCondition

ITEMS, ROUNDS = 1_000, 3
GUARD = WriteCondition(expect=(Comparison(("pk",), "exists"),))


def deletes(portal: BlockingPortal, store: Store, prefix: str, reach: float) -> None:
    """Print what deleting a partition of a thousand items by `where` takes, beside the same deletes by key."""
    service = DataService(store, Prefix(prefix))
    pk = f"{prefix}#where"
    keys = [Key(pk, f"{at:04}") for at in range(ITEMS)]
    by_key, by_where = [], []
    for at in range(ROUNDS + 1):
        for taken, way in ((by_key, partial(_by_key, store, keys)), (by_where, partial(_by_where, service, pk))):
            portal.call(_fill, store, keys)
            begun = time.perf_counter()
            portal.call(way)
            if at:  # the first round makes connections
                taken.append(time.perf_counter() - begun)
    straight, selected = median(by_key), median(by_where)
    verdict = "" if selected <= reach * straight else f"  (over {reach:g})"
    print(f"  delete of {ITEMS} items by where: {selected * 1000:.0f} ms")
    print(f"    {selected / straight:.2f} of the same writes straight on the store, 16 at once{verdict}")


async def _fill(store: Store, keys: list[Key]) -> None:
    items = [{"pk": {"S": key.pk}, "sk": {"S": key.sk}, "n": {"N": "1"}} for key in keys]
    await _each([partial(store.put, item, NO_CONDITION) for item in items])


async def _by_key(store: Store, keys: list[Key]) -> None:
    await _each([partial(store.delete, key, GUARD) for key in keys])


async def _by_where(service: DataService, pk: str) -> None:
    done = await service.run_operation("delete", {"where": {"pk": pk}})
    assert (done["deletedCount"], done["complete"]) == (ITEMS, True), done


async def _each(writes: list[partial[object]]) -> None:
    waiting = iter(writes)

    async def work() -> None:
        for write in waiting:
            await write()  # type: ignore[misc]

    async with anyio.create_task_group() as group:
        for _ in range(concurrency.CONCURRENT_WRITES):
            group.start_soon(work)
