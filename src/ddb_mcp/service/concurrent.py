"""Writes to many items, several at a time."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError

_T = TypeVar("_T")


async def until_failure(entries: Iterable[_T], write: Callable[[_T], Awaitable[None]]) -> None:
    """Call `write` with each entry, `limits.CONCURRENT_WRITES` at a time.

    Raises:
        DdbMcpError: the first failure of a write. No write begins after it; writes under way are finished first.
    """
    waiting = iter(entries)
    failures: list[DdbMcpError] = []

    async def work() -> None:
        for entry in waiting:
            try:
                await write(entry)
            except DdbMcpError as failure:
                failures.append(failure)
            if failures:
                return

    async with anyio.create_task_group() as group:
        for _ in range(limits.CONCURRENT_WRITES):
            group.start_soon(work)
    if failures:
        raise failures[0]
