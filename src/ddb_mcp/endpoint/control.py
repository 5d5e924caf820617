"""Operations on tables, time to live and tags."""

import json
from collections.abc import Callable, Collection
from functools import partial
from typing import Any
from uuid import UUID

from ddb_mcp.endpoint import indexes
from ddb_mcp.endpoint.errors import EndpointError, require_valid
from ddb_mcp.endpoint.requests import EndpointRequest
from ddb_mcp.endpoint.tables import is_arn, make_access_denied, make_arn, parse_table_name
from ddb_mcp.endpoint.values import INVALID, TABLE
from ddb_mcp.stores.local.table import LocalTable

_TTL = "ttl"
_UNSUPPORTED = (
    "VectorIndexes",
    "VectorIndexUpdates",
    "GlobalTableSourceArn",
    "ReplicaUpdates",
    "GlobalTableWitnessUpdates",
    "MultiRegionConsistency",
    "DeletionProtectionEnabled",
    "DisassociationProtectionEnabled",
)
_LISTED_MAX = 100
_TAGS_MAX = 50


async def create_table(call: EndpointRequest) -> dict[str, Any]:
    request = call.request
    name = parse_table_name(request["TableName"])
    call.check_access(call.operation, name, (), writes=True)
    mode = request.get("BillingMode") or "PROVISIONED"
    _check_billing(mode, request, "ReadCapacityUnits and WriteCapacityUnits must both")
    _refuse_unsupported(request)
    defined = indexes.read_definition(request)
    tags = _encode_tags(_read_tags(request.get("Tags") or []))
    table = await call.tables.make(name)
    if table is None:
        raise EndpointError("ResourceInUseException", f"Table already exists: {name}")
    await table.update_facts(lambda noted: {**noted, "ttl": "off", "tags": tags})
    await table.create_indexes(defined)
    return {"TableDescription": await _description(name, table)}


def _check_billing(mode: str | None, request: dict[str, Any], demand: str) -> None:
    has_units = request.get("ProvisionedThroughput") is not None
    require_valid(
        mode != indexes.ON_DEMAND or not has_units,
        f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is {mode}",
    )
    require_valid(mode != "PROVISIONED" or has_units, f"{INVALID}{demand} be specified when BillingMode is {mode}")


def _refuse_unsupported(request: dict[str, Any]) -> None:
    for unknown in _UNSUPPORTED:
        require_valid(not request.get(unknown), f"The ddb-mcp endpoint does not support {unknown}; remove it.")
    stream = request.get("StreamSpecification") or {}
    has_stream = bool(stream.get("StreamEnabled"))
    require_valid(not has_stream, "The ddb-mcp endpoint does not support streams; remove StreamSpecification.")
    disabled = "Table is being created with a stream disabled, UpdateViewType should not be specified"
    require_valid(not stream.get("StreamViewType"), INVALID + disabled)


async def update_table(call: EndpointRequest) -> dict[str, Any]:
    """Create or delete one global index. Throughput, billing, encryption and table class are accepted and ignored."""
    request = call.request
    changes = _read_changes(request)
    _refuse_unsupported(request)
    name, table = await call.find_table(request["TableName"], writes=True)
    if len(changes) > 1:
        raise EndpointError(
            "LimitExceededException",
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
        )
    for kind, action in changes:
        if kind == "Create":
            index = indexes.read_index(action, indexes.read_attribute_types(request), local=False)
            await table.create_indexes([index], partial(indexes.check_new_index, index))
        else:
            indexes.check_deletion(action["IndexName"], await table.get_indexes())
            await table.drop_index(action["IndexName"])
    return {"TableDescription": await _description(name, table)}


def _read_changes(request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the indexes to create or delete. Raises EndpointError, also if the request changes nothing."""
    require_valid(
        any(value != [] for name, value in request.items() if name not in ("TableName", "AttributeDefinitions")),
        "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or "
        "SSESpecification or ReplicaUpdates is required",
    )
    _check_billing(request.get("BillingMode"), request, "ProvisionedThroughput must")
    kinds = ("Update", "Create", "Delete")
    updates = request.get("GlobalSecondaryIndexUpdates") or []
    changes = [(kind, update[kind]) for update in updates for kind in kinds if update.get(kind)]
    null = ", ".join(f"GlobalSecondaryIndexUpdate.{kind}" for kind in kinds)
    require_valid(len(changes) >= len(updates), f"{INVALID}One of {null} must not be null")
    names = [action["IndexName"] for _, action in changes]
    for name in names:
        is_single = names.count(name) == 1
        message = f"Only one global secondary index update per index is allowed simultaneously. Index: {name}"
        require_valid(is_single, INVALID + message)
    return [change for change in changes if change[0] != "Update"]


async def describe_table(call: EndpointRequest) -> dict[str, Any]:
    return {"Table": await _description(*await call.find_table(call.request["TableName"]))}


async def delete_table(call: EndpointRequest) -> dict[str, Any]:
    name, table = await call.find_table(call.request["TableName"], writes=True)
    if call.access.prefix is not None:
        raise make_access_denied(
            call.operation, name, "It may hold items of other deployments; --all-keys lifts this restriction."
        )
    description = {**await _description(name, table), "TableStatus": "DELETING"}
    await table.remove()
    return {"TableDescription": description}


async def list_tables(call: EndpointRequest) -> dict[str, Any]:
    after = call.request.get("ExclusiveStartTableName") or ""
    limit = call.request.get("Limit") or _LISTED_MAX
    names = await call.tables.names(after, limit + 1)
    more = {"LastEvaluatedTableName": names[limit - 1]} if len(names) > limit else {}
    return {"TableNames": names[:limit], **more}


async def describe_time_to_live(call: EndpointRequest) -> dict[str, Any]:
    _, table = await call.find_table(call.request["TableName"])
    is_off = (await table.load_facts()).get("ttl") == "off"
    status = {"TimeToLiveStatus": "DISABLED"} if is_off else {"TimeToLiveStatus": "ENABLED", "AttributeName": _TTL}
    return {"TimeToLiveDescription": status}


async def update_time_to_live(call: EndpointRequest) -> dict[str, Any]:
    attribute, enabled = (call.request["TimeToLiveSpecification"][member] for member in ("AttributeName", "Enabled"))
    _, table = await call.find_table(call.request["TableName"], writes=True)
    is_known = attribute == _TTL
    require_valid(is_known, f"In the ddb-mcp endpoint, items can only expire by the attribute {_TTL}.")

    def turn(noted: dict[str, str]) -> dict[str, str]:
        is_change = enabled == (noted.get("ttl") == "off")
        require_valid(is_change, f"TimeToLive is already {'enabled' if enabled else 'disabled'}")
        return {**noted, "ttl": "on" if enabled else "off"}

    await table.update_facts(turn)
    return {"TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": _TTL}}


async def tag_resource(call: EndpointRequest) -> None:
    """Add or overwrite tags."""
    new = _read_tags(call.request["Tags"])
    await _change_tags(call, "Tag", new, lambda tags: tags | new)


async def untag_resource(call: EndpointRequest) -> None:
    """Remove tags."""
    removed = set(call.request["TagKeys"])
    await _change_tags(
        call, "Tag Key", removed, lambda tags: {name: tags[name] for name in tags if name not in removed}
    )


async def _change_tags(
    call: EndpointRequest, what: str, given: Collection[str], change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    arn = _read_arn(call)
    require_valid(bool(given), f"Atleast one {what} needs to be provided as Input.")
    _, table = await call.find_table(arn, writes=True)
    await table.update_facts(lambda noted: {**noted, "tags": _encode_tags(change(json.loads(noted.get("tags", "{}"))))})


async def list_tags_of_resource(call: EndpointRequest) -> dict[str, Any]:
    """Return a table's tags."""
    _, table = await call.find_table(_read_arn(call))
    tags = json.loads((await table.load_facts()).get("tags", "{}"))
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _read_arn(call: EndpointRequest) -> str:
    arn: str = call.request["ResourceArn"]
    require_valid(is_arn(arn), f"Invalid TableArn: Invalid ResourceArn provided as input {arn}")
    return arn


async def describe_endpoints(call: EndpointRequest) -> dict[str, Any]:
    return {"Endpoints": [{"Address": call.host, "CachePeriodInMinutes": 1440}]}


def _read_tags(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _encode_tags(tags: dict[str, str]) -> str:
    require_valid(len(tags) <= _TAGS_MAX, f"A table has at most {_TAGS_MAX} tags.")
    return json.dumps(tags)


async def _description(name: str, table: LocalTable) -> dict[str, Any]:
    noted = await table.load_facts()
    known = await table.get_indexes()
    items, size, counts = await table.measure()
    return {
        "AttributeDefinitions": indexes.describe_attributes(known),
        "TableName": name,
        "KeySchema": indexes.describe_keys(TABLE),
        "TableStatus": "ACTIVE",
        "CreationDateTime": float(noted.get("created", 0)),
        "ProvisionedThroughput": indexes.NO_THROUGHPUT,
        "TableSizeBytes": size,
        "ItemCount": items,
        "TableArn": make_arn(name),
        "TableId": str(UUID(hex=noted.get("id", "").rjust(32, "0"))),
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "TableClassSummary": {"TableClass": "STANDARD"},
        "DeletionProtectionEnabled": False,
        **indexes.describe_indexes(name, known, counts, size / max(items, 1)),
    }
