"""Writes that wait for their turn share a transaction, and each of them is still for itself."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.core.errors import DdbMcpError, InvalidArgument
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.local import write_queue
from ddb_mcp.stores.local.file import transaction
from tests.local.data import Data, pk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ddb_mcp.stores.local.table import Changes, StoredItems

COUNTER = Key(pk("a"), "counter")


def put(sk: str, stored: StoredItems) -> tuple[Changes, str]:
    return {Key(pk("a"), sk): {"pk": {"S": pk("a")}, "sk": {"S": sk}}}, sk


def count(stored: StoredItems) -> tuple[Changes, int]:
    n = int((stored[COUNTER] or {"n": {"N": "0"}})["n"]["N"]) + 1
    return {COUNTER: {"pk": {"S": COUNTER.pk}, "sk": {"S": COUNTER.sk}, "n": {"N": str(n)}}}, n


def refuse(stored: StoredItems) -> tuple[Changes, str]:
    raise InvalidArgument("no")


def put_half(stored: StoredItems) -> tuple[Changes, str]:
    """A change whose second item cannot be stored."""
    changes, done = put("half", stored)
    return {**changes, Key(pk("a"), "\ud800"): None}, done


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each transaction of this process that was committed."""
    made: list[str] = []

    @contextmanager
    def counted(connection: sqlite3.Connection) -> Iterator[None]:
        with transaction(connection):
            yield
        made.append("committed")

    monkeypatch.setattr(write_queue, "transaction", counted)
    return made


def all_at_once(data: Data, file: Path, decisions: list[Any]) -> list[Any]:
    """What becomes of changes that all wait for another process's lock."""
    data.call("provision")
    outcomes: list[Any] = [None] * len(decisions)

    async def change(at: int, decide: Any) -> None:
        try:
            outcomes[at] = await data.store.change([COUNTER], decide)
        except DdbMcpError as error:
            outcomes[at] = error.code
        except UnicodeError:
            outcomes[at] = "failed"

    async def run() -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as group:
                for at, decide in enumerate(decisions):
                    group.start_soon(change, at, decide)
                await anyio.wait_all_tasks_blocked()
                connection.execute("ROLLBACK")

    anyio.run(run)
    return outcomes


def test_writes_that_wait_share_a_transaction(data: Data, file: Path, transactions: list[str]) -> None:
    assert sorted(all_at_once(data, file, [count] * 50)) == list(range(1, 51))
    assert data.call("get", pk=COUNTER.pk, sk=COUNTER.sk)["item"]["n"] == 50
    assert len(transactions) <= 5


def test_one_that_is_refused_leaves_the_others(data: Data, file: Path) -> None:
    decisions = [refuse if at % 3 == 0 else partial(put, f"{at:02}") for at in range(12)]
    outcomes = all_at_once(data, file, decisions)
    assert outcomes == ["invalid_argument" if at % 3 == 0 else f"{at:02}" for at in range(12)]
    assert data.sort_keys() == [f"{at:02}" for at in range(12) if at % 3]


def test_one_that_fails_when_half_of_it_is_written_leaves_the_others_and_nothing_of_its_own(
    data: Data, file: Path
) -> None:
    decisions = [put_half if at in (0, 5) else partial(put, f"{at:02}") for at in range(8)]
    outcomes = all_at_once(data, file, decisions)
    assert outcomes == ["failed" if at in (0, 5) else f"{at:02}" for at in range(8)]
    assert data.sort_keys() == ["01", "02", "03", "04", "06", "07"]


def test_one_that_is_cancelled_leaves_the_others(data: Data, file: Path) -> None:
    data.call("provision")

    async def in_order() -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as group:
                async with anyio.create_task_group() as cancelled:
                    for at in range(10):
                        among = cancelled if at % 2 == 0 else group
                        among.start_soon(data.store.change, [], partial(put, f"{at:02}"))
                    await anyio.wait_all_tasks_blocked()
                    cancelled.cancel_scope.cancel()
                connection.execute("ROLLBACK")

    anyio.run(in_order)
    assert data.sort_keys() == ["01", "03", "05", "07", "09"]


def test_several_event_loops_may_write(data: Data) -> None:
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda _: anyio.run(partial(data.store.change, [COUNTER], count)), range(40)))
    assert data.call("get", pk=COUNTER.pk, sk=COUNTER.sk)["item"]["n"] == 40
