"""Document paths: what is read is written back, and items are followed, picked and changed as DynamoDB does it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import Item, parse_item, to_json
from ddb_mcp.core.paths import (
    Part,
    Path,
    find_overlap,
    format_path,
    get_value,
    list_members,
    parse_part,
    parse_path,
    project,
    remove_paths,
)
from tests.support.strategies import HOSTILE_TEXT, examples, items

steps = st.text("ab.[]`:$0é ", min_size=1, max_size=4) | st.sampled_from(HOSTILE_TEXT[1:])
paths: st.SearchStrategy[Path] = st.builds(
    lambda first, others: (first, *others), steps, st.lists(steps | st.integers(0, 99999), max_size=5)
)


@given(paths)
@examples(200)
def test_a_path_is_read_as_it_was_written(path: Path) -> None:
    assert parse_path(format_path(path), "filter") == path


def test_plain_names_are_written_plainly() -> None:
    assert format_path(("a", 0, "b c", "größe:x")) == "a[0].b c.größe:x"
    assert format_path(("a.b", "$c", "d`", "e[0]")) == "`a.b`.`$c`.`d```.`e[0]`"


def test_a_path_has_an_end() -> None:
    for text in ("a" * 66_001, "a" + ".a" * 32_000, "`" * 65_999, "a" + "[0]" * 20_000):
        with pytest.raises(InvalidArgument) as refused:
            parse_path(text, "attributes")
        assert len(refused.value.message) < 200
    assert parse_path("a" * 65_535, "attributes") == ("a" * 65_535,)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("body[0:20000]", Part(("body",), 0, 20000)),
        ("a.`b[1:2]`[3][5:9]", Part(("a", "b[1:2]", 3), 5, 9)),
        ("body[100:]", Part(("body",), 100, None)),
        ("body[:9]", Part(("body",), 0, 9)),
        ("body", None),
        ("`body[0:1]`", None),
        ("body[0]", None),
    ],
)
def test_parts_of_long_values(text: str, part: Part | None) -> None:
    assert parse_part(text, "attributes") == part


@pytest.mark.parametrize("text", ["body[5:5]", "body[5:1]", "[0:5]", "a[x][0:5]"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"attributes: .*(begins|document path)"):
        parse_part(text, "attributes")


ITEM = parse_item(
    {
        "pk": "p",
        "sk": "s",
        "m": {"a": 1, "b": {"c": [1, [2, 3], {"d": 4}], "e": 5}},
        "l": [0, 1, 2, 3],
        "x.y": 6,
        "n": 7,
    }
)


def picked(*texts: str) -> Any:
    found = project(ITEM, [parse_path(text, "attributes") for text in texts])
    assert (found.pop("pk"), found.pop("sk")) == ({"S": "p"}, {"S": "s"})
    return to_json({"M": found})


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["m.a"], {"m": {"a": 1}}),
        (["m.b.c[1][0]", "m.b.c[2].d"], {"m": {"b": {"c": [[2], {"d": 4}]}}}),
        (["l[3]", "l[1]", "l[9]"], {"l": [1, 3]}),
        (["`x.y`", "x.y"], {"x.y": 6}),
        (["m.b", "m.b.c[0]", "m.b.e"], {"m": {"b": {"c": [1, [2, 3], {"d": 4}], "e": 5}}}),
        (["m.b.c[0]", "m.b"], {"m": {"b": {"c": [1, [2, 3], {"d": 4}], "e": 5}}}),
        (["m.none", "l[7]", "n.x", "n[0]", "l.a", "m[0]"], {}),
        (["pk", "sk.x"], {}),
    ],
)
def test_what_paths_pick(texts: list[str], expected: Any) -> None:
    before = repr(ITEM)
    assert picked(*texts) == expected
    assert repr(ITEM) == before


@st.composite
def items_with_paths(draw: st.DrawFn) -> tuple[Item, list[Path]]:
    """An item, and paths of which most lead somewhere in it."""
    item = draw(items)
    found: list[Path] = []
    for _ in range(draw(st.integers(1, 5))):
        path: Path = (draw(st.sampled_from(sorted(item))),)
        value: Any = item[path[0]]
        while draw(st.booleans()) and (inner := dict(list_members(value))):
            step = draw(st.sampled_from(list(inner)))
            path, value = (*path, step), inner[step]
        found.append(draw(st.sampled_from([path, path, path, (*path, "a"), (*path, 0)])))
    return item, found


@given(items_with_paths())
@examples(200)
def test_what_is_left_out_is_gone_and_all_else_stands(drawn: tuple[Item, list[Path]]) -> None:
    item, taken = drawn
    before = repr(item)
    left = remove_paths(item, taken)
    assert repr(item) == before
    for path in taken:
        if all(isinstance(step, str) for step in path):
            assert get_value(left, path) is None
    missing = [path for path in taken if get_value(item, path) is None]
    assert remove_paths(item, missing) == item


def test_positions_that_are_left_out_mean_the_item_before() -> None:
    left = remove_paths(ITEM, [("l", 0), ("l", 2), ("m", "b", "c", 1, 1), ("m", "b", "c", 0), ("none", 5), ("n", "x")])
    assert to_json(left["l"]) == [1, 3]
    assert to_json(left["m"]) == {"a": 1, "b": {"c": [[2], {"d": 4}], "e": 5}}


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "a"), ("a", "a.b"), ("a.b[0].c", "a.b"), ("a.b", "a[0]"), ("a[1].b", "a[1][0]"), ("x.a[0]", "x.a.b")],
)
def test_paths_that_touch(one: str, other: str) -> None:
    pair = (parse_path(one, "remove"), parse_path(other, "remove"))
    others = [parse_path(text, "remove") for text in ("b", "c.d", "c.e", "c.f[0]", "c.f[1]")]
    assert find_overlap([*others, *pair]) == pair
    assert find_overlap([pair[1], *others, pair[0]]) == (pair[1], pair[0])
    assert find_overlap(others) is None
