"""The bounds of `where`: time, errors on the way, cancellation, and how much is shown."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, OutcomeUnknown, Throttled, Timeout, Unauthenticated
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service import concurrency
from ddb_mcp.service.service import DataService
from ddb_mcp.service.writing import where as selected
from ddb_mcp.stores.base import NO_CONDITION, Deleted, StorePage
from ddb_mcp.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from ddb_mcp.core.items import Item
    from ddb_mcp.core.keys import Key
    from ddb_mcp.stores.base import Read, WriteCondition

PK = "deploy#a#x"
WHERE = {"pk": PK}


class Faulty(LocalStore):
    """Fails, waits or answers with others' items where a test says so."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "t")
        self.fails: dict[str, DdbMcpError] = {}
        self.begun: list[str] = []
        self.before: Callable[[], Awaitable[None]] | None = None

    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Deleted:
        self.begun.append(key.sk)
        if self.before is not None:
            await self.before()
        if key.sk in self.fails:
            raise self.fails[key.sk]
        return await super().delete(key, condition)


@pytest.fixture
def store_of(tmp_path: Path) -> Iterator[Callable[[int], Faulty]]:
    """Makes the test's store, with so many items. It is closed after the test."""
    store = Faulty(tmp_path / "items.db")

    async def seed(number: int) -> None:
        service = DataService(store, Prefix("deploy#a"))
        for start in range(0, number, 100):
            items = [{"pk": PK, "sk": f"{at:04}"} for at in range(start, min(number, start + 100))]
            await service.run_operation("put", {"items": items})

    def filled(number: int) -> Faulty:
        anyio.run(seed, number)
        return store

    yield filled
    anyio.run(store.close)


def called(store: LocalStore, operation: str = "delete", /, **arguments: Any) -> dict[str, Any]:
    options = {name: arguments.pop(name) for name in ("max_result_bytes",) if name in arguments}

    async def call() -> dict[str, Any]:
        return await DataService(store, Prefix("deploy#a"), cursor_key=bytes(32), **options).run_operation(
            operation, arguments
        )

    return anyio.run(call)


def left(store: LocalStore) -> list[str]:
    return [item["sk"] for item in called(store, "query", pk=PK, limit=1000)["items"]]


def test_failures_are_counted_and_the_first_are_named(store_of: Callable[[int], Faulty]) -> None:
    store = store_of(60)
    store.fails = {f"{at:04}": OutcomeUnknown("Its answer was lost.") for at in range(30)}
    result = called(store, where=WHERE)
    assert (result["matched"], result["deletedCount"], result["failedCount"]) == (60, 30, 30)
    assert result["complete"] is True
    assert len(result["failed"]) == limits.WHERE_FAILURES
    assert result["failed"][0]["error"]["code"] == "outcome_unknown"
    assert result["failed"][0]["pk"] == PK
    assert called(store, where=WHERE, max_result_bytes=1500)["failedCount"] == 30


def test_an_error_that_every_write_would_meet_ends_the_call_where_it_can_go_on(
    store_of: Callable[[int], Faulty],
) -> None:
    store = store_of(60)
    store.fails = {"0040": Throttled("Too much at once.")}
    result = called(store, where=WHERE)
    assert result["complete"] is False
    assert result["failed"][-1]["sk"] == "0040"
    assert "Too much at once" in result["warnings"][0]
    assert result["deletedCount"] == result["matched"] - 1
    assert len(left(store)) == 60 - result["deletedCount"]
    store.fails = {}
    again = called(store, where=WHERE, cursor=result["cursor"])
    assert (again["complete"], left(store)) == (True, ["0040"])


def test_an_error_before_anything_was_done_is_an_error(store_of: Callable[[int], Faulty]) -> None:
    store = store_of(40)
    store.fails = {f"{at:04}": Unauthenticated("The token is over.") for at in range(40)}
    with pytest.raises(Unauthenticated):
        called(store, where=WHERE)
    assert len(left(store)) == 40


def test_a_read_that_fails_on_the_way_leaves_a_cursor(
    store_of: Callable[[int], Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(60)
    query, asked = store.query, 0

    async def pages(read: Read) -> StorePage:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Throttled("Too much at once.")
        return await query(read._replace(limit=25))

    monkeypatch.setattr(store, "query", pages)
    result = called(store, where=WHERE)
    assert (result["deletedCount"], result["complete"]) == (25, False)
    result = called(store, where=WHERE, cursor=result["cursor"])
    assert (result["deletedCount"], result["complete"]) == (35, True)


def test_no_write_begins_after_the_time_of_a_call_and_those_begun_are_awaited(
    store_of: Callable[[int], Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(60)
    now, late = selected._get_time, 0.0
    monkeypatch.setattr(selected, "_get_time", lambda: now() + late)

    async def time_is_over_at_the_20th() -> None:
        nonlocal late
        late = limits.WHERE_SECONDS if len(store.begun) >= 20 else 0.0

    store.before = time_is_over_at_the_20th
    result = called(store, where=WHERE)
    assert result["complete"] is False
    assert 20 <= result["matched"] == result["deletedCount"] == len(store.begun) < 60
    assert left(store) == [f"{at:04}" for at in range(len(store.begun), 60)]
    store.before, late = None, 0.0
    again = called(store, where=WHERE, cursor=result["cursor"])
    assert (again["complete"], left(store)) == (True, [])


def test_a_call_in_which_nothing_could_begin_is_a_timeout(
    store_of: Callable[[int], Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(5)
    now, asked = selected._get_time, 0

    def over_after_the_read() -> float:
        nonlocal asked
        asked += 1
        return now() if asked == 1 else now() + limits.WHERE_SECONDS

    monkeypatch.setattr(selected, "_get_time", over_after_the_read)
    with pytest.raises(Timeout):
        called(store, where=WHERE)
    assert (len(store.begun), len(left(store))) == (0, 5)


def test_no_write_begins_after_a_call_was_cancelled(store_of: Callable[[int], Faulty]) -> None:
    store = store_of(60)

    async def cancelled() -> None:
        sixteen, never = anyio.Event(), anyio.Event()

        async def wait() -> None:
            if len(store.begun) == concurrency.CONCURRENT_WRITES:
                sixteen.set()
            await never.wait()

        store.before = wait
        async with anyio.create_task_group() as group:
            group.start_soon(DataService(store, Prefix("deploy#a")).run_operation, "delete", {"where": WHERE})
            await sixteen.wait()
            group.cancel_scope.cancel()

    anyio.run(cancelled)
    assert len(store.begun) == concurrency.CONCURRENT_WRITES
    assert len(left(store)) == 60


def test_progress_is_told(store_of: Callable[[int], Faulty]) -> None:
    store = store_of(250)
    told: list[str] = []

    async def progress(message: str) -> None:
        told.append(message)

    async def call() -> None:
        await DataService(store, Prefix("deploy#a")).run_operation("delete", {"where": WHERE}, progress)

    anyio.run(call)
    assert len(told) == 2
    assert told[-1].startswith("200 items selected, ")


class Careless(LocalStore):
    """Ignores what it is to read: the partition, the range and the prefix, but for the deployment's own."""

    async def query(self, read: Read) -> StorePage:
        position = None if read.position is None else [read.pk, read.position]
        return await self.scan(read._replace(pk=None, pk_prefix="", position=position))

    async def scan(self, read: Read) -> StorePage:
        return await super().scan(read._replace(pk_prefix="deploy#a#", pk_is_longer=False))


@pytest.mark.parametrize(
    ("where", "selected"),
    [
        ({"pk": PK}, {"x1", "x2", "x3"}),
        ({"pk": PK, "sk_prefix": "2"}, {"x2"}),
        ({"pk": PK, "sk_from": "2", "sk_to": "2"}, {"x2"}),
        ({"pk_prefix": "deploy#a#y"}, {"y1", "yy1"}),
        ({"pk_prefix": "deploy#a#yy"}, {"yy1"}),
    ],
)
def test_nothing_outside_the_selection_is_shown_or_written(
    tmp_path: Path, where: dict[str, str], selected: set[str]
) -> None:
    store = Careless(tmp_path / "items.db", "t")
    keys = [("deploy#a#x", "1"), ("deploy#a#x", "2"), ("deploy#a#x", "3"), ("deploy#a#y", "1"), ("deploy#a#yy", "1")]
    called(store, "put", items=[{"pk": pk, "sk": sk} for pk, sk in keys])
    read = called(store, "query" if "pk" in where else "scan", **where)
    assert {_name(item) for item in read["items"]} == selected
    assert called(store, where=where, dry_run=True)["matched"] == len(selected)
    assert called(store, "put", where=where, item={"n": 1})["written"] == len(selected)
    everything = called(store, "scan")["items"]
    assert {_name(item) for item in everything if "n" in item} == selected
    assert called(store, where=where)["deletedCount"] == len(selected)
    assert len(called(store, "scan")["items"]) == 5 - len(selected)


def _name(item: dict[str, Any]) -> str:
    return f"{item['pk']}{item['sk']}".removeprefix("deploy#a#")


def test_a_partition_with_the_prefix_itself_as_its_key_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(tmp_path / "items.db", "t")
    own: Item = {"pk": {"S": PK}, "sk": {"S": "1"}}
    for item in (own, {**own, "pk": {"S": "deploy#a#"}}):
        anyio.run(partial(store.put, item, NO_CONDITION))
    page = called(store, "scan")
    assert (page["count"], page["scanned"]) == (1, 1)
    assert called(store, "scan", pk_prefix=PK)["count"] == 1
    assert not caplog.records
