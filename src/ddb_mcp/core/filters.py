"""Filters and expectations as JSON: read into conditions, and written back."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import OPERAND_TYPES, Comparison, Filter, Or, get_type, iter_comparisons, to_sortable
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expressions import ExpressionBuilder
from ddb_mcp.core.items import TYPE_NAMES, TYPES, AttributeValue, from_dynamodb_json, from_json, measure_value, to_json
from ddb_mcp.core.paths import Path, format_path, parse_path
from ddb_mcp.core.text import quote_start

# By item sizes, of the operands of one filter together.
OPERANDS_MAX_BYTES = 32 * 1024
# The branches of an `$or`.
OR_MIN, OR_MAX = 2, 10


OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "between", "in", "begins_with", "contains", "exists", "type")

# Replacements for operators of MongoDB's queries, without their `$`.
_ALL_HOLD = "All conditions of a filter must hold: write them side by side, and several operators in one object."
_MONGODB_WORDS = {
    "or": 'Write {"$or": [filter, filter]} at the top of the filter.',
    "and": _ALL_HOLD,
    "not": 'Use ne, or {"exists": false}.',
    "nor": 'Use ne, or {"exists": false}.',
    "nin": "Use ne; several ne in one filter must all hold.",
    "gte": "Write ge.",
    "lte": "Write le.",
    "regex": "Use begins_with or contains; patterns are not supported.",
    "elemMatch": "Use contains, which matches one whole member.",
    "set": "This is a filter; put with merge sets attributes.",
    "inc": "This is a filter; put with add adds to numbers.",
    "unset": "This is a filter; put with remove deletes attributes.",
}
_FILTER_WORDS = frozenset({"or", "and", "not"})


def parse_filter(conditions: Mapping[str, Any], parameter: str, *, keys_allowed: bool = True) -> Filter:
    """Return the clauses of a filter or an expectation, all of which must hold.

    Args:
        conditions: `{"status": "open", "total": {"gt": 10}, "address.city": {"begins_with": "Par"}}`, by document path;
            `$or` holds a list of filters.
        parameter: how errors name it.
        keys_allowed: False for a query, whose filter DynamoDB does not let touch the key.

    Raises:
        InvalidArgument: a path, an operator or an operand that DynamoDB would refuse, or too much of them.
    """
    _check_count(conditions, parameter)
    parsed = tuple(_parse_clauses(conditions, parameter, keys_allowed))
    operands = sum(measure_value(value) for clause in iter_comparisons(parsed) for value in clause.values)
    if operands > OPERANDS_MAX_BYTES:
        raise InvalidArgument(
            f"{parameter} compares with more than {OPERANDS_MAX_BYTES} bytes of values.",
            next="Compare with fewer or shorter values.",
        )
    expression = ExpressionBuilder()
    # A scan of a shared table adds its own clause before the filter's, and must still fit.
    own_clause = f"begins_with({expression.path('pk')},{expression.value({'S': ''})}) AND "
    size = len(own_clause + expression.condition(parsed))
    if size > limits.EXPRESSION_MAX_BYTES:
        raise InvalidArgument(
            f"{parameter} makes an expression of {size} bytes; the limit is {limits.EXPRESSION_MAX_BYTES}.",
            next="Use fewer conditions or fewer values in `in`.",
        )
    return parsed


def filter_to_json(clauses: Filter) -> dict[str, Any]:
    """Return the JSON that `parse_filter` reads as these clauses, with every operand in plain JSON."""
    conditions: dict[str, Any] = {}
    for clause in clauses:
        if isinstance(clause, Or):
            conditions["$or"] = list(map(filter_to_json, clause.filters))
            continue
        if clause.operator == "exists":
            operand: Any = clause.exists
        elif clause.operator in ("between", "in"):
            operand = list(map(to_json, clause.values))
        else:
            operand = to_json(clause.values[0])
        conditions.setdefault(format_path(clause.path), {})[clause.operator] = operand
    return conditions


def _check_count(conditions: Mapping[str, Any], parameter: str) -> None:
    """Raise InvalidArgument if there are too many conditions, before any is parsed."""
    branches = conditions.get("$or")
    filters = [conditions, *(branches if isinstance(branches, list) and len(branches) <= OR_MAX else ())]
    if sum(len(entry) for entry in filters if isinstance(entry, Mapping)) > limits.OPERATORS_MAX:
        raise InvalidArgument(f"{parameter} has more than {limits.OPERATORS_MAX} conditions.")


def _parse_clauses(conditions: Mapping[str, Any], parameter: str, keys_allowed: bool) -> Iterator[Comparison | Or]:
    for name, condition in conditions.items():
        where = f"{parameter}.{quote_start(name)}"
        if name == "$or":
            yield _parse_or(condition, where, keys_allowed)
        elif name.startswith("$"):
            advice = _MONGODB_WORDS.get(name[1:], "Put a name that begins with $ in backticks: `$ref`.")
            raise InvalidArgument(f"{where} is not supported in a filter.", next=advice)
        elif name in _FILTER_WORDS and _holds_filters(condition):
            raise InvalidArgument(
                f"{where} holds filters, but is read as an attribute name.",
                next=f'{_MONGODB_WORDS[name]} To compare an attribute named {name}, write {{"{name}": {{"eq": …}}}}.',
            )
        else:
            yield from _parse_comparisons(name, condition, parameter, where, keys_allowed)


def _parse_or(branches: Any, where: str, keys_allowed: bool) -> Or:
    if not isinstance(branches, list) or not OR_MIN <= len(branches) <= OR_MAX:
        raise InvalidArgument(f"{where} must be a list of {OR_MIN} to {OR_MAX} filters.")
    filters = []
    for at, entry in enumerate(branches):
        if not isinstance(entry, Mapping) or not entry:
            raise InvalidArgument(f'{where}[{at}] must be a filter such as {{"status": "open"}}.')
        if "$or" in entry:
            raise InvalidArgument(f"{where}[{at}] contains an $or; $or cannot be nested.")
        clauses = _parse_clauses(entry, f"{where}[{at}]", keys_allowed)
        filters.append(tuple(clause for clause in clauses if isinstance(clause, Comparison)))
    return Or(tuple(filters))


def _holds_filters(condition: Any) -> bool:
    if isinstance(condition, list):
        return bool(condition) and all(isinstance(entry, Mapping) for entry in condition)
    return isinstance(condition, Mapping) and not condition.keys() <= {*OPERATORS, *TYPES}


def _parse_comparisons(name: str, condition: Any, parameter: str, where: str, keys_allowed: bool) -> list[Comparison]:
    """Return the clauses for one document path."""
    path = parse_path(name, parameter)
    if not keys_allowed and path[0] in ("pk", "sk"):
        raise InvalidArgument(
            f"{parameter} cannot use {path[0]} in a query.",
            next="Narrow the sort key with sk_prefix, or with sk_from and sk_to; pk is the query's own argument.",
        )
    if not isinstance(condition, dict):
        return [Comparison(path, "eq", (from_json(condition, where),))]
    if len(condition) == 1 and next(iter(condition)) in TYPES:  # no operator has a type's name
        return [Comparison(path, "eq", (from_dynamodb_json(condition, where),))]
    if not condition:
        raise InvalidArgument(f'{where} is an empty object; to compare with a map, write {{"eq": {{…}}}}.')
    return [_parse_comparison(path, operator, operand, where) for operator, operand in condition.items()]


def _parse_comparison(path: Path, operator: str, operand: Any, where: str) -> Comparison:
    if operator not in OPERATORS:
        raise _make_operator_error(operator, where)
    where = f"{where}.{operator}"
    if operator == "exists":
        if not isinstance(operand, bool):
            raise InvalidArgument(f"{where} must be true or false.")
        return Comparison(path, operator, exists=operand)
    if operator == "type":
        if not isinstance(operand, str) or operand not in TYPES:
            types = ", ".join(f"{kind} ({name})" for kind, name in TYPE_NAMES.items())
            raise InvalidArgument(f"{where} must be one of {types}.")
        return Comparison(path, operator, ({"S": operand},))
    if operator in ("between", "in"):
        most = 2 if operator == "between" else limits.IN_MAX
        least = 2 if operator == "between" else 1
        if not isinstance(operand, list) or not least <= len(operand) <= most:
            amount = "two values, low and high" if operator == "between" else f"1 to {limits.IN_MAX} values"
            raise InvalidArgument(f"{where} must be a list of {amount}.")
        values = tuple(from_json(value, f"{where}[{at}]") for at, value in enumerate(operand))
    else:
        values = (from_json(operand, where),)
    _check_types(operator, values, where)
    return Comparison(path, operator, values)


def _make_operator_error(operator: str, where: str) -> InvalidArgument:
    plain = operator.removeprefix("$")
    near = difflib.get_close_matches(operator[:20], OPERATORS, 2)
    if operator != plain and plain in OPERATORS:
        return InvalidArgument(f"{where} has the operator {operator!r}.", next=f"Write {plain} without the $.")
    if operator != plain and plain in _MONGODB_WORDS:
        return InvalidArgument(f"{where} has the unknown operator {operator!r}.", next=_MONGODB_WORDS[plain])
    meant = (
        f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; the operators are {', '.join(OPERATORS)}."
    )
    return InvalidArgument(
        f"{where} has the unknown operator {quote_start(operator)!r}{meant}",
        next='An object may hold only operators; to compare with a map, write {"eq": {…}}.',
    )


def _check_types(operator: str, values: tuple[AttributeValue, ...], where: str) -> None:
    kinds = [get_type(value) for value in values]
    if not OPERAND_TYPES.get(operator, TYPES).issuperset(kinds):
        what = "takes a string or binary" if operator == "begins_with" else "orders strings, numbers and binary only"
        raise InvalidArgument(f"{where} {what}.")
    if operator != "between":
        return
    if kinds[0] != kinds[1]:
        raise InvalidArgument(f"{where} has bounds of different types; no value lies between them.")
    if to_sortable(values[0]) > to_sortable(values[1]):
        raise InvalidArgument(f"{where} has its lower bound above its upper bound; swap them.")
