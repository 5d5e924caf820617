"""A call's thread ends with the call: cancelled or out of time, in comparisons, in SQL and at another's lock."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import Comparison
from ddb_mcp.core.errors import Timeout
from ddb_mcp.stores.base import NO_CONDITION, Read, WriteCondition
from ddb_mcp.stores.local import deadline, store
from ddb_mcp.stores.local import file as file_module
from ddb_mcp.stores.local.statements import get_segment
from ddb_mcp.stores.local.table import Changes, Documents, Rows, StoredItems
from tests.local.data import Data, pk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from ddb_mcp.core.items import Item

LONG = 20_000
KEY: Item = {"pk": {"S": pk("a")}, "sk": {"S": "1"}}


@pytest.fixture(scope="module")
def endless() -> Comparison:
    """Minutes of comparing: each value is equal to the list of `long` but for its end. It takes 300 MB."""
    ones = [{"N": "1"}] * (LONG - 1)
    return Comparison(("list",), "in", tuple({"L": [*ones, {"N": str(at)}]} for at in range(2, 2000)))


@pytest.fixture
def long(data: Data) -> Data:
    """An item whose comparison with `endless` takes minutes."""
    anyio.run(data.store.put, {**KEY, "list": {"L": [{"N": "1"}] * LONG}}, NO_CONDITION)
    return data


def cancelled(call: Callable[[], Awaitable[Any]], begun: threading.Event | None = None) -> None:
    """Call, and cancel the call once it has begun."""

    async def cancel() -> None:
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await call()
                raise AssertionError("it was not cancelled")

            group.start_soon(run)
            if begun is None:
                await anyio.sleep(0.2)
            else:
                await anyio.to_thread.run_sync(begun.wait, 300)
            group.cancel_scope.cancel()

    anyio.run(cancel)


def is_idle(data: Data) -> bool:
    """Whether the thread has given its connection back; it does so at its end only."""
    for _ in range(6000):
        if data.store._connections.idle:
            return True
        threading.Event().wait(0.01)
    return False


@pytest.mark.parametrize("operation", ["query", "scan"])
def test_a_cancelled_read_compares_no_more(long: Data, endless: Comparison, operation: str) -> None:
    read = Read(pk=pk("a"), filter=(endless,)) if operation == "query" else Read(pk_prefix=pk(""), filter=(endless,))
    cancelled(lambda: getattr(long.store, operation)(read))
    assert is_idle(long)


def test_a_cancelled_write_compares_no_more_and_writes_nothing(long: Data, endless: Comparison) -> None:
    cancelled(lambda: long.store.put(KEY, WriteCondition(expect=(endless,))))
    assert is_idle(long)
    assert "list" in long.call("get", pk=pk("a"), sk="1")["item"]


def test_a_condition_does_not_hold_the_file_for_long(
    long: Data, endless: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hasty:
        hasty.setattr(deadline, "LOCK_HELD_SECONDS", 0.1)
        with pytest.raises(Timeout, match="nothing was written"):
            anyio.run(long.store.put, KEY, WriteCondition(expect=(endless,)))
    assert is_idle(long)
    long.put("2")
    assert long.sort_keys() == ["1", "2"]


def test_a_read_out_of_time_ends_in_a_comparison(
    long: Data, endless: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_SECONDS", 0.1)
    with pytest.raises(Timeout):
        anyio.run(long.store.query, Read(pk=pk("a"), filter=(endless,)))
    assert is_idle(long)


def test_what_reads_for_the_app_is_ended_too(data: Data) -> None:
    data.put("1")
    begun = threading.Event()

    def take(documents: Documents) -> None:
        begun.set()
        while True:
            documents.check()

    cancelled(lambda: data.store.read(Rows(), take), begun)
    assert is_idle(data)

    def decide(stored: StoredItems) -> tuple[Changes, None]:
        begun.set()
        while True:
            stored.check()

    begun.clear()
    cancelled(lambda: data.store.change([], decide), begun)
    assert is_idle(data)


def test_sql_is_ended(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment without an item is looked for in all of the file."""
    monkeypatch.setattr(file_module, "SQLITE_STEPS", 10)
    data.put_all([{"pk": pk("a"), "sk": f"{at:05}"} for at in range(2000)])
    empty = 1 - get_segment(pk("a").encode(), 2)
    assert anyio.run(data.store.read, Rows(segment=(empty, 2)), list) == []
    monkeypatch.setattr(limits, "READ_SECONDS", 0)
    with pytest.raises(Timeout):
        anyio.run(data.store.read, Rows(segment=(empty, 2)), lambda documents: next(documents, None))


def test_a_cancelled_write_does_not_wait_on_for_a_lock(data: Data, file: Path) -> None:
    data.put("1")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cancelled(lambda: data.store.put({**KEY, "sk": {"S": "2"}}, NO_CONDITION))
        assert is_idle(data)
        other.execute("ROLLBACK")
    assert data.sort_keys() == ["1"]


@pytest.mark.parametrize("operation", ["query", "scan"])
def test_a_page_ends_in_time_and_the_listing_goes_on(
    data: Data, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SQLITE_PAGE_SECONDS", -1)
    data.put_all([{"pk": pk("a"), "sk": str(at)} for at in range(5)])
    read = Read(pk=pk("a")) if operation == "query" else Read(pk_prefix=pk(""))
    page = anyio.run(getattr(data.store, operation), read)
    assert (len(page.items), page.scanned, page.next) == (1, 1, [pk("a"), "0"])
    found = data.call(operation, **({"pk": pk("a")} if operation == "query" else {}))
    assert [item["sk"] for item in found["items"]] == ["0", "1", "2", "3", "4"]
    assert found["complete"] is True


def test_a_read_that_is_not_brief_is_done_again_from_its_beginning(data: Data) -> None:
    for at in range(3):
        anyio.run(data.store.put, {**KEY, "sk": {"S": str(at)}}, NO_CONDITION)
    taken: list[list[str]] = []

    def take(documents: Documents) -> int:
        taken.append([])
        for document in documents:
            taken[-1].append(document)
            if len(taken) == 1:
                raise Timeout("not brief", next="")
        return len(taken[-1])

    assert anyio.run(data.store.read, Rows(pk("a")), take) == 3
    assert [len(documents) for documents in taken] == [1, 3]
