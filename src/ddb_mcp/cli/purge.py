"""`ddb-mcp purge`: deletes everything under the configured prefix."""

import argparse

from ddb_mcp.cli.deletion import UNSET_READ_ONLY, confirmed, run_deletion, say
from ddb_mcp.config import ModeSettings, PlatformSettings
from ddb_mcp.core.errors import ReadOnly
from ddb_mcp.core.keys import Prefix


def configure(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """The arguments of `ddb-mcp purge`."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    if settings.read_only:
        raise ReadOnly("purge deletes, and this configuration is read-only.", next=UNSET_READ_ONLY)
    return run_deletion(_purge(settings, arguments))


async def _purge(settings: ModeSettings, arguments: argparse.Namespace) -> int | None:
    from ddb_mcp.service.purge import purge
    from ddb_mcp.stores import make_store

    store = make_store(settings)
    try:
        if isinstance(settings, PlatformSettings):
            prefix = Prefix((await store.info()).prefix or "", one_segment=True)
        else:
            prefix = settings.prefix
        if not confirmed(arguments, f"Delete everything under {prefix.text}, mode {settings.mode}?"):
            return None
        done = await purge(store, prefix, say)
        if not done.complete:
            await say("This platform does not say whether there is more than it showed.")
        return done.deleted
    finally:
        await store.close()
