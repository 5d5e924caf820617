"""Items whose time to live is over: swept as others are written, a few at a time, and never one that was renewed."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest

from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.local import write_queue
from ddb_mcp.stores.local.store import LocalStore
from tests.local.data import Child, Data, pk

if TYPE_CHECKING:
    from pathlib import Path

YEAR = 365 * 24 * 3600


@pytest.fixture
def expired() -> int:
    return int(time.time()) - 3600


@pytest.fixture
def unswept(data: Data, monkeypatch: pytest.MonkeyPatch) -> Data:
    """Data in which no sweep is due for now."""
    data.put("0")
    data.call("delete", pk=pk("a"), sk="0")
    monkeypatch.setattr(write_queue, "SWEEP_SECONDS", 3600)
    return data


def test_what_is_put_expired_can_be_read_until_the_next_sweep(data: Data, expired: int) -> None:
    data.put_all([{"pk": pk("late"), "sk": "1", "ttl": expired}])
    assert data.call("get", pk=pk("late"), sk="1")["found"] is True


def test_no_expiry_is_predicted_while_ttl_is_off(tmp_path: Path) -> None:
    """The app's `CreateTable` leaves it off; `provision` turns it on."""
    store = LocalStore(tmp_path / "items.sqlite3", "t")
    service = DataService(store, Prefix("deploy#me"))

    async def warnings() -> list[tuple[bool, str | None]]:
        await store.update_facts(lambda noted: {**noted, "ttl": "off"})
        found = []
        for operation in ("info", "provision", "info"):
            described = await service.run_operation(operation, {})
            written = await service.run_operation("put", {"item": {"pk": "deploy#me#a", "sk": "1", "ttl": 1}})
            found.append(("warnings" in written, described.get("ttl")))
        await store.close()
        return found

    assert anyio.run(warnings) == [(False, "disabled"), (True, None), (True, None)]


def test_a_hundred_at_a_time(unswept: Data, expired: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = unswept
    data.put_all([{"pk": pk("expired"), "sk": f"{at:03}", "ttl": expired} for at in range(250)])
    lasting = {
        "in the future": expired + 2 * YEAR,
        "no number": str(expired),
        "in milliseconds": expired * 1000,
        "over five years past": expired - 6 * YEAR,
        "before 1970": -1,
        "out of range": {"N": "1E+125"},
        "none": None,
    }
    data.put_all([{"pk": pk("lasting"), "sk": sk, "ttl": ttl} for sk, ttl in lasting.items()])

    def left() -> int:
        count: int = data.call("scan", pk_prefix=pk("expired"), view="count")["count"]
        return count

    assert left() == 250  # readable until it is swept
    monkeypatch.setattr(write_queue, "SWEEP_SECONDS", 0)
    counts = []
    for at in range(4):
        data.put(f"write {at}")
        counts.append(left())
    assert counts == [150, 50, 0, 0]
    assert data.call("query", pk=pk("lasting"))["count"] == len(lasting)


def test_a_sweep_without_much_to_do_is_the_last_for_a_while(unswept: Data, expired: int) -> None:
    unswept.put("1", ttl=expired)
    for at in range(3):
        unswept.put(f"write {at}")
    assert unswept.call("get", pk=pk("a"), sk="1")["found"] is True


def test_a_renewed_item_is_never_swept(
    unswept: Data, file: Path, expired: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = unswept
    items = [{"pk": pk("session"), "sk": f"{at:04}", "ttl": expired} for at in range(600)]
    data.put_all(items)
    renewed = [{**item, "ttl": expired + YEAR} for item in random.Random(1).sample(items, len(items))]
    monkeypatch.setattr(write_queue, "SWEEP_SECONDS", 0)
    with Child(file) as other:
        assert other.answer("info")["result"]["provisioned"] is True
        for start in range(0, len(renewed), 100):
            other.start("put", items=renewed[start : start + 100])
            data.put("sweep")
        results = [other.result()["result"] for _ in range(0, len(renewed), 100)]
    for at, result in enumerate(results):  # on a busy machine, a write may wait too long for the lock
        again = [renewed[at * 100 + failed["index"]] for failed in result["failed"] if failed["error"]["retryable"]]
        assert result["written"] + len(again) == 100
        data.put_all(again)
    assert data.call("scan", pk_prefix=pk("session"), view="count")["count"] == len(items)


def test_a_sweep_that_fails_does_not_fail_the_write(
    unswept: Data, file: Path, expired: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unswept.put("1", ttl=expired)
    monkeypatch.setattr(write_queue, "SWEEP_SECONDS", 0)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TRIGGER t BEFORE DELETE ON items BEGIN SELECT RAISE(ABORT, 'disk on fire'); END")
    unswept.put("2")
    assert unswept.sort_keys() == ["1", "2"]
    assert "could not be swept" in caplog.text
