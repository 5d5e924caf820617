"""Validate requests against DynamoDB's service model from botocore: types, required members and bounds."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.endpoint.errors import EndpointError, make_serialization_error, make_validation_error
from ddb_mcp.endpoint.values import read_binary

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("structure", "map"), (dict,)),
    **dict.fromkeys(("string", "blob"), (str,)),
    **dict.fromkeys(("integer", "long"), (int,)),
    **dict.fromkeys(("double", "float", "timestamp"), (int, float)),
    "list": (list,),
    "boolean": (bool,),
}
_TOKENS = {dict: "START_OBJECT", list: "START_ARRAY", str: "STRING_VALUE", bool: "TRUE_VALUE", int: "NUMBER_VALUE"}
_MEASURES = {"integer": "value", "long": "value", "string": "length", "list": "length", "map": "length"}
# Limits missing from the model, by shape name or path.
_LIST_MAX = 100
# As many placeholders, of at least two characters, as fit in three expressions.
_PLACEHOLDERS_MAX = 3 * limits.EXPRESSION_MAX_BYTES // 2
_MAXIMA = {
    "ExpressionAttributeNameMap": _PLACEHOLDERS_MAX,
    "ExpressionAttributeValueMap": _PLACEHOLDERS_MAX,
    "keySchema": 2,
}
_REQUIRED = {"CreateTableInput": ("AttributeDefinitions", "KeySchema")}
# Enumerations that AWS lists in another order than the model.
_ENUMS = {
    "ReturnValue": "ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW",
    "ScalarAttributeType": "B, N, S",
    "Select": "SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES",
}
# Constraints of a table name where the model also allows an ARN.
_TABLE_NAME = {"min": 1, "max": 255, "pattern": "[a-zA-Z0-9_.-]+"}
_SHOWN_MAX = 256
_PROBLEMS_MAX = 10
_LEGACY = frozenset(
    {"AttributesToGet", "AttributeUpdates", "Expected", "ConditionalOperator", "KeyConditions", "QueryFilter"}
    | {"ScanFilter"}
)


@cache
def _get_shape(operation: str) -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("dynamodb").operation_model(operation).input_shape


def check_request(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """Validate a request. Return its members without nulls and without those that the model does not have.

    Attribute values are not checked, nor the entries of lists and maps that are too long.

    Raises:
        EndpointError: the request violates the model.
    """
    if operation.endswith(("Table", "TimeToLive")) and request.get("TableName") is None:
        raise make_validation_error("The parameter 'TableName' is required but was not present in the request")
    if request.get("RequestItems") == {}:
        raise make_validation_error(f"The requestItems parameter is required for {operation}")
    problems: list[str] = []
    shape = _get_shape(operation)
    _check_value(shape, request, "", problems)
    if problems:
        plural = "s" if len(problems) > 1 else ""
        raise make_validation_error(f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}")
    return {name: request[name] for name in shape.members if request.get(name) is not None}


def check_types(operation: str, request: dict[str, Any]) -> None:
    """Raise EndpointError if any value of a request, including attribute values, has the wrong type."""
    pending: list[tuple[Any, Any]] = [(_get_shape(operation), request)]
    while pending:
        shape, value = pending.pop()
        _check_type(shape, value)
        pending += [(member, entry) for _, member, entry, _ in _iter_members(shape, value, "") if entry is not None]


def _check_type(shape: Any, value: Any) -> None:
    kind = shape.type_name
    if not isinstance(value, _JSON_TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise _make_type_error(kind, value)
    if kind == "blob":
        read_binary(str(value))


def _check_value(shape: Any, value: Any, path: str, problems: list[str]) -> None:
    _check_type(shape, value)
    if shape.name == "AttributeValue":
        return
    if shape.type_name == "structure":
        _refuse_legacy(shape, value)
    known = len(problems)
    _check_bounds(shape, value, path, problems)
    if len(problems) > known:
        return
    for at, member, entry, is_required in _iter_members(shape, value, path):
        if len(problems) >= _PROBLEMS_MAX:
            return
        if entry is not None:
            _check_value(member, entry, at, problems)
        elif is_required and member.name != "AttributeValue":
            problems.append(_describe_violation("null", at, "not be null"))


def _iter_members(shape: Any, value: Any, path: str) -> Iterator[tuple[str, Any, Any, bool]]:
    """Yield the path, shape and value of each member or entry, and whether it is required."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            at = f"{path}.{name[0].lower()}{name[1:]}".lstrip(".")
            is_required = name in shape.required_members or name in _REQUIRED.get(shape.name, ())
            yield at, member, value.get(name), is_required
    elif shape.type_name == "map":
        yield from ((f"{path}.{name[:80]}.member", shape.value, entry, True) for name, entry in value.items())
    elif shape.type_name == "list":
        yield from ((f"{path}.{at}.member", shape.member, entry, True) for at, entry in enumerate(value, 1))


def _refuse_legacy(shape: Any, value: dict[str, Any]) -> None:
    for name in _LEGACY.intersection(shape.members):
        if value.get(name) is not None:
            raise make_validation_error(
                f"The ddb-mcp endpoint does not support the legacy parameter {name}; use an expression."
            )


def _check_bounds(shape: Any, value: Any, path: str, problems: list[str]) -> None:
    rules = shape.metadata
    if shape.name == "TableArn" and not value.startswith("arn:"):
        rules = _TABLE_NAME
    if "enum" in rules and value not in rules["enum"]:
        demands = [f"satisfy enum value set: [{_ENUMS.get(shape.name) or ', '.join(rules['enum'])}]"]
    else:
        demands = _find_broken_bounds(shape, rules, value, path)
    problems += [_describe_violation(_show(value), path, demand) for demand in demands]
    if shape.type_name != "map" or shape.value.type_name != "list":
        return
    bounds = shape.value.metadata
    for name, entry in value.items():
        if isinstance(entry, list) and _find_broken_bounds(shape.value, bounds, entry, ""):
            problems.append(
                f"Value '{{{name[:80]}=[...]}}' at '{path}' failed to satisfy constraint: Map value must satisfy "
                f"constraint: [Member must have length less than or equal to {bounds['max']}, "
                f"Member must have length greater than or equal to {bounds['min']}]"
            )


def _find_broken_bounds(shape: Any, rules: Any, value: Any, path: str) -> list[str]:
    """Return the constraints that a value violates, in AWS's words."""
    what = _MEASURES.get(shape.type_name)
    if what is None:
        return []
    measure = value if isinstance(value, int) else len(value)
    most = rules.get("max") or _MAXIMA.get(shape.name) or _MAXIMA.get(path)
    most = most or (_LIST_MAX if shape.type_name == "list" else measure)
    pattern = rules.get("pattern")
    demands = {
        f"have {what} greater than or equal to {rules.get('min')}": measure < rules.get("min", measure),
        f"have {what} less than or equal to {most}": measure > most,
        f"satisfy regular expression pattern: {pattern}": bool(pattern and value and not re.fullmatch(pattern, value)),
    }
    return [demand for demand, is_broken in demands.items() if is_broken]


def _show(value: Any) -> str:
    """Format a value for an error, without the entries of a list or map, which AWS formats as Java does."""
    if isinstance(value, str | int):
        return f"'{str(value)[:_SHOWN_MAX]}'"
    shown = "..." if value else ""
    return f"'[{shown}]'" if isinstance(value, list) else f"'{{{shown}}}'"


def _describe_violation(shown: str, path: str, demand: str) -> str:
    return f"Value {shown} at '{path}' failed to satisfy constraint: Member must {demand}"


def _make_type_error(kind: str, value: Any) -> EndpointError:
    return make_serialization_error(f"{_TOKENS.get(type(value), 'NUMBER_VALUE')} cannot be converted to {kind.title()}")
