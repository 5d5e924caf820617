"""Sort-key ranges, filters and expectations: as data, as DynamoDB expressions, and evaluated in Python.

Semantics are DynamoDB's: values of different type are unequal and unordered, numbers compare numerically, sets without
order, `ne` holds for a missing attribute.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

import base64
import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from operator import ge, gt, le, lt
from typing import Any

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import TYPES, AttributeValue, Item, check_unicode, from_dynamodb_json, from_json, to_json
from ddb_mcp.core.keys import SK_MAX_BYTES, check_text

EXPRESSION_MAX_BYTES = 4096
IN_MAX = 100
OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "between", "in", "begins_with", "contains", "exists")
_COMPARATORS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ORDERED = frozenset({"lt", "le", "gt", "ge", "between"})
_ORDERED_TYPES = frozenset({"S", "N", "B"})
_TYPE_WORDS = {
    "S": "a string",
    "N": "a number",
    "B": "binary",
    "BOOL": "a boolean",
    "NULL": "null",
    "L": "a list",
    "M": "a map",
    "SS": "a string set",
    "NS": "a number set",
    "BS": "a binary set",
}

# Names may have 64 KB, and an item thousands of them, which take difflib seconds.
_NAME_SHOWN = 100
_NAMES_COMPARED = 300

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class KeyRange:
    """The sort keys a query asks for: those with a prefix, or those from `low` to `high`, both included."""

    prefix: str | None = None
    low: str | None = None
    high: str | None = None

    def contains(self, sk: str) -> bool:
        # Code point order is the order of the UTF-8 bytes, which is DynamoDB's.
        return (
            (self.prefix is None or sk.startswith(self.prefix))
            and (self.low is None or sk >= self.low)
            and (self.high is None or sk <= self.high)
        )


ALL_SORT_KEYS = KeyRange()


def parse_range(sk_prefix: str | None, sk_from: str | None, sk_to: str | None) -> KeyRange:
    """The range that a query's arguments name. Raises InvalidArgument for both kinds at once, or an inverted range."""
    if sk_prefix is not None and (sk_from is not None or sk_to is not None):
        raise InvalidArgument("sk_prefix and sk_from/sk_to exclude each other; give one kind.")
    for parameter, text in (("sk_prefix", sk_prefix), ("sk_from", sk_from), ("sk_to", sk_to)):
        if text is not None:
            check_text(parameter, text, SK_MAX_BYTES)
    if sk_from is not None and sk_to is not None and sk_from > sk_to:
        raise InvalidArgument("sk_from comes after sk_to in sort order (by UTF-8 bytes); exchange them.")
    return KeyRange(sk_prefix, sk_from, sk_to)


@dataclass(frozen=True)
class Comparison:
    """One clause of a filter. `values` has one operand, two for `between`, any number for `in`, none for `exists`."""

    path: Path
    operator: str
    values: tuple[AttributeValue, ...] = ()
    exists: bool = True

    def holds(self, item: Item) -> bool:
        """Whether the stored item satisfies the clause."""
        found = value_at(item, self.path)
        if self.operator == "exists":
            return (found is not None) is self.exists
        if found is None:
            return self.operator == "ne"
        if self.operator == "between":
            return _ordered(ge, found, self.values[0]) and _ordered(le, found, self.values[1])
        if self.operator == "in":
            return any(equal(found, value) for value in self.values)
        return _HOLDS[self.operator](found, self.values[0])


Filter = tuple[Comparison, ...]


def matches(clauses: Filter, item: Item) -> bool:
    """Whether the item satisfies every clause."""
    return all(clause.holds(item) for clause in clauses)


def parse_filter(given: Mapping[str, Any], parameter: str, *, keys_allowed: bool = True) -> Filter:
    """The clauses of a filter or an expectation, all of which must hold.

    Args:
        given: `{"status": "open", "total": {"gt": 10}, "address.city": {"begins_with": "Par"}}`, by document path.
        parameter: how errors name it.
        keys_allowed: False for a query, whose filter DynamoDB does not let touch the key.

    Raises:
        InvalidArgument: a path, an operator or an operand that DynamoDB would refuse, or too much for an expression.
    """
    clauses: list[Comparison] = []
    for name, condition in given.items():
        where = f"{parameter}.{name}"
        path = parse_path(name, parameter)
        if not keys_allowed and path[0] in ("pk", "sk"):
            raise InvalidArgument(
                f"{parameter} cannot use {path[0]} in a query.",
                next="Narrow the sort key with sk_prefix, or with sk_from and sk_to; pk is the query's own argument.",
            )
        if not isinstance(condition, dict):
            clauses.append(Comparison(path, "eq", (from_json(condition, where),)))
            continue
        if len(condition) == 1 and next(iter(condition)) in TYPES:  # no operator has a type's name
            clauses.append(Comparison(path, "eq", (from_dynamodb_json(condition, where),)))
            continue
        if not condition:
            raise InvalidArgument(f'{where} is an empty object; equality with a map is {{"eq": {{…}}}}.')
        clauses += (_comparison(path, name, operand, where) for name, operand in condition.items())
    parsed = tuple(clauses)
    expression = Expression()
    # A scan of a shared table has a clause of its own before the filter's, and must still fit.
    own = f"begins_with({expression.path('pk')},{expression.value({'S': ''})}) AND "
    size = len(own + expression.condition(parsed))
    if size > EXPRESSION_MAX_BYTES:
        raise InvalidArgument(
            f"{parameter} makes an expression of {size} bytes; DynamoDB takes {EXPRESSION_MAX_BYTES}.",
            next="Use fewer conditions or fewer values in `in`.",
        )
    return parsed


def filter_to_json(clauses: Filter) -> dict[str, Any]:
    """The JSON that `parse_filter` reads as these clauses, with every operand in plain JSON."""
    given: dict[str, dict[str, Any]] = {}
    for clause in clauses:
        name = _path_text(clause.path)
        if clause.operator == "exists":
            operand: Any = clause.exists
        elif clause.operator in ("between", "in"):
            operand = list(map(to_json, clause.values))
        else:
            operand = to_json(clause.values[0])
        given.setdefault(name, {})[clause.operator] = operand
    return given


def check_update(item: Item, remove: Sequence[str]) -> None:
    """Raise InvalidArgument if a merge would not fit into one update expression."""
    if len(Expression().update(item, remove)) > EXPRESSION_MAX_BYTES:
        raise InvalidArgument(
            f"merge sets and removes {len(item) - 2 + len(remove)} attributes, too many for one update expression.",
            next="Merge them in several calls, or put the whole item.",
        )


def parse_path(name: str, parameter: str) -> Path:
    """A document path such as `address.lines[0]` as its steps. Raises InvalidArgument."""
    check_unicode(name, f"a name in {parameter}")
    path: list[str | int] = []
    for step in name.split("."):
        parts = re.fullmatch(r"([^\[\]]+)((?:\[(?:0|[1-9][0-9]{0,4})\])*)", step)
        if not parts:
            raise InvalidArgument(
                f"{parameter}: {name!r} is not a document path; steps are separated by dots, list positions are [n]."
            )
        path += [parts[1], *map(int, re.findall("[0-9]+", parts[2]))]
    if len(path) > 32:
        raise InvalidArgument(f"{parameter}: a path has more than 32 steps.")
    return tuple(path)


def _comparison(path: Path, operator: str, given: Any, where: str) -> Comparison:
    if operator not in OPERATORS:
        near = difflib.get_close_matches(operator, OPERATORS, 2)
        others = f"; the operators are {', '.join(OPERATORS)}."
        meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else others
        raise InvalidArgument(
            f"{where} has the unknown operator {operator!r}{meant}",
            next='An object holds operators only; equality with a map is {"eq": {…}}.',
        )
    where = f"{where}.{operator}"
    if operator == "exists":
        if not isinstance(given, bool):
            raise InvalidArgument(f"{where} must be true or false.")
        return Comparison(path, operator, exists=given)
    if operator in ("between", "in"):
        most = 2 if operator == "between" else IN_MAX
        least = 2 if operator == "between" else 1
        if not isinstance(given, list) or not least <= len(given) <= most:
            amount = "two values, low and high" if operator == "between" else f"1 to {IN_MAX} values"
            raise InvalidArgument(f"{where} must be a list of {amount}.")
        values = tuple(from_json(value, f"{where}[{at}]") for at, value in enumerate(given))
    else:
        values = (from_json(given, where),)
    kinds = [_type(value) for value in values]
    if operator in _ORDERED and not _ORDERED_TYPES.issuperset(kinds):
        raise InvalidArgument(f"{where} orders strings, numbers and binary only.")
    if operator == "begins_with" and kinds[0] not in ("S", "B"):
        raise InvalidArgument(f"{where} takes a string or binary.")
    if operator == "between":
        if kinds[0] != kinds[1]:
            raise InvalidArgument(f"{where} has bounds of different types, which nothing lies between.")
        if _order(values[0]) > _order(values[1]):
            raise InvalidArgument(f"{where} has its low bound above its high one; exchange them.")
    return Comparison(path, operator, values)


def value_at(item: Item, path: Path) -> AttributeValue | None:
    """The value at a document path, None where there is none."""
    found: AttributeValue | None = {"M": item}
    for step in path:
        inner = found.get("M" if isinstance(step, str) else "L") if found else None
        if isinstance(step, str):
            found = inner.get(step) if inner is not None else None
        else:
            found = inner[step] if inner is not None and step < len(inner) else None
    return found


def _type(value: AttributeValue) -> str:
    return next(iter(value))


def _order(value: AttributeValue) -> Any:
    """What orders values of one type: code points, numbers, bytes."""
    ((kind, content),) = value.items()
    if kind == "S":
        return content
    return Decimal(content) if kind == "N" else base64.b64decode(content)


def _members(value: AttributeValue) -> frozenset[Any]:
    ((kind, content),) = value.items()
    return frozenset(map(Decimal, content) if kind == "NS" else content)


def equal(one: AttributeValue, other: AttributeValue) -> bool:
    """Equality as DynamoDB has it: by type, numbers by value, sets without order."""
    ((kind, a),), ((other_kind, b),) = one.items(), other.items()
    if kind != other_kind:
        return False
    if kind == "N":
        return Decimal(a) == Decimal(b)
    if kind in ("SS", "NS", "BS"):
        return _members(one) == _members(other)
    if kind == "L":
        return len(a) == len(b) and all(map(equal, a, b))
    if kind == "M":
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    return bool(a == b)


def _ordered(compare: Callable[[Any, Any], bool], found: AttributeValue, value: AttributeValue) -> bool:
    return _type(found) == _type(value) and compare(_order(found), _order(value))


def _begins_with(found: AttributeValue, value: AttributeValue) -> bool:
    return _type(found) == _type(value) and _order(found)[: len(_order(value))] == _order(value)


def _contains(found: AttributeValue, value: AttributeValue) -> bool:
    kind = _type(found)
    if kind == "L":
        return any(equal(entry, value) for entry in found["L"])
    if kind == _type(value) + "S":
        return any(equal({_type(value): member}, value) for member in found[kind])
    return kind in ("S", "B") and kind == _type(value) and _order(value) in _order(found)


_HOLDS: dict[str, Callable[[AttributeValue, AttributeValue], bool]] = {
    "eq": equal,
    "ne": lambda found, value: not equal(found, value),
    "lt": partial(_ordered, lt),
    "le": partial(_ordered, le),
    "gt": partial(_ordered, gt),
    "ge": partial(_ordered, ge),
    "begins_with": _begins_with,
    "contains": _contains,
}


class Expression:
    """The placeholders of one request's expressions: every name is a `#n`, every value a `:n`; no word is reserved."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, AttributeValue] = {}
        self._by_name: dict[str, str] = {}

    def path(self, *steps: str | int) -> str:
        """A document path in placeholders."""
        text = ""
        for step in steps:
            if isinstance(step, int):
                text += f"[{step}]"
                continue
            placeholder = self._by_name.setdefault(step, f"#{len(self._by_name)}")
            self.names[placeholder] = step
            text += f".{placeholder}" if text else placeholder
        return text

    def value(self, value: AttributeValue) -> str:
        """A placeholder for a value."""
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = value
        return placeholder

    def condition(self, clauses: Filter) -> str:
        """The clauses as a condition or filter expression, `""` where there are none."""
        return " AND ".join(map(self._clause, clauses))

    def update(self, item: Item, remove: Iterable[str]) -> str:
        """The update expression that sets an item's attributes and removes others, `""` where there are none."""
        sets = [f"{self.path(name)}={self.value(item[name])}" for name in item if name not in ("pk", "sk")]
        removes = list(map(self.path, remove))
        parts = ["SET " + ",".join(sets)] * bool(sets) + ["REMOVE " + ",".join(removes)] * bool(removes)
        return " ".join(parts)

    def _clause(self, clause: Comparison) -> str:
        path = self.path(*clause.path)
        if clause.operator == "exists":
            return f"attribute{'' if clause.exists else '_not'}_exists({path})"
        values = list(map(self.value, clause.values))
        if clause.operator == "between":
            return f"{path} BETWEEN {values[0]} AND {values[1]}"
        if clause.operator == "in":
            return f"{path} IN ({','.join(values)})"
        if comparator := _COMPARATORS.get(clause.operator):
            return f"{path} {comparator} {values[0]}"
        return f"{clause.operator}({path},{values[0]})"


def why_nothing_matched(clauses: Filter, seen: Sequence[Item]) -> str | None:
    """A reason that can be seen in some unfiltered items why no item matched, or None."""
    if not seen:
        return None
    for clause in clauses:
        if clause.operator in ("ne", "exists"):
            continue
        name = _path_text(clause.path)[:_NAME_SHOWN]
        found = [value for item in seen if (value := value_at(item, clause.path)) is not None]
        if not found:
            near = _nearest(str(clause.path[0]), seen)
            meant = f"; did you mean `{near}`?" if near else "."
            return f"none of {len(seen)} items looked at has `{name}`{meant}"
        wanted = {_type(value) for value in clause.values}
        kinds = Counter(map(_type, found))
        if clause.operator == "contains":
            if wanted & {"L", "SS", "NS", "BS"}:
                return f"`{name}`: contains looks for one member, which is the whole list or set given."
        elif not wanted & kinds.keys():
            kind, count = kinds.most_common(1)[0]
            asked = " or ".join(sorted(_TYPE_WORDS[want] for want in wanted))
            return f"`{name}` is {_TYPE_WORDS[kind]} in {count} items, and the filter compares it with {asked}."
    return None


def _nearest(name: str, seen: Sequence[Item]) -> str | None:
    """The attribute that was probably meant, where no item has `name`."""
    names = dict.fromkeys(name for item in seen for name in item if len(name) <= _NAME_SHOWN)
    if any(name in item for item in seen):
        return None
    alike = [other for other in names if other.casefold() == name.casefold()]
    near = alike or difflib.get_close_matches(name[:_NAME_SHOWN], list(names)[:_NAMES_COMPARED], 1)
    return near[0] if near else None


def _path_text(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
