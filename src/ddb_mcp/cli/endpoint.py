"""`ddb-mcp endpoint`: DynamoDB's own protocol over the local file, for the app on this machine."""

import argparse
import sys

from ddb_mcp.config import LocalSettings

PORT = 8000


def configure(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """The arguments of `ddb-mcp endpoint`."""
    parser.add_argument("--port", type=int, default=PORT, help=f"port, default {PORT}; 0 for any free one")
    parser.add_argument("--all-keys", action="store_true", help="let the app use keys outside the prefix too")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name under which clients know this endpoint, for example that of a container's host",
    )


def run(settings: LocalSettings, arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C. What the app's environment is to hold goes to stderr.

    Raises:
        Misconfigured: the port cannot be listened on.
    """
    from ddb_mcp.core import limits
    from ddb_mcp.endpoint.app import Endpoint
    from ddb_mcp.endpoint.calls import Access
    from ddb_mcp.endpoint.tables import Tables
    from ddb_mcp.server.serving import HttpServer
    from ddb_mcp.server.sockets import listen
    from ddb_mcp.service.instructions import local_environment

    listener = listen("127.0.0.1", arguments.port)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    access = Access(None if arguments.all_keys else settings.prefix, settings.read_only)
    endpoint = Endpoint(Tables(settings.table, settings.local_path), access, map(str.lower, arguments.allow_host))
    print(f"ddb-mcp: listening on {address}, over {settings.local_path}. Ctrl-C ends it.", file=sys.stderr)
    print("The app's environment:", file=sys.stderr)
    for name, value in local_environment(settings.table, settings.prefix.text, address).items():
        print(f"  {name}={value!r}", file=sys.stderr)
    HttpServer(endpoint, listener, keep_seconds=limits.ENDPOINT_KEEP_SECONDS).run()
    return 0
