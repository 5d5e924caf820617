"""One read serves all requests that wait for it. Each read begins after its requests came."""

from asyncio import Task, create_task, shield, wait
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class CoalescedReads(Generic[_T]):
    """Reads that several requests share. A request that comes during a read waits for the next one.

    Args:
        read: reads the value of a name. All waiters get its error. It continues if they are cancelled.
    """

    def __init__(self, read: Callable[[str], Awaitable[_T]]) -> None:
        self._read = read
        self._under_way: dict[str, Task[_T]] = {}
        self._next: dict[str, Task[_T]] = {}

    async def get(self, name: str) -> _T:
        """Return the value of `name`, by a read that begins after this call."""
        if name not in self._next:
            # A task begins in the next turn of the event loop: requests that come in this turn share it.
            self._next[name] = create_task(self._read_after(name, self._under_way.get(name)))
        return await shield(self._next[name])

    async def _read_after(self, name: str, before: Task[_T] | None) -> _T:
        if before is not None:
            await wait([before])
        own = self._under_way[name] = self._next.pop(name)
        try:
            return await self._read(name)
        finally:
            if self._under_way[name] is own:
                del self._under_way[name]
