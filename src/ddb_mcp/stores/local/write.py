"""Writes to a local table: they wait for their turn in one thread, and share transactions."""

import _thread
import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from ddb_mcp.core import limits
from ddb_mcp.core.errors import ConditionFailed
from ddb_mcp.stores.local.call import Abandoned, Call, MustWait
from ddb_mcp.stores.local.connections import Connections
from ddb_mcp.stores.local.file import transaction
from ddb_mcp.stores.local.statements import sweep

_T = TypeVar("_T")


class _Undone(Abandoned):
    """A change failed within a transaction. The others are to be made again, in another."""


class PendingChange(Generic[_T]):
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
        """Make the change. Where it raises before it has written anything, the rest of the transaction stands.

        Returns True: it is to be finished with the transaction.

        Raises:
            sqlite3.Error: it ends all of the transaction.
            _Undone: the change failed, after a part of it was written; all of the transaction is to end.
        """
        self._result = self._error = None
        before = connection.total_changes
        try:
            self.call.hold()
            self._result = self._change(connection, self.call)
        except sqlite3.Error:
            raise
        except Exception as error:
            if connection.total_changes != before:
                self.fail(error)
                raise _Undone from error
            # The frames of its traceback hold the stored item.
            self._error = error.with_traceback(None) if isinstance(error, ConditionFailed) else error
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


class Writes:
    """The writes of one table. They take turns in one thread, so that all worker threads are left for reads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._guard = threading.Lock()
        self._waiting: list[PendingChange[Any]] = []
        self._is_writing = False
        self._swept = 0.0

    async def do(self, change: Callable[[sqlite3.Connection, Call], _T]) -> _T:
        """Do `change` in a transaction, together with other changes that wait: one flush to the disk serves all."""
        write = PendingChange(change, Call(limits.READ_SECONDS, long=True))
        with self._guard:
            self._waiting.append(write)
            is_first, self._is_writing = not self._is_writing, True
        if is_first:
            # `Thread.start` would hold the event loop until the thread runs, which on a busy machine is a long time.
            _thread.start_new_thread(self._do_waiting, ())
        return await write.outcome()

    def _do_waiting(self) -> None:
        """Do the waiting writes, and those that come meanwhile. One thread at a time runs this."""
        while True:
            with self._guard:
                writes = self._waiting[: limits.WRITES_AT_ONCE]
                del self._waiting[: len(writes)]
                if not writes:
                    self._is_writing = False
                    return
            while left := [write for write in writes if not write.is_done]:
                self._do_together(left)

    def _do_together(self, writes: Sequence[PendingChange[Any]]) -> None:
        """Do at least one of these writes, or fail it. Each write fails alone; one commit is for all."""
        first = writes[0]
        try:
            with self._connections.open(first.call, create=True) as opened:
                assert opened
                self._sweep(opened[0])  # before, so that what is written now can be read for a while
                with transaction(opened[0]) as connection:
                    tried = [write for write in _within(limits.LOCK_HELD_SECONDS, writes) if write.try_on(connection)]
        except MustWait:
            first.pause()
        except _Undone:
            pass
        except BaseException as error:
            first.fail(error)
        else:
            for write in tried:
                write.finish()

    def _sweep(self, connection: sqlite3.Connection) -> None:
        if time.monotonic() - self._swept >= limits.SWEEP_SECONDS and sweep(connection):
            self._swept = time.monotonic()


def _within(seconds: float, writes: Sequence[PendingChange[Any]]) -> Iterator[PendingChange[Any]]:
    """The writes, as long as there is time; the first always."""
    end = time.monotonic() + seconds
    for at, write in enumerate(writes):
        if at and time.monotonic() > end:
            return
        yield write
