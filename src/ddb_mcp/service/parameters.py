"""The first pass over a tool's arguments: from what hosts and models send to what the models in `arguments` take.

Hosts send objects, lists, numbers and booleans as JSON strings, whole numbers as floats, and something empty for what
was not requested. Counts and lengths are checked here, for every parameter, before anything is built from the values.
"""

import difflib
import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import parse_json
from ddb_mcp.core.text import exceeds_members, quote_start

# DynamoDB counts 2 bytes for the smallest member of a list: an item of 400 KB has 204,800 members at most.
MEMBERS_MAX = {"item": 250_000, "items": 250_000}
# Members of any other parameter. Operands of 32 KB have fewer members.
OPERANDS_MAX = 20_000
# Entries of a parameter that is a list or an object. An expression of 4 KB has no room for more names.
ENTRIES_MAX = {
    "items": 100,
    "keys": 100,
    "attributes": 1000,
    "remove": 1000,
    "add": 100,
    "where": 6,
    "expect": 50,
    "filter": 300,
}
BATCH_MAX = 100


def parse_arguments_object(value: Any) -> dict[str, Any]:
    """Return the arguments as an object, also if they came as a JSON string, as null, or as an empty list.

    Raises InvalidArgument.
    """
    value = _parse_if_text(value, dict, "items", "the arguments")
    if value in (None, [], "[]"):
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument("the arguments must be an object.")
    return value


def prepare(
    model: type[BaseModel],
    arguments: Mapping[str, Any],
    never_empty: Collection[str],
    where: str = "",
) -> dict[str, Any]:
    """Return the arguments for `model`: bounded, of the right types, and without those that count as omitted.

    Args:
        model: the tool's arguments, or a parameter that is an object.
        arguments: the arguments as they came.
        never_empty: parameters whose absence makes a call do more; for these something empty is an error, and null
            alone counts as omitted.
        where: what comes before a parameter's name in errors, for example `where.`.

    Raises:
        InvalidArgument: an unknown name, too many entries, or nothing for a required one.
    """
    for name in arguments:
        if name not in model.model_fields:
            raise _make_unknown_error(name, list(model.model_fields), where)
    result = {}
    for name, raw in arguments.items():
        kind, nested, is_required = _parameters_of(model)[name]
        value = _parse_if_text(raw, kind, name, where + name)
        check_bounds(value, name, where + name)
        if nested is not None and isinstance(value, dict) and value:
            value = prepare(nested, value, nested.model_fields, f"{where}{name}.")
        if value is None and not is_required:
            continue
        if isinstance(value, str | list | dict) and not value and not is_required:
            if name not in never_empty:
                continue
            raise InvalidArgument(f"{where}{name} is empty.", next=f"Omit {where}{name}, or give it a value.")
        result[name] = value
    return result


def parse_text(text: str, name: str, where: str) -> Any:
    """Return the value of a parameter that is a JSON string. Its members are counted before and after it is read.

    Raises InvalidArgument, as `check_bounds` and `parse_json` do.
    """
    most = MEMBERS_MAX.get(name, OPERANDS_MAX)
    if exceeds_members(text, most):
        raise _make_count_error(where, most)
    value = parse_json(text, where)
    check_bounds(value, name, where)
    return value


def _make_count_error(where: str, most: int) -> InvalidArgument:
    return InvalidArgument(
        f"{where} has more than {most} members, counting those in its lists and maps.", next="Send less in one call."
    )


def check_bounds(value: Any, name: str, where: str) -> None:
    """Raise InvalidArgument if a parameter has more entries, or more members within them, than any call needs.

    Args:
        value: JSON, as it came.
        name: the parameter, for its limits in `ENTRIES_MAX` and `MEMBERS_MAX`.
        where: how an error names it.
    """
    most = ENTRIES_MAX.get(name)
    if most is not None and isinstance(value, list | dict) and len(value) > most:
        raise InvalidArgument(f"{where} has {len(value)} entries; the limit is {most}.")
    most = left = MEMBERS_MAX.get(name, OPERANDS_MAX)
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if not isinstance(inner, list | dict):
            continue
        left -= len(inner)
        if left < 0:
            raise _make_count_error(where, most)
        if isinstance(inner, dict):
            if inner and max(map(len, inner)) > limits.NAME_MAX_BYTES:
                raise InvalidArgument(f"{where} has a name of more than {limits.NAME_MAX_BYTES} bytes.")
            inner = inner.values()
        waiting += (entry for entry in inner if isinstance(entry, list | dict))


@cache
def _parameters_of(model: type[BaseModel]) -> dict[str, tuple[Any, type[BaseModel] | None, bool]]:
    """Return for each parameter its type (`dict` for a model), the model, and whether it is required."""
    result = {}
    for name, field in model.model_fields.items():
        kind = _plain_type(field.annotation)
        nested = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        result[name] = (dict if nested else get_origin(kind) or kind, nested, field.is_required())
    return result


def _plain_type(annotation: Any) -> Any:
    """Return an annotation without its `| None` and without what is annotated."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = get_args(annotation)[0]
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _parse_if_text(value: Any, kind: Any, name: str, where: str) -> Any:
    """Return the value, parsed if it is a JSON string of the expected type, and as an integer if it is a whole float.

    Members of an object or a list stay as they are. Raises InvalidArgument for broken JSON, or too much of it.
    """
    if not isinstance(value, str) or kind not in (dict, list, int, bool):
        return _to_integer(value) if kind is int else value
    if kind in (dict, list) and value.lstrip()[:1] in ("{", "["):
        parsed_value = parse_text(value, name, where)
    else:
        try:
            parsed_value = parse_json(value[: limits.NUMBER_MAX_CHARACTERS], where)  # null, a number, true or false
        except InvalidArgument:
            return value
    parsed_value = _to_integer(parsed_value) if kind is int else parsed_value
    return parsed_value if parsed_value is None or type(parsed_value) is kind else value


def _to_integer(value: Any) -> Any:
    """Return a whole float or Decimal as an integer; everything else as it is."""
    # A comparison with NaN is false, and one of Decimal's NaN an error.
    if (
        isinstance(value, float | Decimal)
        and math.isfinite(value)
        and -limits.EXACT_INTEGER < value < limits.EXACT_INTEGER
    ):
        return int(value) if value == int(value) else value
    return value


def _make_unknown_error(name: str, known: list[str], where: str) -> InvalidArgument:
    """Return the error for an argument that a tool does not have, or a member that a parameter does not have."""
    name = quote_start(name)
    near = difflib.get_close_matches(name, known, 1)
    advice = f"Did you mean {near[0]}?" if near else f"The arguments are {', '.join(known)}."
    return InvalidArgument(f"{where}{name} is not an argument of this tool.", next=advice)
