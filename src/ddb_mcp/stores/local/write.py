"""One write to a local table: it waits for its turn in the thread of all writes, and has a result."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from ddb_mcp.stores.local.call import Call

_T = TypeVar("_T")


class Write(Generic[_T]):
    """A change of the file, asked for in an event loop and done in the thread of all writes.

    Args:
        change: makes the change on a connection, within a transaction; called again where the transaction failed.
        call: the time that the change may take.
    """

    def __init__(self, change: Callable[[sqlite3.Connection, Call], _T], call: Call) -> None:
        self.call = call
        self.is_done = False
        self._change = change
        self._result: Any = None
        self._error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    async def outcome(self) -> _T:
        """The result of the change; raises what the change raised.

        A caller that is cancelled meanwhile ends the change, if it can.
        """
        try:
            await self._done.wait()
        finally:
            self.call.end()
        if self._error is not None:
            raise self._error
        result: _T = self._result
        return result

    def try_on(self, connection: sqlite3.Connection) -> bool:
        """Make the change. Where it raises, nothing of it is left, and the rest of the transaction stands.

        Returns True: it is to be finished with the transaction. Raises sqlite3.Error, which ends all of it.
        """
        self._result = self._error = None
        connection.execute("SAVEPOINT change")
        try:
            self.call.hold()
            self._result = self._change(connection, self.call)
            self.call.check()
        except sqlite3.Error:
            raise
        except Exception as error:
            connection.execute("ROLLBACK TO change")
            self._error = error
        connection.execute("RELEASE change")
        return True

    def finish(self) -> None:
        """Tell the caller; what was changed is on the disk."""
        self.is_done = True
        with suppress(RuntimeError):  # its loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._done.set)

    def fail(self, error: BaseException) -> None:
        """Tell the caller that nothing was written."""
        self._error = error
        self.finish()

    def pause(self) -> None:
        """Wait a moment for another process's lock; fail where the call is over."""
        try:
            self.call.pause()
        except Exception as error:
            self.fail(error)


def within(seconds: float, writes: Sequence[Write[Any]]) -> Iterator[Write[Any]]:
    """The writes, as long as there is time; the first always."""
    end = time.monotonic() + seconds
    for at, write in enumerate(writes):
        if at and time.monotonic() > end:
            return
        yield write
