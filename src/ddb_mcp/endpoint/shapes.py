"""Requests against DynamoDB's own service model, which botocore carries: types, what is required, and bounds."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.endpoint.errors import EndpointError, make_serialization_error, make_validation_error

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


def check_request(operation: str, request: Any) -> dict[str, Any]:
    """Return the members of a request that its operation has in DynamoDB's model and that are not null.

    Attribute values are not looked into, nor the entries of lists and maps that are too long.

    Raises:
        EndpointError: the request does not fit the model.
    """
    problems: list[str] = []
    shape = _model().operation_model(operation).input_shape
    _check_value(shape, request, "", problems)
    if problems:
        plural = "s" if len(problems) > 1 else ""
        raise make_validation_error(f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}")
    return {name: request[name] for name in shape.members if request.get(name) is not None}


def _check_value(shape: Any, value: Any, path: str, problems: list[str]) -> None:
    kind = shape.type_name
    if not isinstance(value, _JSON_TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise _wrong_type(kind, value)
    if shape.name == "AttributeValue":
        return
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
            problems.append(_problem("null", at, "not be null"))


def _iter_members(shape: Any, value: Any, path: str) -> Iterator[tuple[str, Any, Any, bool]]:
    """Yield path, shape and value of each member or entry, and whether it must be there. Raises EndpointError."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in LEGACY and value.get(name) is not None:
                raise make_validation_error(
                    f"The endpoint of ddb-mcp does not take the legacy parameter {name}; write it as an expression."
                )
            at = f"{path}.{name[0].lower()}{name[1:]}".lstrip(".")
            yield at, member, value.get(name), name in shape.required_members
    elif shape.type_name == "map":
        yield from ((f"{path}.{name[:80]}.member", shape.value, entry, True) for name, entry in value.items())
    elif shape.type_name == "list":
        yield from ((f"{path}.{at}.member", shape.member, entry, True) for at, entry in enumerate(value, 1))


def _check_bounds(shape: Any, value: Any, path: str, problems: list[str]) -> None:
    rules = shape.metadata
    if "enum" in rules and value not in rules["enum"]:
        problems.append(_problem(f"'{value[:80]}'", path, f"satisfy enum value set: [{', '.join(rules['enum'])}]"))
        return
    what = _MEASURES.get(shape.type_name)
    if what is None:
        return
    measure = value if isinstance(value, int) else len(value)
    # AWS shows a list or a map in Java's words, which no client reads.
    shown = f"'{str(value)[:80]}'" if isinstance(value, str | int) else "of this length"
    if measure < rules.get("min", measure):
        problems.append(_problem(shown, path, f"have {what} greater than or equal to {rules['min']}"))
    most = rules.get("max", _LIST_MAX if shape.type_name == "list" else _MAXIMA.get(shape.name, measure))
    if measure > most:
        problems.append(_problem(shown, path, f"have {what} less than or equal to {most}"))
    if "pattern" in rules and isinstance(value, str) and not re.fullmatch(rules["pattern"], value):
        problems.append(_problem(shown, path, f"satisfy regular expression pattern: {rules['pattern']}"))


def _problem(shown: str, path: str, demand: str) -> str:
    return f"Value {shown} at '{path}' failed to satisfy constraint: Member must {demand}"


def _wrong_type(kind: str, value: Any) -> EndpointError:
    token = _TOKENS.get(type(value), "NUMBER_VALUE")
    if kind in ("structure", "map", "list"):
        return make_serialization_error(f"Unexpected value type in payload: {token}")
    return make_serialization_error(f"{token} can not be converted to {kind.title()}")
