"""Writes to many items, several at a time."""

import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

from ddb_mcp.core.errors import DdbMcpError

CONCURRENT_WRITES = 16


_T = TypeVar("_T")


async def run_concurrently(entries: Iterable[_T], work: Callable[[_T], Awaitable[None]]) -> None:
    """Call `work` with each entry, `CONCURRENT_WRITES` at a time. An iterator decides when the last one begins.

    Args:
        work: handles its errors itself: what it raises ends the others in their middle.
    """
    waiting = iter(entries)

    async def one_after_another() -> None:
        for entry in waiting:
            await work(entry)

    async with anyio.create_task_group() as group:
        for _ in range(CONCURRENT_WRITES):
            group.start_soon(one_after_another)


async def run_until_failure(entries: Iterable[_T], write: Callable[[_T], Awaitable[None]]) -> None:
    """Call `write` with each entry, several at a time.

    Raises:
        DdbMcpError: the first failure of a write. No write begins after it; writes under way are finished first.
    """
    failures: list[DdbMcpError] = []

    async def attempt(entry: _T) -> None:
        try:
            await write(entry)
        except DdbMcpError as failure:
            failures.append(failure)

    await run_concurrently(itertools.takewhile(lambda entry: not failures, entries), attempt)
    if failures:
        raise failures[0]
