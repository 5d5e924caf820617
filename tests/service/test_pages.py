"""Text that stays on one line and within its bytes, and cursors that open for one call only."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.errors import InvalidCursor
from ddb_mcp.core.items import exceeds_bytes, item_to_json, measure_item, measure_value, to_json
from ddb_mcp.core.paths import get_value, parse_path
from ddb_mcp.core.text import count_bytes, encode_json, shorten, truncate
from ddb_mcp.service.cursors import SCAN_CURSOR_LENGTHS, CursorSealer
from ddb_mcp.service.outlines import make_outline, show_item
from tests.support.strategies import HOSTILE_TEXT, examples, items, json_values, texts

if TYPE_CHECKING:
    from ddb_mcp.core.items import Item


# Compact JSON

finite_json = json_values.filter(lambda value: "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value))


@given(finite_json)
@examples(200)
def test_compact_json_is_one_line_and_the_same_value(value: Any) -> None:
    text = encode_json(value)
    assert len(text.splitlines()) == 1
    assert json.loads(text) == value
    assert count_bytes(value) == len(text.encode(errors="backslashreplace"))


@pytest.mark.parametrize("character", [*map(chr, range(0x20)), "\x7f", "\x85", "\u2028", "\u2029", "\x1c", "\x0b"])
def test_nothing_in_it_breaks_the_line(character: str) -> None:
    for value in (f"a{character}b", {character: 1}, [f"\\{character}"]):
        text = encode_json(value)
        assert text.splitlines() == [text]
        assert json.loads(text) == value


def test_compact_json_has_no_needless_bytes() -> None:
    assert encode_json({"a": [1, "é", None]}) == '{"a":[1,"é",null]}'
    assert count_bytes("é") == 4
    assert count_bytes("\u2028") == 8
    assert count_bytes("\ud800") == 8


@given(texts.map(lambda text: text * 30), st.integers(2, 200))
@examples(200)
def test_text_that_is_cut_takes_what_it_may_and_no_less(text: str, room: int) -> None:
    cut = truncate(text, room)
    assert text.startswith(cut)
    assert count_bytes(cut) <= room
    assert cut == text or count_bytes(text[: len(cut) + 1]) > room
    assert count_bytes(shorten(text, room + 3)) <= room + 3


@given(items)
@examples(200)
def test_what_is_surely_longer_is_longer(item: Item) -> None:
    length = count_bytes(item_to_json(item))
    assert not exceeds_bytes({"M": item}, length)
    assert exceeds_bytes({"M": {**item, "a": {"S": "x" * length}}}, length)


# Outlines

long_items = st.builds(
    lambda item, texts: {**item, **{name: {"S": text * 500} for name, text in texts.items()}},
    items,
    st.dictionaries(st.text(min_size=1, max_size=30) | st.sampled_from(HOSTILE_TEXT[1:]), texts, max_size=30),
).filter(lambda item: "S" in item["pk"] and "S" in item["sk"])


@given(long_items, st.integers(300, 3000))
@examples(100)
def test_an_outline_says_what_there_is_within_its_budget(item: Item, budget: int) -> None:
    shown = make_outline(item, budget)
    assert count_bytes(shown) <= budget
    assert (shown["pk"], shown["sk"]) == (item["pk"]["S"], item["sk"]["S"])
    about = shown["outline"]
    assert about["bytes"] == measure_item(item)
    plain = item_to_json(item)
    whole = shown.keys() - {"pk", "sk", "outline"}
    assert all(shown[name] == plain[name] for name in whole)
    first = [entry for entry in about["attributes"] if len(parse_path(entry["path"], "p")) == 1]
    names = [parse_path(entry["path"], "p")[0] for entry in first]
    assert names == sorted(names)
    assert sorted([*names, *whole]) == sorted(item.keys() - {"pk", "sk"})[: len(names) + len(whole)]
    assert about["attributes"][: len(first)] == first  # members of long ones come after all
    assert about.get("more", 0) == len(item) - 2 - len(names) - len(whole)
    for entry in about["attributes"]:
        found = get_value(item, parse_path(entry["path"], "p"))
        assert found is not None
        if "value" in entry:
            assert entry == {"path": entry["path"], "value": to_json(found)}
            continue
        ((kind, content),) = found.items()
        assert (entry["type"], entry["bytes"]) == (kind, measure_value(found))
        assert entry.get("members") == (len(content) if kind in ("L", "M") else None)
    sizes = {name: measure_value(item[name]) for name in item.keys() - {"pk", "sk"}}
    assert all(sizes[name] <= sizes[str(other)] for name in whole for other in names if other != "outline")
    if budget == 3000 and len(item) < 10:
        assert "more" not in about


def test_what_is_itself_too_long_is_outlined_by_its_members() -> None:
    inner: Item = {"short": {"S": "x"}, "long.name": {"L": [{"S": "y" * 5000}, {"N": "1"}]}}
    item: Item = {"pk": {"S": "p"}, "sk": {"S": "s"}, "z": {"N": "1"}, "doc": {"M": inner}}
    entries = make_outline(item, 2000)["outline"]["attributes"]
    assert [(entry["path"], entry.get("type"), entry.get("members"), entry.get("value")) for entry in entries] == [
        ("doc", "M", 2, None),
        ("doc.`long.name`", "L", 2, None),
        ("doc.short", None, None, "x"),
        ("doc.`long.name`[0]", "S", None, None),
        ("doc.`long.name`[1]", None, None, 1),
    ]
    asked = make_outline(item, 2000, paths=[("doc", "long.name"), ("none",)])["outline"]
    assert [entry["path"] for entry in asked["attributes"]] == [
        "doc.`long.name`",
        "doc.`long.name`[0]",
        "doc.`long.name`[1]",
    ]
    assert "more" not in asked


@pytest.mark.parametrize("budget", [0, 1, 100, -5])
def test_the_key_and_the_count_stand_whatever_the_budget(budget: int) -> None:
    item = {"pk": {"S": "p" * 2048}, "sk": {"S": "s" * 1024}, **{f"a{at}": {"S": "x"} for at in range(1000)}}
    shown = make_outline(item, budget)
    assert (shown["pk"], shown["sk"]) == ("p" * 2048, "s" * 1024)
    assert shown["outline"]["attributes"] == []
    assert shown["outline"]["more"] == 1000


def test_an_outline_of_one_long_attribute_shows_the_others() -> None:
    item: Item = {"sk": {"S": "s"}, "pk": {"S": "p"}, "body": {"S": "x" * 50_000}, "status": {"S": "open"}}
    item |= {"outline": {"S": "mine"}, "note": {"S": "y" * 5000}, "tags": {"M": {"b": {"N": "2"}, "a": {"N": "1"}}}}
    shown, outlined = show_item(item, 10_000)
    assert outlined
    assert list(shown) == ["pk", "sk", "note", "status", "tags", "outline"]
    assert (shown["note"], shown["status"], shown["tags"]) == ("y" * 5000, "open", {"a": 1, "b": 2})
    assert shown["outline"]["attributes"] == [
        {"path": "body", "type": "S", "bytes": 50_000},
        {"path": "outline", "value": "mine"},
    ]


def test_an_outline_counts_the_members_that_it_leaves_out() -> None:
    steps: Item = {f"s{at:02}": {"S": "x" * 1000} for at in range(43)}
    item: Item = {"pk": {"S": "p"}, "sk": {"S": "s"}, "steps": {"M": steps}}
    about = make_outline(item, 8000)["outline"]
    assert (about["attributes"][0]["members"], about["attributes"][0]["more"]) == (43, 23)
    assert [entry["path"] for entry in about["attributes"][1:]] == [f"steps.s{at:02}" for at in range(20)]


def test_an_item_of_400_kb_in_50000_attributes_has_a_short_outline() -> None:
    item: Item = {"pk": {"S": "p"}, "sk": {"S": "s"}, **{f"a{at:05}": {"BOOL": True} for at in range(50_000)}}
    shown = make_outline(item, 1000)
    assert count_bytes(shown) <= 1000
    assert shown["a00000"] is True
    assert shown["outline"]["more"] + len(shown) - 3 + len(shown["outline"]["attributes"]) == 50_000


def test_a_lone_surrogate_that_a_store_let_in_is_shown() -> None:
    item: Item = {"pk": {"S": "p"}, "sk": {"S": "s"}, "a\ud800": {"S": "\udfff" * 100}}
    shown = make_outline(item, 300)
    assert shown["outline"]["attributes"] == [{"path": "a\ud800", "type": "S", "bytes": 300}]
    assert count_bytes(shown) <= 300
    assert make_outline(item, 2000)["a\ud800"] == "\udfff" * 100


# Cursors


def test_the_length_of_a_padded_cursor_does_not_tell_what_is_in_it() -> None:
    """One that guesses a foreign key right, and whose guess is then in the position twice, sees no difference."""
    seal, secret = CursorSealer(), "deploy#other#user#5f3a9c1e"
    lengths = {
        len(seal.seal([8, 3, 1, {"0": secret, "1": guess}], CALL, SCAN_CURSOR_LENGTHS))
        for guess in (secret, "deploy#other#user#ffffffff", "deploy#abc123#x", "\u2028" * 20, '"' * 300)
    }
    assert len(lengths) == 1
    long = {len(seal.seal(["x" * length], CALL, SCAN_CURSOR_LENGTHS)) for length in (1021, 2000, 4000)}
    assert len(long) == 1
    assert min(long) > max(lengths)
    position = ["x" * 5000, "é"]
    assert seal.open(seal.seal(position, CALL, SCAN_CURSOR_LENGTHS), CALL) == position


def test_nothing_in_a_cursor_is_compressed() -> None:
    seal = CursorSealer()
    assert len(seal.seal(["x" * 300], CALL)) == len(seal.seal(["".join(map(chr, range(35, 91))) * 5 + "x" * 20], CALL))


CALL = ["query", "deploy#abc123#", {"pk": "deploy#abc123#user", "filter": {"a": {"gt": 1}}, "descending": True}]
POSITION = [{"pk": "deploy#abc123#user", "sk": "\u2028 é \N{GRINNING FACE}"}, 7]


@given(
    finite_json.filter(lambda value: not any(0xD800 <= ord(c) < 0xE000 for c in json.dumps(value, ensure_ascii=False)))
)
@examples(50)
def test_a_cursor_opens_for_its_call(position: Any) -> None:
    seal = CursorSealer()
    cursor = seal.seal(position, CALL)
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert seal.open(cursor, CALL) == position
    assert seal.open(cursor, json.loads(json.dumps(CALL, sort_keys=True))) == position


def test_a_cursor_reveals_nothing_and_is_never_the_same() -> None:
    seal = CursorSealer()
    cursors = {seal.seal(["deploy#other#x"], CALL) for _ in range(10)}
    assert len(cursors) == 10
    for cursor in cursors:
        assert b"other" not in base64.urlsafe_b64decode(cursor + "==")


def refused(seal: CursorSealer, cursor: str, call: Any = CALL) -> None:
    with pytest.raises(InvalidCursor) as caught:
        seal.open(cursor, call)
    assert "Start the listing again" in caught.value.next
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_cursor_altered_in_any_place_is_refused() -> None:
    seal = CursorSealer()
    cursor = seal.seal(POSITION, CALL)
    for at, old in enumerate(cursor):
        for new in {"A", "B", "_", "9", "+", "/", "=", " ", "\n", "é", "\ud800", old.swapcase()} - {old}:
            refused(seal, cursor[:at] + new + cursor[at + 1 :])
        refused(seal, cursor[:at] + cursor[at + 1 :])
        refused(seal, cursor[:at] + "A" + cursor[at:])
    refused(seal, cursor + "A")


def test_a_cursor_cut_or_padded_in_any_place_is_refused() -> None:
    seal = CursorSealer()
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
    refused(CursorSealer(), cursor)


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
    seal = CursorSealer()
    refused(seal, seal.seal(POSITION, CALL), call)


def test_a_cursor_lives_as_long_as_its_key() -> None:
    refused(CursorSealer(), CursorSealer().seal(POSITION, CALL))
    key = bytes(range(32))
    assert CursorSealer(key).open(CursorSealer(key).seal(POSITION, CALL), CALL) == POSITION
    refused(CursorSealer(key[::-1]), CursorSealer(key).seal(POSITION, CALL))
