"""provision, info, get, put and delete: the same on every store."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future
from random import Random
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, InvalidArgument, Unsupported
from ddb_mcp.core.items import item_to_json
from tests.contract.conftest import Api, Backend, normal
from tests.support.strategies import examples, items

EVERY_TYPE: dict[str, Any] = {
    "string": "naïve ☃ 𝄞",
    "empty": "",
    "integer": 42,
    "negative": -17.25,
    "zero": 0,
    "exact": 9007199254740992,
    "wide": {"N": "12345678901234567890123456789012345678"},
    "tiny": {"N": "1.23456789012345678901234567890123E-100"},
    "large": {"N": "9E+125"},
    "true": True,
    "nothing": None,
    "list": [1, "two", [3.5, {"deep": [None, False]}], {"SS": ["in", "list"]}],
    "map": {"a": {"b": {"c": "d"}}, "N": "not a number", "B": 1},
    "mistakable": {"M": {"SS": {"L": [{"S": "a"}]}}},
    "mistakable too": {"M": {"M": {"M": {"N": {"N": "5"}}}}},
    "no lists": [],
    "no map": {},
    "strings": {"SS": ["a", "ä", "z"]},
    "numbers": {"NS": ["-1", "2.5", "12345678901234567890"]},
    "binaries": {"BS": ["AAE=", "/w=="]},
    "binary": {"B": "AAECA/8="},
    "empty binary": {"B": ""},
    "dotted.name": 1,
    "size": "a reserved word",
}


PAST = int(time.time()) - 3600


def test_provision_is_idempotent_and_info_changes_nothing(backend: Backend) -> None:
    api = backend.api()
    first, second = api.call("provision"), api.call("provision")
    assert second["created"] is False
    assert {**first, "created": False} == second
    info = api.call("info")
    assert info["provisioned"] is True
    assert info["prefix"] == api.prefix == first["prefix"]
    assert info["readOnly"] is False
    for name in ("tableName", "region", "mode", "instructions"):
        assert info[name] == first[name]
        assert info[name]
    assert api.prefix in info["instructions"]


def test_every_type_comes_back_as_it_was(api: Api) -> None:
    assert api.put("types", "1", **EVERY_TYPE)["created"] is True
    stored = api.item("types", "1")
    assert normal(stored) == normal({"pk": api.pk("types"), "sk": "1", **EVERY_TYPE})
    again = api.call("put", item=stored)
    assert again["created"] is False
    assert "dropped" not in again
    assert normal(api.item("types", "1")) == normal(stored)


def test_an_item_may_be_a_json_string_or_dynamodb_json(api: Api) -> None:
    text = f'{{"pk": "{api.pk("forms")}", "sk": "1", "n": 12345678901234567890, "d": 0.1000}}'
    api.call("put", item=text)
    api.call("put", item={"pk": {"S": api.pk("forms")}, "sk": {"S": "2"}, "n": {"N": "1.0"}, "l": {"L": [{"S": "a"}]}})
    assert api.item("forms", "1") == {"pk": api.pk("forms"), "sk": "1", "n": {"N": "12345678901234567890"}, "d": 0.1}
    assert api.item("forms", "2") == {"pk": api.pk("forms"), "sk": "2", "n": 1, "l": ["a"]}


def test_get_can_name_attributes(api: Api) -> None:
    api.put("a", "1", one=1, two=2, **{"dotted.name": 3, "name": 4})
    key = {"pk": api.pk("a"), "sk": "1"}
    result = api.call("get", **key, attributes=["two", "`dotted.name`", "dotted.name", "absent"])
    assert result["item"] == {**key, "two": 2, "dotted.name": 3}
    assert result["hint"] == (
        "nothing is stored at `dotted.name`; did you mean ``dotted.name``? nothing is stored at `absent`."
    )
    assert api.call("get", **key, attributes=["absent"])["item"] == key
    assert api.call("get", **key, attributes=[])["item"] == {**key, "one": 1, "two": 2, "dotted.name": 3, "name": 4}


NESTED: dict[str, Any] = {
    "address": {"city": "Paris", "lines": ["a", {"b": 1, "c": [2, 3]}, "d"]},
    "tags": {"SS": ["x"]},
    "body": "0123456789",
    "raw": {"B": "AAECAw=="},
    "json": '{"a": 1}',
}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (["address.city"], {"address": {"city": "Paris"}}),
        (["address.lines[1].c[0]", "address.lines[2]"], {"address": {"lines": [{"c": [2]}, "d"]}}),
        (["address", "address.city", "tags"], {"address": NESTED["address"], "tags": NESTED["tags"]}),
        (["pk", "sk.a"], {}),
    ],
)
def test_attributes_are_document_paths(api: Api, attributes: list[str], expected: dict[str, Any]) -> None:
    key = {"pk": api.pk("a"), "sk": "1"}
    api.put("a", "1", **NESTED)
    assert api.call("get", **key, attributes=attributes)["item"] == {**key, **expected}
    assert api.call("query", pk=key["pk"], attributes=attributes)["items"] == [{**key, **expected}]
    assert api.call("scan", attributes=attributes)["items"] == [{**key, **expected}]


def test_parts_of_texts_and_binary(api: Api) -> None:
    key = {"pk": api.pk("a"), "sk": "1"}
    api.put("a", "1", **NESTED)
    result = api.call("get", **key, attributes=["body[2:4]", "raw[1:3]", "address.city[3:]", "tags[0:1]"])
    assert result == {
        "found": True,
        "hint": "`tags` is a string set; only strings and binary have parts.",
        "parts": {
            "body[2:4]": {"text": "23", "of": 10},
            "raw[1:3]": {"base64": "AQI=", "of": 4},
            "address.city[3:]": {"text": "is", "of": 5},
        },
        "item": key,
    }
    for operation, where in (("query", {"pk": key["pk"]}), ("scan", {})):
        assert api.fails("invalid_argument", operation, **where, attributes=["body[0:2]"]).next
    assert api.call("put", item=api.call("get", **key)["item"])["created"] is False


@pytest.mark.parametrize(
    ("attribute", "hint"),
    [
        ("adress.city", "nothing is stored at `adress.city`; did you mean `address.city`?"),
        ("address.City", "nothing is stored at `address.City`; did you mean `address.city`?"),
        ("address.lines[7]", "nothing is stored at `address.lines[7]`; the longest `address.lines` has 3 entries."),
        ("json.a", "nothing is stored at `json.a`; `json` is a string of JSON, not a map or list: read it whole."),
        ("nowhere", "nothing is stored at `nowhere`."),
    ],
)
def test_a_path_that_nothing_is_at_is_named(api: Api, attribute: str, hint: str) -> None:
    api.put_all([{"pk": api.pk("a"), "sk": str(at), **NESTED} for at in range(3)])
    assert api.call("get", pk=api.pk("a"), sk="1", attributes=["body", attribute])["hint"] == hint
    page = api.call("query", pk=api.pk("a"), attributes=["body", attribute])
    assert (page["count"], page["hint"]) == (3, hint)
    assert api.call("scan", attributes=[attribute])["hint"] == hint
    assert "hint" not in api.call("scan", attributes=["body"])


def test_a_path_that_a_later_page_has_is_named_too(api: Api) -> None:
    for sk, attributes in (("1", {}), ("2", {"b": 1})):
        api.call("put", item={"pk": api.pk("a"), "sk": sk, **attributes})
    page = api.call("query", pk=api.pk("a"), limit=1, attributes=["b"])
    assert (page["count"], page["hint"]) == (1, "nothing is stored at `b`.")


def test_what_is_not_there_is_not_found(api: Api) -> None:
    assert api.call("get", pk=api.pk("nobody"), sk="1") == {"found": False}
    assert api.call("delete", pk=api.pk("nobody"), sk="1") == {"deleted": False}


def test_put_replaces_and_returns_what_it_dropped(api: Api) -> None:
    api.put("u", "1", kept=1, gone={"SS": ["x"]}, changed=1)
    assert api.put("u", "1", kept=1, changed=2) == {
        "pk": api.pk("u"),
        "sk": "1",
        "created": False,
        "dropped": {"gone": {"SS": ["x"]}},
    }
    assert api.item("u", "1") == {"pk": api.pk("u"), "sk": "1", "kept": 1, "changed": 2}


@pytest.mark.deviates(
    "dynoxide",
    "mcp-gateways-dynoxide",
    reason="ALL_OLD of an UpdateItem that creates has the key",
    raises=AssertionError,
)
def test_merge_says_whether_it_created(api: Api) -> None:
    assert api.call("put", item={"pk": api.pk("m"), "sk": "1", "a": 1}, merge=True).get("created") is True
    assert api.call("put", item={"pk": api.pk("m"), "sk": "2"}, merge=True)["created"] is True
    assert api.call("put", item={"pk": api.pk("m"), "sk": "1", "a": 1}, merge=True)["created"] is False


def test_merge_sets_and_removes(api: Api) -> None:
    key = {"pk": api.pk("m"), "sk": "1"}
    api.call("put", item={**key, "a": 1, "b": {"x": 1}}, merge=True)
    result = api.call(
        "put", item={**key, "b": 2, "c": [3], "size": "reserved"}, merge=True, remove=["a", "never there"]
    )
    assert result["dropped"] == {"a": 1, "b": {"x": 1}}
    assert result["warnings"] == ["remove: nothing was stored at never there"]
    assert api.item("m", "1") == {**key, "b": 2, "c": [3], "size": "reserved"}
    api.call("put", item=key, merge=True)
    assert api.item("m", "1") == {**key, "b": 2, "c": [3], "size": "reserved"}
    api.call("put", item={"pk": api.pk("m"), "sk": "only a key"}, merge=True)
    assert api.item("m", "only a key") == {"pk": api.pk("m"), "sk": "only a key"}


def test_remove_alone_keeps_the_rest(api: Api) -> None:
    api.put("m", "1", a=1, b=2)
    assert api.call("put", item={"pk": api.pk("m"), "sk": "1"}, remove=["a"])["dropped"] == {"a": 1}
    assert api.item("m", "1") == {"pk": api.pk("m"), "sk": "1", "b": 2}


def test_a_merge_too_long_for_an_update_expression_is_refused(api: Api) -> None:
    key = {"pk": api.pk("m"), "sk": "1"}
    many = {f"a{at}": at for at in range(500)}
    assert "500 attributes" in api.fails("invalid_argument", "put", item={**key, **many}, merge=True).message
    assert api.call("put", item={**key, **many})["created"] is True
    api.fails("invalid_argument", "put", items=[{**key, "a1": 1}], remove=[f"b{at}" for at in range(1000)])
    assert api.call("put", item={**key, "new": 1}, merge=True)["created"] is False


def test_create_only(api: Api) -> None:
    item = {"pk": api.pk("c"), "sk": "1", "by": "first"}
    assert api.call("put", item=item, create_only=True)["created"] is True
    error = api.fails("condition_failed", "put", item={**item, "by": "second"}, create_only=True)
    assert isinstance(error, ConditionFailed)
    assert error.item == item
    assert api.item("c", "1") == item
    for other in ({"expect": {"by": "first"}}, {"merge": True}, {"remove": ["by"]}):
        api.fails("invalid_argument", "put", item=item, create_only=True, **other)


def test_create_only_has_one_winner(api: Api) -> None:
    for race in range(5):
        calls: list[Future[dict[str, Any]]] = [
            api.start("put", item={"pk": api.pk("race"), "sk": str(race), "by": by}, create_only=True)
            for by in range(8)
        ]
        outcomes = [call.exception() for call in calls]
        winners = [by for by, outcome in enumerate(outcomes) if outcome is None]
        losers = [outcome.code for outcome in outcomes if isinstance(outcome, DdbMcpError)]
        assert len(winners) == 1
        assert losers == ["condition_failed"] * 7
        stored = api.item("race", str(race))
        assert stored is not None
        assert stored["by"] == winners[0]


STORED = {
    "status": "open",
    "total": 10,
    "big": {"N": "12345678901234567890"},
    "address": {"city": "Paris", "lines": ["a", "b"]},
    "tags": {"SS": ["x", "y"]},
    "nothing": None,
    "flag": True,
    "raw": {"B": "AAEC"},
    "list": [1, "two"],
    "map": {"a": 1},
}
_NO_EQUALITY = pytest.mark.deviates("dynalite", reason="no list and no map equals another", raises=ConditionFailed)
HOLD = [
    {"status": "open"},
    {"status": {"eq": "open"}, "total": {"gt": 9, "lt": 11}},
    {"total": {"between": [10, 20]}},
    {"total": {"in": [1, 10]}},
    {"total": {"eq": {"N": "10.00"}}},
    {"big": {"gt": {"N": "12345678901234567889"}}},
    {"status": {"ne": 10}},
    {"absent": {"ne": "x"}},
    {"absent": {"exists": False}},
    {"address.city": {"begins_with": "Par"}},
    {"address.lines[1]": "b"},
    {"tags": {"contains": "x"}},
    {"tags": {"SS": ["y", "x"]}},
    {"status": {"contains": "pe"}},
    {"list": {"contains": 1}},
    pytest.param({"list": [1, "two"]}, marks=_NO_EQUALITY),
    pytest.param({"map": {"eq": {"a": 1}}}, marks=_NO_EQUALITY),
    {"nothing": None},
    {"flag": True},
    {"raw": {"B": "AAEC"}},
    {"raw": {"begins_with": {"B": "AAE="}}},
]
FAIL: list[dict[str, Any]] = [
    {"status": "closed"},
    {"status": "open", "total": 11},
    {"total": "10"},
    {"total": {"gt": "9"}},
    {"total": {"ge": 10.5}},
    {"absent": "x"},
    {"absent": {"lt": 5}},
    {"absent": None},
    {"nothing": {"exists": False}},
    {"address.lines[2]": {"exists": True}},
    {"tags": {"contains": "z"}},
    {"list": {"contains": "1"}},
    {"map": {"eq": {"a": 1, "b": 2}}},
    {"flag": 1},
]


@pytest.mark.parametrize("expect", HOLD, ids=json.dumps)
def test_expectations_that_hold(api: Api, expect: dict[str, Any]) -> None:
    api.put("e", "1", **STORED)
    assert api.call("put", item={"pk": api.pk("e"), "sk": "1", "new": 1}, merge=True, expect=expect)["created"] is False
    assert api.call("query", pk=api.pk("e"), filter=expect)["count"] == 1
    assert api.call("delete", pk=api.pk("e"), sk="1", expect=expect)["deleted"] is True


@pytest.mark.parametrize("expect", FAIL, ids=json.dumps)
def test_expectations_that_do_not_hold(api: Api, expect: dict[str, Any]) -> None:
    api.put("e", "1", **STORED)
    before = normal(api.item("e", "1"))
    for operation, arguments in (
        ("put", {"item": {"pk": api.pk("e"), "sk": "1", "new": 1}}),
        ("put", {"item": {"pk": api.pk("e"), "sk": "1", "new": 1}, "merge": True}),
        ("delete", {"pk": api.pk("e"), "sk": "1"}),
    ):
        error = api.fails("condition_failed", operation, **arguments, expect=expect)
        assert isinstance(error, ConditionFailed)
        assert normal(error.item) == before
    assert normal(api.item("e", "1")) == before
    assert api.call("query", pk=api.pk("e"), filter=expect)["count"] == 0


def test_an_expectation_of_what_is_not_there(api: Api) -> None:
    item = {"pk": api.pk("e"), "sk": "none", "a": 1}
    error = api.fails("condition_failed", "put", item=item, expect={"a": 1})
    assert isinstance(error, ConditionFailed)
    assert error.item is None
    assert api.item("e", "none") is None
    assert api.call("put", item=item, expect={"a": {"exists": False}})["created"] is True


def test_delete_returns_what_can_be_put_back(api: Api) -> None:
    api.put("d", "1", **EVERY_TYPE)
    stored = api.item("d", "1")
    result = api.call("delete", pk=api.pk("d"), sk="1")
    assert result["deleted"] is True
    assert normal(result["item"]) == normal(stored)
    assert api.item("d", "1") is None
    api.call("put", item=result["item"])
    assert normal(api.item("d", "1")) == normal(stored)


def test_batches_are_independent_writes(api: Api) -> None:
    items = [{"pk": api.pk("b"), "sk": str(at), "at": at} for at in range(100)]
    api.call("put", item=items[3])
    result = api.call("put", items=items, create_only=True)
    assert result["written"] == 99
    assert [failed["index"] for failed in result["failed"]] == [3]
    assert result["failed"][0]["error"]["code"] == "condition_failed"
    assert result["failed"][0]["error"]["item"] == items[3]
    result = api.call(
        "delete", keys=[{"pk": item["pk"], "sk": item["sk"]} for item in items[:99]] + [{"pk": api.pk("b"), "sk": "x"}]
    )
    assert result == {"deletedCount": 99, "failed": []}
    assert api.call("query", pk=api.pk("b"), view="count")["count"] == 1


def test_a_batch_names_what_it_dropped(api: Api) -> None:
    api.put_all([{"pk": api.pk("b"), "sk": str(at), "old": at, "kept": 1} for at in range(12)])
    result = api.call("put", items=[{"pk": api.pk("b"), "sk": str(at), "kept": 1} for at in range(12)])
    assert result["written"] == 12
    assert result["warnings"][0] == "items[0]: replaced a stored item; dropped: old"
    assert result["warnings"][10] == "and 2 more"
    assert "warnings" not in api.call("put", items=[{"pk": api.pk("b"), "sk": "1", "kept": 2}])


def test_one_bad_entry_refuses_the_batch(api: Api) -> None:
    good = {"pk": api.pk("b"), "sk": "1"}
    for bad, code in (
        ({"pk": api.pk("b")}, "invalid_argument"),
        ({"pk": "deploy#somebody-else#b", "sk": "1"}, "prefix_violation"),
        ({"pk": api.pk("b"), "sk": "2", "s": {"SS": []}}, "invalid_argument"),
        (good, "invalid_argument"),
    ):
        assert "items[1]" in api.fails(code, "put", items=[good, bad]).message
    assert api.item("b", "1") is None
    api.fails("invalid_argument", "put", items=[{"pk": api.pk("b"), "sk": str(at)} for at in range(101)])
    api.fails("invalid_argument", "put", item=good, items=[good])
    api.fails("invalid_argument", "put")
    api.fails("invalid_argument", "delete", pk=api.pk("b"))
    api.fails("invalid_argument", "delete", pk=api.pk("b"), sk="1", keys=[good])


def test_a_batch_says_which_entry_is_bad(api: Api) -> None:
    good = {"pk": api.pk("b"), "sk": "1"}
    for bad, code in (
        ({**good, "sk": ""}, "invalid_argument"),
        ({"pk": "deploy#zzz#b", "sk": "1"}, "prefix_violation"),
    ):
        assert api.fails(code, "put", items=[good, bad]).message.startswith("items[1].")
        assert api.fails(code, "delete", keys=[good, bad]).message.startswith("keys[1].")
        assert api.fails(code, "put", item=bad).message.startswith("item.")


def test_the_largest_item_and_one_byte_more(api: Api) -> None:
    key = {"pk": api.pk("large"), "sk": "1"}
    taken = sum(len(name) + len(value) for name, value in key.items()) + len("body")
    api.call("put", item={**key, "body": "x" * (400 * 1024 - taken)})
    part = api.call("get", **key, attributes=["body[409000:]"])["parts"]["body[409000:]"]
    assert part == {"text": "x" * (400 * 1024 - taken - 409_000), "of": 400 * 1024 - taken}
    api.fails("invalid_argument", "put", item={**key, "body": "y" * (400 * 1024 - taken + 1)})
    api.fails("invalid_argument", "put", item={**key, "more": 1}, merge=True)
    assert api.call("get", **key, attributes=["more"])["item"] == key


@given(items.map(item_to_json), st.randoms())
@examples(25)
def test_two_reads_of_an_item_are_the_same_bytes(backend: Backend, item: dict[str, Any], random: Random) -> None:
    api = backend.api()
    api.call("provision")
    item = {**item, "pk": api.pk("same"), "sk": "1"}
    for stored in (item, shuffle(item, random)):
        try:
            api.call("put", item=stored)
        except (InvalidArgument, Unsupported):  # some engines lack some values
            reject()
        first, second = (json.dumps(api.call("get", pk=item["pk"], sk="1")) for _ in range(2))
        assert first == second
        found = json.loads(first)["item"]
        assert list(found) == ["pk", "sk", *sorted(found.keys() - {"pk", "sk"})]
        assert [*iter_nested_names(found)] == [sorted(names) for names in iter_nested_names(found)]


def shuffle(value: Any, random: Random) -> Any:
    """The value with the members of its maps in another order."""
    if isinstance(value, list):
        return [shuffle(entry, random) for entry in value]
    if not isinstance(value, dict):
        return value
    return {name: shuffle(value[name], random) for name in random.sample(sorted(value), len(value))}


def iter_nested_names(value: Any) -> Iterator[list[str]]:
    """The names of each map within a value, in their order."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(inner, dict):
            yield list(inner)
        yield from iter_nested_names(inner)


def test_a_large_item_is_outlined(backend: Backend) -> None:
    api = backend.api(max_result_bytes=4096)
    api.call("provision")
    api.put("l", "1", body="x" * 5000, small=1)
    result = api.call("get", pk=api.pk("l"), sk="1")
    assert result["outlined"] is True
    assert result["item"]["small"] == 1
    assert result["item"]["outline"]["attributes"] == [{"path": "body", "type": "S", "bytes": 5000}]
    assert "outline" in api.fails("invalid_argument", "put", item=result["item"]).message
    api.put("l", "2", body="x" * (4096 - 200 - len(api.pk("l"))))
    assert "outlined" not in api.call("get", pk=api.pk("l"), sk="2")
    assert "outlined" not in api.call("query", pk=api.pk("l"), sk_from="2")
    asked = api.call("get", pk=api.pk("l"), sk="1", attributes=["body"])
    assert asked["item"]["outline"]["attributes"] == [{"path": "body", "type": "S", "bytes": 5000}]
    part = api.call("get", pk=api.pk("l"), sk="1", attributes=["small", "body[4000:]"])
    assert part["item"] == {"pk": api.pk("l"), "sk": "1", "small": 1}
    assert part["parts"] == {"body[4000:]": {"text": "x" * 1000, "of": 5000}}


def test_dynamodb_json_within_a_plain_item_is_stored_as_it_stands_and_said_so(api: Api) -> None:
    plain = {"name": {"S": "Ada"}, "on": {"BOOL": True}, "deep": [{"x": {"L": []}}, {"NULL": True}], "n": {"N": "1"}}
    (warning,) = api.put("p", "1", **plain)["warnings"]
    assert warning.endswith(": deep[0].x, deep[1], name, on")
    assert api.item("p", "1") == {"pk": api.pk("p"), "sk": "1", **plain, "n": 1}
    for fine in ({"S": 5}, {"S": "a", "N": "1"}, {"x": "S"}, {"L": {"a": 1}}, {}):
        assert "warnings" not in api.put("p", "2", map=fine)
    (warning,) = api.call("put", items=[{"pk": api.pk("p"), "sk": "3", **plain}])["warnings"]
    assert warning.startswith("items[0]: ")
    assert "warnings" in api.call("put", where={"pk": api.pk("p")}, item={"name": {"S": "Ada"}})


def expires_items(api: Api) -> bool:
    """Whether the engine has TTL. dynalite cannot turn it on."""
    return api.call("info").get("ttl") not in ("unknown", "disabled")


@pytest.mark.parametrize(
    ("ttl", "warned"),
    [
        (1, True),
        pytest.param(PAST, True, id="past"),
        pytest.param(PAST + 7200, False, id="to come"),
        ("1700000000", True),
        (4102444800000, True),
        (4102444800, False),
        ({"N": "4102444800"}, False),
    ],
)
def test_a_ttl_that_expires_nothing_or_at_once_is_warned_about(api: Api, ttl: Any, warned: bool) -> None:
    assert ("warnings" in api.put("t", "1", ttl=ttl)) is (warned and expires_items(api))
    stored = api.item("t", "1")
    assert stored is not None
    assert stored["ttl"] in (ttl, 4102444800)


@pytest.mark.parametrize(
    ("change", "spelled"),
    [
        ({"item": {"address.city": "Rome"}, "merge": True}, "address.city as `address.city`"),
        ({"item": {"list[0]": 1}, "merge": True}, "list[0] as `list[0]`"),
        ({"item": {"`a.b`": 1}, "merge": True}, "`a.b` as ```a.b```"),
        ({"add": {"stock.left": -1}}, "stock.left as `stock.left`"),
    ],
    ids=str,
)
def test_a_name_that_looks_like_a_path_is_stored_and_warned_about(
    api: Api, change: dict[str, Any], spelled: str
) -> None:
    key = {"pk": api.pk("n"), "sk": "1"}
    (name,) = {**change.get("item", {}), **change.get("add", {})}
    (warning,) = api.call("put", **{**change, "item": {**key, **change.get("item", {})}})["warnings"]
    assert f"{spelled}." in warning
    assert api.item("n", "1") is not None
    spelling = spelled.split(" as ")[1]
    assert api.call("query", pk=key["pk"], filter={spelling: {"exists": True}})["count"] == 1
    assert api.call("put", item=key, remove=[spelling])["dropped"]
    api.put("n", "2")
    where = api.call("put", where={"pk": key["pk"]}, **{n: v for n, v in change.items() if n != "merge"})
    assert [spelled in text for text in where["warnings"]] == [True]
    (warning,) = api.call("put", items=[{**key, name: 1}], merge=True)["warnings"]
    assert warning.startswith("items[0]: ")
    assert "warnings" not in api.put("n", "3", **{name: 1}), "a whole item may have any names"
    assert "warnings" not in api.call("put", item={**key, "a": {"b.c": 1}, "odd.": 1}, merge=True)


def test_no_warning_about_a_ttl_that_the_call_does_not_write(api: Api) -> None:
    api.put("t", "1", ttl=1)
    assert "warnings" not in api.call("put", item={"pk": api.pk("t"), "sk": "1", "n": 1}, merge=True)
    where = {"pk": api.pk("t"), "filter": {"n": 2}}
    assert "warnings" not in api.call("put", where=where, item={"ttl": 1})
    assert "warnings" not in api.call("put", where={"pk": api.pk("t")}, item={"ttl": 1}, dry_run=True)
    assert ("warnings" in api.call("put", where={"pk": api.pk("t")}, item={"ttl": 1})) is expires_items(api)


def test_a_read_only_service_refuses_writes(backend: Backend) -> None:
    writer = backend.api()
    writer.call("provision")
    writer.put("r", "1")
    reader = backend.api(writer.prefix, read_only=True)
    assert reader.call("info")["readOnly"] is True
    assert reader.item("r", "1") is not None
    reader.fails("read_only", "provision")
    reader.fails("read_only", "put", item={"pk": reader.pk("r"), "sk": "2"})
    reader.fails("read_only", "delete", pk=reader.pk("r"), sk="1")
    assert reader.call("scan", view="count")["count"] == 1
