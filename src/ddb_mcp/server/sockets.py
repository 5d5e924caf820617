"""Sockets that servers listen on."""

import os
import socket

from ddb_mcp.core import limits
from ddb_mcp.core.errors import Misconfigured


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one. Raises Misconfigured."""
    # With the protocol named, asyncio sets TCP_NODELAY on its connections. Without, the head and the body of an answer,
    # which are sent apart, wait 40 ms for each other.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(limits.BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        problem = error.strerror if isinstance(error, OSError) else "ports end at 65535"
        raise Misconfigured(f"Cannot listen on {host}, port {port}: {problem}.", next="Choose another.") from None
    return listener
