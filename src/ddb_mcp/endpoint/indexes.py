"""Secondary indexes in CreateTable, UpdateTable and DescribeTable."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from ddb_mcp.core.indexes import INDEXES_MAX, LOCAL_INDEXES_MAX, Index, IndexKey, KeyType
from ddb_mcp.endpoint.errors import EndpointError, require_valid
from ddb_mcp.endpoint.tables import make_arn
from ddb_mcp.endpoint.values import INVALID, TABLE

NO_THROUGHPUT = {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
ON_DEMAND = "PAY_PER_REQUEST"
_KINDS = ("LocalSecondaryIndexes", "GlobalSecondaryIndexes")
# The limit on projected non-key attributes of all indexes of a table.
_PROJECTED_MAX = 100
_UNITS = f"ProvisionedThroughput should not be specified for index: {{}} when BillingMode is {ON_DEMAND}"
_UNDEFINED = "Some index key attributes are not defined in AttributeDefinitions. Keys: [{}], AttributeDefinitions: [{}]"
_SEVERAL = "The ddb-mcp endpoint does not support indexes with several partition or sort key attributes, such as {}."
_OTHER_PARTITION = (
    "Index KeySchema does not have the same leading hash key as table KeySchema for index: {}. index hash key: {}, "
    "table hash key: pk"
)


def read_definition(request: Mapping[str, Any]) -> list[Index]:
    """Check the definition of a new table and return its indexes. Raises EndpointError."""
    types = read_attribute_types(request)
    schema = request["KeySchema"]
    require_valid(len(schema) <= len(types), "Invalid KeySchema: Some index key attribute have no definition")
    keys = _read_keys(schema, types)
    has_indexes = any(request.get(kind) is not None for kind in _KINDS)
    require_valid(
        has_indexes or len(keys) == len(types),
        f"{INVALID}Number of attributes in KeySchema does not exactly match number of attributes defined in "
        "AttributeDefinitions",
    )
    require_valid(
        len(keys) == 2 or not request.get("LocalSecondaryIndexes"),
        f"{INVALID}Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
    )
    require_valid(
        keys == TABLE.keys, "Tables of the ddb-mcp endpoint must have the string keys pk (HASH) and sk (RANGE)."
    )
    indexes = []
    for kind in _KINDS:
        require_valid(request.get(kind) != [], f"{INVALID}List of {kind} is empty")
        for entry in request.get(kind) or ():
            has_units = entry.get("ProvisionedThroughput") is not None and request.get("BillingMode") == ON_DEMAND
            require_valid(not has_units, INVALID + _UNITS.format(entry["IndexName"]))
            indexes.append(read_index(entry, types, local=kind.startswith("Local")))
    used = dict.fromkeys(key.name for index in (TABLE, *indexes) for key in index.keys)
    defined = f"AttributeDefinitions: [{', '.join(types)}], keys used: [{', '.join(used)}]"
    require_valid(types.keys() <= used.keys(), f"{INVALID}Some AttributeDefinitions are not used. {defined}")
    check_indexes(indexes)
    return indexes


def read_attribute_types(request: Mapping[str, Any]) -> dict[str, KeyType]:
    """Parse AttributeDefinitions. Raises EndpointError."""
    types: dict[str, KeyType] = {}
    for definition in request.get("AttributeDefinitions") or ():
        name = definition["AttributeName"]
        require_valid(name not in types, f"{INVALID}Duplicate attribute in AttributeDefinitions: {name}")
        types[name] = definition["AttributeType"]
    return types


def _read_keys(schema: Sequence[Mapping[str, Any]], types: Mapping[str, KeyType]) -> tuple[IndexKey, ...]:
    names, kinds = ([element[member] for element in schema] for member in ("AttributeName", "KeyType"))
    require_valid(types.keys() >= set(names), INVALID + _UNDEFINED.format(", ".join(names), ", ".join(types)))
    is_distinct = names[1:] != names[:1]
    require_valid(is_distinct, "Both the Hash Key and the Range Key element in the KeySchema have the same name")
    for at, kind in enumerate(("HASH", "RANGE")):
        message = f"Invalid KeySchema: The {('first', 'second')[at]} KeySchemaElement is not a {kind} key type"
        require_valid(kinds[at : at + 1] in ([], [kind]), message)
    return tuple(IndexKey(name, types[name]) for name in names)


def read_index(entry: Mapping[str, Any], types: Mapping[str, KeyType], *, local: bool) -> Index:
    """Parse the definition of an index. Raises EndpointError."""
    name, schema = entry["IndexName"], entry["KeySchema"]
    require_valid([element["KeyType"] for element in schema][1:] in ([], ["RANGE"]), _SEVERAL.format(name))
    pk, *sks = _read_keys(schema, types)
    if local:
        require_valid(len(sks) == 1, f"{INVALID}Index KeySchema does not have a range key for index: {name}")
        require_valid(pk.name == "pk", INVALID + _OTHER_PARTITION.format(name, pk.name))
    return Index(name, pk, sks[0] if sks else None, _read_projection(entry["Projection"]), local)


def _read_projection(projection: Mapping[str, Any]) -> Any:
    kind, names = projection.get("ProjectionType"), projection.get("NonKeyAttributes")
    require_valid(kind is not None, f"{INVALID}Unknown ProjectionType: null")
    specified = "not specified" if names is None else "specified"
    fits = (kind == "INCLUDE") == (names is not None)
    require_valid(fits, f"{INVALID}ProjectionType is {kind}, but NonKeyAttributes is {specified}")
    return kind if names is None else tuple(names)


def check_indexes(indexes: Sequence[Index]) -> None:
    """Raise EndpointError if a table cannot have these indexes together."""
    types: dict[str, str] = {}
    for key in chain.from_iterable(index.keys for index in (TABLE, *indexes)):
        known = types.setdefault(key.name, key.type)
        require_valid(known == key.type, f"{INVALID}The key {key.name} is of type {known}, not {key.type}.")
    for name, count in Counter(index.name for index in indexes).items():
        require_valid(count == 1, f"{INVALID}Duplicate index name: {name}")
    local = sum(index.local for index in indexes)
    require_valid(
        local <= LOCAL_INDEXES_MAX,
        f"{INVALID}Number of LocalSecondaryIndexes exceeds per-table limit of {LOCAL_INDEXES_MAX}",
    )
    require_valid(
        len(indexes) - local <= INDEXES_MAX,
        f"{INVALID}GlobalSecondaryIndex count exceeds the per-table limit of {INDEXES_MAX}",
    )
    projected = sum(len(index.projection) for index in indexes if isinstance(index.projection, tuple))
    require_valid(
        projected <= _PROJECTED_MAX,
        f"{INVALID}The indexes of a table have at most {_PROJECTED_MAX} NonKeyAttributes in all, not {projected}.",
    )


def check_new_index(index: Index, known: Sequence[Index]) -> None:
    """Raise EndpointError if a table with the known indexes cannot have this one too."""
    is_new = index.name not in {each.name for each in known}
    require_valid(is_new, "Attempting to create an index which already exists")
    check_indexes([*known, index])


def check_deletion(name: str, known: Sequence[Index]) -> None:
    """Raise EndpointError if the index does not exist or is a local one, which cannot be deleted."""
    local = next((index.local for index in known if index.name == name), None)
    if local is None:
        raise EndpointError("ResourceNotFoundException", f"Requested resource not found: Index: {name} not found")
    require_valid(not local, f"Cannot delete an index that is not a GlobalSecondaryIndex: {name}")


def describe_attributes(indexes: Iterable[Index]) -> list[dict[str, str]]:
    """Return the AttributeDefinitions of a table."""
    types = {key.name: key.type for index in (TABLE, *indexes) for key in index.keys}
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]


def describe_keys(index: Index) -> list[dict[str, str]]:
    """Return the KeySchema of an index, or of `TABLE`."""
    pairs = zip(index.keys, ("HASH", "RANGE"), strict=False)
    return [{"AttributeName": key.name, "KeyType": kind} for key, kind in pairs]


def describe_indexes(
    table: str, indexes: Iterable[Index], counts: Mapping[str, int], item_bytes: float
) -> dict[str, list[dict[str, Any]]]:
    """Return the members of a table's description that list its indexes.

    Args:
        counts: the number of items in each index.
        item_bytes: the size of an item.
    """
    described: dict[str, list[dict[str, Any]]] = {}
    for index in indexes:
        extra = index.projection if isinstance(index.projection, tuple) else None
        count = counts.get(index.name, 0)
        description: dict[str, Any] = {
            "IndexName": index.name,
            "KeySchema": describe_keys(index),
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(extra)}
            if extra
            else {"ProjectionType": index.projection},
            "IndexSizeBytes": int(count * item_bytes),
            "ItemCount": count,
            "IndexArn": f"{make_arn(table)}/index/{index.name}",
        }
        if not index.local:
            description |= {"IndexStatus": "ACTIVE", "ProvisionedThroughput": NO_THROUGHPUT}
        described.setdefault(f"{'Local' if index.local else 'Global'}SecondaryIndexes", []).append(description)
    return described
