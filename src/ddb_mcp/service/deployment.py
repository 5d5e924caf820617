"""`provision` and `info`: make a deployment's table, and describe it."""

from collections.abc import Mapping
from typing import Any, cast

from ddb_mcp import __version__
from ddb_mcp.core import limits
from ddb_mcp.service.arguments import InfoArguments, ProvisionArguments
from ddb_mcp.service.calls import Call
from ddb_mcp.service.instructions import instructions
from ddb_mcp.service.results import InfoResult, ProvisionResult
from ddb_mcp.stores.base import Deployment


async def provision(call: Call, arguments: ProvisionArguments) -> ProvisionResult:
    """Make the table where it is missing, and describe the deployment."""
    made = call.learn(await call.store.provision(call.progress))
    common = _common(call, made)
    return cast(
        "ProvisionResult",
        {**common, "created": made.created, "instructions": _instructions(call, made), **_details(call, made)},
    )


async def info(call: Call, arguments: InfoArguments) -> InfoResult:
    """Describe the deployment; change nothing."""
    found = call.learn(await call.store.info())
    return cast(
        "InfoResult",
        {
            **_common(call, found),
            "provisioned": found.provisioned,
            "version": __version__,
            "readOnly": call.read_only,
            "limits": {
                "itemBytes": limits.ITEM_MAX_BYTES,
                "pkBytes": limits.PK_MAX_BYTES,
                "skBytes": limits.SK_MAX_BYTES,
                "resultBytes": call.max_result_bytes,
                "readBudget": call.read_budget,
                "limit": limits.LIMIT_MAX,
                "batch": limits.BATCH_MAX,
            },
            "features": sorted(found.features),
            "instructions": _instructions(call, found),
            **_details(call, found),
        },
    )


def _common(call: Call, deployment: Deployment) -> dict[str, Any]:
    return {
        "tableName": deployment.table_name,
        "prefix": call.own.text,
        "region": deployment.region,
        "mode": call.store.mode,
    }


def _details(call: Call, deployment: Deployment) -> Mapping[str, Any]:
    """The store's own details, with a warning where the platform's prefix has one segment only."""
    if not call.own.is_one_segment:
        return deployment.details
    warning = (
        f"The platform's prefix {call.own.text!r} has one segment: nothing in a key tells one deployment from another, "
        "so that only the platform keeps them apart."
    )
    return {**deployment.details, "warnings": [*deployment.details.get("warnings", ()), warning]}


def _instructions(call: Call, deployment: Deployment) -> str:
    return deployment.instructions or instructions(
        table=deployment.table_name, prefix=call.own.text, region=deployment.region, mode=call.store.mode
    )
