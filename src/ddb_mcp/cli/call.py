"""`ddb-mcp call`: one tool, called once, or until its last page."""

import argparse
import difflib
import sys
import textwrap
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ddb_mcp.cli.commands import TOOLS
from ddb_mcp.cli.files import name_errors
from ddb_mcp.cli.service import derive_cursor_key, make_service
from ddb_mcp.config.settings import ModeSettings
from ddb_mcp.core.errors import DdbMcpError, InvalidArgument

if TYPE_CHECKING:
    from ddb_mcp.service.service import DataService

_EXAMPLES = """\
The tools: provision, info, get, put, delete, query, scan. `ddb-mcp call TOOL --help` lists the parameters of one.
An argument is NAME=VALUE, where VALUE is text or JSON, depending on its type, or one JSON object contains them all.
Numbers keep every digit. A cursor continues a listing in a later call.

examples:
  ddb-mcp call scan view=summary
  ddb-mcp call get pk='deploy#abc123#user#7' sk=PROFILE
  ddb-mcp call query pk='deploy#abc123#user#7' filter='{"status": "open"}' --all
  ddb-mcp call put '{"item": {"pk": "deploy#abc123#user#7", "sk": "PROFILE", "balance": 12.50}}'"""

# A batch of 100 items of 400 KB, and what JSON adds to it.
_STDIN_MAX_BYTES = 100_000_000


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """Add the arguments of `ddb-mcp call`."""
    parser.usage = "%(prog)s [SETTING ...] [--all] TOOL [JSON | - | NAME=VALUE ...]"
    parser.epilog = _EXAMPLES
    parser.add_argument("tool", metavar="TOOL", help=", ".join(TOOLS))
    parser.add_argument(
        "words",
        nargs="*",
        metavar="ARGUMENT",
        help="JSON, or - to read JSON from stdin, or NAME=VALUE, or both",
    )
    parser.add_argument("--all", action="store_true", help="for query and scan: follow cursors to the end")


def describe_tool(name: str) -> str:
    """Return the help of `ddb-mcp call TOOL`: the parameters in the tool's published schema."""
    from ddb_mcp.service.arguments import InputSchema
    from ddb_mcp.service.operations import BY_NAME

    operation = BY_NAME[name]
    schema = operation.arguments.model_json_schema(schema_generator=InputSchema)
    usage = f"usage: ddb-mcp call [SETTING ...] {name} [JSON | - | NAME=VALUE ...]"
    lines = [usage, "", textwrap.fill(operation.description, 100), "", "parameters:"]
    wrap = textwrap.TextWrapper(85, " " * 15, " " * 15, break_long_words=False, break_on_hyphens=False)
    for parameter, described in schema["properties"].items():
        kind = " | ".join(described.get("enum", [described["type"]]))
        lines.append(f"  {parameter:<12} {kind}{', required' if parameter in schema.get('required', ()) else ''}")
        lines += wrap.wrap(described.get("description", ""))
    return "\n".join([*lines, *([] if schema["properties"] else ["  none"]), "", "settings: ddb-mcp call --help"])


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Call the tool. Return 1 if it fails, else 0. Raises InvalidArgument for a wrong line."""
    import anyio

    tool = arguments.tool
    if tool not in TOOLS:
        near = difflib.get_close_matches(tool, TOOLS, 1)
        advice = f"Did you mean {near[0]!r}?" if near else f"The tools are {', '.join(TOOLS)}."
        raise InvalidArgument(f"{tool!r} is not a tool.", next=advice)
    if arguments.all and tool not in ("query", "scan"):
        raise InvalidArgument(f"--all is for query and scan; {tool} has no pages.", next="Leave --all out.")
    return anyio.run(_call, settings, tool, arguments.words, arguments.all)


async def _call(settings: ModeSettings, tool: str, words: list[str], every_page: bool) -> int:
    from ddb_mcp.core.text import encode_json
    from ddb_mcp.service.results import add_notice

    service = make_service(settings, derive_cursor_key(settings))
    try:
        tool_arguments = _arguments(words)
        if every_page:
            async for result in _pages(service, tool, tool_arguments):
                print(encode_json(add_notice(result)))
        else:
            print(encode_json(add_notice(await service.run_operation(tool, tool_arguments))))
    except DdbMcpError as error:
        print(encode_json({"error": error.to_json()}), file=sys.stderr)
        return 1
    finally:
        await service.store.close()
    return 0


def _arguments(words: list[str]) -> dict[str, Any]:
    """Return the tool's arguments, from JSON and from words of the form NAME=VALUE. Raises InvalidArgument."""
    from ddb_mcp.core.items import parse_json
    from ddb_mcp.service.parameters import parse_arguments_object

    tool_arguments: dict[str, Any] = {}
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if equals and name.replace("_", "").isalpha():
            if name in tool_arguments:
                raise InvalidArgument(f"{name} appears twice.")
            tool_arguments[name] = value  # the service parses JSON in it, unless the argument is text
        elif at == 0:
            if word == "-":  # UTF-8 whatever the locale; Windows' shells put a byte order mark before it
                word = _read_stdin().decode("utf-8-sig", errors="surrogateescape")
            tool_arguments = parse_arguments_object(parse_json(word, "arguments"))
        else:
            raise InvalidArgument(f"{word!r} is not an argument.", next="Write NAME=VALUE, or one JSON object first.")
    return tool_arguments


def _read_stdin() -> bytes:
    with name_errors("stdin"):
        text = sys.stdin.buffer.read(_STDIN_MAX_BYTES + 1)
    if len(text) > _STDIN_MAX_BYTES:
        raise InvalidArgument(f"stdin has more than {_STDIN_MAX_BYTES} bytes.", next="Use ddb-mcp import.")
    return text


async def _pages(service: "DataService", tool: str, tool_arguments: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Join all pages into one result. The pages of a summary cannot be joined: each covers its own range."""
    page = await service.run_operation(tool, tool_arguments)
    whole = page
    while page.get("cursor"):
        if "groups" in page:
            yield page
        page = await service.run_operation(tool, {**tool_arguments, "cursor": page["cursor"]})
        whole = page if "items" not in page else _join(whole, page)
    yield whole


def _join(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Join two pages of items. The second one's state of the listing applies."""
    offset = len(first["items"])
    joined = {**second, "items": first["items"] + second["items"]}
    for name in ("count", "scanned", "capacity"):
        if name in second:
            joined[name] = first.get(name, 0) + second[name]
    if outlined := [*first.get("outlined", ()), *(at + offset for at in second.get("outlined", ()))]:
        joined["outlined"] = outlined
    return joined
