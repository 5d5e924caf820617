"""A server's listen address, its socket and its TLS."""

from __future__ import annotations

import ctypes
import os
import socket
import ssl
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ddb_mcp.config.values import is_loopback
from ddb_mcp.core.errors import Misconfigured

# Connections that the kernel holds until they are accepted. It drops further ones, whose clients try again after 1 s.
BACKLOG = 2048
# From Linux's headers: https://man7.org/linux/man-pages/man7/socket.7.html
_SO_ATTACH_FILTER = 26
_BPF_RETURN = 0x06


class Listening(NamedTuple):
    """A listen address, and how TLS is terminated there.

    Attributes:
        host: a name or an address; an IPv6 address without brackets.
        port: 0 for any free one.
        tls_certificate: PEM file with the certificate chain; `tls_key` with its key.
        behind_tls_proxy: a proxy before this process speaks TLS, so that this process needs no TLS on any address.
    """

    host: str
    port: int
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_tls_proxy: bool = False

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context for the certificate and its key, None without them.

        Raises:
            Misconfigured: there is only one of them, or they cannot be used, or tokens and data would leave this
                machine in the clear.
        """
        if self.tls_certificate is None and self.tls_key is None:
            if is_loopback(self.host) or self.behind_tls_proxy:
                return None
            raise Misconfigured(
                f"On {self.host or 'every address'}, tokens and data would be sent unencrypted.",
                next="Pass --tls-cert and --tls-key, or --behind-tls-proxy if a proxy terminates TLS.",
            )
        if self.tls_certificate is None or self.tls_key is None:
            raise Misconfigured("TLS needs a certificate and its key.", next="Pass both --tls-cert and --tls-key.")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:  # ssl.SSLError is one
            raise Misconfigured(
                f"The TLS certificate or its key cannot be used: {error.strerror or error.args[0]}.",
                next="Correct --tls-cert and --tls-key.",
            ) from None
        return context

    def listen(self) -> tuple[socket.socket, str]:
        """Return a listening socket and its URL. Raises Misconfigured."""
        listener = listen(self.host, self.port)
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return listener, f"{scheme}://{host}:{listener.getsockname()[1]}"


def drop_new_connections(listener: socket.socket) -> None:
    """Have the kernel ignore new connections, so that none waits unaccepted when the listener is closed.

    Such a connection would be reset after its client has sent a request, which no proxy repeats. Now the client tries
    to connect again after a second, and is refused. Linux only: https://docs.kernel.org/networking/filter.html
    """
    if sys.platform == "linux":
        code = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
        with suppress(OSError):
            program = struct.pack("HP", 1, ctypes.addressof(code))
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def parse_address(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`. An IPv6 host is in brackets; port 0 picks a free one.

    Raises:
        Misconfigured: the text has another form.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise Misconfigured(
            f"{text!r} is not a valid listen address.", next="Use HOST:PORT, such as 127.0.0.1:8765 or [::1]:8765."
        )
    return host, int(port)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Port 0 picks a free one. Raises Misconfigured."""
    # With the protocol named, asyncio sets TCP_NODELAY on its connections. Without, the head and the body of an answer,
    # which are sent apart, wait 40 ms for each other.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError, TypeError, ValueError) as error:
        listener.close()
        problem = "ports end at 65535" if isinstance(error, OverflowError) else "this is not a host"
        problem = (error.strerror or problem) if isinstance(error, OSError) else problem
        raise Misconfigured(f"Cannot listen on {host}, port {port}: {problem}.", next="Choose another.") from None
    return listener
