"""The connections of this process to a local table's file. Idle ones are used again."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ddb_mcp.stores.local.deadline import Deadline
from ddb_mcp.stores.local.file import Connection, SqliteFile, is_passing

SQLITE_CONNECTIONS = 8


class ConnectionPool:
    """Connections to one file.

    Attributes:
        file: the file.
        idle: open connections that are not in use.
    """

    def __init__(self, file: SqliteFile) -> None:
        self.file = file
        self.idle: list[Connection] = []

    @contextmanager
    def open(self, deadline: Deadline, *, create: bool = False) -> Iterator[Connection | None]:
        """Lend a connection for one operation, whose SQL ends when its time is over.

        None if there is no file and none is to be created.

        Raises:
            FileLocked: another process holds a lock; everything is to be done again if there is time.
            DdbMcpError: what is wrong with the file.
        """
        is_sound = True
        try:
            inode = self.file.inode(create=create)
            connection = None if inode is None else self._take(inode) or self._connect(inode, create=create)
            try:
                if connection:
                    connection.deadline = deadline
                yield connection
            except sqlite3.Error as error:
                is_sound = is_passing(error)
                raise
            finally:
                if connection:
                    self._give_back(connection, is_sound=is_sound)
        except (sqlite3.Error, OSError) as error:
            raise self.file.explain(error) from error

    def _connect(self, inode: tuple[int, int], *, create: bool) -> Connection:
        """Open a connection; one that only reads if the file cannot be written."""
        if self.file.is_writable():
            connection = self.file.connect()
            connection.inode = inode
            return connection
        if create:
            raise self.file.unusable("or its directory is not writable")
        return self.file.reader()

    def _give_back(self, connection: Connection, *, is_sound: bool) -> None:
        """Keep a connection for the next operation, unless it only reads or met an error in the file."""
        if connection.inode and is_sound and len(self.idle) < SQLITE_CONNECTIONS:
            connection.deadline = None
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
        """Close the idle ones."""
        self._take(None)
