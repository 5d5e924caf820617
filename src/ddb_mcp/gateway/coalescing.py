"""One read serves all requests that wait for it. Each read begins after its requests asked."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from ddb_mcp.core.errors import DdbMcpError

_T = TypeVar("_T")


class _SharedRead(Generic[_T]):
    """One read. When it is over, `error` or `value` is set; neither, where the task that read was cancelled."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.error: DdbMcpError | None = None
        self.value: tuple[_T] | None = None


class CoalescedReads(Generic[_T]):
    """A request that comes while a read is under way waits for the next read, which begins after the request came.

    Args:
        read: the read of a name. Its DdbMcpError is raised to all who wait for it.
    """

    def __init__(self, read: Callable[[str], Awaitable[_T]]) -> None:
        self._read = read
        self._under_way: dict[str, _SharedRead[_T]] = {}
        self._next: dict[str, _SharedRead[_T]] = {}

    async def get(self, name: str) -> _T:
        """The value of `name`, by a read that begins after this call."""
        while True:
            following = self._next.get(name)
            if following is None:
                return await self._read_for_all(name)
            await following.over.wait()
            if following.error:
                raise following.error
            if following.value:
                return following.value[0]

    async def _read_for_all(self, name: str) -> _T:
        own = self._next[name] = _SharedRead[_T]()
        try:
            if before := self._under_way.get(name):
                await before.over.wait()
            else:
                await checkpoint()  # requests that come in the same turn of the event loop share this read
            self._under_way[name] = own
            del self._next[name]
            value = await self._read(name)
            own.value = (value,)
            return value
        except DdbMcpError as error:
            own.error = error
            raise
        finally:
            for rounds in (self._next, self._under_way):
                if rounds.get(name) is own:
                    del rounds[name]
            own.over.set()
