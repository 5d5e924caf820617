"""`ddb-mcp gateway …`: serves the platform's HTTP API; adds, lists, rotates and removes deployments."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ddb_mcp.cli.deletion import UNSET_READ_ONLY, confirmed, run_deletion, say
from ddb_mcp.config import DirectStorage, GatewaySettings
from ddb_mcp.core.errors import Misconfigured, ReadOnly
from ddb_mcp.core.keys import Prefix

if TYPE_CHECKING:
    from ddb_mcp.gateway.deployments import Registry
    from ddb_mcp.stores.base import Store

# After a token has ended, writes that it opened may still be under way: a batch begins its last one within 25 s, and
# that may wait for a lock, be repeated, and be settled by a read.
_UNDER_WAY_SECONDS = 90


def configure(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """The arguments of `ddb-mcp gateway`. Each command is a function `run(settings, arguments) -> exit code`.

    Args:
        flags: the settings' own flags, which every command takes.
    """
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS, parents=[flags])
    common.add_argument("--registry", type=Path, metavar="FILE", help="the file with the deployments")
    parser.set_defaults(registry=None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="serve the HTTP API", parents=[common], allow_abbrev=False)
    serving.add_argument("--host", default="127.0.0.1", help="address to listen on, default 127.0.0.1")
    serving.add_argument("--port", type=int, default=8787, help="port, default 8787; 0 for any free one")
    serving.add_argument("--tls-cert", type=Path, metavar="FILE", help="PEM certificate chain")
    serving.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM key of the certificate")
    serving.add_argument("--behind-tls-proxy", action="store_true", help="a proxy before this process terminates TLS")
    serving.set_defaults(run=_serve)
    deployments = commands.add_parser("deployments", help="add, list, rotate and remove deployments")
    actions = deployments.add_subparsers(required=True, metavar="ACTION")

    def action(
        name: str, run: Callable[[GatewaySettings, argparse.Namespace], int], text: str, *, named: bool = True
    ) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, parents=[common], allow_abbrev=False)
        if named:
            added.add_argument("name", metavar="NAME", help="the deployment")
        added.set_defaults(run=run)
        return added

    adding = action("add", _add, "register a deployment and print its token, once")
    adding.add_argument("--prefix", dest="own_prefix", help="what it owns, default deploy#NAME")
    adding.add_argument("--requests-per-second", type=_positive, metavar="N", help="its requests, default 500")
    adding.add_argument("--items-per-second", type=_positive, metavar="N", help="items it may read, default 20000")
    action("list", _list, "list the deployments", named=False)
    action("rotate", _rotate, "give it a new token; the old one ends at once")
    removing = action("remove", _remove, "end its token and delete its data; run again after an interruption")
    removing.add_argument("--yes", action="store_true", help="do not ask")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("it takes a whole number from 1")
    return int(text)


def _serve(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    from ddb_mcp.gateway.app import Gateway
    from ddb_mcp.gateway.server import log_to_stderr, serve
    from ddb_mcp.stores import make_store

    registry = _registry(settings, arguments)
    log_to_stderr()
    serve(
        Gateway(registry, make_store(settings), read_only=settings.read_only),
        host=arguments.host,
        port=arguments.port,
        tls_certificate=arguments.tls_cert,
        tls_key=arguments.tls_key,
        behind_tls_proxy=arguments.behind_tls_proxy,
    )
    return 0


def _add(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    rates = {
        name: value
        for name in ("requests_per_second", "items_per_second")
        if (value := getattr(arguments, name)) is not None
    }
    try:
        prefix = Prefix(arguments.own_prefix or f"deploy#{arguments.name}")
    except Misconfigured as wrong:
        raise Misconfigured(wrong.message, next="Give another --prefix, for example deploy#abc123.") from None
    token = _registry(settings, arguments).add(arguments.name, prefix, **rates)
    _print_token(token, f"{arguments.name} owns the keys that start with {prefix.joined}")
    return 0


def _list(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    for tenant in _registry(settings, arguments).list():
        added = datetime.fromtimestamp(tenant.created, UTC).date().isoformat()
        state = "being removed" if tenant.removing else f"since {added}"
        rates = f"{tenant.requests_per_second} requests/s, {tenant.items_per_second} items/s"
        print(f"{tenant.name}\t{tenant.prefix.text}\t{rates}\t{state}")
    return 0


def _rotate(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    _print_token(_registry(settings, arguments).rotate(arguments.name), "The old token has ended")
    return 0


def _remove(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    from ddb_mcp.stores import make_store

    if settings.read_only:
        raise ReadOnly("remove deletes, and this configuration is read-only.", next=UNSET_READ_ONLY)
    registry = _registry(settings, arguments)
    tenants = [tenant for tenant in registry.list() if tenant.name == arguments.name]
    if tenants and not confirmed(arguments, f"Delete {arguments.name} and everything under {tenants[0].prefix.text}?"):
        return 1
    store = make_store(settings)

    async def removal() -> int:
        try:
            return await remove(registry, store, arguments.name)
        finally:
            await store.close()

    return run_deletion(removal())


async def remove(registry: "Registry", store: "Store", name: str, under_way_seconds: float = _UNDER_WAY_SECONDS) -> int:
    """End a deployment's token, let its writes under way end, delete its data, forget it.

    Interrupted, it goes on where it was when run again.

    Args:
        under_way_seconds: how long it waits for writes under way at most.

    Returns:
        How many items were deleted.

    Raises:
        InvalidArgument: there is no such deployment.
        Unavailable: a write is still under way; the deployment is then still being removed.
        DdbMcpError: what the store raises; likewise.
    """
    from ddb_mcp.gateway.under_way import UnderWay
    from ddb_mcp.service.purge import purge

    under_way = UnderWay(registry.path)
    try:
        tenant = registry.close_off(name)
        await under_way.ended(name, under_way_seconds, say)
    finally:
        under_way.close()
    done = await purge(store, tenant.prefix, say)
    registry.forget(name)
    return done.deleted


def _registry(settings: GatewaySettings, arguments: argparse.Namespace) -> "Registry":
    from ddb_mcp.gateway.deployments import Registry

    path = arguments.registry
    if path is None:
        from platformdirs import user_data_path

        path = user_data_path("ddb-mcp", appauthor=False) / "gateway.sqlite3"
    return Registry(path.expanduser().absolute(), f"{settings.mode} storage {_where(settings)}")


def _where(settings: GatewaySettings) -> str:
    if isinstance(settings, DirectStorage):
        return f"{settings.table} at {_endpoint(settings)}"
    return str(settings.local_path)


def _endpoint(settings: DirectStorage) -> str:
    """Where the configured table is: other regions and engines have tables of the same name."""
    from ddb_mcp.stores.direct import failures as aws_errors
    from ddb_mcp.stores.direct import session as aws_session
    from ddb_mcp.stores.platform.credentials import origin

    try:
        # With credentials of its own it does not look for those that it does not need.
        client = aws_session.session(None, {}).create_client(
            "dynamodb", aws_access_key_id="none", aws_secret_access_key="none"
        )
    except Exception as failure:
        raise aws_errors.mapped(failure, "dynamodb", "connect", settings.table, None) from failure
    return origin(client.meta.endpoint_url)


def _print_token(token: str, about: str) -> None:
    """The token alone on stdout, so that a script can keep it; the rest is for people."""
    print(f"{about}. The token, shown only now:", file=sys.stderr)
    print(token)
