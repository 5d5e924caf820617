"""Filters and expectations as JSON: read into conditions, and written back."""

import difflib
from collections.abc import Mapping
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import Comparison, Filter, order_of, type_of
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expressions import Expression
from ddb_mcp.core.items import TYPES, from_dynamodb_json, from_json, to_json
from ddb_mcp.core.paths import Path, parse_path, path_text

OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "between", "in", "begins_with", "contains", "exists")


_ORDERED = frozenset({"lt", "le", "gt", "ge", "between"})


_ORDERED_TYPES = frozenset({"S", "N", "B"})


def parse_filter(given: Mapping[str, Any], parameter: str, *, keys_allowed: bool = True) -> Filter:
    """The clauses of a filter or an expectation, all of which must hold.

    Args:
        given: `{"status": "open", "total": {"gt": 10}, "address.city": {"begins_with": "Par"}}`, by document path.
        parameter: how errors name it.
        keys_allowed: False for a query, whose filter DynamoDB does not let touch the key.

    Raises:
        InvalidArgument: a path, an operator or an operand that DynamoDB would refuse, or too much for an expression.
    """
    clauses: list[Comparison] = []
    for name, condition in given.items():
        where = f"{parameter}.{name}"
        path = parse_path(name, parameter)
        if not keys_allowed and path[0] in ("pk", "sk"):
            raise InvalidArgument(
                f"{parameter} cannot use {path[0]} in a query.",
                next="Narrow the sort key with sk_prefix, or with sk_from and sk_to; pk is the query's own argument.",
            )
        if not isinstance(condition, dict):
            clauses.append(Comparison(path, "eq", (from_json(condition, where),)))
            continue
        if len(condition) == 1 and next(iter(condition)) in TYPES:  # no operator has a type's name
            clauses.append(Comparison(path, "eq", (from_dynamodb_json(condition, where),)))
            continue
        if not condition:
            raise InvalidArgument(f'{where} is an empty object; equality with a map is {{"eq": {{…}}}}.')
        clauses += (_comparison(path, name, operand, where) for name, operand in condition.items())
    parsed = tuple(clauses)
    expression = Expression()
    # A scan of a shared table has a clause of its own before the filter's, and must still fit.
    own = f"begins_with({expression.path('pk')},{expression.value({'S': ''})}) AND "
    size = len(own + expression.condition(parsed))
    if size > limits.EXPRESSION_MAX_BYTES:
        raise InvalidArgument(
            f"{parameter} makes an expression of {size} bytes; DynamoDB takes {limits.EXPRESSION_MAX_BYTES}.",
            next="Use fewer conditions or fewer values in `in`.",
        )
    return parsed


def filter_to_json(clauses: Filter) -> dict[str, Any]:
    """The JSON that `parse_filter` reads as these clauses, with every operand in plain JSON."""
    given: dict[str, dict[str, Any]] = {}
    for clause in clauses:
        name = path_text(clause.path)
        if clause.operator == "exists":
            operand: Any = clause.exists
        elif clause.operator in ("between", "in"):
            operand = list(map(to_json, clause.values))
        else:
            operand = to_json(clause.values[0])
        given.setdefault(name, {})[clause.operator] = operand
    return given


def _comparison(path: Path, operator: str, given: Any, where: str) -> Comparison:
    if operator not in OPERATORS:
        near = difflib.get_close_matches(operator, OPERATORS, 2)
        others = f"; the operators are {', '.join(OPERATORS)}."
        meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else others
        raise InvalidArgument(
            f"{where} has the unknown operator {operator!r}{meant}",
            next='An object holds operators only; equality with a map is {"eq": {…}}.',
        )
    where = f"{where}.{operator}"
    if operator == "exists":
        if not isinstance(given, bool):
            raise InvalidArgument(f"{where} must be true or false.")
        return Comparison(path, operator, exists=given)
    if operator in ("between", "in"):
        most = 2 if operator == "between" else limits.IN_MAX
        least = 2 if operator == "between" else 1
        if not isinstance(given, list) or not least <= len(given) <= most:
            amount = "two values, low and high" if operator == "between" else f"1 to {limits.IN_MAX} values"
            raise InvalidArgument(f"{where} must be a list of {amount}.")
        values = tuple(from_json(value, f"{where}[{at}]") for at, value in enumerate(given))
    else:
        values = (from_json(given, where),)
    kinds = [type_of(value) for value in values]
    if operator in _ORDERED and not _ORDERED_TYPES.issuperset(kinds):
        raise InvalidArgument(f"{where} orders strings, numbers and binary only.")
    if operator == "begins_with" and kinds[0] not in ("S", "B"):
        raise InvalidArgument(f"{where} takes a string or binary.")
    if operator == "between":
        if kinds[0] != kinds[1]:
            raise InvalidArgument(f"{where} has bounds of different types, which nothing lies between.")
        if order_of(values[0]) > order_of(values[1]):
            raise InvalidArgument(f"{where} has its low bound above its high one; exchange them.")
    return Comparison(path, operator, values)
