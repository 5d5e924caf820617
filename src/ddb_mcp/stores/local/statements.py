"""The schema of a local table's file, and the statements on its rows."""

import json
import logging
import re
import sqlite3
import threading
import time
from binascii import crc32
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from ddb_mcp.core import limits
from ddb_mcp.core.indexes import Index, IndexKey, KeyType
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.local.file import is_passing

SWEEP_ROWS = 100


logger = logging.getLogger(__name__)

# For each version, what makes it out of the version before.
SCHEMA = (
    """
CREATE TABLE items (pk BLOB NOT NULL, sk BLOB NOT NULL, document TEXT NOT NULL, expires INTEGER, PRIMARY KEY (pk, sk))
    WITHOUT ROWID;
CREATE INDEX items_expires ON items (expires) WHERE expires IS NOT NULL;
""",
    """
CREATE TABLE tokens (token TEXT PRIMARY KEY, request BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tokens_expires ON tokens (expires);
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('created', strftime('%s', 'now')), ('id', lower(hex(randomblob(16))));
""",
    # An SQLite index of each secondary index calls `index_key`, which older versions lack.
    """
CREATE TABLE indexes (name TEXT PRIMARY KEY, definition TEXT NOT NULL) WITHOUT ROWID;
""",
)


class _IndexKeys(threading.local):
    """`index_key(document, name, type)` in SQL: the sort bytes of an item's index key, NULL if it has no such key.

    SQLite calls it several times for each document that it stores or deletes. Each thread keeps the last one.
    """

    def __init__(self) -> None:
        self._document = ""
        self._item: Any = {}

    def __call__(self, document: str, name: bytes, kind: str) -> bytes | None:
        try:
            if document != self._document:
                self._document, self._item = document, json.loads(document)
            return IndexKey(name.decode(), cast("KeyType", kind)).get_sort_bytes(self._item)
        except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):  # a damaged document
            self._document, self._item = "", {}
            return None


def get_segment(pk: bytes, segments: int) -> int:
    """Return the segment of a parallel scan that a partition is in. It never changes, in any process."""
    return crc32(pk) * segments >> 32


def add_functions(connection: sqlite3.Connection) -> None:
    """Add the functions that the statements of this module use to a connection."""
    connection.create_function("segment_of", 2, get_segment, deterministic=True)
    connection.create_function("index_key", 3, _IndexKeys(), deterministic=True)


def _quote_index_name(name: str) -> str:
    return f"secondary_{name.encode().hex()}"  # SQLite ignores the case of names


def format_index_key(key: IndexKey) -> str:
    """Return the SQL of an item's index key. The attribute's name is a literal of digits: it cannot end the SQL."""
    return f"index_key(document, x'{key.name.encode().hex()}', '{key.type}')"


def format_presence(index: Index) -> str:
    """Return the SQL of whether an item is in the index."""
    return " AND ".join(f"{format_index_key(key)} IS NOT NULL" for key in index.keys)


def count_items(connection: sqlite3.Connection, index: Index) -> int:
    """Return how many items are in the index."""
    (count,) = connection.execute(f"SELECT count(*) FROM items WHERE {format_presence(index)}").fetchone()
    return int(count)


@lru_cache(maxsize=256)
def _parse_index(definition: str) -> Index:
    return Index.from_json(json.loads(definition))


def load_indexes(connection: sqlite3.Connection) -> tuple[Index, ...]:
    """Return the table's secondary indexes in the order of their names. Raises sqlite3.DataError if one is damaged."""
    try:
        found = connection.execute("SELECT definition FROM indexes ORDER BY name").fetchall()
    except sqlite3.OperationalError as error:
        if is_passing(error):
            raise
        return ()  # a file of an older version that may not be written
    try:
        return tuple(_parse_index(definition) for (definition,) in found)
    except (ValueError, TypeError, KeyError) as error:
        raise sqlite3.DataError("an index's definition is damaged") from error


def create_index(connection: sqlite3.Connection, index: Index) -> None:
    """Create a secondary index over existing and future items."""
    keys = ", ".join(map(format_index_key, index.keys))
    name = _quote_index_name(index.name)
    connection.execute(f"CREATE INDEX {name} ON items ({keys}, pk, sk) WHERE {format_presence(index)}")
    connection.execute(
        "INSERT INTO indexes VALUES (?, ?)", (index.name, json.dumps({**index.to_json(), "local": index.local}))
    )


def drop_index(connection: sqlite3.Connection, name: str) -> None:
    """Drop a secondary index. Nothing happens if there is none with this name."""
    connection.execute(f"DROP INDEX IF EXISTS {_quote_index_name(name)}")
    connection.execute("DELETE FROM indexes WHERE name = ?", (name,))


def encode_key(key: Key) -> tuple[bytes, bytes]:
    """Encode a key in UTF-8, so that SQLite's order is DynamoDB's."""
    return key.pk.encode(), key.sk.encode()


def load_document(connection: sqlite3.Connection, key: Key) -> str | None:
    """Return the JSON of the item with a key, None if there is none. Raises sqlite3.DataError if it is not text."""
    row = connection.execute("SELECT document FROM items WHERE pk = ? AND sk = ?", encode_key(key)).fetchone()
    if row and not isinstance(row[0], str):
        raise sqlite3.DataError("a stored item is damaged")
    return row[0] if row else None


def store_item(connection: sqlite3.Connection, key: Key, item: Item | None) -> None:
    """Make `item` the item of the key; None deletes it."""
    if item is None:
        connection.execute("DELETE FROM items WHERE pk = ? AND sk = ?", encode_key(key))
        return
    document = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    connection.execute(
        "INSERT OR REPLACE INTO items (pk, sk, document, expires) VALUES (?, ?, ?, ?)",
        (*encode_key(key), document, _get_expiry(item)),
    )


def _get_expiry(item: Item) -> int | None:
    number = item.get("ttl", {}).get("N")
    if number is None or not 0 < (exact := Decimal(number)) < 2**62:
        return None
    return int(exact)


def load_facts(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the facts about the table, by name. Raises sqlite3.DataError if they are damaged."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'about'").fetchone():
        return {}  # a file of the first version that may not be written
    facts: dict[str, str] = dict(connection.execute("SELECT name, value FROM about"))
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        tags = json.loads(facts.get("tags", "{}"))
        texts = [*facts, *facts.values(), *tags, *tags.values()]
        is_sound = all(isinstance(text, str) for text in texts)
        if is_sound and facts.get("created", "0").isdecimal() and re.fullmatch("[0-9a-f]{0,32}", facts.get("id", "")):
            return facts
    raise sqlite3.DataError("the facts about the table are damaged")


def sweep(connection: sqlite3.Connection) -> bool:
    """Delete a few items whose time to live is over, as DynamoDB does some time after it. False: there may be more.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
    """
    if load_facts(connection).get("ttl") == "off":
        return True
    now = int(time.time())
    expired = "SELECT pk, sk FROM items WHERE expires BETWEEN ? AND ? LIMIT ?"
    try:
        swept = connection.execute(
            f"DELETE FROM items WHERE (pk, sk) IN ({expired})",
            (now - limits.TTL_PAST_SECONDS, now - 1, SWEEP_ROWS),
        ).rowcount
    except sqlite3.Error as error:
        if is_passing(error):
            raise
        logger.warning("Expired items could not be swept: %s", error.sqlite_errorname)
        return True
    return swept < SWEEP_ROWS
