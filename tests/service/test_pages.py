"""Text that stays on one line and within its bytes, and cursors that open for one call only."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.errors import InvalidCursor
from ddb_mcp.core.items import item_size, value_size
from ddb_mcp.core.text import compact, size
from ddb_mcp.service.cursors import Seal
from ddb_mcp.service.outlines import outline
from tests.support.strategies import HOSTILE_TEXT, examples, items, json_values, texts

if TYPE_CHECKING:
    from ddb_mcp.core.items import Item


# Compact JSON

finite_json = json_values.filter(lambda value: "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value))


@given(finite_json)
@examples(200)
def test_compact_json_is_one_line_and_the_same_value(value: Any) -> None:
    text = compact(value)
    assert len(text.splitlines()) == 1
    assert json.loads(text) == value
    assert size(value) == len(text.encode(errors="backslashreplace"))


@pytest.mark.parametrize("character", [*map(chr, range(0x20)), "\x7f", "\x85", "\u2028", "\u2029", "\x1c", "\x0b"])
def test_nothing_in_it_breaks_the_line(character: str) -> None:
    for value in (f"a{character}b", {character: 1}, [f"\\{character}"]):
        text = compact(value)
        assert text.splitlines() == [text]
        assert json.loads(text) == value


def test_compact_json_has_no_needless_bytes() -> None:
    assert compact({"a": [1, "é", None]}) == '{"a":[1,"é",null]}'
    assert size("é") == 4
    assert size("\u2028") == 8
    assert size("\ud800") == 8


# Outlines

long_items = st.builds(
    lambda item, texts: {**item, **{name: {"S": text * 500} for name, text in texts.items()}},
    items,
    st.dictionaries(st.text(min_size=1, max_size=30) | st.sampled_from(HOSTILE_TEXT[1:]), texts, max_size=30),
).filter(lambda item: "S" in item["pk"] and "S" in item["sk"])


@given(long_items, st.integers(300, 3000))
@examples(100)
def test_an_outline_says_what_there_is_within_its_budget(item: Item, budget: int) -> None:
    shown = outline(item, budget)
    assert size(shown) <= budget
    assert (shown["pk"], shown["sk"]) == (item["pk"]["S"], item["sk"]["S"])
    about = shown["outline"]
    assert about["bytes"] == item_size(item)
    names = [entry["attribute"] for entry in about["attributes"]]
    assert names == sorted(item.keys() - {"pk", "sk"})[: len(names)]
    assert about.get("more", 0) == len(item) - 2 - len(names)
    for entry in about["attributes"]:
        assert [entry["type"]] == list(item[entry["attribute"]])
        assert entry["bytes"] == value_size(item[entry["attribute"]])
    if budget == 3000 and len(item) < 10:
        assert "more" not in about


@pytest.mark.parametrize("budget", [0, 1, 100, -5])
def test_the_key_and_the_count_stand_whatever_the_budget(budget: int) -> None:
    item = {"pk": {"S": "p" * 2048}, "sk": {"S": "s" * 1024}, **{f"a{at}": {"S": "x"} for at in range(1000)}}
    shown = outline(item, budget)
    assert (shown["pk"], shown["sk"]) == ("p" * 2048, "s" * 1024)
    assert shown["outline"]["attributes"] == []
    assert shown["outline"]["more"] == 1000


def test_an_item_of_400_kb_in_50000_attributes_has_a_short_outline() -> None:
    item: Item = {"pk": {"S": "p"}, "sk": {"S": "s"}, **{f"a{at:05}": {"BOOL": True} for at in range(50_000)}}
    shown = outline(item, 1000)
    assert size(shown) <= 1000
    assert shown["outline"]["more"] + len(shown["outline"]["attributes"]) == 50_000


def test_a_lone_surrogate_that_a_store_let_in_is_shown() -> None:
    item: Item = {"pk": {"S": "p"}, "sk": {"S": "s"}, "a\ud800": {"S": "\udfff" * 100}}
    shown = outline(item, 1000)
    assert shown["outline"]["attributes"] == [{"attribute": "a\ud800", "type": "S", "bytes": 300}]
    assert size(shown) <= 1000


# Cursors

CALL = ["query", "deploy#abc123#", {"pk": "deploy#abc123#user", "filter": {"a": {"gt": 1}}, "descending": True}]
POSITION = [{"pk": "deploy#abc123#user", "sk": "\u2028 é \N{GRINNING FACE}"}, 7]


@given(
    finite_json.filter(lambda value: not any(0xD800 <= ord(c) < 0xE000 for c in json.dumps(value, ensure_ascii=False)))
)
@examples(50)
def test_a_cursor_opens_for_its_call(position: Any) -> None:
    seal = Seal()
    cursor = seal.seal(position, CALL)
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert seal.open(cursor, CALL) == position
    assert seal.open(cursor, json.loads(json.dumps(CALL, sort_keys=True))) == position


def test_a_cursor_reveals_nothing_and_is_never_the_same() -> None:
    seal = Seal()
    cursors = {seal.seal(["deploy#other#x"], CALL) for _ in range(10)}
    assert len(cursors) == 10
    for cursor in cursors:
        assert b"other" not in base64.urlsafe_b64decode(cursor + "==")


def refused(seal: Seal, cursor: str, call: Any = CALL) -> None:
    with pytest.raises(InvalidCursor) as caught:
        seal.open(cursor, call)
    assert "Start the listing again" in caught.value.next
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_cursor_altered_in_any_place_is_refused() -> None:
    seal = Seal()
    cursor = seal.seal(POSITION, CALL)
    for at, old in enumerate(cursor):
        for new in {"A", "B", "_", "9", "+", "/", "=", " ", "\n", "é", "\ud800", old.swapcase()} - {old}:
            refused(seal, cursor[:at] + new + cursor[at + 1 :])
        refused(seal, cursor[:at] + cursor[at + 1 :])
        refused(seal, cursor[:at] + "A" + cursor[at:])
    refused(seal, cursor + "A")


def test_a_cursor_cut_or_padded_in_any_place_is_refused() -> None:
    seal = Seal()
    cursor = seal.seal(POSITION, CALL)
    for at in range(len(cursor)):
        refused(seal, cursor[:at])
        if at:
            refused(seal, cursor[at:])
    for ending in ("=", "==", "\n", " ", cursor, "\x00"):
        refused(seal, cursor + ending)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in set(alphabet) - {cursor[-1]}:  # of the last one, base64 leaves bits unused
        refused(seal, cursor[:-1] + letter)


@pytest.mark.parametrize(
    "cursor", ["", "x", "null", "eyJwayI6ICJwIn0", "A" * 15, "A" * 16, "A" * 38, "=" * 40, "ü" * 40, "A" * 100_000]
)
def test_what_never_was_a_cursor_is_refused(cursor: str) -> None:
    refused(Seal(), cursor)


@pytest.mark.parametrize(
    "call",
    [
        ["scan", *CALL[1:]],
        [CALL[0], "deploy#abc1234#", CALL[2]],
        [*CALL[:2], {"pk": "deploy#abc123#user", "filter": {"a": {"gt": 1}}}],
        [*CALL[:2], {"pk": "deploy#abc123#user", "filter": {"a": {"gt": 2}}, "descending": True}],
        [*CALL[:2], {"pk": "deploy#abc123#user", "filter": {"a": {"gt": "1"}}, "descending": True}],
        [*CALL[:2], {"pk": "deploy#abc123#user", "filter": {"a": {"gt": True}}, "descending": True}],
        [*CALL[:2], {"pk": "deploy#abc123#users", "filter": {"a": {"gt": 1}}, "descending": True}],
        [*CALL[:2], {"pk": "deploy#abc123#user", "filter": {"a": {"gt": 1}}, "descending": True, "view": "keys"}],
        None,
    ],
)
def test_a_cursor_of_another_call_is_refused(call: Any) -> None:
    seal = Seal()
    refused(seal, seal.seal(POSITION, CALL), call)


def test_a_cursor_lives_as_long_as_its_key() -> None:
    refused(Seal(), Seal().seal(POSITION, CALL))
    key = bytes(range(32))
    assert Seal(key).open(Seal(key).seal(POSITION, CALL), CALL) == POSITION
    refused(Seal(key[::-1]), Seal(key).seal(POSITION, CALL))
