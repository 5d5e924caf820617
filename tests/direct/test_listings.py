"""Queries and scans: each item once over any cut, the items of others never, and no more read than is asked for."""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import KeyRange
from ddb_mcp.core.errors import InvalidArgument, InvalidCursor, PrefixViolation
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.service.cursors import SCAN_CURSOR_LENGTHS, CursorSealer, count_sealed_bytes
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import Position, Read
from ddb_mcp.stores.direct import scan
from ddb_mcp.stores.direct.scan import ScanPage, ScanPosition
from tests.direct.support import CREDENTIALS, aws, connected
from tests.support.faults import FaultProxy
from tests.support.tenants import foreign_keys

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from ddb_mcp.core.items import Item
    from ddb_mcp.stores.direct.store import DirectStore
    from tests.support.engines import Engine

OWN = [(f"deploy#me#user#{at % 7}", f"s{at:03}") for at in range(150)]
LOOK_ALIKES = [pk for pk in foreign_keys("deploy#me").values() if pk != "deploy#me#"]
FOREIGN = [(f"{pk}{at % 20}", f"s{at:03}") for at, pk in enumerate(LOOK_ALIKES * 12)]
ALL = Read(pk_prefix="deploy#me#")


def fill(engine: Engine, keys: list[tuple[str, str]], **attributes: Any) -> str:
    table, client = engine.create_table(), engine.client()
    for start in range(0, len(keys), 25):
        requests: list[Any] = [
            {"PutRequest": {"Item": {"pk": {"S": pk}, "sk": {"S": sk}, **attributes}}}
            for pk, sk in keys[start : start + 25]
        ]
        client.batch_write_item(RequestItems={table: requests})
    return table


@pytest.fixture(scope="module")
def table(engine: Engine) -> str:
    return fill(engine, [*OWN, *FOREIGN])


@pytest.fixture(scope="module")
def store(portal: BlockingPortal, engine: Engine, table: str) -> DirectStore:
    return connected(portal, engine.endpoint, table, "deploy#me")


def keys_of(items: list[Item]) -> list[tuple[str, str]]:
    return [(item["pk"]["S"], item["sk"]["S"]) for item in items]


def read_through(store: Any, operation: str, read: Read, cut: random.Random | None = None) -> Any:
    """Every item of a listing, with its pages left at random places if `cut` says so."""

    async def walk() -> list[tuple[str, str]]:
        found, position = [], None
        while True:
            page = await getattr(store, operation)(read._replace(position=position))
            items, position = page.items, json.loads(json.dumps(page.next))
            assert len(items) <= read.limit
            if cut and len(items) > 1 and page.after:
                last = cut.randrange(len(items) - 1)
                items, position = items[: last + 1], json.loads(json.dumps(await page.after(last)))
            found += keys_of(items)
            if position is None:
                return found

    return walk


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
@pytest.mark.parametrize("cut", [None, 1, 2], ids=["whole pages", "cut", "cut again"])
def test_a_scan_gives_each_own_item_once(
    portal: BlockingPortal, store: DirectStore, limit: int, cut: int | None
) -> None:
    read = Read(pk_prefix="deploy#me#", limit=limit)
    found = portal.call(read_through(store, "scan", read, random.Random(cut) if cut else None))
    assert len(found) == len(OWN)
    assert sorted(found) == sorted(OWN)


@pytest.mark.parametrize("limit", [1, 7, 50])
@pytest.mark.parametrize("descending", [False, True])
def test_a_query_gives_each_item_once_and_in_order(
    portal: BlockingPortal, store: DirectStore, limit: int, descending: bool
) -> None:
    expected = sorted((key for key in OWN if key[0] == "deploy#me#user#3"), reverse=descending)
    for cut in (None, random.Random(1)):
        read = Read(pk="deploy#me#user#3", limit=limit, descending=descending)
        assert portal.call(read_through(store, "query", read, cut)) == expected
        read = Read(pk="deploy#me#user#3", limit=limit, filter=parse_filter({"absent": {"exists": False}}, "filter"))
        assert portal.call(read_through(store, "query", read, cut)) == sorted(expected)


def test_a_page_that_holds_the_rest_says_that_nothing_follows(portal: BlockingPortal, store: DirectStore) -> None:
    expected = [key for key in OWN if key[0] == "deploy#me#user#0"]
    page = portal.call(store.query, Read(pk="deploy#me#user#0", limit=len(expected)))
    assert (keys_of(page.items), page.next) == (expected, None)


def test_a_prefix_of_the_sort_key_heeds_case_on_every_engine(portal: BlockingPortal, store: DirectStore) -> None:
    page = portal.call(store.query, Read(pk="deploy#me#user#0", range=KeyRange(prefix="S")))
    assert page.items == []


def test_capacity_and_what_was_read_are_reported(portal: BlockingPortal, store: DirectStore) -> None:
    page = portal.call(store.query, Read(pk="deploy#me#user#0"))
    assert page.scanned == len(page.items)
    assert page.capacity is not None
    assert page.capacity > 0


def test_a_position_at_a_foreign_key_brings_no_foreign_item(portal: BlockingPortal, dynoxide: Engine) -> None:
    """Such a position could only come from a broken seal; what it finds is still checked, item by item."""
    store = connected(portal, dynoxide.endpoint, fill(dynoxide, [*OWN, *FOREIGN]), "deploy#me")
    starts = {str(segment): "18:deploy#me2#user#10s000" for segment in range(scan.SCAN_SEGMENTS)}
    page = portal.call(
        store.scan, Read(pk_prefix="deploy#me#", position=[scan.SCAN_SEGMENTS, 9999, 0, starts], limit=1000)
    )
    assert {key in OWN for key in keys_of(page.items)} <= {True}


# What is asked of DynamoDB


def asked(portal: BlockingPortal, engine: Engine, table: str, operation: str, read: Read) -> list[dict[str, Any]]:
    with FaultProxy(engine.endpoint) as proxy, aws(proxy.endpoint, **CREDENTIALS):
        store = connected(portal, proxy.endpoint, table, "deploy#me")
        portal.call(read_through(store, operation, read))
        return [json.loads(request.body) for request in proxy.requests if request.operation == operation.capitalize()]


def test_a_scan_goes_through_segments_that_stay_the_same(portal: BlockingPortal, dynoxide: Engine) -> None:
    requests = asked(portal, dynoxide, fill(dynoxide, [*OWN, *FOREIGN]), "scan", ALL)
    assert {request["TotalSegments"] for request in requests} == {scan.SCAN_SEGMENTS}
    assert {request["Segment"] for request in requests} == set(range(scan.SCAN_SEGMENTS))
    assert all(request["ConsistentRead"] for request in requests)
    assert len(requests) < 3 * scan.SCAN_SEGMENTS  # waves, not item by item


def test_where_nothing_is_found_a_scan_goes_on_in_whole_pages(portal: BlockingPortal, dynoxide: Engine) -> None:
    table = fill(dynoxide, [(f"deploy#other#p{at % 50}", f"{at:04}") for at in range(2000)])
    first, *rest = asked(portal, dynoxide, table, "scan", Read(pk_prefix="deploy#me#", limit=20))
    assert first["Limit"] == 20
    assert len(rest) == scan.SCAN_SEGMENTS


def test_where_everything_is_own_a_scan_reads_no_more_than_it_returns(portal: BlockingPortal, dynoxide: Engine) -> None:
    table = fill(dynoxide, [(f"deploy#me#p{at % 50}", f"{at:04}") for at in range(1000)])
    store = connected(portal, dynoxide.endpoint, table, "deploy#me")
    page = portal.call(store.scan, Read(pk_prefix="deploy#me#", limit=20))
    assert (len(page.items), page.scanned) == (20, 20)


@pytest.mark.parametrize("operation", ["query", "scan"])
@pytest.mark.parametrize("clauses", [{}, {"status": "open", "size": {"gt": 1}}], ids=["bare", "filtered"])
def test_names_and_values_are_placeholders_and_the_budget_holds(
    portal: BlockingPortal, dynoxide: Engine, operation: str, clauses: dict[str, Any]
) -> None:
    table = fill(dynoxide, OWN, status={"S": "open"}, size={"N": "2"})
    read = Read(
        pk="deploy#me#user#1" if operation == "query" else None,
        pk_prefix="deploy#me#" if operation == "scan" else None,
        range=KeyRange(low="a", high="z") if operation == "query" else KeyRange(),
        filter=parse_filter(clauses, "filter"),
        attributes=("status", "name", "ttl"),
        read_limit=40,
    )
    requests = asked(portal, dynoxide, table, operation, read)
    for request in requests:
        assert request["Limit"] <= 40
        text = " ".join(str(value) for name, value in request.items() if name.endswith("Expression"))
        words = set(text.replace("(", " ").replace(")", " ").replace(",", " ").replace("=", " ").split())
        plain = {word for word in words if word[0] not in "#:"}
        assert plain <= {"AND", "BETWEEN", "begins_with", ">", "<"}


def fits(clauses: dict[str, Any]) -> bool:
    try:
        parse_filter(clauses, "filter")
    except InvalidArgument:
        return False
    return True


def test_the_longest_filter_still_fits(portal: BlockingPortal, dynoxide: Engine) -> None:
    store = connected(portal, dynoxide.endpoint, fill(dynoxide, OWN), "deploy#me")
    longest: dict[str, Any] = {}
    while fits({**longest, f"x{len(longest)}": {"exists": False}}):
        longest[f"x{len(longest)}"] = {"exists": False}
    assert len(longest) > 100
    read = Read(pk_prefix="deploy#me#", filter=parse_filter(longest, "filter"), limit=1000)
    assert sorted(portal.call(read_through(store, "scan", read))) == sorted(OWN)


# The border, with 5,000 items beyond it: as many pages as 50,000 short ones, in a tenth of the time

A, B = "deploy#abc123", "deploy#abc1234"


@pytest.fixture(scope="module")
def border(portal: BlockingPortal, dynoxide: Engine) -> dict[str, DataService]:
    foreign = [(f"deploy#abc{at % 997}x#user#{at}", "profile") for at in range(5_000)]
    own = [(f"{prefix}#user#{at}", "profile") for prefix in (A, B) for at in range(20)]
    table = fill(dynoxide, [*own, *foreign], text={"S": "x" * 600})
    return {
        prefix: DataService(connected(portal, dynoxide.endpoint, table, prefix), Prefix(prefix)) for prefix in (A, B)
    }


@pytest.mark.parametrize(("mine", "theirs"), [(A, B), (B, A)])
def test_the_border_holds_in_both_directions(
    portal: BlockingPortal, border: dict[str, DataService], mine: str, theirs: str
) -> None:
    service, key = border[mine], {"pk": f"{theirs}#user#1", "sk": "profile"}
    before = portal.call(border[theirs].run_operation, "get", key)
    for operation, arguments in (
        ("get", key),
        ("put", {"item": {**key, "stolen": True}}),
        ("put", {"item": json.dumps({**key, "stolen": True})}),
        ("put", {"item": {name: {"S": text} for name, text in key.items()}}),
        ("put", {"items": [{**key, "stolen": True}]}),
        ("put", {"item": {**key, "stolen": True}, "merge": True}),
        ("delete", key),
        ("delete", {"keys": [key]}),
        ("query", {"pk": key["pk"]}),
        ("scan", {"pk_prefix": f"{theirs}#user"}),
    ):
        with pytest.raises(PrefixViolation):
            portal.call(service.run_operation, operation, arguments)
    assert portal.call(border[theirs].run_operation, "get", key) == before

    page = portal.call(service.run_operation, "scan", {})
    assert (page["count"], page["complete"]) == (20, True)
    assert page["scanned"] == 5_040
    assert {item["pk"].rpartition("#user#")[0] for item in page["items"]} == {mine}

    cursor = portal.call(border[theirs].run_operation, "scan", {"limit": 3})["cursor"]
    for made in (cursor, cursor[:-4] + "AAAA", "e30", json.dumps({"pk": {"S": key["pk"]}, "sk": {"S": "a"}})):
        with pytest.raises(InvalidCursor):
            portal.call(service.run_operation, "scan", {"limit": 3, "cursor": made})


def test_the_length_of_a_cursor_does_not_tell_others_keys(portal: BlockingPortal, dynoxide: Engine) -> None:
    """An owner who stores a guess beside another's key, right or wrong, learns nothing from the cursors."""
    lengths = set()
    for foreign in (
        "deploy#other#user#5f3a9c1e",
        "deploy#other#user#00000000",
        "deploy#x#y",
        "deploy#other#" + "z" * 60,
    ):
        guesses = [f"deploy#me#{guess}" for guess in ("deploy#other#user#5f3a9c1e", "deploy#other#user#ffffffff")]
        keys = [(foreign + str(at), f"s{at}") for at in range(40)] + [
            (pk, f"s{at}") for pk in guesses for at in range(20)
        ]
        service = DataService(
            connected(portal, dynoxide.endpoint, fill(dynoxide, keys), "deploy#me"), Prefix("deploy#me")
        )
        arguments: dict[str, Any] = {"limit": 3}
        while not (page := portal.call(service.run_operation, "scan", arguments))["complete"]:
            lengths.add(len(page["cursor"]))
            arguments["cursor"] = page["cursor"]
    assert lengths == {count_sealed_bytes(limits.CURSOR_BYTES)}


@pytest.mark.parametrize("own", [5, 150, 900])
@pytest.mark.parametrize("foreign", [5, 150, 900])
def test_cursors_have_one_of_two_lengths(portal: BlockingPortal, dynoxide: Engine, own: int, foreign: int) -> None:
    """Those of listings and of `where`, whatever own and foreign keys are; and no item is missed or comes twice."""
    keys = [
        (f"deploy#{name}#{'k' * length}{at}", f"{'s' * length}\x01")
        for name, length in (("me", own), ("other", foreign))
        for at in range(60)
    ]
    store = connected(portal, dynoxide.endpoint, fill(dynoxide, keys), "deploy#me")
    service = DataService(store, Prefix("deploy#me"), read_budget=20, max_writes=7)
    lengths, found = set(), list[str]()
    for operation, arguments in (
        ("scan", {"limit": 7}),
        ("scan", {"view": "count"}),
        ("put", {"where": {"pk_prefix": "deploy#me#k"}, "item": {"n": 1}}),
        ("delete", {"where": {"pk_prefix": "deploy#me#k"}, "dry_run": True}),
    ):
        cursor: dict[str, Any] = {}
        while not (page := portal.call(service.run_operation, operation, {**arguments, **cursor}))["complete"]:
            lengths.add(len(page["cursor"]))
            cursor = {"cursor": page["cursor"]}
            found += [item["pk"] for item in page.get("items", ())]
        found += [item["pk"] for item in page.get("items", ())]
    assert sorted(found) == sorted(pk for pk, _ in keys if pk.startswith("deploy#me#"))
    assert lengths <= {-(-(padded + 28) * 4 // 3) for padded in (limits.CURSOR_BYTES, limits.LONG_CURSOR_BYTES)}


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=500)
KEYS = st.builds(Key, TEXTS, TEXTS.map(lambda text: text[:250]))


@given(st.lists(st.tuples(st.lists(KEYS, max_size=3), KEYS | st.none()), min_size=8, max_size=8), st.data())
def test_every_position_of_a_scan_fits_into_two_lengths(
    answers: list[tuple[list[Key], Key | None]], data: st.DataObject
) -> None:
    """Over pages in any order: what a page leaves behind is the beginning of the next."""
    seal = CursorSealer()
    position: Position = None
    for _ in range(4):
        at = ScanPosition.from_position(position)
        if not at.starts:
            return
        segments = list(at.starts)
        page = ScanPage.from_responses(
            at,
            Read(pk_prefix=""),
            segments,
            [
                {
                    "Items": [key.attributes for key in items],
                    "ScannedCount": 1000,
                    **({"LastEvaluatedKey": last.attributes} if last else {}),
                }
                for items, last in (data.draw(st.sampled_from(answers)) for _ in segments)
            ],
        )
        for position in [*map(page.get_position_after, range(len(page.entries))), page.get_end()]:
            cursor = seal.seal([position, 10**6], "call", SCAN_CURSOR_LENGTHS)
            assert len(base64.urlsafe_b64decode(cursor + "==")) - 28 in (
                limits.CURSOR_BYTES,
                limits.LONG_CURSOR_BYTES,
            )
            assert seal.open(cursor, "call") == [position, 10**6]
        position = page.get_end()
        if position is None:
            return
