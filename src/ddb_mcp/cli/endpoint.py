"""`ddb-mcp endpoint`: DynamoDB's own protocol over the local file, for the app on this machine."""

import argparse
import sys
from urllib.parse import urlsplit

from ddb_mcp.config.settings import LocalSettings
from ddb_mcp.service.instructions import ENDPOINT, make_local_environment

ENDPOINT_KEEP_SECONDS = 120
PORT = urlsplit(ENDPOINT).port or 0


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
        print(f"The table {settings.table} does not exist yet; create it with: ddb-mcp call provision", file=sys.stderr)
    print("The app's environment:", file=sys.stderr)
    for name, value in make_local_environment(settings.table, settings.prefix.text, address).items():
        print(f"  {name}={value!r}", file=sys.stderr)
    HttpServer(endpoint, listener, keep_seconds=ENDPOINT_KEEP_SECONDS).run()
    return 0
