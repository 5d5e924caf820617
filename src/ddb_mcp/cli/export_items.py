"""`ddb-mcp export`: the deployment's items, a line each."""

import argparse
import gzip
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddb_mcp.cli.files import write_whole_file
from ddb_mcp.cli.progress import MAYBE_MORE, Progress, format_count
from ddb_mcp.cli.service import own_store
from ddb_mcp.config.settings import LocalSettings, ModeSettings
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import parse_json
from ddb_mcp.core.keys import Prefix

_WHERE = ("pk", "pk_prefix", "sk_prefix", "sk_from", "sk_to", "filter")


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """Add the arguments of `ddb-mcp export`."""
    parser.usage = "%(prog)s [SETTING ...] [WHERE ...] [FILE]"
    parser.epilog = "example:\n  ddb-mcp export --pk-prefix 'deploy#abc123#user#' users.jsonl.gz"
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="compressed if its name ends in .gz; stdout if omitted or -"
    )
    parser.add_argument(
        "--prefix", dest="other_prefix", metavar="PREFIX", help="in local mode: the items under this prefix"
    )
    where = parser.add_argument_group("which items (all by default)")
    where.add_argument("--pk", metavar="KEY", help="with this partition key")
    where.add_argument("--pk-prefix", metavar="TEXT", help="whose partition key begins with this")
    where.add_argument("--sk-prefix", metavar="TEXT", help="whose sort key begins with this")
    where.add_argument("--sk-from", metavar="KEY", help="from this sort key on")
    where.add_argument("--sk-to", metavar="KEY", help="up to this sort key, inclusive")
    where.add_argument("--filter", metavar="JSON", help="that match this filter, as in query and scan")


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Export. Return 1 if a platform may have more items than it showed, else 0. Raises DdbMcpError."""
    import anyio

    return anyio.run(_export, settings, arguments)


async def _export(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    from ddb_mcp.service.arguments import Where
    from ddb_mcp.service.selection import parse_selection
    from ddb_mcp.service.transfer.export_import import export_items

    other = _other_prefix(settings, arguments.other_prefix)
    async with own_store(settings) as (store, configured):
        own = other or configured
        words = {name: getattr(arguments, name) for name in _WHERE}
        selected = parse_selection(Where.model_construct(**{**words, "filter": _filter(arguments.filter)}), own)
        with _output(arguments.file) as write, Progress("exported") as progress:
            complete = await export_items(store, own, selected, write, progress.advance)
    where = f" to {arguments.file}" if arguments.file not in (None, "-") else ""
    print(f"{format_count(progress.done)} exported{where}", file=sys.stderr)
    if not complete:
        print(MAYBE_MORE, file=sys.stderr)
    return 0 if complete else 1


def _filter(text: str | None) -> dict[str, Any] | None:
    value = None if text is None else parse_json(text, "filter")
    if value is not None and not isinstance(value, dict):
        raise InvalidArgument("filter must be a JSON object.")
    return value


def _other_prefix(settings: ModeSettings, text: str | None) -> Prefix | None:
    if text is None:
        return None
    if not isinstance(settings, LocalSettings):
        raise InvalidArgument(
            "--prefix is for local mode, where the file is yours.", next="Set DYNAMODB_PREFIX in direct mode."
        )
    return Prefix(text, one_segment=True)


@contextmanager
def _output(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Yield a function that writes bytes to stdout, or to a new file, see `write_whole_file`."""
    if path is None or str(path) == "-":
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    with write_whole_file(path) as file:
        if path.suffix != ".gz":
            yield file.write
            return
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            yield packed.write
