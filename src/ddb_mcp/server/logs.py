"""The log on stderr."""

import logging
import sys

from ddb_mcp.core.text import visible


class VisibleFormatter(logging.Formatter):
    """Lines of the log, in which nothing can steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record))


def log_to_stderr(level: str) -> None:
    """Show what this process logs from this level on. Call it once in a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
