"""No key of another deployment passes in or out, whatever form it has: the same on every store."""

import json
from typing import Any

import pytest

from ddb_mcp.core.errors import PrefixViolation
from tests.contract.conftest import Api, Backend
from tests.support.tenants import foreign_keys


@pytest.mark.parametrize("kind", foreign_keys("deploy#any"))
def test_no_tool_takes_a_foreign_key(api: Api, kind: str) -> None:
    pk = foreign_keys(api.prefix)[kind]
    item: dict[str, Any] = {"pk": pk, "sk": "1", "a": 1}
    typed = {"pk": {"S": pk}, "sk": {"S": "1"}, "a": {"N": "1"}}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get", {"pk": pk, "sk": "1"}),
        ("put", {"item": item}),
        ("put", {"item": json.dumps(item)}),
        ("put", {"item": json.dumps(item, ensure_ascii=False)}),
        ("put", {"item": typed}),
        ("put", {"item": json.dumps(typed)}),
        ("put", {"items": [{"pk": api.pk("mine"), "sk": "1"}, item]}),
        ("put", {"item": item, "merge": True}),
        ("put", {"item": item, "create_only": True}),
        ("delete", {"pk": pk, "sk": "1"}),
        ("delete", {"keys": [{"pk": api.pk("mine"), "sk": "1"}, {"pk": pk, "sk": "1"}]}),
        ("query", {"pk": pk}),
        ("query", {"pk": pk, "view": "count"}),
    ]
    if pk != api.prefix + "#":
        calls.append(("scan", {"pk_prefix": pk}))
    for operation, arguments in calls:
        error = api.fails("prefix_violation", operation, **arguments)
        assert isinstance(error, PrefixViolation)
        assert api.prefix + "#" in error.message + error.next
        if "Did you mean" in error.next:
            assert api.pk(pk) in error.next
    assert api.item("mine", "1") is None


def test_a_neighbour_is_out_of_reach_both_ways(backend: Backend) -> None:
    one = backend.api()
    two = backend.api(one.prefix + "#nested")
    three = backend.api(one.prefix + "x")
    one.call("provision")
    for api in (one, two, three):
        api.put("user", "1", owner=api.prefix)
    assert three.call("scan")["items"] == [{"pk": three.pk("user"), "sk": "1", "owner": three.prefix}]
    one.fails("prefix_violation", "get", pk=three.pk("user"), sk="1")
    three.fails("prefix_violation", "get", pk=one.pk("user"), sk="1")
    two.fails("prefix_violation", "delete", pk=one.pk("user"), sk="1")
    assert one.item("user", "1") == {"pk": one.pk("user"), "sk": "1", "owner": one.prefix}


def test_duplicate_members_smuggle_nothing(api: Api) -> None:
    for text in (
        f'{{"pk": "{api.pk("a")}", "pk": "deploy#other#a", "sk": "1"}}',
        f'{{"pk": "deploy#other#a", "pk": "{api.pk("a")}", "sk": "1"}}',
        f'{{"pk": {{"S": "{api.pk("a")}", "S": "deploy#other#a"}}, "sk": {{"S": "1"}}}}',
        f'{{"pk": "{api.pk("a")}", "sk": "1", "m": {{"x": 1, "\\u0078": 2}}}}',
    ):
        assert "twice" in api.fails("invalid_argument", "put", item=text).message
    assert api.call("scan", view="count")["count"] == 0


@pytest.mark.parametrize(
    "item",
    [
        {"sk": "1"},
        {"pk": 7, "sk": "1"},
        {"pk": "", "sk": "1"},
        {"pk": None, "sk": "1"},
        {"pk": {"N": "7"}, "sk": "1"},
        {"pk": ["a"], "sk": "1"},
        {"pk": {"S": "a", "N": "1"}, "sk": "1"},
        {"pk": {"B": "AAEC"}, "sk": "1"},
        "[]",
        "7",
        "{",
        "null",
        "",
        "NaN",
        "[" * 100_000,
        [],
        7,
    ],
    ids=lambda item: json.dumps(item)[:40],
)
def test_what_is_no_item(api: Api, item: Any) -> None:
    api.fails("invalid_argument", "put", item=item)


def test_bad_keys(api: Api) -> None:
    good = api.pk("a")
    for key in (
        {"pk": good, "sk": ""},
        {"pk": "", "sk": "1"},
        {"pk": good, "sk": "s" * 1025},
        {"pk": good, "sk": "é" * 513},
        {"pk": good + "é" * 1024, "sk": "1"},
        {"pk": good, "sk": "\ud800"},
        {"pk": good + "\udfff", "sk": "1"},
        {"pk": good, "sk": 1},
        {"pk": good},
        {"sk": "1"},
    ):
        api.fails("invalid_argument", "get", **key)
        api.fails("invalid_argument", "delete", **key)
        api.fails("invalid_argument", "put", item=key)
    longest = {"pk": good + "p" * (2048 - len(good)), "sk": "s" * 1024}
    api.call("put", item=longest)
    assert api.call("get", **longest)["item"] == longest
    control = {"pk": good + "\0\x01\x7f", "sk": "\t\n\x00"}
    api.call("put", item=control)
    assert api.call("query", pk=control["pk"])["items"] == [control]
