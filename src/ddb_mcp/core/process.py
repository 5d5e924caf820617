"""The process: its log on stderr, and its end while worker threads may be busy."""

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from ddb_mcp.core.text import escape_controls


class EscapingFormatter(logging.Formatter):
    """Lines of the log, in which nothing can steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escape_controls(super().formatMessage(record))


def log_to_stderr(level: str) -> None:
    """Show what this process logs from this level on. Call it once in a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EscapingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def leave(code: int) -> NoReturn:
    """End the process without waiting for worker threads. Only logs are flushed: answers have no buffer."""
    with suppress(RuntimeError):  # a signal within a line of the log: its stream takes one caller at a time
        logging.shutdown()
    os._exit(code)


def leave_after(seconds: float, code: int) -> None:
    """End the process in this time, if it has not ended by then."""
    deadline = threading.Timer(seconds, leave, (code,))
    deadline.daemon = True
    deadline.start()
