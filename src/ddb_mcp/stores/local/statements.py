"""The schema of a local table's file, and the statements on its rows."""

import json
import logging
import re
import sqlite3
import time
from contextlib import suppress
from decimal import Decimal

from ddb_mcp.core import limits
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
)


def encode_key(key: Key) -> tuple[bytes, bytes]:
    """UTF-8, so that SQLite's order is DynamoDB's."""
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


def load_about(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the facts that are noted about the table, by name. Raises sqlite3.DataError if they are damaged."""
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
    if load_about(connection).get("ttl") == "off":
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
