"""Tables with random secondary indexes, and random writes and listings, given to the endpoint and to two other engines.

Where both of the others agree, the endpoint agrees with them, but for the refusals in `ONLY_DYNAMODB`. Errors are
compared by their type. Items with equal keys of an index have no order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from tests.endpoint.index_support import IndexedTable, canonical, index
from tests.support.strategies import examples

if TYPE_CHECKING:
    from tests.support.engines import Engine

ONLY_DYNAMODB = ("does not project one or more filter attributes", "does not project [")
VALUES: dict[str, list[Any]] = {
    "S": ["A", "a", "ab", "b", "é", "\uffff", "😀"],
    "N": ["0", "-1", "1", "1.0", "-1.2", "-1.23", "100", "9" * 38, "9" * 37 + "8", "1E-100", "-1E+100"],
    "B": [b"\x00", b"a", b"\xff", b"\xff\x00", b"\xff\xff"],
}
KEY_NAMES = ["a", "b", "c"]
OTHER_NAMES = ["x", "y"]


class Case(NamedTuple):
    """A table with its writes and the listings after them."""

    types: dict[str, str]
    local: list[Any]
    indexes: list[Any]
    writes: list[tuple[str, dict[str, Any]]]
    listings: list[tuple[str, dict[str, Any]]]


def values(kind: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(VALUES[kind]).map(lambda content: {kind: content})


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kinds = {name: draw(st.sampled_from("SNB")) for name in KEY_NAMES}
    local: list[Any] = []
    indexes: list[Any] = []
    keys = {}
    for name in [f"index-{at}" for at in range(draw(st.integers(1, 3)))]:
        is_local = draw(st.integers(0, 3)) == 0
        pk = "pk" if is_local else draw(st.sampled_from([*KEY_NAMES, "pk", "sk"]))
        others = [each for each in (*KEY_NAMES, "pk", "sk") if each != pk]
        sk = draw(st.sampled_from(others if is_local else [*others, None]))
        projection = draw(st.sampled_from([("ALL",), ("KEYS_ONLY",), ("INCLUDE", "x")]))
        (local if is_local else indexes).append(index(name, pk, sk, *projection))
        keys[name] = pk, sk
    used = {key for pair in keys.values() for key in pair}
    types = {name: kind for name, kind in kinds.items() if name in used}
    listings = [draw(listing(name, keys[name], {**kinds, "pk": "S", "sk": "S"})) for name in [*keys, *keys, *keys][:3]]
    return Case(types, local, indexes, draw(st.lists(write(kinds), min_size=3, max_size=8)), listings)


@st.composite
def write(draw: st.DrawFn, kinds: dict[str, str]) -> tuple[str, dict[str, Any]]:
    key = {"pk": {"S": draw(st.sampled_from("pq"))}, "sk": {"S": draw(st.sampled_from("1234"))}}

    def value(name: str) -> Any:
        right = kinds.get(name, "S")
        return draw(values(right if draw(st.integers(0, 30)) else draw(st.sampled_from("SNB"))))

    operation = draw(st.sampled_from(["put_item"] * 4 + ["update_item"] * 2 + ["delete_item"]))
    if operation == "delete_item":
        return operation, {"Key": key}
    names = draw(st.lists(st.sampled_from([*KEY_NAMES, *OTHER_NAMES]), unique=True, min_size=1))
    if operation == "put_item":
        return operation, {"Item": {**key, **{name: value(name) for name in names}}}
    kept, removed = names[: len(names) // 2], names[len(names) // 2 :]
    text = "SET z = :z" + "".join(f", {name} = :{name}" for name in kept) + " REMOVE " + ", ".join(removed)
    given_values = {":z": {"S": "z"}, **{f":{name}": value(name) for name in kept}}
    return operation, {"Key": key, "UpdateExpression": text, "ExpressionAttributeValues": given_values}


@st.composite
def listing(
    draw: st.DrawFn, name: str, keys: tuple[str, str | None], kinds: dict[str, str]
) -> tuple[str, dict[str, Any]]:
    asked: dict[str, Any] = {"IndexName": name, "Limit": draw(st.sampled_from([2, 3, 100, 100]))}
    select = draw(st.sampled_from([None, None, "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "COUNT"]))
    if select:
        asked["Select"] = select
    elif draw(st.booleans()):
        asked["ProjectionExpression"] = ", ".join(
            draw(st.lists(st.sampled_from(["pk", "sk", "x", "y"]), min_size=1, unique=True))
        )
    if not draw(st.integers(0, 3)):
        asked["FilterExpression"] = draw(
            st.sampled_from(["attribute_exists(x)", "attribute_exists(y)", "attribute_exists(a)"])
        )
    if not draw(st.integers(0, 5)):
        asked["ConsistentRead"] = True
    if draw(st.integers(0, 3)) == 0:
        return "scan", asked
    pk, sk = keys
    own = {"pk": ["p", "q"], "sk": ["1", "2", "3"]}

    def value(key: str) -> Any:
        return {"S": draw(st.sampled_from(own[key]))} if key in own else draw(values(kinds[key]))

    condition, given_values = f"{pk} = :p", {":p": value(pk)}
    if sk and draw(st.booleans()):
        tests = ["{} = :v", "{} < :v", "{} <= :v", "{} > :v", "{} >= :v", "begins_with({}, :v)", "{} BETWEEN :v AND :w"]
        test = draw(st.sampled_from(tests))
        condition += " AND " + test.format(sk)
        given_values |= {f":{word}": value(sk) for word in "vw" if f":{word}" in test}
    asked |= {"KeyConditionExpression": condition, "ExpressionAttributeValues": given_values}
    return "query", {**asked, "ScanIndexForward": draw(st.booleans())}


@pytest.fixture(scope="module")
def engines(endpoint: Engine, ministack: Engine, dynoxide: Engine) -> list[Engine]:
    return [endpoint, ministack, dynoxide]


def outcome(table: IndexedTable, operation: str, asked: dict[str, Any], sort_key: str | None) -> Any:
    """What a client can rely on: the order of sort keys, the items, the counts, or the type of the error."""
    try:
        if operation not in ("query", "scan"):
            return canonical(table.call(operation, **asked))
        found = canonical(table.walk(operation, **asked))
    except ClientError as error:
        known = any(reason in error.response["Error"]["Message"] for reason in ONLY_DYNAMODB)
        return None if known else error.response["Error"]["Code"]
    order = [item.get(sort_key) for item in found["Items"]] if operation == "query" and sort_key else []
    return order, sorted(map(repr, map(sort_members, found["Items"]))), found["Count"], found["ScannedCount"]


def sort_members(item: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(item.items()))


def compare(engines: list[Engine], case: Case) -> None:
    tables = [IndexedTable(engine, case.types, local=case.local, indexes=case.indexes) for engine in engines]
    sort_keys = {
        each["IndexName"]: [key["AttributeName"] for key in each["KeySchema"]][1:]
        for each in (*case.local, *case.indexes)
    }
    names = {each["IndexName"] for each in case.local}
    for operation, asked in (*case.writes, *case.listings):
        if asked.get("IndexName") in names:
            # DynamoDB fetches other attributes from the table; the two others do so for one kind of request only.
            left_out = ["ProjectionExpression", "Select"] if operation == "scan" else ["ProjectionExpression"]
            asked = {name: value for name, value in asked.items() if name not in left_out}
        sort_key = next(iter(sort_keys.get(asked.get("IndexName", ""), [])), None)
        ours, *others = [outcome(table, operation, asked, sort_key) for table in tables]
        if others[0] == others[1] and ours is not None:
            assert ours == others[0], (operation, asked, ours, others[0])
        elif operation not in ("query", "scan"):
            return  # they hold different items from here on
    for table in tables:
        table.call("delete_table")


@examples(200)
@given(case=cases())
def test_indexes(engines: list[Engine], case: Case) -> None:
    compare(engines, case)


@pytest.mark.extended
@examples(2000)
@given(case=cases())
def test_many_indexes(engines: list[Engine], case: Case) -> None:
    compare(engines, case)
