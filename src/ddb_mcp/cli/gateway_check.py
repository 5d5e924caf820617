"""`ddb-mcp gateway check`: tries what a gateway needs, and says what to fix."""

import argparse
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ddb_mcp.cli.doctor import Steps
from ddb_mcp.config.settings import GatewaySettings
from ddb_mcp.core.errors import ConditionFailed, NotProvisioned
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import Deployment, Read, Store, WriteCondition

if TYPE_CHECKING:
    from ddb_mcp.gateway.registry import Registry

_KEY = Key("ddb-mcp#gateway#check", "check")
_NEVER = WriteCondition(expect=parse_filter({"never": True}, "expect"))


async def check_gateway(registry: "Registry", settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Check the tables, each permission on them, the functions and the port. Nothing is written. Return the exit code.

    A write is tried with a condition that no item meets, after AWS has checked the permission.
    """
    from ddb_mcp.stores import make_store
    from ddb_mcp.web.listening import listen

    async def check_port() -> None:
        listen(arguments.host, arguments.port).close()

    steps, store = Steps(print), make_store(settings)
    try:
        await _check_table(steps, "data", store, "The first provision of a tenant creates it.", not settings.read_only)
        await _check_table(steps, "registry", registry.store, "Create it with: ddb-mcp gateway init", True)
        await steps.run_step("registry: secret", registry.check)
        for tenant in await steps.run_step("registry: deployments", registry.list) or ():
            if tenant.functions:
                own = store.for_deployment(tenant.prefix, tenant.functions)
                info = await steps.run_step(f"functions of {tenant.name}", own.info)
                states: list[dict[str, Any]] = info.details.get("lambdaFunctions", []) if info else []
                steps.fixes += [f"{state['name']}: {state['detail']}" for state in states if "detail" in state]
        await steps.run_step(f"port {arguments.port}", check_port)
    finally:
        await store.close()
    return 1 if steps.list_fixes() else 0


async def _check_table(steps: Steps, name: str, store: Store, advice: str, writes: bool) -> None:
    async def find() -> Deployment:
        deployment = await store.info()
        if not deployment.provisioned:
            raise NotProvisioned(f"There is no table {deployment.table_name!r}.", next=advice)
        return deployment

    if (deployment := await steps.run_step(f"{name}: table", find)) is None:
        return
    steps.fixes += deployment.details.get("warnings", [])
    item = _KEY.attributes
    reads: dict[str, Callable[[], Awaitable[Any]]] = {
        "GetItem": partial(store.get, _KEY),
        "Query": partial(store.query, Read(pk=_KEY.pk, limit=1)),
        "Scan": partial(store.scan, Read(pk_prefix=_KEY.pk, limit=1, read_limit=1)),
    }
    changes: dict[str, Callable[[], Awaitable[Any]]] = {
        "PutItem": partial(store.put, item, _NEVER),
        "UpdateItem": partial(store.merge, Update({**item, "never": {"BOOL": True}}), _NEVER),
        "DeleteItem": partial(store.delete, _KEY, _NEVER),
    }
    for permission, call in (reads | changes if writes else reads).items():
        await steps.run_step(f"{name}: {permission}", partial(_try, call))


async def _try(call: Callable[[], Awaitable[Any]]) -> None:
    try:
        await call()
    except ConditionFailed:
        return
