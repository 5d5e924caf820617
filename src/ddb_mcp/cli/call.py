"""`ddb-mcp call`: one tool, called once."""

import argparse
import difflib
import sys

from ddb_mcp.cli.commands import TOOLS
from ddb_mcp.cli.service import make_service
from ddb_mcp.config import ModeSettings
from ddb_mcp.core.errors import DdbMcpError, InvalidArgument


def configure(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """The arguments of `ddb-mcp call`."""
    parser.usage = "%(prog)s [SETTING ...] TOOL [JSON]"
    parser.add_argument("tool", metavar="TOOL", help=", ".join(TOOLS))
    parser.add_argument(
        "arguments", nargs="?", default="{}", metavar="JSON", help="its arguments; - reads them from stdin"
    )


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    import anyio

    if arguments.tool not in TOOLS:
        near = difflib.get_close_matches(arguments.tool, TOOLS, 1)
        advice = f"Did you mean {near[0]!r}?" if near else f"The tools are {', '.join(TOOLS)}."
        raise InvalidArgument(f"{arguments.tool!r} is not a tool.", next=advice)
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
