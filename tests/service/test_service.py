"""What `DataService` sees to whatever a store does. No real store errs like these, so real ones are made to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, Internal, Throttled
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.updates import Update
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import Deleted, StorePage
from ddb_mcp.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from ddb_mcp.core.items import Item
    from ddb_mcp.core.keys import Key
    from ddb_mcp.stores.base import Read, WriteCondition, Written

OWN: dict[str, Any] = {"pk": "deploy#a#x", "sk": "1"}
FOREIGN: Item = {"pk": {"S": "deploy#b#x"}, "sk": {"S": "1"}, "secret": {"S": "hers"}}


class Careless(LocalStore):
    """Answers everything with an item of another deployment."""

    async def get(self, key: Key) -> Item | None:
        return FOREIGN

    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Deleted:
        if condition.expect:
            raise ConditionFailed("expect does not hold.", item=FOREIGN)
        return Deleted(True, FOREIGN)

    async def query(self, read: Read) -> StorePage:
        own: Item = {name: {"S": text} for name, text in OWN.items()}
        items = [FOREIGN, own, FOREIGN, {**own, "sk": {"S": "2"}, "long": {"S": "x" * 900}}]

        async def after(at: int) -> int:
            return at

        return StorePage(items[: read.limit], next=1, scanned=4, after=after)


def called(store: LocalStore, operation: str, /, *, budget: int = 32768, **arguments: Any) -> dict[str, Any]:
    async def call() -> dict[str, Any]:
        try:
            return await DataService(store, Prefix("deploy#a"), max_result_bytes=budget).run_operation(
                operation, arguments
            )
        finally:
            await store.close()

    return anyio.run(call)


def test_an_item_of_another_deployment_never_goes_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Careless(tmp_path / "items.db", "t")
    assert called(store, "get", **OWN) == {"found": False}
    assert called(store, "delete", **OWN) == {"deleted": True}
    with pytest.raises(ConditionFailed) as failed:
        called(store, "delete", **OWN, expect={"a": 1})
    assert failed.value.item is None
    batch = called(store, "delete", keys=[OWN], expect={"a": 1})
    assert "item" not in batch["failed"][0]["error"]
    # The second page is the first once more, cut short: a page that is read again is guarded, too.
    for budget in (32768, 1024):
        page = called(store, "query", pk=OWN["pk"], limit=4, budget=budget)
        assert {item["pk"] for item in page["items"]} == {OWN["pk"]}
    assert "hers" not in caplog.text
    assert "another deployment" in caplog.text


class Exhausted(LocalStore):
    """Is throttled from the second read on."""

    reads = 0

    async def scan(self, read: Read) -> StorePage:
        self.reads += 1
        if self.reads > 1:
            raise Throttled("too much")
        return await super().scan(read)


def test_a_page_stands_where_its_hint_cannot_be_had(tmp_path: Path) -> None:
    called(LocalStore(tmp_path / "items.db", "t"), "put", item=OWN)
    page = called(Exhausted(tmp_path / "items.db", "t"), "scan", filter={"a": 1})
    assert page == {"count": 0, "complete": True, "scanned": 1, "items": []}


def test_a_batch_ends_before_its_host_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_SECONDS", -1)
    store = LocalStore(tmp_path / "items.db", "t")
    result = called(store, "put", items=[OWN])
    assert result["written"] == 0
    assert result["failed"][0]["error"]["code"] == "timeout"
    assert "Nothing was sent" in result["failed"][0]["error"]["message"]
    assert called(store, "get", **OWN) == {"found": False}


def test_a_store_may_refuse_a_batch_as_a_whole(tmp_path: Path) -> None:
    class Particular(LocalStore):
        async def check_batch(self, writes: Any, condition: WriteCondition, *, room: int | None = None) -> None:
            raise DdbMcpError(f"{len(writes)} {all(isinstance(write, Update) for write in writes)}")

    store = Particular(tmp_path / "items.db", "t")
    with pytest.raises(DdbMcpError, match="1 True"):
        called(store, "put", items=[OWN], merge=True)
    with pytest.raises(DdbMcpError, match="0 True"):
        called(store, "delete", keys=[OWN])
    assert called(LocalStore(tmp_path / "items.db", "t"), "get", **OWN) == {"found": False}


def test_a_bug_is_an_internal_error_whose_details_are_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(LocalStore):
        async def get(self, key: Key) -> Item | None:
            raise RuntimeError("secret detail")

        async def put(self, item: Item, condition: WriteCondition, *, room: int | None = None) -> Written:
            raise RuntimeError("secret detail")

    store = Broken(tmp_path / "items.db", "t")
    for operation, arguments in (("get", OWN), ("put", {"items": [OWN]})):
        with pytest.raises(Internal) as failed:
            called(store, operation, **arguments)
        assert "secret detail" not in failed.value.message + failed.value.next
        number = failed.value.message.split()[-1].rstrip(".")
        assert number in caplog.text
    assert "secret detail" in caplog.text
