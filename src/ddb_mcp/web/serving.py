"""The HTTP server: uvicorn, with limits on connections, heads, bodies and answers. Only this module imports uvicorn.

It depends on these of uvicorn's names, which no document promises: `AutoHTTPProtocol`, the arguments with which a
protocol is made (of which `app_state` becomes the scope's `state`), and `Server.handle_exit`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import ssl
import sys
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

from ddb_mcp.core.process import leave_after
from ddb_mcp.web import connection as connection_module
from ddb_mcp.web.client_faults import ClientFaults
from ddb_mcp.web.connection import HttpConnection
from ddb_mcp.web.connection_slots import ConnectionSlots
from ddb_mcp.web.listening import BACKLOG, drop_new_connections
from ddb_mcp.web.request_context import RequestContext

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import FrameType

    import uvicorn
    from starlette.types import ASGIApp, Receive, Scope, Send

# Connections at once: at most half of the descriptors that the process may have, so that stores have theirs.
CONNECTIONS_MAX = 512
# Requests under way have this long when a server ends. A gateway's clients are many, and it has longer.
GRACE_SECONDS = 10
# From the last new connection to the end of idle ones: connections that wait are accepted, and their requests read.
_LAST_READ_SECONDS = 0.3


_CONNECTION = "ddb_mcp.connection"


async def run_lifespan(
    receive: Receive,
    send: Send,
    *closes: Callable[[], Awaitable[None]],
    running: AbstractAsyncContextManager[None] | None = None,
) -> None:
    """Answer the lifespan messages of an application.

    Args:
        closes: called at the end, the last first.
        running: open while requests are served.
    """
    await receive()
    async with AsyncExitStack() as ending:
        for close in closes:
            ending.push_async_callback(close)
        if running is not None:
            await ending.enter_async_context(running)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


class HttpServer:
    """Serves an ASGI application (with lifespan) on a listening socket.

    Args:
        listener: from `listening.listen`; it is closed at the end.
        tls: speaks TLS on each connection.
        grace_seconds: how long running requests may continue after a signal, `GRACE_SECONDS` by default.
        drain_seconds: how long requests are still accepted after SIGTERM, with responses that close their connections.
            A proxy before several servers then loses no request if one is restarted.
        keep_seconds: how long an idle connection is kept, `connection_module.HEAD_SECONDS` if not given.
        log: called with each request when it has finished.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        tls: ssl.SSLContext | None = None,
        grace_seconds: float | None = None,
        drain_seconds: float = 0,
        keep_seconds: float | None = None,
        log: Callable[[RequestContext], None] = lambda context: None,
    ) -> None:
        import uvicorn

        self._app = app
        self._listener = listener
        self._tls = tls
        self._log = log
        self._grace = grace = GRACE_SECONDS if grace_seconds is None else grace_seconds
        keep = connection_module.HEAD_SECONDS if keep_seconds is None else keep_seconds
        self._slots = ConnectionSlots(ClientFaults(), _compute_max_connections(), keep)
        self._open: set[RequestContext] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        end, slots = self._schedule_end, self._slots

        class Process(uvicorn.Server):
            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                loop = asyncio.get_event_loop()
                if drain_seconds and sig == signal.SIGTERM and not slots.is_draining:
                    slots.is_draining = True
                    loop.call_soon_threadsafe(loop.call_later, drain_seconds, self.end_drain, sig)
                    return
                end()
                leave_after(grace + 2, 128 + sig)  # a worker thread may delay the end
                super().handle_exit(sig, frame)

            def end_drain(self, sig: int) -> None:
                drop_new_connections(listener)
                asyncio.get_running_loop().call_later(_LAST_READ_SECONDS, self.handle_exit, sig, None)

        self._server = Process(self._config())

    def _config(self) -> uvicorn.Config:
        import uvicorn
        from uvicorn.protocols.http.auto import AutoHTTPProtocol  # httptools', else h11's

        parser: Any = AutoHTTPProtocol
        slots, tls = self._slots, self._tls

        def connect(app_state: dict[str, Any], **arguments: Any) -> HttpConnection:
            return HttpConnection(
                slots, tls, lambda own: parser(app_state={**app_state, _CONNECTION: own}, **arguments)
            )

        return uvicorn.Config(
            self._answer,
            http=cast(Any, connect),
            interface="asgi3",
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # a request's client stays the other end of its connection
            backlog=BACKLOG,
            timeout_keep_alive=_NO_TIMEOUT,
            timeout_graceful_shutdown=int(self._grace) + 5,  # our own comes first, and without an error in the log
        )

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`, then finish the requests under way.

        In the main thread, a signal ends the process after that, without waiting for worker threads.
        """
        if threading.current_thread() is threading.main_thread():
            _prepare_process()
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are faults of clients
        self._server.run(sockets=_duplicate_listener(self._listener))

    @property
    def started(self) -> bool:
        """Return whether connections are accepted."""
        return self._server.started

    def stop(self) -> None:
        """End as after a signal. Any thread may call it."""
        self._schedule_end()
        self._server.should_exit = True

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            self._loop = asyncio.get_running_loop()
            self._loop.set_exception_handler(self._slots.faults.handle_loop_exception)
            await self._app(scope, receive, send)
            return
        context = RequestContext(scope["state"].pop(_CONNECTION), scope, receive, send)
        self._open.add(context)
        try:
            await context.run(self._app)
        finally:
            self._open.discard(context)
            self._log(context)

    def _schedule_end(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        """Let the requests under way end."""
        assert self._loop is not None
        for context in self._open:
            context.end(self._loop.time() + self._grace)
        self._loop.call_later(self._grace + 1, self._slots.abort_all)


# `HttpConnection` has a timer of its own.
_NO_TIMEOUT = 10**6


def _duplicate_listener(listener: socket.socket) -> list[socket.socket]:
    """Return the listening socket under several descriptors.

    uvloop accepts one connection of each in a turn of the loop. If turns are long, a client would wait for as many
    turns as others had connected before.
    """
    # `dup` sets the mode that this object knows, and all processes on the socket share the mode: in blocking mode, a
    # process whose connection another has accepted would wait for the next one, with its event loop.
    listener.setblocking(False)
    more = 15 if os.name == "posix" else 0  # elsewhere there is no uvloop, and asyncio accepts all in one turn
    return [listener, *(listener.dup() for _ in range(more))]


def _prepare_process() -> None:
    """Apply the settings of a process that only serves."""
    # uvicorn raises the signal again when it is done; Python's own handler would wait for worker threads.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # The event loop, and a thread that comes back from SQLite, wait so long for the interpreter, several times a
    # request. Twice the puts a second of Python's own 5 ms, with 16 clients of the endpoint.
    sys.setswitchinterval(0.0005)
    # Freeze what is loaded by now: each full collection would walk over it, and all requests would wait for 20 ms.
    gc.collect()
    gc.freeze()


def _compute_max_connections() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return CONNECTIONS_MAX
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS_MAX if descriptors < 0 else min(CONNECTIONS_MAX, descriptors // 2)
