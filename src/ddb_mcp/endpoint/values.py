"""Parse attribute values, items and keys, with DynamoDB's error messages."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import get_type
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.indexes import Index, IndexKey
from ddb_mcp.core.items import (
    TYPE_NAMES,
    TYPES,
    AttributeValue,
    Item,
    canonicalize_number,
    from_dynamodb_json,
    map_values,
    measure_item,
    measure_value,
)
from ddb_mcp.core.keys import Key
from ddb_mcp.endpoint.bodies import Encoded, encode
from ddb_mcp.endpoint.errors import KeySchemaError, KeyValueError, make_serialization_error, make_validation_error

KEYS = ("pk", "sk")
# The keys of every table, as an index.
TABLE = Index("", IndexKey("pk"), IndexKey("sk"))
_NOT_VALID = "One or more parameter values are not valid. "
_INDEX_KEY = "a secondary index key"
INVALID = "One or more parameter values were invalid: "
MISMATCH = "The provided key element does not match the schema"
_NO_TYPE = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
SEVERAL_TYPES = _NO_TYPE.replace("is empty", "has more than one datatypes set")
_EMPTY_SETS = {"SS": "An string set  may", "NS": "An number set  may", "BS": "Binary sets should"}
_EMPTY_KEY = "The AttributeValue for a key attribute cannot contain an empty {} value."
_PK_TOO_LONG = "Size of hashkey has exceeded the maximum size limit of2048 bytes"
_SK_TOO_LONG = "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"


def read_value(value: Any, depth: int = 0) -> AttributeValue:
    """Parse an attribute value into its canonical form.

    Args:
        value: the parsed JSON.
        depth: the number of lists and maps around it.

    Raises:
        EndpointError: the value is invalid.
    """
    if not isinstance(value, dict):
        raise make_serialization_error("Unexpected value type in payload")
    present = [kind for kind, content in value.items() if content is not None and kind in TYPES]
    if len(present) != 1:
        raise make_validation_error(SEVERAL_TYPES if present else _NO_TYPE)
    if depth >= limits.MAX_DEPTH:
        raise make_validation_error("Nesting Levels have exceeded supported limits")
    kind = present[0]
    content = value[kind]
    match kind, content:
        case ("S", str()) | ("BOOL", bool()):
            return {kind: content}
        case "N", str():
            return {"N": _read_number(content)}
        case "NULL", bool():
            if not content:
                raise make_validation_error(INVALID + "Null attribute value types must have the value of true")
            return {"NULL": True}
        case "M", dict():
            return {"M": {name: read_value(value, depth + 1) for name, value in content.items()}}
        case "L", list():
            return {"L": [read_value(value, depth + 1) for value in content]}
        case "B", str():
            return {"B": read_binary(content)}
        case (("SS" | "NS" | "BS"), list()) if all(isinstance(member, str) for member in content):
            return {kind: _read_set(kind, content)}
    raise make_serialization_error(f"Unexpected value type in payload for {kind}")


def _read_number(text: str) -> str:
    try:
        return canonicalize_number(text)
    except InvalidArgument:
        raise make_validation_error(_find_number_problem(text)) from None


def _find_number_problem(text: str) -> str:
    if not text:
        return "The parameter cannot be converted to a numeric value"
    start = text[: limits.NUMBER_MAX_CHARACTERS]
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,9})?", start):
        return f"The parameter cannot be converted to a numeric value: {start[:80]}"
    number = Decimal(start)
    if start != text or len("".join(map(str, number.as_tuple().digits)).strip("0")) > limits.MAX_DIGITS:
        return "Attempting to store more than 38 significant digits in a Number"
    problem = ("overflow", "larger") if number.adjusted() > 0 else ("underflow", "smaller")
    return "Number {}. Attempting to store a number with magnitude {} than supported range".format(*problem)


def read_binary(text: str) -> str:
    """Parse Base64 into its canonical form. Raises EndpointError."""
    try:
        found: str = from_dynamodb_json({"B": text}, "B")["B"]
    except InvalidArgument:
        raise make_serialization_error("Base64 encoded data is malformed") from None
    return found


def _read_set(kind: str, content: list[str]) -> list[str]:
    if not content:
        raise make_validation_error(f"{INVALID}{_EMPTY_SETS[kind]} not be empty")
    if len(content) > limits.ITEM_MAX_BYTES:  # all members but one have at least one byte
        raise make_validation_error("Item size has exceeded the maximum allowed size")
    read = _MEMBERS[kind]
    members = [read(member) for member in content]
    if len(set(members)) < len(members):
        if kind == "NS":
            raise make_validation_error("Input collection contains duplicates")
        shown = ", ".join(member[:40] for member in content[:20])
        where = "of type BS" if kind == "BS" else ""
        raise make_validation_error(f"{INVALID}Input collection [{shown}]{where} contains duplicates.")
    return members


_MEMBERS: dict[str, Callable[[str], str]] = {"SS": str, "NS": _read_number, "BS": read_binary}


def check_name(name: str) -> None:
    """Raise EndpointError if this is not a valid attribute name."""
    if not 0 < len(name.encode()) <= limits.NAME_MAX_BYTES:
        raise make_validation_error(f"{INVALID}An attribute name must have 1 to {limits.NAME_MAX_BYTES} bytes")


def read_values(attributes: Mapping[str, Any]) -> Item:
    """Parse the attributes of a key or an item. Raises EndpointError."""
    return {name: read_value(value) for name, value in attributes.items()}


def read_item(attributes: Mapping[str, Any]) -> Item:
    """Parse an item, without checking its key and size. Raises EndpointError."""
    for name in attributes:
        check_name(name)
    return read_values(attributes)


def check_size(item: Item) -> None:
    """Raise EndpointError if an item is too large."""
    if measure_item(item) > limits.ITEM_MAX_BYTES:
        raise make_validation_error("Item size has exceeded the maximum allowed size")


def get_item_key(item: Item) -> Key:
    """Return the key of an item to put. Raises EndpointError."""
    for key in TABLE.keys:
        if key.name not in item:
            raise KeySchemaError(f"{INVALID}Missing the key {key.name} in the item")
        if "S" not in item[key.name]:
            kind = get_type(item[key.name])
            raise KeySchemaError(f"{INVALID}Type mismatch for key {key.name} expected: S actual: {kind}")
    return to_key(item)


def to_key(values: Item, *, exact: bool = False) -> Key:
    """Convert key attributes to a key. Raises EndpointError, if `exact` also for other attributes."""
    if not values.keys() >= set(KEYS) or (exact and len(values) > len(KEYS)):
        raise KeySchemaError(MISMATCH)
    for key in TABLE.keys:
        if "S" not in values[key.name]:
            raise KeySchemaError(MISMATCH)
        check_key_text(TABLE, key, values[key.name]["S"])
    return Key.of(values)


def check_key_text(index: Index, key: IndexKey, text: str) -> None:
    """Raise EndpointError if a key value of an index or `TABLE` is empty or too long."""
    if not text:
        raise KeyValueError(f"{_NOT_VALID}{_EMPTY_KEY.format(TYPE_NAMES[key.type])} Key: {key.name}")
    is_partition = key is index.pk
    if measure_value({key.type: text}) > (limits.PK_MAX_BYTES if is_partition else limits.SK_MAX_BYTES):
        raise KeyValueError(INVALID + (_PK_TOO_LONG if is_partition else _SK_TOO_LONG))


def check_index_keys(indexes: Iterable[Index], item: Item, updated: Collection[str | int] | None = None) -> None:
    """Raise EndpointError if an attribute is not a valid index key.

    Args:
        indexes: the indexes of the table.
        updated: the attributes changed by UpdateItem; None for PutItem.
    """
    for index in indexes:
        for key in index.keys:
            value = item.get(key.name)
            if value is None or key.name in KEYS or (updated is not None and key.name not in updated):
                continue
            if key.type not in value:
                raise make_validation_error(
                    f"{INVALID}Type mismatch for Index Key {key.name} Expected: {key.type} Actual: {get_type(value)} "
                    f"IndexName: {index.name}"
                )
            empty = _EMPTY_KEY.format(TYPE_NAMES[key.type])
            if not value[key.type] and updated is None:
                where = f"IndexName: {index.name}, IndexKey: {key.name}"
                raise KeyValueError(f"{_NOT_VALID}A value specified for {_INDEX_KEY} is not supported. {empty} {where}")
            if not value[key.type]:
                what = f"The update expression attempted to update {_INDEX_KEY} to a value that is not supported."
                raise KeyValueError(f"{_NOT_VALID}{what} {empty}")
            check_key_text(index, key, value[key.type])


def encode_item(item: Item) -> Encoded:
    """Encode an item as DynamoDB does, with numbers without exponents."""
    whole = encode(item)
    if "E+" not in whole.text and "E-" not in whole.text:
        return whole
    return encode({name: map_values(value, "N", _format_number) for name, value in item.items()})


def _format_number(number: str) -> str:
    return format(Decimal(number), "f") if "E" in number else number
