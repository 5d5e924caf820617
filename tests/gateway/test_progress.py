"""Progress notifications tell nothing of other tenants' items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from ddb_mcp.stores.base import Read, StorePage
from ddb_mcp.stores.local.store import LocalStore
from tests.gateway.running import running_gateway
from tests.support.through_mcp import connected

if TYPE_CHECKING:
    from pathlib import Path


class SharedTable(LocalStore):
    """A table that only a scan over all tenants' items can list: pages of others' items come before the own ones.

    It stands in for direct mode, where an engine decides which items share a page.
    """

    mode = "direct"
    foreign_pages = 0

    async def scan(self, read: Read) -> StorePage:
        number = read.position or 0
        assert isinstance(number, int)
        if number == self.foreign_pages:
            return await super().scan(read._replace(position=None))

        async def after(at: int) -> int:
            return number

        return StorePage([], number + 1, 100, after)


def test_pages_without_own_items_are_not_reported(tmp_path: Path) -> None:
    told: list[str | None] = []
    store = SharedTable(tmp_path / "items.sqlite3", "gateway-table")
    item = {"pk": "deploy#progress#a", "sk": "1"}

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async def scan_twice(url: str, token: str) -> None:
        async with connected(url, token) as client:
            await client.call_tool("put", {"item": item})
            for store.foreign_pages in (0, 5):
                result = await client.call_tool("scan", {}, progress_callback=note)
                assert result.structured_content is not None
                assert result.structured_content["items"] == [item]
                assert result.structured_content["scanned"] == 1

    with running_gateway(store, tmp_path) as gateway:
        anyio.run(scan_twice, gateway.url, gateway.token("deploy#progress"))
    assert told == []
