"""Following cursors yields every item exactly once, each page within its budget, whatever the sizes."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.core.paths import parse_path
from tests.stdio.server import Answer, Server, pk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WALKS = [(1024, 1000), (2000, 40), (5000, 7), (32768, 1000), (200000, 13), (200000, 1000)]
BUDGETS = (1024, 32768)


def make_items() -> list[dict[str, Any]]:
    """Three hundred items of 10 bytes to 60 KB, half of them in one partition; hostile to the text they travel in."""
    numbers = random.Random(60)
    items = []
    for at in range(300):
        length = int(10 ** numbers.uniform(1, 4.78))
        item: dict[str, Any] = {"pk": pk("many" if at % 2 else f"p{at % 17}"), "sk": f"{at:03}"}
        letter = numbers.choice(["a", "a", "a", "é", "😀", "\n", '"', "\u2028"])
        match at % 4:
            case 0:
                item["text"] = letter * (length // len(letter.encode()))
            case 1:
                item |= {f"attribute {n}": letter * 10 for n in range(length // 30)}
            case 2:
                item["list"] = [{"n": n, "ok": True} for n in range(length // 20)]
        items.append(item)
    return items


ITEMS = make_items()
BY_KEY = {(item["pk"], item["sk"]): item for item in ITEMS}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pages") / "items.db"
    with Server(file) as server:
        server.put_all(ITEMS)
    return file


@pytest.fixture(scope="module")
def serve(stored: Path) -> Iterator[Callable[[int], Server]]:
    """A server with a byte budget, started when it is first asked for; all are on one file."""
    with ExitStack() as stack:
        yield cache(lambda budget: stack.enter_context(Server(stored, DDB_MCP_MAX_RESULT_BYTES=str(budget))))


def check_page(answer: Answer, server: Server, limit: int) -> list[tuple[str, str]]:
    """The keys of a page's items, once all that holds for a page is found to hold."""
    page = answer.result
    assert len(answer.text.encode()) <= server.budget
    assert page["count"] == len(page["items"]) <= limit
    assert page["complete"] is ("cursor" not in page) is ("stopped" not in page)
    outlined = set(page.get("outlined", ()))
    for at, item in enumerate(page["items"]):
        whole = BY_KEY[item["pk"], item["sk"]]
        if at not in outlined:
            assert item == whole
            continue
        outline = item["outline"]
        assert outline["bytes"] > server.budget / 4
        named = {entry["path"] for entry in outline["attributes"]} & whole.keys()
        short = item.keys() - {"pk", "sk", "outline"}
        assert all(item[name] == whole[name] for name in short)
        assert not named & ({"pk", "sk"} | short)
        assert len(named) + len(short) + outline.get("more", 0) == len(whole) - 2
    return [(item["pk"], item["sk"]) for item in page["items"]]


@pytest.mark.parametrize(("budget", "limit"), WALKS)
def test_a_scan_yields_each_item_once(serve: Callable[[int], Server], budget: int, limit: int) -> None:
    server = serve(budget)
    keys = [key for answer in server.walk("scan", limit=limit) for key in check_page(answer, server, limit)]
    assert keys == sorted(BY_KEY)


@pytest.mark.parametrize("descending", [False, True])
def test_a_query_yields_each_item_once(serve: Callable[[int], Server], descending: bool) -> None:
    server = serve(5000)
    expected = sorted((key for key in BY_KEY if key[0] == pk("many")), reverse=descending)
    pages = server.walk("query", pk=pk("many"), descending=descending, limit=1000)
    assert [key for answer in pages for key in check_page(answer, server, 1000)] == expected


def test_one_at_a_time_yields_each_item_once(serve: Callable[[int], Server]) -> None:
    server = serve(32768)
    expected = sorted(key for key in BY_KEY if key[0] == pk("p4"))
    pages = server.walk("query", pk=pk("p4"), limit=1)
    assert [key for answer in pages for key in check_page(answer, server, 1)] == expected


@pytest.mark.parametrize("budget", BUDGETS)
def test_keys_alone_keep_to_the_budget_too(serve: Callable[[int], Server], budget: int) -> None:
    server = serve(budget)
    found = []
    for answer in server.walk("scan", view="keys", limit=1000):
        assert len(answer.text.encode()) <= server.budget
        found += [(item["pk"], item["sk"]) for item in answer.result["items"]]
    assert found == sorted(BY_KEY)


def test_a_filter_changes_nothing_about_that(serve: Callable[[int], Server]) -> None:
    server = serve(5000)
    found = Counter(
        key
        for answer in server.walk("scan", filter={"list": {"exists": True}}, limit=40)
        for key in check_page(answer, server, 40)
    )
    assert found == Counter(key for key, item in BY_KEY.items() if "list" in item)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_summary_keeps_to_the_budget(serve: Callable[[int], Server], budget: int) -> None:
    server = serve(budget)
    answer = server.call("scan", view="summary")
    assert len(answer.text.encode()) <= server.budget
    assert sum(group["count"] for group in answer.result["groups"]) == len(ITEMS)


def read_on(server: Server, key: dict[str, str], entry: dict[str, Any]) -> Any:
    """What an entry of an outline stands for, read as its path, its type and its number of members say."""
    path = entry["path"]
    answer = server.call("get", **key, attributes=[path])
    assert len(answer.text.encode()) <= server.budget
    if "outlined" not in answer.result:
        found = answer.result["item"]
        for step in parse_path(path, "path"):
            found = found[step] if isinstance(step, str) else found[0]  # the only one of its list
        return found
    (itself, *inner) = answer.result["item"]["outline"]["attributes"]
    assert itself == entry
    if entry["type"] == "S":
        text, of = "", 1
        while len(text) < of:
            part = server.result("get", **key, attributes=[f"{path}[{len(text)}:]"])["parts"][f"{path}[{len(text)}:]"]
            text, of = text + part["text"], part["of"]
        return text
    assert entry["type"] == "L"
    assert [one["path"] for one in inner] == [f"{path}[{at}]" for at in range(len(inner))]
    return [read_on(server, key, one) for one in inner]


@pytest.mark.parametrize("budget", BUDGETS)
def test_each_item_can_be_read_on(serve: Callable[[int], Server], budget: int) -> None:
    """An outline says how: by longer paths, and by parts of long texts."""
    server = serve(budget)
    for item in random.Random(1).sample([item for item in ITEMS if len(json.dumps(item)) > budget], 8):
        key = {"pk": item["pk"], "sk": item["sk"]}
        answer = server.call("get", **key)
        assert len(answer.text.encode()) <= server.budget
        if not answer.result.get("outlined"):
            assert answer.result["item"] == item
            continue
        for entry in answer.result["item"]["outline"]["attributes"][:2]:
            name = str(parse_path(entry["path"], "path")[0])
            found = read_on(server, key, entry)
            if "[" not in entry["path"]:
                assert found == item[name] if entry["type"] == "S" else found == item[name][: len(found)]


def test_a_part_of_a_long_value(file: Path) -> None:
    with Server(file, DDB_MCP_MAX_RESULT_BYTES="3000") as server:
        key = {"pk": pk("a"), "sk": "1"}
        text = "".join(map(chr, range(0x20, 0x2000))) * 4
        raw = bytes(range(256)) * 40
        item = {**key, "doc": {"body": text, "b.in": {"B": base64.b64encode(raw).decode()}}, "n": 7}
        server.put_all([item])
        page = server.call("get", **key, attributes=["n", "doc.body[100:300]", "doc.`b.in`[5:9]", "doc.body[99999:]"])
        assert page.result == {
            "found": True,
            "parts": {
                "doc.body[100:300]": {"text": text[100:300], "of": len(text)},
                "doc.`b.in`[5:9]": {"base64": base64.b64encode(raw[5:9]).decode(), "of": len(raw)},
                "doc.body[99999:]": {"text": "", "of": len(text)},
            },
            "item": {**key, "n": 7},
        }
        cut = server.call("get", **key, attributes=["doc.body[100:]", "n[0:1]"])
        assert len(cut.text.encode()) <= 3000
        assert cut.result["hint"] == "`n` is a number; only strings and binary have parts."
        part = cut.result["parts"]["doc.body[100:]"]
        assert part["text"] == text[100 : part["to"]]
        assert part["to"] > 800
        whole = server.call("get", **key, attributes=["doc.`b.in`[:]"])
        part = whole.result["parts"]["doc.`b.in`[:]"]
        assert base64.b64decode(part["base64"]) == raw[: part["to"]]
        assert "get" in server.fails("invalid_argument", "query", pk=pk("a"), attributes=["n[0:5]"])["next"]


def test_what_a_put_dropped_and_a_delete_deleted_keep_to_the_budget(file: Path) -> None:
    with Server(file, DDB_MCP_MAX_RESULT_BYTES="2000") as server:
        key = {"pk": pk("a"), "sk": "1"}
        server.put_all([{**key, "short": 1, "long": "x" * 10_000, "longer": "y" * 20_000}])
        answer = server.call("put", item=key)
        assert answer.result["dropped"] == {"short": 1}
        (warning,) = answer.result["warnings"]
        assert warning == (
            "dropped values that are too long to show, and are lost (2): longer (20000 bytes), long (10000 bytes)"
        )
        server.put_all([{**key, "long": "x" * 10_000}])
        deleted = server.call("delete", **key)
        assert deleted.result["item"]["outline"]["attributes"][0]["path"] == "long"
        assert deleted.result["outlined"] is True
        assert "get" not in deleted.result["item"]["outline"]["next"].split()
        assert "outline" in server.fails("invalid_argument", "put", item=deleted.result["item"])["message"]
        server.put_all([{**key, "long": "x" * 10_000}])
        refused = server.call("put", item=key, create_only=True)
        assert refused.error["item"]["outline"]["attributes"][0]["path"] == "long"
        assert max(len(a.text.encode()) for a in (answer, deleted, refused)) <= 2000


@pytest.mark.parametrize("budget", ["1024", "32768"])
def test_a_put_that_drops_thousands_of_attributes_keeps_to_the_budget(file: Path, budget: str) -> None:
    with Server(file, DDB_MCP_MAX_RESULT_BYTES=budget) as server:
        key = {"pk": pk("a"), "sk": "1"}
        wide = {**key, **{f"\N{PILE OF POO}{at}": at for at in range(9000)}}
        server.put_all([wide, {**wide, "sk": "2"}])
        answer = server.call("put", item=key)
        assert len(answer.text.encode()) <= int(budget)
        (warning,) = answer.result["warnings"]
        shown = answer.result["dropped"]
        assert f"are lost ({9000 - len(shown)}): " in warning
        assert all(wide[name] == value for name, value in shown.items())
        assert len(server.call("put", items=[{**key, "sk": "2"}]).text.encode()) <= int(budget)


def test_a_filter_named_at_length_keeps_to_the_budget(file: Path) -> None:
    with Server(file) as server:
        server.put_all([{"pk": pk("a"), "sk": "1", "name": 1}])
        answer = server.call("query", pk=pk("a"), filter={"\x01" * 3000: 1})
        assert "none of 1 items" in answer.result["hint"]
        assert len(answer.text.encode()) < 1024
