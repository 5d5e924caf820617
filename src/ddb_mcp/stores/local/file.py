"""An SQLite file of our own.

Its owner alone can read it. Other programs' files are recognised and never changed. WAL mode with synchronous=FULL: any
number of processes share it, and committed data survive kill -9 and power loss.
"""

import errno
import logging
import os
import shlex
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ddb_mcp.core.errors import DdbMcpError, Misconfigured, Unavailable
from ddb_mcp.stores.local.deadline import LOCK_SLICE_SECONDS, Deadline, timed_out
from ddb_mcp.stores.local.place import find_mount_problem, list_access_warnings

# Instructions of SQLite's virtual machine (some milliseconds) between two checks of the call's deadline.
SQLITE_STEPS = 50_000


logger = logging.getLogger(__name__)

# Closing a file ends all locks that the process has on it, so no other thread may find it before it is closed:
# https://sqlite.org/howtocorrupt.html, section 2.2
_making = threading.Lock()


class FileLocked(Unavailable):
    """Another process holds the write lock. Nothing was written."""


class Connection(sqlite3.Connection):
    """A connection to our file, for any one thread at a time.

    Attributes:
        inode: device and inode of the file; None if it only reads.
        deadline: SQL is interrupted when it is over.
        has_made_table: whether the schema was created for the operation that uses the connection.
    """

    inode: tuple[int, int] | None = None
    deadline: Deadline | None = None
    has_made_table = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.set_progress_handler(self._is_late, SQLITE_STEPS)

    def _is_late(self) -> bool:
        return self.deadline is not None and self.deadline.is_over


class SqliteFile:
    """The path and the schema of an SQLite file of ours.

    SQLite finds a file's log by name, so one file under two names loses writes. Symbolic links are resolved; a file
    with a second hard link, or mounted by itself, is refused.

    Args:
        path: the file.
        application_id: marks our files: https://sqlite.org/pragma.html#pragma_application_id
        schema: for each version, the statements that make it out of the version before.
        prepare: called with each new connection.

    Attributes:
        path: the file, without symbolic links.

    Raises (each method): Misconfigured if the file is not ours, newer than this version, damaged, under two names, or
    on a network share. sqlite3.Error and OSError are left to the caller, who holds connections that meet them too; see
    `explain`.
    """

    def __init__(
        self,
        path: Path,
        *,
        application_id: int,
        schema: Sequence[str],
        prepare: Callable[[sqlite3.Connection], None] = lambda _: None,
    ) -> None:
        self._prepare = prepare
        self.path = Path(os.path.realpath(path))
        self._application_id = application_id
        self._schema = schema

    def inode(self, *, create: bool) -> tuple[int, int] | None:
        """Return device and inode of the file. None if there is no file, or an empty one, unless `create`.

        Creates the directory too, for this user alone.
        """
        with _making:
            status = self._status()
            if status is None:
                self._refuse_lost()
                if not create:
                    return None
                self._refuse_mount()
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
                status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):
            raise self.unusable("is not a file")
        if status.st_nlink > 1:
            raise self.unusable(
                "has a second hard link, under whose name SQLite would not find its log",
                next=f"Remove the other name. To find it: find / -samefile {shlex.quote(str(self.path))}",
            )
        if status.st_size == 0:
            self._refuse_lost()
            if not create:
                return None
        return status.st_dev, status.st_ino

    def _status(self) -> os.stat_result | None:
        try:
            status = os.lstat(self.path)
            if not stat.S_ISLNK(status.st_mode):
                return status
            self.path = Path(os.path.realpath(self.path))  # a link that appeared meanwhile
            return os.stat(self.path)
        except FileNotFoundError:
            return None

    def _refuse_lost(self) -> None:
        """Refuse a file whose log is all that is left: SQLite would take an empty file, and remove the log."""
        if self._log_size():
            raise self.unusable(
                "is gone or empty, and the log beside it still holds data",
                next="Put the file back under this name. To begin with an empty table instead, remove "
                f"{self.path}-wal and {self.path}-shm.",
            )

    def is_writable(self) -> bool:
        """Return whether this user may write the file and the files beside it."""
        # SQLite's files beside a read-only file would be read-only too, and stay so when the file becomes writable.
        return os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)

    def warnings(self) -> list[str]:
        """Return warnings about a usable file: it cannot be written, or other users can open it."""
        if not os.path.exists(self.path):
            writable = os.access(next(folder for folder in self.path.parents if os.path.exists(folder)), os.W_OK)
        else:
            writable = self.is_writable()
        warnings = [] if writable else [f"{self.path} or its directory is not writable: nothing can be stored."]
        return warnings + list_access_warnings(self.path)

    def connect(self) -> Connection:
        """Open a connection. Creates the schema, or brings a file of an older version up to date.

        Each statement waits a moment for other processes' locks.
        """
        self._refuse_mount()
        self.reader().close()
        connection = sqlite3.connect(
            self.path,
            timeout=LOCK_SLICE_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )
        try:
            self._prepare(connection)
            if self._version(connection) < len(self._schema):
                connection.has_made_table = self._make(connection)
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def reader(self) -> Connection:
        """Open a connection that cannot change the file. One for writing would: SQLite moves the log into the file."""
        in_log = self._log_size() > 0
        uri = f"{self.path.absolute().as_uri()}?{'mode=ro' if in_log else 'immutable=1'}"
        connection = sqlite3.connect(uri, uri=True, timeout=LOCK_SLICE_SECONDS, factory=Connection)
        try:
            self._prepare(connection)
            self._version(connection)
            if not in_log and self.path.stat().st_size % connection.execute("PRAGMA page_size").fetchone()[0]:
                raise self.unusable("is damaged: it ends within a page")  # SQLite reads over the end
        except BaseException:
            connection.close()
            raise
        return connection

    def explain(self, error: sqlite3.Error | OSError) -> DdbMcpError:
        """Return our error for an error that this file caused. Raise `error` again if no file can cause it."""
        if isinstance(error, OSError):
            if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
                return self._disk_full()
            return self.unusable(f"cannot be opened: {(error.strerror or 'system error').lower()}")
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError | sqlite3.NotSupportedError):
            raise error
        # Errors that Python itself raises have no name: text that is not UTF-8, and items that are not JSON.
        name: str = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
        match name.split("_")[1]:
            case "INTERRUPT":
                return timed_out()
            case "BUSY" | "LOCKED" | "PROTOCOL":
                return FileLocked(f"{self.path} is locked by another process; nothing was written.")
            case "FULL":
                return self._disk_full()
            case "IOERR" if name.endswith("SHMSIZE"):  # no room for the shared index beside the log
                return self._disk_full()
            case "IOERR":
                return Unavailable(
                    f"The disk failed under {self.path} ({name}).", next="Check the disk, then call again."
                )
            case "CORRUPT" | "NOTADB" | "FORMAT":
                return self.unusable("is damaged or is not an SQLite file")
            case "READONLY" | "CANTOPEN" | "PERM" | "AUTH":
                return self.unusable("or its directory is not writable")
            case "ERROR" | "CONSTRAINT" | "MISMATCH" | "SCHEMA" | "TOOBIG":
                logger.warning("%s: %s (%s)", self.path, error, name)
                return self.unusable(f"was changed by another program: it has tables that are not ddb-mcp's ({name})")
        raise error

    def unusable(self, problem: str, *, next: str = "") -> Misconfigured:
        """Return the error for a file that cannot be used. `problem` follows its path."""
        advice = next or "Choose another file with DDB_MCP_LOCAL_PATH; this one is untouched."
        return Misconfigured(f"{self.path} {problem}.", next=advice)

    def _log_size(self) -> int:
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:  # the last process to close the file removes it
            return 0

    def _disk_full(self) -> Unavailable:
        return Unavailable(
            f"The disk that holds {self.path} is full; nothing was written.", next="Free space, then call again."
        )

    def _version(self, connection: sqlite3.Connection) -> int:
        """Return the schema version, 0 for an empty file. Raises Misconfigured if the file is not ours."""
        # One statement sees one state, whatever other processes do.
        application, version, tables = connection.execute(
            "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) "
            "FROM pragma_application_id, pragma_user_version"
        ).fetchone()
        if (application, version, tables) == (0, 0, 0):
            return 0
        if application != self._application_id:
            raise self.unusable(
                "is another program's SQLite file, or a gateway's registry in place of its data, or the reverse"
            )
        if version < 0:
            raise self.unusable(f"is damaged: its version is {version}")
        if version > len(self._schema):
            raise Misconfigured(
                f"{self.path} was written by a newer ddb-mcp (schema {version}).",
                next="Upgrade ddb-mcp; the file is untouched.",
            )
        return int(version)

    def _make(self, connection: sqlite3.Connection) -> bool:
        """Bring the schema up to date, unless another process was first. Returns whether this was its beginning."""
        _use_log(connection)
        with transaction(connection):
            version = self._version(connection)
            for statements in self._schema[version:]:
                for statement in statements.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {self._application_id}")
            connection.execute(f"PRAGMA user_version = {len(self._schema)}")
        return version == 0

    def _refuse_mount(self) -> None:
        if problem := find_mount_problem(self.path):
            raise self.unusable(problem[0], next=problem[1])


def is_passing(error: sqlite3.Error) -> bool:
    """Return whether an error says nothing of the file: another connection's lock, or the end of the time."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_INTERRUPT"))


@contextmanager
def transaction(connection: sqlite3.Connection, kind: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[None]:
    """Run a transaction. IMMEDIATE holds the write lock against all processes; DEFERRED reads one state."""
    connection.execute(f"BEGIN {kind}")
    with connection:
        yield


def _use_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL. If two processes switch at once, SQLite fails one of them immediately."""
    deadline = time.monotonic() + LOCK_SLICE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
