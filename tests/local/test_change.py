"""One transaction that reads, decides and writes, on a file that any number of processes share."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.stores.local.table import TokenReused
from tests.local.data import Data, pk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ddb_mcp.stores.local.table import Changes, StoredItems

ONE, TWO = Key(pk("a"), "1"), Key(pk("b"), "2")


def item(key: Key, n: int) -> dict[str, Any]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}, "n": {"N": str(n)}}


def count_up(stored: StoredItems) -> tuple[Changes, int]:
    """Add one to both items."""
    n = int((stored[ONE] or {"n": {"N": "0"}})["n"]["N"])
    assert (stored[ONE] is None) == (stored[TWO] is None)
    return {ONE: item(ONE, n + 1), TWO: item(TWO, n + 1)}, n


def change(data: Data, decide: Callable[[StoredItems], tuple[Changes, Any]]) -> Any:
    return anyio.run(partial(data.store.change, [ONE, TWO], decide))


def change_once(data: Data, token: str, request: bytes) -> Any:
    return anyio.run(partial(data.store.change_once, token, request, [ONE, TWO], count_up))


def counts(data: Data) -> list[int | None]:
    return [data.call("get", pk=key.pk, sk=key.sk).get("item", {}).get("n") for key in (ONE, TWO)]


def test_it_reads_decides_and_writes(data: Data) -> None:
    assert [change(data, count_up), change(data, count_up)] == [0, 1]
    assert counts(data) == [2, 2]
    assert change(data, lambda stored: ({TWO: None}, stored[TWO])) == item(TWO, 2)
    assert counts(data) == [2, None]


def test_what_is_raised_leaves_everything_as_it_was(data: Data) -> None:
    change(data, count_up)

    def refuse(stored: StoredItems) -> tuple[Changes, None]:
        raise InvalidArgument("no")

    with pytest.raises(InvalidArgument):
        change(data, refuse)
    assert counts(data) == [1, 1]


def test_tasks_and_processes_lose_no_change(data: Data, file: Path) -> None:
    script = "import sys; from pathlib import Path; from tests.local.test_change import *\n"
    script += "data = Data(Path(sys.argv[1]))\nfor _ in range(50): change(data, count_up)"
    others = [subprocess.Popen([sys.executable, "-c", script, str(file)]) for _ in range(2)]

    async def changes() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(data.store.change, [ONE, TWO], count_up)

    anyio.run(changes)
    assert [other.wait() for other in others] == [0, 0]
    assert counts(data) == [150, 150]


def test_a_token_does_its_change_once(data: Data, file: Path, open_data: Callable[[Path], Data]) -> None:
    assert change_once(data, "token", b"request") == 0
    assert change_once(data, "token", b"request") is None
    assert change_once(open_data(file), "token", b"request") is None
    with pytest.raises(TokenReused):
        change_once(data, "token", b"another")
    assert change_once(data, "token 2", b"another") == 1
    assert counts(data) == [2, 2]


def test_a_change_that_was_refused_does_not_use_up_its_token(data: Data) -> None:
    def refuse(stored: StoredItems) -> tuple[Changes, int]:
        raise InvalidArgument("no")

    with pytest.raises(InvalidArgument):
        anyio.run(partial(data.store.change_once, "token", b"request", [ONE, TWO], refuse))
    assert change_once(data, "token", b"request") == 0


def test_a_token_ends_after_ten_minutes(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    assert change_once(data, "token", b"request") == 0
    monkeypatch.setattr(time, "time", lambda: now + 599)
    assert change_once(data, "token", b"request") is None
    monkeypatch.setattr(time, "time", lambda: now + 602)
    assert change_once(data, "token", b"another") == 1


FIRST_SCHEMA = [
    "CREATE TABLE items (pk BLOB NOT NULL, sk BLOB NOT NULL, document TEXT NOT NULL, expires INTEGER, "
    "PRIMARY KEY (pk, sk)) WITHOUT ROWID",
    "CREATE INDEX items_expires ON items (expires) WHERE expires IS NOT NULL",
    f"PRAGMA application_id = {int.from_bytes(b'ddmc')}",
    "PRAGMA user_version = 1",
    "PRAGMA journal_mode = WAL",
]


def first_version(file: Path) -> None:
    """A file as the first version made it, with one item."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in FIRST_SCHEMA:
            connection.execute(statement)
        document = f'{{"pk":{{"S":"{ONE.pk}"}},"sk":{{"S":"1"}},"n":{{"N":"7"}}}}'
        connection.execute("INSERT INTO items VALUES (?, ?, ?, NULL)", (ONE.pk.encode(), b"1", document))


def test_a_file_of_the_first_version_is_brought_up_to_date(data: Data, file: Path) -> None:
    first_version(file)
    assert counts(data) == [7, None]
    anyio.run(partial(data.store.change_once, "token", b"", [ONE], lambda stored: ({TWO: item(TWO, 7)}, None)))
    assert counts(data) == [7, 7]
    data.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)


def test_twenty_threads_bring_it_up_to_date_at_once(file: Path) -> None:
    first_version(file)
    stores = [LocalStore(file, "test") for _ in range(20)]

    def get(store: LocalStore) -> Any:
        return anyio.run(store.get, ONE)

    with ThreadPoolExecutor(20) as executor:
        assert [found["n"] for found in executor.map(get, stores)] == [{"N": "7"}] * 20
    for store in stores:
        anyio.run(store.close)
