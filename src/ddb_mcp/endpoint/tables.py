"""The tables: the configured table is the local mode's file, every other table is a file beside it."""

import re
from pathlib import Path

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.endpoint.failures import Failure, invalid
from ddb_mcp.stores.local.table import LocalTable

REGION = "local"
ACCOUNT = "000000000000"
_SUFFIX = ".sqlite3"
# With the suffix and SQLite's own, the name of a file.
_NAME_MAX = 240
_ARN = re.compile(r"arn:aws[a-z-]*:dynamodb:[^:]*:[^:]*:table/(.+)")


class Tables:
    """The tables in a folder.

    Args:
        name: of the configured table.
        path: its file.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._open: dict[str, LocalTable] = {}
        self._known: dict[str, tuple[int, int]] = {}

    async def find(self, name_or_arn: str) -> tuple[str, LocalTable]:
        """A table's name and the table.

        Raises:
            Failure: there is none.
        """
        name = table_name(name_or_arn)
        table = self._table(name)
        if table is None or not await self._is_there(name, table):
            raise Failure(
                "ResourceNotFoundException",
                f"Requested resource not found: Table: {name} not found. The endpoint's own table is {self._name}; "
                "`ddb-mcp call provision` makes it, and CreateTable makes others.",
            )
        return name, table

    async def _is_there(self, name: str, table: LocalTable) -> bool:
        try:
            status = table.path.stat()
        except OSError:
            return False
        # A look into the file takes a thread, so it is done once for each file.
        inode = (status.st_dev, status.st_ino)
        if self._known.get(name) != inode or not status.st_size:
            if not (table.path.is_file() and await _is_ours(table)):
                return False
            self._known[name] = inode
        return True

    async def make(self, name: str) -> LocalTable | None:
        """Make a table. None where there is one with this name.

        Raises:
            Failure: no table of this endpoint can have this name.
        """
        table = self._table(name)
        if table is None or len(name) > _NAME_MAX or await _is_ours(table) is None:
            raise invalid(f"The endpoint of ddb-mcp makes no table of the name {name[:80]}.")
        return table if await table.make() else None

    async def names(self) -> list[str]:
        """All tables, in order."""
        files = {path.name.removesuffix(_SUFFIX) for path in self._path.parent.glob(f"*{_SUFFIX}")}
        names = []
        for name in sorted(files | {self._name}):
            table = self._table(name) if is_table_name(name) else None
            if table is not None and await self._is_there(name, table):
                names.append(name)
        return names

    async def close(self) -> None:
        """Close the files of all tables."""
        for table in self._open.values():
            await table.close()

    def _table(self, name: str) -> LocalTable | None:
        """The table of this name, there or not; None where the name is another's."""
        if name not in self._open:
            path = self._path if name == self._name else self._path.parent / f"{name}{_SUFFIX}"
            # Some file systems know no upper case.
            if str(path).lower() == str(self._path).lower() and name != self._name:
                return None
            self._open[name] = LocalTable(path)
        return self._open[name]


async def _is_ours(table: LocalTable) -> bool | None:
    """Whether the table's file is there; None where it is another program's, or a registry of deployments."""
    try:
        return await table.exists()
    except Misconfigured:
        return None


def is_table_name(text: str) -> bool:
    """Whether a text follows DynamoDB's rules for names of tables."""
    return re.fullmatch("[a-zA-Z0-9_.-]{3,255}", text) is not None


def table_name(name_or_arn: str) -> str:
    """The name of a table. Raises Failure."""
    arn = _ARN.fullmatch(name_or_arn)
    name = arn[1] if arn else name_or_arn
    if not is_table_name(name):
        raise invalid(
            "Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain "
            "only the characters a-z, A-Z, 0-9, '_', '-', and '.'"
        )
    return name


def arn_of(name: str) -> str:
    """A table's ARN, of an account and a region that nobody has."""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


def denied(operation: str, name: str, why: str) -> Failure:
    """The error of an operation that IAM would deny, with the reason, which IAM would not give."""
    return Failure(
        "AccessDeniedException",
        f"User: arn:aws:iam::{ACCOUNT}:user/local is not authorized to perform: dynamodb:{operation} on resource: "
        f"{arn_of(name)}. {why}",
    )
