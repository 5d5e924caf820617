"""`ddb-mcp purge`: deletes everything under the configured prefix."""

import argparse
from functools import partial

from ddb_mcp.cli.deletion import confirm, print_progress
from ddb_mcp.cli.progress import MAYBE_MORE, format_count, report_progress
from ddb_mcp.cli.service import own_store, require_writing
from ddb_mcp.config.settings import ModeSettings


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """Add the arguments of `ddb-mcp purge`."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Purge. Return 1 if the user declines, else 0. Raises ReadOnly, InvalidArgument, and what the store raises."""
    import anyio

    require_writing(settings, "purge deletes")
    return anyio.run(_purge, settings, arguments)


async def _purge(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    from ddb_mcp.service.transfer.purge import count_items, delete_all

    async with own_store(settings) as (store, prefix):
        what = f"everything under {prefix.text}, mode {settings.mode}"
        if not await confirm(arguments, what, partial(count_items, store, prefix)):
            return 1
        with report_progress("deleted") as progress:
            done = await delete_all(store, prefix, progress.advance)
        if not done.complete:
            await print_progress(MAYBE_MORE)
    print(f"{format_count(done.deleted)} deleted")
    return 0
