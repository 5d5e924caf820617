"""Reads DynamoDB's expression texts. Errors use DynamoDB's own words, as SDKs expect them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from itertools import chain, islice
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import get_type
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import TYPE_NAMES, AttributeValue
from ddb_mcp.core.paths import Path
from ddb_mcp.core.text import quote_start
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
    AllOf,
    AnyOf,
    Arithmetic,
    ConditionNode,
    FunctionTest,
    IfNotExists,
    ListAppend,
    Literal,
    Not,
    OperandNode,
    PathOperand,
    SizeOperand,
    UpdateExpression,
)

if TYPE_CHECKING:
    from lark import Lark, Tree

# The unused placeholders that an error names.
_UNUSED_NAMED = 20
_OPERATORS = frozenset({"either", "both", "negated", "compared", "between", "among", "call", "arithmetic"})


class Placeholders:
    """The placeholders of one request, and which of them its expressions have used.

    Args:
        names: attribute names by `#placeholder`.
        values: attribute values by `:placeholder`.
    """

    def __init__(self, names: Mapping[str, str], values: Mapping[str, AttributeValue]) -> None:
        self._names = names
        self._values = values
        self._used: set[str] = set()

    def resolve_name(self, placeholder: str) -> str:
        """The attribute name of a `#placeholder`, noted as used. Raises InvalidArgument."""
        if placeholder not in self._names:
            raise InvalidArgument(
                f"An expression attribute name used in the document path is not defined; attribute name: {placeholder}"
            )
        self._used.add(placeholder)
        return self._names[placeholder]

    def resolve_value(self, placeholder: str) -> AttributeValue:
        """The attribute value of a `:placeholder`, noted as used. Raises InvalidArgument."""
        if placeholder not in self._values:
            raise InvalidArgument(
                f"An expression attribute value used in expression is not defined; attribute value: {placeholder}"
            )
        self._used.add(placeholder)
        return self._values[placeholder]

    def check_all_used(self) -> None:
        """Raise InvalidArgument if the request has placeholders that none of its expressions has used."""
        for kind, defined in (("Names", self._names), ("Values", self._values)):
            unused = (quote_start(name) for name in sorted(defined) if name not in self._used)
            if named := ", ".join(islice(unused, _UNUSED_NAMED)):
                raise InvalidArgument(
                    f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{named}}}"
                )


def parse_condition(parameter: str, text: str, placeholders: Placeholders) -> ConditionNode:
    """The tree of a condition, a filter or a key condition.

    Args:
        parameter: how errors name it, for example `FilterExpression`.
        text: the expression.
        placeholders: notes what is used.

    Raises:
        InvalidArgument: DynamoDB would refuse it.
    """
    condition: ConditionNode = _parse(parameter, "condition", text, _ConditionVisitor(placeholders))
    return condition


def parse_projection(parameter: str, text: str, placeholders: Placeholders) -> tuple[Path, ...]:
    """The document paths of a projection. Arguments and errors as for `parse_condition`."""
    paths: tuple[Path, ...] = _parse(parameter, "projection", text, _ProjectionVisitor(placeholders))
    return paths


def parse_update(parameter: str, text: str, placeholders: Placeholders) -> UpdateExpression:
    """The changes of an update expression. Arguments and errors as for `parse_condition`."""
    update: UpdateExpression = _parse(parameter, "update", text, _UpdateVisitor(placeholders))
    return update


@cache
def load_reserved_words() -> frozenset[str]:
    """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html"""
    return frozenset(File(__file__).with_name("reserved_words.txt").read_text("ascii").split())


@cache
def _make_parser() -> Lark:
    from lark import Lark

    grammar = File(__file__).with_name("expressions.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", start=["condition", "projection", "update"], maybe_placeholders=False)


def _parse(parameter: str, start: str, text: str, reader: _TreeVisitor) -> Any:
    size = len(text.encode())
    try:
        if size > limits.EXPRESSION_MAX_BYTES:
            raise InvalidArgument(f"Expression size has exceeded the maximum allowed size; expression size: {size}")
        if not text.strip():
            raise InvalidArgument("The expression can not be empty;")
        return _evaluate_tree(_parse_tree(start, text), reader)
    except InvalidArgument as error:
        raise InvalidArgument(f"Invalid {parameter}: {error.message}") from None


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


def _evaluate_tree(tree: Tree[Any], reader: _TreeVisitor) -> Any:
    """The result of `reader` for a tree, from its leaves up. No recursion: texts may nest deeper than Python does."""
    done: dict[int, Any] = {}
    for node in tree.iter_subtrees():
        children = [done.get(id(child), child) for child in node.children]
        done[id(node)] = getattr(reader, f"on_{node.data}")(*children)
    return done[id(tree)]


class _TreeVisitor:
    """Paths and values, which all kinds of expressions have. `on_RULE` takes the results of the rule's parts."""

    def __init__(self, placeholders: Placeholders) -> None:
        self._placeholders = placeholders

    def on_name(self, token: str) -> str:
        if token.startswith("#"):
            return self._placeholders.resolve_name(str(token))
        if token.upper() in load_reserved_words():
            raise InvalidArgument(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return str(token)

    def on_index(self, token: str) -> int:
        if len(token) > 9:
            raise InvalidArgument(f"List index is not within the allowable range; index: [{token[:40]}]")
        return int(token)

    def on_path(self, *steps: str | int) -> PathOperand:
        if len(steps) > limits.MAX_DEPTH:
            raise InvalidArgument(f"The document path has too many nesting elements; nesting levels: {len(steps)}")
        return PathOperand(steps)

    def on_value(self, token: str) -> Literal:
        return Literal(self._placeholders.resolve_value(str(token)))


class _ProjectionVisitor(_TreeVisitor):
    def on_projection(self, *paths: PathOperand) -> tuple[Path, ...]:
        document_paths = tuple(at.path for at in paths)
        check_no_overlap(document_paths)
        return document_paths


class _ConditionVisitor(_TreeVisitor):
    def on_condition(self, whole: Any) -> ConditionNode:
        return require_condition(whole)

    def on_grouped(self, whole: Any) -> Any:
        return whole

    def on_either(self, *parts: Any) -> ConditionNode:
        return AnyOf(_flatten(AnyOf, parts))

    def on_both(self, *parts: Any) -> ConditionNode:
        return AllOf(_flatten(AllOf, parts))

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
        return FunctionTest(name, operands)

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


class _UpdateVisitor(_TreeVisitor):
    def on_arithmetic(self, left: Any, sign: str, right: Any) -> OperandNode:
        for operand in (left, right):
            check_operand_type(str(sign), operand)
        return Arithmetic(str(sign), left, right)

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
        return IfNotExists(operands[0].path, operands[1])

    def on_assignment(self, at: PathOperand, sign: str, operand: OperandNode) -> tuple[Path, OperandNode]:
        if sign != "=":
            raise InvalidArgument(f'Syntax error; token: "{sign}", near: "{format_path(at.path)[:40]} {sign}"')
        return at.path, operand

    def on_change(self, at: PathOperand, literal: Literal) -> tuple[Path, AttributeValue]:
        return at.path, literal.value

    def on_set(self, *entries: Any) -> tuple[str, Any]:
        return "SET", entries

    def on_remove(self, *paths: PathOperand) -> tuple[str, Any]:
        return "REMOVE", tuple(at.path for at in paths)

    def on_add(self, *entries: Any) -> tuple[str, Any]:
        return self._changes("ADD", ("N", "SS", "NS", "BS"), entries)

    def on_delete(self, *entries: Any) -> tuple[str, Any]:
        return self._changes("DELETE", ("SS", "NS", "BS"), entries)

    def _changes(self, section: str, kinds: tuple[str, ...], entries: Any) -> tuple[str, Any]:
        for _, value in entries:
            if get_type(value) not in kinds:
                raise InvalidArgument(
                    f"Incorrect operand type for operator or function; operator: {section}, operand type: "
                    f"{TYPE_NAMES[get_type(value)].upper().replace(' ', '_')}, typeSet: ALLOWED_FOR_{section}_OPERAND"
                )
        return section, entries

    def on_update(self, *sections: tuple[str, Any]) -> UpdateExpression:
        by_section: dict[str, Any] = {}
        for section, entries in sections:
            if section in by_section:
                raise InvalidArgument(f'The "{section}" section can only be used once in an update expression;')
            by_section[section] = entries
        update = UpdateExpression(*(by_section.get(section, ()) for section in ("SET", "REMOVE", "ADD", "DELETE")))
        check_no_overlap(update.paths)
        return update


def _flatten(kind: Callable[..., Any], parts: Any) -> tuple[ConditionNode, ...]:
    """The parts of a chain of ANDs or ORs, which the grammar nests to the left."""
    first, last = map(require_condition, parts)
    return (*(first.parts if isinstance(first, kind) else (first,)), last)  # type: ignore[arg-type, attr-defined]
