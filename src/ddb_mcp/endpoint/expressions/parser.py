"""Reads DynamoDB's expression texts. Errors use DynamoDB's own words, as SDKs expect them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache, partial
from itertools import chain, islice
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import get_type
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import TYPE_NAMES, AttributeValue
from ddb_mcp.core.paths import Path, get_value
from ddb_mcp.core.text import quote_start
from ddb_mcp.endpoint.errors import EndpointError, make_validation_error
from ddb_mcp.endpoint.expressions import checks, nodes
from ddb_mcp.endpoint.values import check_name, read_value

if TYPE_CHECKING:
    from lark import Lark, Tree

# The last one has no values.
EXPRESSIONS = [f"{kind}Expression" for kind in ("Update", "Condition", "Filter", "KeyCondition", "Projection")]
# The unused placeholders that an error names.
_UNUSED_NAMED = 20
_SETS = ("SS", "NS", "BS")
_OPERATORS = frozenset({"either", "both", "negated", "compared", "between", "among", "call", "arithmetic"})


@cache
def load_reserved_words() -> frozenset[str]:
    """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html"""
    return frozenset(File(__file__).with_name("reserved_words.txt").read_text("ascii").split())


@cache
def _make_parser() -> Lark:
    from lark import Lark

    grammar = File(__file__).with_name("expressions.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", start=["condition", "projection", "update"], maybe_placeholders=False)


@lru_cache(maxsize=128)  # a tree can take 500 KB
def _parse_tree(start: str, text: str) -> Tree[Any]:
    """The tree of a text. Applications send few different texts, again and again."""
    from lark import UnexpectedInput

    try:
        tree = _make_parser().parse(text, start)
    except UnexpectedInput as error:
        raise _make_syntax_error(text, error) from None
    operators = 0
    for node in tree.iter_subtrees():
        operators += node.data in _OPERATORS
        if node.data == "grouped" and getattr(node.children[0], "data", None) == "grouped":
            raise InvalidArgument("The expression has redundant parentheses;")
    if operators > limits.OPERATORS_MAX:
        raise InvalidArgument(
            f"The expression contains too many operators; operators: {operators}, maximum: {limits.OPERATORS_MAX}"
        )
    return tree


def _make_syntax_error(text: str, error: Any) -> InvalidArgument:
    at, token = error.pos_in_stream, getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return InvalidArgument(f'Syntax error; token: "<EOF>", near: "{text[-20:]}"')
    return InvalidArgument(
        f'Syntax error; token: "{(token or text[at])[:40]}", near: "{text[max(0, at - 10) : at + 10]}"'
    )


class ExpressionReader:
    """Reads the expressions of one request, and notes which placeholders they use.

    The methods `on_RULE` take the results of a rule's parts.

    Attributes:
        named: the top-level attributes that the expression read last names.

    Raises (the other methods too):
        EndpointError, InvalidArgument: DynamoDB would refuse it.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._names: dict[str, str] = self._get_placeholders("Names", "#", EXPRESSIONS)
        values = self._get_placeholders("Values", ":", EXPRESSIONS[:-1])
        for name in self._names.values():
            check_name(name)
        self._values = {name: _read_placeholder(name, value) for name, value in values.items()}
        self._used: set[str] = set()
        self.named: list[str | int] = []

    def _get_placeholders(self, kind: str, sign: str, expressions: Iterable[str]) -> dict[str, Any]:
        members: dict[str, Any] | None = self._request.get(f"ExpressionAttribute{kind}")
        if members is None:
            return {}
        if all(self._request.get(name) is None for name in expressions):
            raise make_validation_error(f"ExpressionAttribute{kind} can only be specified when using expressions")
        if not members:
            raise make_validation_error(f"ExpressionAttribute{kind} must not be empty")
        for name in members:
            if not re.fullmatch(f"{sign}[A-Za-z0-9_]+", name):
                raise make_validation_error(
                    f'ExpressionAttribute{kind} contains invalid key: Syntax error; key: "{name[:80]}"'
                )
        return members

    def read_condition(self, parameter: str) -> nodes.ConditionNode | None:
        """Return the condition, filter or key condition in a parameter, None if it is not there."""
        condition: nodes.ConditionNode | None = self._read(parameter, "condition")
        return condition

    def read_projection(self) -> tuple[Path, ...] | None:
        """Return the document paths of the projection, None if there is none."""
        paths: tuple[Path, ...] | None = self._read("ProjectionExpression", "projection")
        return paths

    def read_update(self) -> nodes.UpdateExpression:
        """Return the changes of the update expression, none if there is none."""
        update: nodes.UpdateExpression | None = self._read("UpdateExpression", "update")
        return update or nodes.UpdateExpression()

    def check_all_used(self) -> None:
        """Raise InvalidArgument if the request has placeholders that none of its expressions has used."""
        for kind, defined in (("Names", self._names), ("Values", self._values)):
            unused = (quote_start(name) for name in sorted(defined) if name not in self._used)
            if named := ", ".join(islice(unused, _UNUSED_NAMED)):
                raise InvalidArgument(
                    f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{named}}}"
                )

    def _read(self, parameter: str, start: str) -> Any:
        text: str | None = self._request.get(parameter)
        self.named = []
        if text is None:
            return None
        size = len(text.encode())
        try:
            if size > limits.EXPRESSION_MAX_BYTES:
                raise InvalidArgument(f"Expression size has exceeded the maximum allowed size; expression size: {size}")
            if not text.strip():
                raise InvalidArgument("The expression can not be empty;")
            return self._evaluate_tree(_parse_tree(start, text))
        except InvalidArgument as error:
            raise InvalidArgument(f"Invalid {parameter}: {error.message}") from None

    def _evaluate_tree(self, tree: Tree[Any]) -> Any:
        """Return the result for a tree, from its leaves up. No recursion: texts may nest deeper than Python does."""
        done: dict[int, Any] = {}
        for node in tree.iter_subtrees():
            children = [done.get(id(child), child) for child in node.children]
            done[id(node)] = getattr(self, f"on_{node.data}")(*children)
        return done[id(tree)]

    def on_name(self, token: str) -> str:
        if not token.startswith("#"):
            if token.upper() in load_reserved_words():
                raise InvalidArgument(f"Attribute name is a reserved keyword; reserved keyword: {token}")
            return str(token)
        if token not in self._names:
            raise InvalidArgument(
                f"An expression attribute name used in the document path is not defined; attribute name: {token}"
            )
        self._used.add(str(token))
        return self._names[token]

    def on_value(self, token: str) -> nodes.Literal:
        if token not in self._values:
            raise InvalidArgument(
                f"An expression attribute value used in expression is not defined; attribute value: {token}"
            )
        self._used.add(str(token))
        return nodes.Literal(self._values[token])

    def on_index(self, token: str) -> int:
        if len(token) > 9:
            raise InvalidArgument(f"List index is not within the allowable range; index: [{token[:40]}]")
        return int(token)

    def on_path(self, *steps: str | int) -> nodes.PathOperand:
        if len(steps) > limits.MAX_DEPTH:
            raise InvalidArgument(f"The document path has too many nesting elements; nesting levels: {len(steps)}")
        self.named.append(steps[0])
        return nodes.PathOperand(steps)

    def on_projection(self, *paths: nodes.PathOperand) -> tuple[Path, ...]:
        document_paths = tuple(at.path for at in paths)
        checks.check_no_overlap(document_paths)
        return document_paths

    def on_condition(self, whole: Any) -> nodes.ConditionNode:
        return checks.require_condition(whole)

    def on_grouped(self, whole: Any) -> Any:
        return whole

    def on_either(self, *parts: Any) -> nodes.ConditionNode:
        return _combine("OR", *map(checks.require_condition, parts))

    def on_both(self, *parts: Any) -> nodes.ConditionNode:
        return _combine("AND", *map(checks.require_condition, parts))

    def on_negated(self, part: Any) -> nodes.ConditionNode:
        return nodes.Not(checks.require_condition(part))

    def on_compared(self, left: Any, comparator: str, right: Any) -> nodes.ConditionNode:
        return self._test(checks.COMPARATORS[comparator], left, right)

    def on_between(self, tested: Any, low: Any, high: Any) -> nodes.ConditionNode:
        test = self._test("between", tested, low, high)
        if isinstance(low, nodes.Literal) and isinstance(high, nodes.Literal):
            checks.check_bounds(low.value, high.value)
        return test

    def on_among(self, *operands: Any) -> nodes.ConditionNode:
        if len(operands) - 1 > limits.IN_MAX:
            raise InvalidArgument(
                f"The IN operator is provided with too many operands; number of operands: {len(operands) - 1}"
            )
        return self._test("in", *operands)

    def on_call(self, name: str, *operands: Any) -> Any:
        if name not in checks.FUNCTIONS:
            raise InvalidArgument(f"Invalid function name; function: {name}")
        checks.check_operand_count(name, operands, checks.FUNCTIONS[name])
        for operand in operands:
            checks.require_operand(operand)
        if name == "size":
            checks.check_operand_type("size", operands[0])
            return nodes.SizeOperand(operands[0])
        if name in ("begins_with", "contains"):
            return self._test(name, *operands)
        if not isinstance(operands[0], nodes.PathOperand):
            raise InvalidArgument(f"Operator or function requires a document path; operator or function: {name}")
        if name == "attribute_type":
            checks.check_type_name(operands[1])
            return nodes.FunctionTest("type", operands)
        exists = nodes.FunctionTest("exists", operands)
        return exists if name == "attribute_exists" else nodes.Not(exists)

    def _test(self, operator: str, *operands: Any) -> nodes.FunctionTest:
        for operand in operands:
            checks.require_operand(operand)
            checks.check_operand_type(operator, operand)
        if operands[0] in operands[1:] and isinstance(operands[0], nodes.PathOperand):
            raise InvalidArgument(
                "The first operand must be distinct from the remaining operands for this operator or function; "
                f"operator: {checks.OPERATOR_NAMES.get(operator, operator)}, "
                f"first operand: {checks.format_path(operands[0].path)}"
            )
        return nodes.FunctionTest(operator, operands)

    def on_arithmetic(self, left: Any, sign: str, right: Any) -> nodes.OperandNode:
        for operand in (left, right):
            checks.check_operand_type(str(sign), operand)
        return nodes.Computed(partial(nodes.calculate, str(sign), left, right))

    def on_call_in_update(self, name: str, *operands: Any) -> nodes.OperandNode:
        if name not in ("if_not_exists", "list_append"):
            problem = "The function is not allowed in an update expression" if name in checks.FUNCTIONS else ""
            raise InvalidArgument(f"{problem or 'Invalid function name'}; function: {name}")
        checks.check_operand_count(name, operands, 2)
        if name == "list_append":
            for operand in operands:
                checks.check_operand_type(name, operand)
            nested = (each.operands if isinstance(each, nodes.ListAppend) else (each,) for each in operands)
            return nodes.ListAppend(tuple(chain.from_iterable(nested)))
        if not isinstance(operands[0], nodes.PathOperand):
            raise InvalidArgument(f"Operator or function requires a document path; operator or function: {name}")
        path, otherwise = operands[0].path, operands[1]
        return nodes.Computed(lambda item: get_value(item, path) or otherwise.of(item))

    def on_assignment(self, at: nodes.PathOperand, sign: str, operand: nodes.OperandNode) -> tuple[Path, nodes.Source]:
        if sign != "=":
            raise InvalidArgument(f'Syntax error; token: "{sign}", near: "{checks.format_path(at.path)[:40]} {sign}"')
        return at.path, partial(nodes.require_value, operand)

    def on_change(self, at: nodes.PathOperand, literal: nodes.Literal) -> tuple[Path, AttributeValue]:
        return at.path, literal.value

    def on_set(self, *changes: Any) -> tuple[str, Any]:
        return "SET", changes

    def on_remove(self, *paths: nodes.PathOperand) -> tuple[str, Any]:
        return "REMOVE", [(at.path, lambda item: None) for at in paths]

    def on_add(self, *changes: Any) -> tuple[str, Any]:
        return "ADD", [
            (path, partial(nodes.add, path, _check_kind("ADD", value, ("N", *_SETS)))) for path, value in changes
        ]

    def on_delete(self, *changes: Any) -> tuple[str, Any]:
        return "DELETE", [
            (path, partial(nodes.subtract, path, _check_kind("DELETE", value, _SETS))) for path, value in changes
        ]

    def on_update(self, *sections: tuple[str, Any]) -> nodes.UpdateExpression:
        names = [section for section, _ in sections]
        for section in names:
            if names.count(section) > 1:
                raise InvalidArgument(f'The "{section}" section can only be used once in an update expression;')
        update = nodes.UpdateExpression(tuple(change for _, changes in sections for change in changes))
        checks.check_no_overlap(update.paths)
        return update


def _read_placeholder(name: str, value: Any) -> AttributeValue:
    try:
        return read_value(value)
    except EndpointError as failure:
        if failure.kind != "ValidationException":
            raise
        message = f"ExpressionAttributeValues contains invalid value: {failure.message} for key {quote_start(name)}"
        raise make_validation_error(message) from None


def _check_kind(section: str, value: AttributeValue, kinds: tuple[str, ...]) -> AttributeValue:
    if get_type(value) not in kinds:
        raise InvalidArgument(
            f"Incorrect operand type for operator or function; operator: {section}, operand type: "
            f"{TYPE_NAMES[get_type(value)].upper().replace(' ', '_')}, typeSet: ALLOWED_FOR_{section}_OPERAND"
        )
    return value


def _combine(word: str, first: nodes.ConditionNode, last: nodes.ConditionNode) -> nodes.ConditionNode:
    """Join two parts by AND or OR. The grammar nests a chain of them to the left."""
    firsts = first.parts if isinstance(first, nodes.Combination) and first.word == word else (first,)
    return nodes.Combination(word, (*firsts, last))
