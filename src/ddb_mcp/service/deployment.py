"""`provision` and `info`: make a deployment's table, and describe it."""

from typing import Any, cast

from ddb_mcp import __version__
from ddb_mcp.core import limits
from ddb_mcp.service.arguments import InfoArguments, ProvisionArguments
from ddb_mcp.service.call_context import CallContext
from ddb_mcp.service.instructions import ENDPOINT, write_instructions
from ddb_mcp.service.parameters import BATCH_MAX
from ddb_mcp.service.results import InfoResult, ProvisionResult
from ddb_mcp.stores.base import Deployment


async def provision(call: CallContext, arguments: ProvisionArguments) -> ProvisionResult:
    """Create the table if it does not exist, and describe the deployment.

    Raises:
        DdbMcpError: what `Store.provision` raises.
    """
    deployment = call.learn(await call.store.provision(call.progress))
    access = await _describe_access(call, deployment)
    return cast(
        "ProvisionResult",
        {**_describe_table(call, deployment), "created": deployment.created, **access},
    )


async def info(call: CallContext, arguments: InfoArguments) -> InfoResult:
    """Describe the deployment; change nothing.

    Raises:
        DdbMcpError: what `Store.info` raises.
    """
    deployment = call.learn(await call.store.info())
    access = await _describe_access(call, deployment)
    facts = {
        "provisioned": deployment.provisioned,
        "version": __version__,
        "readOnly": call.read_only,
        "limits": {
            "itemBytes": limits.ITEM_MAX_BYTES,
            "pkBytes": limits.PK_MAX_BYTES,
            "skBytes": limits.SK_MAX_BYTES,
            "resultBytes": call.max_result_bytes,
            "readBudget": call.read_budget,
            "limit": limits.LIMIT_MAX,
            "batch": BATCH_MAX,
        },
        "features": sorted(deployment.features),
    }
    return cast("InfoResult", {**_describe_table(call, deployment), **facts, **access})


def _describe_table(call: CallContext, deployment: Deployment) -> dict[str, Any]:
    return {
        "tableName": deployment.table_name,
        "prefix": call.prefix.text,
        "region": deployment.region,
        "mode": call.store.mode,
        **({} if deployment.indexes is None else {"indexes": [index.to_json() for index in deployment.indexes]}),
    }


async def _describe_access(call: CallContext, deployment: Deployment) -> dict[str, Any]:
    """Return the instructions and the store's own details, with a warning if the prefix has only one segment."""
    details = dict(deployment.details)
    warnings = list(details.pop("warnings", ()))
    address = ENDPOINT
    if call.find_endpoint is not None:
        address, _, found = await call.find_endpoint()
        warnings += found
    text = deployment.instructions or write_instructions(
        deployment.table_name, call.prefix.text, deployment.region, call.store.mode, address=address
    )
    if call.prefix.is_one_segment:
        warnings.append(
            f"The platform's prefix {call.prefix.text!r} has one segment: keys alone do not tell deployments apart, "
            "so only the platform separates them."
        )
    return {**({"warnings": warnings} if warnings else {}), "instructions": text, **details}
