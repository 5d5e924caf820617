"""`purge` on a platform that shows a part of the items at a time and never says whether that was all."""

from __future__ import annotations

import pytest
from anyio.from_thread import BlockingPortal

from ddb_mcp.core.errors import Unavailable
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.transfer.purge import ItemCount, PurgeResult, count_items, delete_all
from tests.platform.conftest import Client
from tests.platform.documented import PREFIX, DocumentedPlatform

NEIGHBOUR = (PREFIX + "4#user", "1")


def silent(items: int) -> None:
    pass


@pytest.fixture(autouse=True)
def items(platform: DocumentedPlatform) -> None:
    for at in range(150):
        platform.items[PREFIX + "#user", str(at)] = {"pk": PREFIX + "#user", "sk": str(at)}
    platform.items[NEIGHBOUR] = {"pk": NEIGHBOUR[0], "sk": NEIGHBOUR[1]}


def test_purge_goes_on_as_long_as_a_platform_shows_others(
    platform: DocumentedPlatform, client: Client, portal: BlockingPortal
) -> None:
    platform.answer = lambda operation, result: {"items": result["items"][:10]} if "items" in result else result
    assert portal.call(count_items, client.store, Prefix(PREFIX)) == ItemCount(10, exact=False)
    assert portal.call(delete_all, client.store, Prefix(PREFIX), silent) == PurgeResult(150, complete=False)
    assert platform.items.keys() == {NEIGHBOUR}
    asked = [body for operation, body in platform.requests if operation == "scan"]
    assert asked == [{"limit": 1000}] * 17


def test_purge_gives_up_on_items_that_stay(
    platform: DocumentedPlatform, client: Client, portal: BlockingPortal
) -> None:
    item = {"pk": PREFIX + "#undead", "sk": "1"}
    platform.answer = lambda operation, result: {"items": [item]} if "items" in result else result
    with pytest.raises(Unavailable, match="still shows"):
        portal.call(delete_all, client.store, Prefix(PREFIX), silent)
