"""JSON-RPC messages, one a line: the two streams between `Server.run` and stdin and stdout.

They are our own, because those of the SDK (mcp 2.3) leave a line that they cannot parse without an answer, and its
client waiting; take malformed UTF-8 for text; end in a traceback when the client goes away; and need the threads that
tool calls use. They go when the SDK's do none of this.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from anyio import CapacityLimiter, EndOfStream, Event, move_on_after
from anyio.to_thread import run_sync
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from ddb_mcp.core import limits
from ddb_mcp.server.leaving import leave

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

logger = logging.getLogger(__name__)


async def serve(server: Server[Any], stdin: BinaryIO, stdout: int) -> None:
    """Serves one client until stdin ends."""
    answers = _Answers(stdout)
    await server.run(_Requests(stdin, answers), answers, server.create_initialization_options())


class _Stream:
    """What `Server.run` wants of a stream besides its `receive` or `send`."""

    async def aclose(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass


class _Answers(_Stream):
    """Writes messages, and knows which requests are still to be answered."""

    def __init__(self, stdout: int) -> None:
        self._stdout = stdout
        self._limiter = CapacityLimiter(1)  # one line after the other
        self._due: set[int | str] = set()
        self._paid = Event()

    def expect(self, request: int | str) -> None:
        self._due.add(request)

    async def all_sent(self) -> None:
        while self._due:
            await self._paid.wait()

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        line = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        await run_sync(self._write, line, limiter=self._limiter)
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self.forget(message.id)

    def forget(self, request: int | str) -> None:
        self._due.discard(request)
        self._paid.set()
        self._paid = Event()

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


class _Requests(_Stream):
    """Reads messages. A line that is none is answered here."""

    def __init__(self, stdin: BinaryIO, answers: _Answers) -> None:
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
        while line := await run_sync(self._stdin.readline, limiter=self._limiter, abandon_on_cancel=True):
            line = line.removeprefix(codecs.BOM_UTF8)  # Windows' shells begin a pipe with it
            if not line.strip():
                continue
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError as error:
                if (repaired := _with_lone_surrogates(line)) is None:
                    await self._answers.send(SessionMessage(_refusal(line, error)))
                    continue
                message = repaired
            if isinstance(message, JSONRPCRequest):
                self._answers.expect(message.id)
            elif isinstance(message, JSONRPCNotification) and b'"id"' in line and b'"id"' in _members(line):
                # The SDK takes a request whose id is a fraction, true or null for a notification.
                await self._answers.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=None, error=_NO_MESSAGE)))
                continue
            elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
                request = (message.params or {}).get("requestId")
                if isinstance(request, int | str):
                    self._answers.forget(request)  # the SDK answers it no more
            return SessionMessage(message)
        deadline = threading.Timer(limits.STDIO_GRACE_SECONDS + limits.STDIO_CLEANUP_SECONDS, leave, (0,))
        deadline.daemon = True
        deadline.start()
        with move_on_after(limits.STDIO_GRACE_SECONDS):
            await self._answers.all_sent()
        raise EndOfStream


_NO_MESSAGE = ErrorData(code=INVALID_REQUEST, message="Invalid request: not a JSON-RPC 2.0 message")


def _refusal(line: bytes, error: ValidationError) -> JSONRPCError:
    """The answer to a line that is no message, with the id of the request it was meant to be if one can be made out:
    JSON-RPC 2.0 wants a null id only where there is none to be found, and a client goes on waiting for its own."""
    if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
        reason = ErrorData(
            code=PARSE_ERROR,
            message="Parse error: not JSON in UTF-8, or nested over 200 deep, or with a number or string out of range",
        )
    else:
        reason = _NO_MESSAGE
    return JSONRPCError(jsonrpc="2.0", id=_request_id(line), error=reason)


def _request_id(line: bytes) -> int | str | None:
    members = _members(line)
    try:
        request = json.loads(members[b'"id"'], strict=False)
    except (KeyError, ValueError):
        return None
    named = isinstance(request, int | str) and not isinstance(request, bool) and str(request).isprintable()
    return request if named and b'"method"' in members else None


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)


def _members(line: bytes) -> dict[bytes, bytes]:
    """The names and the first tokens of the outermost object's members, whatever else is wrong with the line."""
    members: dict[bytes, bytes] = {}
    depth, name, before = 0, b"", b""
    for token in (match[0] for match in _TOKEN.finditer(line)):
        if depth == 1 and before == b":":
            members[name] = token
        elif depth == 1 and token.startswith(b'"'):
            name = token
        depth += (token in b"{[") - (token in b"}]")
        before = token
    return members


_ESCAPE = re.compile(rb"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)


def _with_lone_surrogates(line: bytes) -> JSONRPCRequest | None:
    """The tool call that only its arguments' lone surrogates keep the SDK from parsing; JavaScript sends such halves of
    a character as escapes. The tool then says where they are."""
    clean = _ESCAPE.sub(lambda escape: b"?" if len(escape[0]) == 6 else escape[0], line)
    try:
        message = jsonrpc_message_adapter.validate_json(clean, by_name=False)
        arguments = json.loads(line)["params"]["arguments"]
    except (ValueError, LookupError, TypeError):
        return None
    if not isinstance(message, JSONRPCRequest) or not message.params or message.id != _request_id(line):
        return None
    message.params["arguments"] = arguments
    return message if message.method == "tools/call" else None
