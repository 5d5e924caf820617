"""A file that another process holds: SDKs are told to call again, and nothing was done."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from ddb_mcp.endpoint.app import Endpoint
from ddb_mcp.endpoint.requests import EndpointAccess
from ddb_mcp.endpoint.tables import Tables
from ddb_mcp.stores.local import deadline
from ddb_mcp.web.listening import listen
from ddb_mcp.web.serving import HttpServer
from tests.endpoint.support import Table, key, refused
from tests.support.engines import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """On an endpoint in this process, so that its limits can be changed."""
    listener = listen("127.0.0.1", 0)
    server = HttpServer(Endpoint(Tables("items", tmp_path / "items.sqlite3"), EndpointAccess()), listener)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Table(Engine("endpoint", f"http://127.0.0.1:{listener.getsockname()[1]}"))
    server.stop()
    thread.join(300)


def test_a_lock_that_is_not_had_in_time(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = table.put("1")
    monkeypatch.setattr(deadline, "LOCK_SECONDS", 0.3)
    other: dict[str, Any] = {"PutRequest": {"Item": key("2")}}
    with closing(sqlite3.connect(tmp_path / f"{table.name}.sqlite3", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        table.fails("put_item", "ThrottlingException", "locked by another process", Item=key("2"))
        with pytest.raises(ClientError) as caught:
            table.client.batch_write_item(RequestItems={table.name: [other]})
        refused(caught.value, "ThrottlingException", "locked by another process")
        assert table.get("1") == item  # readers wait for nobody
        connection.execute("ROLLBACK")
    assert table.get("2") is None
    table.put("2")


def test_a_write_waits_for_a_lock_that_is_given_back(table: Table, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / f"{table.name}.sqlite3", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        writing = threading.Thread(target=table.put, args=("1",))
        writing.start()
        writing.join(0.3)
        assert writing.is_alive()
        connection.execute("ROLLBACK")
        writing.join(300)
    assert table.get("1") == key("1")
