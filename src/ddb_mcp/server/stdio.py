"""MCP over stdin and stdout: the process around the server. The streams are in `stdio_streams.py`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from ddb_mcp.core.process import leave
from ddb_mcp.server import sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.lowlevel import Server

logger = logging.getLogger(__name__)

_BY_HAND = """\
ddb-mcp: an MCP server, waiting for messages from an MCP host on stdin, one line of JSON each.
Hosts start it by themselves. To try it by hand: ddb-mcp call info. All commands: ddb-mcp --help. Ctrl-C ends it.
"""


def serve_stdio(build: Callable[[], Server[Any]]) -> NoReturn:
    """Serve what `build` returns on stdin and stdout until stdin ends, then leaves the process with exit code 0.

    Call it from the main thread. `build` runs once stdout is safe and imports of the SDK are quick, so it should do
    such imports itself. At the end of stdin, requests in flight are answered first. SIGINT and SIGTERM end the process
    at once: a store writes atomically, so that a call is lost only if its success was not reported.

    Raises:
        Whatever `build` raises.
    """
    # Python's handler for SIGINT waits for the event loop, and then for worker threads.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if os.isatty(0):
        sys.stderr.write(_BY_HAND)
    stdin, stdout = _claim_standard_streams()
    with sdk.fast_import():
        server = build()
        sdk.install_workarounds(server)
        import anyio

        from ddb_mcp.server import stdio_streams
    try:
        anyio.run(stdio_streams.serve_lines, server, stdin, stdout)
    except BaseException:
        logger.exception("The server failed")
        leave(1)
    leave(0)


def _claim_standard_streams() -> tuple[BinaryIO, int]:
    """Keep stdin and stdout for the protocol. Other readers get an empty stream, and other output goes to stderr."""
    sys.stdout.flush()
    for descriptor in (0, 1):  # another process that shares them may have changed them
        os.set_blocking(descriptor, True)
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return stdin, stdout
