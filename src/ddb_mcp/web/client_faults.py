"""Faults of HTTP clients: counted by kind, so that no client fills the log."""

import asyncio
import logging
from collections import Counter
from typing import Any

# The first fault of clients is logged at once; then one line sums up the faults of each such period.
FAULTS_SECONDS = 60


logger = logging.getLogger(__name__)


class ClientFaults:
    """Counts clients' faults by kind. The first is logged at once, then one line a minute counts the others."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._pause: asyncio.TimerHandle | None = None

    def note(self, kind: str, example: str = "") -> None:
        """Count a fault. Call it on the event loop.

        Args:
            kind: one of a few fixed texts.
            example: a client's text. The last one of each kind is logged, escaped and cut.
        """
        self._counts[kind] += 1
        self._examples[kind] = f", such as {example[:100]!a}" if example else ""
        if self._pause is None:
            self._log()

    def _log(self) -> None:
        self._pause = None
        if self._counts:
            counts = "; ".join(f"{kind} ({n}{self._examples[kind]})" for kind, n in self._counts.items())
            logger.warning("HTTP clients: %s", counts)
            self._counts.clear()
            self._pause = asyncio.get_running_loop().call_later(FAULTS_SECONDS, self._log)

    def handle_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle the event loop's exceptions: count OSErrors as client faults, and log all others as bugs."""
        if isinstance(context.get("exception"), OSError):
            self.note(f"{context.get('message', 'connection failed')}: {type(context['exception']).__name__}")
        else:
            loop.default_exception_handler(context)
