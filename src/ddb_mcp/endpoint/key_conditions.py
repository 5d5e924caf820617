"""Key conditions of queries: one partition key, and a range of sort keys. Loops are over an expression's operators."""

from collections.abc import Mapping
from dataclasses import dataclass

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expressions import COMPARATOR_SIGNS
from ddb_mcp.core.indexes import Index, IndexKey
from ddb_mcp.endpoint.errors import KeySchemaError, require_valid
from ddb_mcp.endpoint.expressions import nodes
from ddb_mcp.endpoint.expressions.checks import OPERATOR_NAMES
from ddb_mcp.endpoint.expressions.parser import ExpressionReader
from ddb_mcp.endpoint.values import INVALID, check_key_text
from ddb_mcp.stores.local.table import get_range_end

# Comparisons with the sort key, such as `(">=", b"a")`.
Bounds = tuple[tuple[str, bytes], ...]

_PARAMETER = "KeyConditionExpression"
_MIRRORED = {"eq": "eq", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


@dataclass(frozen=True)
class KeyCondition:
    """A key condition, and its test of each attribute."""

    condition: nodes.ConditionNode
    tests: Mapping[str, nodes.FunctionTest]

    def resolve(self, index: Index) -> tuple[str, Bounds]:
        """Return the partition key and the range of a query of the index, or of `TABLE`. Raises EndpointError."""
        partition = self.tests.get(index.pk.name)
        missed = index.pk if partition is None else index.sk if self._names_others(index) else None
        if missed:
            raise KeySchemaError(f"Query condition missed key schema element: {missed.name}")
        if partition is None or partition.operator != "eq" or self._names_others(index):
            raise KeySchemaError("Query key condition not supported")
        (pk,) = _get_texts(index, index.pk, partition)
        ranged = self.tests.get(index.sk.name) if index.sk else None
        return pk, _make_bounds(index, ranged) if ranged else ()

    def _names_others(self, index: Index) -> bool:
        return not self.tests.keys() <= {key.name for key in index.keys}


def read_key_condition(reader: ExpressionReader) -> KeyCondition:
    """Return the key condition of a query. Raises EndpointError or InvalidArgument."""
    whole = reader.read_condition(_PARAMETER)
    assert whole is not None
    tests: dict[str, nodes.FunctionTest] = {}
    for part in whole.parts if isinstance(whole, nodes.Combination) and whole.word == "AND" else (whole,):
        name, test = _parse_test(part)
        require_valid(name not in tests, "KeyConditionExpressions must only contain one condition per key")
        tests[name] = test
    return KeyCondition(whole, tests)


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


def _get_texts(index: Index, key: IndexKey, test: nodes.FunctionTest) -> list[str]:
    values = [operand.value for operand in test.operands if isinstance(operand, nodes.Literal)]
    for value in values:
        if key.type not in value:
            raise KeySchemaError(f"{INVALID}Condition parameter type does not match schema type")
        check_key_text(index, key, value[key.type])
    return [value[key.type] for value in values]


def _make_bounds(index: Index, test: nodes.FunctionTest) -> Bounds:
    assert index.sk
    bounds = [index.sk.encode(text) for text in _get_texts(index, index.sk, test)]
    if test.operator == "between":
        return (">=", bounds[0]), ("<=", bounds[1])
    if test.operator == "begins_with":
        end = get_range_end(bounds[0])
        return (">=", bounds[0]), *((("<", end),) if end else ())
    return ((COMPARATOR_SIGNS[test.operator], bounds[0]),)
