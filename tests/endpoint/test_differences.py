"""Random items, expressions and requests, given to the endpoint and to two other engines.

Where both of the others agree, the endpoint agrees with them, but for the refusals in `ONLY_DYNAMODB`, which DynamoDB
has and those two do not. Errors are compared by their type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from tests.endpoint.support import Table, key
from tests.support.strategies import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.engines import Engine

ONLY_DYNAMODB = (
    "The first operand must be distinct from the remaining operands",
    "The document path provided in the update expression is invalid for update",
    "Incorrect operand type for operator or function",
    "Two document paths conflict with each other",
    "The BETWEEN operator requires",
)
TEXTS = ["", "a", "ab", "b"]
NUMBERS = ["0", "1", "-1", "2.5", "10", "1e3"]
SCALARS: Any = st.one_of(
    st.sampled_from(TEXTS).map(lambda text: {"S": text}),
    st.sampled_from(NUMBERS).map(lambda number: {"N": number}),
    st.sampled_from([b"a", b"ab"]).map(lambda content: {"B": content}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
)
SETS: Any = st.one_of(
    st.sets(st.sampled_from(["a", "b", "c"]), min_size=1).map(lambda members: {"SS": sorted(members)}),
    st.sets(st.sampled_from(["1", "2", "3"]), min_size=1).map(lambda members: {"NS": sorted(members)}),
)
VALUES: Any = st.recursive(
    SCALARS | SETS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda entries: {"L": entries}),
        st.dictionaries(st.sampled_from("xyz"), inner, max_size=3).map(lambda entries: {"M": entries}),
    ),
    max_leaves=5,
)
ITEMS: Any = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)
PATHS = st.sampled_from(["a", "b", "c", "d", "a.x", "b.y", "a[0]", "b[1]", "c.x.y", "c[0].x", "#n", "a.#n"])
PLACEHOLDERS = st.sampled_from([":v", ":w"])
OPERANDS = PATHS | PLACEHOLDERS | PATHS.map(lambda path: f"size({path})")
COMPARATORS = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])


def _called(parts: tuple[str, ...]) -> str:
    return f"{parts[0]}({', '.join(parts[1:])})"


SIMPLE = st.one_of(
    st.tuples(PATHS, COMPARATORS, OPERANDS).map(" ".join),
    st.tuples(PATHS, PLACEHOLDERS, PLACEHOLDERS).map(lambda parts: "{} BETWEEN {} AND {}".format(*parts)),
    st.tuples(PATHS, OPERANDS, OPERANDS).map(lambda parts: "{} IN ({}, {})".format(*parts)),
    st.tuples(st.sampled_from(["attribute_exists", "attribute_not_exists"]), PATHS).map(_called),
    st.tuples(st.sampled_from(["begins_with", "contains"]), PATHS, PLACEHOLDERS).map(_called),
)
CONDITIONS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(" ".join),
        inner.map(lambda text: f"NOT ({text})"),
    ),
    max_leaves=3,
)
TERMS = st.one_of(
    PATHS,
    PLACEHOLDERS,
    st.tuples(st.sampled_from(["if_not_exists", "list_append"]), PATHS, PLACEHOLDERS).map(_called),
    st.tuples(PATHS, st.sampled_from("+-"), PLACEHOLDERS).map(" ".join),
)
SECTIONS = st.one_of(
    st.lists(st.tuples(PATHS, TERMS).map(" = ".join), min_size=1, max_size=2).map(
        lambda sets: "SET " + ", ".join(sets)
    ),
    st.lists(PATHS, min_size=1, max_size=2).map(lambda paths: "REMOVE " + ", ".join(paths)),
    st.tuples(st.sampled_from("abcd"), PLACEHOLDERS).map(lambda parts: "ADD {} {}".format(*parts)),
    st.tuples(st.sampled_from("abcd"), PLACEHOLDERS).map(lambda parts: "DELETE {} {}".format(*parts)),
)
UPDATES = st.lists(SECTIONS, min_size=1, max_size=2).map(" ".join)


@pytest.fixture(scope="module")
def tables(endpoint: Engine, ministack: Engine, dynoxide: Engine) -> list[Table]:
    return [Table(engine) for engine in (endpoint, ministack, dynoxide)]


IGNORED = object()


def answers(tables: list[Table], item: dict[str, Any], ask: Callable[[Table], Any]) -> list[Any]:
    """What each engine answers, on a table with this item alone."""
    found = []
    for table in tables:
        table.call("put_item", Item={**key(), **item})
        try:
            found.append(_canonical(ask(table)))
        except ClientError as error:
            known = any(reason in error.response["Error"]["Message"] for reason in ONLY_DYNAMODB)
            found.append(IGNORED if known and table is tables[0] else error.response["Error"]["Code"])
    return found


def _canonical(value: Any) -> Any:
    """Sets without order."""
    if isinstance(value, dict):
        return {name: sorted(inner) if name in ("SS", "NS") else _canonical(inner) for name, inner in value.items()}
    return [_canonical(entry) for entry in value] if isinstance(value, list) else value


def placeholders(text: str, one: Any, other: Any) -> dict[str, Any]:
    values = {name: value for name, value in ((":v", one), (":w", other)) if name in text}
    names = {"#n": "x"} if "#n" in text else {}
    return {
        **({"ExpressionAttributeValues": values} if values else {}),
        **({"ExpressionAttributeNames": names} if names else {}),
    }


def agrees(found: list[Any], about: str) -> None:
    ours, *others = found
    if others[0] == others[1] and ours is not IGNORED:
        assert ours == others[0], about


@examples(40)
@given(item=ITEMS, text=CONDITIONS, one=VALUES, other=VALUES)
def test_conditions(tables: list[Table], item: Any, text: str, one: Any, other: Any) -> None:
    given = {"FilterExpression": text, **placeholders(text, one, other)}
    agrees(answers(tables, item, lambda table: table.call("scan", **given)["Count"]), text)


@examples(40)
@given(item=ITEMS, text=UPDATES, one=VALUES, other=VALUES)
def test_updates(tables: list[Table], item: Any, text: str, one: Any, other: Any) -> None:
    given = {"UpdateExpression": text, "ReturnValues": "ALL_NEW", **placeholders(text, one, other)}
    agrees(answers(tables, item, lambda table: table.call("update_item", Key=key(), **given)["Attributes"]), text)


@examples(40)
@given(item=ITEMS, paths=st.lists(PATHS, min_size=1, max_size=3, unique=True))
def test_projections(tables: list[Table], item: Any, paths: list[str]) -> None:
    text = ", ".join(paths)
    given = {"ProjectionExpression": text, **placeholders(text, None, None)}
    agrees(answers(tables, item, lambda table: table.call("get_item", Key=key(), **given).get("Item")), text)


@examples(40)
@given(item=st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2))
def test_items(tables: list[Table], item: Any) -> None:
    agrees(answers(tables, item, lambda table: table.get("1")), repr(item))
