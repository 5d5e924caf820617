"""A table of items in an SQLite file on this machine: durable, offline, shared by any number of processes.

One WITHOUT ROWID table keyed by the UTF-8 bytes of (pk, sk), so that SQLite's order is DynamoDB's and one deployment's
items lie together.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import CheckDeadline
from ddb_mcp.core.errors import InvalidArgument, Timeout
from ddb_mcp.core.indexes import Index
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.text import count_marks
from ddb_mcp.stores.local import statements
from ddb_mcp.stores.local.connections import ConnectionPool
from ddb_mcp.stores.local.deadline import Deadline, NeedsWorker
from ddb_mcp.stores.local.file import Connection, FileLocked, SqliteFile, transaction
from ddb_mcp.stores.local.write_queue import WriteQueue
from ddb_mcp.stores.workers import Meter, current_account, run_in_worker

# A read of a few items may take this long on the event loop. After it, a thread reads instead.
BRIEF_SECONDS = 0.003
# How long a `ClientRequestToken` names one request:
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
TOKEN_SECONDS = 600


_T = TypeVar("_T")

# Members of the stored items that one call holds as objects, two for an attribute value: 300,000 values take 100 MB.
MEMBERS_MAX = 600_000
# Characters of their JSON: a transaction has items of 4 MB at most.
_LENGTH_MAX = 8 * 2**20

# Two marks: neither kind of file is ever taken for the other.
_APPLICATION_ID = 0x64646D63
_REGISTRY_ID = 0x64646D67


class StoredItems(dict[Key, Item | None]):
    """The stored items of some keys. Long work on them calls `check`, which raises once the call is over.

    Attributes:
        indexes: the table's secondary indexes, if the items are to be changed.
    """

    indexes: tuple[Index, ...] = ()

    def __init__(self, items: Mapping[Key, Item | None], check: CheckDeadline) -> None:
        super().__init__(items)
        self.check = check


class Documents(Iterator[str]):
    """Stored items, each as JSON, which `item` reads. Long work on them calls `check`."""

    def __init__(self, found: Iterator[str], deadline: Deadline) -> None:
        self._found = found
        self.check = deadline.check
        self.is_long = deadline.is_long
        self.item = deadline.read_item

    def __next__(self) -> str:
        self.check()
        return next(self._found)


Changes = Mapping[Key, Item | None]
Decide = Callable[[StoredItems], tuple[Changes, _T]]


class TokenReused(InvalidArgument):
    """A token that named one request came with another."""


class Rows(NamedTuple):
    """Stored items in the order of their keys, by bytes of UTF-8.

    Attributes:
        secondary_index: the index that they are in. `pk`, `bounds` and the order are then of its keys.
        pk: their partition key.
        pk_prefix: the beginning of their partition keys. Without `pk` and `pk_prefix`: all rows.
        pk_is_longer: leave out the partition whose key is `pk_prefix` itself.
        bounds: comparisons with the sort key, such as `(">=", b"a")`.
        after: the key after which they begin; in an index, with `after_sort_key` before it, and without `pk` with
            `after_partition` before both.
        descending: the greatest sort key first; only within a partition.
        segment: number and count of a parallel scan's segments.
    """

    pk: str | None = None
    pk_prefix: str | None = None
    bounds: tuple[tuple[str, bytes], ...] = ()
    after: Key | None = None
    descending: bool = False
    segment: tuple[int, int] = (0, 1)
    pk_is_longer: bool = False
    secondary_index: Index | None = None
    after_sort_key: bytes = b""
    after_partition: bytes = b""

    def statement(self) -> tuple[str, list[bytes | int]]:
        """Return the SQL that selects them, and its parameters."""
        index, partition, sort_key = self.secondary_index, "pk", "sk"
        where: list[str] = ["TRUE"]
        parameters: list[bytes | int] = []
        if index is not None:
            keys = [statements.format_index_key(key) for key in index.keys]
            where = [statements.format_presence(index)]
            partition, sort_key = keys[0], keys[-1]  # without a sort key, that of all items of a partition is equal
        if self.pk is not None:
            where.append(f"{partition} = ?")
            parameters.append(index.pk.encode(self.pk) if index else self.pk.encode())
        elif self.pk_prefix:
            start = self.pk_prefix.encode()
            where += [f"pk {'>' if self.pk_is_longer else '>='} ?", "pk < ?"]
            parameters += [start, get_range_end(start)]
        for comparison, bound in self.bounds:
            where.append(f"{sort_key} {comparison} ?")
            parameters.append(bound)
        if self.after is not None:
            beginning, values = self._begin_after(self.after, partition, sort_key)
            where.append(beginning)
            parameters += values
        if self.segment[1] > 1:  # SQLite reads no document of another segment
            where.append("segment_of(pk, ?) = ?")
            parameters += [self.segment[1], self.segment[0]]
        columns = [] if self.pk is not None else [partition] if index else ["pk"]
        columns += [sort_key, "pk", "sk"] if index else ["sk"]
        order = ", ".join(f"{column} {'DESC' if self.descending else 'ASC'}" for column in columns)
        return f"SELECT document FROM items WHERE {' AND '.join(where)} ORDER BY {order}", parameters

    def _begin_after(self, after: Key, partition: str, sort_key: str) -> tuple[str, list[bytes | int]]:
        """Return the SQL of whether rows come after this key, and its parameters."""
        beyond = "<" if self.descending else ">"
        key = statements.encode_key(after)
        if self.secondary_index is None:
            return ("(pk, sk) > (?, ?)", [*key]) if self.pk is None else (f"sk {beyond} ?", [key[1]])
        # The first comparison alone lets SQLite seek; the others are for items with equal keys.
        comparison = f"{sort_key} {beyond}= ? AND ({sort_key} {beyond} ? OR (pk, sk) {beyond} (?, ?))"
        values: list[bytes | int] = [self.after_sort_key, self.after_sort_key, *key]
        if self.pk is None:
            comparison = f"{partition} >= ? AND ({partition} > ? OR {comparison})"
            values = [self.after_partition, self.after_partition, *values]
        return comparison, values


class LocalTable:
    """A table of items in a file, which the first write makes. Reads never make it.

    Its writes take turns in one thread, so that while another process holds the write lock, all worker threads are left
    for reads.

    Args:
        path: the file. Creates its directory, private to the user, if it does not exist.
        registry: it is a gateway's registry of deployments.

    Raises (each method):
        Misconfigured: the file is not ours or of the other kind, newer than this version, damaged, not writable, or on
            a network share.
        Unavailable: the disk is full or fails, or another process holds the write lock for long.
    """

    def __init__(self, path: Path, *, registry: bool = False) -> None:
        application_id = _REGISTRY_ID if registry else _APPLICATION_ID
        self._file = SqliteFile(
            path, application_id=application_id, schema=statements.SCHEMA, prepare=statements.add_functions
        )
        self._connections = ConnectionPool(self._file)
        self._writes = WriteQueue(self._connections)

    @property
    def path(self) -> Path:
        """Return the file, without symbolic links."""
        return self._file.path

    async def create(self) -> bool:
        """Create the file if it does not exist. Return whether this call did."""
        return await self._read(lambda connection, _: bool(connection and connection.has_made_table), create=True)

    async def exists(self) -> bool:
        """Return whether there is a file with a table in it."""
        return await self._read(lambda connection, _: connection is not None)

    async def warnings(self) -> list[str]:
        """See `SqliteFile.warnings`."""
        return await run_sync(self._file.warnings)

    async def items(self, keys: Sequence[Key], take: Callable[[StoredItems], _T]) -> _T:
        """Call `take` with the stored item of each key, None if there is none. All are read at the same moment.

        Large items are in memory for one call at a time, if `take` returns none of them.
        """

        def items(connection: Connection | None, deadline: Deadline) -> _T:
            if connection is None:
                return take(StoredItems(dict.fromkeys(keys), deadline.check))
            if len(keys) == 1:
                return take(_load_all(connection, keys, deadline))
            with transaction(connection, "DEFERRED"):
                return take(_load_all(connection, keys, deadline))

        return await self._read(items, brief=len(keys) == 1)

    async def read(self, rows: Rows, take: Callable[[Documents], _T]) -> _T:
        """Call `take` with the rows' items; it reads as many as it likes.

        A long comparison in `take` calls the documents' `check`, which raises if the time is over. `take` may be
        called again from the beginning.
        """
        statement, parameters = rows.statement()

        def read(connection: Connection | None, deadline: Deadline) -> _T:
            if connection is None:
                return take(Documents(iter(()), deadline))
            with closing(connection.execute(statement, parameters)) as found:
                return take(Documents((document for (document,) in found), deadline))

        return await self._read(read, brief=rows.pk is not None)

    async def change(self, keys: Sequence[Key], decide: Decide[_T]) -> _T:
        """Read items, let `decide` say what is to be stored, and store it: one transaction, alone on the file.

        Args:
            keys: of the items that `decide` receives.
            decide: takes each key's stored item, None if there is none; returns what is to be stored by key, None
                for no item, and the result. It runs in a worker thread, while others wait for the file: a long
                comparison calls `check`. An exception rolls the transaction back.

        Returns:
            What `decide` returns as its result.
        """
        return await self._writes.write(partial(_change, keys, decide))

    async def change_once(self, token: str, request: bytes, keys: Sequence[Key], decide: Decide[_T]) -> _T | None:
        """Make a change as `change` does, at most once for a token within ten minutes. Return None if already made.

        Args:
            token: the caller's name for this change.
            request: the request, or a hash of it.

        Raises:
            TokenReused: the token came with another request before.
        """

        def change(connection: Connection, deadline: Deadline) -> _T | None:
            now = int(time.time())
            connection.execute("DELETE FROM tokens WHERE expires <= ?", (now,))
            done = connection.execute("SELECT request FROM tokens WHERE token = ?", (token,)).fetchone()
            if done is None:
                result = _change(keys, decide, connection, deadline)
                connection.execute("INSERT INTO tokens VALUES (?, ?, ?)", (token, request, now + TOKEN_SECONDS))
                return result
            if done[0] != request:
                raise TokenReused("The token was used for another request within the last ten minutes.")
            return None

        return await self._writes.write(change)

    async def load_facts(self) -> dict[str, str]:
        """Return the facts about the table that `update_facts` has stored, by name."""

        return await self._read(lambda connection, _: statements.load_facts(connection) if connection else {})

    async def update_facts(self, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
        """Change the facts about the table in one transaction. `change` takes the facts and returns the new ones."""

        def update(connection: Connection, deadline: Deadline) -> None:
            facts = change(statements.load_facts(connection))
            connection.execute("DELETE FROM about")
            connection.executemany("INSERT INTO about VALUES (?, ?)", facts.items())

        await self._writes.write(update)

    async def get_indexes(self, *, required: bool = False) -> tuple[Index, ...]:
        """Return the table's secondary indexes in the order of their names."""

        def get(connection: Connection | None, deadline: Deadline) -> tuple[Index, ...]:
            return statements.load_indexes(connection) if connection else ()

        return await self._read(get, brief=True)

    async def create_indexes(
        self, indexes: Iterable[Index], check: Callable[[Sequence[Index]], None] = lambda known: None
    ) -> None:
        """Create secondary indexes, also over existing items, unless indexes of these names exist.

        Args:
            check: takes the existing indexes. An exception rolls the transaction back.
        """

        def create(connection: Connection, deadline: Deadline) -> None:
            known = statements.load_indexes(connection)
            check(known)
            deadline.release_lock()  # readers continue, and writers wait: 100,000 items take seconds
            for index in indexes:
                if index.name not in {each.name for each in known}:
                    statements.create_index(connection, index)

        await self._writes.write(create)

    async def drop_index(self, name: str) -> None:
        """Drop a secondary index. Nothing happens if there is none with this name."""
        await self._writes.write(lambda connection, _: statements.drop_index(connection, name))

    async def measure(self) -> tuple[int, int, dict[str, int]]:
        """Return the number of items, the bytes of the file, and the number of items in each secondary index."""

        def measure(connection: Connection | None, deadline: Deadline) -> tuple[int, int, dict[str, int]]:
            if connection is None:
                return 0, 0, {}
            (count,) = connection.execute("SELECT count(*) FROM items").fetchone()
            size = self.path.stat().st_size if count else 0
            indexes = statements.load_indexes(connection)
            return count, size, {index.name: statements.count_items(connection, index) for index in indexes}

        return await self._read(measure)

    async def remove(self) -> None:
        """Remove the file with all that is in it. Other processes that have it open find it gone."""

        def remove() -> None:
            self._connections.close_idle()
            for beside in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + beside).unlink(missing_ok=True)

        if await self.exists():
            await run_sync(remove)

    async def close(self) -> None:
        """Close the idle connections."""
        self._connections.close_idle()

    async def _read(
        self, work: Callable[[Connection | None, Deadline], _T], *, brief: bool = False, create: bool = False
    ) -> _T:
        """Do `work` with a connection, None if there is no file, in a worker thread. It is repeated after a lock.

        Work that may be `brief` is tried here first: a thread costs several times as much as the read of one item. Work
        that meets a long item is done again in the worker of conversions, one at a time.
        """

        def once(deadline: Deadline) -> _T:
            with self._connections.open(deadline, create=create) as connection:
                return work(connection, deadline)

        if brief and self._connections.idle:
            read: tuple[_T] | None = None
            began = time.thread_time()
            with suppress(NeedsWorker, FileLocked, Timeout):
                read = (once(Deadline(BRIEF_SECONDS)),)
            current_account.get().charge(time.thread_time() - began)
            await (
                checkpoint()
            )  # a listing may do hundreds of brief reads in a row, between which others have their turn
            if read:
                return read[0]
        read = await _in_thread(once) or await _in_thread(once, long=True)
        assert read
        return read[0]


async def _in_thread(once: Callable[[Deadline], _T], *, long: bool = False) -> tuple[_T] | None:
    """Return what `once` returns; None if it met a long item, since an error would hold what was read before."""
    deadline, meter = Deadline(limits.READ_SECONDS, long=long), Meter()

    def patiently() -> tuple[_T] | None:
        while True:
            try:
                return (once(deadline),)
            except NeedsWorker:
                return None
            except FileLocked as locked:
                deadline.wait_after(locked)

    def measured() -> tuple[_T] | None:
        with meter.measure():
            return patiently()

    try:
        if long:
            return await run_in_worker(patiently, abandon=True)
        return await run_sync(measured, abandon_on_cancel=True)
    finally:
        deadline.cancel()


def get_range_end(start: bytes) -> bytes:
    """Return the first byte string after all that start with `start`; empty if there is none, which UTF-8 never has."""
    start = start.rstrip(b"\xff")
    return start[:-1] + bytes([start[-1] + 1]) if start else b""


def _load_all(connection: Connection, keys: Sequence[Key], deadline: Deadline) -> StoredItems:
    """Return the stored items. Raises InvalidArgument if several are too much for memory together."""
    found, members, length = StoredItems({}, deadline.check), 0, 0
    for key in keys:
        deadline.check()
        document = statements.load_document(connection, key)
        if document is None:
            found[key] = None
            continue
        if len(keys) > 1:
            members, length = members + count_marks(document), length + len(document)
            deadline.check_length(length)
            if members > MEMBERS_MAX or length > _LENGTH_MAX:
                raise InvalidArgument(
                    f"The stored items have more than {MEMBERS_MAX} members or {_LENGTH_MAX} characters together."
                )
        found[key] = deadline.read_item(document)
    return found


def _change(keys: Sequence[Key], decide: Decide[_T], connection: Connection, deadline: Deadline) -> _T:
    stored = _load_all(connection, keys, deadline)
    stored.indexes = statements.load_indexes(connection)
    changes, result = decide(stored)
    for key, item in changes.items():
        deadline.check()
        statements.store_item(connection, key, item)
    return result
