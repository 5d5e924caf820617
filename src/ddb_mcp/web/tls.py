"""TLS in memory. asyncio's own sets 256 KB aside for each connection, before a client has sent a byte."""

from __future__ import annotations

import ssl
from contextlib import suppress

_RECORD_MAX_BYTES = 16_384


class TlsStream:
    """The server's side of TLS on one connection, over bytes in memory.

    Attributes:
        is_open: the handshake is complete.
        has_ended: the client has said that it sends no more.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.is_open = self.has_ended = False
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_side=True)

    def decrypt(self, received: bytes | bytearray) -> bytes:
        """Return what the client sent; nothing during the handshake. What `encrypt` returns then is to be sent.

        Raises:
            ssl.SSLError: this is not TLS, or not a version or cipher that the server speaks.
        """
        self._received.write(received)
        data = bytearray()
        with suppress(ssl.SSLWantReadError):
            if not self.is_open:
                self._tls.do_handshake()
                self.is_open = True
            while piece := self._tls.read(_RECORD_MAX_BYTES):
                data += piece
            self.has_ended = True
        return bytes(data)

    def encrypt(self, data: bytes = b"") -> bytes:
        """Return what to send: the data, after what TLS itself has to say."""
        if data:
            self._tls.write(data)
        return self._to_send.read()

    def end(self) -> bytes:
        """Return what tells the client that all has been sent."""
        with suppress(ssl.SSLError):  # the client's own end is not awaited
            self._tls.unwrap()
        return self._to_send.read()
