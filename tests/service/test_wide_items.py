"""Items of very many members: other calls go on meanwhile, and one call converts a bounded number of members."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from ddb_mcp.core import limits
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import size
from ddb_mcp.service.listing import Listing
from ddb_mcp.service.results import PageResult
from ddb_mcp.stores.base import Position, Read, StorePage

WIDE: Item = {f"{at:x}": {"NULL": True} for at in range(20_000)}


def wide(number: int) -> list[Item]:
    return [{"pk": {"S": "deploy#me#p"}, "sk": {"S": f"{at:02}"}, **WIDE} for at in range(number)]


async def listed(items: list[Item], view: Any, position: Position | None = None) -> tuple[PageResult, int]:
    """A page of a listing of these items, and how often another task had its turn meanwhile."""
    start, turns = position or 0, 0

    async def after(at: int) -> Position:
        return start + at + 1

    async def fetch(read: Read) -> StorePage:
        return StorePage(items[start:], None, len(items) - start, after)

    async def progress(message: str) -> None:
        pass

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    listing = Listing(
        fetch,
        Prefix("deploy#me"),
        Read(pk="deploy#me#p", limit=1000, position=position),
        view=view,
        projection=None,
        max_bytes=32768,
        cursor_bytes=0,
        carried=0,
        seal=lambda position, total: str(position),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(count_turns)
        await checkpoint()
        page = await listing.run(progress)
        group.cancel_scope.cancel()
    return page, turns


@pytest.mark.parametrize("view", ["items", "summary"])
def test_others_have_their_turn_with_every_item(view: str) -> None:
    page, turns = anyio.run(listed, wide(8), view)
    assert page["complete"] is (view == "summary")
    shown = len(page["items"]) if view == "items" else page["count"]
    assert shown >= 3
    assert turns >= shown
    assert size(page) <= 32768


def test_a_call_ends_after_so_many_members_and_its_cursor_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTING_MEMBERS", 50_000)
    items, position, counts = wide(8), None, []
    while True:
        page, _ = anyio.run(listed, items, "summary", position)
        counts.append(page["count"])
        assert sum(group["count"] for group in page["groups"]) == page["count"]
        if page["complete"]:
            break
        assert page["stopped"] == "read_budget"
        assert "covers what this call read" in page["hint"]
        position = int(page["cursor"])
    assert counts == [3, 3, 2]
