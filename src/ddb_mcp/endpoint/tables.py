"""The tables: the configured table is the local mode's file, every other table is a file beside it."""

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
# SQLite's own files beside a file: https://sqlite.org/tempfiles.html
_BESIDE = ("", "-wal", "-shm", "-journal")
# File systems take no longer name, and SQLite no longer path.
_NAME_MAX = 255
_PATH_MAX = 512
# Tables that keep their connections, each of which has three files open.
_OPEN_MAX = 32
_ARN = re.compile(r"arn:aws[a-z-]*:dynamodb:[^:]*:[^:]*:table/(.+)")


class Tables:
    """The tables in a folder. Only tables that exist are remembered, and only the last `_OPEN_MAX` of them.

    Args:
        name: of the configured table.
        path: its file.

    Attributes:
        location: the two, for those who ask what this endpoint serves.
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
                "`ddb-mcp call provision` makes it, and CreateTable makes others.",
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
        # A look into the file takes a thread, so it is done once for each file.
        inode = (status.st_dev, status.st_ino)
        if (known != inode or not status.st_size) and not (path.is_file() and await _is_ours(table)):
            return None
        self._open[name] = table, inode
        if len(self._open) > _OPEN_MAX:
            oldest, _ = self._open.pop(next(iter(self._open)))
            await oldest.close()
        return table

    async def make(self, name: str) -> LocalTable | None:
        """Create a table. Return None if there is one with this name.

        Raises:
            EndpointError: this endpoint cannot have a table with this name.
        """
        if problem := self._problem(name):
            raise make_validation_error(f"The endpoint of ddb-mcp cannot create the table {name[:80]}: {problem}.")
        table = LocalTable(self._path_of(name))
        if await _is_ours(table) is None:
            raise make_validation_error(
                f"The endpoint of ddb-mcp cannot create the table {name[:80]}: another program's file has its name."
            )
        return table if await table.create() else None

    async def names(self, after: str, most: int) -> list[str]:
        """Return the first names of tables that come after a text, in order. No other files are opened."""
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
        """Return why no file can be made for a table with this name, before anything is made."""
        if self._is_reserved(name):
            return "its file is the configured table's, or the registry's of a gateway over this file"
        longest = os.fsencode(self._path_of(name).absolute()) + _BESIDE[-1].encode()
        if len(os.path.basename(longest)) > _NAME_MAX or len(longest) > _PATH_MAX:
            return "the name of its file would be too long for this file system"
        return None


def _files(path: Path) -> frozenset[str]:
    """Return the names of a file and SQLite's files beside it, as file systems compare them that ignore case."""
    return frozenset((path.name + ending).casefold() for ending in _BESIDE)


async def _is_ours(table: LocalTable) -> bool | None:
    """Return whether the table's file exists, None if it is another program's or a registry of deployments."""
    try:
        return await table.exists()
    except Misconfigured:
        return None


def is_table_name(text: str) -> bool:
    """Whether a text follows DynamoDB's rules for names of tables."""
    return re.fullmatch("[a-zA-Z0-9_.-]{3,255}", text) is not None


def is_arn(text: str) -> bool:
    """Return whether a text is the ARN of a table."""
    return _ARN.fullmatch(text) is not None


def parse_table_name(name_or_arn: str) -> str:
    """Return the name of a table. Raises EndpointError."""
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
    """Return a table's ARN, of an account and a region that nobody has."""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


def make_access_denied(operation: str, name: str, why: str) -> EndpointError:
    """Return the error of an operation that IAM would deny, with the reason, which IAM would not give."""
    return EndpointError(
        "AccessDeniedException",
        f"User: arn:aws:iam::{ACCOUNT}:user/local is not authorized to perform: dynamodb:{operation} on resource: "
        f"{make_arn(name)}. {why}",
    )
