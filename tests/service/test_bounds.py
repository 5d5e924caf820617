"""No answer costs more than its request's budget: what is built, held and compared for it is counted here."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ddb_mcp.core.errors import ConditionFailed
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.text import size
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import Condition
from ddb_mcp.stores.local.store import LocalStore

pytestmark = pytest.mark.anyio
OWN = "deploy#bounds"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path / "items.sqlite3", "t")
    yield store
    anyio.run(store.close)


def service(store: LocalStore, **options: Any) -> DataService:
    return DataService(store, Prefix(OWN), **options)


def wide(sk: str, members: int) -> dict[str, Any]:
    return {"pk": f"{OWN}#a", "sk": sk, "wide": [None] * members}


# Batches


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("put", {"items": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)]}),
        ("put", {"items": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)], "create_only": True}),
        ("put", {"items": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)], "remove": ["wide"]}),
        ("delete", {"keys": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)]}),
        ("delete", {"keys": [{"pk": f"{OWN}#a", "sk": str(at)} for at in range(32)], "expect": {"n": 1}}),
        ("delete", {"where": {"pk": f"{OWN}#a"}}),
    ],
)
async def test_a_batch_holds_one_old_item_at_a_time(
    store: LocalStore, operation: str, arguments: dict[str, Any]
) -> None:
    members = 2000  # nearly half a megabyte of Python's objects
    await service(store).call("put", {"items": [wide(str(at), members) for at in range(32)]})
    tracemalloc.start()
    try:
        await service(store).call(operation, arguments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_500_000


async def test_failures_beyond_the_bytes_of_a_result_keep_their_code(store: LocalStore) -> None:
    items = [{"pk": f"{OWN}#a", "sk": str(at), "text": "x" * 2000} for at in range(100)]
    await service(store).call("put", {"items": items})
    result = await service(store).call("put", {"items": items, "create_only": True})
    assert size(result) <= 32768
    errors = [failure["error"] for failure in result["failed"]]
    assert [failure["index"] for failure in result["failed"]] == list(range(100))
    assert {error["code"] for error in errors} == {"condition_failed"}
    assert errors[0]["item"]["text"] == "x" * 2000
    assert errors[99] == {"code": "condition_failed"}


async def test_an_outcome_with_no_room_names_what_is_gone(store: LocalStore) -> None:
    item = {"pk": {"S": f"{OWN}#a"}, "sk": {"S": "1"}, "m": {"M": {str(at): {"N": "1"} for at in range(1000)}}}
    await store.put(item, Condition())
    with pytest.raises(ConditionFailed) as caught:
        await store.put(item, Condition(create_only=True), room=100)
    assert caught.value.item is None
    assert caught.value.exists
    written = await store.put({**item, "m": {"M": {}}}, Condition(), room=100)
    assert (written.created, written.dropped, written.updated) == (False, {}, {})
    assert len(written.gone) == 100
    deleted = await store.delete(Key(f"{OWN}#a", "1"), Condition(), room=100)
    assert deleted == (True, None)
