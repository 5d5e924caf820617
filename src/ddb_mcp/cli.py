"""The command line: one small function a command. Imports happen in the functions, so that each pays for its own."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ddb_mcp import __version__
from ddb_mcp.config import SETTINGS, Settings, resolve
from ddb_mcp.errors import DdbMcpError

if TYPE_CHECKING:
    from typing import Any

    from mcp.server.lowlevel import Server

    from ddb_mcp.service import DataService


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 2 for a wrong call or configuration, 1 for a failure."""
    arguments = _parser().parse_args(argv)
    flags = {s.variable: getattr(arguments, s.field) for s in SETTINGS if getattr(arguments, s.field, None) is not None}
    try:
        settings = resolve(os.environ, flags)
        logging.basicConfig(
            stream=sys.stderr, level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        return int(arguments.run(settings, arguments))
    except DdbMcpError as error:
        print(f"ddb-mcp: {error.message} {error.next}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ddb-mcp",
        description="An MCP server for one deployment's slice of a shared DynamoDB table. "
        "Without a command it serves MCP over stdin and stdout.",
        epilog="Every flag is also an environment variable, named in brackets; secrets are variables only: "
        + ", ".join(f"{s.variable} ({s.help})" for s in SETTINGS if s.secret)
        + ".",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ddb-mcp {__version__}")
    for setting in SETTINGS:
        if setting.flag is None:
            continue
        default = f"; default: {setting.default}" if setting.default else ""
        text = f"{setting.help} [{setting.variable}; {setting.modes}{default}]".replace("%", "%%")
        if setting.is_switch:
            parser.add_argument(setting.flag, dest=setting.field, action="store_const", const="true", help=text)
        else:
            parser.add_argument(setting.flag, dest=setting.field, metavar="VALUE", help=text)
    parser.add_argument("--http", metavar="HOST:PORT", help="serve MCP over Streamable HTTP at this address instead")
    parser.set_defaults(run=_serve)
    return parser


def _serve(settings: Settings, arguments: argparse.Namespace) -> int:
    logging.getLogger("ddb_mcp").info("Serving in %s mode", settings.mode)

    def build() -> "Server[Any]":
        from ddb_mcp.server.app import build

        return build(make_service(settings), settings)

    if arguments.http:
        from ddb_mcp.server.http import parse_address, serve_http

        serve_http(build, *parse_address(arguments.http), settings.http_token)
    else:
        from ddb_mcp.server.stdio import serve_stdio

        serve_stdio(build)
    return 0


def make_service(settings: Settings) -> "DataService":
    """The service that the settings describe. Nothing is opened or connected yet."""
    from ddb_mcp.service import DataService
    from ddb_mcp.stores import make_store

    return DataService(
        make_store(settings),
        settings.prefix,
        read_only=settings.read_only,
        read_budget=settings.read_budget,
        max_result_bytes=settings.max_result_bytes,
    )
