"""Progress of long work on stderr: a bar on a terminal, a line now and then elsewhere."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from ddb_mcp.core.errors import DdbMcpError

if TYPE_CHECKING:
    from tqdm import tqdm

_LINE_EACH = 500

MAYBE_MORE = "This platform does not say whether there is more."
"""Follows the end of work on all items of a platform without pages."""


def format_count(number: int) -> str:
    """So many items, in words."""
    return f"{number} item{'' if number == 1 else 's'}"


class Progress:
    """A context manager; `done` is the number of items that are done.

    Args:
        done_as: what happens to an item, for example `deleted`.
        total: how many there will be, if known.
    """

    def __init__(self, done_as: str, total: int | None = None) -> None:
        self.done = 0
        self._done_as = done_as
        self._total = total
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self._total, desc=self._done_as, unit=" items", leave=False, file=sys.stderr)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def advance(self, items: int = 1) -> None:
        """So many items more are done."""
        before = self.done
        self.done += items
        if self._bar is not None:
            self._bar.update(items)
        elif before // _LINE_EACH < self.done // _LINE_EACH:
            self._write(f"{self.done:,}{f' of {self._total:,}' if self._total else ''} items {self._done_as}")

    async def say(self, message: str) -> None:
        """Write a line about other work."""
        self._write(message)

    def close(self) -> None:
        """Take the bar away, so that other lines can be written."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _write(self, line: str) -> None:
        if self._bar is None:
            print(line, file=sys.stderr)
        else:
            self._bar.write(line, file=sys.stderr)


@contextmanager
def report_progress(done_as: str, total: int | None = None) -> Iterator[Progress]:
    """Shows progress, see `Progress`. If the work fails or is interrupted, reports once how much is done."""

    def left(why: str) -> str:
        done = (
            f"{format_count(progress.done)} {done_as}"
            if total is None
            else f"{progress.done} of {format_count(total)} {done_as}"
        )
        return f"{why}: {done}; the rest is unchanged. Run it again to continue.\n"

    def interrupted(*_: object) -> NoReturn:
        from ddb_mcp.core.process import leave

        with suppress(RuntimeError):  # the signal may have come within a line of ours, and a stream takes one at a time
            progress.close()
        os.write(2, left("Interrupted").encode())
        leave(130)  # now: a worker thread may be waiting for the network

    with Progress(done_as, total) as progress:
        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield progress
        except DdbMcpError:
            progress.close()
            sys.stderr.write(left("Failed"))
            raise
        finally:
            signal.signal(signal.SIGINT, before)
