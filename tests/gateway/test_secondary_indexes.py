"""Secondary indexes that tenants share: no way to write into another's partition, and nothing learnt of others.

Over the raw HTTP API and MCP, so that no client checks anything first. `tests/contract/test_indexes.py` has the rest.
"""

from __future__ import annotations

import unicodedata
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.indexes import parse_indexes
from ddb_mcp.gateway import tenant_store
from ddb_mcp.stores.base import NO_CONDITION, Store
from ddb_mcp.stores.local.store import LocalStore
from tests.direct.support import CREDENTIALS, aws, direct
from tests.gateway.conftest import post
from tests.gateway.running import RunningGateway, running_gateway, silent
from tests.support.tenants import foreign_keys
from tests.support.through_mcp import OverMcp, connected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anyio.from_thread import BlockingPortal

ME = "deploy#mé"
DECLARED = parse_indexes("GSI1=GSI1PK,GSI1SK; byRank=rank:N,GSI1SK; inverted=sk,pk; byState=state")
KEY = {"pk": f"{ME}#a", "sk": "1"}


@dataclass
class Tenants:
    portal: BlockingPortal
    store: Store
    gateway: RunningGateway

    def plant(self, **attributes: Any) -> None:
        """Store an item by other means than the gateway."""
        item = {name: value if isinstance(value, dict) else {"S": value} for name, value in attributes.items()}
        self.portal.call(self.store.put, item, NO_CONDITION)

    def post(self, operation: str, prefix: str = ME, /, **body: Any) -> dict[str, Any]:
        """The answer of the HTTP API, an error's too."""
        authorization = f"Bearer {self.gateway.token(prefix)}"
        document: dict[str, Any] = post(self.gateway.url, operation, body, authorization=authorization).document
        return document


@pytest.fixture(scope="module", params=["local", "dynoxide"])
def tenants(
    request: pytest.FixtureRequest, portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tenants]:
    folder = tmp_path_factory.mktemp("indexes")
    with ExitStack() as stack:
        if request.param == "local":
            store: Store = LocalStore(folder / "items.sqlite3", "shared", indexes=DECLARED)
        else:
            stack.enter_context(aws(request.getfixturevalue("dynoxide").endpoint, **CREDENTIALS))
            store = direct("shared-indexes", indexes=DECLARED)
        portal.call(store.provision, silent)
        tenants = Tenants(portal, store, stack.enter_context(running_gateway(store, folder)))
        assert {index["name"] for index in tenants.post("provision")["indexes"]} == {index.name for index in DECLARED}
        yield tenants


@pytest.fixture(params=["http", "mcp"])
def call(request: pytest.FixtureRequest, tenants: Tenants) -> Iterator[Callable[..., dict[str, Any]]]:
    """Calls an operation of `ME`; returns the result, or an error as the HTTP API has it."""
    if request.param == "http":
        yield tenants.post
        return
    client = connected(tenants.gateway.url, tenants.gateway.token(ME), "")
    with tenants.portal.wrap_async_context_manager(client) as session:
        mcp = OverMcp(session)

        def over_mcp(operation: str, /, **arguments: Any) -> dict[str, Any]:
            try:
                return tenants.portal.call(partial(mcp.run_operation, operation, arguments))
            except DdbMcpError as error:
                return {"error": error.code, "message": error.message}

        yield over_mcp


FOREIGN = [
    *(pk + "x" for pk in foreign_keys(ME).values() if not pk.startswith(f"{ME}#")),
    *("", "x", ME, f"{ME}#", f" {ME}#x", f"{ME}＃x", f"{ME.upper()}#x", f"{ME}\0#x", "deploy#"),
    *(unicodedata.normalize(form, f"{ME}#x") for form in ("NFD", "NFKD")),
]
NOT_STRINGS = (7, None, True, [f"{ME}#x"], {"a": f"{ME}#x"}, {"SS": [f"{ME}#x"]}, {"B": "ZGVwbG95"}, {"N": "7"})
WAYS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "put": lambda value: {"item": {**KEY, "GSI1PK": value}},
    "batch": lambda value: {"items": [{**KEY, "sk": "2"}, {**KEY, "GSI1PK": value}]},
    "merge": lambda value: {"item": {**KEY, "GSI1PK": value}, "merge": True},
    "merge of a batch": lambda value: {"items": [{**KEY, "GSI1PK": value}], "merge": True},
    "where": lambda value: {"where": {"pk": KEY["pk"]}, "item": {"GSI1PK": value}},
    "where over all": lambda value: {"where": {"pk_prefix": f"{ME}#a"}, "item": {"GSI1PK": value}},
    "dry run": lambda value: {"where": {"pk": KEY["pk"]}, "item": {"GSI1PK": value}, "dry_run": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_leads_into_anothers_partition(tenants: Tenants, call: Callable[..., Any], way: str) -> None:
    tenants.plant(**KEY, note="before")
    for value in (*FOREIGN, *NOT_STRINGS):
        error = call("put", **WAYS[way](value))
        assert error.get("error") in ("prefix_violation", "invalid_argument"), (value, error)
        assert "GSI1PK" in error["message"]
    for value in (f"{ME}#x", f"{ME}#deploy#other#x"):
        assert "error" not in call("put", **WAYS[way](value))
    item = tenants.post("get", **KEY)["item"]
    assert item.get("GSI1PK") == (None if way == "dry run" else f"{ME}#deploy#other#x")
    tenants.post("delete", where={"pk_prefix": f"{ME}#a"})


def test_add_and_copies_do_not_either(tenants: Tenants, call: Callable[..., Any]) -> None:
    for added in (1, {"SS": ["deploy#other#x"]}, {"NS": ["1"]}):
        assert call("put", item=KEY, add={"GSI1PK": added})["error"] == "invalid_argument"
    tenants.plant(**KEY, GSI1PK="deploy#other#x", GSI1SK="a")
    copied = call("put", where={"pk": KEY["pk"]}, copy_to=f"{ME}#b")
    assert copied["written"] == 0
    assert "prefix_violation" in str(copied["failed"][0]["error"])
    assert tenants.post("get", pk=f"{ME}#b", sk="1") == {"found": False}
    tenants.post("delete", where={"pk_prefix": f"{ME}#a"})


QUERIES: list[dict[str, Any]] = [
    {"index": "GSI1", "pk": f"{ME}#x"},
    {"index": "byRank", "pk": "7"},
    {"index": "inverted", "pk": "s"},
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query["index"])
@pytest.mark.parametrize("more", [{}, {"view": "count"}, {"filter": {"n": 1}}, {"limit": 1}, {"sk_from": "!"}])
def test_nothing_is_learnt_of_others(
    tenants: Tenants, call: Callable[..., Any], query: dict[str, Any], more: dict[str, Any]
) -> None:
    keys = {"GSI1PK": f"{ME}#x", "rank": {"N": "7"}, "n": {"N": "1"}}
    for number in range(3):
        tenants.plant(pk=f"{ME}#{number}", sk="s", GSI1SK=f"g{number}", **keys)
    before = call("query", **query, **more)
    for number, pk in enumerate(foreign_keys(ME).values()):
        if not pk.startswith(f"{ME}#"):
            tenants.plant(pk=f"{pk}{number}", sk="s", GSI1SK="g" * number + "!", **keys)
    pages = [call("query", **query, **more)]
    while cursor := pages[-1].get("cursor"):
        pages.append(call("query", **query, **more, cursor=cursor))
    assert "capacity" not in pages[0]
    for page in (before, *pages):
        assert page["scanned"] <= 3
        assert all(item["pk"].startswith(f"{ME}#") for item in page.get("items", ()))
    found = [item["pk"] for page in pages for item in page.get("items", ())]
    assert found == [f"{ME}#{number}" for number in range(3)] or "view" in more
    assert pages[-1]["count"] == 3 or "view" not in more
    assert len({len(page["cursor"]) for page in (before, *pages) if "cursor" in page}) <= 1


def test_others_items_are_paid_from_a_budget_of_their_own(tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        tenants.plant(pk=f"deploy#many#{number:02}", sk="many", rank={"N": "8"}, GSI1SK=f"{number:02}")
    tenants.plant(pk=f"{ME}#last", sk="many", rank={"N": "8"}, GSI1SK="z")
    monkeypatch.setattr(tenant_store, "GATEWAY_READ_BUDGET", 25)
    page, pages = tenants.post("query", index="byRank", pk="8", view="keys"), 1
    found = page["items"]
    while not page["complete"]:
        assert page["stopped"] == "read_budget"
        page, pages = tenants.post("query", index="byRank", pk="8", view="keys", cursor=page["cursor"]), pages + 1
        found += page["items"]
    assert found == [{"pk": f"{ME}#last", "sk": "many"}]
    assert pages >= 3


def test_bad_queries(tenants: Tenants, call: Callable[..., Any]) -> None:
    for arguments, code in (
        ({"index": "GSI1", "pk": "deploy#other#x"}, "prefix_violation"),
        ({"index": "byState", "pk": "open"}, "prefix_violation"),
        ({"index": "GSI9", "pk": f"{ME}#x"}, "invalid_argument"),
        ({"index": "byRank", "pk": "seven"}, "invalid_argument"),
        ({"index": "GSI1", "pk": ""}, "invalid_argument"),
        ({"index": 7, "pk": f"{ME}#x"}, "invalid_argument"),
    ):
        assert call("query", **arguments)["error"] == code, arguments
