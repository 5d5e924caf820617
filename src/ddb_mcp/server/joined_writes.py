"""The head and the body of an answer, sent together."""

import asyncio
from typing import Any


class JoinedWrites:
    """A transport that sends two writes of one turn of the event loop as one.

    uvicorn writes a head and a body. Each write is a large part of what a short answer costs, at both ends.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._first = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._first:
            first, self._first = self._first, b""
            self._transport.writelines((first, data))
        else:
            self._first = data
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._first and not self._transport.is_closing():
            first, self._first = self._first, b""
            self._transport.write(first)

    def close(self) -> None:
        self._flush()
        self._transport.close()
