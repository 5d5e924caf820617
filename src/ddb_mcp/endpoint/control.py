"""Operations on tables: create, describe, list, delete, time to live and tags."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from ddb_mcp.endpoint.errors import EndpointError, make_validation_error
from ddb_mcp.endpoint.requests import EndpointRequest
from ddb_mcp.endpoint.tables import make_access_denied, make_arn, parse_table_name
from ddb_mcp.stores.local.table import LocalTable

_KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
_ATTRIBUTES = [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}]
_TTL = "ttl"
_WHAT = "A table of the endpoint of ddb-mcp has the string keys pk (HASH) and sk (RANGE)"
_UNSUPPORTED = (
    "LocalSecondaryIndexes",
    "GlobalSecondaryIndexes",
    "VectorIndexes",
    "GlobalTableSourceArn",
    "DeletionProtectionEnabled",
)
_LISTED_MAX = 100
_TAGS_MAX = 50


async def create_table(call: EndpointRequest) -> dict[str, Any]:
    request = call.request
    name = parse_table_name(request["TableName"])
    call.check_access(call.operation, name, (), writes=True)
    _check_schema(request)
    tags = _encode_tags(_read_tags(request.get("Tags") or []))
    table = await call.tables.make(name)
    if table is None:
        raise EndpointError("ResourceInUseException", f"Table already exists: {name}")
    await table.note(lambda noted: {**noted, "ttl": "off", "tags": tags})
    return {"TableDescription": await _description(name, table)}


def _check_schema(request: dict[str, Any]) -> None:
    for parameter, wanted in (("KeySchema", _KEYS), ("AttributeDefinitions", _ATTRIBUTES)):
        if sorted(sorted(entry.items()) for entry in request.get(parameter) or ()) != [
            sorted(entry.items()) for entry in wanted
        ]:
            raise make_validation_error(f"{_WHAT}, and {parameter} says otherwise.")
    for unknown in _UNSUPPORTED:
        if request.get(unknown):
            raise make_validation_error(f"{_WHAT}, and nothing else; take {unknown} out.")
    if (request.get("StreamSpecification") or {}).get("StreamEnabled"):
        raise make_validation_error("The endpoint of ddb-mcp has no streams; take StreamSpecification out.")


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
    if attribute != _TTL:
        raise make_validation_error(f"The endpoint of ddb-mcp expires items by the attribute {_TTL} and no other.")

    def turn(noted: dict[str, str]) -> dict[str, str]:
        if enabled == (noted.get("ttl") != "off"):
            raise make_validation_error(f"TimeToLive is already {'enabled' if enabled else 'disabled'}")
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
    if len(tags) > _TAGS_MAX:
        raise make_validation_error(f"A table has at most {_TAGS_MAX} tags.")
    return json.dumps(tags)


async def _description(name: str, table: LocalTable) -> dict[str, Any]:
    noted = await table.about()
    items, size, _ = await table.extent()
    return {
        "AttributeDefinitions": _ATTRIBUTES,
        "TableName": name,
        "KeySchema": _KEYS,
        "TableStatus": "ACTIVE",
        "CreationDateTime": float(noted.get("created", 0)),
        "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        "TableSizeBytes": size,
        "ItemCount": items,
        "TableArn": make_arn(name),
        "TableId": str(UUID(hex=noted.get("id", "").rjust(32, "0"))),
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "TableClassSummary": {"TableClass": "STANDARD"},
        "DeletionProtectionEnabled": False,
    }
