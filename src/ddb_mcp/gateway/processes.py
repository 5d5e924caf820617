"""Several processes on one listening socket: started, watched, replaced if one dies, ended together."""

import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

from ddb_mcp.gateway import metrics

# How often several processes are looked after.
WATCH_SECONDS = 1


logger = logging.getLogger(__name__)


class ProcessPool:
    """`count` processes that each call `work(*arguments)`.

    They are spawned, not forked: a store may have threads. Each gets its own copy of the arguments; a socket is
    shared.
    """

    def __init__(self, count: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._count = count
        self._work = work
        self._arguments = arguments
        self._ending = threading.Event()

    def run(self, close: Callable[[], None]) -> None:
        """Return after SIGTERM or SIGINT, when the processes have ended. Call it from the main thread.

        Args:
            close: closes what this process and the others share, as soon as no further process is started.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        running = [self._start() for _ in range(self._count)]
        while not self._ending.is_set():
            wait([process.sentinel for process in running], timeout=WATCH_SECONDS)
            for at, process in enumerate(running):
                if not process.is_alive() and not self._ending.is_set():
                    logger.warning("A process ended with %s; starting another", process.exitcode)
                    metrics.forget_process(process.pid or 0)
                    time.sleep(WATCH_SECONDS)  # a process that cannot start is not started in a busy loop
                    running[at] = self._start()
        close()
        for process in running:
            process.terminate()
        for process in running:
            process.join()

    def _start(self) -> multiprocessing.process.BaseProcess:
        process = self._context.Process(target=_run_beside_parent, args=(self._work, self._arguments))
        process.start()
        return process

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending.set()


def _run_beside_parent(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(*arguments)


def _end_with_parent() -> None:
    """End this process if its parent was killed and could not end it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    signal.raise_signal(signal.SIGTERM)
