"""`provision` and `info`: make a deployment's table, and describe it."""

from typing import Any, cast

from ddb_mcp import __version__
from ddb_mcp.core import limits
from ddb_mcp.service.arguments import InfoArguments, ProvisionArguments
from ddb_mcp.service.calls import Call
from ddb_mcp.service.instructions import instructions
from ddb_mcp.service.results import InfoResult, ProvisionResult
from ddb_mcp.stores.base import Deployment


async def provision(call: Call, arguments: ProvisionArguments) -> ProvisionResult:
    """Make the table where it is missing, and describe the deployment.

    Raises:
        DdbMcpError: what `Store.provision` raises.
    """
    deployment = call.learn(await call.store.provision(call.progress))
    return cast(
        "ProvisionResult", {**_names(call, deployment), "created": deployment.created, **_texts(call, deployment)}
    )


async def info(call: Call, arguments: InfoArguments) -> InfoResult:
    """Describe the deployment; change nothing.

    Raises:
        DdbMcpError: what `Store.info` raises.
    """
    deployment = call.learn(await call.store.info())
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
            "batch": limits.BATCH_MAX,
        },
        "features": sorted(deployment.features),
    }
    return cast("InfoResult", {**_names(call, deployment), **facts, **_texts(call, deployment)})


def _names(call: Call, deployment: Deployment) -> dict[str, Any]:
    return {
        "tableName": deployment.table_name,
        "prefix": call.own.text,
        "region": deployment.region,
        "mode": call.store.mode,
    }


def _texts(call: Call, deployment: Deployment) -> dict[str, Any]:
    """The instructions and the store's own details, with a warning where the prefix has one segment only."""
    text = deployment.instructions or instructions(
        table=deployment.table_name, prefix=call.own.text, region=deployment.region, mode=call.store.mode
    )
    result = {"instructions": text, **deployment.details}
    if call.own.is_one_segment:
        warning = (
            f"The platform's prefix {call.own.text!r} has one segment: nothing in a key tells one deployment from "
            "another, so that only the platform keeps them apart."
        )
        result["warnings"] = [*deployment.details.get("warnings", ()), warning]
    return result
