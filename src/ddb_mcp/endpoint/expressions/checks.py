"""Checks of the parts of an expression, with DynamoDB's error messages."""

from typing import Any

from ddb_mcp.core.conditions import OPERAND_TYPES, get_type, to_sortable
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expressions import COMPARATOR_SIGNS
from ddb_mcp.core.items import TYPES, AttributeValue
from ddb_mcp.core.paths import Path, find_overlap
from ddb_mcp.core.text import quote_start
from ddb_mcp.endpoint.expressions.nodes import ConditionNode, FunctionTest, Literal, PathOperand, SizeOperand

# Operators of `FunctionTest` by their sign.
COMPARATORS = {sign: operator for operator, sign in COMPARATOR_SIGNS.items()}
# Names of operators in messages, if they differ.
OPERATOR_NAMES = COMPARATOR_SIGNS | {
    "between": "BETWEEN",
    "in": "IN",
    "type": "attribute_type",
    "exists": "attribute_exists",
}
_OPERANDS = (PathOperand, Literal, SizeOperand)
# The number of operands of each function.
FUNCTIONS = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}
# The types of literals that an operator or function accepts.
_LITERAL_TYPES = OPERAND_TYPES | {
    "type": frozenset({"S"}),
    "size": TYPES - {"N", "BOOL", "NULL"},
    "+": frozenset({"N"}),
    "-": frozenset({"N"}),
    "list_append": frozenset({"L"}),
}


def format_path(path: Path) -> str:
    """Format a path as in DynamoDB's messages: `[a, b, [0]]`."""
    return "[" + ", ".join(f"[{step}]" if isinstance(step, int) else quote_start(step) for step in path) + "]"


def require_condition(part: Any) -> ConditionNode:
    """Return the part as a condition. Raises InvalidArgument if it is an operand."""
    if isinstance(part, SizeOperand):
        raise _make_misuse_error("size")
    if isinstance(part, _OPERANDS):
        raise InvalidArgument("Syntax error; expected a condition, found a path or a value")
    condition: ConditionNode = part
    return condition


def require_operand(part: Any) -> None:
    """Raise InvalidArgument if the part is a condition rather than an operand."""
    if isinstance(part, _OPERANDS):
        return
    if isinstance(part, FunctionTest) and (name := OPERATOR_NAMES.get(part.operator, part.operator)) in FUNCTIONS:
        raise _make_misuse_error(name)
    raise InvalidArgument("Syntax error; expected a path or a value, found a condition")


def _make_misuse_error(function: str) -> InvalidArgument:
    return InvalidArgument(f"The function is not allowed to be used this way in an expression; function: {function}")


def check_operand_count(name: str, operands: Any, expected: int) -> None:
    """Raise InvalidArgument if a function has the wrong number of operands."""
    if len(operands) != expected:
        raise InvalidArgument(
            "Incorrect number of operands for operator or function; "
            f"operator or function: {name}, number of operands: {len(operands)}"
        )


def check_operand_type(operator: str, operand: Any) -> None:
    """Raise InvalidArgument if the operator or function does not accept the literal's type."""
    kind = get_type(operand.value) if isinstance(operand, Literal) else "a document path"
    allowed = _LITERAL_TYPES.get(operator, TYPES)
    if kind not in allowed and (isinstance(operand, Literal) or operator == "type"):
        raise InvalidArgument(
            "Incorrect operand type for operator or function; "
            f"operator or function: {OPERATOR_NAMES.get(operator, operator)}, operand type: {kind}"
        )


def check_type_name(operand: Any) -> None:
    """Raise InvalidArgument unless the second operand of `attribute_type` is a literal type name."""
    check_operand_type("type", operand)
    name = operand.value["S"]
    if name not in TYPES:
        raise InvalidArgument(
            f"Invalid attribute type name found; type: {name[:40]}, valid types: {{{','.join(sorted(TYPES))}}}"
        )


def check_bounds(low: AttributeValue, high: AttributeValue) -> None:
    """Raise InvalidArgument if the bounds of a BETWEEN differ in type or are in the wrong order."""
    bounds = f"lower bound operand: {_format_value(low)}, upper bound operand: {_format_value(high)}"
    if get_type(low) != get_type(high):
        raise InvalidArgument(f"The BETWEEN operator requires same data type for lower and upper bounds; {bounds}")
    if to_sortable(low) > to_sortable(high):
        raise InvalidArgument(
            f"The BETWEEN operator requires upper bound to be greater than or equal to lower bound; {bounds}"
        )


def _format_value(value: AttributeValue) -> str:
    ((kind, content),) = value.items()
    return f"AttributeValue: {{{kind}:{content[:100]}}}"


def check_no_overlap(paths: list[Path] | tuple[Path, ...]) -> None:
    """Raise InvalidArgument if two paths overlap, or use one value both as a map and as a list."""
    pair = find_overlap(paths)
    if pair is None:
        return
    one, other = pair
    relation = "overlap" if one[: len(other)] == other[: len(one)] else "conflict"
    raise InvalidArgument(
        f"Two document paths {relation} with each other; must remove or rewrite one of these paths; "
        f"path one: {format_path(one)}, path two: {format_path(other)}"
    )
