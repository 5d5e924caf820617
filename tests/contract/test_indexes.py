"""Secondary indexes: order, pages, isolation, and items that enter and leave them.

Other deployments' items are written straight to the store, as another app or an older version would.
"""

from __future__ import annotations

import base64
import itertools
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from ddb_mcp.core.indexes import Index, IndexKey, parse_indexes
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import NO_CONDITION, Store
from ddb_mcp.stores.direct.indexes import define_index
from ddb_mcp.stores.local.store import LocalStore
from tests.contract.conftest import Api
from tests.direct.support import connected
from tests.gateway.running import running_gateway
from tests.support.engines import ENGINES
from tests.support.through_mcp import OverMcp
from tests.support.through_mcp import connected as client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from tests.support.engines import Engine

INDEXES = (
    *parse_indexes("GSI1=GSI1PK,GSI1SK; byScore=GSI1PK,score:N; byRank=rank:N,when; byRaw=GSI1PK,raw:B; only=alone"),
    *parse_indexes("inverted=sk,pk; byState=state,pk"),
    Index("keysOnly", IndexKey("GSI1PK"), IndexKey("GSI1SK"), "KEYS_ONLY"),
    Index("some", IndexKey("GSI1PK"), IndexKey("GSI1SK"), ("note",)),
)

Start: TypeAlias = "Callable[[ExitStack, pytest.FixtureRequest, Path], Indexed]"


@dataclass
class Indexed:
    """A table with `INDEXES`, and one deployment in it."""

    portal: BlockingPortal
    store: Store
    """The store below all interfaces, which knows nothing of deployments."""
    connect: Callable[[Prefix, dict[str, Any]], Any]
    options: dict[str, Any] = field(default_factory=dict)

    def api(self, prefix: str | None = None, **options: Any) -> Api:
        prefix = prefix or f"deploy#{uuid.uuid4().hex[:12]}"
        return Api(self.portal, self.connect(Prefix(prefix), options), prefix)

    def plant(self, **attributes: Any) -> None:
        """Store an item as another deployment's app does."""
        item = {name: value if isinstance(value, dict) else {"S": value} for name, value in attributes.items()}
        self.portal.call(self.store.put, item, NO_CONDITION)


def _start_local(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Indexed:
    portal: BlockingPortal = request.getfixturevalue("portal")
    store = LocalStore(folder / "items.sqlite3", "contract", indexes=INDEXES)
    stack.callback(portal.call, store.close)
    return Indexed(portal, store, lambda prefix, options: DataService(store, prefix, **options))


def _start_direct(engine: str) -> Start:
    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Indexed:
        running: Engine = request.getfixturevalue(engine)
        portal: BlockingPortal = request.getfixturevalue("portal")
        store = connected(portal, running.endpoint, create_indexed_table(running), "deploy#contract")
        stack.callback(portal.call, store.close)
        return Indexed(portal, store, lambda prefix, options: DataService(store, prefix, **options))

    return start


def create_indexed_table(engine: Engine) -> str:
    types = {key.name: key.type for index in INDEXES for key in index.keys}
    definitions: list[Any] = []
    for index in INDEXES:
        projection: dict[str, Any] = {"ProjectionType": index.projection}
        if isinstance(index.projection, tuple):
            projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.projection)}
        definitions.append({**define_index(index), "Projection": projection})
    return engine.create_table(types, GlobalSecondaryIndexes=definitions)


def _start_gateway(behind: Start) -> Start:
    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Indexed:
        below = behind(stack, request, folder)
        gateway = stack.enter_context(running_gateway(below.store, folder))

        def connect(prefix: Prefix, options: dict[str, Any]) -> Any:
            if "shared_indexes" in options:  # a gateway takes none; somebody else may use the table itself
                return below.connect(prefix, options)
            store = gateway.store(prefix)
            stack.callback(below.portal.call, store.close)
            return DataService(store, prefix, **options)

        return Indexed(below.portal, below.store, connect)

    return start


def _start_mcp(behind: Start) -> Start:
    """The official client and a gateway, over MCP all the way."""

    def start(stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> Indexed:
        below = behind(stack, request, folder)
        gateway = stack.enter_context(running_gateway(below.store, folder))

        def connect(prefix: Prefix, options: dict[str, Any]) -> Any:
            if options:
                return below.connect(prefix, options)
            client = client_of(gateway.url, gateway.token(prefix.text), "")
            return OverMcp(stack.enter_context(below.portal.wrap_async_context_manager(client)))

        return Indexed(below.portal, below.store, connect)

    return start


BACKENDS: dict[str, Start] = {
    "local": _start_local,
    **{engine: _start_direct(engine) for engine in ENGINES if engine != "endpoint"},
    "gateway": _start_gateway(_start_local),
    "gateway-dynoxide": _start_gateway(_start_direct("dynoxide")),
    "mcp": _start_mcp(_start_local),
}
_EVERY_TIME = ("local", "dynoxide", "gateway", "gateway-dynoxide", "mcp")
_PARAMETERS = [name if name in _EVERY_TIME else pytest.param(name, marks=pytest.mark.extended) for name in BACKENDS]


@pytest.fixture(scope="module", params=_PARAMETERS)
def table(
    request: pytest.FixtureRequest, portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Indexed]:
    with ExitStack() as stack:
        table = BACKENDS[request.param](stack, request, tmp_path_factory.mktemp(request.param))
        table.api().call("provision")
        yield table


@pytest.fixture
def api(table: Indexed) -> Api:
    return table.api()


def list_keys(api: Api, /, **arguments: Any) -> list[str]:
    """The sort keys of all items, page by page."""
    return [item["sk"] for page in api.walk("query", **arguments) for item in page["items"]]


def test_info_lists_them(table: Indexed, api: Api) -> None:
    indexes = {index["name"]: index for index in api.call("info")["indexes"]}
    assert indexes.keys() == {index.name for index in INDEXES}
    assert indexes["byScore"] == {
        "name": "byScore",
        "pk": "GSI1PK",
        "sk": "score",
        "types": {"score": "N"},
        "projection": "ALL",
    }
    assert indexes["only"] == {"name": "only", "pk": "alone", "projection": "ALL"}
    assert indexes["some"]["projection"] == ["note"]
    assert "indexes" in api.call("info")["features"]


def test_numbers_are_in_order(api: Api) -> None:
    numbers = [
        "-9.9E125",
        "-12.5",
        "-12.25",
        "-1E-130",
        "0",
        "1E-130",
        "0.5",
        "2",
        "10",
        "12345678901234567890123456789",
    ]
    numbers += ["12345678901234567890123456789012345678", "9.9E125"]
    for number in reversed(numbers):
        api.put("a", number, GSI1PK=api.pk("x"), score={"N": number})
    for limit in (1, 3, 50):
        assert list_keys(api, index="byScore", pk=api.pk("x"), limit=limit) == numbers
        assert list_keys(api, index="byScore", pk=api.pk("x"), limit=limit, descending=True) == numbers[::-1]
    assert list_keys(api, index="byScore", pk=api.pk("x"), sk_from="-12.3", sk_to="2.0") == numbers[2:8]


def test_strings_are_in_order_of_their_bytes(api: Api) -> None:
    texts = sorted(["a", "B", "é", "z", "\uffff", "😀", "a\0b", "a b"], key=str.encode)
    for text in texts[::-1]:
        api.put("a", text, GSI1PK=api.pk("x"), GSI1SK=text)
    assert list_keys(api, index="GSI1", pk=api.pk("x"), limit=2) == texts
    assert list_keys(api, index="GSI1", pk=api.pk("x"), sk_prefix="a") == ["a", "a\0b", "a b"]
    assert list_keys(api, index="GSI1", pk=api.pk("x"), sk_from="a b", sk_to="é") == ["a b", "z", "é"]


def test_binary_is_in_order(api: Api) -> None:
    raw = [b"\0", b"\0\xff", b"\1", b"\xff", b"\xff\xff"]
    for number, content in enumerate(raw):
        api.put("a", str(number), GSI1PK=api.pk("x"), raw={"B": base64.b64encode(content).decode()})
    assert list_keys(api, index="byRaw", pk=api.pk("x"), limit=2) == ["0", "1", "2", "3", "4"]
    assert list_keys(api, index="byRaw", pk=api.pk("x"), sk_prefix="/w==") == ["3", "4"]


def test_pages_may_end_within_a_tie(api: Api) -> None:
    expected = {f"{number:02}" for number in range(20)}
    for sk in expected:
        api.put(f"owner#{sk}", sk, GSI1PK=api.pk("x"), GSI1SK="same", alone=api.pk("all"))
    for descending, index, pk in itertools.product((False, True), ("GSI1", "only"), ("x",)):
        pk = api.pk("all" if index == "only" else pk)
        found = list_keys(api, index=index, pk=pk, limit=3, descending=descending)
        assert sorted(found) == sorted(expected), (index, descending)


def test_items_enter_and_leave(api: Api) -> None:
    def listed() -> list[str]:
        return list_keys(api, index="GSI1", pk=api.pk("x"))

    api.put("a", "1")
    assert listed() == []
    key = {"pk": api.pk("a"), "sk": "1"}
    api.call("put", item={**key, "GSI1PK": api.pk("x"), "GSI1SK": "1"}, merge=True)
    assert listed() == ["1"]
    api.call("put", item=key, remove=["GSI1SK"])
    assert listed() == []
    api.call("put", where={"pk": api.pk("a")}, item={"GSI1SK": "1"})
    assert listed() == ["1"]
    api.call("put", item={**key, "GSI1PK": api.pk("y"), "GSI1SK": "1"}, merge=True)
    assert listed() == []
    api.call("put", item={**key, "GSI1PK": api.pk("x"), "GSI1SK": "2"})
    api.call("put", item=key, add={"score": 1.5})
    assert list_keys(api, index="byScore", pk=api.pk("x"), sk_from="1.5") == ["1"]
    api.call("put", where={"pk": api.pk("a")}, copy_to=api.pk("b"))
    assert listed() == ["1", "1"]
    api.call("delete", where={"pk": api.pk("a")})
    assert listed() == ["1"]
    api.call("delete", pk=api.pk("b"), sk="1")
    assert listed() == []


def test_filters_attributes_and_views(api: Api) -> None:
    for number in range(6):
        api.put("a", str(number), GSI1PK=api.pk("x"), GSI1SK=f"t{number}", even=number % 2 == 0, note="n" * number)
    words: dict[str, Any] = {"index": "GSI1", "pk": api.pk("x")}
    assert list_keys(api, **words, filter={"even": True}) == ["0", "2", "4"]
    assert list_keys(api, **words, filter={"sk": {"gt": "3"}}) == ["4", "5"]
    page = api.call("query", **words, attributes=["note"], limit=2)
    assert page["items"] == [{"pk": api.pk("a"), "sk": "0", "note": ""}, {"pk": api.pk("a"), "sk": "1", "note": "n"}]
    assert api.call("query", **words, view="count")["count"] == 6
    assert api.call("query", **words, view="keys", limit=1)["items"] == [{"pk": api.pk("a"), "sk": "0"}]
    assert api.call("query", **words, view="summary")["groups"][0]["count"] == 6
    empty = api.call("query", **words, sk_prefix="T")
    assert empty["items"] == []
    assert "t0" in empty["hint"]


def test_projections(api: Api) -> None:
    api.put("a", "1", GSI1PK=api.pk("x"), GSI1SK="1", note="kept", other="left out")
    whole = api.item("a", "1")
    assert whole
    keys = {name: whole[name] for name in ("pk", "sk", "GSI1PK", "GSI1SK")}
    only_keys = api.call("query", index="keysOnly", pk=api.pk("x"))
    assert only_keys["items"] == [keys]
    assert "GSI1PK, GSI1SK" in only_keys["hint"]
    assert api.call("query", index="some", pk=api.pk("x"))["items"] == [{**keys, "note": "kept"}]
    assert api.call("query", index="some", pk=api.pk("x"), filter={"other": "left out"})["items"] == []


WRITES: dict[str, Callable[[Api, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "put": lambda api, given: ("put", {"item": {"pk": api.pk("a"), "sk": "1", **given}}),
    "batch": lambda api, given: ("put", {"items": [{"pk": api.pk("a"), "sk": "1", **given}]}),
    "merge": lambda api, given: ("put", {"item": {"pk": api.pk("a"), "sk": "1", **given}, "merge": True}),
    "where": lambda api, given: ("put", {"where": {"pk": api.pk("a")}, "item": given}),
}
FOREIGN = ("deploy#other#1", "", "x", "{prefix}2#x", "{prefix}＃x", "{prefix}", "{prefix}#", "Deploy{rest}#x")


@pytest.mark.parametrize("way", WRITES)
def test_a_foreign_partition_of_an_index_is_refused(table: Indexed, api: Api, way: str) -> None:
    api.put("a", "1", note="before")
    for text in FOREIGN:
        value = text.format(prefix=api.prefix, rest=api.prefix[6:])
        operation, arguments = WRITES[way](api, {"GSI1PK": value, "note": "after"})
        code = "prefix_violation" if value else "invalid_argument"
        error = api.fails(code, operation, **arguments)
        assert "GSI1PK" in error.message
        assert "GSI1" in error.message or not value
    for wrong in (7, None, True, [api.pk("x")], {"S": api.pk("x")}, {"SS": [api.pk("x")]}):
        operation, arguments = WRITES[way](api, {"GSI1PK": wrong, "note": "after"})
        assert "must be a string" in api.fails("invalid_argument", operation, **arguments).message
    item = api.item("a", "1")
    assert item
    assert item["note"] == "before"
    assert (
        table.api(shared_indexes=("*",), prefix=api.prefix).put("a", "1", GSI1PK="deploy#other#1")["created"] is False
    )


def test_the_type_of_each_key_is_checked(api: Api) -> None:
    key = {"pk": api.pk("a"), "sk": "1"}
    for given in ({"score": "7"}, {"GSI1SK": 7}, {"raw": "text"}, {"rank": "1"}, {"GSI1SK": ""}):
        api.fails("invalid_argument", "put", item={**key, **given})
    api.fails("invalid_argument", "put", item=key, add={"GSI1SK": 1})
    api.fails("invalid_argument", "put", item=key, add={"score": {"NS": ["1"]}})
    api.fails("invalid_argument", "put", item={**key, "GSI1SK": "x" * 1025})
    api.call("put", item={**key, "rank": 1, "when": "now"})  # a number has no prefix


def test_foreign_items_never_appear(table: Indexed, api: Api) -> None:
    """Planted by other means, in the deployment's own partition of an index, and around its own items."""
    for number in range(40):
        planted = {"GSI1PK": api.pk("x"), "GSI1SK": f"{number:03}", "rank": {"N": "1"}, "when": f"{number:03}"}
        table.plant(pk=f"deploy#other#{number}", sk="secret", state="open", **planted)
    for number in range(0, 40, 10):
        api.put(
            "a", "secret" if number == 0 else f"{number}", GSI1PK=api.pk("x"), GSI1SK=f"{number:03}", rank=1, when="5"
        )
    assert len(list_keys(api, index="GSI1", pk=api.pk("x"), limit=3)) == 4
    page = api.call("query", index="inverted", pk="secret")
    assert [item["pk"] for item in page["items"]] == [api.pk("a")]
    assert page["scanned"] >= 1
    assert len(list_keys(api, index="byRank", pk="1.0", limit=1)) == 4
    assert api.call("query", index="byRank", pk="1", view="count")["count"] == 4
    api.fails("prefix_violation", "query", index="byState", pk="open")
    shared = table.api(api.prefix, shared_indexes=("byState",))
    shared.put("b", "1", state="open")
    assert list_keys(shared, index="byState", pk="open") == ["1"]
    api.fails("prefix_violation", "query", index="GSI1", pk="deploy#other#1")


def test_cursors_have_one_length(table: Indexed, api: Api) -> None:
    lengths = set()
    for number, text in enumerate(["a", "b" * 1000, "é" * 300]):
        table.plant(pk=f"deploy#other#{text}", sk="z" * (1 + 100 * number), rank={"N": "7"}, when=text)
        api.put(text, text, GSI1PK=api.pk("x"), GSI1SK=text, rank=7, when=text)
    for words in ({"index": "GSI1", "pk": api.pk("x")}, {"index": "byRank", "pk": "7"}):
        lengths |= {len(page["cursor"]) for page in api.walk("query", **words, limit=1) if "cursor" in page}
    assert len(lengths) == 1


def test_a_cursor_belongs_to_its_index(api: Api) -> None:
    for number in range(4):
        api.put("a", str(number), GSI1PK=api.pk("x"), GSI1SK=str(number), score=number)
    words: dict[str, Any] = {"pk": api.pk("x"), "limit": 2}
    cursor = api.call("query", index="GSI1", **words)["cursor"]
    api.fails("invalid_cursor", "query", index="byScore", **words, cursor=cursor)
    api.fails("invalid_cursor", "query", index="GSI1", **words, sk_from="1", cursor=cursor)
    api.fails("invalid_cursor", "query", **words, cursor=cursor)
    assert [item["sk"] for item in api.call("query", index="GSI1", **words, cursor=cursor)["items"]] == ["2", "3"]


def test_bad_input(api: Api) -> None:
    own: dict[str, Any] = {"pk": api.pk("x")}
    error = api.fails("invalid_argument", "query", index="GSI2", **own)
    assert "GSI1" in (error.next or "")
    api.fails("invalid_argument", "query", index="GSI1", pk="")
    api.fails("invalid_argument", "query", index="byRank", pk="seven")
    api.fails("invalid_argument", "query", index="byScore", **own, sk_from="seven")
    api.fails("invalid_argument", "query", index="byScore", **own, sk_prefix="1")
    api.fails("invalid_argument", "query", index="byScore", **own, sk_from="2", sk_to="1")
    api.fails("invalid_argument", "query", index="byRaw", **own, sk_from="no base64")
    api.fails("invalid_argument", "query", index="only", pk=api.pk("x"), sk_prefix="a")
    api.fails("invalid_argument", "query", index="GSI1", **own, filter={"GSI1SK": "a"})
    api.fails("invalid_argument", "scan", index="GSI1")
    api.fails("invalid_argument", "delete", where={**own, "index": "GSI1"})
