"""Who may use the gateway: deployments, each with one prefix, one token and its rates, in an SQLite file.

A token is shown once, when it is made, and kept as a SHA-256 hash: it is 256 random bits, so nothing slower is needed.
"""

import hashlib
import hmac
import os
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument, Misconfigured
from ddb_mcp.core.keys import Prefix
from ddb_mcp.stores.local.file import SqliteFile, transaction

_APPLICATION_ID = 0x64646D67
_SCHEMA = """
CREATE TABLE deployments (
    name TEXT PRIMARY KEY,
    prefix TEXT NOT NULL UNIQUE,
    token_id TEXT UNIQUE,
    token_hash BLOB,
    requests_per_second INTEGER NOT NULL,
    items_per_second INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""
_COLUMNS = "name, prefix, token_id, requests_per_second, items_per_second, created"
_BUSY_SECONDS = 5
_TOKEN = re.compile(r"ddbmcp_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Tenant:
    """A deployment as the registry has it.

    Attributes:
        removing: its removal has begun: no token opens it, and its data are being deleted.
        created: seconds since 1970.
    """

    name: str
    prefix: Prefix
    requests_per_second: int
    items_per_second: int
    removing: bool
    created: int


class Registry:
    """The deployments in one file, which is made if it is missing. For one thread; any number of processes.

    Args:
        path: the file. Its directory is made, for the user alone, where it is missing.
        storage: which table or file the deployments' data are in. The file remembers it, so that a deployment is never
            removed from the registry while its data are deleted from somewhere else.

    Raises:
        Misconfigured: the file is not a registry, not writable, or belongs to other storage.
        Unavailable: the disk is full or fails, or another process holds the write lock for long.
    """

    def __init__(self, path: Path, storage: str) -> None:
        self.path = path
        file = SqliteFile(path, application_id=_APPLICATION_ID, schema=[_SCHEMA], setting="--registry")
        try:
            file.inode(create=True)
            self._connection, _ = file.connect(_BUSY_SECONDS)
            self._claim(storage)
        except (OSError, sqlite3.Error) as error:
            raise file.explained(error) from error

    def _claim(self, storage: str) -> None:
        facts = [("cursor_key", os.urandom(32)), ("storage", storage.encode())]
        self._connection.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts)
        if (owner := self._fact("storage").decode()) != storage:
            self.close()
            raise Misconfigured(
                f"The registry {self.path} is for {owner}, and {storage} is configured.",
                next="Configure the same storage as before, or use another file with --registry.",
            )

    @property
    def cursor_key(self) -> bytes:
        """What seals cursors, the same for every process and after every restart."""
        return self._fact("cursor_key")

    def add(
        self,
        name: str,
        prefix: Prefix,
        *,
        requests_per_second: int = limits.TENANT_REQUESTS_PER_SECOND,
        items_per_second: int = limits.TENANT_ITEMS_PER_SECOND,
    ) -> str:
        """Register a deployment. Returns its token.

        Raises:
            InvalidArgument: the name is malformed or taken, or the prefix overlaps another's.
        """
        if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
            raise InvalidArgument(
                f"{name!r} is no name for a deployment.", next="Use up to 63 letters, digits, `.`, `_` or `-`."
            )
        token, token_id, token_hash = _new_token()
        with transaction(self._connection):
            for other in self.list():
                if other.name == name:
                    what = "is being removed" if other.removing else "exists already"
                    raise InvalidArgument(f"The deployment {name} {what}.", next="Rotate its token, or remove it.")
                if prefix.overlaps(other.prefix):
                    raise InvalidArgument(
                        f"The prefix {prefix.text!r} overlaps {other.prefix.text!r} of the deployment {other.name}.",
                        next="Choose a prefix that neither contains another nor is contained in one.",
                    )
            row = (name, prefix.text, token_id, token_hash, requests_per_second, items_per_second, int(time.time()))
            self._connection.execute("INSERT INTO deployments VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return token

    def list(self) -> list[Tenant]:
        """All deployments by name, those that are being removed included."""
        return list(map(_tenant, self._connection.execute(f"SELECT {_COLUMNS} FROM deployments ORDER BY name")))

    def rotate(self, name: str) -> str:
        """Give a deployment a new token; the old one ends at once. Raises InvalidArgument if there is none."""
        token, token_id, token_hash = _new_token()
        with transaction(self._connection):
            if self._named(name).removing:
                raise InvalidArgument(f"The deployment {name} is being removed.", next="Finish its removal.")
            update = "UPDATE deployments SET token_id = ?, token_hash = ? WHERE name = ?"
            self._connection.execute(update, (token_id, token_hash, name))
        return token

    def close_off(self, name: str) -> Tenant:
        """End a deployment's token, before its data are deleted. Raises InvalidArgument if there is no such one."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE deployments SET token_id = NULL, token_hash = NULL WHERE name = ?", (name,)
            )
            return self._named(name)

    def forget(self, name: str) -> None:
        """Remove a deployment, after its data are deleted."""
        self._connection.execute("DELETE FROM deployments WHERE name = ?", (name,))

    def by_token(self, token: str) -> Tenant | None:
        """The deployment that a token opens."""
        parts = _TOKEN.fullmatch(token)
        row = None
        if parts:
            found = self._connection.execute(
                f"SELECT token_hash, {_COLUMNS} FROM deployments WHERE token_id = ?", (parts[1],)
            )
            row = found.fetchone()
        expected = row[0] if row else bytes(32)
        return _tenant(row[1:]) if hmac.compare_digest(expected, _hash(token)) and row else None

    def close(self) -> None:
        self._connection.close()

    def _named(self, name: str) -> Tenant:
        found = self._connection.execute(f"SELECT {_COLUMNS} FROM deployments WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise InvalidArgument(f"There is no deployment {name!r}.", next="List them with: deployments list")
        return _tenant(found)

    def _fact(self, name: str) -> bytes:
        (value,) = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return bytes(value)


def _new_token() -> tuple[str, str, bytes]:
    token_id = secrets.token_hex(8)
    token = f"ddbmcp_{token_id}_{secrets.token_urlsafe(32)}"
    return token, token_id, _hash(token)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _tenant(row: tuple[str, str, str | None, int, int, int]) -> Tenant:
    name, prefix, token_id, requests, items, created = row
    return Tenant(name, Prefix(prefix), requests, items, token_id is None, created)
