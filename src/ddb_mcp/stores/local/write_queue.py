"""Writes to a local table: deployments take turns in one thread, and writes that wait share a transaction."""

import _thread
import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.stores.local.connections import ConnectionPool
from ddb_mcp.stores.local.deadline import Deadline
from ddb_mcp.stores.local.file import Connection, FileLocked, transaction
from ddb_mcp.stores.local.statements import sweep
from ddb_mcp.stores.workers import RoundRobin, current_account, pause_after, release_frames

SWEEP_SECONDS = 60


_T = TypeVar("_T")

Change = Callable[[Connection, Deadline], _T]
"""Changes the file within a transaction. Called again if the transaction fails."""

# A transaction takes no further writes after this time, so that other owners wait for little more than one write.
TRANSACTION_SECONDS = 0.05


class PendingWrite(Generic[_T]):
    """A change of the file, requested in an event loop and made in the thread of all writes.

    Attributes:
        deadline: the time that the change may take.
        is_done: whether the caller has its outcome.
        owner: the owner of the account that is charged for the change.
        seconds: processor time that the change has taken.
    """

    def __init__(self, change: Change[_T]) -> None:
        self.deadline = Deadline(limits.READ_SECONDS, long=True)
        self.is_done = False
        self.owner, self._charge = current_account.get()
        self.seconds = 0.0
        self._change = change
        self._result: Any = None
        self._error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._finished = asyncio.Event()

    async def outcome(self) -> _T:
        """Return the result of the change, or raise its error. If the caller is cancelled, the change may end too."""
        try:
            await self._finished.wait()
        finally:
            self.deadline.cancel()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # whose traceback holds this write, and its item
        result: _T = self._result
        return result

    def make(self, connection: Connection) -> None:
        """Make the change.

        Its error is kept for the caller if nothing was written. Else it is raised, and all of the transaction must end.
        """
        self._result = self._error = None
        before = connection.total_changes
        connection.deadline = self.deadline
        began = time.thread_time()
        self.deadline.hold_lock()
        try:
            self._result = self._change(connection, self.deadline)
        except Exception as error:
            if connection.total_changes != before or not connection.in_transaction:
                raise
            release_frames(error)
            error.__traceback__ = None  # the frame of this method refers to the error
            self._error = error
        finally:
            self.deadline.release_lock()
            self.seconds += time.thread_time() - began

    def finish(self) -> None:
        """Tell the caller that its change is on the disk, or that it failed, and charge for it."""
        self.is_done = True
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._charge(self.seconds)
        self._finished.set()

    def fail(self, error: BaseException) -> None:
        """Tell the caller that nothing was written. After a lock, wait a moment instead if there is time for it."""
        if isinstance(error, FileLocked):
            try:
                self.deadline.wait_after(error)
                return
            except DdbMcpError as over:
                error = over
        self._error = error
        self.finish()


class WriteQueue:
    """The writes to one file. One thread makes them, so that all worker threads are left for reads.

    Owners (see `current_account`) take turns, a write each.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._guard = threading.Lock()
        self._waiting = RoundRobin[PendingWrite[Any]]()
        self._again: deque[PendingWrite[Any]] = deque()  # of a transaction that failed
        self._is_running = False
        self._swept = 0.0

    async def write(self, change: Change[_T]) -> _T:
        """Make a change on behalf of the current account. Return what `change` returns, once it is on the disk."""
        write = PendingWrite(change)
        with self._guard:
            self._waiting.put(write.owner, write)
            is_first, self._is_running = not self._is_running, True
        if is_first:
            # `Thread.start` would hold the event loop until the thread runs, which on a busy machine is a long time.
            _thread.start_new_thread(self._run, ())
        try:
            return await write.outcome()
        except (sqlite3.Error, OSError) as error:
            raise self._pool.file.explain(error) from error

    def _run(self) -> None:
        """Make the waiting writes, and those that come meanwhile. One thread at a time runs this."""
        while True:
            with self._guard:
                first = self._next()
                self._is_running = first is not None
            if first is None:
                return
            self._make_together(first)

    def _make_together(self, first: PendingWrite[Any]) -> None:
        """Make writes in one transaction: `first`, and in turn those that wait. Each write fails alone.

        If one fails after a part of it was written, or the transaction fails, the others are made again.
        """
        tried: list[PendingWrite[Any]] = []
        failing = first
        try:
            with self._open(first.deadline) as connection:
                for failing in self._turns(first):
                    tried.append(failing)
                    failing.make(connection)
                failing = first
        except BaseException as error:
            failing.fail(error)
            self._again.extend(write for write in tried or [first] if not write.is_done)
        else:
            for write in tried:
                write.finish()
        if pause := pause_after(sum(write.seconds for write in tried)):
            time.sleep(pause)

    def _turns(self, first: PendingWrite[Any]) -> Iterator[PendingWrite[Any]]:
        """Yield `first`, then the writes whose turn it is, as long as the transaction may take further writes."""
        end = time.monotonic() + TRANSACTION_SECONDS
        yield first
        while time.monotonic() < end:
            with self._guard:
                write = self._next()
            if write is None:
                return
            yield write

    def _next(self) -> PendingWrite[Any] | None:
        if self._again:
            return self._again.popleft()
        return self._waiting.take()

    @contextmanager
    def _open(self, deadline: Deadline) -> Iterator[Connection]:
        """Open a transaction. Expired items are swept before, so that what is written now can be read for a while."""
        with self._pool.open(deadline, create=True) as connection:
            assert connection
            if time.monotonic() - self._swept >= SWEEP_SECONDS and sweep(connection):
                self._swept = time.monotonic()
            with transaction(connection):
                yield connection
