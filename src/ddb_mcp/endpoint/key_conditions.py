"""Key conditions of queries: one partition key, and a range of sort keys. Loops are over an expression's operators."""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue
from ddb_mcp.endpoint.errors import make_validation_error
from ddb_mcp.endpoint.expressions.checks import OPERATOR_NAMES
from ddb_mcp.endpoint.expressions.nodes import (
    AllOf,
    AnyOf,
    ConditionNode,
    FunctionTest,
    Literal,
    Not,
    PathOperand,
    SizeOperand,
)
from ddb_mcp.endpoint.expressions.parser import Placeholders, parse_condition
from ddb_mcp.endpoint.values import KEYS, check_key_text
from ddb_mcp.stores.local.table import get_range_end

_PARAMETER = "KeyConditionExpression"
_COMPARISONS = {"eq": "=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_COMPARE: dict[str, Callable[[bytes, bytes], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class KeyCondition:
    """The partition key, and comparisons with the sort key, such as `(">=", b"a")`."""

    pk: str
    bounds: tuple[tuple[str, bytes], ...]

    def contains(self, sk: str) -> bool:
        """Whether a sort key satisfies all comparisons."""
        return all(_COMPARE[comparison](sk.encode(), bound) for comparison, bound in self.bounds)


def read_key_condition(text: str, known: Placeholders) -> KeyCondition:
    """The partition key and the range of a key condition. Raises Failure or InvalidArgument."""
    whole = parse_condition(_PARAMETER, text, known)
    tests: dict[str, FunctionTest] = {}
    for part in whole.parts if isinstance(whole, AllOf) else (whole,):
        name, test = _parse_test(part)
        if name in tests:
            raise make_validation_error("KeyConditionExpressions must only contain one condition per key")
        tests[name] = test
    if missed := "pk" if "pk" not in tests else "sk" if tests.keys() - set(KEYS) else None:
        raise make_validation_error(f"Query condition missed key schema element: {missed}")
    if tests["pk"].operator != "eq":
        raise make_validation_error("Query key condition not supported")
    (pk,) = _get_texts("pk", tests["pk"])
    return KeyCondition(pk, _make_bounds(tests["sk"]) if "sk" in tests else ())


def _parse_test(part: ConditionNode) -> tuple[str, FunctionTest]:
    if isinstance(part, AllOf):
        raise InvalidArgument(f"Invalid {_PARAMETER}: conditions must not be nested")
    if not isinstance(part, FunctionTest) or part.operator not in (*_COMPARISONS, "between", "begins_with"):
        raise InvalidArgument(f"Invalid operator used in {_PARAMETER}: {_get_name(part)}")
    if isinstance(part.operands[0], Literal) and isinstance(part.operands[1], PathOperand):
        raise InvalidArgument(f"Invalid condition in {_PARAMETER}: the key stands first, then the value")
    at = part.operands[0]
    if not isinstance(at, PathOperand) or not all(isinstance(operand, Literal) for operand in part.operands[1:]):
        raise InvalidArgument(f"Invalid condition in {_PARAMETER}: a key is compared with a value, and nothing else")
    if len(at.path) != 1:
        raise InvalidArgument(f"Invalid {_PARAMETER}: the condition is on a nested attribute")
    return str(at.path[0]), part


def _get_name(part: ConditionNode) -> str:
    if isinstance(part, FunctionTest):
        return OPERATOR_NAMES.get(part.operator, part.operator)
    return {AnyOf: "OR", Not: "NOT"}.get(type(part), "condition")


def _get_texts(name: str, test: FunctionTest) -> list[str]:
    texts = []
    for operand in test.operands[1:]:
        assert isinstance(operand, Literal)
        value: AttributeValue = operand.value
        if "S" not in value:
            raise make_validation_error(
                "One or more parameter values were invalid: Condition parameter type does not match schema type"
            )
        check_key_text(name, value["S"])
        texts.append(value["S"])
    return texts


def _make_bounds(test: FunctionTest) -> tuple[tuple[str, bytes], ...]:
    bounds = [text.encode() for text in _get_texts("sk", test)]
    if test.operator == "between":
        return (">=", bounds[0]), ("<=", bounds[1])
    if test.operator == "begins_with":
        return (">=", bounds[0]), ("<", get_range_end(bounds[0]))
    return ((_COMPARISONS[test.operator], bounds[0]),)


def uses_keys(condition: ConditionNode | None) -> str | None:
    """The key attribute that a filter names, None where it names neither `pk` nor `sk`."""
    return next((str(path[0]) for path in _iter_paths(condition) if path[0] in KEYS), None)


def _iter_paths(part: Any) -> Iterator[tuple[str | int, ...]]:
    """Every path in a condition."""
    left = [part]
    while left:
        match left.pop():
            case PathOperand(path):
                yield path
            case AllOf(parts) | AnyOf(parts) | FunctionTest(_, parts):
                left += parts
            case Not(inner) | SizeOperand(inner):
                left.append(inner)
