"""`where`: one write to every item that it selects, the same on every store and through the gateway."""

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from ddb_mcp.service.writing import where as selected
from tests.contract.conftest import Api, Backend

DONE = {"failed": [], "failedCount": 0, "complete": True}


def seed(api: Api, number: int, suffix: str = "w", **attributes: Any) -> None:
    items = [{"pk": api.pk(suffix), "sk": f"{at:04}", "at": at, "odd": at % 2, **attributes} for at in range(number)]
    api.put_all(items)


def rows(api: Api, suffix: str = "w") -> list[dict[str, Any]]:
    pages = api.walk("query", pk=api.pk(suffix), limit=1000)
    return [{n: v for n, v in item.items() if n != "pk"} for page in pages for item in page["items"]]


def finish(api: Api, operation: str, /, **arguments: Any) -> list[dict[str, Any]]:
    """Every call until `complete`."""
    results = [api.call(operation, **arguments)]
    while not results[-1]["complete"]:
        results.append(api.call(operation, **arguments, cursor=results[-1]["cursor"]))
    return results


def test_delete_what_a_filter_selects(api: Api) -> None:
    seed(api, 30)
    where = {"pk": api.pk("w"), "sk_from": "0010", "filter": {"odd": 1}}
    assert api.call("delete", where=where, dry_run=True) == {
        "matched": 10,
        "complete": True,
        "sample": [{"pk": api.pk("w"), "sk": f"00{at}", "odd": 1} for at in (11, 13, 15, 17, 19)],
    }
    assert len(rows(api)) == 30
    assert api.call("delete", where=where) == {"matched": 10, "deletedCount": 10, **DONE}
    assert [row["at"] for row in rows(api)] == [*range(10), *range(10, 30, 2)]
    assert api.call("delete", where=where) == {"matched": 0, "deletedCount": 0, **DONE}


def test_a_sample_shows_what_the_filter_names(api: Api) -> None:
    seed(api, 3, "w", deep={"n": [1, {"x": 2.5}, "y"], "z": 1}, tags={"SS": ["a"]}, **{"a.b": True}, other=5)
    named = {"deep": {"n": [{"x": 2.5}]}, "tags": {"SS": ["a"]}, "a.b": True}
    where = {
        "pk_prefix": api.pk("w"),
        "sk_from": "0001",
        "filter": {"$or": [{"deep.n[1].x": 2.5}, {"absent": 1}], "tags": {"contains": "a"}, "`a.b`": True},
    }
    for operation, change in (("delete", {}), ("put", {"item": {"x": 1}}), ("put", {"remove": ["x"]})):
        result = api.call(operation, where=where, dry_run=True, **change)
        assert result["matched"] == 2
        assert result["sample"] == [{"pk": api.pk("w"), "sk": sk, **named} for sk in ("0001", "0002")]
    whole = api.call("put", where={"pk": api.pk("w")}, copy_to=api.pk("v"), dry_run=True)
    assert whole["sample"] == [{"pk": api.pk("w"), "sk": f"000{at}"} for at in range(3)]
    assert api.call("delete", where={**where, "sk_from": "0009"}, dry_run=True)["sample"] == []


def test_a_sample_fits_into_the_result(backend: Backend) -> None:
    api = backend.api(max_result_bytes=3000)
    api.call("provision")
    api.put_all([{"pk": api.pk("w"), "sk": f"{at}", "long": "x" * 4000, "short": at} for at in range(8)])
    where = {"pk": api.pk("w"), "filter": {"long": {"exists": True}, "short": {"ge": 0}}}
    result = api.call("delete", where=where, dry_run=True)
    assert (result["matched"], len(result["sample"])) == (8, 5)
    assert [item["short"] for item in result["sample"]] == [0, 1, 2, 3, 4]
    assert [item["outline"]["attributes"][0]["path"] for item in result["sample"]] == ["long"] * 5
    assert len(json.dumps(result, separators=(",", ":"))) <= 3000


def test_delete_across_partitions(api: Api) -> None:
    for suffix in ("user#1", "user#2", "order#1"):
        seed(api, 5, suffix)
    where = {"pk_prefix": api.pk("user#"), "sk_prefix": "000", "filter": {"at": {"ge": 3}}}
    assert api.call("delete", where=where)["deletedCount"] == 4
    assert [len(rows(api, suffix)) for suffix in ("user#1", "user#2", "order#1")] == [3, 3, 5]
    assert api.call("delete", where={"filter": {"pk": {"begins_with": api.pk("order")}}})["deletedCount"] == 5


def test_set_add_and_remove_in_each(api: Api) -> None:
    seed(api, 6, old={"a": 1, "b": 2})
    where = {"pk": api.pk("w"), "filter": {"odd": 1}}
    result = api.call("put", where=where, item={"odd": 0, "kind": {"SS": ["x"]}}, add={"at": 100}, remove=["old.a"])
    assert result == {"matched": 3, "written": 3, **DONE}
    changed: list[dict[str, Any]] = [
        {"odd": 0, "kind": {"SS": ["x"]}, "at": 100 + at, "sk": f"{at:04}", "old": {"b": 2}} for at in (1, 3, 5)
    ]
    kept = [{"odd": 0, "at": at, "sk": f"{at:04}", "old": {"a": 1, "b": 2}} for at in (0, 2, 4)]
    assert rows(api) == sorted(changed + kept, key=lambda row: str(row["sk"]))
    assert api.call("put", where={"pk": api.pk("w")}, item='{"n": 12345678901234567890}')["written"] == 6
    assert rows(api)[0]["n"] == {"N": "12345678901234567890"}


def test_more_than_one_call_may_do_is_gone_on_with(backend: Backend) -> None:
    writer = backend.api()
    writer.call("provision")
    seed(writer, 250)
    api = backend.api(writer.prefix, max_writes=100)
    where = {"pk": api.pk("w"), "filter": {"at": {"lt": 230}}}
    results = finish(api, "put", where=where, add={"at": 1000})
    assert [result["matched"] for result in results] == [100, 100, 30]
    assert sum(result["written"] for result in results) == 230
    assert [row["at"] for row in rows(api)] == [*range(1000, 1230), *range(230, 250)]
    assert api.call("delete", where={"pk": api.pk("w")}, dry_run=True)["matched"] == 250
    results = finish(api, "delete", where={"pk": api.pk("w")})
    assert sum(result["deletedCount"] for result in results) == 250
    assert rows(api) == []


@pytest.mark.deviates(
    "dynoxide",
    "mcp-gateways-dynoxide",
    reason="finds nothing in a segment after a deleted key",
    raises=AssertionError,
)
def test_a_scan_of_what_is_deleted_goes_on(backend: Backend) -> None:
    api = backend.api(max_writes=100)
    api.call("provision")
    for suffix in ("a", "b", "c"):
        seed(api, 70, suffix)
    results = finish(api, "delete", where={"filter": {"odd": 1}})
    assert sum(result["deletedCount"] for result in results) == 105
    assert [len(rows(api, suffix)) for suffix in ("a", "b", "c")] == [35, 35, 35]


def test_a_cursor_belongs_to_its_call(backend: Backend) -> None:
    api = backend.api(max_writes=100)
    api.call("provision")
    seed(api, 101)
    where = {"pk": api.pk("w")}
    cursor = api.call("put", where=where, item={"x": 1})["cursor"]
    for other in ({"item": {"x": 2}}, {"remove": ["x"]}, {"item": {"x": 1}, "add": {"n": 1}}):
        api.fails("invalid_cursor", "put", where=where, cursor=cursor, **other)
    api.fails("invalid_cursor", "put", where={"pk": api.pk("v")}, item={"x": 1}, cursor=cursor)
    api.fails("invalid_cursor", "put", where=where, item={"x": 1}, dry_run=True, cursor=cursor)
    api.fails("invalid_cursor", "delete", where=where, cursor=cursor)
    api.fails("invalid_cursor", "query", pk=api.pk("w"), cursor=cursor)
    assert api.call("put", where=where, item={"x": 1}, cursor=cursor) == {"matched": 1, "written": 1, **DONE}


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("delete", {"where": {}}, "where is empty"),
    ("delete", {"where": ""}, "where is empty"),
    ("delete", {"where": {"pk": "OWN", "filter": {}}}, "where.filter is empty"),
    ("delete", {"where": {"pk": "OWN", "sk_prefix": ""}}, "where.sk_prefix is empty"),
    ("delete", {"where": {"pk": None}}, "where is empty"),
    ("delete", {"where": {"sk_prefix": "a"}}, "selects every item"),
    ("delete", {"where": {"pk_prefix": "ALL"}}, "selects every item"),
    ("delete", {"where": {"pk": "OWN", "pk_prefix": "OWN"}}, "cannot be combined"),
    ("delete", {"where": {"pk": "OWN", "sk_prefx": "a"}}, "where.sk_prefx is not"),
    ("delete", {"where": {"pk": "OWN", "limit": 5}}, "where.limit is not"),
    ("delete", {"where": {"pk": 5}}, "where.pk must be a string"),
    ("delete", {"where": ["pk"]}, "where must be an object"),
    ("delete", {"where": {"pk": "OWN"}, "pk": "OWN"}, "pk cannot be combined"),
    ("delete", {"where": {"pk": "OWN"}, "keys": [{"pk": "OWN", "sk": "s"}]}, "keys cannot be combined"),
    ("delete", {"where": {"pk": "OWN"}, "expect": {"a": 1}}, "expect cannot be combined"),
    ("delete", {"where": {"pk": "OWN"}, "dry_run": ""}, "dry_run is empty"),
    ("delete", {"pk": "OWN", "sk": "s", "dry_run": True}, "dry_run requires where"),
    ("delete", {"where": {"pk": "OWN", "filter": {"sk": "s"}}}, "where.filter cannot use sk"),
    ("put", {"where": {"pk": "OWN"}}, "nothing to write"),
    ("put", {"where": {"pk": "OWN"}, "item": {"pk": "OWN", "a": 1}}, "item.pk cannot be combined"),
    ("put", {"where": {"pk": "OWN"}, "item": "[1]"}, "item must be an object"),
    ("put", {"where": {"pk": "OWN"}, "item": {"a": 1}, "merge": True}, "merge cannot be combined"),
    ("put", {"where": {"pk": "OWN"}, "item": {"a": 1}, "create_only": True}, "create_only cannot be combined"),
    ("put", {"where": {"pk": "OWN"}, "items": [{"a": 1}]}, "items cannot be combined"),
    ("put", {"where": {"pk": "OWN"}, "item": {"n": {"$inc": 1}}}, "$inc"),
    ("put", {"where": {"pk": "OWN"}, "item": {"a": 1}, "remove": ["a.b"]}, "overlap"),
    ("put", {"where": {"pk": "OWN"}, "item": {"a": 1}, "copy_to": "OWN2"}, "item cannot be combined with copy_to"),
    ("put", {"where": {"pk": "OWN"}, "copy_to": "OWN2", "move_to": "OWN2"}, "cannot be combined with copy_to"),
    ("put", {"where": {"pk": "OWN"}, "add": {"a": 1}, "move_to": "OWN2"}, "add cannot be combined with move_to"),
    ("put", {"where": {"pk": "OWN"}, "move_to": "OWN2", "merge": True}, "merge cannot be combined with where"),
    ("put", {"where": {"pk": "OWN"}, "move_to": "OWN"}, "same as where.pk"),
    ("put", {"where": {"pk_prefix": "OWN"}, "move_to": "OWN2"}, "move_to requires where.pk"),
    ("put", {"item": {"pk": "OWN", "sk": "s"}, "move_to": "OWN2"}, "move_to requires where"),
    ("put", {"where": {"pk_prefix": "OWN"}, "copy_to": "OWN2"}, "copy_to requires where.pk"),
    ("put", {"where": {"pk": "OWN"}, "copy_to": "OWN"}, "same as where.pk"),
    ("put", {"item": {"pk": "OWN", "sk": "s"}, "copy_to": "OWN2"}, "copy_to requires where"),
    ("put", {"item": {"pk": "OWN", "sk": "s"}, "cursor": "x"}, "cursor requires where"),
]


@pytest.mark.parametrize(("operation", "arguments", "said"), WRONG, ids=str)
def test_what_selects_too_much_or_says_two_things_is_refused(
    api: Api, operation: str, arguments: dict[str, Any], said: str
) -> None:
    def own(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: own(entry) for name, entry in value.items()}
        known = {"OWN": api.pk("w"), "OWN2": api.pk("w2"), "ALL": api.prefix + "#"}
        return known.get(value, value) if isinstance(value, str) else value

    seed(api, 2)
    assert said in api.fails("invalid_argument", operation, **own(arguments)).message
    assert len(rows(api)) == 2


def test_keys_of_others_are_refused(api: Api) -> None:
    seed(api, 1)
    for where in ({"pk": "deploy#other#a"}, {"pk_prefix": "deploy#other#"}, {"pk_prefix": "deploy"}):
        api.fails("prefix_violation", "delete", where=where)
        api.fails("prefix_violation", "put", where=where, item={"a": 1})
    for target in ("copy_to", "move_to"):
        api.fails("prefix_violation", "put", where={"pk": api.pk("w")}, **{target: "deploy#other#a"})


# Races: a writer beside it


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let something happen once, after the items were selected and before the first of them is written to."""

    def plan(happens: Callable[[], None]) -> None:
        once = threading.Lock()
        write = selected._SelectionWriter._write_to

        async def written(run: Any, page: Any) -> int:
            import anyio.to_thread

            if once.acquire(blocking=False):
                await anyio.to_thread.run_sync(happens)
            return await write(run, page)

        monkeypatch.setattr(selected._SelectionWriter, "_write_to", written)

    return plan


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_what_is_gone_or_has_changed_meanwhile_is_left_alone(
    api: Api, beside: Callable[[Callable[[], None]], None], operation: str
) -> None:
    seed(api, 6)

    def happens() -> None:
        api.call("delete", pk=api.pk("w"), sk="0001")
        api.put("w", "0003", at=3, odd=2)
        api.call("put", item={"pk": api.pk("w"), "sk": "0005"}, add={"at": 10})

    beside(happens)
    change = {"item": {"x": 1}} if operation == "put" else {}
    result = api.call(operation, where={"pk": api.pk("w"), "filter": {"odd": 1}}, **change)
    assert (result["matched"], result["failedCount"], result["complete"]) == (3, 2, True)
    assert result["written" if operation == "put" else "deletedCount"] == 1
    assert sorted((entry["sk"], entry["error"]["code"]) for entry in result["failed"]) == [
        ("0001", "condition_failed"),
        ("0003", "condition_failed"),
    ]
    left = {row["sk"]: row for row in rows(api)}
    assert "0001" not in left, "a guard makes no stub of an item that was deleted"
    assert left["0003"] == {"sk": "0003", "at": 3, "odd": 2}
    assert left.get("0005") == ({"sk": "0005", "at": 15, "odd": 1, "x": 1} if operation == "put" else None)


def test_no_write_of_anybody_is_lost_beside_it(api: Api) -> None:
    """Two that add to the same items at once, by where and by key."""
    seed(api, 40)

    def add() -> None:
        for at in range(40):
            api.call("put", item={"pk": api.pk("w"), "sk": f"{at:04}"}, add={"at": 1000})

    thread = threading.Thread(target=add)
    thread.start()
    result = api.call("put", where={"pk": api.pk("w"), "filter": {"odd": {"exists": True}}}, add={"at": 100_000})
    thread.join()
    assert result["written"] == 40
    assert [row["at"] for row in rows(api)] == [101_000 + at for at in range(40)]


# Copies


def test_a_rename_is_a_copy_and_then_a_delete(api: Api) -> None:
    seed(api, 25, "old", tags={"SS": ["a"]}, deep={"n": [1, {"x": None}]})
    before = rows(api, "old")
    where = {"pk": api.pk("old")}
    assert api.call("put", where=where, copy_to=api.pk("new")) == {"matched": 25, "written": 25, **DONE}
    assert rows(api, "new") == before == rows(api, "old")
    assert api.call("put", where=where, copy_to=api.pk("new"))["written"] == 25, "an equal one counts as written"
    assert api.call("delete", where=where)["deletedCount"] == 25
    assert (rows(api, "old"), rows(api, "new")) == ([], before)


def test_a_copy_replaces_nothing(api: Api) -> None:
    seed(api, 3, "old")
    api.put("new", "0001", mine=True)
    result = api.call("put", where={"pk": api.pk("old")}, copy_to=api.pk("new"))
    assert (result["matched"], result["written"], result["failedCount"]) == (3, 2, 1)
    assert result["failed"][0]["sk"] == "0001"
    assert result["failed"][0]["error"]["code"] == "condition_failed"
    assert api.item("new", "0001") == {"pk": api.pk("new"), "sk": "0001", "mine": True}


def test_a_copy_that_was_interrupted_and_is_run_again_ends_right(
    api: Api, beside: Callable[[Callable[[], None]], None]
) -> None:
    seed(api, 30, "old")

    def interrupt() -> None:  # half of it was done by a call that nobody heard of again
        for at in range(0, 30, 2):
            api.put("new", f"{at:04}", at=at, odd=at % 2)

    beside(interrupt)
    assert api.call("put", where={"pk": api.pk("old")}, copy_to=api.pk("new"))["written"] == 30
    assert rows(api, "new") == rows(api, "old")


# Moves


def test_a_move_renames_a_partition(api: Api) -> None:
    seed(api, 25, "old", tags={"SS": ["a"]}, big={"N": "12345678901234567890"}, ttl=4102444800)
    api.put("old", "bare")
    before = rows(api, "old")
    where = {"pk": api.pk("old")}
    dry = api.call("put", where=where, move_to=api.pk("new"), dry_run=True)
    assert (dry["matched"], len(rows(api, "old")), rows(api, "new")) == (26, 26, [])
    assert api.call("put", where=where, move_to=api.pk("new")) == {"matched": 26, "written": 26, **DONE}
    assert (rows(api, "old"), rows(api, "new")) == ([], before)
    assert api.call("put", where=where, move_to=api.pk("new")) == {"matched": 0, "written": 0, **DONE}


@pytest.mark.deviates("dynalite", reason="no list and no map equals another", raises=AssertionError)
def test_lists_and_maps_move_too(api: Api) -> None:
    seed(api, 2, "old", deep={"n": [1, {"x": None, "y": {"NS": ["1", "2"]}}]}, empty={}, none=[])
    before = rows(api, "old")
    assert api.call("put", where={"pk": api.pk("old")}, move_to=api.pk("new"))["written"] == 2
    assert (rows(api, "old"), rows(api, "new")) == ([], before)


def test_a_move_of_what_a_filter_selects(api: Api) -> None:
    seed(api, 10, "old")
    where = {"pk": api.pk("old"), "sk_from": "0004", "filter": {"odd": 1}}
    assert api.call("put", where=where, move_to=api.pk("new"))["written"] == 3
    assert [row["at"] for row in rows(api, "new")] == [5, 7, 9]
    assert [row["at"] for row in rows(api, "old")] == [0, 1, 2, 3, 4, 6, 8]


def test_a_move_of_more_than_one_call_may_do_is_gone_on_with(backend: Backend) -> None:
    writer = backend.api()
    writer.call("provision")
    seed(writer, 130, "old")
    api = backend.api(writer.prefix, max_writes=100)
    results = finish(api, "put", where={"pk": api.pk("old")}, move_to=api.pk("new"))
    assert [result["written"] for result in results] == [100, 30]
    assert (len(rows(api, "old")), len(rows(api, "new"))) == (0, 130)


def test_a_move_replaces_nothing(api: Api) -> None:
    seed(api, 3, "old")
    api.put("new", "0001", mine=True)
    result = api.call("put", where={"pk": api.pk("old")}, move_to=api.pk("new"))
    assert (result["matched"], result["written"], result["failedCount"]) == (3, 2, 1)
    assert result["failed"][0]["sk"] == "0001"
    assert result["failed"][0]["error"]["code"] == "condition_failed"
    assert api.item("new", "0001") == {"pk": api.pk("new"), "sk": "0001", "mine": True}
    assert [row["sk"] for row in rows(api, "old")] == ["0001"]


def test_a_move_that_was_interrupted_and_is_run_again_ends_right(api: Api) -> None:
    seed(api, 30, "old")
    before = rows(api, "old")
    for at in range(0, 20, 2):  # copied and not yet deleted
        api.put("new", f"{at:04}", at=at, odd=at % 2)
    api.call("delete", where={"pk": api.pk("old"), "sk_to": "0008", "filter": {"odd": 0}})
    assert api.call("put", where={"pk": api.pk("old")}, move_to=api.pk("new"))["failed"] == []
    assert (rows(api, "old"), rows(api, "new")) == ([], before)


def test_what_changes_while_it_is_moved_is_left_where_it_is(
    api: Api, beside: Callable[[Callable[[], None]], None]
) -> None:
    seed(api, 6, "old")

    def happens() -> None:
        api.call("delete", pk=api.pk("old"), sk="0001")
        api.put("old", "0002", at=200)
        api.call("put", item={"pk": api.pk("old"), "sk": "0003"}, remove=["odd"])

    beside(happens)
    result = api.call("put", where={"pk": api.pk("old")}, move_to=api.pk("new"))
    assert (result["matched"], result["written"], result["failedCount"]) == (6, 3, 3)
    assert {entry["sk"]: entry["error"]["code"] for entry in result["failed"]} == dict.fromkeys(
        ("0001", "0002", "0003"), "condition_failed"
    )
    assert rows(api, "old") == [{"sk": "0002", "at": 200}, {"sk": "0003", "at": 3}]
    moved = [row["sk"] for row in rows(api, "new") if row["sk"] != "0001"]
    assert moved == ["0000", "0004", "0005"]
    assert api.call("put", where={"pk": api.pk("old")}, move_to=api.pk("new"))["written"] == 2
    assert [row["at"] for row in rows(api, "new") if row["sk"] != "0001"] == [0, 200, 3, 4, 5]
    assert rows(api, "old") == []


def test_an_attribute_that_is_added_while_its_item_is_moved_is_not_lost(
    api: Api, beside: Callable[[Callable[[], None]], None]
) -> None:
    seed(api, 3, "old")

    def happens() -> None:
        api.call("put", item={"pk": api.pk("old"), "sk": "0001", "later": 1}, merge=True)

    beside(happens)
    result = api.call("put", where={"pk": api.pk("old")}, move_to=api.pk("new"))
    if result["failed"]:
        assert rows(api, "old") == [{"sk": "0001", "at": 1, "odd": 1, "later": 1}]
        api.call("put", where={"pk": api.pk("old")}, move_to=api.pk("new"))
    assert rows(api, "old") == []
    assert rows(api, "new")[1] == {"sk": "0001", "at": 1, "odd": 1, "later": 1}


def test_two_moves_at_once_lose_nothing(api: Api) -> None:
    seed(api, 60, "old")
    before = rows(api, "old")
    calls = [api.start("put", where={"pk": api.pk("old")}, move_to=api.pk("new")) for _ in range(2)]
    matched = sum(call.result()["matched"] for call in calls)
    assert matched >= 60
    assert (rows(api, "old"), rows(api, "new")) == ([], before)


def test_an_item_too_wide_to_compare_fails_alone(api: Api, backend: Backend) -> None:
    api.put("old", "wide", **{f"a{at}": at for at in range(149)})
    api.put("old", "wider", **{f"a{at}": at for at in range(150)})
    result = api.call("put", where={"pk": api.pk("old")}, move_to=api.pk("new"))
    if backend.name in ("local", "gateway", "mcp"):  # in one transaction
        assert result["written"] == 2
        return
    assert (result["written"], result["failedCount"]) == (1, 1)
    assert (result["failed"][0]["sk"], result["failed"][0]["error"]["code"]) == ("wider", "invalid_argument")
    assert ([row["sk"] for row in rows(api, "old")], [row["sk"] for row in rows(api, "new")]) == (["wider"], ["wide"])


# Against a model


def test_as_a_model_in_plain_python_has_it_and_nobody_else_is_touched(backend: Backend) -> None:
    prefix = f"deploy#{uuid.uuid4().hex[:12]}"
    apis = [backend.api(prefix + suffix) for suffix in ("a", "ab", "b")]
    for api in apis:
        api.call("provision")
        for suffix in ("x", "y"):
            seed(api, 12, suffix, n=1)
    model = {(suffix, at): {"at": at, "odd": at % 2, "n": 1} for suffix in ("x", "y") for at in range(12)}
    untouched = dict(model)

    def check(api: Api, expected: dict[tuple[str, int], dict[str, Any]]) -> None:
        found = {
            (s, int(row["sk"])): {n: v for n, v in row.items() if n != "sk"} for s in "xyz" for row in rows(api, s)
        }
        assert found == expected

    mine, *others = apis
    mine.call("put", where={"filter": {"$or": [{"at": 3}, {"at": {"gt": 9}}]}}, add={"n": 5}, item={"seen": True})
    for (suffix, at), value in list(model.items()):
        if at == 3 or at > 9:
            model[suffix, at] = {**value, "n": 6, "seen": True}
    check(mine, model)
    mine.call("put", where={"pk_prefix": mine.pk("y"), "sk_to": "0005"}, remove=["n"])
    for suffix, at in list(model):
        if suffix == "y" and at <= 5:
            model[suffix, at] = {n: v for n, v in model[suffix, at].items() if n != "n"}
    check(mine, model)
    mine.call("put", where={"pk": mine.pk("x"), "filter": {"odd": 1}}, copy_to=mine.pk("z"))
    model |= {("z", at): value for (suffix, at), value in model.items() if suffix == "x" and at % 2}
    check(mine, model)
    mine.call("delete", where={"filter": {"n": {"exists": False}}})
    model = {key: value for key, value in model.items() if "n" in value}
    check(mine, model)
    for other in others:
        check(other, untouched)
