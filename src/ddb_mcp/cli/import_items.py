"""`ddb-mcp import`: stores the items of an export."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ddb_mcp.cli.progress import items, reported
from ddb_mcp.cli.service import own_store, require_writing
from ddb_mcp.config.settings import ModeSettings
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.keys import Prefix

_EXAMPLE = """\
A line is an item: {"Item": {"pk": {"S": "deploy#abc123#user#7"}, …}}, as export and AWS write them, or the item in
plain JSON. Nothing is stored unless every line is an item of this deployment. Items that are there already are
replaced. An import that was interrupted can be run again.

example:
  ddb-mcp import --from-prefix 'deploy#old' users.jsonl.gz"""


def configure(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """The arguments of `ddb-mcp import`."""
    parser.usage = "%(prog)s [SETTING ...] [--from-prefix PREFIX] [--create-only] [--dry-run] [FILE]"
    parser.epilog = _EXAMPLE
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="packed by gzip or not; stdin without one")
    parser.add_argument(
        "--from-prefix", metavar="PREFIX", help="the prefix in the file, replaced in pk alone by the own one"
    )
    parser.add_argument("--create-only", action="store_true", help="leave items alone that are there already")
    parser.add_argument("--dry-run", action="store_true", help="check the lines and count them; store nothing")


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Import. Raises ReadOnly, InvalidArgument before anything is stored for a wrong line, DdbMcpError of the store."""
    import anyio

    if not arguments.dry_run:
        require_writing(settings, "import writes", "Unset DDB_MCP_READ_ONLY, or give --dry-run.")
    with _input(arguments.file) as file:
        return anyio.run(_import, settings, arguments, file)


async def _import(settings: ModeSettings, arguments: argparse.Namespace, file: IO[bytes]) -> int:
    from ddb_mcp.service.transfer import Importer, opened

    source = Prefix(arguments.from_prefix, one_segment=True) if arguments.from_prefix else None
    async with own_store(settings) as (store, own):
        importer = Importer(store, own, source=source, create_only=arguments.create_only)
        count = await importer.check(opened(file))
        if arguments.dry_run:
            print(f"{items(count)} would be imported")
            return 0
        with reported("imported", count) as progress:
            await importer.store(opened(file), progress.advance)
    there = f", {items(importer.existing)} there already" if arguments.create_only else ""
    print(f"{items(importer.written)} imported{there}")
    return 0


@contextmanager
def _input(path: Path | None) -> Iterator[IO[bytes]]:
    """The file, or all of stdin in a file that its owner alone may read: every line is read before one is stored."""
    if path is not None:
        try:
            file = path.open("rb")
        except OSError as error:
            problem = (error.strerror or "system error").lower()
            raise InvalidArgument(f"{path} cannot be read: {problem}.", next="Correct the name.") from None
        with file:
            yield file
        return
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        yield spool
