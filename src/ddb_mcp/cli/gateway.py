"""`ddb-mcp gateway …`: makes the registry, serves, and changes deployments and their tokens."""

import argparse
import json
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddb_mcp.cli.deletion import confirm, print_progress
from ddb_mcp.cli.files import write_whole_file
from ddb_mcp.cli.progress import format_count, report_progress
from ddb_mcp.cli.serve import listening, tls_arguments
from ddb_mcp.cli.service import require_writing
from ddb_mcp.config.settings import DirectStorage, GatewaySettings
from ddb_mcp.config.values import parse_words
from ddb_mcp.core.errors import InvalidArgument, Misconfigured
from ddb_mcp.core.keys import PREFIX_ADVICE, Prefix
from ddb_mcp.service.transfer.purge import ItemCount, count_items

if TYPE_CHECKING:
    from ddb_mcp.gateway.registry import Registry
    from ddb_mcp.gateway.tenants import Tenant
    from ddb_mcp.stores.base import Store

_Action = Callable[["Registry", GatewaySettings, argparse.Namespace], Awaitable[int | None]]
"""Runs a command on the registry. Returns its exit code, None for 0."""


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """Add the arguments of `ddb-mcp gateway`. Each command is a function `run(settings, arguments) -> exit code`.

    Args:
        flags: the settings' own flags, which every command takes.
    """
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _action(commands, flags, "init", _init, "create the registry of deployments", named=False)
    serving = commands.add_parser("serve", help="serve the HTTP API and MCP", parents=[flags], allow_abbrev=False)
    tls_arguments(serving)
    serving.add_argument("--processes", type=_positive, default=1, metavar="N", help="processes on the port, default 1")
    serving.add_argument(
        "--drain-seconds", type=float, default=5, metavar="S", help="seconds to keep serving after SIGTERM, default 5"
    )
    serving.add_argument("--metrics-port", type=int, metavar="N", help="serve metrics for Prometheus on this port")
    serving.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="HOST", help="the address of that port, default 127.0.0.1"
    )
    serving.set_defaults(run=_serve)
    checking = _action(
        commands, flags, "check", _check, "check everything a gateway needs, without writing", named=False
    )
    for parser in (serving, checking):
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on, default 127.0.0.1")
        parser.add_argument("--port", type=int, default=8787, help="port, default 8787; 0 for any free one")
    deployments = commands.add_parser("deployments", help="add, list, show, update, rotate and remove deployments")
    _configure_deployments(deployments.add_subparsers(required=True, metavar="ACTION"), flags)
    tokens = commands.add_parser("tokens", help="add, list and revoke further tokens of a deployment")
    _configure_tokens(tokens.add_subparsers(required=True, metavar="ACTION"), flags)


def _configure_deployments(actions: Any, flags: argparse.ArgumentParser) -> None:
    text = "register a deployment and print its token, once"
    adding = _action(actions, flags, "add", _add, text, makes_token=True)
    adding.add_argument("--prefix", dest="own_prefix", help="its prefix, default deploy#NAME")
    updating = _action(actions, flags, "update", _update, "change its rates or functions; tokens and data stay")
    for parser in (adding, updating):
        parser.add_argument(
            "--requests-per-second", type=_positive, metavar="N", help="requests per second, default 500"
        )
        parser.add_argument(
            "--items-per-second", type=_positive, metavar="N", help="items read per second, default 20000"
        )
        parser.add_argument(
            "--lambda-functions",
            dest="own_functions",
            metavar="A,B",
            help="functions on which its provision sets DYNAMODB_TABLE and DYNAMODB_PREFIX",
        )
    _action(actions, flags, "list", _list, "list the deployments", named=False)
    _action(actions, flags, "show", _show, "print a deployment and its tokens as JSON")
    text = "revoke all its tokens and print a new one"
    _action(actions, flags, "rotate", _rotate, text, makes_token=True)
    removing = _action(actions, flags, "remove", _remove, "revoke its tokens and delete its data; safe to repeat")
    removing.add_argument("--yes", action="store_true", help="do not ask")


def _configure_tokens(actions: Any, flags: argparse.ArgumentParser) -> None:
    text = "add a token to a deployment and print it, once; with --read-only, it cannot write"
    _action(actions, flags, "add", _add_token, text, makes_token=True)
    _action(actions, flags, "list", _list_tokens, "list the ids of a deployment's tokens")
    revoking = _action(actions, flags, "revoke", _revoke_token, "revoke a token")
    revoking.add_argument("token_id", metavar="TOKEN_ID", help="as tokens list shows it")


def _action(
    commands: Any,
    flags: argparse.ArgumentParser,
    name: str,
    act: _Action,
    text: str,
    *,
    named: bool = True,
    makes_token: bool = False,
) -> argparse.ArgumentParser:
    """Add a command that reads or changes the registry. Return its parser.

    Args:
        flags: the settings' own flags.
        text: the command's help.
        named: whether it takes the name of a deployment.
        makes_token: whether it takes a file for the token that it makes.
    """
    added: argparse.ArgumentParser = commands.add_parser(name, help=text, parents=[flags], allow_abbrev=False)
    if named:
        added.add_argument("name", metavar="NAME", help="the deployment")
    if makes_token:
        token_help = "write the token to FILE, readable only by its owner"
        added.add_argument("--out", type=Path, metavar="FILE", help=token_help)
    added.set_defaults(run=partial(_with_registry, act=act))
    return added


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("it must be a whole number from 1")
    return int(text)


def _with_registry(settings: GatewaySettings, arguments: argparse.Namespace, act: _Action) -> int:
    import anyio

    from ddb_mcp.gateway.registry import Registry, make_registry_settings
    from ddb_mcp.stores import make_store

    registry = Registry(make_store(make_registry_settings(settings)))

    async def run() -> int:
        try:
            return await act(registry, settings, arguments) or 0
        finally:
            await registry.close()

    return anyio.run(run)


async def _init(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    from ddb_mcp.gateway.registry import make_registry_settings

    made, where = await registry.create_if_missing(print_progress), make_registry_settings(settings)
    place = where.table if isinstance(where, DirectStorage) else where.local_path
    print(f"Created the registry {place}." if made else f"The registry {place} exists already.")


def _serve(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    from ddb_mcp.gateway.server import serve_gateway

    if not re.fullmatch(r"[\w.:%-]*", arguments.host):
        raise Misconfigured(
            f"--host {arguments.host!r} is not a host name or an address.", next="Use one such as 127.0.0.1 or ::1."
        )
    _with_registry(settings, arguments, _ready)
    metrics_at = None if arguments.metrics_port is None else (arguments.metrics_host, arguments.metrics_port)
    serve_gateway(
        settings,
        listening(arguments.host, arguments.port, arguments),
        processes=arguments.processes,
        drain_seconds=arguments.drain_seconds,
        metrics_at=metrics_at,
    )
    return 0


async def _ready(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    if not settings.read_only:
        await registry.create_if_missing(print_progress)
    await registry.get_keys()


async def _add(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    given = _read_changes(settings, arguments)
    try:
        prefix = Prefix(arguments.own_prefix or f"deploy#{arguments.name}")
    except Misconfigured as wrong:
        raise Misconfigured(wrong.message, next=f"Choose another --prefix. {PREFIX_ADVICE}") from None
    await registry.create_if_missing(print_progress)
    about = f"{arguments.name} owns the keys that start with {prefix.joined}"
    await _hand_out(lambda: registry.add(arguments.name, prefix, **given), about, arguments)


def _read_changes(settings: GatewaySettings, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the rates and functions in the arguments."""
    names = ("requests_per_second", "items_per_second")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.own_functions is not None:
        given["functions"] = parse_words("--lambda-functions", arguments.own_functions)
        if given["functions"] and settings.mode == "local":
            raise InvalidArgument("Lambda functions cannot reach a local file.", next="Omit --lambda-functions.")
    return given


async def _update(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    given = _read_changes(settings, arguments)
    if not given:
        raise InvalidArgument(
            "There is nothing to change.",
            next="Pass --requests-per-second, --items-per-second or --lambda-functions.",
        )
    await registry.update(arguments.name, **given)
    await _show(registry, settings, arguments)


async def _check(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    from ddb_mcp.cli.gateway_check import check_gateway

    return await check_gateway(registry, settings, arguments)


async def _list(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    for tenant in await registry.list():
        state = f"since {_date(tenant.created)}" if tenant.state == "active" else f"being {_STATES[tenant.state]}"
        rates = f"{tenant.requests_per_second} requests/s, {tenant.items_per_second} items/s"
        print(f"{tenant.name}\t{tenant.prefix.text}\t{rates}\t{state}")


async def _show(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    tenant = await registry.get(arguments.name)
    shown = {
        "name": tenant.name,
        "prefix": tenant.prefix.text,
        "state": tenant.state,
        "created": _date(tenant.created),
        "requestsPerSecond": tenant.requests_per_second,
        "itemsPerSecond": tenant.items_per_second,
        "lambdaFunctions": list(tenant.functions),
        "tokens": [dict(zip(("id", "access", "created"), row, strict=True)) for row in _token_rows(tenant)],
    }
    print(json.dumps(shown, indent=2))


async def _rotate(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    about = "All earlier tokens are revoked"
    await _hand_out(lambda: registry.rotate(arguments.name), about, arguments, replaces=True)


async def _remove(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> int | None:
    from ddb_mcp.gateway.removal import remove_deployment
    from ddb_mcp.stores import make_store

    require_writing(settings, "remove deletes")
    tenant, store = await registry.get(arguments.name), make_store(settings)
    what = f"{tenant.name} and everything under {tenant.prefix.text}"
    try:
        if not await confirm(arguments, what, partial(_owned, store, tenant)):
            return 1
        with report_progress("deleted") as progress:
            deleted = await remove_deployment(registry, store, tenant.name, progress.say, progress.advance)
    finally:
        await store.close()
    print(f"{format_count(deleted)} deleted")
    return None


async def _owned(store: "Store", tenant: "Tenant") -> ItemCount:
    """Return how many items a removal would delete: 0 if the deployment was never added."""
    return ItemCount(0, exact=True) if tenant.state == "adding" else await count_items(store, tenant.prefix)


async def _add_token(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    read_only = settings.read_only
    about = f"A new token of {arguments.name}" + (", read-only" if read_only else "")
    await _hand_out(lambda: registry.add_token(arguments.name, read_only=read_only), about, arguments)


async def _list_tokens(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    for row in _token_rows(await registry.get(arguments.name)):
        print("\t".join(row))


async def _revoke_token(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> None:
    await registry.revoke_token(arguments.name, arguments.token_id)
    print(f"The token {arguments.token_id} of {arguments.name} is revoked")


_STATES = {"adding": "added", "removing": "removed"}


def _token_rows(tenant: "Tenant") -> list[tuple[str, str, str]]:
    tokens = sorted(tenant.tokens.items(), key=lambda entry: (entry[1].created, entry[0]))
    return [
        (token_id, "read-only" if token.read_only else "read and write", _date(token.created))
        for token_id, token in tokens
    ]


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


async def _hand_out(
    make: Callable[[], Awaitable[str]], about: str, arguments: argparse.Namespace, *, replaces: bool = False
) -> None:
    """Make a token and show it: alone on stdout, so that a script can store it, or in a private file.

    Args:
        replaces: whether all older tokens have ended, so that the file may be replaced. No token is shown twice.
    """
    if arguments.out is None:
        token = await make()
        print(f"{about}. The token, shown only now:", file=sys.stderr)
        print(token)
        return
    with write_whole_file(
        arguments.out, replaces=replaces
    ) as file:  # opened first: a token that cannot be kept is not made
        file.write(f"{await make()}\n".encode())
    print(f"{about}. The token is in {arguments.out}.", file=sys.stderr)
