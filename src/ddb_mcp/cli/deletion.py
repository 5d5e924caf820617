"""What the commands that delete have in common: the question before, progress, the result."""

import argparse
import sys
from collections.abc import Coroutine
from typing import Any

UNSET_READ_ONLY = "Unset DDB_MCP_READ_ONLY, and leave --read-only out."


def confirmed(arguments: argparse.Namespace, question: str) -> bool:
    """Whether the user wants it."""
    if arguments.yes or not sys.stdin.isatty():
        return True
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def run_deletion(work: Coroutine[Any, Any, int | None]) -> int:
    """The exit code of work that returns how many items it deleted, or None if it was not to."""
    import asyncio

    try:
        deleted = asyncio.run(work)
    except KeyboardInterrupt:
        print("Interrupted; run it again to go on.", file=sys.stderr)
        return 130
    if deleted is None:
        return 1
    print(f"{deleted} items deleted")
    return 0


async def say(message: str) -> None:
    """Progress, on stderr."""
    print(message, file=sys.stderr)
