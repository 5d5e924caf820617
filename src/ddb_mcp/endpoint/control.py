"""Operations on tables: create, describe, list, delete, time to live and tags."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from ddb_mcp.endpoint import indexes
from ddb_mcp.endpoint.errors import EndpointError, require_valid
from ddb_mcp.endpoint.requests import EndpointRequest
from ddb_mcp.endpoint.tables import make_access_denied, make_arn, parse_table_name
from ddb_mcp.endpoint.values import TABLE
from ddb_mcp.stores.local.table import LocalTable

_TTL = "ttl"
_WHAT = "A table of the endpoint of ddb-mcp has the string keys pk (HASH) and sk (RANGE)"
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
    _refuse_unsupported(request)
    has_keys = request.get("KeySchema") == indexes.describe_keys(TABLE)
    require_valid(has_keys, f"{_WHAT}, and KeySchema says otherwise.")
    types = indexes.read_attribute_types(request)
    has_types = types.get("pk") == types.get("sk") == "S"
    require_valid(has_types, f"{_WHAT}, and AttributeDefinitions says otherwise.")
    defined = indexes.read_indexes(request, types)
    tags = _encode_tags(_read_tags(request.get("Tags") or []))
    table = await call.tables.make(name)
    if table is None:
        raise EndpointError("ResourceInUseException", f"Table already exists: {name}")
    await table.note(lambda noted: {**noted, "ttl": "off", "tags": tags})
    await table.create_indexes(defined)
    return {"TableDescription": await _description(name, table)}


def _refuse_unsupported(request: dict[str, Any]) -> None:
    for unknown in _UNSUPPORTED:
        require_valid(not request.get(unknown), f"{_WHAT}, indexes, and nothing else; take {unknown} out.")
    has_streams = (request.get("StreamSpecification") or {}).get("StreamEnabled")
    require_valid(not has_streams, "The endpoint of ddb-mcp has no streams; take StreamSpecification out.")


async def update_table(call: EndpointRequest) -> dict[str, Any]:
    """Create or delete one global index. Throughput, billing, encryption and class are accepted, and change nothing."""
    request = call.request
    _refuse_unsupported(request)
    name, table = await call.find_table(request["TableName"], writes=True)
    updates = request.get("GlobalSecondaryIndexUpdates") or []
    changes = [(kind, action) for update in updates for kind, action in update.items() if action and kind != "Update"]
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


async def describe_table(call: EndpointRequest) -> dict[str, Any]:
    return {"Table": await _description(*await call.find_table(call.request["TableName"]))}


async def delete_table(call: EndpointRequest) -> dict[str, Any]:
    name, table = await call.find_table(call.request["TableName"], writes=True)
    if call.access.prefix is not None:
        raise make_access_denied(call.operation, name, "Others' items may be in it; --all-keys lifts this.")
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
    is_off = (await table.about()).get("ttl") == "off"
    status = {"TimeToLiveStatus": "DISABLED"} if is_off else {"TimeToLiveStatus": "ENABLED", "AttributeName": _TTL}
    return {"TimeToLiveDescription": status}


async def update_time_to_live(call: EndpointRequest) -> dict[str, Any]:
    attribute, enabled = (call.request["TimeToLiveSpecification"][member] for member in ("AttributeName", "Enabled"))
    _, table = await call.find_table(call.request["TableName"], writes=True)
    is_known = attribute == _TTL
    require_valid(is_known, f"The endpoint of ddb-mcp expires items by the attribute {_TTL} and no other.")

    def turn(noted: dict[str, str]) -> dict[str, str]:
        is_change = enabled == (noted.get("ttl") == "off")
        require_valid(is_change, f"TimeToLive is already {'enabled' if enabled else 'disabled'}")
        return {**noted, "ttl": "on" if enabled else "off"}

    await table.note(turn)
    return {"TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": _TTL}}


async def tag_resource(call: EndpointRequest) -> dict[str, Any]:
    return await _change_tags(call, lambda tags: tags | _read_tags(call.request["Tags"]))


async def untag_resource(call: EndpointRequest) -> dict[str, Any]:
    removed = set(call.request["TagKeys"])
    return await _change_tags(call, lambda tags: {name: tags[name] for name in tags if name not in removed})


async def _change_tags(call: EndpointRequest, change: Callable[[dict[str, str]], dict[str, str]]) -> dict[str, Any]:
    _, table = await call.find_table(call.request["ResourceArn"], writes=True)
    await table.note(lambda noted: {**noted, "tags": _encode_tags(change(json.loads(noted.get("tags", "{}"))))})
    return {}


async def list_tags_of_resource(call: EndpointRequest) -> dict[str, Any]:
    _, table = await call.find_table(call.request["ResourceArn"])
    tags = json.loads((await table.about()).get("tags", "{}"))
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


async def describe_endpoints(call: EndpointRequest) -> dict[str, Any]:
    return {"Endpoints": [{"Address": call.host, "CachePeriodInMinutes": 1440}]}


def _read_tags(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _encode_tags(tags: dict[str, str]) -> str:
    require_valid(len(tags) <= _TAGS_MAX, f"A table has at most {_TAGS_MAX} tags.")
    return json.dumps(tags)


async def _description(name: str, table: LocalTable) -> dict[str, Any]:
    noted = await table.about()
    known = await table.get_indexes()
    items, size, counts = await table.extent()
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
