"""Key conditions of queries: a partition key and a range of sort keys."""

from collections.abc import Mapping
from dataclasses import dataclass

from ddb_mcp.core.expressions import COMPARATOR_SIGNS
from ddb_mcp.core.indexes import Index, IndexKey
from ddb_mcp.endpoint.errors import KeySchemaError, make_validation_error, require_valid
from ddb_mcp.endpoint.expressions import nodes
from ddb_mcp.endpoint.expressions.checks import OPERATOR_NAMES
from ddb_mcp.endpoint.values import INVALID, check_key_text
from ddb_mcp.stores.local.table import get_range_end

# Comparisons with the sort key, such as `(">=", b"a")`.
Bounds = tuple[tuple[str, bytes], ...]

_PARAMETER = "KeyConditionExpression"
_MIRRORED = {"eq": "eq", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


@dataclass(frozen=True)
class KeyCondition:
    """A key condition and its test for each attribute."""

    condition: nodes.ConditionNode
    tests: Mapping[str, nodes.FunctionTest]

    def resolve(self, index: Index) -> tuple[str, Bounds]:
        """Return the partition key and the sort key range for an index or `TABLE`. Raises EndpointError."""
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


def parse_key_condition(condition: nodes.ConditionNode) -> KeyCondition:
    """Convert a condition to a key condition. Raises EndpointError."""
    tests: dict[str, nodes.FunctionTest] = {}
    parts: tuple[nodes.ConditionNode, ...] = (condition,)
    if isinstance(condition, nodes.Combination) and condition.word == "AND":
        parts = condition.parts
    for part in parts:
        name, test = _parse_test(part)
        require_valid(name not in tests, "KeyConditionExpressions must only contain one condition per key")
        tests[name] = test
    require_valid(len(tests) <= 2, "Conditions can be of length 1 or 2 only")
    return KeyCondition(condition, tests)


def _parse_test(part: nodes.ConditionNode) -> tuple[str, nodes.FunctionTest]:
    """Return the tested attribute, and the test with the attribute as its first operand."""
    if not isinstance(part, nodes.FunctionTest) or part.operator not in (*_MIRRORED, "between", "begins_with"):
        raise make_validation_error(f"Invalid operator used in {_PARAMETER}: {_get_name(part)}")
    first, *others = part.operands
    needs_path = "operator must have the key attribute as its first operand"
    has_path = part.operator in _MIRRORED or isinstance(first, nodes.PathOperand)
    require_valid(has_path, f"Invalid condition in {_PARAMETER}: {_get_name(part)} {needs_path}")
    found: nodes.PathOperand | None = None
    for operand in part.operands:
        require_valid(
            not isinstance(operand, nodes.SizeOperand), "KeyConditionExpressions cannot contain nested operations"
        )
        if isinstance(operand, nodes.PathOperand):
            require_valid(
                found is None, f"Invalid condition in {_PARAMETER}: Multiple attribute names used in one condition"
            )
            is_top = len(operand.path) == 1
            require_valid(is_top, "KeyConditionExpressions cannot have conditions on nested attributes")
            found = operand
    if found is None:
        raise make_validation_error(f"Invalid condition in {_PARAMETER}: No key attribute specified")
    if found is not first:
        part = nodes.FunctionTest(_MIRRORED[part.operator], (*others, first))
    return str(found.path[0]), part


def _get_name(part: nodes.ConditionNode) -> str:
    if isinstance(part, nodes.FunctionTest):
        return OPERATOR_NAMES.get(part.operator, part.operator)
    if isinstance(part, nodes.Not) and isinstance(part.part, nodes.FunctionTest) and part.part.operator == "exists":
        return "attribute_not_exists"
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
