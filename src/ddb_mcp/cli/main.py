"""The command line: one small function a command. Imports happen in the functions, so that each pays for its own."""

import argparse
import difflib
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ddb_mcp import __version__
from ddb_mcp.cli.gateway import configure_gateway, configure_purge, run_purge
from ddb_mcp.config import SETTINGS, Settings, resolve
from ddb_mcp.core.errors import DdbMcpError

if TYPE_CHECKING:
    from typing import Any

    from mcp.server.lowlevel import Server

    from ddb_mcp.service.service import DataService


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 2 for a wrong call or configuration, 1 for a failure."""
    _open_missing_streams()
    _choose_encodings()
    flags_only, parser = _parsers()
    # Asked first: argparse would take the value of an unknown flag for the command, and complain of that.
    unknown = [flag for flag in flags_only.parse_known_args(argv)[1][:1] if flag.startswith("--") and flag != "--help"]
    if not unknown:
        arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"unknown argument {_unknown(unknown[0].partition('=')[0])}")
    flags = {s.variable: getattr(arguments, s.field) for s in SETTINGS if getattr(arguments, s.field, None) is not None}
    try:
        settings = resolve({**getattr(arguments, "implied", {}), **os.environ}, flags)
        logging.basicConfig(
            stream=sys.stderr, level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        code = int(arguments.run(settings, arguments))
        sys.stdout.flush()
        return code
    except DdbMcpError as error:
        if arguments.run is _doctor:
            from ddb_mcp.cli.doctor import list_given

            list_given(os.environ, flags, print)
            sys.stdout.flush()  # so that a transcript of both streams ends with what to fix
        print(f"ddb-mcp: {error.message} {error.next}", file=sys.stderr)
        return 2
    except OSError as error:  # most likely of the output: `ddb-mcp … | head`, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the interpreter's end
        if not isinstance(error, BrokenPipeError):
            print(f"ddb-mcp: {error.filename or 'stdout'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        from ddb_mcp.server.stdio import leave

        leave(130)  # now: a worker thread may be waiting for the network


def _open_missing_streams() -> None:
    """A parent may have closed them; what is opened next must not take their place."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, descriptor)
            if nothing != descriptor:
                os.close(nothing)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r"))


def _choose_encodings() -> None:
    """What is piped is UTF-8, as JSON is; a terminal keeps its own encoding. No text can fail to be printed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _unknown(flag: str) -> str:
    """The name of an unknown flag, and what may have been meant by it."""
    for setting in SETTINGS:
        if setting.secret and flag.startswith("--") and setting.variable.endswith(flag[1:].upper().replace("-", "_")):
            return f"{flag}; secrets are variables only: set {setting.variable}"
    flags = [*(s.flag for s in SETTINGS if s.flag), "--http", "--version", "--help"]
    if flag in flags:
        return f"{flag}: it does not go with a command"
    near = difflib.get_close_matches(flag, flags, 1)
    return f"{flag}; did you mean {near[0]}?" if near else flag


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser of what may stand before a command, and the whole one."""
    settings = _setting_flags()
    usage = "%(prog)s [SETTING ...] [--http HOST:PORT | COMMAND ...]"
    top = argparse.ArgumentParser("ddb-mcp", usage, parents=[settings], allow_abbrev=False, add_help=False)
    top.add_argument("--http", metavar="HOST:PORT", help="serve MCP over Streamable HTTP at this address instead")
    top.add_argument("--version", action="version", version=f"ddb-mcp {__version__}")
    parser = argparse.ArgumentParser(
        "ddb-mcp",
        usage,
        description="An MCP server for one deployment's slice of a shared DynamoDB table. "
        "Without a command it serves MCP over stdin and stdout.",
        epilog="Every flag is also an environment variable, named in brackets; secrets are variables only: "
        + ", ".join(f"{s.variable} ({s.help})" for s in SETTINGS if s.secret)
        + ".",
        parents=[top],
        allow_abbrev=False,
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="ddb-mcp")

    def command(
        name: str,
        run: Callable[[Settings, argparse.Namespace], int],
        text: str,
        usage: str | None = "%(prog)s [SETTING ...]",
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=text, description=text, usage=usage, parents=[settings], allow_abbrev=False
        )
        added.set_defaults(run=run)
        return added

    call = command("call", _call, "call one tool and print its result as JSON", "%(prog)s [SETTING ...] TOOL [JSON]")
    call.add_argument("tool", metavar="TOOL", choices=("provision", "info", "get", "put", "delete", "query", "scan"))
    call.add_argument(
        "arguments", nargs="?", default="{}", metavar="JSON", help="its arguments; - reads them from stdin"
    )
    command("doctor", _doctor, "show the configuration, try the store, and say what to fix")
    command("policy", _policy, "print the least-privilege IAM policy for the table and prefix")
    gateway = command("gateway", _serve, "serve the platform's HTTP API; add and remove deployments", None)
    configure_gateway(gateway, settings)
    configure_purge(command("purge", run_purge, "delete everything under the configured prefix"))
    return top, parser


def _setting_flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("settings")
    for setting in SETTINGS:
        if setting.flag is None:
            continue
        default = f"; default: {setting.default}" if setting.default else ""
        text = f"{setting.help} [{setting.variable}; {setting.modes}{default}]".replace("%", "%%")
        if setting.is_switch:
            group.add_argument(setting.flag, dest=setting.field, action="store_const", const="true", help=text)
        else:
            group.add_argument(setting.flag, dest=setting.field, metavar="VALUE", help=text)
    return parser


def _serve(settings: Settings, arguments: argparse.Namespace) -> int:
    logging.getLogger("ddb_mcp").info("Serving in %s mode", settings.mode)

    def build() -> "Server[Any]":
        from ddb_mcp.server.app import build

        return build(make_service(settings), settings)

    if arguments.http:
        from ddb_mcp.server.http import parse_address, serve_http

        serve_http(build, *parse_address(arguments.http), settings.http_token, settings.http_hosts)
    else:
        from ddb_mcp.server.stdio import serve_stdio

        serve_stdio(build)
    return 0


def _call(settings: Settings, arguments: argparse.Namespace) -> int:
    import anyio

    from ddb_mcp.core.items import parse_json
    from ddb_mcp.core.text import compact

    async def call() -> int:
        service = make_service(settings)
        try:
            text = arguments.arguments
            if text == "-":  # UTF-8 whatever the locale; Windows' shells put a byte order mark before it
                text = sys.stdin.buffer.read().decode("utf-8-sig", errors="surrogateescape")
            given = parse_json(text, "arguments", exact=False)
            print(compact(await service.call(arguments.tool, given)))
        except DdbMcpError as error:
            print(compact({"error": error.to_json()}), file=sys.stderr)
            return 1
        finally:
            await service.store.close()
        return 0

    return anyio.run(call)


def _doctor(settings: Settings, arguments: argparse.Namespace) -> int:
    import anyio

    from ddb_mcp.cli.doctor import examine

    return 0 if anyio.run(examine, settings, make_service(settings), print) else 1


def _policy(settings: Settings, arguments: argparse.Namespace) -> int:
    from ddb_mcp.stores.direct.policy import policy

    print(json.dumps(policy(settings), indent=2))
    return 0


def make_service(settings: Settings) -> "DataService":
    """The service that the settings describe. Nothing is opened or connected yet."""
    from ddb_mcp.service.service import DataService
    from ddb_mcp.stores import make_store

    return DataService(
        make_store(settings),
        settings.prefix,
        read_only=settings.read_only,
        read_budget=settings.read_budget,
        max_result_bytes=settings.max_result_bytes,
    )
