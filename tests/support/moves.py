"""A partition of a local file that is renamed while its process is killed."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 1000
# So long that the move takes many transactions.
_TEXT = "x" * 5000


def items_to_move(pk: str) -> Iterator[list[dict[str, Any]]]:
    """The items of a partition, in batches."""
    for start in range(0, COUNT, 100):
        yield [{"pk": pk, "sk": f"{at:04}", "n": at, "text": _TEXT} for at in range(start, start + 100)]


def wait_for_some_moved(file: Path, pk: str) -> None:
    """Return as soon as there are items in the new partition."""
    with closing(sqlite3.connect(file)) as connection:
        wait_until(lambda: connection.execute("SELECT 1 FROM items WHERE pk = ?", (pk.encode(),)).fetchone())


def list_places(file: Path) -> dict[str, list[str]]:
    """The partition keys under which each item is, by its attributes and its sort key."""
    places = defaultdict(list)
    with closing(sqlite3.connect(file)) as connection:
        for pk, document in connection.execute("SELECT pk, document FROM items"):
            item = json.loads(document)
            del item["pk"]
            places[json.dumps(item, sort_keys=True)].append(pk.decode())
    assert len(places) == COUNT
    return dict(places)
