"""query and scan: the same on every store."""

import random
from typing import Any

import pytest

from ddb_mcp.core.text import count_bytes
from tests.contract.conftest import Api, Backend

SORT_KEYS = ["0", "A", "Z", "a", "a#1", "a#10", "a#2", "a$", "ab", "b", "é", "ー", "\uffee", "𝄞", "😀"]


def keys(page: dict[str, Any]) -> list[str]:
    return [item["sk"] for item in page["items"]]


def test_query_is_in_order_of_utf8_bytes(api: Api) -> None:
    api.put_all([{"pk": api.pk("q"), "sk": sk} for sk in random.sample(SORT_KEYS, len(SORT_KEYS))])
    page = api.call("query", pk=api.pk("q"))
    assert keys(page) == sorted(SORT_KEYS, key=str.encode)
    assert page["complete"] is True
    assert page["count"] == len(SORT_KEYS)
    assert keys(api.call("query", pk=api.pk("q"), descending=True)) == keys(page)[::-1]


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({"sk_prefix": "a#"}, ["a#1", "a#10", "a#2"]),
        ({"sk_prefix": "a"}, ["a", "a#1", "a#10", "a#2", "a$", "ab"]),
        ({"sk_from": "a#10", "sk_to": "ab"}, ["a#10", "a#2", "a$", "ab"]),
        ({"sk_from": "ー"}, ["ー", "\uffee", "𝄞", "😀"]),
        ({"sk_to": "A"}, ["0", "A"]),
        ({"sk_from": "B", "sk_to": "C"}, []),
        ({"sk_prefix": "𝄞"}, ["𝄞"]),
    ],
)
def test_query_narrows_the_sort_key(api: Api, narrowed: dict[str, str], expected: list[str]) -> None:
    api.put_all([{"pk": api.pk("q"), "sk": sk} for sk in SORT_KEYS])
    assert keys(api.call("query", pk=api.pk("q"), **narrowed)) == expected
    paged = [sk for page in api.walk("query", pk=api.pk("q"), **narrowed, limit=2) for sk in keys(page)]
    assert paged == expected
    backwards = api.walk("query", pk=api.pk("q"), **narrowed, limit=2, descending=True)
    assert [sk for page in backwards for sk in keys(page)] == expected[::-1]


@pytest.mark.parametrize("limit", [1, 3, 10, 1000])
@pytest.mark.parametrize("operation", ["query", "scan"])
def test_following_cursors_yields_each_item_once(api: Api, operation: str, limit: int) -> None:
    entities = ["w"] if operation == "query" else ["w", "w2", "x", "x#y"]
    stored = [{"pk": api.pk(entity), "sk": f"{at:02}", "at": at} for entity in entities for at in range(10)]
    api.put_all(stored)
    arguments: dict[str, Any] = {"pk": api.pk("w")} if operation == "query" else {}
    pages = list(api.walk(operation, **arguments, limit=limit))
    found = [item for page in pages for item in page["items"]]
    assert sorted(found, key=lambda item: (item["pk"], item["sk"])) == sorted(
        stored, key=lambda item: (item["pk"], item["sk"])
    )
    assert all(page["count"] == len(page["items"]) <= limit for page in pages)
    assert all(page["stopped"] == "limit" for page in pages[:-1])
    assert pages[-1]["complete"] is True
    assert "cursor" not in pages[-1]


def test_complete_is_known_where_the_limit_is_just_met(api: Api) -> None:
    api.put_all([{"pk": api.pk("c"), "sk": str(at)} for at in range(5)])
    assert api.call("query", pk=api.pk("c"), limit=5)["complete"] is True
    assert api.call("query", pk=api.pk("c"), limit=4)["complete"] is False
    assert api.call("query", pk=api.pk("nothing")) | {"capacity": 0} == {
        "items": [],
        "count": 0,
        "complete": True,
        "scanned": 0,
        "capacity": 0,
    }


def test_cursors_survive_changes_and_other_limits(api: Api) -> None:
    api.put_all([{"pk": api.pk("c"), "sk": f"{at:02}"} for at in range(10)])
    page = api.call("query", pk=api.pk("c"), limit=3)
    api.call("delete", pk=api.pk("c"), sk="02")
    api.put("c", "011")
    api.put("c", "021")
    rest = api.call("query", pk=api.pk("c"), limit=100, cursor=page["cursor"])
    assert keys(rest) == ["021", "03", "04", "05", "06", "07", "08", "09"]


def test_filters_and_limits(api: Api) -> None:
    api.put_all([{"pk": api.pk("f"), "sk": f"{at:03}", "even": at % 2 == 0} for at in range(60)])
    pages = list(api.walk("query", pk=api.pk("f"), filter={"even": True}, limit=7))
    assert [sk for page in pages for sk in keys(page)] == [f"{at:03}" for at in range(0, 60, 2)]
    assert [page["count"] for page in pages[:4]] == [7] * 4
    scanned = [item["sk"] for page in api.walk("scan", filter={"even": False}, limit=7) for item in page["items"]]
    assert sorted(scanned) == [f"{at:03}" for at in range(1, 60, 2)]


def test_a_filter_may_name_keys_in_a_scan_only(api: Api) -> None:
    api.put_all([{"pk": api.pk(entity), "sk": str(at)} for entity in "ab" for at in range(3)])
    assert api.call("scan", filter={"sk": "1"})["count"] == 2
    assert api.call("scan", filter={"pk": {"begins_with": api.pk("a")}})["count"] == 3
    assert "sk_prefix" in api.fails("invalid_argument", "query", pk=api.pk("a"), filter={"sk": "1"}).next
    api.fails("invalid_argument", "query", pk=api.pk("a"), filter={"pk": "1"})


def test_attributes_and_keys(api: Api) -> None:
    api.put("a", "1", one=1, two={"three": 3})
    key = {"pk": api.pk("a"), "sk": "1"}
    arguments: dict[str, Any]
    for operation, arguments in (("query", {"pk": api.pk("a")}), ("scan", {})):
        assert api.call(operation, **arguments, attributes=["two"])["items"] == [{**key, "two": {"three": 3}}]
        assert api.call(operation, **arguments, view="keys")["items"] == [key]
        assert api.call(operation, **arguments, view="keys", filter={"one": 1})["items"] == [key]


def test_scan_gives_this_deployment_only(backend: Backend) -> None:
    mine = backend.api()
    mine.call("provision")
    others = [backend.api(prefix) for prefix in (mine.prefix + "4", mine.prefix[:-1], mine.prefix.upper())]
    for other in others:
        other.put_all([{"pk": other.pk("user"), "sk": str(at)} for at in range(20)])
    mine.put_all([{"pk": mine.pk("user"), "sk": str(at)} for at in range(5)])
    mine.put_all([{"pk": mine.pk("post"), "sk": str(at)} for at in range(3)])
    for limit in (1, 4, 100):
        found = [item for page in mine.walk("scan", limit=limit) for item in page["items"]]
        assert len(found) == 8
        assert all(item["pk"].startswith(mine.prefix + "#") for item in found)
    assert mine.call("scan", view="count")["count"] == 8
    assert mine.call("scan", pk_prefix=mine.pk("us"))["count"] == 5
    assert mine.call("scan", pk_prefix=mine.pk(""))["count"] == 8
    for other in others:
        mine.fails("prefix_violation", "scan", pk_prefix=other.pk("user"))
    mine.fails("prefix_violation", "scan", pk_prefix=mine.prefix)


def test_a_prefix_without_a_joiner(backend: Backend) -> None:
    stem = backend.api().prefix.replace("#", "_")
    mine, other = backend.api(stem + "_"), backend.api(stem + "4_")
    mine.call("provision")
    mine.call("put", item={"pk": stem + "_user", "sk": "1"})
    other.call("put", item={"pk": stem + "4_user", "sk": "1"})
    assert mine.call("scan")["items"] == [{"pk": stem + "_user", "sk": "1"}]
    mine.fails("prefix_violation", "get", pk=stem + "4_user", sk="1")
    mine.fails("prefix_violation", "get", pk=stem + "_", sk="1")


def test_counts_run_on_over_pages(backend: Backend) -> None:
    api = backend.api(read_budget=30)
    api.call("provision")
    api.put_all([{"pk": api.pk(str(at % 7)), "sk": str(at), "even": at % 2 == 0} for at in range(100)])
    pages = list(api.walk("scan", view="count"))
    assert pages[-1]["count"] == 100
    assert [page["count"] for page in pages] == sorted(page["count"] for page in pages)
    assert list(api.walk("scan", view="count", filter={"even": True}))[-1]["count"] == 50
    assert "items" not in pages[-1]


def test_the_read_budget_stops_a_listing(backend: Backend) -> None:
    api = backend.api(read_budget=30)
    api.call("provision")
    api.put_all([{"pk": api.pk("b"), "sk": f"{at:03}", "wanted": at == 95} for at in range(100)])
    pages = list(api.walk("query", pk=api.pk("b"), filter={"wanted": True}))
    assert [item["sk"] for page in pages for item in page["items"]] == ["095"]
    assert len(pages) > 1
    assert pages[0]["stopped"] == "read_budget"
    assert pages[0]["complete"] is False
    assert pages[0]["scanned"] <= 31


def test_summary(api: Api) -> None:
    api.put_all([{"pk": api.pk(f"user#{at}"), "sk": "profile", "name": "n", "age": at} for at in range(3)])
    api.put_all([{"pk": api.pk("user#1"), "sk": f"post#{at}", "text": None if at else "t"} for at in range(4)])
    page = api.call("scan", view="summary")
    assert page["count"] == 7
    assert page["complete"] is True
    groups = {(group["pk"], group["sk"]): group for group in page["groups"]}
    assert groups["user", "post"]["count"] == 4
    assert groups["user", "post"]["attributes"] == {"text": {"NULL": 3, "S": 1}}
    assert groups["user", "profile"]["attributes"] == {"name": {"S": 3}, "age": {"N": 3}}
    assert api.call("get", **groups["user", "post"]["example"])["found"] is True
    assert api.call("query", pk=api.pk("user#1"), view="summary")["count"] == 5


def test_a_hint_says_why_nothing_matched(api: Api) -> None:
    api.put_all([{"pk": api.pk("h"), "sk": str(at), "total": "5"} for at in range(3)])
    arguments: dict[str, Any]
    for operation, arguments in (("query", {"pk": api.pk("h")}), ("scan", {})):
        page = api.call(operation, **arguments, filter={"total": {"gt": 1}})
        assert page["count"] == 0
        assert "`total` is a string in 3 items" in page["hint"]
        assert "total" in api.call(operation, **arguments, filter={"totl": 1})["hint"]
        assert "hint" not in api.call(operation, **arguments, filter={"total": "6"})


def test_a_hint_shows_the_sort_keys_where_none_is_in_the_range(api: Api) -> None:
    api.put_all([{"pk": api.pk("h"), "sk": sk} for sk in ("POST#1", "POST#2", "ORDER#1")])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"sk_prefix": "post#"}, "sort keys differ in case: `POST#1`."),
        ({"sk_prefix": "POST-"}, "sort keys differ by a separator or in case: `POST#1`."),
        ({"sk_prefix": "X"}, "the sort keys here start with `POST#`, `ORDER#`."),
        ({"sk_from": "X", "sk_to": "Y"}, "the sort keys here start with `POST#`, `ORDER#`."),
        ({"sk_prefix": "X", "filter": {"a": 1}}, "the sort keys here start with `POST#`, `ORDER#`."),
    ]
    for narrowed, hint in cases:
        page = api.call("query", pk=api.pk("h"), **narrowed)
        assert (page["count"], page["hint"]) == (0, hint)
    assert api.call("query", pk=api.pk("none"), sk_prefix="a")["hint"] == "nothing is stored under this pk."
    assert "hint" not in api.call("query", pk=api.pk("none"))
    assert "hint" not in api.call("query", pk=api.pk("h"), sk_prefix="POST#")


@pytest.mark.parametrize("budget", [1024, 3000, 20_000])
@pytest.mark.parametrize("operation", ["query", "scan"])
def test_whole_items_within_the_byte_budget(backend: Backend, operation: str, budget: int) -> None:
    if operation == "scan":
        budget = max(budget, 2500)  # for its cursor, which is as long as one that holds others' keys
    api = backend.api(max_result_bytes=budget)
    api.call("provision")
    chance = random.Random(budget)
    stored = {f"{at:02}": "é" * chance.choice([1, 10, 100, 300, 1000, 5000]) for at in range(40)}
    api.put_all([{"pk": api.pk("b"), "sk": sk, "body": body} for sk, body in stored.items()])
    found: dict[str, Any] = {}
    arguments: dict[str, Any] = {"pk": api.pk("b")} if operation == "query" else {}
    for page in api.walk(operation, **arguments, limit=1000):
        assert count_bytes(page) <= budget
        assert page["items"]
        for at, item in enumerate(page["items"]):
            assert item["sk"] not in found
            found[item["sk"]] = item.get("body") if at not in page.get("outlined", []) else ...
    assert found.keys() == stored.keys()
    assert all(body in (stored[sk], ...) for sk, body in found.items())
    assert all(body is ... or len(stored[sk]) <= 5000 for sk, body in found.items())
    assert any(body is not ... for body in found.values())


def test_cursors_belong_to_their_call(backend: Backend) -> None:
    api = backend.api()
    api.call("provision")
    api.put_all([{"pk": api.pk(entity), "sk": str(at), "a": 1} for entity in "xy" for at in range(5)])
    cursor = api.call("query", pk=api.pk("x"), limit=2)["cursor"]
    other = backend.api()
    for arguments in (
        {"pk": api.pk("y")},
        {"pk": api.pk("x"), "sk_prefix": "1"},
        {"pk": api.pk("x"), "filter": {"a": 1}},
        {"pk": api.pk("x"), "filter": {"$or": [{"a": 1}, {"a": 2}]}},
        {"pk": api.pk("x"), "descending": True},
        {"pk": api.pk("x"), "view": "keys"},
        {"pk": api.pk("x"), "attributes": ["a"]},
    ):
        api.fails("invalid_cursor", "query", **arguments, cursor=cursor)
    of_keys = api.call("query", pk=api.pk("x"), limit=2, view="keys")["cursor"]
    api.fails("invalid_cursor", "query", pk=api.pk("x"), view="keys", attributes=["a"], cursor=of_keys)
    api.fails("invalid_cursor", "scan", cursor=cursor)
    other.fails("invalid_cursor", "query", pk=other.pk("x"), cursor=cursor)
    other_first = "B" if cursor[0] == "A" else "A"
    for forged in (cursor[:-1], cursor + "A", other_first + cursor[1:], cursor.swapcase(), "x", "é", "=" * 40):
        api.fails("invalid_cursor", "query", pk=api.pk("x"), cursor=forged)
    again = api.call("query", pk=api.pk("x"), limit=2, descending=False, cursor=cursor)
    assert keys(again) == ["2", "3"]


def test_a_cursor_goes_on_whatever_the_order_of_members_and_the_limits(backend: Backend) -> None:
    api = backend.api(read_budget=6)
    api.call("provision")
    api.put_all([{"pk": api.pk("x"), "sk": str(at), "a": at, "b": "y"} for at in range(9)])
    first = {"a": {"ge": 0, "le": 9}, "b": "y", "$or": [{"b": "y", "a": {"ge": 0}}, {"b": "z"}]}
    second = {"$or": [{"a": {"ge": 0}, "b": "y"}, {"b": "z"}], "b": "y", "a": {"le": 9, "ge": 0}}
    cursor = api.call("query", pk=api.pk("x"), limit=2, filter=first, attributes=["a", "b"])["cursor"]
    page = api.call("query", pk=api.pk("x"), limit=3, filter=second, attributes=["b", "a"], cursor=cursor)
    assert keys(page) == ["2", "3", "4"]
    found = [page["count"] for page in api.walk("scan", view="count")]
    assert found[-1] == 9


def test_arguments_that_no_listing_takes(api: Api) -> None:
    for limit in (0, -1, 1001, "five", 2.5, True):
        assert "limit" in api.fails("invalid_argument", "query", pk=api.pk("x"), limit=limit).message
        assert "limit" in api.fails("invalid_argument", "scan", limit=limit).message
    refused: list[dict[str, Any]] = [
        {"sk_prefix": "a", "sk_from": "b"},
        {"sk_from": "b", "sk_to": "a"},
        {"filter": {"a": {"like": "b"}}},
        {"filter": {"a": {"between": [2, 1]}}},
        {"filter": {"a": {"between": [1, "2"]}}},
        {"filter": {"a": {"gt": [1]}}},
        {"filter": {"a": {"in": list(range(101))}}},
        {"filter": {"a": {"in": []}}},
        {"filter": {"a" * 5000: 1} | {f"{at}": at for at in range(600)}},
        {"filter": {"a..b": 1}},
        {"filter": {"a": {}}},
        {"view": "everything"},
        {"prefix": "x"},
        {"sk_prefix": "a" * 1025},
    ]
    for arguments in refused:
        api.fails("invalid_argument", "query", pk=api.pk("x"), **arguments)
    page = api.call("query", pk=api.pk("x"), sk_prefix="", filter={}, attributes=[], view=None, limit=None, cursor="")
    assert page["complete"] is True


FILTERED: list[dict[str, Any]] = [
    {"sk": "1", "status": "open", "total": 5, "a.b": "x", "m": {"c": [1, "two"]}},
    {"sk": "2", "status": "late", "total": "5", "a.b": "y", "m": {"c": []}},
    {"sk": "3", "status": "done", "total": None, "m": {}},
    {"sk": "4", "total": {"SS": ["5"]}, "$ref": "z"},
]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"$or": [{"status": "open"}, {"status": "late"}]}, ["1", "2"]),
        ({"$or": [{"status": "open", "total": 6}, {"total": {"type": "NULL"}}]}, ["3"]),
        ({"$or": [{"status": {"exists": False}}, {"m.c[1]": "two"}], "total": {"ne": 7}}, ["1", "4"]),
        ({"$or": [{"total": {"lt": 9}}, {"status": "done"}], "status": {"begins_with": "d"}}, ["3"]),
        ({"$or": [{"status": "a"}, {"status": "b"}, {"status": "c"}]}, []),
        ({"total": {"type": "S"}}, ["2"]),
        ({"total": {"type": "SS"}}, ["4"]),
        ({"m.c": {"type": "L"}}, ["1", "2"]),
        ({"none": {"type": "S"}}, []),
        ({"`a.b`": "y"}, ["2"]),
        ({"`$ref`": {"contains": "z"}}, ["4"]),
    ],
)
def test_alternatives_types_and_quoted_names_in_filters(api: Api, given: dict[str, Any], expected: list[str]) -> None:
    api.put_all([{"pk": api.pk("f"), **item} for item in FILTERED])
    assert keys(api.call("query", pk=api.pk("f"), filter=given)) == expected
    found = [sk for page in api.walk("scan", filter=given, limit=1) for sk in keys(page)]
    assert sorted(found) == expected


def test_alternatives_name_keys_where_the_filter_may(api: Api) -> None:
    api.put_all([{"pk": api.pk("f"), **item} for item in FILTERED])
    given = {"$or": [{"sk": "1"}, {"status": "done"}]}
    assert sorted(keys(api.call("scan", filter=given))) == ["1", "3"]
    assert "sk_prefix" in api.fails("invalid_argument", "query", pk=api.pk("f"), filter=given).next


def test_an_expectation_with_alternatives_and_types(api: Api) -> None:
    api.put("e", "1", n=1)
    item = {"pk": api.pk("e"), "sk": "1", "n": 2}
    failed = api.fails("condition_failed", "put", item=item, expect={"$or": [{"n": 5}, {"n": {"type": "S"}}]})
    assert failed.to_json()["item"] == {**item, "n": 1}
    api.call("put", item=item, expect={"$or": [{"n": 5}, {"n": {"type": "N"}}], "sk": "1"})
    assert api.item("e", "1") == item
