"""Every bad input gets its designed code and a message that names what is wrong, and changes nothing."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.protocol.wire import DDB_MCP, ENVELOPE, Wire
from tests.stdio.server import PREFIX, Server, pk
from tests.support.tenants import foreign_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Unused = tuple[Wire, dict[str, Any], Path]

KEY = {"pk": pk("a"), "sk": "1"}
STORED = [{**KEY, "n": 1, "s": "x"}] + [{"pk": pk("b"), "sk": str(at)} for at in range(9)]


@pytest.fixture(scope="module")
def seeded(server: Server) -> Server:
    server.put_all(STORED)
    return server


@pytest.fixture(autouse=True)
def nothing_changes(seeded: Server) -> Iterator[None]:
    yield
    assert seeded.everything() == STORED


def item(**attributes: Any) -> dict[str, Any]:
    return {"item": {**KEY, **attributes}}


def text(attributes: str) -> dict[str, Any]:
    """An item as a JSON string."""
    return {"item": json.dumps(KEY)[:-1] + "," + attributes + "}"}


BAD_KEYS: dict[str, dict[str, Any]] = {
    "no pk": {"sk": "1"},
    "no sk": {"pk": pk("a")},
    "empty pk": {"pk": "", "sk": "1"},
    "empty sk": {"pk": pk("a"), "sk": ""},
    "numeric pk": {"pk": 7, "sk": "1"},
    "numeric sk": {"pk": pk("a"), "sk": 1},
    "null sk": {"pk": pk("a"), "sk": None},
    "pk of 2049 bytes": {"pk": pk("é" * 1024), "sk": "1"},
    "sk of 1025 bytes": {"pk": pk("a"), "sk": "é" * 512 + "1"},
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
def test_bad_keys(seeded: Server, key: dict[str, Any]) -> None:
    named = next(name for name in ("pk", "sk") if key.get(name) != KEY[name])
    for tool, arguments in (
        ("get", key),
        ("delete", key),
        ("delete", {"keys": [key]}),
        ("put", {"item": key}),
        ("put", {"item": json.dumps(key)}),
        ("put", {"item": key, "merge": True}),
        ("put", {"items": [{"pk": pk("new"), "sk": "1"}, key]}),
    ):
        assert named in seeded.fails("invalid_argument", tool, **arguments)["message"]
    if named == "pk":
        key = {name: value for name, value in key.items() if name == "pk"}
        assert "pk" in seeded.fails("invalid_argument", "query", **key)["message"]


FOREIGN = foreign_keys(PREFIX)


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_pk_of_another_deployment(seeded: Server, foreign: str) -> None:
    key = {"pk": foreign, "sk": "1"}
    typed = {"pk": {"S": foreign}, "sk": {"S": "1"}, "n": {"N": "1"}}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get", key),
        ("delete", key),
        ("delete", {"keys": [KEY, key]}),
        ("query", {"pk": foreign}),
        ("query", {"pk": foreign, "view": "summary"}),
        *(("put", {"item": form}) for form in (key, json.dumps(key), typed, json.dumps(typed))),
        *(("put", {"items": [KEY, form]}) for form in (key, json.dumps(key), typed, json.dumps(typed))),
        ("put", {"item": key, "merge": True}),
        ("put", {"item": key, "remove": ["n"]}),
    ]
    if foreign != PREFIX + "#":
        calls.append(("scan", {"pk_prefix": foreign}))
    for tool, arguments in calls:
        error = seeded.fails("prefix_violation", tool, **arguments)
        assert PREFIX + "#" in error["message"]
        if "Did you mean" in error["next"]:
            assert pk(foreign) in error["next"]
        else:
            assert foreign != "user#1"


BAD_ITEMS: dict[str, dict[str, Any]] = {
    "duplicate member": text('"n":1,"n":2'),
    "duplicate pk": {"item": f'{{"pk":"deploy#other#a","pk":"{KEY["pk"]}","sk":"1"}}'},
    "duplicate member inside": text('"m":{"a":1,"\\u0061":2}'),
    "NaN": text('"n":NaN'),
    "Infinity": text('"n":Infinity'),
    "-Infinity": text('"n":-Infinity'),
    "beyond a double": text('"n":1e999'),
    "typed NaN": item(n={"N": "NaN"}),
    "typed Infinity": item(n={"N": "Infinity"}),
    "39 digits": item(n={"N": "1" * 39}),
    "39 digits in text": text(f'"n":{"1" * 39}'),
    "39 digits in a set": item(n={"NS": ["1" * 39]}),
    "above the range": item(n={"N": "1E126"}),
    "below the range": item(n={"N": "1E-131"}),
    "an integer beyond 2^53": item(n=2**53 + 1),
    "no number": item(n={"N": "0x10"}),
    "number not in text": item(n={"N": 1}),
    "empty set": item(s={"SS": []}),
    "duplicate in a set": item(s={"SS": ["a", "a"]}),
    "equal numbers in a set": item(s={"NS": ["1", "1.0"]}),
    "invalid base64": item(b={"B": "====x"}),
    "base64 without padding": item(b={"B": "AAE"}),
    "invalid base64 in a set": item(b={"BS": ["AA==", "!"]}),
    "nested too deep": item(deep=json.loads("[" * 33 + "]" * 33)),
    "nested far too deep in text": text('"deep":' + "[" * 50_000 + "]" * 50_000),
    "empty name": item(**{"": 1}),
    "400 KB and a byte": item(text="x" * (400 * 1024 - len("pk" + KEY["pk"] + "sk" + KEY["sk"] + "text") + 1)),
    "400 KB and a byte of base64": item(
        b={"B": base64.b64encode(b"x" * (400 * 1024 - len("pk" + KEY["pk"] + "sk" + KEY["sk"] + "b") + 1)).decode()}
    ),
    "a list": {"item": [KEY]},
    "cut JSON": {"item": json.dumps(KEY)[:-1]},
    "a JSON string of a JSON string": {"item": json.dumps(json.dumps(KEY))},
    "neither item nor items": {},
    "both item and items": {"item": KEY, "items": [KEY]},
    "the same key twice": {"items": [KEY, KEY]},
    "101 items": {"items": [{"pk": pk("new"), "sk": str(at)} for at in range(101)]},
    "a bad item among good ones": {"items": [{"pk": pk("new"), "sk": "1"}, {**KEY, "s": {"SS": []}}]},
    "create_only and expect": {"item": KEY, "create_only": True, "expect": {"n": 1}},
    "create_only and merge": {"item": KEY, "create_only": True, "merge": True},
    "remove of a key": {"item": KEY, "remove": ["pk"]},
    "remove of what is set": {"item": {**KEY, "n": 2}, "merge": True, "remove": ["n"]},
    "expect with an unknown operator": {"item": KEY, "expect": {"n": {"equals": 1}}},
    "expect of 51 attributes": {"item": KEY, "expect": {f"a{at}": at for at in range(51)}},
    "merge as text": {"item": KEY, "merge": "yes"},
    "unknown argument": {"item": KEY, "table": "other"},
}


@pytest.mark.parametrize("arguments", BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_bad_items(seeded: Server, arguments: dict[str, Any]) -> None:
    seeded.fails("invalid_argument", "put", **arguments)
    if "item" in arguments and isinstance(arguments["item"], dict) and not {"merge", "remove"} & arguments.keys():
        seeded.fails("invalid_argument", "put", **arguments, merge=True)


def test_an_item_of_exactly_400_kb_is_taken(seeded: Server) -> None:
    length = 400 * 1024 - len("pk" + KEY["pk"] + "sk" + KEY["sk"] + "text")
    largest = {**KEY, "text": "x" * length}
    assert seeded.result("put", item=largest)["created"] is False
    part = seeded.result("get", **KEY, attributes=[f"text[{length - 9}:]"])["parts"][f"text[{length - 9}:]"]
    assert part == {"text": "x" * 9, "of": length}
    seeded.result("put", item=STORED[0])


@pytest.fixture(scope="module", params=["2025", "2026"])
def unused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unused]:
    """A server that has stored nothing yet, the `_meta` that a request needs in its era, and its file."""
    file = tmp_path_factory.mktemp("unused") / "items.db"
    with Wire(DDB_MCP, {"DDB_MCP_LOCAL_PATH": str(file)}) as wire:
        if request.param == "2025":
            wire.shake_hands()
        yield wire, {} if request.param == "2025" else ENVELOPE, file


# What the official client cannot send: it would make null of them.
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"])
def test_numbers_that_are_none_on_the_wire(number: str, unused: Unused) -> None:
    wire, meta, file = unused
    call = {"name": "put", "arguments": {"item": {**KEY, "n": "number"}}, "_meta": meta}
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    wire.send_line(line.replace('"number"', number).encode())
    result = wire.receive()["result"]
    assert result["isError"] is True
    assert json.loads(result["content"][0]["text"])["error"]["code"] == "invalid_argument"
    assert not file.exists()


# JavaScript sends half of a character as an escape, which the SDK cannot parse.
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("put", {"item": {**KEY, "half": "x\ud83d"}}),
        ("put", {"item": {**KEY, "half\udc00": 1}}),
        ("put", {"item": {**KEY, "list": [{"half": "\ud83d"}]}}),
        ("put", {"item": json.dumps({**KEY, "half": "\ud83d"})}),
        ("put", {"item": KEY, "half\ud83d": 1}),
        ("get", {**KEY, "pk": KEY["pk"] + "\ud83d"}),
        ("get", {**KEY, "attributes": ["\ud83d"]}),
        ("query", {"pk": KEY["pk"], "filter": {"half": "\ud83d"}}),
        ("query", {"pk": KEY["pk"], "cursor": "\ud83d"}),
    ],
)
def test_lone_surrogates_on_the_wire(tool: str, arguments: dict[str, Any], unused: Unused) -> None:
    wire, meta, file = unused
    result = wire.ask("tools/call", {"name": tool, "arguments": arguments, "_meta": meta}, 1)["result"]
    error = json.loads(result["content"][0]["text"])["error"]
    assert result["isError"] is True
    assert error["code"] == ("invalid_cursor" if "cursor" in arguments else "invalid_argument")
    assert "surrogate" in error["message"] or "half" in error["message"] or error["code"] == "invalid_cursor"
    assert not file.exists()
    info = wire.ask("tools/call", {"name": "info", "arguments": {}, "_meta": meta}, 2)
    assert info["result"].get("isError") is not True


BAD_LISTINGS: dict[str, dict[str, Any]] = {
    **{f"limit {limit!r}": {"limit": limit} for limit in (0, -1, 1001, "five", 2.5, True, [5])},
    "unknown operator": {"filter": {"n": {"equals": 1}}},
    "an operator and a name": {"filter": {"n": {"gt": 1, "name": 2}}},
    "inverted bounds": {"filter": {"n": {"between": [2, 1]}}},
    "mixed bounds": {"filter": {"n": {"between": [1, "2"]}}},
    "order of a list": {"filter": {"n": {"gt": [1]}}},
    "order of a set": {"filter": {"n": {"lt": {"SS": ["a"]}}}},
    "101 values": {"filter": {"n": {"in": list(range(101))}}},
    "too much for an expression": {"filter": {f"attribute{at}.b.c.d": at for at in range(300)}},
    "bad path": {"filter": {"a[x]": 1}},
    "filter as text": {"filter": '{"n": 1'},
    "unknown view": {"view": "table"},
    "unknown argument": {"table": "other"},
    "attributes as text": {"attributes": "n"},
    "attribute without a name": {"attributes": ["n", ""]},
}
BAD_QUERIES: dict[str, dict[str, Any]] = {
    "both kinds of range": {"sk_prefix": "a", "sk_from": "b"},
    "prefix and end": {"sk_prefix": "a", "sk_to": "b"},
    "inverted range": {"sk_from": "b", "sk_to": "a"},
    "key in a filter": {"filter": {"sk": {"begins_with": "a"}}},
    "too long": {"sk_prefix": "a" * 1025},
}


@pytest.mark.parametrize("arguments", BAD_LISTINGS.values(), ids=BAD_LISTINGS)
def test_bad_listings(seeded: Server, arguments: dict[str, Any]) -> None:
    for error in (
        seeded.fails("invalid_argument", "query", pk=pk("b"), **arguments),
        seeded.fails("invalid_argument", "scan", **arguments),
    ):
        assert next(iter(arguments)) in error["message"]


@pytest.mark.parametrize("arguments", BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_bad_queries(seeded: Server, arguments: dict[str, Any]) -> None:
    seeded.fails("invalid_argument", "query", pk=pk("b"), **arguments)


def test_a_filter_on_the_key_is_told_what_to_use(seeded: Server) -> None:
    error = seeded.fails("invalid_argument", "query", pk=pk("b"), filter={"sk": "1"})
    assert all(name in error["next"] for name in ("sk_prefix", "sk_from", "sk_to"))


@pytest.mark.parametrize("tool", ["get", "put", "delete", "query", "scan"])
def test_unknown_arguments(seeded: Server, tool: str) -> None:
    error = seeded.fails("invalid_argument", tool, prefix="deploy#other", table_name="other")
    assert "prefix" in error["message"] or "table_name" in error["message"] or "missing" in error["message"]
    required = seeded.tools[tool].input_schema.get("required", [])
    given = {"pk": KEY["pk"], "sk": KEY["sk"]}
    error = seeded.fails("invalid_argument", tool, **{n: given[n] for n in required}, tableName="other")
    assert "tableName" in error["message"]


def test_a_misspelt_argument_is_named(seeded: Server) -> None:
    assert "sk_prefix" in seeded.fails("invalid_argument", "query", pk=KEY["pk"], skPrefix="a")["next"]


ALTERED: dict[str, Callable[[str], str]] = {
    "truncated by one": lambda cursor: cursor[:-1],
    "truncated to half": lambda cursor: cursor[: len(cursor) // 2],
    "one character": lambda cursor: cursor[:1],
    "first character altered": lambda cursor: ("B" if cursor[0] == "A" else "A") + cursor[1:],
    "last character altered": lambda cursor: cursor[:-1] + chr(ord(cursor[-1]) ^ 1),
    "middle altered": lambda cursor: cursor[:20] + ("y" if cursor[20] == "x" else "x") + cursor[21:],
    "extended": lambda cursor: cursor + "A",
    "padded": lambda cursor: cursor + "==",
    "with a space": lambda cursor: cursor[:9] + " " + cursor[9:],
    "not ASCII": lambda cursor: "é" + cursor[1:],
    "no cursor": lambda cursor: "1",
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
@pytest.mark.parametrize("tool", ["query", "scan"])
def test_altered_cursors(seeded: Server, tool: str, alter: Callable[[str], str]) -> None:
    arguments: dict[str, Any] = {"pk": pk("b")} if tool == "query" else {}
    cursor = seeded.result(tool, **arguments, limit=2)["cursor"]
    error = seeded.fails("invalid_cursor", tool, **arguments, cursor=alter(cursor))
    assert "start" in error["next"].lower()
    assert seeded.result(tool, **arguments, limit=3, cursor=cursor)["count"] == 3


def test_cursors_of_another_call(seeded: Server) -> None:
    query = seeded.result("query", pk=pk("b"), limit=2)["cursor"]
    scan = seeded.result("scan", limit=2)["cursor"]
    calls: list[tuple[str, str, dict[str, Any]]] = [
        (query, "query", {"pk": pk("a")}),
        (query, "query", {"pk": pk("b"), "descending": True}),
        (query, "query", {"pk": pk("b"), "sk_from": "0"}),
        (query, "query", {"pk": pk("b"), "attributes": ["n"]}),
        (query, "scan", {}),
        (scan, "query", {"pk": pk("b")}),
        (scan, "scan", {"view": "keys"}),
        (scan, "scan", {"pk_prefix": pk("b")}),
        (scan, "scan", {"filter": {"n": 1}}),
    ]
    for cursor, tool, arguments in calls:
        seeded.fails("invalid_cursor", tool, **arguments, cursor=cursor)


def test_cursors_of_another_prefix_and_of_another_process(seeded: Server, tmp_path: Path) -> None:
    cursor = seeded.result("scan", limit=2)["cursor"]
    for prefix in ("deploy#other", PREFIX):
        with Server(tmp_path / "items.db", DYNAMODB_PREFIX=prefix) as other:
            other.put_all([{"pk": f"{prefix}#b", "sk": str(at)} for at in range(3)])
            other.fails("invalid_cursor", "scan", cursor=cursor)
            seeded.fails("invalid_cursor", "scan", cursor=other.result("scan", limit=2)["cursor"])
