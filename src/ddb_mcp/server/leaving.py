"""The end of a process that may have worker threads under way."""

import logging
import os
import threading
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process without waiting for worker threads. There is nothing to flush but logs: answers are written
    without a buffer."""
    with suppress(RuntimeError):  # a signal within a line of the log: its stream takes one caller at a time
        logging.shutdown()
    os._exit(code)


def leave_after(seconds: float, code: int) -> None:
    """End the process in this time, if it has not ended by then."""
    deadline = threading.Timer(seconds, leave, (code,))
    deadline.daemon = True
    deadline.start()
