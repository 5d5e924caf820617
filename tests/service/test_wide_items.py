"""Items of very many members: other calls go on meanwhile, and a listing holds few of them."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from ddb_mcp.core import limits
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import count_bytes
from ddb_mcp.service.reading.pages import PageReader
from ddb_mcp.service.reading.projections import Projection, parse_projection
from ddb_mcp.service.results import PageResult
from ddb_mcp.service.service import ignore_progress
from ddb_mcp.stores.base import Position, Read, StorePage

WIDE: Item = {f"{at:x}": {"NULL": True} for at in range(20_000)}


def wide(number: int) -> list[Item]:
    return [{"pk": {"S": "deploy#me#p"}, "sk": {"S": f"{at:02}"}, **WIDE} for at in range(number)]


def listing_of(
    fetch: Callable[[Read], Awaitable[StorePage]],
    view: Any,
    position: Position | None = None,
    projection: Projection | None = None,
) -> PageReader:
    return PageReader(
        fetch,
        Prefix("deploy#me"),
        Read(pk="deploy#me#p", limit=1000, position=position),
        view=view,
        projection=projection,
        max_bytes=32768,
        cursor_bytes=0,
        carried=0,
        seal=lambda position, total: str(position),
    )


async def listed(items: list[Item], view: Any, position: Position | None = None) -> tuple[PageResult, int]:
    """A page of a listing of these items, and how often another task had its turn meanwhile."""
    start, turns = position or 0, 0

    async def after(at: int) -> Position:
        return start + at + 1

    async def fetch(read: Read) -> StorePage:
        return StorePage(items[start:], None, len(items) - start, after)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    listing = listing_of(fetch, view, position)
    async with anyio.create_task_group() as group:
        group.start_soon(count_turns)
        await checkpoint()
        page = await listing.read_page(ignore_progress)
        group.cancel_scope.cancel()
    return page, turns


@pytest.mark.parametrize("view", ["items", "summary"])
def test_others_have_their_turn_with_every_item(view: str) -> None:
    page, turns = anyio.run(listed, wide(8), view)
    assert page["complete"] is (view == "summary")
    shown = len(page["items"]) if view == "items" else page["count"]
    assert shown >= 3
    assert turns >= shown
    assert count_bytes(page) <= 32768


class Remembered(dict[str, Any]):
    """An item of which one can tell whether anything holds it still."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("attributes", [None, ["a"]])
def test_a_listing_does_not_hold_the_items_of_its_pages(attributes: list[str] | None) -> None:
    alive: weakref.WeakValueDictionary[int, Remembered] = weakref.WeakValueDictionary()
    most = 0

    async def fetch(read: Read) -> StorePage:
        nonlocal most
        most = max(most, len(alive))
        at = (read.position or 0) + 1
        item = Remembered({"pk": {"S": "deploy#me#p"}, "sk": {"S": f"{at:02}"}, "a": {"S": "x"}})
        alive[at] = item

        async def after(at: int) -> Position:
            raise AssertionError("no page is left in its middle")

        return StorePage([item], at if at < 20 else None, 1, after)

    async def listed_all() -> PageResult:
        return await listing_of(fetch, "items", projection=parse_projection(attributes, parts=False)).read_page(
            ignore_progress
        )

    page = anyio.run(listed_all)
    assert (page["count"], page["complete"]) == (20, True)
    assert most <= 2  # the first, and the last until its page is replaced


def test_what_is_out_of_time_in_the_middle_of_a_page_goes_on_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform is asked for the position in the middle of its page, and may not answer in time."""
    stored: list[Item] = [
        {"pk": {"S": "deploy#me#p"}, "sk": {"S": f"{at:02}"}, "a": {"S": "x" * 900}} for at in range(50)
    ]
    monkeypatch.setattr(limits, "READ_SECONDS", 0)  # the call ends where it first waits

    async def after(at: int) -> Position:
        await anyio.sleep_forever()
        raise AssertionError("nobody wakes it")

    async def fetch(read: Read) -> StorePage:
        start = read.position or 0
        end = start + (10 if start == 0 else 40)
        return StorePage(stored[start:end], end if end < 50 else None, end - start, after)

    page = anyio.run(listing_of(fetch, "items").read_page, ignore_progress)
    assert [item["sk"] for item in page["items"]] == [f"{at:02}" for at in range(10)]
    assert (page["complete"], page["stopped"], page["cursor"]) == (False, "timeout", "10")
