"""`ddb-mcp endpoint`: DynamoDB's own protocol over the local file, for the app on this machine."""

import argparse
import json
import os
import sys
from typing import Any
from urllib.parse import urlsplit

from ddb_mcp.config.settings import LocalSettings
from ddb_mcp.config.values import is_http_url, is_loopback
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.service.instructions import ENDPOINT, make_local_environment

ENDPOINT_KEEP_SECONDS = 120
# `doctor` waits so long for the endpoint of the app, whose first answer takes seconds on a busy machine.
DOCTOR_ENDPOINT_SECONDS = 30


PORT = urlsplit(ENDPOINT).port or 0
# Any key does; a request without a signature is refused.
_SIGNED = "AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=0"


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """The arguments of `ddb-mcp endpoint`."""
    parser.add_argument("--port", type=int, default=PORT, help=f"port, default {PORT}; 0 for any free one")
    parser.add_argument("--all-keys", action="store_true", help="let the app use keys outside the prefix too")


def run(settings: LocalSettings, arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C. What the app's environment is to hold goes to stderr.

    Raises:
        Misconfigured: the port cannot be listened on.
    """
    from ddb_mcp.endpoint.app import Endpoint
    from ddb_mcp.endpoint.requests import EndpointAccess
    from ddb_mcp.endpoint.tables import Tables
    from ddb_mcp.web.listening import Listening
    from ddb_mcp.web.serving import HttpServer

    listener, address = Listening("127.0.0.1", arguments.port).listen()
    access = EndpointAccess(None if arguments.all_keys else settings.prefix, settings.read_only)
    endpoint = Endpoint(Tables(settings.table, settings.local_path), access)
    print(f"ddb-mcp: listening on {address}, over {settings.local_path}. Ctrl-C ends it.", file=sys.stderr)
    if not settings.local_path.exists():
        print(f"The table {settings.table} is not there yet; make it: ddb-mcp call provision", file=sys.stderr)
    print("The app's environment:", file=sys.stderr)
    for name, value in make_local_environment(settings.table, settings.prefix.text, address).items():
        print(f"  {name}={value!r}", file=sys.stderr)
    HttpServer(endpoint, listener, keep_seconds=ENDPOINT_KEEP_SECONDS).run()
    return 0


async def describe_endpoint(settings: LocalSettings) -> str:
    """Whether an endpoint answers where the app looks for it, and whether it serves the settings' file."""
    from anyio import to_thread

    from ddb_mcp.stores.local.table import LocalTable

    address = os.environ.get("AWS_ENDPOINT_URL_DYNAMODB") or ENDPOINT
    if not is_http_url(address):
        return "not asked: AWS_ENDPOINT_URL_DYNAMODB is not a valid address"
    parts = urlsplit(address)
    if not is_loopback(parts.hostname or ""):
        return f"not on this machine: {parts.hostname}"
    table = LocalTable(settings.local_path)
    try:
        own = (await table.about()).get("id")
    except DdbMcpError:
        return "not asked: the file cannot be read"
    finally:
        await table.close()
    try:
        answer = await to_thread.run_sync(_describe, parts.netloc, settings.table)
    except ConnectionRefusedError:
        return f"none at {address}; `ddb-mcp endpoint` starts it"
    except TimeoutError:
        return f"{address} does not answer within {DOCTOR_ENDPOINT_SECONDS} s"
    except (OSError, ValueError, RecursionError):
        answer = None
    match answer:
        case {"Table": {"TableId": str(table_id)}} if own and table_id.replace("-", "") == own:
            return f"ok, {address} serves this file"
    return f"{address} serves something else"


def _describe(netloc: str, table: str) -> Any:
    """The answer to DescribeTable there. Raises OSError or ValueError where nothing answers, or no such endpoint."""
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(netloc, timeout=DOCTOR_ENDPOINT_SECONDS)
    try:
        target = {"X-Amz-Target": "DynamoDB_20120810.DescribeTable", "Content-Type": "application/x-amz-json-1.0"}
        connection.request("POST", "/", json.dumps({"TableName": table}), {**target, "Authorization": _SIGNED})
        return json.loads(connection.getresponse().read(100_000))
    except HTTPException as error:
        raise ValueError from error
    finally:
        connection.close()
