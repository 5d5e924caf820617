"""`ddb-mcp import`: stores the items of an export."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ddb_mcp.cli.files import name_errors
from ddb_mcp.cli.progress import format_count, report_progress
from ddb_mcp.cli.service import own_store, require_writing
from ddb_mcp.config.settings import ModeSettings
from ddb_mcp.core.keys import Prefix

if TYPE_CHECKING:
    from ddb_mcp.service.transfer.sources import ItemSource

_BLOCK_BYTES = 2**16
_EXAMPLE = """\
FILE has one item per line: {"Item": {"pk": {"S": "deploy#abc123#user#7"}, …}}, as export and AWS write them, or plain
JSON. It can also be a JSON array of items, or the output of `aws dynamodb scan`. Nothing is stored unless all items
belong to this deployment. If several items have the same key, the last one wins. Existing items are replaced. An
import that was interrupted can be run again.

example:
  ddb-mcp import --from-prefix 'deploy#old' users.jsonl.gz"""


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """The arguments of `ddb-mcp import`."""
    parser.usage = "%(prog)s [SETTING ...] [--from-prefix PREFIX] [--create-only] [--dry-run] [FILE]"
    parser.epilog = _EXAMPLE
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="gzip or plain; stdin if omitted or -")
    parser.add_argument(
        "--from-prefix", metavar="PREFIX", help="the prefix in the file, replaced by this deployment's, in pk only"
    )
    parser.add_argument("--create-only", action="store_true", help="keep existing items")
    parser.add_argument("--dry-run", action="store_true", help="check and count the items without storing them")


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Import. Raises ReadOnly, InvalidArgument before anything is stored for a wrong line, DdbMcpError of the store."""
    import anyio

    if not arguments.dry_run:
        require_writing(settings, "import writes", "Unset DDB_MCP_READ_ONLY, or pass --dry-run.")
    with _input(arguments.file) as file:
        return anyio.run(_import, settings, arguments, file)


async def _import(settings: ModeSettings, arguments: argparse.Namespace, file: "ItemSource") -> int:
    from ddb_mcp.service.transfer.export_import import Importer

    source = Prefix(arguments.from_prefix, one_segment=True) if arguments.from_prefix else None
    async with own_store(settings) as (store, own):
        importer = Importer(store, own, source=source, create_only=arguments.create_only)
        count = await importer.validate(file)
        if arguments.dry_run:
            print(f"{format_count(count)} would be imported")
            return 0
        done_as = "imported or already there" if arguments.create_only else "imported"
        with report_progress(done_as, count) as progress:
            await importer.write_items(file, progress.advance)
    there = f", {format_count(importer.existing)} there already" if arguments.create_only else ""
    print(f"{format_count(importer.written)} imported{there}")
    return 0


@contextmanager
def _input(path: Path | None) -> Iterator["ItemSource"]:
    """Yield the file. Copies what can be read only once: every line is read before one is stored.

    Raises:
        InvalidArgument: the file or stdin cannot be read.
        OSError: there is no room for the copy.
    """
    from ddb_mcp.service.transfer.sources import ItemSource, make_unreadable_error

    is_stdin = path is None or str(path) == "-"
    name = "stdin" if is_stdin else str(path)
    try:
        stream = sys.stdin.buffer if path is None or is_stdin else path.open("rb")
    except OSError as error:
        raise make_unreadable_error(name, error) from None
    with stream:
        if is_stdin or not stream.seekable():
            with _copy(name, stream) as copy:
                yield ItemSource(name, copy)
        else:
            yield ItemSource(name, stream)


def _copy(name: str, stream: IO[bytes]) -> IO[bytes]:
    """Copy a stream to a file without a name that only its owner can read."""
    with name_errors("TMPDIR"):
        folder = tempfile.gettempdir()
    with name_errors(folder), ExitStack() as stack:
        copy = stack.enter_context(tempfile.TemporaryFile())
        for block in _blocks(name, stream):
            copy.write(block)
        copy.flush()
        stack.pop_all()
    return copy


def _blocks(name: str, stream: IO[bytes]) -> Iterator[bytes]:
    from ddb_mcp.service.transfer.sources import make_unreadable_error

    try:
        while block := stream.read(_BLOCK_BYTES):
            yield block
    except OSError as error:
        raise make_unreadable_error(name, error) from None
