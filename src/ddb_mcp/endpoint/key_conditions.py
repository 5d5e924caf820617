"""Key conditions of queries: one partition key, and a range of sort keys. Loops are over an expression's operators."""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expression_checks import WORDS
from ddb_mcp.core.expression_reader import Placeholders, read_condition
from ddb_mcp.core.expression_trees import At, Condition, Either, Every, Literal, Not, Size, Test
from ddb_mcp.core.items import AttributeValue
from ddb_mcp.endpoint.failures import invalid
from ddb_mcp.endpoint.values import KEYS, check_key_text
from ddb_mcp.stores.local.table import end_of

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
    whole = read_condition(_PARAMETER, text, known)
    tests: dict[str, Test] = {}
    for part in whole.parts if isinstance(whole, Every) else (whole,):
        name, test = _test(part)
        if name in tests:
            raise invalid("KeyConditionExpressions must only contain one condition per key")
        tests[name] = test
    if missed := "pk" if "pk" not in tests else "sk" if tests.keys() - set(KEYS) else None:
        raise invalid(f"Query condition missed key schema element: {missed}")
    if tests["pk"].operator != "eq":
        raise invalid("Query key condition not supported")
    (pk,) = _texts("pk", tests["pk"])
    return KeyCondition(pk, _bounds(tests["sk"]) if "sk" in tests else ())


def _test(part: Condition) -> tuple[str, Test]:
    if isinstance(part, Every):
        raise InvalidArgument(f"Invalid {_PARAMETER}: conditions must not be nested")
    if not isinstance(part, Test) or part.operator not in (*_COMPARISONS, "between", "begins_with"):
        raise InvalidArgument(f"Invalid operator used in {_PARAMETER}: {_name(part)}")
    if isinstance(part.operands[0], Literal) and isinstance(part.operands[1], At):
        raise InvalidArgument(f"Invalid condition in {_PARAMETER}: the key stands first, then the value")
    at = part.operands[0]
    if not isinstance(at, At) or not all(isinstance(operand, Literal) for operand in part.operands[1:]):
        raise InvalidArgument(f"Invalid condition in {_PARAMETER}: a key is compared with a value, and nothing else")
    if len(at.path) != 1:
        raise InvalidArgument(f"Invalid {_PARAMETER}: the condition is on a nested attribute")
    return str(at.path[0]), part


def _name(part: Condition) -> str:
    if isinstance(part, Test):
        return WORDS.get(part.operator, part.operator)
    return {Either: "OR", Not: "NOT"}.get(type(part), "condition")


def _texts(name: str, test: Test) -> list[str]:
    texts = []
    for operand in test.operands[1:]:
        assert isinstance(operand, Literal)
        value: AttributeValue = operand.value
        if "S" not in value:
            raise invalid(
                "One or more parameter values were invalid: Condition parameter type does not match schema type"
            )
        check_key_text(name, value["S"])
        texts.append(value["S"])
    return texts


def _bounds(test: Test) -> tuple[tuple[str, bytes], ...]:
    bounds = [text.encode() for text in _texts("sk", test)]
    if test.operator == "between":
        return (">=", bounds[0]), ("<=", bounds[1])
    if test.operator == "begins_with":
        return (">=", bounds[0]), ("<", end_of(bounds[0]))
    return ((_COMPARISONS[test.operator], bounds[0]),)


def uses_keys(condition: Condition | None) -> str | None:
    """The key attribute that a filter names, None where it names neither `pk` nor `sk`."""
    return next((str(path[0]) for path in _paths(condition) if path[0] in KEYS), None)


def _paths(part: Any) -> Iterator[tuple[str | int, ...]]:
    """Every path in a condition."""
    left = [part]
    while left:
        match left.pop():
            case At(path):
                yield path
            case Every(parts) | Either(parts) | Test(_, parts):
                left += parts
            case Not(inner) | Size(inner):
                left.append(inner)
