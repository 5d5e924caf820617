"""Tables as files: the configured table is the local mode's file, and other tables are files next to it."""

import os
import re
from bisect import bisect_right
from pathlib import Path

from ddb_mcp.config.settings import registry_path
from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.endpoint.errors import EndpointError, make_validation_error
from ddb_mcp.stores.local.table import LocalTable

REGION = "local"
ACCOUNT = "000000000000"
_SUFFIX = ".sqlite3"
# Suffixes of SQLite's files for a database: https://sqlite.org/tempfiles.html
_BESIDE = ("", "-wal", "-shm", "-journal")
# The longest file name of common file systems, and the longest path of SQLite.
_NAME_MAX = 255
_PATH_MAX = 512
# The number of tables kept open, with three files each.
_OPEN_MAX = 32
_ARN = re.compile(r"arn:aws[a-z-]*:dynamodb:[^:]*:[^:]*:table/(.+)")


class Tables:
    """The tables in a directory. Keeps the last `_OPEN_MAX` tables open.

    Args:
        name: the name of the configured table.
        path: the file of the configured table.

    Attributes:
        location: name and path, as reported to clients.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._reserved = _files(path) | _files(registry_path(path))
        self.location = {"table": name, "file": str(path)}
        self._open: dict[str, tuple[LocalTable, tuple[int, int]]] = {}

    async def find(self, name_or_arn: str) -> tuple[str, LocalTable]:
        """Return a table's name and the table.

        Raises:
            EndpointError: it does not exist.
        """
        name = parse_table_name(name_or_arn)
        table = await self._existing(name)
        if table is None:
            raise EndpointError(
                "ResourceNotFoundException",
                f"Requested resource not found: Table: {name} not found. The endpoint's own table is {self._name}; "
                "`ddb-mcp call provision` creates it, and CreateTable creates others.",
            )
        return name, table

    async def _existing(self, name: str) -> LocalTable | None:
        path = self._path_of(name)
        if self._is_reserved(name):
            return None
        table, known = self._open.pop(name, (LocalTable(path), None))
        try:
            status = path.stat()
        except OSError:
            return None
        # Checking the file needs a worker thread, so it is done once per file.
        inode = (status.st_dev, status.st_ino)
        if (known != inode or not status.st_size) and not (path.is_file() and await _is_ours(table)):
            return None
        self._open[name] = table, inode
        if len(self._open) > _OPEN_MAX:
            oldest, _ = self._open.pop(next(iter(self._open)))
            await oldest.close()
        return table

    async def make(self, name: str) -> LocalTable | None:
        """Create a table. Return None if it exists.

        Raises:
            EndpointError: the name cannot be used.
        """
        if problem := self._problem(name):
            raise make_validation_error(f"The ddb-mcp endpoint cannot create the table {name[:80]}: {problem}.")
        table = LocalTable(self._path_of(name))
        if await _is_ours(table) is None:
            raise make_validation_error(
                f"The ddb-mcp endpoint cannot create the table {name[:80]}: another program's file has this name."
            )
        return table if await table.create() else None

    async def names(self, after: str, most: int) -> list[str]:
        """Return the first table names after a text, in order. Opens only the files of these tables."""
        files = {path.name.removesuffix(_SUFFIX) for path in self._path.parent.glob(f"*{_SUFFIX}")}
        names = sorted(filter(is_table_name, files | {self._name}))
        found: list[str] = []
        for name in names[bisect_right(names, after) :]:
            found += [name] if len(found) < most and await self._existing(name) is not None else []
        return found

    async def close(self) -> None:
        """Close the files of all tables."""
        for table, _ in self._open.values():
            await table.close()

    def _path_of(self, name: str) -> Path:
        return self._path if name == self._name else self._path.parent / f"{name}{_SUFFIX}"

    def _is_reserved(self, name: str) -> bool:
        return name != self._name and not self._reserved.isdisjoint(_files(self._path_of(name)))

    def _problem(self, name: str) -> str | None:
        """Return why a table with this name cannot have a file; None if it can."""
        if self._is_reserved(name):
            return "its file would be that of the configured table or of a gateway's registry"
        longest = os.fsencode(self._path_of(name).absolute()) + _BESIDE[-1].encode()
        if len(os.path.basename(longest)) > _NAME_MAX or len(longest) > _PATH_MAX:
            return "its file name would be too long for this file system"
        return None


def _files(path: Path) -> frozenset[str]:
    """Return the names of a file and of SQLite's files next to it, in lower case."""
    return frozenset((path.name + ending).casefold() for ending in _BESIDE)


async def _is_ours(table: LocalTable) -> bool | None:
    """Return whether the table's file exists; None if it belongs to another program or is a registry."""
    try:
        return await table.exists()
    except Misconfigured:
        return None


def is_table_name(text: str) -> bool:
    """Return whether a text is a valid table name."""
    return re.fullmatch("[a-zA-Z0-9_.-]{3,255}", text) is not None


def is_arn(text: str) -> bool:
    """Return whether a text is a table's ARN."""
    return _ARN.fullmatch(text) is not None


def parse_table_name(name_or_arn: str) -> str:
    """Return the table's name. Raises EndpointError."""
    arn = _ARN.fullmatch(name_or_arn)
    name = arn[1] if arn else name_or_arn
    if len(name) < 3:
        problem = f"Value '{name}' at 'tableName' failed to satisfy constraint: Member must have length"
        raise make_validation_error(f"1 validation error detected: {problem} greater than or equal to 3")
    if not is_table_name(name):
        raise make_validation_error(
            "Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain "
            "only the characters a-z, A-Z, 0-9, '_', '-', and '.'"
        )
    return name


def make_arn(name: str) -> str:
    """Return a table's ARN, in a fictitious account and region."""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


def make_access_denied(operation: str, name: str, why: str) -> EndpointError:
    """Return IAM's error for a denied operation, followed by the reason."""
    return EndpointError(
        "AccessDeniedException",
        f"User: arn:aws:iam::{ACCOUNT}:user/local is not authorized to perform: dynamodb:{operation} on resource: "
        f"{make_arn(name)}. {why}",
    )
