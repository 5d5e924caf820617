"""What a put changes of a stored item besides the attributes that it sets: add, paths in remove, and what is lost."""

from concurrent.futures import Future
from typing import Any

import pytest

from tests.contract.conftest import Api, normal

DIGITS = "1234567890123456789012345678901234567"


def change(api: Api, sk: str = "1", **arguments: Any) -> dict[str, Any]:
    return api.call("put", item={"pk": api.pk("c"), "sk": sk}, **arguments)


def stored(api: Api, sk: str = "1") -> dict[str, Any]:
    item = api.item("c", sk)
    assert item is not None
    return {name: normal(value) for name, value in item.items() if name not in ("pk", "sk")}


def test_add_adds_numbers_and_unites_sets(api: Api) -> None:
    api.put("c", "1", n=40, tags={"SS": ["a"]}, numbers={"NS": ["1"]}, kept=True)
    result = change(api, add={"n": 2, "tags": {"SS": ["b", "a"]}, "numbers": {"NS": ["1.0", "2"]}, "fresh": -0.5})
    assert normal(result["updated"]["tags"]) == {"SS": ["a", "b"]}
    assert normal(result["updated"]["numbers"]) == {"NS": ["1", "2"]}
    assert (result["updated"]["n"], result["updated"]["fresh"]) == (42, -0.5)
    assert "dropped" not in result
    assert stored(api) == {
        "n": 42,
        "tags": {"SS": ["a", "b"]},
        "numbers": {"NS": ["1", "2"]},
        "fresh": -0.5,
        "kept": True,
    }


def test_add_creates_what_is_not_there(api: Api) -> None:
    result = change(api, add={"n": 1, "raw": {"BS": ["AAE="]}})
    assert result.get("created") is not False
    assert result["updated"] == {"n": 1, "raw": {"BS": ["AAE="]}} == stored(api)


def test_add_sets_and_removes_in_one_update(api: Api) -> None:
    api.put("c", "1", n=1, gone=2, kept=3)
    item = {"pk": api.pk("c"), "sk": "1", "name": "Ada"}
    result = api.call("put", item=item, add={"n": 1}, remove=["gone"], expect={"kept": 3})
    assert (result["updated"], result["dropped"]) == ({"n": 2}, {"gone": 2})
    assert stored(api) == {"n": 2, "kept": 3, "name": "Ada"}
    api.fails("condition_failed", "put", item=item, add={"n": 1}, expect={"kept": 4})
    assert stored(api)["n"] == 2


def test_no_addition_is_lost_among_many_at_once(api: Api) -> None:
    calls: list[Future[dict[str, Any]]] = [
        api.start("put", item={"pk": api.pk("c"), "sk": "1"}, add={"n": 1, "who": {"NS": [str(by)]}})
        for by in range(20)
    ]
    seen = sorted(call.result()["updated"]["n"] for call in calls)
    assert seen == list(range(1, 21))
    assert len(stored(api)["who"]["NS"]) == 20


@pytest.mark.deviates("ministack", reason="adds with 28 digits", raises=AssertionError)
def test_add_is_exact_with_38_digits(api: Api) -> None:
    api.put("c", "1", n={"N": DIGITS + "8"}, d=0.1, far={"N": "1E+30"})
    assert change(api, add={"n": 1})["updated"] == {"n": {"N": DIGITS + "9"}}
    assert change(api, add={"d": 0.2})["updated"] == {"d": 0.3}
    assert stored(api)["n"] == {"N": DIGITS + "9"}


@pytest.mark.deviates("dynalite", "ministack", reason="keeps more digits", raises=pytest.fail.Exception)
def test_a_sum_of_more_digits_is_refused(api: Api) -> None:
    api.put("c", "1", far={"N": "1E+30"})
    api.fails("invalid_argument", "put", item={"pk": api.pk("c"), "sk": "1"}, add={"far": {"N": "1E-30"}})
    assert stored(api)["far"] == {"N": "1000000000000000000000000000000"}


@pytest.mark.parametrize(
    "add", [{"text": 1}, {"n": {"NS": ["1"]}}, {"tags": {"NS": ["1"]}}, {"tags": 1}, {"list": {"SS": ["a"]}}], ids=str
)
def test_add_to_what_has_another_type_is_refused(api: Api, add: dict[str, Any]) -> None:
    before = {"text": "1", "n": 1, "tags": {"SS": ["a"]}, "list": ["a"]}
    api.put("c", "1", **before)
    api.fails("invalid_argument", "put", item={"pk": api.pk("c"), "sk": "1"}, add=add)
    assert stored(api) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"add": {"n": "1"}}, "add.n must be a number or a set"),
        ({"add": {"n": [1]}}, "add.n must be a number or a set"),
        ({"add": {"n": {"B": "AA=="}}}, "add.n must be a number or a set"),
        ({"add": {"pk": 1}}, "pk is in the key"),
        ({"remove": ["sk"]}, "sk is in the key"),
        ({"remove": ["pk.x"]}, "pk is in the key"),
        ({"remove": ["a..b"]}, "not a document path"),
        ({"remove": ["a", "a.b"]}, "overlap"),
        ({"remove": ["a", "a"]}, "named twice"),
        ({"remove": ["set.x"]}, "overlap"),
        ({"add": {"set": 1}}, "named twice"),
        ({"add": {"n": 1}, "remove": ["n"]}, "named twice"),
        ({"remove": ["l[0]", "l[2]"]}, "positions in the same list"),
        ({"remove": ["l[0]", "l[2].x"]}, "positions in the same list"),
        ({"remove": ["m.l[0].x", "m.l[2]"]}, "positions in the same list"),
        ({"add": {"n": 1}, "create_only": True}, "create_only"),
    ],
    ids=str,
)
def test_what_no_update_can_do_is_refused_before_it_is_sent(api: Api, arguments: dict[str, Any], said: str) -> None:
    error = api.fails("invalid_argument", "put", item={"pk": api.pk("c"), "sk": "1", "set": 1}, **arguments)
    assert said in error.message
    assert api.item("c", "1") is None


@pytest.mark.parametrize(
    ("attributes", "advice"),
    [({"n": {"$inc": 1}}, "add"), ({"$set": {"n": 1}}, "merge"), ({"tags": {"$addToSet": "x"}}, "add")],
    ids=str,
)
def test_words_of_another_database_say_what_to_write(api: Api, attributes: dict[str, Any], advice: str) -> None:
    item = {"pk": api.pk("c"), "sk": "1", **attributes}
    assert advice in api.fails("invalid_argument", "put", item=item, merge=True).next
    stored = api.call("put", item=item)  # a whole item may have any names
    assert stored["created"] is True
    assert advice in stored["warnings"][0]


DEEP = {"address": {"zip": "75001", "city": "Paris"}, "list": [0, {"x": 1, "y": 2}, 2], "a.b": 1, "n": 1}


def test_remove_takes_document_paths(api: Api) -> None:
    api.put("c", "1", **DEEP)
    result = change(api, remove=["address.zip", "list[1].x", "`a.b`"])
    assert result["dropped"] == {"address.zip": "75001", "list[1].x": 1, "`a.b`": 1}
    assert "warnings" not in result
    assert stored(api) == {"address": {"city": "Paris"}, "list": [0, {"y": 2}, 2], "n": 1}
    assert change(api, remove=["list[0]"])["dropped"] == {"list[0]": 0}
    assert stored(api)["list"] == [{"y": 2}, 2]


@pytest.mark.parametrize(
    "absent",
    ["nobody", "nobody.zip", "address.street", "address.zip.x", "list[7]", "list[0].x", "n.x", "n[0]", "address[0]"],
)
def test_what_is_not_there_is_named_and_the_rest_is_done(api: Api, absent: str) -> None:
    api.put("c", "1", **DEEP)
    result = change(api, remove=[absent, "`a.b`"], add={"n": 1} if not absent.startswith("n") else {})
    assert result["warnings"] == [f"remove: nothing was stored at {absent}"]
    assert result["dropped"] == {"`a.b`": 1}
    expected = {name: value for name, value in DEEP.items() if name != "a.b"}
    assert stored(api) == (expected if absent.startswith("n") else {**expected, "n": 2})


def test_a_path_of_an_item_that_is_not_there(api: Api) -> None:
    assert change(api, remove=["a.b", "c"], add={"n": 1})["updated"] == {"n": 1}
    assert stored(api) == {"n": 1}
    error = api.fails(
        "condition_failed",
        "put",
        item={"pk": api.pk("c"), "sk": "none"},
        remove=["a.b"],
        expect={"pk": {"exists": True}},
    )
    assert "no item" in error.message
    assert api.item("c", "none") is None


@pytest.mark.parametrize("condition", [{}, {"expect": {"x": {"exists": False}}}], ids=str)
@pytest.mark.parametrize("remove", [["a"], ["a.b", "c"], ["l[0]"]], ids=str)
def test_remove_alone_creates_nothing(api: Api, remove: list[str], condition: dict[str, Any]) -> None:
    key = {"pk": api.pk("c"), "sk": "none"}
    result = api.call("put", item=key, remove=remove, **condition)
    assert result == {
        **key,
        "created": False,
        "warnings": [f"remove: nothing was stored at {', '.join(remove)}"],
    }
    assert api.item("c", "none") is None
    batch = api.call("put", items=[key, {**key, "sk": "other"}], remove=remove, **condition)
    assert (batch["written"], batch["failed"]) == (2, [])
    assert api.call("query", pk=api.pk("c"))["items"] == []


def test_a_batch_names_what_was_absent(api: Api) -> None:
    api.put("c", "1", **DEEP)
    items = [{"pk": api.pk("c"), "sk": sk} for sk in ("1", "2")]
    result = api.call("put", items=items, remove=["address.zip"], add={"n": 1})
    assert result["written"] == 2
    assert result.get("warnings", []) in ([], ["items[1]: remove: nothing was stored at address.zip"])
    assert (stored(api)["n"], stored(api, "2")) == (2, {"n": 1})


def test_dropped_tells_of_everything_that_is_lost(api: Api) -> None:
    before = {
        "gone": 1,
        "map": {"kept": 1, "lost": 2, "inner": {"lost": [1]}},
        "became": {"text": {"a": 1}},
        "list": [1],
        "set": {"SS": ["a"]},
        "same": {"SS": ["a"]},
        "scalar": 1,
        "shorter": [1, 2],
    }
    api.put("c", "1", **before)
    after = {
        "map": {"kept": 2, "inner": {}},
        "became": {"text": "x"},
        "list": {"0": 1},
        "set": ["a"],
        "same": {"SS": ["b"]},
        "scalar": "2",
        "shorter": [1],
    }
    lost = {
        "gone": 1,
        "map.lost": 2,
        "map.inner.lost": [1],
        "became.text": {"a": 1},
        "list": [1],
        "set": {"SS": ["a"]},
    }
    assert api.put("c", "1", **after)["dropped"] == lost
    api.put("c", "1", **before)
    item = {"pk": api.pk("c"), "sk": "1", **after}
    assert api.call("put", item=item, merge=True, remove=["gone"])["dropped"] == lost
    assert "dropped" not in api.call("put", item=item, merge=True)


def test_merge_returns_what_a_map_loses(api: Api) -> None:
    api.put("c", "1", address={"city": "Paris", "zip": "75001"})
    result = api.call("put", item={"pk": api.pk("c"), "sk": "1", "address": {"city": "Lyon"}}, merge=True)
    assert result["dropped"] == {"address.zip": "75001"}


def test_an_attribute_with_dots_is_dropped_by_its_path(api: Api) -> None:
    api.put("c", "1", **{"a.b": 1, "$ref": 2, "back`tick": 3, "a[0]": {"x": 1}})
    assert change(api)["dropped"] == {"`a.b`": 1, "`$ref`": 2, "`back``tick`": 3, "`a[0]`": {"x": 1}}
