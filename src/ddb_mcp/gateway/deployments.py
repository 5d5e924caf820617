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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ddb_mcp.errors import InvalidArgument, Misconfigured
from ddb_mcp.keys import Prefix

REQUESTS_PER_SECOND = 500
ITEMS_PER_SECOND = 20_000

_APPLICATION_ID = 0x64646D67
_SCHEMA_VERSION = 1
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
    """

    def __init__(self, path: Path, storage: str) -> None:
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._open(storage)
        except (OSError, sqlite3.Error) as error:
            problem = error.strerror if isinstance(error, OSError) else str(error)
            raise Misconfigured(
                f"The registry of deployments {path} cannot be used: {problem}.", next="Correct it, or use --registry."
            ) from None

    def _open(self, storage: str) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not tables:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                facts = [("cursor_key", os.urandom(32)), ("storage", storage.encode())]
                connection.executemany("INSERT INTO facts VALUES (?, ?)", facts)
            elif application != _APPLICATION_ID or version != _SCHEMA_VERSION:
                raise Misconfigured(
                    f"{self.path} is not a registry of deployments that this version knows.", next="Use --registry."
                )
        if (owner := self._fact("storage").decode()) != storage:
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
        requests_per_second: int = REQUESTS_PER_SECOND,
        items_per_second: int = ITEMS_PER_SECOND,
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
        with self._transaction():
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
        with self._transaction():
            if self._named(name).removing:
                raise InvalidArgument(f"The deployment {name} is being removed.", next="Finish its removal.")
            update = "UPDATE deployments SET token_id = ?, token_hash = ? WHERE name = ?"
            self._connection.execute(update, (token_id, token_hash, name))
        return token

    def close_off(self, name: str) -> Tenant:
        """End a deployment's token, before its data are deleted. Raises InvalidArgument if there is no such one."""
        with self._transaction():
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

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _new_token() -> tuple[str, str, bytes]:
    token_id = secrets.token_hex(8)
    token = f"ddbmcp_{token_id}_{secrets.token_urlsafe(32)}"
    return token, token_id, _hash(token)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _tenant(row: tuple[str, str, str | None, int, int, int]) -> Tenant:
    name, prefix, token_id, requests, items, created = row
    return Tenant(name, Prefix(prefix), requests, items, token_id is None, created)
