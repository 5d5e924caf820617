"""Items in an SQLite file on this machine: durable, offline, shared by any number of processes.

One WITHOUT ROWID table keyed by the UTF-8 bytes of (pk, sk), so that SQLite's order is DynamoDB's and one deployment's
items lie together.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import matches
from ddb_mcp.core.errors import DdbMcpError, InvalidArgument, Unavailable
from ddb_mcp.core.items import Item, item_size, project
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import (
    FEATURES,
    Condition,
    Deleted,
    Deployment,
    Position,
    Progress,
    Read,
    Store,
    StorePage,
    Written,
)
from ddb_mcp.stores.local.file import SqliteFile, transaction

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_APPLICATION_ID = 0x64646D63
_SCHEMA = (
    """
CREATE TABLE items (pk BLOB NOT NULL, sk BLOB NOT NULL, document TEXT NOT NULL, expires INTEGER, PRIMARY KEY (pk, sk))
    WITHOUT ROWID;
CREATE INDEX items_expires ON items (expires) WHERE expires IS NOT NULL;
""",
    """
CREATE TABLE tokens (token TEXT PRIMARY KEY, request BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tokens_expires ON tokens (expires);
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
""",
)


Stored = Mapping[Key, Item | None]
Changes = Mapping[Key, Item | None]
Decide = Callable[[Stored], tuple[Changes, _T]]


class TokenReused(InvalidArgument):
    """A token names one request, and came with another."""


class LocalStore(Store):
    """`Store` over one SQLite file, which the first write or `provision` makes. Reads never make it.

    For one event loop at a time, in which its writes take turns: while another process holds the write lock, only one
    of them keeps a worker thread from the reads.

    Args:
        path: the file. Its directory is made, for the user alone, where it is missing.
        table: the name that results report.

    Raises (each method):
        Misconfigured: the file is not ours, newer than this version, damaged, not writable, or on a network share.
        Unavailable: the disk is full or fails, or another process holds the write lock for long.
    """

    mode = "local"

    def __init__(self, path: Path, table: str) -> None:
        self.path = path
        self._file = SqliteFile(
            path,
            application_id=_APPLICATION_ID,
            schema=_SCHEMA,
            setting="DDB_MCP_LOCAL_PATH",
        )
        self._table = table
        self._writing = CapacityLimiter(1)
        self._writes = 0
        self._deadline = 0.0
        self._pool: list[tuple[sqlite3.Connection, tuple[int, int]]] = []
        self._swept = 0.0

    async def provision(self, progress: Progress) -> Deployment:
        def provision() -> bool:
            with self._open(self._deadline, create=True) as opened:
                assert opened
                return opened[1]

        return self._deployment(provisioned=True, created=await self._in_turn(provision))

    async def info(self) -> Deployment:
        def look() -> tuple[bool, bool]:
            with self._open(_deadline()) as opened:
                return opened is not None, self._file.could_be_written()

        exists, writable = await _in_thread(look)
        found = self._deployment(provisioned=exists)
        if not writable:
            found.details["warnings"] = [f"{self.path} or its directory is not writable: nothing can be stored."]
        return found

    def _deployment(self, *, provisioned: bool, created: bool = False) -> Deployment:
        return Deployment(
            table_name=self._table, region="local", provisioned=provisioned, created=created, features=FEATURES
        )

    async def get(self, key: Key, attributes: tuple[str, ...] | None) -> Item | None:
        def get() -> Item | None:
            with self._open(_deadline()) as opened:
                return _stored(opened[0], key) if opened else None

        item = await _in_thread(get)
        return project(item, attributes) if item else None

    async def put(self, item: Item, condition: Condition) -> Written:
        key = Key.of(item)

        def put(stored: Stored) -> tuple[Changes, Written]:
            condition.check(stored[key])
            return {key: item}, Written.over(stored[key], item)

        return await self.change([key], put)

    async def merge(self, item: Item, remove: tuple[str, ...], condition: Condition) -> Written:
        key = Key.of(item)

        def merge(stored: Stored) -> tuple[Changes, Written]:
            old = stored[key]
            condition.check(old)
            new = {name: value for name, value in ((old or {}) | item).items() if name not in remove}
            if (size := item_size(new)) > limits.ITEM_MAX_BYTES:
                raise InvalidArgument(f"The merged item would have {size} bytes; the limit is {limits.ITEM_MAX_BYTES}.")
            return {key: new}, Written.over(old, new)

        return await self.change([key], merge)

    async def delete(self, key: Key, condition: Condition) -> Deleted:
        def delete(stored: Stored) -> tuple[Changes, Deleted]:
            condition.check(stored[key])
            return {key: None}, Deleted(stored[key] is not None, stored[key])

        return await self.change([key], delete)

    async def change(self, keys: Sequence[Key], decide: Decide[_T]) -> _T:
        """Read items, let `decide` say what is to be stored, and store it: one transaction, alone on the file.

        Args:
            keys: of the items that `decide` is given.
            decide: takes each key's stored item, None where there is none; returns what is to be stored by key, None
                for no item, and the result. It runs in a worker thread. What it raises ends the transaction, and
                nothing is written then.

        Returns:
            What `decide` returns as its result.
        """
        return await self._write(lambda connection: _changed(connection, keys, decide))

    async def change_once(self, token: str, request: bytes, keys: Sequence[Key], decide: Decide[_T]) -> _T | None:
        """`change`, but at most once for a token within ten minutes. None where it was done before.

        Args:
            token: what the caller names this change by.
            request: what is asked for, or a hash of it.

        Raises:
            TokenReused: the token came with another request before.
        """

        def change(connection: sqlite3.Connection) -> _T | None:
            now = int(time.time())
            connection.execute("DELETE FROM tokens WHERE expires <= ?", (now,))
            done = connection.execute("SELECT request FROM tokens WHERE token = ?", (token,)).fetchone()
            if done is None:
                connection.execute("INSERT INTO tokens VALUES (?, ?, ?)", (token, request, now + limits.TOKEN_SECONDS))
                return _changed(connection, keys, decide)
            if done[0] != request:
                raise TokenReused("The token was used for another request within the last ten minutes.")
            return None

        return await self._write(change)

    async def query(self, read: Read) -> StorePage:
        assert read.pk is not None
        where, bounds = ["pk = ?"], [read.pk.encode()]
        keys = read.range
        for text, bound in (("sk >= ?", keys.low), ("sk <= ?", keys.high), ("sk >= ?", keys.prefix)):
            if bound is not None:
                where.append(text)
                bounds.append(bound.encode())
        if keys.prefix is not None:
            where.append("sk < ?")
            bounds.append(_end(keys.prefix.encode()))
        if read.position is not None:
            where.append("sk < ?" if read.descending else "sk > ?")
            bounds.append(read.position[1].encode())
        order = "sk DESC" if read.descending else "sk"
        return await self._page(read, where, bounds, order)

    async def scan(self, read: Read) -> StorePage:
        assert read.pk_prefix is not None
        start = read.pk_prefix.encode()
        where, bounds = ["pk >= ?", "pk < ?"], [start, _end(start)]
        if read.position is not None:
            where.append("(pk, sk) > (?, ?)")
            bounds += [part.encode() for part in read.position]
        return await self._page(read, where, bounds, "pk, sk")

    async def close(self) -> None:
        self._idle()

    async def _page(self, read: Read, where: list[str], bounds: list[bytes], order: str) -> StorePage:
        statement = f"SELECT document FROM items WHERE {' AND '.join(where)} ORDER BY {order}"

        def page() -> StorePage:
            with self._open(_deadline()) as opened:
                if opened is None:
                    return StorePage([], None, 0, _after([]))
                with closing(opened[0].execute(statement, bounds)) as rows:
                    return _fill(read, rows)

        return await _in_thread(page)

    async def _write(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        def write() -> _T:
            with self._open(self._deadline, create=True) as opened:
                assert opened
                self._sweep(opened[0])  # before, so that what is written now can be read for a while
                _wait_until(self._deadline, opened[0])  # the sweep may have waited
                with transaction(opened[0]) as connection:
                    return change(connection)

        return await self._in_turn(write)

    async def _in_turn(self, write: Callable[[], _T]) -> _T:
        """Do `write` after those asked for before. All in the queue give up when none had its turn for as long as
        one may wait: a hundred on a locked file wait no longer than one."""
        if not self._writes:
            self._deadline = _deadline()
        self._writes += 1
        in_vain = False
        try:
            return await _in_thread(write, self._writing)
        except Unavailable:
            in_vain = True
            raise
        finally:
            self._writes -= 1
            if not in_vain:
                self._deadline = _deadline()

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Delete a few items whose time to live is over, as DynamoDB does some time after it.

        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
        """
        if time.monotonic() - self._swept < limits.SWEEP_SECONDS:
            return
        now = int(time.time())
        expired = "SELECT pk, sk FROM items WHERE expires BETWEEN ? AND ? LIMIT ?"
        try:
            swept = connection.execute(
                f"DELETE FROM items WHERE (pk, sk) IN ({expired})",
                (now - limits.TTL_PAST_SECONDS, now - 1, limits.SWEEP_ROWS),
            ).rowcount
        except sqlite3.Error as error:
            logger.warning("Expired items could not be swept: %s", error.sqlite_errorname)
            swept = 0
        if swept < limits.SWEEP_ROWS:
            self._swept = time.monotonic()

    @contextmanager
    def _open(self, deadline: float, *, create: bool = False) -> Iterator[tuple[sqlite3.Connection, bool] | None]:
        """A connection for the time of one operation, and whether the schema was made for it.

        It waits for other processes' locks until `deadline`. None where there is no file and none is to be made. A
        connection that met an error is not used again.
        """
        try:
            inode = self._file.inode(create=create)
            if inode is None:
                yield None
                return
            if not self._file.is_writable():
                if create:
                    raise self._file.unusable("or its directory is not writable")
                with closing(self._file.reader(_left(deadline))) as reader:
                    yield reader, False
                return
            connection, made = self._idle(inode), False
            if connection is None:
                connection, made = self._file.connect(_left(deadline))
            else:
                _wait_until(deadline, connection)
            sound = False
            try:
                yield connection, made
                sound = True
            except DdbMcpError:
                sound = True
                raise
            finally:
                if sound and len(self._pool) < limits.SQLITE_CONNECTIONS:
                    self._pool.append((connection, inode))
                else:
                    connection.close()
        except (sqlite3.Error, OSError) as error:
            raise self._file.explained(error) from error

    def _idle(self, inode: tuple[int, int] | None = None) -> sqlite3.Connection | None:
        """An idle connection to the file; those to a file that was removed or replaced since are closed."""
        while True:
            try:
                connection, of = self._pool.pop()
            except IndexError:  # other threads take connections too
                return None
            if of == inode:
                return connection
            connection.close()


async def _in_thread(work: Callable[[], _T], limiter: CapacityLimiter | None = None) -> _T:
    return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)


def _deadline() -> float:
    """Until when an operation that is asked for now waits for other processes."""
    return time.monotonic() + limits.LOCK_SECONDS


def _left(deadline: float) -> float:
    return max(0, deadline - time.monotonic())


def _wait_until(deadline: float, connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(_left(deadline) * 1000)}")


def _fill(read: Read, rows: Iterator[tuple[str]]) -> StorePage:
    items: list[Item] = []
    scanned = size = 0
    last: list[str] | None = None
    for (document,) in rows:
        enough = (
            len(items) >= read.limit
            or scanned >= min(read.read_limit, limits.SQLITE_PAGE_ROWS)
            or size > read.max_bytes
        )
        if enough:
            return StorePage(items, last, scanned, _after(items))
        item: Item = json.loads(document)
        scanned += 1
        last = _position(item)
        if matches(read.filter, item):
            size += len(document)
            items.append(project(item, read.attributes))
    return StorePage(items, None, scanned, _after(items))


def _after(items: list[Item]) -> Callable[[int], Awaitable[Position]]:
    async def after(at: int) -> Position:
        return _position(items[at])

    return after


def _position(item: Item) -> list[str]:
    return [item["pk"]["S"], item["sk"]["S"]]


def _row_key(key: Key) -> tuple[bytes, bytes]:
    return key.pk.encode(), key.sk.encode()


def _end(start: bytes) -> bytes:
    """The first byte string after all that start with `start`; UTF-8 has no byte 0xFF."""
    return start[:-1] + bytes([start[-1] + 1])


def _stored(connection: sqlite3.Connection, key: Key) -> Item | None:
    row = connection.execute("SELECT document FROM items WHERE pk = ? AND sk = ?", _row_key(key)).fetchone()
    return json.loads(row[0]) if row else None


def _changed(connection: sqlite3.Connection, keys: Sequence[Key], decide: Decide[_T]) -> _T:
    changes, result = decide({key: _stored(connection, key) for key in keys})
    for key, item in changes.items():
        if item is not None:
            _store(connection, item)
        else:
            connection.execute("DELETE FROM items WHERE pk = ? AND sk = ?", _row_key(key))
    return result


def _store(connection: sqlite3.Connection, item: Item) -> None:
    document = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    connection.execute(
        "INSERT OR REPLACE INTO items (pk, sk, document, expires) VALUES (?, ?, ?, ?)",
        (*_row_key(Key.of(item)), document, _expires(item)),
    )


def _expires(item: Item) -> int | None:
    number = item.get("ttl", {}).get("N")
    if number is None or not 0 < (exact := Decimal(number)) < 2**62:
        return None
    return int(exact)
