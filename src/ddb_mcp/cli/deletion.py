"""The commands that delete: the question before."""

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.service.transfer.purge import ItemCount


async def confirm(arguments: argparse.Namespace, what: str, count: Callable[[], Awaitable[ItemCount]]) -> bool:
    """Return whether the user confirms a deletion, with `--yes` or at the terminal.

    Args:
        arguments: of the command, with `yes`.
        what: names what would be deleted.
        count: counts these items; called only without `--yes`.

    Raises:
        InvalidArgument: there is no terminal to ask at.
        KeyboardInterrupt: Ctrl-C at the prompt.
    """
    if arguments.yes:
        return True
    number = await count()
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"This would delete {what}: {number}. Nothing was deleted: stdin is not a terminal, so nobody can confirm.",
            next="Pass --yes to delete them.",
        )
    # The event loop takes Ctrl-C for a wish to end later; at a prompt it ends at once.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(f"Delete {what}: {number}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        print("Nothing was deleted.", file=sys.stderr)
        return False
    except KeyboardInterrupt:
        print("\nNothing was deleted.", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGINT, before)


async def print_progress(message: str) -> None:
    """Print a progress message to stderr."""
    print(message, file=sys.stderr)
