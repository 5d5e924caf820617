"""DynamoDB's expression texts, read: what they say, and what is said of those that are wrong."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.conditions import StepCounter, matches
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.expressions import ExpressionBuilder
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.endpoint.expressions.nodes import ConditionNode, UpdateExpression
from ddb_mcp.endpoint.expressions.parser import ExpressionReader, load_reserved_words
from tests.support.strategies import examples

NAMES = {"#a": "a", "#s": "status", "#odd": "a.b c"}
VALUES: dict[str, Any] = {
    ":n": {"N": "1"},
    ":two": {"N": "2"},
    ":s": {"S": "x"},
    ":l": {"L": [{"S": "new"}]},
    ":ss": {"SS": ["x", "z"]},
    ":b": {"BOOL": True},
    ":type": {"S": "L"},
}
ITEM: dict[str, Any] = {
    "a": {"N": "1"},
    "andy": {"S": "xyz"},
    "notes": {"L": [{"S": "x"}, {"N": "2"}, {"M": {"deep": {"S": "é"}}}]},
    "m": {"M": {"n": {"N": "10"}, "a.b c": {"BOOL": True}}},
    "tags": {"SS": ["x", "y"]},
    "status": {"S": "open"},
    "bin": {"B": "YWJj"},
}


def make_reader(
    parameter: str, text: str, names: dict[str, str] | None = None, values: dict[str, Any] | None = None
) -> ExpressionReader:
    placeholders = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}
    return ExpressionReader({parameter: text, **placeholders}, parameter)


def parse_condition(text: str) -> ConditionNode:
    found = make_reader("FilterExpression", text, NAMES, VALUES).read_condition("FilterExpression")
    assert found is not None
    return found


def parse_projection(text: str) -> Any:
    return make_reader("ProjectionExpression", text, NAMES).read_projection()


def parse_update(text: str) -> UpdateExpression:
    return make_reader("UpdateExpression", text, NAMES, VALUES).read_update()


def holds(text: str) -> bool:
    return parse_condition(text).holds(ITEM, StepCounter())


def update(text: str) -> dict[str, Any]:
    """What the update changes: attributes that differ, None where they are gone."""
    new = parse_update(text).apply(ITEM)
    return {name: new.get(name) for name in {*new, *ITEM} if new.get(name) != ITEM.get(name)}


@pytest.mark.parametrize(
    "text",
    [
        "a = :n",
        "#a=:n and andy<>:s",
        "NOT a = :two",
        "not (a = :two OR gone = :n)",
        "a = :two OR a = :n AND attribute_exists(andy)",
        "(a = :two OR a = :n) AND attribute_not_exists(gone)",
        "a BETWEEN :n AND :two",
        "a IN (:two, :n)",
        "gone <> :n",
        "begins_with(andy, :s)",
        "contains(notes, :s) AND contains(tags, :s) AND contains(andy, :s)",
        "notes[1] = :two AND notes[2].deep <> :s",
        "m.#odd = :b",
        "attribute_type(notes, :type)",
        "size(notes) > :two AND size(tags) = :two",
        "size(andy) > m.n OR size(bin) > :two",
        "m.n > a AND NOT a > m.n",
        "(a) = :n",
        "#s <> :s\n\tAND\r\nnotes[ 0 ] = :s",
    ],
)
def test_conditions_that_hold(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        *("a = :s", "a > :two", "gone = :n", "gone = lost", "tags > a", "a IN (:s, gone)", "begins_with(a, a2)"),
        *("size(a) = :n", "notes[9] = :n", "andy[0] = :n", "a.b = :n", "gone BETWEEN :n AND :two"),
    ],
)
def test_conditions_that_do_not_hold(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("SET a = :two", {"a": {"N": "2"}}),
        ("SET a = a + :two, b = a", {"a": {"N": "3"}, "b": {"N": "1"}}),
        ("set a = (m.n - :n)", {"a": {"N": "9"}}),
        ("SET a = if_not_exists(a, :two), c = if_not_exists(c, :two) + :n", {"c": {"N": "3"}}),
        ("SET l = list_append(:l, :l)", {"l": {"L": [{"S": "new"}, {"S": "new"}]}}),
        ("SET m.#a = :s REMOVE m.n", {"m": {"M": {"a": {"S": "x"}, "a.b c": {"BOOL": True}}}}),
        ("REMOVE notes[0], notes[1]", {"notes": {"L": [ITEM["notes"]["L"][2]]}}),
        ("SET notes[9] = :n, notes[8] = :s", {"notes": {"L": [*ITEM["notes"]["L"], {"S": "x"}, {"N": "1"}]}}),
        ("REMOVE gone, notes[7]", {}),
        ("ADD a :two, tags :ss, fresh :n", {"a": {"N": "3"}, "tags": {"SS": ["x", "y", "z"]}, "fresh": {"N": "1"}}),
        ("DELETE tags :ss, gone :ss", {"tags": {"SS": ["y"]}}),
        ("REMOVE a DELETE tags :ss ADD m.n :n SET b = :b", None),
    ],
)
def test_updates(text: str, changed: dict[str, Any] | None) -> None:
    if changed is None:
        changed = {"a": None, "tags": {"SS": ["y"]}, "b": {"BOOL": True}}
        changed["m"] = {"M": {"n": {"N": "11"}, "a.b c": {"BOOL": True}}}
    assert update(text) == changed


def test_a_set_of_which_nothing_is_left_is_gone() -> None:
    new = make_reader("UpdateExpression", "DELETE tags :t", values={":t": ITEM["tags"]}).read_update().apply(ITEM)
    assert "tags" not in new


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SET a = gone", "refers to an attribute that does not exist in the item"),
        ("SET a = a + andy", "incorrect data type"),
        ("ADD andy :n", "incorrect data type"),
        ("DELETE a :ss", "incorrect data type"),
        ("SET gone.b = :n", "document path provided in the update expression is invalid for update"),
        ("REMOVE gone.b", "document path provided in the update expression is invalid for update"),
        ("SET a[0] = :n", "document path provided in the update expression is invalid for update"),
    ],
)
def test_updates_that_the_item_refuses(text: str, message: str) -> None:
    before = repr(ITEM)
    with pytest.raises(InvalidArgument, match=message):
        update(text)
    assert repr(ITEM) == before


WRONG_CONDITIONS = {
    "": "The expression can not be empty",
    "status = :n": "reserved keyword: status",
    "a.Status = :n": "reserved keyword: Status",
    "a =": 'Syntax error; token: "<EOF>"',
    "a = = :n": 'Syntax error; token: "="',
    "a = :n b": 'Syntax error; token: "b"',
    "a = 5": 'Syntax error; token: "5"',
    "a ~ :n": 'Syntax error; token: "~"',
    "a": "Syntax error",
    "((a = :n))": "redundant parentheses",
    "#x = :n": "attribute name used in the document path is not defined; attribute name: #x",
    "a = :x": "attribute value used in expression is not defined; attribute value: :x",
    "foo(a)": "Invalid function name; function: foo",
    "size(a)": "not allowed to be used this way in an expression; function: size",
    "contains(a, :s) = :b": "not allowed to be used this way in an expression; function: contains",
    "attribute_exists(:s)": "requires a document path; operator or function: attribute_exists",
    "attribute_exists(a, a)": "Incorrect number of operands",
    "attribute_exists()": "Incorrect number of operands",
    "attribute_type(a, :s)": "Invalid attribute type name found; type: x",
    "attribute_type(a, :n)": "Incorrect operand type",
    "begins_with(a, :n)": "Incorrect operand type for operator or function; operator or function: begins_with",
    "a < :b": "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
    "a = a": "first operand must be distinct",
    "a BETWEEN :two AND :n": "upper bound to be greater than or equal to lower bound",
    "a BETWEEN :s AND :n": "same data type for lower and upper bounds",
    "a IN (" + ",".join([":n"] * 101) + ")": "too many operands; number of operands: 101",
    " AND ".join(["a <> :n"] * 160): "too many operators",
    "a = :n" + " " * 4100: "Expression size has exceeded the maximum allowed size; expression size: 4106",
    "a[1000000000] = :n": "List index is not within the allowable range",
    ".".join(["a"] * 33) + " = :n": "too many nesting elements",
    "(a = :n) = :b": "Syntax error",
}


@pytest.mark.parametrize(("text", "message"), WRONG_CONDITIONS.items(), ids=range(len(WRONG_CONDITIONS)))
def test_conditions_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_condition(text)
    assert caught.value.message.startswith("Invalid FilterExpression: ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SET a = :n SET b = :n", 'The "SET" section can only be used once'),
        ("SET a = :n REMOVE a", "Two document paths overlap"),
        ("SET a = :n, a.b = :n", "path one: [a], path two: [a, b]"),
        ("SET m.b = :n REMOVE m[0]", "Two document paths conflict"),
        ("ADD a :s", "operator: ADD, operand type: STRING"),
        ("DELETE a :n", "operator: DELETE, operand type: NUMBER"),
        ("SET a = size(b)", "The function is not allowed"),
        ("SET a = foo(b)", "Invalid function name; function: foo"),
        ("SET a = list_append(b, :n)", "Incorrect operand type"),
        ("SET a = if_not_exists(:n, :n)", "requires a document path"),
        ("SET a = b + :s", "Incorrect operand type"),
        ("SET a", "Syntax error"),
        ("SET a < :n", 'Syntax error; token: "<"'),
        ("a = :n", "Syntax error"),
    ],
)
def test_updates_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_update(text)
    assert message in caught.value.message


def test_projections() -> None:
    assert parse_projection("a, m.#odd,notes[1].b") == (
        ("a",),
        ("m", "a.b c"),
        ("notes", 1, "b"),
    )
    for text, message in (("a, a.b", "overlap"), ("a,", "Syntax error"), (":n", "Syntax error"), ("a, a", "overlap")):
        with pytest.raises(InvalidArgument, match=message):
            parse_projection(text)


def test_placeholders_that_are_not_used() -> None:
    used = make_reader("FilterExpression", "#a = :n", {"#a": "a"}, {":n": {"N": "1"}})
    used.read_condition("FilterExpression")
    used.check_all_used()
    with pytest.raises(InvalidArgument, match=r"ExpressionAttributeNames unused in expressions: keys: \{#b\}"):
        make_reader("FilterExpression", "", {"#b": "b"}).check_all_used()
    with pytest.raises(InvalidArgument, match=r"ExpressionAttributeValues unused in expressions: keys: \{:c\}"):
        make_reader("FilterExpression", "", values={":c": {"N": "1"}}).check_all_used()


def test_an_error_names_few_unused_placeholders_and_none_in_full() -> None:
    unused = {f"#{number}": "a" for number in range(5000)} | {"#" + "0" * 10_000: "a"}
    with pytest.raises(InvalidArgument, match="unused in expressions") as caught:
        make_reader("FilterExpression", "", unused).check_all_used()
    assert caught.value.message.count("#") == 20
    assert len(caught.value.message) < 1000


def test_an_update_copies_what_it_changes_and_shares_the_rest() -> None:
    stored: dict[str, Any] = {
        "m": {"M": {"deep": {"L": [{"S": "a"}, {"M": {"x": {"S": "b"}}}]}, "by": {"L": []}}},
        "n": {"L": []},
    }
    text = "SET m.deep[1].x = :n, m.deep[1].y = :n, m.deep[7] = :n, a = m.deep"
    new = parse_update(text).apply(stored)
    one = {"N": "1"}
    assert new["m"] == {"M": {"deep": {"L": [{"S": "a"}, {"M": {"x": one, "y": one}}, one]}, "by": {"L": []}}}
    assert new["a"] == stored["m"]["M"]["deep"] == {"L": [{"S": "a"}, {"M": {"x": {"S": "b"}}}]}
    assert new["n"] is stored["n"]
    assert new["m"]["M"]["by"] is stored["m"]["M"]["by"]


MANY = ",".join(f"a{number} = {{}}" for number in range(100))
LONG: Any = {"L": [{"NULL": True}] * 190_000}


@pytest.mark.parametrize(
    "text",
    [
        "SET " + MANY.replace("{}", "list_append(l, l)"),
        "SET " + MANY.replace("{}", "list_append(:l, :l)"),
        "SET " + MANY.replace("{}", "l"),
        "SET a = " + "list_append(" * 200 + "l" + ", l)" * 200,
        "SET a = " + "list_append(l, " * 200 + "l" + ")" * 200,
    ],
    ids=range(5),
)
def test_an_update_ends_at_the_size_of_an_item(text: str) -> None:
    found = make_reader("UpdateExpression", text, values={":l": LONG}).read_update()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument, match="Item size to update"):
            found.apply({"l": LONG})
        assert tracemalloc.get_traced_memory()[1] < 10_000_000  # two or three lists of 400,000 references
    finally:
        tracemalloc.stop()


def test_a_set_is_added_to_another_if_an_item_could_hold_it() -> None:
    numbers = {"NS": [str(number) for number in range(200_000)]}
    found = make_reader("UpdateExpression", "ADD s :s", values={":s": numbers}).read_update()
    with pytest.raises(InvalidArgument, match="Item size to update"):
        found.apply({"s": {"N": "the stored value is not looked at"}})


def test_there_are_573_reserved_words() -> None:
    assert len(load_reserved_words()) == 573
    assert {"TTL", "STATUS", "NAME", "ABORT", "ZONE"} <= load_reserved_words()


@pytest.mark.parametrize("opening", ["NOT ", "(", "NOT (", "size(", "a = :n AND (a = :n OR ", "if_not_exists(a, "])
def test_depth_ends_no_process(opening: str) -> None:
    for start, read in (("", parse_condition), ("SET a = ", parse_update)):
        for times in (50, 3000 // len(opening)):
            closing = ")" * (opening.count("(") * times)
            try:
                found = read(start + opening * times + "a = :n" + closing)
            except InvalidArgument:
                continue
            assert isinstance(found, UpdateExpression) or found.holds(ITEM, StepCounter()) in (True, False)


WORDS = ["a", "#a", ":n", ":s", "=", "<", "<>", "(", ")", ",", ".", "[", "0", "]", "AND", "OR", "NOT", "BETWEEN", "IN"]
WORDS += ["SET", "REMOVE", "ADD", "DELETE", "+", "-", "size", "contains", "if_not_exists", "list_append", "status", " "]


@examples(200)
@given(st.one_of(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join), st.text(max_size=40)))
def test_no_text_meets_anything_but_an_answer_or_a_refusal(text: str) -> None:
    for read in (parse_condition, parse_update, parse_projection):
        try:
            found: Any = read(text)
            if read is parse_condition:
                found.holds(ITEM, StepCounter())
            elif read is parse_update:
                found.apply(ITEM)
        except InvalidArgument:
            continue


FILTERS: list[dict[str, Any]] = [
    {"a": 1, "status": {"ne": "x"}},
    {"m.n": {"between": [1, 10]}, "gone": {"exists": False}},
    {"notes[0]": {"in": ["x", "y"]}, "andy": {"begins_with": "x", "contains": "y"}},
    {"a": {"gt": 1}},
]


@pytest.mark.parametrize("given", FILTERS)
def test_what_the_writer_writes_the_reader_reads(given: dict[str, Any]) -> None:
    clauses = parse_filter(given, "filter")
    expression = ExpressionBuilder()
    text = expression.condition(clauses)
    reader = make_reader("FilterExpression", text, expression.names, expression.values)
    read = reader.read_condition("FilterExpression")
    assert read
    assert read.holds(ITEM, StepCounter()) is matches(clauses, ITEM)
