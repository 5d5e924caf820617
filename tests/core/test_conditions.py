"""Filters, expectations and ranges: evaluated in Python as an engine evaluates them, and refused where it would."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import (
    Comparison,
    Filter,
    KeyRange,
    Or,
    StepCounter,
    are_equal,
    iter_comparisons,
    matches,
)
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expressions import ExpressionBuilder
from ddb_mcp.core.filters import OPERATORS, parse_filter
from ddb_mcp.core.indexes import IndexKey, parse_key_range
from ddb_mcp.core.items import AttributeValue, Item, parse_item, to_json
from ddb_mcp.core.paths import get_value, parse_path
from ddb_mcp.service.reading.hints import explain_missing, explain_no_match, explain_no_sort_key
from ddb_mcp.service.reading.projections import parse_projection
from tests.support.strategies import TYPE_NAMES, as_boto3_has_it, attribute_values, examples, texts, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.engines import Engine

    Oracle = Callable[[Filter], set[str]]  # the sort keys of the stored items that match


def refusal(given: dict[str, Any], **options: Any) -> str:
    with pytest.raises(InvalidArgument) as refused:
        parse_filter(given, "filter", **options)
    return refused.value.message


# Engines as the oracle: ASCII only, see test_engines. ministack refuses `begins_with` where an item has a value of
# another type, and finds nothing with `contains` in binary; it is only asked for comparisons.

POOL: list[AttributeValue] = [
    *({"S": text} for text in ("", "a", "ab", "b", "B", "1", "10", "YQ==")),
    *({"N": text} for text in ("0", "1", "1.0", "-1", "10", "2", "1E-10", "12345678901234567890123456789012345678")),
    *({"B": base64.b64encode(raw).decode()} for raw in (b"", b"a", b"ab", b"b", b"\x80", b"\xff")),
    *({"BOOL": True}, {"BOOL": False}, {"NULL": True}),
    *({"SS": ["a", "b"]}, {"SS": ["b", "a"]}, {"SS": ["1"]}, {"NS": ["1", "2"]}, {"NS": ["2.0", "1"]}, {"NS": ["10"]}),
    *({"BS": ["YQ==", "Yg=="]}, {"BS": ["Yg==", "YQ=="]}, {"BS": ["YWI="]}),
    *({"L": []}, {"L": [{"S": "a"}, {"N": "1.0"}]}, {"L": [{"N": "1"}, {"S": "a"}]}, {"L": [{"S": "a"}, {"N": "1"}]}),
    *({"L": [{"NULL": True}, {"BOOL": False}, {"B": "YQ=="}]}, {"L": [{"L": [{"S": "a"}]}]}),
    *({"M": {}}, {"M": {"a": {"N": "1"}}}, {"M": {"a": {"N": "1.0"}}}, {"M": {"a": {"S": "1"}, "b": {"NULL": True}}}),
    {"M": {"S": {"S": "a"}}},
]


def _stored(at: int) -> Item:
    one, other = POOL[at], POOL[at * 7 % len(POOL)]
    nested: Item = {"m": {"M": {"a": other, "b": one}}, "l": {"L": [other, {"M": {"a": one}}]}} if at % 3 else {}
    return {"pk": {"S": "p"}, "sk": {"S": f"{at:03}"}, "a": one, "a.b": {"S": "a"}, **nested}


STORED = [*map(_stored, range(len(POOL))), {"pk": {"S": "p"}, "sk": {"S": "bare"}}]


def _oracle(engine: Engine) -> Oracle:
    client, table = engine.client(), engine.create_table()
    for item in STORED:
        client.put_item(TableName=table, Item={name: as_boto3_has_it(typed) for name, typed in item.items()})

    def found(clauses: Filter) -> set[str]:
        expression = ExpressionBuilder()
        text = expression.condition(clauses)
        values = {name: as_boto3_has_it(typed) for name, typed in expression.values.items()}
        parameters: Any = {"ExpressionAttributeValues": values} if values else {}
        answer = client.scan(
            TableName=table, FilterExpression=text, ExpressionAttributeNames=expression.names, **parameters
        )
        assert "LastEvaluatedKey" not in answer
        return {item["sk"]["S"] for item in answer["Items"]}

    return found


@pytest.fixture(scope="module")
def on_dynoxide(dynoxide: Engine) -> Oracle:
    return _oracle(dynoxide)


@pytest.fixture(scope="module")
def on_ministack(ministack: Engine) -> Oracle:
    return _oracle(ministack)


def in_python(clauses: Filter) -> set[str]:
    return {item["sk"]["S"] for item in STORED if matches(clauses, item)}


def parsed(operator: str) -> Iterator[Filter]:
    """The operator with every value of the pool that it takes."""
    for operand in map(to_json, POOL):
        with contextlib.suppress(InvalidArgument):
            yield parse_filter({"a": {operator: operand}}, "filter")


@pytest.mark.parametrize("operator", ["eq", "ne", "lt", "le", "gt", "ge", "begins_with", "contains"])
def test_every_operator_on_every_pair_of_values(operator: str, on_dynoxide: Oracle) -> None:
    every = list(parsed(operator))
    assert len(every) >= 14
    for clauses in every:
        assert in_python(clauses) == on_dynoxide(clauses)


@pytest.mark.parametrize("operator", ["eq", "ne", "lt", "ge"])
def test_every_comparison_of_every_pair_of_values(operator: str, on_ministack: Oracle) -> None:
    for clauses in parsed(operator):
        assert in_python(clauses) == on_ministack(clauses)


PATHS = [
    "a",
    "m",
    "m.a",
    "m.b",
    "l",
    "l[0]",
    "l[1]",
    "l[1].a",
    "l[7]",
    "a.b",
    "a[0]",
    "a[1]",
    "a.a",
    "m.a.a",
    "none",
    "pk",
]


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """One to three conditions that the parser accepts."""
    wanted: dict[str, Any] = {}
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True)):
        operator = draw(st.sampled_from(OPERATORS))
        pool = st.sampled_from(POOL).map(to_json)
        match operator:
            case "exists":
                operand: Any = draw(st.booleans())
            case "type":
                operand = draw(st.sampled_from(TYPE_NAMES))
            case "in":
                operand = draw(st.lists(pool, min_size=1, max_size=5))
            case "between":
                operand = [draw(pool), draw(pool)]
            case _:
                operand = draw(pool)
        wanted[path] = {operator: operand}
        try:
            parse_filter(wanted, "filter")
        except InvalidArgument:
            wanted[path] = {"eq": draw(pool)}
    return wanted


filters = st.builds(
    lambda outer, branches: {**outer, "$or": branches} if len(branches) > 1 else outer,
    conditions(),
    st.lists(conditions(), max_size=3),
)


@given(filters)
@examples(200)
def test_a_filter_matches_what_an_engine_matches(on_dynoxide: Oracle, wanted: dict[str, Any]) -> None:
    clauses = parse_filter(wanted, "filter")
    assert in_python(clauses) == on_dynoxide(clauses)


@given(attribute_values, attribute_values)
@examples(200)
def test_equality_is_of_type_and_value(one: AttributeValue, other: AttributeValue) -> None:
    assert are_equal(one, one)
    assert are_equal(one, other) is are_equal(other, one) is (value(one) == value(other))
    assert matches((Comparison(("a",), "ne", (other,)),), {"a": one}) is not are_equal(one, other)


@given(texts, texts)
@examples(200)
def test_strings_order_by_their_bytes(one: str, other: str) -> None:
    below = one.encode() < other.encode()
    assert matches(parse_filter({"a": {"lt": other}}, "filter"), {"a": {"S": one}}) is below
    if one and other:
        assert KeyRange(low=one).contains(other) is (one.encode() <= other.encode())
        assert KeyRange(high=one).contains(other) is (other.encode() <= one.encode())
        assert KeyRange(prefix=one).contains(other) is other.encode().startswith(one.encode())


def test_numbers_of_38_digits_compare_exactly() -> None:
    low, high = {"N": "1" * 37 + "1"}, {"N": "1" * 37 + "2"}
    assert matches(parse_filter({"a": {"lt": high}}, "filter"), {"a": low})
    assert not matches(parse_filter({"a": high}, "filter"), {"a": low})
    assert matches(parse_filter({"a": {"between": [low, low]}}, "filter"), {"a": low})


# Expressions


@given(filters)
@examples(100)
def test_an_expression_has_placeholders_only(wanted: dict[str, Any]) -> None:
    expression = ExpressionBuilder()
    text = expression.condition(parse_filter(wanted, "filter"))
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    functions = {"attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"}
    syntax = {"=", "<>", "<", "<=", ">", ">=", "BETWEEN", "AND", "OR", "IN"} | functions
    assert all(word in syntax or word[0] in "#:" for word in words)
    assert len(set(expression.names.values())) == len(expression.names)
    used = {part.split("[")[0] for word in words if word[0] in "#:" for part in word.split(".")}
    assert used == {*expression.names, *expression.values}


def test_an_expression_goes_on_where_another_part_of_the_request_began() -> None:
    expression = ExpressionBuilder()
    path = expression.path("a", 0, "b", "a")
    assert path == "#0[0].#1.#0"
    assert expression.condition(parse_filter({"b": 1, "c": {"exists": False}}, "filter")) == (
        "#1 = :0 AND attribute_not_exists(#2)"
    )
    assert expression.names == {"#0": "a", "#1": "b", "#2": "c"}
    assert ExpressionBuilder().condition(()) == ""
    alternatives = parse_filter({"a": {"type": "S"}, "$or": [{"b": 1, "c": 2}, {"d.e": 3}]}, "filter")
    assert ExpressionBuilder().condition(alternatives) == (
        "attribute_type(#0,:0) AND ((#1 = :1 AND #2 = :2) OR (#3.#4 = :3))"
    )


# What is refused

UNORDERED: list[Any] = [True, None, [], {}, {"SS": ["a"]}, {"NS": ["1"]}, {"L": []}, {"BOOL": True}]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": {}}, "empty object"),
        ({"a": {"equals": 1}}, "unknown operator 'equals'"),
        ({"a": {"startswith": "x"}}, "unknown operator"),
        ({"a": {"gte": 1}}, "did you mean 'gt' or 'ge'?"),
        ({"a": {"EQ": 1}}, "unknown operator 'EQ'"),
        ({"a": {"eq": 1, "x": 1}}, "unknown operator 'x'"),
        ({"a": {"city": "Paris"}}, "unknown operator 'city'"),
        ({"a": {"\ud800": 1}}, "unknown operator"),
        ({"a": {"exists": "true"}}, "must be true or false"),
        ({"a": {"exists": 1}}, "must be true or false"),
        ({"a": {"exists": None}}, "must be true or false"),
        ({"a": {"between": [1]}}, "two values"),
        ({"a": {"between": [1, 2, 3]}}, "two values"),
        ({"a": {"between": {"low": 1}}}, "two values"),
        ({"a": {"between": [2, 1]}}, "lower bound above"),
        ({"a": {"between": ["b", "a"]}}, "lower bound above"),
        ({"a": {"between": ["10", 2]}}, "different types"),
        ({"a": {"between": [{"B": "Yg=="}, {"B": "YQ=="}]}}, "lower bound above"),
        ({"a": {"between": ["\uffff", "\N{GRINNING FACE}", 1]}}, "two values"),
        ({"a": {"in": []}}, "1 to 100"),
        ({"a": {"in": "abc"}}, "1 to 100"),
        ({"a": {"in": list(range(101))}}, "1 to 100"),
        *(({"a": {op: operand}}, "orders strings, numbers and binary")
          for op in ("lt", "le", "gt", "ge")
          for operand in UNORDERED),
        ({"a": {"between": [True, True]}}, "orders strings, numbers and binary"),
        ({"a": {"begins_with": 1}}, "takes a string or binary"),
        ({"a": {"begins_with": ["a"]}}, "takes a string or binary"),
        ({"a[00]": 1}, "not a document path"),
        ({"a[-1]": 1}, "not a document path"),
        ({"a": {"N": 5}}, "is not a number in DynamoDB JSON"),
        ({"a": {"eq": {"N": "x"}}}, "not a number"),
        ({"a": {"eq": {"SS": []}}}, "empty set"),
        ({"a": {"in": [1, 2**53 + 1]}}, r"filter.a.in[1] is beyond 2^53"),
        ({"a": float("nan")}, "which DynamoDB cannot store"),
        ({"a": {"type": "string"}}, "must be one of S (string), N (number)"),
        ({"a": {"type": ["S"]}}, "must be one of S (string)"),
        ({"$or": {"a": 1}}, "must be a list of 2 to 10 filters"),
        ({"$or": [{"a": 1}]}, "must be a list of 2 to 10 filters"),
        ({"$or": [{"a": 1}] * 11}, "must be a list of 2 to 10 filters"),
        ({"$or": [{"a": 1}, {}]}, "filter.$or[1] must be a filter"),
        ({"$or": [{"a": 1}, "b"]}, "filter.$or[1] must be a filter"),
        ({"$or": [{"a": 1}, {"$or": [{"b": 1}, {"c": 1}]}]}, "cannot be nested"),
        ({"$or": [{"a": 1}, {"b": {"like": 1}}]}, "filter.$or[1].b has the unknown operator"),
        ({"$and": [{"a": 1}, {"b": 1}]}, "filter.$and is not supported in a filter"),
        ({"$ref": 1}, "filter.$ref is not supported in a filter"),
        ({"or": [{"a": 1}, {"b": 1}]}, "filter.or holds filters"),
        ({"and": [{"a": 1}]}, "filter.and holds filters"),
        ({"not": {"status": "open"}}, "filter.not holds filters"),
        ({"a": {"$gt": 1}}, "has the operator '$gt'"),
        ({"a": {"$not": {"gt": 1}}}, "unknown operator '$not'"),
        ({"a": "x" * 50_000}, "more than 32768 bytes"),
        ({"a": {"in": ["x" * 400] * 100}}, "more than 32768 bytes"),
        ({"a": [[]] * 40_000}, "more than 32768 bytes"),
        ({"$or": [{"a": "x" * 30_000}, {"b": "x" * 30_000}]}, "more than 32768 bytes"),
        ({f"a{at}": at for at in range(330_000)}, "more than 300 conditions"),
        ({"$or": [{f"a{at}": at for at in range(200)}] * 2}, "more than 300 conditions"),
        ({"a": "\ud800"}, "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
    ],
)  # fmt: skip
def test_what_is_refused_before_a_store_is_asked(given: dict[str, Any], said: str) -> None:
    assert said in refusal(given)
    assert refusal(given).startswith(("filter", "a name in filter"))


def test_what_is_written_here_for_words_of_another_query_language() -> None:
    words: list[tuple[dict[str, Any], str]] = [
        ({"$and": []}, "side by side"),
        ({"or": [{"a": 1}]}, '{"$or": [filter, filter]}'),
        ({"a": {"$gt": 1}}, "Write gt without the $."),
        ({"a": {"$gte": 1}}, "Write ge."),
        ({"a": {"$regex": "x"}}, "begins_with or contains"),
        ({"$inc": {"a": 1}}, "put with add"),
        ({"$ref": 1}, "`$ref`"),
    ]
    for word, advice in words:
        with pytest.raises(InvalidArgument) as refused:
            parse_filter(word, "filter")
        assert advice in refused.value.next
    assert parse_filter({"or": [1, 2], "not": "x", "and": {"eq": [{"a": 1}]}, "`$ref`": 1}, "filter")


def test_refusals_echo_nothing_long() -> None:
    long: list[dict[str, Any]] = [{"x" * 60_000: {}}, {"x[" * 30_000: 1}, {"$" + "z" * 60_000: 1}]
    for one in [*long, {"a": {"y" * 60_000: 1}}]:
        assert len(refusal(one)) < 500


def test_a_comparison_looks_often_whether_it_is_to_end() -> None:
    """2,000 clauses over a list of 50,000 entries are 100 million steps: no caller waits for their end."""
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks >= 3:
            raise TimeoutError

    item: Item = {"a": {"L": [{"L": [{"N": "1"}]}] * 50_000}}
    clauses = tuple(Comparison(("a",), "contains", ({"L": [{"N": "2"}]},)) for _ in range(2000))
    with pytest.raises(TimeoutError):
        matches((Or((clauses, clauses)),), item, look)
    steps = StepCounter(look)
    with pytest.raises(TimeoutError):
        are_equal(item["a"], item["a"], steps)


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "[0]", "a[", "a[]", "a[-1]", "a[x]", "a[0]b", "a]", "a[0][", "a[123456]",
             "a[1 ]", "a[١]", "`a", "a`", "``", "`a`b", "a`b`", "`a`[x]", "`a``", "a.``"]
)  # fmt: skip
def test_what_is_no_document_path(path: str) -> None:
    assert "not a document path" in refusal({path: 1})


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a[0]", ("a", 0)),
        ("a[0][12].b", ("a", 0, 12, "b")),
        ("größe", ("größe",)),
        ("`a.b`.c", ("a.b", "c")),
        ("`a[0]:``b`[1].`$c`", ("a[0]:`b", 1, "$c")),
        ("a:b", ("a:b",)),
        ("a b#:-", ("a b#:-",)),
        (".".join("a" * 32), ("a",) * 32),
    ],
)
def test_document_paths(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_path(text, "filter") == path


def test_a_path_has_32_steps_at_most() -> None:
    assert "32 steps" in refusal({".".join("a" * 33): 1})
    assert "32 steps" in refusal({"a" + "[0]" * 32: 1})


@pytest.mark.parametrize("name", ["pk", "sk", "sk[0]", "pk.a"])
def test_a_query_is_not_filtered_by_the_key(name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_filter({name: "x"}, "filter", keys_allowed=False)
    assert "sk_prefix" in refused.value.next
    assert "sk_from" in refused.value.next
    assert "sk_to" in refused.value.next
    assert parse_filter({name: "x"}, "filter")
    assert parse_filter({"x." + name: "x", "x" + name: "x"}, "filter", keys_allowed=False)


def test_an_expression_has_4_kb_at_most() -> None:
    sizes = set()
    for number in itertools.count(1):
        given = {f"a{at}": {"in": list(range(20))} for at in range(number)}
        try:
            parse_filter(given, "filter")
        except InvalidArgument as refused:
            too_long = refused.message
            break
        sizes.add(len(ExpressionBuilder().condition(parse_filter(given, "filter"))))
    assert str(limits.EXPRESSION_MAX_BYTES) in too_long
    assert max(sizes) <= limits.EXPRESSION_MAX_BYTES < max(sizes) + 200
    assert parse_filter({"a": "x" * 30_000}, "filter")  # values do not count, nor do names
    assert parse_filter({"x" * 10_000: 1}, "filter")


def test_100_values_in_a_set_of_choices_are_allowed() -> None:
    (clause,) = parse_filter({"a": {"in": list(range(100))}}, "filter")
    assert matches((clause,), {"a": {"N": "99.0"}})


# What is accepted


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("open", [("eq", [{"S": "open"}])]),
        ("", [("eq", [{"S": ""}])]),
        (None, [("eq", [{"NULL": True}])]),
        (["a"], [("eq", [{"L": [{"S": "a"}]}])]),
        ([], [("eq", [{"L": []}])]),
        ({"S": "a"}, [("eq", [{"S": "a"}])]),
        ({"N": "10.0"}, [("eq", [{"N": "10"}])]),
        ({"NULL": True}, [("eq", [{"NULL": True}])]),
        ({"BOOL": False}, [("eq", [{"BOOL": False}])]),
        ({"L": [{"S": "a"}]}, [("eq", [{"L": [{"S": "a"}]}])]),
        ({"M": {"gt": {"N": "1"}}}, [("eq", [{"M": {"gt": {"N": "1"}}}])]),
        ({"eq": {"city": "Paris"}}, [("eq", [{"M": {"city": {"S": "Paris"}}}])]),
        ({"eq": {"S": "a"}}, [("eq", [{"M": {"S": {"S": "a"}}}])]),
        ({"eq": {"SS": ["a"]}}, [("eq", [{"SS": ["a"]}])]),
        ({"eq": {}}, [("eq", [{"M": {}}])]),
        ({"gt": 1, "lt": 5}, [("gt", [{"N": "1"}]), ("lt", [{"N": "5"}])]),
        ({"between": [1, 1]}, [("between", [{"N": "1"}, {"N": "1"}])]),
        ({"contains": None}, [("contains", [{"NULL": True}])]),
        ({"in": [1, "a", None]}, [("in", [{"N": "1"}, {"S": "a"}, {"NULL": True}])]),
        ({"exists": False}, [("exists", [])]),
        ({"type": "NULL"}, [("type", [{"S": "NULL"}])]),
    ],
)
def test_how_a_condition_is_read(condition: Any, expected: list[tuple[str, list[AttributeValue]]]) -> None:
    clauses = parse_filter({"a": condition}, "filter")
    assert [(clause.operator, list(clause.values)) for clause in iter_comparisons(clauses)] == expected
    assert parse_filter(json.loads(json.dumps({"a": condition})), "filter") == clauses


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_attribute_satisfies_only_ne_and_its_absence(operator: str) -> None:
    operands: dict[str, Any] = {"between": [1, 2], "in": [1], "begins_with": "a", "exists": True, "type": "S"}
    (clause,) = parse_filter({"a.b[0]": {operator: operands.get(operator, 1)}}, "filter")
    without = parse_item({"pk": "p", "sk": "s", "a": {"b": "not a list"}})
    assert matches((clause,), without) is (operator == "ne")
    assert matches(parse_filter({"a.b[0]": {"exists": False}}, "filter"), without)


def test_a_path_leads_through_maps_and_lists() -> None:
    item = parse_item({"pk": "p", "sk": "s", "a": [[{"b": 1}], {"N": "5"}], "m": {"a.b": 1, "0": 2}})
    for path, found in [
        ("a[0][0].b", {"N": "1"}),
        ("a[1]", {"N": "5"}),
        ("m.0", {"N": "2"}),
        *(
            (path, None)
            for path in ("a[2]", "a[0][1]", "a.b", "a[0].b", "m[0]", "m.a.b", "m.a.b.c", "x[0].y", "a[1].N")
        ),
    ]:
        assert get_value(item, parse_path(path, "filter")) == found


# Ranges of sort keys


def test_ranges_that_cannot_be() -> None:
    for sk_from, sk_to in (("b", None), (None, "b"), ("a", "b")):
        with pytest.raises(InvalidArgument, match="cannot be combined"):
            parse_key_range(IndexKey("sk"), "a", sk_from, sk_to)
    for low, high in (("b", "a"), ("a", "B"), ("\N{GRINNING FACE}", "\uffff"), ("aa", "a")):
        with pytest.raises(InvalidArgument, match="sk_from sorts after sk_to"):
            parse_key_range(IndexKey("sk"), None, low, high)
    for at, parameter in enumerate(("sk_prefix", "sk_from", "sk_to")):
        for text, said in (("é" * 512 + "x", "1025 bytes"), ("\ud800", "lone surrogate")):
            arguments: list[str | None] = [None, None, None]
            arguments[at] = text
            with pytest.raises(InvalidArgument, match=f"{parameter} .*{said}"):
                parse_key_range(IndexKey("sk"), *arguments)


def test_ranges() -> None:
    assert parse_key_range(IndexKey("sk"), None, None, None) == KeyRange()
    assert KeyRange().contains("\x00")
    for arguments, inside, outside in (
        (("a", None, None), ["a", "a\x00", "a\uffff"], ["", "A", "b", "b\N{COMBINING ACUTE ACCENT}"]),
        ((None, "a", "b"), ["a", "ab", "b"], ["A", "b\x00", "bb", ""]),
        ((None, "b", None), ["b", "\N{GRINNING FACE}"], ["a", "b"[:0]]),
        ((None, None, "b"), ["", "b"], ["b\x00"]),
        ((None, "é" * 512, "é" * 512), ["é" * 512], ["é"]),
    ):
        found = parse_key_range(IndexKey("sk"), *arguments)
        assert all(map(found.contains, inside))
        assert not any(map(found.contains, outside))


# Hints


SEEN = [
    parse_item(
        {
            "pk": "p",
            "sk": str(at),
            "total": str(at),
            "status": "open",
            "tags": ["a"],
            "address": {"city": "Paris"},
            "note.id": 1,
            "json": '{"a": 1}',
        }
    )
    for at in range(37)
]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"total": {"gt": 10}}, "`total` is a string in 37 items, and the filter compares it with a number."),
        ({"status": "open", "total": 10}, "`total` is a string in 37 items, and the filter compares it with a number."),
        ({"total": {"between": [1, 5]}}, "`total` is a string in 37 items, and the filter compares it with a number."),
        ({"total": {"in": [1, None]}},
         "`total` is a string in 37 items, and the filter compares it with a number or null."),
        ({"tags": "a"}, "`tags` is a list in 37 items, and the filter compares it with a string."),
        ({"stauts": "open"}, "none of 37 items examined has `stauts`; did you mean `status`?"),
        ({"nowhere": 1}, "none of 37 items examined has `nowhere`."),
        ({"SK": 1}, "none of 37 items examined has `SK`; did you mean `sk`?"),
        ({"adress.city": "Paris"}, "none of 37 items examined has `adress.city`; did you mean `address.city`?"),
        ({"address.town": "Paris"}, "none of 37 items examined has `address.town`."),
        ({"address.city": 5}, "`address.city` is a string in 37 items, and the filter compares it with a number."),
        ({"status": "closed"}, None),
        ({"tags": {"contains": 5}},
         "`tags` contains a string, and the filter looks for a number."),
        ({"status": {"contains": 5}},
         "`status` contains a string, and the filter looks for a number."),
        ({"tags": {"contains": "b"}}, None),
        ({"note.id": 1}, "none of 37 items examined has `note.id`; did you mean ``note.id``?"),
        ({"json.a": 1},
         "none of 37 items examined has `json.a`; `json` is a string of JSON, not a map or list: read it whole."),
        ({"$or": [{"status": "x"}, {"total": 5}]},
         "`total` is a string in 37 items, and the filter compares it with a number."),
        ({"tags": {"contains": ["a"]}}, "`tags` contains a string, and the filter looks for a list."),
        ({"tags[5]": "a"}, "none of 37 items examined has `tags[5]`; the longest `tags` has 1 entries."),
        ({"address.city.x": 1}, "none of 37 items examined has `address.city.x`."),
        ({"total": {"ne": 5}}, None),
        ({"nowhere": {"exists": True}}, None),
    ],
)  # fmt: skip
def test_why_nothing_matched(given: dict[str, Any], hint: str | None) -> None:
    assert explain_no_match(parse_filter(given, "filter"), SEEN) == hint


def test_what_the_sort_keys_are_where_none_is_in_the_range() -> None:
    keys = ["POST#1", "POST#2", "ORDER#1", "META"]
    for asked, hint in [
        ("post#", "sort keys differ in case: `POST#1`."),
        ("POST-", "sort keys differ by a separator or in case: `POST#1`."),
        ("order_1", "sort keys differ by a separator or in case: `ORDER#1`."),
        ("X", "the sort keys here start with `POST#`, `ORDER#`, `META`."),
        ("", "the sort keys here start with `POST#`, `ORDER#`, `META`."),
    ]:
        assert explain_no_sort_key(asked, keys) == hint
    assert explain_no_sort_key("X", []) == "nothing is stored under this pk."
    many = explain_no_sort_key("X", [f"{letter * 2000}#" for letter in "abcdefghij"])
    assert "and 5 others" in many
    assert len(many) < 400


def test_paths_that_nothing_is_at() -> None:
    for attributes, hint in [
        (["status", "address.city", "tags[0]"], None),
        (["stauts"], "nothing is stored at `stauts`; did you mean `status`?"),
        (["address.City"], "nothing is stored at `address.City`; did you mean `address.city`?"),
        (["note.id"], "nothing is stored at `note.id`; did you mean ``note.id``?"),
        (["tags[3]"], "nothing is stored at `tags[3]`; the longest `tags` has 1 entries."),
        (["json.a"], "nothing is stored at `json.a`; `json` is a string of JSON, not a map or list: read it whole."),
        (["tags[0:5]"], "`tags` is a list; only strings and binary have parts."),
        ([f"x{at}" for at in range(9)],
         "nothing is stored at `x0`. nothing is stored at `x1`. nothing is stored at `x2`. and 6 more"),
    ]:  # fmt: skip
        projection = parse_projection(attributes, parts=True)
        assert projection
        assert explain_missing(projection, SEEN) == hint


def test_a_reason_is_short_and_soon_found_whatever_the_names_are() -> None:
    """20 items of 8,000 names each, compared one by one, once kept a gateway from answering for seven seconds."""
    wide: list[Item] = [{f"name{at}x{n}": {"NULL": True} for n in range(8000)} for at in range(20)]
    assert "name0x1" in (explain_no_match(parse_filter({"name0y1": 1}, "filter"), wide) or "")
    assert len(_names_compared(wide)) <= 300
    long = explain_no_match(parse_filter({"x" * 60_000: 1}, "filter"), SEEN)
    assert "none of 37 items" in (long or "")
    assert len(long or "") < 200


def _names_compared(items: list[Item]) -> list[str]:
    compared: list[str] = []

    def compare(word: str, names: list[str], most: int) -> list[str]:
        compared.extend(names)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("difflib.get_close_matches", compare)
        explain_no_match(parse_filter({"nowhere": 1}, "filter"), items)
    return compared


def test_no_reason_is_made_up() -> None:
    assert explain_no_match(parse_filter({"total": 10}, "filter"), []) is None
    mixed = [*SEEN, parse_item({"pk": "p", "sk": "x", "total": 5})]
    assert explain_no_match(parse_filter({"total": 10}, "filter"), mixed) is None
