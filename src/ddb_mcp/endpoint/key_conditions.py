"""Key conditions of queries: one partition key, and a range of sort keys. Loops are over an expression's operators."""

from dataclasses import dataclass

from ddb_mcp.core.conditions import StepCounter
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expressions import COMPARATOR_SIGNS
from ddb_mcp.core.keys import Key
from ddb_mcp.endpoint.errors import KeySchemaError, make_validation_error
from ddb_mcp.endpoint.expressions import nodes
from ddb_mcp.endpoint.expressions.checks import OPERATOR_NAMES
from ddb_mcp.endpoint.expressions.parser import ExpressionReader
from ddb_mcp.endpoint.values import INVALID, KEYS, check_key_text
from ddb_mcp.stores.local.table import get_range_end

_PARAMETER = "KeyConditionExpression"
_MIRRORED = {"eq": "eq", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


@dataclass(frozen=True)
class KeyCondition:
    """The partition key, and comparisons with the sort key, such as `(">=", b"a")`."""

    condition: nodes.ConditionNode
    pk: str
    bounds: tuple[tuple[str, bytes], ...]

    def check_start(self, after: Key) -> None:
        """Raise EndpointError if no page of this query ends with a key."""
        if after.pk != self.pk:
            raise make_validation_error(
                "The provided starting key is outside query boundaries based on provided conditions"
            )
        if not self.condition.holds(after.attributes, StepCounter()):
            raise make_validation_error("The provided starting key does not match the range key predicate")


def read_key_condition(reader: ExpressionReader) -> KeyCondition:
    """Return the partition key and the range of a query. Raises EndpointError or InvalidArgument."""
    whole = reader.read_condition(_PARAMETER)
    assert whole is not None
    tests: dict[str, nodes.FunctionTest] = {}
    for part in whole.parts if isinstance(whole, nodes.Combination) and whole.word == "AND" else (whole,):
        name, test = _parse_test(part)
        if name in tests:
            raise make_validation_error("KeyConditionExpressions must only contain one condition per key")
        tests[name] = test
    if missed := "pk" if "pk" not in tests else "sk" if tests.keys() - set(KEYS) else None:
        raise KeySchemaError(f"Query condition missed key schema element: {missed}")
    if tests["pk"].operator != "eq":
        raise KeySchemaError("Query key condition not supported")
    (pk,) = _get_texts("pk", tests["pk"])
    return KeyCondition(whole, pk, _make_bounds(tests["sk"]) if "sk" in tests else ())


def _parse_test(part: nodes.ConditionNode) -> tuple[str, nodes.FunctionTest]:
    if not isinstance(part, nodes.FunctionTest) or part.operator not in (*_MIRRORED, "between", "begins_with"):
        raise InvalidArgument(f"Invalid operator used in {_PARAMETER}: {_get_name(part)}")
    if part.operator in _MIRRORED and isinstance(part.operands[0], nodes.Literal):
        part = nodes.FunctionTest(_MIRRORED[part.operator], part.operands[::-1])
    at = part.operands[0]
    if not isinstance(at, nodes.PathOperand) or not all(
        isinstance(operand, nodes.Literal) for operand in part.operands[1:]
    ):
        raise InvalidArgument(f"Invalid condition in {_PARAMETER}: a key is compared with a value, and nothing else")
    if len(at.path) != 1:
        raise InvalidArgument(f"Invalid condition in {_PARAMETER}: it is on a nested attribute")
    return str(at.path[0]), part


def _get_name(part: nodes.ConditionNode) -> str:
    if isinstance(part, nodes.FunctionTest):
        return OPERATOR_NAMES.get(part.operator, part.operator)
    return part.word if isinstance(part, nodes.Combination) else "NOT"


def _get_texts(name: str, test: nodes.FunctionTest) -> list[str]:
    values = [operand.value for operand in test.operands if isinstance(operand, nodes.Literal)]
    for value in values:
        if "S" not in value:
            raise KeySchemaError(f"{INVALID}Condition parameter type does not match schema type")
        check_key_text(name, value["S"])
    return [value["S"] for value in values]


def _make_bounds(test: nodes.FunctionTest) -> tuple[tuple[str, bytes], ...]:
    bounds = [text.encode() for text in _get_texts("sk", test)]
    if test.operator == "between":
        return (">=", bounds[0]), ("<=", bounds[1])
    if test.operator == "begins_with":
        return (">=", bounds[0]), ("<", get_range_end(bounds[0]))
    return ((COMPARATOR_SIGNS[test.operator], bounds[0]),)
