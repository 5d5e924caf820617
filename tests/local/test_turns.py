"""Deployments take turns with their writes, whatever one of them has waiting, and connections are used again."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.errors import Timeout
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import NO_CONDITION, Read
from ddb_mcp.stores.local import file as file_module
from ddb_mcp.stores.local import write_queue
from ddb_mcp.stores.local.file import Connection, SqliteFile, transaction
from ddb_mcp.stores.local.statements import get_segment
from ddb_mcp.stores.local.table import Rows
from ddb_mcp.stores.workers import Account, current_account
from tests.local.data import Data, pk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ddb_mcp.stores.local.table import Changes, StoredItems

COMMIT = "commit"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The owner of each write that is made, and each commit, in order."""
    steps: list[str] = []

    @contextmanager
    def counted(connection: sqlite3.Connection) -> Iterator[None]:
        with transaction(connection):
            yield
        steps.append(COMMIT)

    monkeypatch.setattr(write_queue, "transaction", counted)
    return steps


def write_all(data: Data, file: Path, steps: list[str], owners: list[str]) -> None:
    """Write one item for each of `owners`, all of which wait for another process's lock first."""
    data.call("provision")

    async def write(at: int, owner: str) -> None:
        def decide(stored: StoredItems) -> tuple[Changes, None]:
            steps.append(owner)
            return {Key(pk(owner), str(at)): {"pk": {"S": pk(owner)}, "sk": {"S": str(at)}}}, None

        current_account.set(Account(owner, lambda seconds: None))
        await data.store.change([], decide)

    async def run() -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as group:
                for at, owner in enumerate(owners):
                    group.start_soon(write, at, owner)
                await anyio.wait_all_tasks_blocked()
                connection.execute("ROLLBACK")

    anyio.run(run)


@pytest.mark.parametrize("seconds", [0, 1000])
def test_deployments_take_turns(
    data: Data, file: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(write_queue, "TRANSACTION_SECONDS", seconds)
    write_all(data, file, steps, ["hostile"] * 60 + ["a", "b"] * 3)
    turns = [step for step in steps if step != COMMIT]
    assert turns == ["hostile", "a", "b"] * 3 + ["hostile"] * 57
    assert len(data.sort_keys()) == 66


def test_a_transaction_that_has_taken_its_time_takes_no_further_write(
    data: Data, file: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a write of another deployment waits for one write at most, and for no other's flush."""
    monkeypatch.setattr(write_queue, "TRANSACTION_SECONDS", 0)
    write_all(data, file, steps, ["hostile"] * 20 + ["other"])
    assert steps[1::2] == [COMMIT] * 21
    assert steps[:4:2] == ["hostile", "other"]


def test_a_write_that_joins_while_others_are_made_has_the_next_turn(data: Data, steps: list[str]) -> None:
    async def run() -> None:
        async with anyio.create_task_group() as group:

            async def write(owner: str, decide: Any) -> None:
                current_account.set(Account(owner, lambda seconds: None))
                await data.store.change([], decide)

            def hostile(at: int, stored: StoredItems) -> tuple[Changes, None]:
                steps.append("hostile")
                if at == 5:  # in the thread of writes
                    anyio_loop.call_soon_threadsafe(partial(group.start_soon, write, "other", other))
                    while not data.store._writes._waiting.has("other"):
                        stored.check()
                return {}, None

            def other(stored: StoredItems) -> tuple[Changes, None]:
                steps.append("other")
                return {}, None

            anyio_loop = asyncio.get_running_loop()
            for at in range(40):
                group.start_soon(write, "hostile", partial(hostile, at))

    anyio.run(run)
    turns = [step for step in steps if step != COMMIT]
    assert turns.index("other") == 6
    assert len(turns) == 41


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Each connection that is opened."""
    opened: list[Connection] = []
    connect = SqliteFile.connect

    def count(file: SqliteFile) -> Connection:
        opened.append(connect(file))
        return opened[-1]

    monkeypatch.setattr(SqliteFile, "connect", count)
    return opened


def test_reading_long_items_keeps_connections(data: Data, opened: list[Connection]) -> None:
    item = {"pk": {"S": pk("a")}, "sk": {"S": "1"}, "text": {"S": "x" * 100_000}}

    async def run() -> None:
        await data.store.put(item, NO_CONDITION)
        for _ in range(5):
            assert await data.store.get(Key(pk("a"), "1")) == item
            assert (await data.store.query(Read(pk=pk("a")))).items == [item]
            assert (await data.store.scan(Read(pk_prefix=pk("")))).items == [item]

    anyio.run(run)
    assert len(opened) == 1


def test_a_read_that_is_interrupted_keeps_its_connection(
    data: Data, opened: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    data.put_all([{"pk": pk("a"), "sk": f"{at:05}"} for at in range(1000)])
    before = len(opened)
    monkeypatch.setattr(file_module, "SQLITE_STEPS", 10)
    with monkeypatch.context() as hasty:
        hasty.setattr(limits, "READ_SECONDS", -1)
        with pytest.raises(Timeout):
            anyio.run(data.store.read, Rows(segment=(1 - get_segment(pk("a").encode(), 2), 2)), list)
    assert anyio.run(data.store.measure)[0] == 1000
    assert len(opened) == before


def test_reads_and_writes_are_charged_to_whoever_makes_them(data: Data) -> None:
    charges: list[float] = []

    async def run() -> list[int]:
        current_account.set(Account("a", charges.append))
        counts = []
        for work in (
            data.store.put({"pk": {"S": pk("a")}, "sk": {"S": "1"}}, NO_CONDITION),
            data.store.scan(Read(pk_prefix=pk(""))),
            data.store.delete(Key(pk("a"), "1"), NO_CONDITION),
        ):
            await work
            await anyio.lowlevel.checkpoint()
            counts.append(len(charges))
        return counts

    assert anyio.run(run) == [1, 2, 3]
    assert all(seconds > 0 for seconds in charges)


def test_brief_reads_in_a_row_leave_others_their_turn_and_are_charged(data: Data) -> None:
    data.call("put", item={"pk": pk("a"), "sk": "1"})
    charged: list[float] = []
    turns = 0

    async def read() -> None:
        nonlocal turns

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        current_account.set(Account("reader", charged.append))
        await data.store.get(Key(pk("a"), "1"))  # leaves a connection for brief reads
        charged.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(count)
            for _ in range(50):
                await data.store.get(Key(pk("a"), "1"))
            group.cancel_scope.cancel()

    anyio.run(read)
    assert turns >= 49
    assert len(charged) >= 50
