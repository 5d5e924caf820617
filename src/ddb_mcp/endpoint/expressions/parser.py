"""Reads DynamoDB's expression texts. Errors use DynamoDB's own words, as SDKs expect them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
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
from ddb_mcp.endpoint.expressions.checks import (
    COMPARATORS,
    FUNCTIONS,
    OPERATOR_NAMES,
    check_bounds,
    check_no_overlap,
    check_operand_count,
    check_operand_type,
    check_type_name,
    format_path,
    require_condition,
    require_operand,
)
from ddb_mcp.endpoint.expressions.nodes import (
    Combination,
    Computed,
    ConditionNode,
    FunctionTest,
    ListAppend,
    Literal,
    Not,
    OperandNode,
    PathOperand,
    SizeOperand,
    Source,
    UpdateExpression,
    add,
    calculate,
    require_value,
    subtract,
)
from ddb_mcp.endpoint.values import read_value

if TYPE_CHECKING:
    from lark import Lark, Tree

# The last one has no values.
EXPRESSIONS = (
    "UpdateExpression",
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
)
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
    at = error.pos_in_stream
    token = str(getattr(error, "token", "") or "")
    if getattr(getattr(error, "token", None), "type", "") == "$END":
        return InvalidArgument(f'Syntax error; token: "<EOF>", near: "{text[-20:]}"')
    token = token or text[at]
    return InvalidArgument(f'Syntax error; token: "{token[:40]}", near: "{text[max(0, at - 10) : at + 10]}"')


class ExpressionReader:
    """Reads the expressions of one request, and notes which placeholders they use.

    The methods `on_RULE` take the results of a rule's parts.

    Raises (the other methods too):
        EndpointError, InvalidArgument: DynamoDB would refuse it.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._names: dict[str, str] = self._get_placeholders("Names", "#", EXPRESSIONS)
        values = self._get_placeholders("Values", ":", EXPRESSIONS[:-1])
        self._values = {name: _read_placeholder(name, value) for name, value in values.items()}
        self._used: set[str] = set()

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

    def read_condition(self, parameter: str) -> ConditionNode | None:
        """Return the condition, filter or key condition in a parameter, None if it is not there."""
        condition: ConditionNode | None = self._read(parameter, "condition")
        return condition

    def read_projection(self) -> tuple[Path, ...] | None:
        """Return the document paths of the projection, None if there is none."""
        paths: tuple[Path, ...] | None = self._read("ProjectionExpression", "projection")
        return paths

    def read_update(self) -> UpdateExpression:
        """Return the changes of the update expression, none if there is none."""
        update: UpdateExpression | None = self._read("UpdateExpression", "update")
        return update or UpdateExpression()

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

    def on_value(self, token: str) -> Literal:
        if token not in self._values:
            raise InvalidArgument(
                f"An expression attribute value used in expression is not defined; attribute value: {token}"
            )
        self._used.add(str(token))
        return Literal(self._values[token])

    def on_index(self, token: str) -> int:
        if len(token) > 9:
            raise InvalidArgument(f"List index is not within the allowable range; index: [{token[:40]}]")
        return int(token)

    def on_path(self, *steps: str | int) -> PathOperand:
        if len(steps) > limits.MAX_DEPTH:
            raise InvalidArgument(f"The document path has too many nesting elements; nesting levels: {len(steps)}")
        return PathOperand(steps)

    def on_projection(self, *paths: PathOperand) -> tuple[Path, ...]:
        document_paths = tuple(at.path for at in paths)
        check_no_overlap(document_paths)
        return document_paths

    def on_condition(self, whole: Any) -> ConditionNode:
        return require_condition(whole)

    def on_grouped(self, whole: Any) -> Any:
        return whole

    def on_either(self, *parts: Any) -> ConditionNode:
        return _combine(any, *map(require_condition, parts))

    def on_both(self, *parts: Any) -> ConditionNode:
        return _combine(all, *map(require_condition, parts))

    def on_negated(self, part: Any) -> ConditionNode:
        return Not(require_condition(part))

    def on_compared(self, left: Any, comparator: str, right: Any) -> ConditionNode:
        return self._test(COMPARATORS[comparator], left, right)

    def on_between(self, tested: Any, low: Any, high: Any) -> ConditionNode:
        test = self._test("between", tested, low, high)
        if isinstance(low, Literal) and isinstance(high, Literal):
            check_bounds(low.value, high.value)
        return test

    def on_among(self, *operands: Any) -> ConditionNode:
        if len(operands) - 1 > limits.IN_MAX:
            raise InvalidArgument(
                f"The IN operator is provided with too many operands; number of operands: {len(operands) - 1}"
            )
        return self._test("in", *operands)

    def on_call(self, name: str, *operands: Any) -> Any:
        if name not in FUNCTIONS:
            raise InvalidArgument(f"Invalid function name; function: {name}")
        check_operand_count(name, operands, FUNCTIONS[name])
        for operand in operands:
            require_operand(operand)
        if name == "size":
            check_operand_type("size", operands[0])
            return SizeOperand(operands[0])
        if name in ("begins_with", "contains"):
            return self._test(name, *operands)
        if not isinstance(operands[0], PathOperand):
            raise InvalidArgument(f"Operator or function requires a document path; operator or function: {name}")
        if name == "attribute_type":
            check_type_name(operands[1])
            return FunctionTest("type", operands)
        exists = FunctionTest("exists", operands)
        return exists if name == "attribute_exists" else Not(exists)

    def _test(self, operator: str, *operands: Any) -> FunctionTest:
        for operand in operands:
            require_operand(operand)
            check_operand_type(operator, operand)
        if operands[0] in operands[1:] and isinstance(operands[0], PathOperand):
            raise InvalidArgument(
                "The first operand must be distinct from the remaining operands for this operator or function; "
                f"operator: {OPERATOR_NAMES.get(operator, operator)}, first operand: {format_path(operands[0].path)}"
            )
        return FunctionTest(operator, operands)

    def on_arithmetic(self, left: Any, sign: str, right: Any) -> OperandNode:
        for operand in (left, right):
            check_operand_type(str(sign), operand)
        return Computed(partial(calculate, str(sign), left, right))

    def on_call_in_update(self, name: str, *operands: Any) -> OperandNode:
        if name not in ("if_not_exists", "list_append"):
            problem = "The function is not allowed in an update expression" if name in FUNCTIONS else ""
            raise InvalidArgument(f"{problem or 'Invalid function name'}; function: {name}")
        check_operand_count(name, operands, 2)
        if name == "list_append":
            for operand in operands:
                check_operand_type(name, operand)
            nested = (each.operands if isinstance(each, ListAppend) else (each,) for each in operands)
            return ListAppend(tuple(chain.from_iterable(nested)))
        if not isinstance(operands[0], PathOperand):
            raise InvalidArgument(f"Operator or function requires a document path; operator or function: {name}")
        path, otherwise = operands[0].path, operands[1]
        return Computed(lambda item: get_value(item, path) or otherwise.of(item))

    def on_assignment(self, at: PathOperand, sign: str, operand: OperandNode) -> tuple[Path, Source]:
        if sign != "=":
            raise InvalidArgument(f'Syntax error; token: "{sign}", near: "{format_path(at.path)[:40]} {sign}"')
        return at.path, partial(require_value, operand)

    def on_change(self, at: PathOperand, literal: Literal) -> tuple[Path, AttributeValue]:
        return at.path, literal.value

    def on_set(self, *changes: Any) -> tuple[str, Any]:
        return "SET", changes

    def on_remove(self, *paths: PathOperand) -> tuple[str, Any]:
        return "REMOVE", [(at.path, lambda item: None) for at in paths]

    def on_add(self, *changes: Any) -> tuple[str, Any]:
        return "ADD", [(path, partial(add, path, _check_kind("ADD", value, ("N", *_SETS)))) for path, value in changes]

    def on_delete(self, *changes: Any) -> tuple[str, Any]:
        return "DELETE", [
            (path, partial(subtract, path, _check_kind("DELETE", value, _SETS))) for path, value in changes
        ]

    def on_update(self, *sections: tuple[str, Any]) -> UpdateExpression:
        names = [section for section, _ in sections]
        for section in names:
            if names.count(section) > 1:
                raise InvalidArgument(f'The "{section}" section can only be used once in an update expression;')
        update = UpdateExpression(tuple(change for _, changes in sections for change in changes))
        check_no_overlap(update.paths)
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


def _combine(combine: Callable[..., bool], first: ConditionNode, last: ConditionNode) -> ConditionNode:
    """Join two parts by AND or OR. The grammar nests a chain of them to the left."""
    firsts = first.parts if isinstance(first, Combination) and first.combine is combine else (first,)
    return Combination(combine, (*firsts, last))
