"""JSON-RPC messages, one a line: the two streams between `Server.run` and stdin and stdout.

They are our own, because those of the SDK (mcp 2.3) leave a line that they cannot parse without an answer, and its
client waiting; round numbers; end in a traceback when the client goes away; and need the threads that tool calls use.
They go when the SDK's do none of this.
"""

from __future__ import annotations

import codecs
import logging
import os
import select
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from anyio import CapacityLimiter, EndOfStream, Event, current_time, move_on_after
from anyio.to_thread import run_sync
from mcp.shared.message import SessionMessage
from mcp_types import (
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from ddb_mcp.core.process import leave, leave_after
from ddb_mcp.server import messages

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

# MCP over stdio. When the client closes stdin, calls in flight are finished: a write has the shorter time, a listing
# needs READ_SECONDS. The server's own clean-up comes after. A signal ends the process at once.
STDIO_WRITE_GRACE_SECONDS = 10
STDIO_GRACE_SECONDS = 30
STDIO_CLEANUP_SECONDS = 2
# Seconds between two checks whether anybody still reads stdout.
STDIO_LOOK_SECONDS = 0.1


logger = logging.getLogger(__name__)

_SERVER_ENDED = ErrorData(
    code=INTERNAL_ERROR,
    message="The server ended before it answered this. A write may have been done: read before you repeat it.",
)


async def serve_lines(server: Server[Any], stdin: BinaryIO, stdout: int) -> None:
    """Serve one client until stdin ends and the requests in flight are answered."""
    answers = _ResponseWriter(stdout)
    await server.run(_RequestReader(stdin, answers), answers, server.create_initialization_options())


class _StreamBase:
    """The members that `Server.run` needs of a stream besides `receive` or `send`."""

    async def aclose(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass


class _ResponseWriter(_StreamBase):
    """Writes messages, and knows which requests are still to be answered, and how long they may take at the end."""

    def __init__(self, stdout: int) -> None:
        self._stdout = stdout
        self._poller = select.poll() if hasattr(select, "poll") else None  # Windows has none
        if self._poller is not None:
            self._poller.register(stdout, select.POLLOUT)
        self._limiter = CapacityLimiter(1)  # one line after the other
        self._unanswered: dict[int | str, float] = {}
        self._given_up: set[int | str] = set()
        self._answered = Event()

    def note_request(self, request: int | str, seconds: float) -> None:
        self._unanswered[request] = seconds

    async def wait_until_answered(self) -> None:
        """Return when all requests are answered. A request that takes too long gets an error."""
        end = current_time()
        while self._unanswered:
            if self._is_reader_gone():
                leave(0)
            with move_on_after(STDIO_LOOK_SECONDS):
                await self._answered.wait()
            for request, seconds in list(self._unanswered.items()):
                if current_time() >= end + seconds:
                    await self.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=_SERVER_ENDED)))
                    self._given_up.add(request)

    def _poll(self) -> int:
        """Return the state of stdout as flags of `select.poll`, 0 while it is full."""
        assert self._poller is not None
        return sum(flags for _, flags in self._poller.poll(0))

    def _is_reader_gone(self) -> bool:
        return self._poller is not None and bool(self._poll() & ~select.POLLOUT)

    def _takes_at_once(self, line: bytes) -> bool:
        """Return whether a line can be written without waiting: whatever is writable takes PIPE_BUF bytes."""
        if self._poller is None or len(line) > select.PIPE_BUF or self._limiter.borrowed_tokens:
            return False
        return self._poll() == select.POLLOUT

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id in self._given_up:
            return
        try:  # in the event loop: a result has at most the bytes that the settings allow
            line = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        except ValueError:  # a half character, such as in the progress token that the client chose
            logger.error("A message could not be encoded as JSON and was dropped")
            return
        line += b"\n"
        if self._takes_at_once(line):  # a thread would take longer than all of a brief call
            self._write(line)
        else:
            await run_sync(self._write, line, limiter=self._limiter)
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self.forget(message.id)

    def forget(self, request: int | str) -> None:
        self._unanswered.pop(request, None)
        self._answered.set()
        self._answered = Event()

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._stdout, rest) :]
        except BrokenPipeError:
            leave(0)  # the client is gone
        except OSError as error:
            logger.error("Nothing can be written to stdout: %s", error.strerror)
            leave(1)


class _RequestReader(_StreamBase):
    """Reads messages, and answers a line that is not a message."""

    def __init__(self, stdin: BinaryIO, answers: _ResponseWriter) -> None:
        self._stdin = stdin
        self._answers = answers
        self._limiter = CapacityLimiter(1)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> SessionMessage:
        while True:
            try:
                message = await run_sync(self._read, limiter=self._limiter, abandon_on_cancel=True)
            except messages.NotAMessage as refused:
                for answer in refused.answers:
                    await self._answers.send(SessionMessage(answer))
                continue
            if message is None:
                break
            self._note(message)
            return SessionMessage(message)
        # Nothing stops a worker thread: the process ends without it.
        leave_after(STDIO_GRACE_SECONDS + STDIO_CLEANUP_SECONDS, 0)
        await self._answers.wait_until_answered()
        leave_after(STDIO_CLEANUP_SECONDS, 0)
        raise EndOfStream

    def _read(self) -> JSONRPCMessage | None:
        """Return the next message, None at the end of stdin. Raises NotAMessage.

        Lines may have any length: only the client that sends them waits, and this thread parses one at a time.
        """
        while line := self._stdin.readline():
            line = line.removeprefix(codecs.BOM_UTF8)  # Windows' shells begin a pipe with it
            if line.strip():
                return messages.parse_message(line)
        return None

    def _note(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest):
            writes = messages.is_write(message)
            seconds = STDIO_WRITE_GRACE_SECONDS if writes else STDIO_GRACE_SECONDS
            self._answers.note_request(message.id, seconds)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            request = (message.params or {}).get("requestId")
            if isinstance(request, int | str):
                self._answers.forget(request)  # the SDK answers it no more
