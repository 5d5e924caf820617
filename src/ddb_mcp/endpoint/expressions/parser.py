"""Parse DynamoDB's expressions, with DynamoDB's error messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, cached_property, lru_cache, partial
from itertools import chain, islice
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import get_type
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import TYPE_NAMES, AttributeValue
from ddb_mcp.core.paths import Path, get_value
from ddb_mcp.core.text import quote_start
from ddb_mcp.endpoint.errors import EndpointError, KeySchemaError, make_validation_error, require_valid
from ddb_mcp.endpoint.expressions import checks, nodes
from ddb_mcp.endpoint.values import KEYS, check_name, read_value

if TYPE_CHECKING:
    from lark import Lark, Tree

_PROJECTION = "ProjectionExpression"
# How many unused placeholders an error lists.
_UNUSED_NAMED = 20
_SETS = ("SS", "NS", "BS")
# How AWS's lexer splits an expression.
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_]*|[#:][A-Za-z0-9_]+|[0-9]+|<>|<=|>=|\S")
_OPERATORS = frozenset({"either", "both", "negated", "compared", "between", "among", "call", "arithmetic"})


@cache
def load_reserved_words() -> frozenset[str]:
    """Load https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html."""
    return frozenset(File(__file__).with_name("reserved_words.txt").read_text("ascii").split())


@cache
def _make_parser() -> Lark:
    from lark import Lark

    grammar = File(__file__).with_name("expressions.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", start=["condition", "projection", "update"], maybe_placeholders=False)


@lru_cache(maxsize=128)  # a tree can take 500 KB
def _parse_tree(start: str, text: str) -> Tree[Any]:
    """Parse a text into a tree. Cached, since applications repeat the same few texts."""
    from lark import UnexpectedInput

    try:
        tree = _make_parser().parse(text, start)
    except UnexpectedInput as error:
        at_end = getattr(getattr(error, "token", None), "type", "") == "$END"
        raise _make_syntax_error(text, len(text) if at_end else error.pos_in_stream or 0) from None
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


def _make_syntax_error(text: str, at: int) -> InvalidArgument:
    """Return the error for a position. AWS shows the token there, and its neighbours as `near`."""
    tokens = list(_TOKEN.finditer(text))
    index = sum(token.end() <= at for token in tokens)
    token = tokens[index][0] if index < len(tokens) else "<EOF>"
    near = tokens[max(index - 1, 0) : index + 2]
    return InvalidArgument(f'Syntax error; token: "{token}", near: "{text[near[0].start() : near[-1].end()]}"')


class ExpressionReader:
    """Parses the expressions of a request and tracks their placeholders.

    The methods `on_RULE` receive the results of the rule's parts.

    Args:
        request: the request, or the part of it with the expressions.
        expressions: the parameters that may hold an expression.

    Attributes:
        named: the top-level attributes in the last expression.

    Raises (the other methods too):
        EndpointError, InvalidArgument: an expression or a placeholder is invalid.
    """

    def __init__(self, request: Mapping[str, Any], *expressions: str) -> None:
        self._request = request
        self._used: set[str] = set()
        self._nested_key: str | int | None = None
        self.named: list[str | int] = []
        with_values = [name for name in expressions if name != _PROJECTION]
        absent = f"{' and '.join(with_values)} {'are' if len(with_values) > 1 else 'is'} null"
        for kind, names, why in (("Names", expressions, ""), ("Values", with_values, f": {absent}")):
            is_defined = request.get(f"ExpressionAttribute{kind}") is not None
            is_usable = any(request.get(name) is not None for name in names)
            what = f"ExpressionAttribute{kind} can only be specified when using expressions{why}"
            require_valid(is_usable or not is_defined, what)

    @cached_property
    def _placeholders(self) -> tuple[dict[str, str], dict[str, AttributeValue]]:
        """The names and values that the request defines."""
        names = self._get_placeholders("Names", "#")
        for name in names.values():
            check_name(name)
        values = self._get_placeholders("Values", ":")
        return names, {name: _read_placeholder(name, value) for name, value in values.items()}

    def _get_placeholders(self, kind: str, sign: str) -> dict[str, Any]:
        members: dict[str, Any] | None = self._request.get(f"ExpressionAttribute{kind}")
        require_valid(members != {}, f"ExpressionAttribute{kind} must not be empty")
        for name in members or ():
            if not re.fullmatch(f"{sign}[A-Za-z0-9_]+", name):
                raise make_validation_error(
                    f'ExpressionAttribute{kind} contains invalid key: Syntax error; key: "{name[:80]}"'
                )
        return members or {}

    def read_condition(self, parameter: str) -> nodes.ConditionNode | None:
        """Parse the condition, filter or key condition in a parameter. Return None if absent."""
        condition: nodes.ConditionNode | None = self._read(parameter, "condition")
        return condition

    def read_projection(self) -> tuple[Path, ...] | None:
        """Parse the paths of the projection. Return None if absent."""
        paths: tuple[Path, ...] | None = self._read(_PROJECTION, "projection")
        return paths

    def read_update(self) -> nodes.UpdateExpression:
        """Parse the update expression. Return an empty update if absent."""
        update: nodes.UpdateExpression | None = self._read("UpdateExpression", "update")
        return update or nodes.UpdateExpression()

    def check_all_used(self) -> None:
        """Raise InvalidArgument if a placeholder is unused, EndpointError if a path leads into a key.

        Call it once all expressions are parsed.
        """
        names, values = self._placeholders
        for kind, defined in (("Names", [*names]), ("Values", [*values])):
            unused = (quote_start(name) for name in sorted(defined) if name not in self._used)
            if named := ", ".join(islice(unused, _UNUSED_NAMED)):
                raise InvalidArgument(
                    f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{named}}}"
                )
        if self._nested_key is not None:
            raise KeySchemaError(
                "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: "
                f"Key: {self._nested_key}"
            )

    def _read(self, parameter: str, start: str) -> Any:
        text: str | None = self._request.get(parameter)
        self.named = []
        if text is None:
            return None
        self._names, self._values = self._placeholders  # AWS checks placeholders before expressions
        size = len(text.encode())
        try:
            if size > limits.EXPRESSION_MAX_BYTES:
                raise InvalidArgument(f"Expression size has exceeded the maximum allowed size; expression size: {size}")
            if not text.strip():
                raise InvalidArgument("The expression can not be empty;")
            result = self._evaluate_tree(_parse_tree(start, text))
        except InvalidArgument as error:
            raise InvalidArgument(f"Invalid {parameter}: {error.message}") from None
        if parameter == "KeyConditionExpression":  # key conditions report nested paths themselves
            self._nested_key = None
        return result

    def _evaluate_tree(self, tree: Tree[Any]) -> Any:
        """Evaluate a tree bottom-up. Not recursive, since expressions can nest deeper than Python's stack."""
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
        if len(steps) > 1 and steps[0] in KEYS:
            self._nested_key = steps[0]
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
        message = f"ExpressionAttributeValues contains invalid value: {failure.message} for key {quote_start(name)}"
        raise make_validation_error(message) from None


def _check_kind(section: str, value: AttributeValue, kinds: tuple[str, ...]) -> AttributeValue:
    if get_type(value) not in kinds:
        raise InvalidArgument(
            f"Incorrect operand type for operator or function; operator: {section}, operand type: "
            f"{TYPE_NAMES[get_type(value)].upper().replace(' ', '_')}, typeSet: ALLOWED_FOR_{section}_OPERAND"
        )
    return value


def _combine(word: str, *parts: nodes.ConditionNode) -> nodes.ConditionNode:
    """Join conditions by AND or OR. Flattens nested ones, including those in parentheses."""
    flat = (part.parts if isinstance(part, nodes.Combination) and part.word == word else (part,) for part in parts)
    return nodes.Combination(word, tuple(chain.from_iterable(flat)))
