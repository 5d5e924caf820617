"""No answer costs more than its request's budget: what is built, held and compared for it is counted here."""

from __future__ import annotations

import base64
import difflib
import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ddb_mcp.core import conditions
from ddb_mcp.core.conditions import Comparison, matches
from ddb_mcp.core.errors import ConditionFailed, Unavailable
from ddb_mcp.core.items import AttributeValue, Item
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.text import count_bytes
from ddb_mcp.service import outlines
from ddb_mcp.service.reading import hints, projections
from ddb_mcp.service.reading import page_items as entries
from ddb_mcp.service.reading import summary as summary_module
from ddb_mcp.service.reading.projections import parse_projection
from ddb_mcp.service.reading.summary import Summary
from ddb_mcp.service.service import DataService
from ddb_mcp.service.writing import dropped_values, warnings
from ddb_mcp.service.writing import handlers as writing
from ddb_mcp.stores.base import Read, StorePage, WriteCondition
from ddb_mcp.stores.local.store import LocalStore

pytestmark = pytest.mark.anyio
OWN = "deploy#bounds"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path / "items.sqlite3", "t")
    yield store
    anyio.run(store.close)


def service(store: LocalStore, **options: Any) -> DataService:
    return DataService(store, Prefix(OWN), **options)


def wide(sk: str, members: int) -> dict[str, Any]:
    return {"pk": f"{OWN}#a", "sk": sk, "wide": [None] * members}


# Batches


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("put", {"items": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)]}),
        ("put", {"items": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)], "create_only": True}),
        ("put", {"items": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)], "remove": ["wide"]}),
        ("put", {"items": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)], "add": {"wide": 1}}),
        ("put", {"where": {"pk": f"{OWN}#a"}, "add": {"wide": 1}}),
        ("delete", {"keys": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)]}),
        ("delete", {"keys": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)], "expect": {"n": 1}}),
        ("delete", {"where": {"pk": f"{OWN}#a"}}),
    ],
)
async def test_a_batch_holds_one_old_item_at_a_time(
    store: LocalStore, operation: str, arguments: dict[str, Any]
) -> None:
    members = 2000  # nearly half a megabyte of Python's objects
    await service(store).run_operation("put", {"items": [wide(str(at), members) for at in range(32)]})
    tracemalloc.start()
    gc.disable()  # no error holds an item until the next collection
    try:
        await service(store).run_operation(operation, arguments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        gc.enable()
        tracemalloc.stop()
    assert peak < 3_500_000


async def test_failures_beyond_the_bytes_of_a_result_keep_their_code(store: LocalStore) -> None:
    items = [{"pk": f"{OWN}#a", "sk": str(at), "text": "x" * 2000} for at in range(100)]
    await service(store).run_operation("put", {"items": items})
    result = await service(store).run_operation("put", {"items": items, "create_only": True})
    assert count_bytes(result) <= 32768
    errors = [failure["error"] for failure in result["failed"]]
    assert [failure["index"] for failure in result["failed"]] == list(range(100))
    assert {error["code"] for error in errors} == {"condition_failed"}
    assert errors[0]["item"]["text"] == "x" * 2000
    assert errors[99] == {"code": "condition_failed"}


async def test_an_outcome_with_no_room_names_what_is_gone(store: LocalStore) -> None:
    item: Item = {"pk": {"S": f"{OWN}#a"}, "sk": {"S": "1"}, "m": {"M": {str(at): {"N": "1"} for at in range(1000)}}}
    await store.put(item, WriteCondition())
    with pytest.raises(ConditionFailed) as caught:
        await store.put(item, WriteCondition(create_only=True), room=100)
    assert caught.value.item is None
    assert caught.value.exists
    written = await store.put({**item, "m": {"M": {}}}, WriteCondition(), room=100)
    assert (written.created, written.dropped, written.updated) == (False, {}, {})
    assert len(written.gone) == 100
    deleted = await store.delete(Key(f"{OWN}#a", "1"), WriteCondition(), room=100)
    assert deleted == (True, None)


# Reads


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[Any]]:
    """Records the results of a function of a module from now on."""

    def count(module: Any, name: str) -> list[Any]:
        results: list[Any] = []
        function = getattr(module, name)

        def recorded(*arguments: Any, **options: Any) -> Any:
            results.append(function(*arguments, **options))
            return results[-1]

        monkeypatch.setattr(module, name, recorded)
        return results

    return count


async def test_a_hint_explains_three_of_a_thousand_paths(counted: Callable[[Any, str], list[Any]]) -> None:
    items: list[Item] = [{f"{'name' * 20}{at}": {"NULL": True} for at in range(300)}] * 100
    explained, looked_up = counted(difflib, "get_close_matches"), counted(hints, "get_value")
    projection = parse_projection([f"{'mane' * 20}{at}" for at in range(1000)], parts=False)
    assert projection
    assert "and 97 more" in (hints.explain_missing(projection, items) or "")
    assert len(explained) == 3
    assert len(looked_up) < 12_000


async def test_names_are_compared_within_a_budget_of_characters() -> None:
    names = ["a" * 100] * 300
    assert sum(len(name) * 100 for name in hints._comparable("b" * 100, names)) <= hints._PAIRS_COMPARED


async def test_a_thousand_parts_are_cut_from_what_there_is_room_for(counted: Callable[[Any, str], list[Any]]) -> None:
    item: Item = {"s": {"S": "x" * 100_000}, "b": {"B": "AAAA" * 50_000}}
    texts, decoded = counted(projections, "truncate"), counted(base64, "b64decode")
    asked = [f"{name}[{at}:{100_000 - at}]" for at in range(500) for name in "bs"]
    projection = parse_projection(asked, parts=True)
    assert projection
    parts, left_out = projection.cut_parts(item, 32_000)
    assert count_bytes(parts) <= 32_000
    assert len(parts) + left_out == 1000
    assert sum(map(len, [*texts, *decoded])) <= 32_000


@pytest.mark.parametrize(("start", "end"), [(0, 1), (1, 2), (2, 9), (3, 4), (5, 5000), (98, 100), (150, 200)])
async def test_a_part_of_binary_is_exact(start: int, end: int) -> None:
    content = bytes(range(100))
    projection = parse_projection([f"b[{start}:{end}]"], parts=True)
    assert projection
    parts, _ = projection.cut_parts({"b": {"B": base64.b64encode(content).decode()}}, 32_000)
    assert parts == {f"b[{start}:{end}]": {"base64": base64.b64encode(content[start:end]).decode(), "of": 100}}


async def test_get_says_how_many_parts_had_no_room(store: LocalStore) -> None:
    await service(store).run_operation("put", {"item": {"pk": f"{OWN}#a", "sk": "1", "s": "x" * 100_000}})
    asked = [f"s[{at}:{at + 10_000}]" for at in range(100)]
    result = await service(store).run_operation("get", {"pk": f"{OWN}#a", "sk": "1", "attributes": asked})
    assert len(result["parts"]) == 4
    assert "96 parts do not fit" in result["hint"]
    assert count_bytes(result) <= 32768


async def test_a_nested_value_is_measured_a_few_times(counted: Callable[[Any, str], list[Any]]) -> None:
    value: Any = {"L": [{"NULL": True}] * 1000}
    for _ in range(28):
        value = {"L": [value]}
    measured = counted(outlines, "measure_value")
    shown = outlines.make_outline({"pk": {"S": "p"}, "sk": {"S": "s"}, "l": value}, 1000)
    assert len(shown["outline"]["attributes"]) >= 3
    assert sum(measured) <= 6 * shown["outline"]["bytes"]


async def test_a_thousand_paths_of_many_items_are_not_all_looked_up(
    store: LocalStore, counted: Callable[[Any, str], list[Any]]
) -> None:
    await service(store).run_operation("put", {"items": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(100)]})
    looked_up = counted(entries, "get_value")
    arguments = {"pk": f"{OWN}#a", "limit": 1000, "attributes": [f"x{at}" for at in range(1000)]}
    assert (await service(store).run_operation("query", arguments))["count"] == 100
    assert len(looked_up) <= entries._LOOKUPS


async def test_many_clauses_look_through_a_long_list_once() -> None:
    operands: list[AttributeValue] = [{"N": "1"}, {"S": "a"}, {"NULL": True}]
    clauses = tuple(Comparison(("l",), "contains", (operand,)) for operand in operands * 100)
    checks: list[None] = []
    item: Item = {"l": {"L": [{"NULL": True}] * 50_000 + [{"N": "1.0"}, {"S": "a"}]}}
    assert matches(clauses, item, lambda: checks.append(None))
    assert len(checks) * conditions.STEPS_BETWEEN_CHECKS <= 60_000


async def test_long_names_are_counted_by_the_name_that_is_shown() -> None:
    summary = Summary(Prefix(OWN))
    for at in range(summary_module.SUMMARY_ATTRIBUTES // 5 + 1):
        item: Item = {f"{'long' * 30}{n}": {"N": "1"} for n in range(5)}
        summary.add({"pk": {"S": f"{OWN}#a"}, "sk": {"S": str(at)}, **item})
    summary.add({"pk": {"S": f"{OWN}#a"}, "sk": {"S": "0"}, "late": {"S": "x"}})
    assert "late" in summary.groups(4096)[0]["attributes"]


# Writes


@pytest.mark.parametrize("members", [3, 100])
async def test_a_batch_that_is_large_together_is_converted_in_the_worker(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    threads: dict[str, set[bool]] = {"parse_own_item": set(), "make_update": set(), "list_write_warnings": set()}

    def recorded(name: str) -> Callable[..., Any]:
        function = getattr(writing, name)

        def record(*arguments: Any, **options: Any) -> Any:
            threads[name].add(threading.current_thread() is threading.main_thread())
            return function(*arguments, **options)

        return record

    for name in threads:
        monkeypatch.setattr(writing, name, recorded(name))
    result = await service(store).run_operation(
        "put", {"items": [wide(str(at), members) for at in range(100)], "merge": True}
    )
    assert result["written"] == 100
    assert threads == {name: {members == 3} for name in threads}


def deep(value: Any) -> Any:
    for _ in range(29):
        value = {"M": {"n" * 100: value}}
    return value


async def test_what_was_dropped_is_written_out_as_far_as_it_fits(counted: Callable[[Any, str], list[Any]]) -> None:
    path = ("n" * 100,) * 29
    texts = counted(dropped_values, "format_path")
    shown, warned = dropped_values.show_dropped({(*path, str(at)): {"NULL": True} for at in range(10_000)}, 32_000)
    assert count_bytes(shown) <= 32_000
    assert "are too long to show" in warned[0]
    assert sum(map(len, texts)) < 100_000


async def test_warnings_write_out_a_few_paths(counted: Callable[[Any, str], list[Any]]) -> None:
    texts = counted(warnings, "format_path")
    maps = {"M": {str(at): {"M": {"S": {"S": "x"}}} for at in range(10_000)}}
    assert len(warnings.list_write_warnings({"m": deep(maps)}, ttl_is_off=False)) == 1
    assert len(texts) == 10


class _Stopping(LocalStore):
    """Fails the first write, and then has empty pages only."""

    reads = 0

    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Any:
        raise Unavailable("no")

    async def query(self, read: Read) -> StorePage:
        self.reads += 1
        page = await super().query(read)
        return page._replace(items=page.items if self.reads == 1 else [], next=["p", str(self.reads)])


async def test_a_where_reads_no_further_after_it_was_stopped(tmp_path: Path) -> None:
    store = _Stopping(tmp_path / "items.sqlite3", "t")
    await service(store).run_operation("put", {"item": {"pk": f"{OWN}#a", "sk": "1"}})
    with pytest.raises(Unavailable):
        await service(store).run_operation("delete", {"where": {"pk": f"{OWN}#a"}})
    assert store.reads == 1
    await store.close()
