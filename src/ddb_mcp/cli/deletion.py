"""The commands that delete: the question before, and the report where they end early."""

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from ddb_mcp.cli.progress import Progress, items
from ddb_mcp.core.errors import DdbMcpError, InvalidArgument
from ddb_mcp.service.purge import Count

UNSET_READ_ONLY = "Unset DDB_MCP_READ_ONLY, and leave --read-only out."


async def confirmed(arguments: argparse.Namespace, what: str, count: Callable[[], Awaitable[Count]]) -> bool:
    """Whether the user wants it: says `--yes`, or answers yes at the terminal.

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
    found = await count()
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"This would delete {what}: {found}. Nothing was deleted: stdin is no terminal, so nobody can be asked.",
            next="Give --yes to delete them.",
        )
    # The event loop takes Ctrl-C for a wish to end later; at a prompt it ends at once.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(f"Delete {what}: {found}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        print("Nothing was deleted.", file=sys.stderr)
        return False
    except KeyboardInterrupt:
        print("\nNothing was deleted.", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def deletion() -> Iterator[Progress]:
    """Shows progress. Where the work fails or Ctrl-C ends it, says once how much is done."""

    def left(progress: Progress, why: str) -> None:
        progress.close()
        print(f"{why}: {items(progress.done)} deleted, the others are left. Run it again to go on.", file=sys.stderr)

    def interrupted(*_: object) -> NoReturn:
        from ddb_mcp.server.leaving import leave

        left(progress, "Interrupted")
        leave(130)  # now: a worker thread may be waiting for the network

    with Progress("deleted") as progress:
        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield progress
        except DdbMcpError:
            left(progress, "Failed")
            raise
        finally:
            signal.signal(signal.SIGINT, before)


async def say(message: str) -> None:
    """A line for people, on stderr."""
    print(message, file=sys.stderr)
