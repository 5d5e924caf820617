"""`ddb-mcp` without a command: serves MCP over stdin and stdout, or over HTTP."""

import argparse
import logging
import os
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ddb_mcp.cli.commands import COMMANDS
from ddb_mcp.cli.service import make_service
from ddb_mcp.config.resolve import resolve_http
from ddb_mcp.config.settings import SETTINGS, ModeSettings
from ddb_mcp.core.errors import Misconfigured

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

    from ddb_mcp.web.listening import Listening


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """Add the arguments of `ddb-mcp` itself, the list of commands, and a note on settings."""
    parser.usage = "%(prog)s [SETTING ...] [--http HOST:PORT | COMMAND ...]"
    parser.add_argument("--http", metavar="HOST:PORT", help="serve MCP over Streamable HTTP at this address instead")
    tls_arguments(parser, "with --http: ")
    width = shutil.get_terminal_size().columns - 2
    commands = "\n".join(f"  {command.name:<10} {command.help}" for command in COMMANDS.values())
    secrets = ", ".join(f"{setting.variable} ({setting.help})" for setting in SETTINGS if setting.secret)
    about = f"Every flag is also an environment variable, in brackets; secrets are variables only: {secrets}."
    parser.epilog = f"commands (ddb-mcp COMMAND --help says more):\n{commands}\n\n{textwrap.fill(about, width)}"


def tls_arguments(parser: argparse.ArgumentParser, when: str = "") -> None:
    """Add the arguments of servers that other machines can reach."""
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help=f"{when}PEM certificate chain")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help=f"{when}PEM key of the certificate")
    proxy = f"{when}a proxy before this process terminates TLS"
    parser.add_argument("--behind-tls-proxy", action="store_true", help=proxy)


def listening(host: str, port: int, arguments: argparse.Namespace) -> "Listening":
    """Return the listen address, with the arguments that `tls_arguments` added."""
    from ddb_mcp.web.listening import Listening

    return Listening(host, port, arguments.tls_cert, arguments.tls_key, arguments.behind_tls_proxy)


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Serve until the client leaves or a signal arrives. Raises Misconfigured."""
    logging.getLogger("ddb_mcp").info("Serving in %s mode", settings.mode)
    if not arguments.http:
        serve_over_stdio(settings)

    def build() -> "Server[Any]":
        from ddb_mcp.server.app import build_server

        return build_server(make_service(settings), settings)

    from ddb_mcp.server.http_app import serve_http
    from ddb_mcp.web.listening import parse_address

    http = resolve_http(os.environ, arguments.flags)
    serve_http(build, listening(*parse_address(arguments.http), arguments), http.http_token, http.http_hosts)
    return 0


def serve_over_stdio(settings: ModeSettings | Misconfigured) -> NoReturn:
    """Serve MCP over stdin and stdout.

    With wrong settings the server starts too, and every call fails with what to correct: if a server ends, most hosts
    show "failed to connect" and hide its stderr.
    """

    def build() -> "Server[Any]":
        from ddb_mcp.server.app import build_misconfigured_server, build_server

        try:
            if isinstance(settings, Misconfigured):
                raise settings
            return build_server(make_service(settings), settings)
        except Misconfigured as error:
            return build_misconfigured_server(error)

    from ddb_mcp.server.stdio import serve_stdio

    serve_stdio(build)
