"""Requests against DynamoDB's own service model, which botocore carries: types, what is required, and bounds."""

import re
from functools import cache
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.endpoint.errors import EndpointError, make_serialization_error, make_validation_error

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "float": (int, float),
    "timestamp": (int, float),
}
_TOKENS = {dict: "START_OBJECT", list: "START_ARRAY", str: "STRING_VALUE", bool: "TRUE_VALUE", int: "NUMBER_VALUE"}
_BOUNDS = {
    "integer": ("have value greater than or equal to", "have value less than or equal to"),
    "string": ("have length greater than or equal to", "have length less than or equal to"),
    "list": ("have length greater than or equal to", "have length less than or equal to"),
}
_BOUNDS |= {"long": _BOUNDS["integer"], "map": _BOUNDS["list"]}
# The most entries of a list, and placeholders of a request, where DynamoDB's model names no maximum.
_LIST_MAX = 100
# Three expressions have room for no more placeholders, which have two characters at least.
_PLACEHOLDERS_MAX = 3 * limits.EXPRESSION_MAX_BYTES // 2
_MAXIMA = {"ExpressionAttributeNameMap": _PLACEHOLDERS_MAX, "ExpressionAttributeValueMap": _PLACEHOLDERS_MAX}
_PROBLEMS_MAX = 10
LEGACY = frozenset(
    {"AttributesToGet", "AttributeUpdates", "Expected", "ConditionalOperator", "KeyConditions", "QueryFilter"}
    | {"ScanFilter"}
)


@cache
def _model() -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("dynamodb")


@cache
def _input(operation: str) -> Any:
    return _model().operation_model(operation).input_shape


@cache
def list_operations() -> frozenset[str]:
    """All that DynamoDB has."""
    return frozenset(_model().operation_names)


def check_request(operation: str, request: Any) -> dict[str, Any]:
    """Return the members of a request that its operation has in DynamoDB's model and that are not null.

    Attribute values are not looked into, nor the entries of lists and maps that are too long.

    Raises:
        Failure: the request does not fit the model.
    """
    problems: list[str] = []
    shape = _input(operation)
    _check_value(shape, request, "", problems)
    if problems:
        plural = "s" if len(problems) > 1 else ""
        raise make_validation_error(f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}")
    return {name: request[name] for name in shape.members if request.get(name) is not None}


def _check_value(shape: Any, value: Any, path: str, problems: list[str]) -> None:
    kind = shape.type_name
    if not _is_of(kind, value):
        raise _wrong_type(kind, value)
    if shape.name == "AttributeValue":
        return
    known = len(problems)
    _check_bounds(shape, value, path, problems)
    if len(problems) > known:
        return
    if kind == "structure":
        _check_members(shape, value, path, problems)
    elif kind == "map":
        for name, entry in value.items():
            _check_entry(shape.value, entry, f"{path}.{name[:80]}.member", problems)
    elif kind == "list":
        for at, entry in enumerate(value, 1):
            _check_entry(shape.member, entry, f"{path}.{at}.member", problems)


def _check_entry(shape: Any, value: Any, path: str, problems: list[str]) -> None:
    if len(problems) >= _PROBLEMS_MAX:
        return
    if value is not None:
        _check_value(shape, value, path, problems)
    elif shape.name != "AttributeValue":
        problems.append(_problem("null", path, "not be null"))


def _is_of(kind: str, value: Any) -> bool:
    return isinstance(value, _JSON_TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _check_members(shape: Any, value: dict[str, Any], path: str, problems: list[str]) -> None:
    for name in shape.required_members:
        if value.get(name) is None:
            problems.append(_problem("null", _below(path, name), "not be null"))
    for name, member in shape.members.items():
        entry = value.get(name)
        if entry is None:
            continue
        if name in LEGACY:
            raise make_validation_error(
                f"The endpoint of ddb-mcp does not take the legacy parameter {name}; write it as an expression."
            )
        _check_value(member, entry, _below(path, name), problems)


def _check_bounds(shape: Any, value: Any, path: str, problems: list[str]) -> None:
    rules = shape.metadata
    if "enum" in rules and value not in rules["enum"]:
        problems.append(_problem(f"'{value[:80]}'", path, f"satisfy enum value set: [{', '.join(rules['enum'])}]"))
        return
    bounds = _BOUNDS.get(shape.type_name)
    if bounds is None:
        return
    measure = value if isinstance(value, int) else len(value)
    # AWS shows a list or a map in Java's words, which no client reads.
    shown = f"'{str(value)[:80]}'" if isinstance(value, str | int) else "of this length"
    if measure < rules.get("min", measure):
        problems.append(_problem(shown, path, f"{bounds[0]} {rules['min']}"))
    most = rules.get("max", _LIST_MAX if shape.type_name == "list" else _MAXIMA.get(shape.name, measure))
    if measure > most:
        problems.append(_problem(shown, path, f"{bounds[1]} {most}"))
    if "pattern" in rules and isinstance(value, str) and not re.fullmatch(rules["pattern"], value):
        problems.append(_problem(shown, path, f"satisfy regular expression pattern: {rules['pattern']}"))


def _problem(shown: str, path: str, demand: str) -> str:
    return f"Value {shown} at '{path}' failed to satisfy constraint: Member must {demand}"


def _below(path: str, name: str) -> str:
    return f"{path}.{name[0].lower()}{name[1:]}".lstrip(".")


def _wrong_type(kind: str, value: Any) -> EndpointError:
    if kind in ("structure", "map", "list"):
        return make_serialization_error(f"Unexpected value type in payload: {_TOKENS.get(type(value), 'NUMBER_VALUE')}")
    return make_serialization_error(
        f"{_TOKENS.get(type(value), 'NUMBER_VALUE')} can not be converted to {kind.title()}"
    )
