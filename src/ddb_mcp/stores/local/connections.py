"""The connections of this process to a local table's file. Idle ones are used again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.stores.local.call import Abandoned, Call, MustWait
from ddb_mcp.stores.local.file import SqliteFile, is_locked


class Connections:
    """Connections to one file.

    Attributes:
        idle: open connections that nobody uses, each with the inode of the file that it is to.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self.idle: list[tuple[sqlite3.Connection, tuple[int, int]]] = []

    @contextmanager
    def open(self, call: Call, *, create: bool = False) -> Iterator[tuple[sqlite3.Connection, bool] | None]:
        """A connection for the time of one operation, and whether the schema was made for it.

        None where there is no file and none is to be made. What is done on it ends when the call is over.

        Raises:
            MustWait: another process holds a lock, and the call may wait for it: everything is to be done again.
            Abandoned, DdbMcpError: as the work raises, or for what is wrong with the file.
        """
        try:
            inode = self._file.inode(create=create)
            if inode is None:
                yield None
            elif self._file.is_writable():
                with self._borrowed(call, inode) as borrowed:
                    yield borrowed
            elif create:
                raise self._file.unusable("or its directory is not writable")
            else:
                with closing(self._file.reader()) as reader:
                    yield reader, False
        except (sqlite3.Error, OSError) as error:
            call.check()  # where the call is over, this is its end and no fault of the file's
            if is_locked(error) and call.may_wait:
                raise MustWait from error
            raise self._file.explained(error) from error

    @contextmanager
    def _borrowed(self, call: Call, inode: tuple[int, int]) -> Iterator[tuple[sqlite3.Connection, bool]]:
        """An idle connection, or a new one. One that met an error other than a lock is not used again."""
        connection, made = self._take(inode), False
        if connection is None:
            connection, made = self._file.connect()
        connection.set_progress_handler(lambda: call.is_over, limits.SQLITE_STEPS)
        sound = False
        try:
            yield connection, made
            sound = True
        except Exception as error:
            sound = isinstance(error, DdbMcpError | Abandoned) or is_locked(error)
            raise
        finally:
            if sound and len(self.idle) < limits.SQLITE_CONNECTIONS:
                connection.set_progress_handler(None, 0)
                self.idle.append((connection, inode))
            else:
                connection.close()

    def _take(self, inode: tuple[int, int] | None) -> sqlite3.Connection | None:
        """An idle connection to the file; those to a file that was removed or replaced since are closed."""
        while True:
            try:
                connection, its_inode = self.idle.pop()
            except IndexError:  # other threads take connections too
                return None
            if its_inode == inode:
                return connection
            connection.close()

    def close_idle(self) -> None:
        """Close those that nobody uses."""
        self._take(None)
