"""`ddb-mcp gateway check`: tries what a gateway needs of its tables and its port. Nothing is written."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ddb_mcp.cli.doctor import Steps
from ddb_mcp.config.settings import GatewaySettings
from ddb_mcp.core.conditions import Comparison
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, Misconfigured
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import Read, Store, WriteCondition

if TYPE_CHECKING:
    from ddb_mcp.gateway.registry import Registry

_KEY = Key("ddb-mcp#gateway#check", "none")
# No item has it, so that a write under this condition tells whether it is allowed, and changes nothing.
_NEVER = WriteCondition(expect=(Comparison(("ddb-mcp-gateway-check",), "exists"),))


async def check_gateway(registry: "Registry", settings: GatewaySettings, host: str, port: int) -> bool:
    """Print what works and what is to be corrected. Return whether everything works."""
    from ddb_mcp.gateway.registry import make_registry_settings
    from ddb_mcp.stores import make_store
    from ddb_mcp.web.listening import listen

    steps = Steps(print)
    store = make_store(settings)
    try:
        await _check_table(steps, "storage", store, writes=not settings.read_only)
    finally:
        await store.close()
    registry_store = make_store(make_registry_settings(settings))
    try:
        if await _check_table(steps, "registry", registry_store, writes=not settings.read_only):
            await steps.run_step("registry: keys", registry.get_keys)
    finally:
        await registry_store.close()

    async def bind() -> None:
        listen(host, port).close()

    await steps.run_step(f"port {port}", bind)
    print("\nFix this" if steps.fixes else "\nAll is well.")
    for fix in dict.fromkeys(steps.fixes):
        print(f"  {fix}")
    return not steps.fixes


async def _check_table(steps: Steps, name: str, store: Store, *, writes: bool) -> bool:
    """Try the operations on a table. Return whether it is there."""

    async def exists() -> None:
        deployment = await store.info()
        steps.fixes += deployment.details.get("warnings", ())
        if not deployment.provisioned:
            command = "ddb-mcp gateway init" if name == "registry" else "the tool provision of any deployment"
            raise Misconfigured(f"The {name} is missing ({deployment.table_name}).", next=f"Create it: {command}.")

    before = len(steps.fixes)
    await steps.run_step(f"{name}: table", exists)
    if len(steps.fixes) > before:
        return False
    item = _KEY.attributes
    operations: dict[str, Callable[[], Awaitable[object]]] = {
        "read an item": lambda: store.get(_KEY),
        "query": lambda: store.query(Read(pk=_KEY.pk, limit=1, read_limit=1)),
        "scan": lambda: store.scan(Read(pk_prefix=_KEY.pk, limit=1, read_limit=1)),
    }
    if writes:
        operations |= {
            "put an item": lambda: _refused(store.put(item, _NEVER, room=0)),
            "update an item": lambda: _refused(store.merge(Update({**item, "n": {"N": "1"}}), _NEVER, room=0)),
            "delete an item": lambda: _refused(store.delete(_KEY, _NEVER, room=0)),
        }
    for operation, run in operations.items():
        await steps.run_step(f"{name}: {operation}", run)
    return True


async def _refused(write: Awaitable[object]) -> None:
    try:
        await write
    except ConditionFailed:
        return
    raise DdbMcpError("A write was done whose condition does not hold.")
