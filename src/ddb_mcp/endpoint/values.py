"""Attribute values, items and keys as requests carry them. Errors use DynamoDB's words."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import (
    TYPES,
    AttributeValue,
    Item,
    canonicalize_number,
    from_dynamodb_json,
    map_values,
    measure_item,
)
from ddb_mcp.core.keys import Key
from ddb_mcp.endpoint.bodies import Encoded, encode
from ddb_mcp.endpoint.errors import KeySchemaError, make_serialization_error, make_validation_error

KEYS = ("pk", "sk")
INVALID = "One or more parameter values were invalid: "
_MISMATCH = "The provided key element does not match the schema"
_SUPPLIED = "Supplied AttributeValue {}, must contain exactly one of the supported datatypes"
_EMPTY_SETS = {"SS": "An string set  may", "NS": "An number set  may", "BS": "Binary sets should"}
_KEY_LIMITS = {
    "pk": (limits.PK_MAX_BYTES, "Size of hashkey has exceeded the maximum size limit of2048 bytes"),
    "sk": (limits.SK_MAX_BYTES, "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"),
}


def read_value(value: Any, depth: int = 0) -> AttributeValue:
    """Return an attribute value in canonical form. The body's limit on members bounds the work.

    Args:
        value: as JSON has it.
        depth: how many lists and maps are round it.

    Raises:
        EndpointError: DynamoDB would refuse it.
    """
    if not isinstance(value, dict):
        raise make_serialization_error("Unexpected value type in payload")
    present = [kind for kind, content in value.items() if content is not None and kind in TYPES]
    if len(present) != 1:
        raise make_validation_error(_SUPPLIED.format("has more than one datatypes set" if present else "is empty"))
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
            return {"B": _read_binary(content)}
        case (("SS" | "NS" | "BS"), list()) if all(isinstance(member, str) for member in content):
            return {kind: _read_set(kind, content)}
    raise make_serialization_error(f"Unexpected value type in payload for {kind}")


def _read_number(text: str) -> str:
    try:
        return canonicalize_number(text)
    except InvalidArgument:
        raise make_validation_error(_find_number_problem(text)) from None


def _find_number_problem(text: str) -> str:
    start = text[: limits.NUMBER_MAX_CHARACTERS]
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,9})?", start):
        return f"The parameter cannot be converted to a numeric value: {start[:80]}"
    number = Decimal(start)
    if start != text or len("".join(map(str, number.as_tuple().digits)).strip("0")) > limits.MAX_DIGITS:
        return "Attempting to store more than 38 significant digits in a Number"
    problem = ("overflow", "larger") if number.adjusted() > 0 else ("underflow", "smaller")
    return "Number {}. Attempting to store a number with magnitude {} than supported range".format(*problem)


def _read_binary(text: str) -> str:
    try:
        found: str = from_dynamodb_json({"B": text}, "B")["B"]
    except InvalidArgument:
        raise make_serialization_error("Base64 encoded data is malformed") from None
    return found


def _read_set(kind: str, content: list[str]) -> list[str]:
    if not content:
        raise make_validation_error(f"{INVALID}{_EMPTY_SETS[kind]} not be empty")
    if len(content) > limits.ITEM_MAX_BYTES:  # a member has one byte at least, but for one that is empty
        raise make_validation_error("Item size has exceeded the maximum allowed size")
    read = _MEMBERS[kind]
    members = [read(member) for member in content]
    if len(set(members)) < len(members):
        shown = ", ".join(member[:40] for member in content[:20])
        raise make_validation_error(f"{INVALID}Input collection [{shown}] contains duplicates.")
    return members


_MEMBERS: dict[str, Callable[[str], str]] = {"SS": str, "NS": _read_number, "BS": _read_binary}


def check_name(name: str) -> None:
    """Raise EndpointError if an attribute cannot have this name."""
    if not 0 < len(name.encode()) <= limits.NAME_MAX_BYTES:
        raise make_validation_error(f"{INVALID}An attribute name must have 1 to {limits.NAME_MAX_BYTES} bytes")


def read_item(attributes: Mapping[str, Any]) -> Item:
    """A whole item: its values, its key and its size. Raises EndpointError."""
    for name in attributes:
        check_name(name)
    item = {name: read_value(value) for name, value in attributes.items()}
    for name in KEYS:
        if name not in item:
            raise KeySchemaError(f"{INVALID}Missing the key {name} in the item")
        if "S" not in item[name]:
            kind = next(iter(item[name]))
            raise KeySchemaError(f"{INVALID}Type mismatch for key {name} expected: S actual: {kind}")
        check_key_text(name, item[name]["S"])
    if measure_item(item) > limits.ITEM_MAX_BYTES:
        raise make_validation_error("Item size has exceeded the maximum allowed size")
    return item


def read_key(attributes: Mapping[str, Any]) -> Key:
    """The key of one item. Raises EndpointError."""
    if attributes.keys() != set(KEYS):
        raise KeySchemaError(_MISMATCH)
    texts = []
    for name in KEYS:
        given = attributes[name]
        kinds = [kind for kind in given if given[kind] is not None] if isinstance(given, dict) else []
        if kinds and "S" not in kinds:  # not read, however long
            raise KeySchemaError(_MISMATCH)
        texts.append(read_value(given)["S"])
        check_key_text(name, texts[-1])
    return Key(*texts)


def check_key_text(name: str, text: str) -> None:
    """Raise EndpointError if DynamoDB could not hold this text as a key."""
    if not text:
        raise KeySchemaError(
            "One or more parameter values are not valid. "
            f"The AttributeValue for a key attribute cannot contain an empty string value. Key: {name}"
        )
    max_bytes, message = _KEY_LIMITS[name]
    if len(text.encode()) > max_bytes:
        raise KeySchemaError(INVALID + message)


def encode_item(item: Item) -> Encoded:
    """Return an item as DynamoDB answers it: numbers without exponents."""
    whole = encode(item)
    if "E+" not in whole.text and "E-" not in whole.text:
        return whole
    return encode({name: map_values(value, "N", _format_number) for name, value in item.items()})


def _format_number(number: str) -> str:
    return format(Decimal(number), "f") if "E" in number else number
