"""The summary of a listing: right counts, and bounds that no stored name can break."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.items import from_json, measure_item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import count_bytes
from ddb_mcp.service.reading import summary as summary_module
from ddb_mcp.service.reading.summary import OTHER, Summary, classify_key
from tests.support.strategies import HOSTILE_TEXT, attribute_values, examples, names, value

if TYPE_CHECKING:
    from ddb_mcp.core.items import AttributeValue, Item

OWN = Prefix("deploy#abc123")


@pytest.fixture
def plenty(monkeypatch: pytest.MonkeyPatch) -> int:
    """A budget in which everything is shown."""
    monkeypatch.setattr(summary_module, "SUMMARY_BYTES", 10_000_000)
    return 10_000_000


def item(pk: str, sk: str = "s", **attributes: AttributeValue) -> Item:
    return {"pk": {"S": f"deploy#abc123#{pk}"}, "sk": {"S": sk}, **attributes}


def summed(*items: Item, budget: int = 4096) -> list[Any]:
    summary = Summary(OWN)
    for one in items:
        summary.add(one)
    return summary.groups(budget)


def test_groups_by_entity_types_with_attributes_types_numbers_and_the_largest_item() -> None:
    oldest = item("user#2", "profile", name={"S": "Annabelle"}, age={"N": "93"}, ttl={"N": "1700000000000"})
    groups = summed(
        item("user#1", "profile", name={"S": "a"}, age={"N": "1"}, ttl={"N": "1700000000"}),
        oldest,
        item("user#3", "profile", name={"NULL": True}, age={"S": "7"}),
        item("order#9", "#", total={"N": "-1.50"}),
    )
    assert groups == [
        {
            "pk": "user",
            "sk": "profile",
            "count": 3,
            "attributes": {"name": {"S": 2, "NULL": 1}, "age": {"N": 2, "S": 1}, "ttl": {"N": 2}},
            "numbers": {"age": [1, 93], "ttl": [1700000000, 1700000000000]},
            "largestBytes": measure_item(oldest),
            "example": {"pk": "deploy#abc123#user#2", "sk": "profile"},
        },
        {
            "pk": "order",
            "sk": "",
            "count": 1,
            "attributes": {"total": {"N": 1}},
            "numbers": {"total": [-1.5, -1.5]},
            "largestBytes": 35,
            "example": {"pk": "deploy#abc123#order#9", "sk": "#"},
        },
    ]
    assert list(groups[0]["attributes"]) == ["name", "age", "ttl"]  # what is of several types comes first


def test_nothing_makes_no_group() -> None:
    assert summed() == summed(budget=0) == summed(budget=-100) == []


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("user#1", "user"),
        ("", ""),
        ("#", ""),
        ("profile", "profile"),
        ("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "<id>"),
        ("3F2504E0-4F89-41D3-9A0C-0305E82C3301#POST", "<id>"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "<id>"),
        ("01arz3ndektsv4rrffq69g5fav_x", "<id>"),
        ("507f1f77bcf86cd799439011", "<id>"),
        ("deadbeefcafe", "deadbeefcafe"),
        ("2026-07-01", "<time>"),
        ("2026-07", "<time>"),
        ("2026-07-01T10:20:30.123Z#x", "<time>"),
        ("2026-07-01T10:20:30+02:00", "<time>"),
        ("20260701T102030Z", "<time>"),
        ("2026", "<number>"),
        ("00017", "<number>"),
        ("-12.5|x", "<number>"),
        ("1700000000000#a", "<number>"),
        ("12ab", "12ab"),
        ("3f2504e0-4f89-41d3-9a0c-0305e82c3301x", "3f2504e0"),
        ("2026-99-01", "<number>"),
        ("v1.2", "v1"),
        ("١٢", "١٢"),
    ],
)
def test_numbers_times_and_ids_are_recognised_before_a_key_is_split(key: str, kind: str) -> None:
    assert classify_key(key) == kind
    assert summed(item(key, "s"))[0]["pk"] == (kind or "")


def test_keys_made_of_ids_are_one_group() -> None:
    ids = [f"{at:08x}-4f89-41d3-9a0c-0305e82c3301" for at in range(60)]
    groups = summed(*(item(id_, f"2026-07-01T10:{at:02}:00Z", n={"N": "1"}) for at, id_ in enumerate(ids)))
    assert [(group["pk"], group["sk"], group["count"]) for group in groups] == [("<id>", "<time>", 60)]


segments = st.sampled_from(["user", "order", "a", "b", OTHER, *HOSTILE_TEXT[1:], "x" * 300])
hostile_items = st.builds(
    lambda pk, sk, attributes: item(f"{pk}#1", f"{sk}#2") | attributes,
    segments,
    segments,
    st.dictionaries(names.filter(lambda name: name not in ("pk", "sk")), attribute_values, max_size=4),
)


@given(st.lists(hostile_items, max_size=15), st.integers(0, 5000))
@examples(100)
def test_every_item_is_counted_once_within_any_budget(items: list[Item], budget: int) -> None:
    groups = summed(*items, budget=budget)
    assert sum(group["count"] for group in groups) == len(items)
    assert count_bytes(groups) <= max(min(budget, 4096), 80)
    keys = [(group["pk"], group["sk"]) for group in groups]
    assert len(set(keys)) == len(keys)
    for group in groups:
        for types in group["attributes"].values():
            assert 0 < sum(types.values()) <= group["count"]


@given(items=st.lists(hostile_items, max_size=15))
@examples(60)
def test_with_room_for_all_the_counts_are_exact(items: list[Item]) -> None:
    counts: dict[tuple[str, str], Counter[Any]] = {}
    numbers: dict[Any, list[Any]] = {}
    for one in items:
        name = (classify_key(one["pk"]["S"].split("#", 2)[2]), classify_key(one["sk"]["S"]))
        counted = counts.setdefault(name, Counter())
        for attribute in one.keys() - {"pk", "sk"}:
            (kind,) = one[attribute]
            counted[attribute, kind] += 1
            if kind == "N":
                numbers.setdefault((*name, attribute), []).append(value(one[attribute])[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary_module, "SUMMARY_BYTES", 10_000_000)
        groups = summed(*items, budget=10_000_000)
    assert {(group["pk"], group["sk"]) for group in groups} == counts.keys()
    for group in groups:
        name = (group["pk"], group["sk"])
        found = {(attribute, kind): n for attribute, types in group["attributes"].items() for kind, n in types.items()}
        assert found == counts[name]
        assert "moreAttributes" not in group
        for attribute, shown in group.get("numbers", {}).items():
            every = numbers.pop((*name, attribute))
            assert [value(from_json(number, "n"))[1] for number in shown] == [min(every), max(every)]
    assert not numbers


@pytest.mark.parametrize("budget", [200, 600, 1024, 4096, 10_000_000])
def test_10000_entity_types_make_50_groups_at_most(budget: int, plenty: int) -> None:
    groups = summed(*(item(f"type{at}x#1", f"kind{at % 7}", a={"N": "1"}) for at in range(10_000)), budget=budget)
    assert len(groups) <= 50
    assert count_bytes(groups) <= budget
    assert sum(group["count"] for group in groups) == 10_000
    assert (groups[-1]["pk"], groups[-1]["sk"]) == (OTHER, OTHER)
    if budget == plenty:
        assert len(groups) == 50
        assert groups[-1]["attributes"] == {"a": {"N": 9951}}


def test_the_largest_groups_are_shown_whatever_came_first(plenty: int) -> None:
    rare = [item(f"audit{at}#1", a={"N": "1"}) for at in range(60)]
    common = (item(f"user#{at}", "profile", a={"S": ""}, b={"N": "1"}) for at in range(1000))
    groups = summed(*rare, *common, budget=plenty)
    assert (groups[0]["pk"], groups[0]["sk"], groups[0]["count"]) == ("user", "profile", 1000)
    assert (groups[-1]["pk"], groups[-1]["count"], len(groups)) == (OTHER, 12, 50)
    assert groups[-1]["attributes"] == {"a": {"N": 12}}


@pytest.mark.parametrize("budget", [100, 1024, 4096, 10_000_000])
def test_30000_attributes_with_long_names_stay_in_the_budget(budget: int, plenty: int) -> None:
    many: dict[str, Any] = {f"\x01{'é' * 5}{at}": {"BOOL": True} for at in range(15_000)}
    others: dict[str, Any] = {f"\x01{'ü' * 5}{at}": {"BOOL": True} for at in range(15_000)}
    groups = summed(item("user#1", **many), item("user#2", **others), budget=budget)
    assert count_bytes(groups) <= budget
    if groups[0]["pk"] != OTHER:
        shown = groups[0]["attributes"]
        assert len(shown) + groups[0]["moreAttributes"] == 30_000
        assert len(shown) <= summary_module.SUMMARY_ATTRIBUTES


@pytest.mark.parametrize("letter", ["x", "\x01", "\u2028", "\N{GRINNING FACE}", '"'])
def test_a_key_that_is_all_one_segment_stays_in_the_budget(letter: str) -> None:
    long = letter * (2000 // len(letter.encode()))
    for items in (
        [item(long, long[:200])],
        [item(long, long[:200]), item("a"), item("a")],
        [item(long), item(letter + "y" + long[2:])],
    ):
        for budget in (100, 1_000, 3_000, 10_000, 50_000):
            groups = summed(*items, budget=budget)
            assert count_bytes(groups) <= min(budget, 4096)
            assert sum(group["count"] for group in groups) == len(items)


def test_what_is_of_several_types_comes_first_and_the_rarer_attributes_go_first() -> None:
    items = [item(f"t{at % 9}#{at}", common={"S": ""}) | {f"rare{at}": {"S": ""}} for at in range(899)]
    items.append(item("t8#x", mixed={"N": "1"}))
    items.append(item("t8#y", mixed={"S": "1"}))
    groups = summed(*items)
    assert len(groups) == 9
    assert all("common" in group["attributes"] and group["moreAttributes"] for group in groups)
    by_name = {group["pk"]: group for group in groups}
    assert next(iter(by_name["t8"]["attributes"])) == "mixed"
    assert by_name["t8"]["numbers"] == {"mixed": [1, 1]}
    least = summed(*items, budget=300)
    assert 1 < len(least) < 9
    assert least[-1]["pk"] == OTHER


def test_a_huge_item_shows_at_a_glance() -> None:
    items = [item(f"doc#{at}", "body", text={"S": "x" * 100}) for at in range(200)]
    items[77]["text"] = {"S": "x" * 390_000}
    (group,) = summed(*items)
    assert group["largestBytes"] > 390_000
    assert group["example"] == {"pk": "deploy#abc123#doc#77", "sk": "body"}


def test_only_the_attributes_that_were_asked_for() -> None:
    summary = Summary(OWN, ["a"])
    summary.add(item("x", a={"N": "1"}, b={"S": ""}))
    (group,) = summary.groups(4096)
    assert group["attributes"] == {"a": {"N": 1}}
    assert "moreAttributes" not in group
