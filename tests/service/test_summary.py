"""The summary of a listing: right counts, and bounds that no stored name can break."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import size
from ddb_mcp.service.summary import OTHER, Summary
from tests.support.strategies import HOSTILE_TEXT, attribute_values, examples, names

if TYPE_CHECKING:
    from ddb_mcp.core.items import AttributeValue, Item

OWN = Prefix("deploy#abc123")
PLENTY = 10_000_000


def item(pk: str, sk: str = "s", **attributes: AttributeValue) -> Item:
    return {"pk": {"S": f"deploy#abc123#{pk}"}, "sk": {"S": sk}, **attributes}


def summed(*items: Item, budget: int = PLENTY) -> list[Any]:
    summary = Summary(OWN)
    for one in items:
        summary.add(one)
    return summary.groups(budget)


def test_groups_by_entity_types_with_attributes_types_and_one_key() -> None:
    groups = summed(
        item("user#1", "profile", name={"S": "a"}, age={"N": "1"}),
        item("user#1", "post#1", title={"S": "t"}, tags={"SS": ["x"]}),
        item("user#2", "profile", name={"NULL": True}),
        item("order#9", "#", total={"N": "1"}),
    )
    assert groups == [
        {
            "pk": "user",
            "sk": "profile",
            "count": 2,
            "attributes": {"name": {"S": 1, "NULL": 1}, "age": {"N": 1}},
            "example": {"pk": "deploy#abc123#user#1", "sk": "profile"},
        },
        {
            "pk": "user",
            "sk": "post",
            "count": 1,
            "attributes": {"title": {"S": 1}, "tags": {"SS": 1}},
            "example": {"pk": "deploy#abc123#user#1", "sk": "post#1"},
        },
        {
            "pk": "order",
            "sk": "",
            "count": 1,
            "attributes": {"total": {"N": 1}},
            "example": {"pk": "deploy#abc123#order#9", "sk": "#"},
        },
    ]


def test_nothing_makes_no_group() -> None:
    assert summed() == summed(budget=0) == summed(budget=-100) == []


segments = st.sampled_from(["user", "order", "a", "b", OTHER, *HOSTILE_TEXT[1:], "x" * 300])
hostile_items = st.builds(
    lambda pk, sk, attributes: item(f"{pk}#1", f"{sk}#2") | attributes,
    segments,
    segments,
    st.dictionaries(names.filter(lambda name: name not in ("pk", "sk")), attribute_values, max_size=4),
)


@given(st.lists(hostile_items, max_size=15), st.integers(0, 4000))
@examples(100)
def test_every_item_is_counted_once_within_any_budget(items: list[Item], budget: int) -> None:
    groups = summed(*items, budget=budget)
    assert sum(group["count"] for group in groups) == len(items)
    assert size(groups) <= max(budget, 80)
    keys = [(group["pk"], group["sk"]) for group in groups]
    assert len(set(keys)) == len(keys)
    for group in groups:
        for types in group["attributes"].values():
            assert 0 < sum(types.values()) <= group["count"]


@given(st.lists(hostile_items, max_size=15))
@examples(60)
def test_with_room_for_all_the_counts_are_exact(items: list[Item]) -> None:
    expected: dict[tuple[str, str], Counter[Any]] = {}
    for one in items:
        pk, sk = (re.split("[#_:/|.-]", text)[0] for text in (one["pk"]["S"].split("#", 2)[2], one["sk"]["S"]))
        counted = expected.setdefault((pk, sk), Counter())
        counted.update((attribute, *value) for attribute, value in one.items() if attribute not in ("pk", "sk"))
    groups = summed(*items)
    assert {(group["pk"], group["sk"]) for group in groups} == expected.keys()
    for group in groups:
        found = {(name, kind): n for name, types in group["attributes"].items() for kind, n in types.items()}
        assert found == expected[group["pk"], group["sk"]]
        assert "moreAttributes" not in group


@pytest.mark.parametrize("budget", [200, 600, 1024, 5_000, 32_768, PLENTY])
def test_10000_entity_types_make_50_groups_at_most(budget: int) -> None:
    groups = summed(*(item(f"type{at}#1", f"kind{at % 7}", a={"N": "1"}) for at in range(10_000)), budget=budget)
    assert len(groups) <= 50
    assert size(groups) <= budget
    assert sum(group["count"] for group in groups) == 10_000
    assert (groups[-1]["pk"], groups[-1]["sk"]) == (OTHER, OTHER)
    if budget == PLENTY:
        assert len(groups) == 50


def test_the_largest_groups_are_shown_whatever_came_first() -> None:
    rare = [item(f"audit{at}#1", a={"N": "1"}) for at in range(60)]
    groups = summed(*rare, *(item(f"user#{at}", "profile", a={"S": ""}, b={"N": "1"}) for at in range(1000)))
    assert (groups[0]["pk"], groups[0]["sk"], groups[0]["count"]) == ("user", "profile", 1000)
    assert (groups[-1]["pk"], groups[-1]["count"], len(groups)) == (OTHER, 12, 50)
    assert groups[-1]["attributes"] == {"a": {"N": 12}}


@pytest.mark.parametrize("budget", [100, 1024, 8_192, 32_768, 200_000])
def test_10000_attributes_with_long_names_stay_in_the_budget(budget: int) -> None:
    many = {f"\x01{'é' * 50}{at}": {"BOOL": True} for at in range(10_000)}
    groups = summed(item("user#1", **many), item("user#2", **many), budget=budget)  # type: ignore[arg-type]
    assert size(groups) <= budget
    if groups[0]["pk"] != OTHER:
        assert len(groups[0]["attributes"]) + groups[0]["moreAttributes"] == 10_000


@pytest.mark.parametrize("letter", ["x", "\x01", "\u2028", "\N{GRINNING FACE}", '"'])
def test_a_key_that_is_all_one_segment_stays_in_the_budget(letter: str) -> None:
    long = letter * (2000 // len(letter.encode()))
    for items in (
        [item(long, long[:200])],
        [item(long, long[:200]), item("a"), item("a")],
        [item(long), item(long[1:])],
    ):
        for budget in (100, 1_000, 3_000, 10_000, 50_000):
            groups = summed(*items, budget=budget)
            assert size(groups) <= budget
            assert sum(group["count"] for group in groups) == len(items)


def test_the_rarer_attributes_go_first_then_the_example_then_the_smaller_groups() -> None:
    items = [item(f"t{at % 9}#{at}", **{"common": {"S": ""}, f"rare{at}": {"S": ""}}) for at in range(900)]  # type: ignore[arg-type]
    whole = summed(*items)
    assert all(next(iter(group["attributes"])) == "common" for group in whole)
    some = summed(*items, budget=6_000)
    assert [(group["pk"], group["count"]) for group in some] == [(group["pk"], group["count"]) for group in whole]
    assert all("common" in group["attributes"] and group["moreAttributes"] for group in some)
    few = summed(*items, budget=750)
    assert len(few) == 9
    assert not any("example" in group for group in few)
    least = summed(*items, budget=300)
    assert 1 < len(least) < 9
    assert least[-1]["pk"] == OTHER
