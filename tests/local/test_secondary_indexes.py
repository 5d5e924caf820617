"""Secondary indexes in the file: SQLite keeps them in step with the items, whatever happens to the processes."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import time
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.core.indexes import Index, IndexKey, encode_sort_bytes, parse_indexes
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.local import write_queue
from ddb_mcp.stores.local.statements import add_functions
from ddb_mcp.stores.local.table import Rows
from tests.local.data import Child, Data, pk

if TYPE_CHECKING:
    from pathlib import Path

CHANCE = random.Random(7)
INDEXES = parse_indexes("GSI1=GSI1PK,GSI1SK; byScore=GSI1PK,score:N; inverted=sk,pk")


def create(data: Data, *indexes: Index) -> None:
    anyio.run(data.store.create_indexes, indexes or INDEXES)


def list_index(data: Data, index: str, key: str) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = data.call("query", index=index, pk=key, limit=1000, cursor=cursor)
        found += [f"{item['pk']} {item['sk']}" for item in page["items"]]
        cursor = page.get("cursor")
        if page["complete"]:
            return found


def check_agreement(data: Data) -> None:
    """Compare each index with a scan of all items."""
    items = data.call("scan", limit=1000)["items"]
    for index in INDEXES:
        by_partition: dict[str, list[tuple[Any, ...]]] = {}
        for item in items:
            if all(key.name in item for key in index.keys):
                *sort, key = (item[key.name] for key in reversed(index.keys))
                by_partition.setdefault(str(key), []).append((*sort, item["pk"], item["sk"]))
        assert by_partition
        for partition, entries in by_partition.items():
            assert list_index(data, index.name, partition) == [f"{entry[-2]} {entry[-1]}" for entry in sorted(entries)]


def make_item(number: int) -> dict[str, Any]:
    index_keys = {"GSI1PK": pk(f"g{number % 3}"), "GSI1SK": f"{number % 7}", "score": number % 11}
    return {"pk": pk("a"), "sk": f"{number:04}", **dict(CHANCE.sample(sorted(index_keys.items()), number % 4))}


def test_items_that_were_there_before_are_in_it(data: Data) -> None:
    data.put_all([make_item(number) for number in range(300)])
    create(data)
    check_agreement(data)
    data.put_all([make_item(number) for number in range(150, 450)])
    check_agreement(data)


def test_swept_items_leave_it(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    create(data)
    data.put("0", GSI1PK=pk("x"), GSI1SK="1", ttl=int(time.time()) - 3600)
    data.put("1", GSI1PK=pk("x"), GSI1SK="1")
    monkeypatch.setattr(write_queue, "SWEEP_SECONDS", 0)
    data.put("2", GSI1PK=pk("x"), GSI1SK="1")
    assert list_index(data, "GSI1", pk("x")) == [f"{pk('a')} 1", f"{pk('a')} 2"]


def test_other_processes_see_it_at_once(data: Data, file: Path) -> None:
    data.put("0", GSI1PK=pk("x"), GSI1SK="1")
    with Child(file) as child:
        assert child.answer("info")["result"]["indexes"] == []
        create(data)
        assert len(child.answer("info")["result"]["indexes"]) == 3
        answer = child.answer("put", item={"pk": pk("a"), "sk": "1", "GSI1PK": "deploy#other#1"})
        assert answer["error"]["code"] == "prefix_violation"
        anyio.run(data.store.drop_index, "GSI1")
        answer = child.answer("query", index="GSI1", pk=pk("x"))
        assert answer["error"]["next"] == "Its indexes: byScore, inverted."


def test_a_cursor_to_an_index_that_is_gone(data: Data) -> None:
    create(data)
    for number in range(4):
        data.put(str(number), GSI1PK=pk("x"), GSI1SK=str(number))
    arguments: dict[str, Any] = {"index": "GSI1", "pk": pk("x"), "limit": 2}
    cursor = data.call("query", **arguments)["cursor"]
    anyio.run(data.store.drop_index, "GSI1")
    assert data.answer("query", **arguments, cursor=cursor)["error"]["code"] == "invalid_argument"
    create(data, Index("GSI1", IndexKey("GSI1PK"), IndexKey("score", "N")))
    assert data.answer("query", **arguments, cursor=cursor)["error"]["code"] == "invalid_cursor"
    create(data, INDEXES[0])  # there is one of that name
    assert data.answer("query", **arguments, cursor=cursor)["error"]["code"] == "invalid_cursor"


def test_processes_are_killed_while_they_write(data: Data, file: Path) -> None:
    create(data)
    data.put("always", GSI1PK=pk("g0"), GSI1SK="1", score=1)  # in every index, however early the first kill comes
    acknowledged: set[str] = set()
    for round_ in range(6):
        with Child(file) as child:
            for step in range(CHANCE.randrange(2, 12)):
                number = 100 * round_ + step
                if "result" in child.answer("put", item=make_item(number)):
                    acknowledged.add(f"{number:04}")
            child.start("put", items=[make_item(100 * round_ + step) for step in range(20, 90)])
            time.sleep(CHANCE.random() / 50)  # anywhere in the batch
            child.process.kill()
            child.process.wait()
        check_agreement(data)
    assert acknowledged <= set(data.sort_keys())


@pytest.mark.parametrize("name", ["it's", 'a"b', "x') --", "a.b[0]", "é😀", "a\0b", "pk ", "$", "%s"])
def test_any_attribute_name(data: Data, name: str) -> None:
    create(data, Index("odd", IndexKey(name), IndexKey(f"{name}2")))
    data.put("1", **{name: pk("x"), f"{name}2": "1"})
    data.put("2")
    assert list_index(data, "odd", pk("x")) == [f"{pk('a')} 1"]


def test_sqlite_seeks_in_the_index(data: Data, file: Path) -> None:
    create(data)
    with closing(sqlite3.connect(file)) as connection:
        add_functions(connection)
        for descending in (False, True):
            after: dict[str, Any] = {"after": Key("a", "b"), "after_sort_key": b"1", "descending": descending}
            scan = Rows(secondary_index=INDEXES[1], **{**after, "after_partition": b"x", "descending": False})
            for rows in (Rows("x", secondary_index=INDEXES[0]), Rows("x", secondary_index=INDEXES[1], **after), scan):
                statement, parameters = rows.statement()
                ((*_, plan),) = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                assert plan.startswith("SEARCH items USING INDEX secondary_"), plan


def test_damaged_items_are_in_no_index(data: Data, file: Path) -> None:
    data.put("1", GSI1PK=pk("x"), GSI1SK="1")
    with closing(sqlite3.connect(file)) as connection:
        for document in ("no JSON", "[]", '{"GSI1PK":7}', json.dumps({"GSI1PK": {"S": "x"}, "GSI1SK": {"S": 7}})):
            row = (b"z", document.encode(), document)
            connection.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, NULL)", row)
        connection.commit()
    create(data)
    assert list_index(data, "GSI1", pk("x")) == [f"{pk('a')} 1"]


def test_numbers_sort_as_numbers() -> None:
    digits, exponents = ("1", "1.2", "1.23", "9.9"), (-130, -1, 0, 1, 20, 125)
    numbers = [f"{sign}{text}E{exponent}" for sign in "+-" for text in digits for exponent in exponents]
    numbers += ["0", "-0", "0.00", "100", "1" * 38, "-" + "1" * 38, "1" * 37 + "2", "0.1", "00012"]
    for left, right in itertools.product(numbers, numbers):
        assert (encode_sort_bytes("N", left) < encode_sort_bytes("N", right)) is (Decimal(left) < Decimal(right))
