"""The connections of this process to a local table's file. Idle ones are used again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ddb_mcp.core import limits
from ddb_mcp.stores.local.deadline import Deadline
from ddb_mcp.stores.local.file import Connection, SqliteFile, is_passing


class ConnectionPool:
    """Connections to one file.

    Attributes:
        file: the file.
        idle: open connections that nobody uses.
    """

    def __init__(self, file: SqliteFile) -> None:
        self.file = file
        self.idle: list[Connection] = []

    @contextmanager
    def open(self, deadline: Deadline, *, create: bool = False) -> Iterator[Connection | None]:
        """Lend a connection for one operation, whose SQL ends when its time is over.

        None if there is no file and none is to be created.

        Raises:
            Locked: another process holds a lock; everything is to be done again if there is time.
            DdbMcpError: what is wrong with the file.
        """
        try:
            inode = self.file.inode(create=create)
            if inode is None:
                yield None
            elif self.file.is_writable():
                with self._borrow(inode) as connection:
                    connection.end_with(deadline)
                    yield connection
            elif create:
                raise self.file.unusable("or its directory is not writable")
            else:
                with closing(self.file.reader()) as reader:
                    yield reader
        except (sqlite3.Error, OSError) as error:
            raise self.file.explain(error) from error

    @contextmanager
    def _borrow(self, inode: tuple[int, int]) -> Iterator[Connection]:
        """Lend an idle connection, or a new one. One that met an error in the file is not used again."""
        connection = self._take(inode) or self.file.connect()
        connection.inode = inode
        is_sound = True
        try:
            yield connection
        except sqlite3.Error as error:
            is_sound = is_passing(error)
            raise
        finally:
            if is_sound and len(self.idle) < limits.SQLITE_CONNECTIONS:
                connection.set_progress_handler(None, 0)
                connection.has_made_table = False
                self.idle.append(connection)
            else:
                connection.close()

    def _take(self, inode: tuple[int, int] | None) -> Connection | None:
        """Take an idle connection to the file; close those to a file that was removed or replaced since."""
        while True:
            try:
                connection = self.idle.pop()
            except IndexError:  # other threads take connections too
                return None
            if connection.inode == inode:
                return connection
            connection.close()

    def close_idle(self) -> None:
        """Close those that nobody uses."""
        self._take(None)
