"""Asks the app's endpoint on this machine which file and prefix it serves."""

import json
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio

from ddb_mcp.config.values import is_http_url, is_loopback
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import shorten
from ddb_mcp.service.instructions import ENDPOINT

ENDPOINT_SECONDS = 5
_ANSWER_MAX_BYTES = 100_000


class AppEndpoint(NamedTuple):
    """The endpoint that the app uses.

    Attributes:
        address: where it listens, or would.
        state: what was found there.
        warnings: what would keep the app from its items.
    """

    address: str
    state: str
    warnings: tuple[str, ...] = ()


async def find_endpoint(file: Path, prefix: Prefix) -> AppEndpoint:
    """Ask the endpoint at AWS_ENDPOINT_URL_DYNAMODB, or at the default port, whether it serves this file and prefix."""
    address = os.environ.get("AWS_ENDPOINT_URL_DYNAMODB") or ENDPOINT
    if not is_http_url(address):
        return AppEndpoint(ENDPOINT, "not checked: AWS_ENDPOINT_URL_DYNAMODB is not a valid address")
    parts = urlsplit(address)
    if not is_loopback(parts.hostname or ""):
        return AppEndpoint(ENDPOINT, f"not on this machine: {parts.hostname}")
    try:
        with anyio.fail_after(ENDPOINT_SECONDS):
            host, port = parts.hostname or "", parts.port or 80
            answer = await anyio.to_thread.run_sync(_ask, host, port, abandon_on_cancel=True)
    except ConnectionRefusedError:
        return AppEndpoint(address, f"nothing listens at {address}; `ddb-mcp endpoint` starts it")
    except TimeoutError:
        return AppEndpoint(address, f"{address} did not answer within {ENDPOINT_SECONDS} s")
    except (OSError, ValueError, RecursionError):
        answer = None
    match answer:
        case {"file": str(served_file), "prefix": None | str() as served}:
            if served_file == str(file) and served in (None, prefix.text):
                return AppEndpoint(address, f"ok, {address} serves this file")
            what = shorten(f"{served_file} with the prefix {served}", 300)
        case _:
            what = "something else"
    state = f"{address} serves {what}"
    advice = (
        "Start another with `ddb-mcp endpoint --port 0`, and set AWS_ENDPOINT_URL_DYNAMODB to the address that it "
        "prints, for the app and for this server."
    )
    return AppEndpoint(address, state, (f"The app would not find this deployment's items: {state}. {advice}",))


def _ask(host: str, port: int) -> Any:
    """Return what an endpoint says about itself. Raises OSError or ValueError if none answers."""
    with socket.create_connection((host, port), ENDPOINT_SECONDS) as connection:
        connection.sendall(f"GET /ddb-mcp HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while len(received) < _ANSWER_MAX_BYTES and (part := connection.recv(_ANSWER_MAX_BYTES)):
            received += part
    return json.loads(received.partition(b"\r\n\r\n")[2])
