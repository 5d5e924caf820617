"""Operations on tables: create, describe, list, delete, time to live and tags."""

import json
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
_LISTED_MAX = 100
_TAGS_MAX = 50


async def create_table(call: EndpointRequest) -> dict[str, Any]:
    request = call.request
    name = parse_table_name(request["TableName"])
    call.check_access(call.operation, name, (), writes=True)
    _check_schema(request)
    tags = _tags(request.get("Tags") or [])
    table = await call.tables.make(name)
    if table is None:
        raise EndpointError("ResourceInUseException", f"Table already exists: {name}")
    await table.note(lambda noted: {**noted, "ttl": "off", "tags": json.dumps(tags)})
    return {"TableDescription": await _description(name, table)}


def _check_schema(request: dict[str, Any]) -> None:
    keys, attributes = request.get("KeySchema") or [], request.get("AttributeDefinitions") or []
    if sorted(map(_read_schema_pair, keys)) != sorted(map(_read_schema_pair, _KEYS)):
        raise make_validation_error(f"{_WHAT}, and KeySchema says otherwise.")
    if sorted(map(_read_schema_pair, attributes)) != sorted(map(_read_schema_pair, _ATTRIBUTES)):
        raise make_validation_error(f"{_WHAT}, and AttributeDefinitions says otherwise.")
    for unknown in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes", "VectorIndexes", "GlobalTableSourceArn"):
        if request.get(unknown):
            raise make_validation_error(f"{_WHAT}, and nothing else; take {unknown} out.")
    if (request.get("StreamSpecification") or {}).get("StreamEnabled"):
        raise make_validation_error("The endpoint of ddb-mcp has no streams; take StreamSpecification out.")
    if request.get("DeletionProtectionEnabled"):
        raise make_validation_error(
            "The endpoint of ddb-mcp protects no table from deletion; take DeletionProtectionEnabled out."
        )


def _read_schema_pair(entry: dict[str, str]) -> tuple[str, ...]:
    return tuple(entry[name] for name in sorted(entry))


async def describe_table(call: EndpointRequest) -> dict[str, Any]:
    return {"Table": await _description(*await call.tables.find(call.request["TableName"]))}


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
    _, table = await call.tables.find(call.request["TableName"])
    if (await table.about()).get("ttl") == "off":
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": _TTL}}


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
    _, table = await call.find_table(call.request["ResourceArn"], writes=True)
    await table.note(lambda noted: {**noted, "tags": json.dumps(_tags(call.request["Tags"], noted))})
    return {}


async def untag_resource(call: EndpointRequest) -> dict[str, Any]:
    removed = set(call.request["TagKeys"])
    _, table = await call.find_table(call.request["ResourceArn"], writes=True)

    def untag(noted: dict[str, str]) -> dict[str, str]:
        tags = {name: value for name, value in _noted_tags(noted).items() if name not in removed}
        return {**noted, "tags": json.dumps(tags)}

    await table.note(untag)
    return {}


async def list_tags_of_resource(call: EndpointRequest) -> dict[str, Any]:
    _, table = await call.tables.find(call.request["ResourceArn"])
    tags = _noted_tags(await table.about())
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


async def describe_endpoints(call: EndpointRequest) -> dict[str, Any]:
    return {"Endpoints": [{"Address": call.host, "CachePeriodInMinutes": 1440}]}


def _tags(tags: list[dict[str, str]], noted: dict[str, str] | None = None) -> dict[str, str]:
    """Return a table's tags with these added. Raises Failure if they are more than a table can have."""
    all_tags = _noted_tags(noted or {}) | {tag["Key"]: tag["Value"] for tag in tags}
    if len(all_tags) > _TAGS_MAX:
        raise make_validation_error(f"A table has at most {_TAGS_MAX} tags.")
    return all_tags


def _noted_tags(noted: dict[str, str]) -> dict[str, str]:
    tags: dict[str, str] = json.loads(noted.get("tags", "{}"))
    return tags


async def _description(name: str, table: LocalTable) -> dict[str, Any]:
    noted = await table.about()
    items, size = await table.extent()
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
        "TableId": _uuid(noted.get("id", "")),
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "TableClassSummary": {"TableClass": "STANDARD"},
        "DeletionProtectionEnabled": False,
    }


def _uuid(digits: str) -> str:
    return str(UUID(hex=digits.rjust(32, "0")))
