"""Values, exactly: plain JSON and DynamoDB's attribute values stand for each other, or the value is refused."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import assume, given
from hypothesis import strategies as st

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import (
    AttributeValue,
    canonicalize_number,
    from_json,
    item_to_json,
    measure_item,
    parse_item,
    parse_json,
    select_attributes,
    to_json,
)
from tests.support.strategies import (
    TYPE_NAMES,
    as_boto3_has_it,
    attribute_values,
    examples,
    items,
    json_objects,
    json_values,
    meaning,
    names,
    number_texts,
    texts,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddb_mcp.core.items import Item
    from tests.support.engines import Engine

KEY = {"pk": "p#1", "sk": "s"}
TYPED_KEY = {"pk": {"S": "p#1"}, "sk": {"S": "s"}}


def refusal(given: Any) -> str:
    """The message with which an item is refused."""
    with pytest.raises(InvalidArgument) as refused:
        parse_item(given)
    refused.value.message.encode()  # it can be sent
    return refused.value.message


# put(get(x)) changes nothing


@given(items)
@examples(200)
def test_what_is_got_can_be_put_back(item: Item) -> None:
    plain = item_to_json(item)
    for sent in (plain, json.dumps(plain), json.loads(json.dumps(plain, ensure_ascii=False))):
        again = parse_item(sent)
        assert value({"M": again}) == value({"M": item})
        assert item_to_json(again) == plain
    assert parse_item(item) == again  # as DynamoDB JSON


@given(items)
@examples(100)
def test_plain_json_is_json_and_its_numbers_are_exact(item: Item) -> None:
    def check(plain: Any) -> None:
        match plain:
            case bool() | None | str():
                pass
            case int():
                assert abs(plain) <= 2**53
            case float():
                assert math.isfinite(plain)
                assert not plain.is_integer()
            case list():
                for entry in plain:
                    check(entry)
            case dict():
                for entry in plain.values():
                    check(entry)
            case _:
                pytest.fail(f"{plain!r} is not JSON")

    check(item_to_json(item))


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ({"S": ""}, ""),
        ({"N": "0"}, 0),
        ({"N": "-0"}, 0),
        ({"N": "1.50"}, 1.5),
        ({"N": "1E2"}, 100),
        ({"N": "0.1"}, 0.1),
        ({"N": "-7E-7"}, -7e-7),
        ({"N": "9007199254740992"}, 2**53),
        ({"N": "9007199254740993"}, {"N": "9007199254740993"}),
        ({"N": "-9007199254740993"}, {"N": "-9007199254740993"}),
        ({"N": "1" + "0" * 20}, {"N": "100000000000000000000"}),
        ({"N": "0.1000000000000000055511151231257827"}, {"N": "0.1000000000000000055511151231257827"}),
        ({"N": "1." + "0" * 36 + "1"}, {"N": "1." + "0" * 36 + "1"}),
        ({"N": "1E-130"}, 1e-130),
        ({"N": "9" * 38 + "E88"}, {"N": "9." + "9" * 37 + "E+125"}),
        ({"N": "-" + "9" * 38 + "E+88"}, {"N": "-9." + "9" * 37 + "E+125"}),
        ({"BOOL": False}, False),
        ({"NULL": True}, None),
        ({"B": ""}, {"B": ""}),
        ({"SS": [""]}, {"SS": [""]}),
        ({"NS": ["1.0", "2"]}, {"NS": ["1", "2"]}),
        ({"L": [{"SS": ["a"]}, {"L": []}]}, [{"SS": ["a"]}, []]),
        ({"M": {}}, {}),
        ({"M": {"": {"S": ""}}}, {"": ""}),
        ({"M": {"N": {"N": "5.0"}}}, {"M": {"N": {"N": "5"}}}),
        ({"M": {"M": {"M": {"B": {"B": "YQ=="}}}}}, {"M": {"M": {"M": {"B": {"B": "YQ=="}}}}}),
        ({"M": {"S": {"S": "x"}}}, {"S": "x"}),
        ({"M": {"N": {"N": "1"}, "B": {"N": "1"}}}, {"N": 1, "B": 1}),
        ({"M": {"SS": {"L": [{"NULL": True}, {"S": ""}]}}}, {"M": {"SS": {"L": [{"NULL": True}, {"S": ""}]}}}),
    ],
)
def test_how_a_value_is_shown(typed: AttributeValue, plain: Any) -> None:
    shown = to_json(typed)
    assert shown == plain
    assert type(shown) is type(plain)
    assert value(from_json(shown, "x")) == value(typed)


@pytest.mark.parametrize("name", TYPE_NAMES)
def test_no_map_is_mistaken_for_a_typed_value(name: str) -> None:
    inner: AttributeValue
    for inner in ({"S": "YQ=="}, {"N": "1"}, {"L": [{"S": "1"}]}, {"M": {}}, {"NULL": True}, {"M": {"M": {"M": {}}}}):
        typed: AttributeValue = {"M": {name: inner}}
        assert from_json(to_json(typed), "x") == typed
        assert from_json(to_json({"L": [{"M": {"a": typed}}]}), "x") == {"L": [{"M": {"a": typed}}]}


def test_the_key_comes_first_and_equal_items_read_alike() -> None:
    item = {"b": {"N": "1"}, "a": {"N": "2"}, "sk": {"S": "s"}, "A": {"N": "3"}, "pk": {"S": "p"}}
    assert list(item_to_json(item)) == ["pk", "sk", "A", "a", "b"]


# What is sent is stored as it was meant, or refused


@given(json_objects)
@examples(200)
def test_what_is_sent_is_what_is_got_or_it_is_refused(sent: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidArgument):
        item = parse_item(sent)
        got = meaning(item_to_json(item))
        assert got == value({"M": item})
        assert got == (value({"M": sent}) if isinstance(sent["pk"], dict) else meaning(sent))
    text = json.dumps(sent)
    try:
        from_text = parse_item(text)
    except InvalidArgument:
        with pytest.raises(InvalidArgument):
            parse_item(sent)
    else:
        exact = json.loads(text, parse_float=Decimal)
        expected = value({"M": exact}) if isinstance(sent["pk"], dict) else meaning(exact)
        assert meaning(item_to_json(from_text)) == expected


@given(json_values)
@examples(200)
def test_plain_json_is_stored_as_boto3_would(sent: Any) -> None:
    def as_boto3_takes_it(plain: Any) -> Any:
        match plain:
            case bool():
                return plain
            case int() | float():
                return Decimal(repr(plain))
            case list():
                return list(map(as_boto3_takes_it, plain))
            case dict():
                assume(len(plain) != 1 or not plain.keys() <= set(TYPE_NAMES))
                return {name: as_boto3_takes_it(member) for name, member in plain.items()}
        return plain

    expected = as_boto3_takes_it(sent)
    try:
        typed = from_json(sent, "x")
    except InvalidArgument:
        assume(False)
    assert value(typed) == value(dict(TypeSerializer().serialize(expected)))


@given(items.map(item_to_json), st.data())
@examples(100)
def test_a_member_given_twice_is_refused(sent: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(sent)
    name = data.draw(st.sampled_from(sorted(sent)))
    twice = f"{text[:-1]}, {json.dumps(name)}: 0}}"
    assert "twice" in refusal(twice)
    assert "twice" in refusal(json.dumps({**KEY, "a": [{"b": 0}]}).replace('{"b": 0}', twice))


# Items


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "JSON object, not null"),
        ([], "JSON object, not a list"),
        (5, "JSON object, not a number"),
        ("", "not valid JSON"),
        ("[]", "JSON object, not a list"),
        ("{", "not valid JSON at character 1"),
        ('{"pk":"p","sk":"s"} {}', "not valid JSON"),
        ("{'pk':'p','sk':'s'}", "not valid JSON"),
        ('"{}"', "JSON object, not a string"),
        ({}, "no 'pk'"),
        ({"pk": "p"}, "no 'sk'"),
        ({"sk": "s"}, "no 'pk'"),
        ({"PK": "p", "sk": "s"}, "no 'pk'"),
        ({"pk": 5, "sk": "s"}, "item.pk must be a string, not a number"),
        ({"pk": "p", "sk": 5}, "item.sk must be a string, not a number"),
        ({"pk": "p", "sk": None}, "item.sk must be a string, not null"),
        ({"pk": {"N": "5"}, "sk": "s"}, "item.pk must be a string"),
        ({"pk": {"B": "YQ=="}, "sk": "s"}, "item.pk must be a string"),
        ({"pk": {"s": "p"}, "sk": "s"}, "item.pk must be a string"),
        ({"pk": {"S": "p"}, "sk": "s"}, "item.sk must be one DynamoDB JSON value"),
        ({"pk": {"S": 5}, "sk": {"S": "s"}}, "item.pk is"),
        ({"pk": {"S": "p"}, "sk": {"N": "5"}}, "item.sk must be a string"),
        ({"pk": "p", "sk": {"S": "s"}}, "item.sk must be a string"),
        ({**TYPED_KEY, "a": 1}, "item.a must be one DynamoDB JSON value"),
        ({**TYPED_KEY, "a": {"S": "x", "N": "1"}}, "item.a must be one DynamoDB JSON value"),
        ({**TYPED_KEY, "a": {}}, "item.a must be one DynamoDB JSON value"),
        ({**TYPED_KEY, "a": {"X": "1"}}, "item.a must be one DynamoDB JSON value"),
        ({**KEY, "": 1}, "empty name"),
        ({**KEY, "a": object()}, "a type that JSON does not have"),
    ],
)
def test_what_is_no_item(given: Any, said: str) -> None:
    assert said in refusal(given)


def test_an_item_may_be_an_object_a_json_string_or_dynamodb_json() -> None:
    expected = {**TYPED_KEY, "n": {"N": "1.5"}}
    typed = {**TYPED_KEY, "n": {"N": "1.50"}}
    for sent in ({**KEY, "n": 1.5}, {**KEY, "n": {"N": "1.5"}}, typed):
        assert parse_item(sent) == expected
        assert parse_item(json.dumps(sent)) == expected


# Numbers


@given(number_texts())
@examples(200)
def test_canonical_numbers_keep_their_value_and_are_stable(text: str) -> None:
    canonical = canonicalize_number(text)
    assert Decimal(canonical) == Decimal(text)
    assert canonicalize_number(canonical) == canonical
    assert len(canonical) <= 45
    assert canonical not in ("-0", "+0")
    assert (
        canonicalize_number(format(Decimal(text), "f")) == canonicalize_number(format(Decimal(text), "E")) == canonical
    )


@pytest.mark.parametrize(
    "text",
    [
        *("1E126", "-1E126", "1E-131", "1e400", "1E999999999999999999999", "-1E-999999999999999999999"),
        *("9" * 39, "1" + "0" * 37 + "1", "1." + "0" * 37 + "1", "9" * 5000, "1" + "0" * 5000, "0." + "0" * 5000 + "1"),
    ],
)
def test_numbers_out_of_range_are_refused_in_every_form(text: str) -> None:
    refusal({**KEY, "n": {"N": text}})
    refusal({**KEY, "n": {"NS": ["1", text]}})
    refusal(json.dumps({**KEY, "n": 1})[:-2] + text + "}")
    refusal(json.dumps({**KEY, "n": {"N": text}}))
    refusal({**TYPED_KEY, "n": {"N": text}})


@pytest.mark.parametrize(
    "text", ["", " ", "1 ", " 1", "1_000", "0x10", "1,5", "١", "½", "NaN", "nan", "Infinity", "1e", "--1"]
)
def test_what_is_no_number(text: str) -> None:
    assert "not a number" in refusal({**KEY, "n": {"N": text}})
    assert "not a number" in refusal({**KEY, "n": {"NS": [text]}})


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 1e126, 1e300, 5e-324, 1e-131])
def test_floats_that_dynamodb_cannot_hold_are_refused(number: float) -> None:
    assert "item.a[0].n" in refusal({**KEY, "a": [{"n": number}]})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_words_for_numbers_in_a_json_string_are_refused(text: str) -> None:
    assert text in refusal(f'{{"pk":"p","sk":"s","n":{text}}}')


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, float(2**53 + 2), 1e22, 1e100, 10**37])
def test_a_plain_integer_beyond_2_to_the_53_is_refused_without_its_rounded_digits(number: float) -> None:
    """A host may have rounded them already, so they are not offered for copying."""
    with pytest.raises(InvalidArgument, match=r"2\^53") as refused:
        parse_item({**KEY, "n": number})
    shown = refused.value.next[refused.value.next.index("{") : -1]
    assert from_json(json.loads(shown), "n") == {"N": json.loads(shown)["N"]}
    digits = f"{Decimal(repr(number)):f}".strip("-")
    assert digits[:15] not in refused.value.message + refused.value.next


def test_long_numbers_and_names_are_refused_and_not_sent_back() -> None:
    long = "9" * 3_900_000
    for sent in (
        {"n": {"N": long}},
        {"n": Decimal(long)},
        {"n": {"NS": [long]}},
        {"n": Decimal("0." + "0" * 2000 + "1")},
    ):
        assert len(refusal({**KEY, **sent})) < 200
    for text in (
        '{"n": ' + long + "}",
        '{"n": 0.' + long + "}",
        '{"n": 1e' + long + "}",
        '{"' + long + '": 1, "' + long + '": 2}',
    ):
        assert len(refusal(text)) < 200
    assert len(refusal({**KEY, long: {"SS": []}})) < 200
    assert len(refusal({**KEY, "l": {long: [0] * 100_000, "bad": {"SS": []}}})) < 200


@pytest.mark.parametrize("digits", [39, 309, 400, 5000, 20_000])
def test_a_plain_integer_beyond_every_range_is_refused(digits: int) -> None:
    for number in (10**digits, 10**digits - 1, -(10**digits)):
        assert refusal({**KEY, "n": number}).startswith("item.n")


@pytest.mark.parametrize(
    "digits", ["9007199254740993", "-12345678901234567890", "0.12345678901234567890123456789012345678"]
)
def test_digits_are_exact_where_their_text_is_at_hand(digits: str) -> None:
    assert parse_item(f'{{"pk":"p","sk":"s","n":{digits}}}')["n"] == {"N": digits}
    assert parse_item({**KEY, "n": {"N": digits}})["n"] == {"N": digits}


@pytest.mark.parametrize(
    ("number", "stored"),
    [(0.1 + 0.2, "0.30000000000000004"), (-0.0, "0"), (1.0, "1"), (1e-7, "0.0000001"), (2**53, "9007199254740992")],
)
def test_a_float_is_stored_as_its_shortest_decimal(number: float, stored: str) -> None:
    assert from_json(number, "n") == {"N": stored}


def test_zero_has_one_form_and_true_is_no_number() -> None:
    for zero in ("0", "-0", "0.000", "0E125", "0E-999", "+0", "00"):
        assert canonicalize_number(zero) == "0"
    assert from_json(True, "x") == {"BOOL": True}
    assert from_json([0, False], "x") == {"L": [{"N": "0"}, {"BOOL": False}]}


# Text, binary, sets


@pytest.mark.parametrize("lone", ["\ud800", "a\udfffb", "\udc00\ud800"])
def test_lone_surrogates_are_refused_wherever_they_are(lone: str) -> None:
    for sent in (
        {**KEY, "a": lone},
        {**KEY, lone: "a"},
        {**KEY, "a": [{"b": {lone: 1}}]},
        {**KEY, "a": {"SS": ["x", lone]}},
        {**KEY, "a": {"M": {lone: {"S": "x"}}}},
        {**KEY, "a": {"B": lone}},
        {**KEY, "a": {"N": lone}},
        {"pk": lone, "sk": "s"},
        {**TYPED_KEY, "a": {"S": lone}},
        {**TYPED_KEY, lone: {"S": "a"}},
    ):
        refusal(sent)
        refusal(json.dumps(sent))
    refusal(f'{{"pk":"p","sk":"s","{lone}":1,"{lone}":1}}')


def test_a_pair_of_escapes_is_one_character() -> None:
    assert parse_item(r'{"pk":"p","sk":"s","a":"\ud83d\ude00"}')["a"] == {"S": "\N{GRINNING FACE}"}


@pytest.mark.parametrize(
    "text", ["YQ", "YQ=", "Y", "=", "YQ==\n", " YQ==", "YW Jj", "YWJj=", "YWJj====", "YQ==YQ==", "_-8=", "é", "YQ=a"]
)
def test_invalid_base64_is_refused(text: str) -> None:
    assert "base64" in refusal({**KEY, "a": {"B": text}})
    assert "base64" in refusal({**KEY, "a": {"BS": [text]}})


@given(st.binary(max_size=40))
@examples(50)
def test_binary_is_kept_and_measured(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    item = parse_item({**KEY, "b": {"B": text}})
    assert item["b"] == {"B": text}
    assert measure_item(item) == len("pkp#1sks") + 1 + len(raw)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        *(({kind: []}, "empty set") for kind in ("SS", "NS", "BS")),
        ({"SS": ["a", "a"]}, "twice"),
        ({"NS": ["1", "1.0"]}, "twice"),
        ({"NS": ["0", "-0"]}, "twice"),
        ({"BS": ["YQ==", "YR=="]}, "twice"),  # the same byte
        ({"NS": [1]}, "must all be strings"),
        ({"SS": [None]}, "must all be strings"),
        ({"SS": "a"}, "with a string in it, which is not a string set"),
        ({"NS": {"a": 1}}, "with an object in it, which is not a number set"),
        ({"N": 5}, "with a number in it, which is not a number in DynamoDB JSON"),
        ({"N": None}, "with null in it, which is not a number"),
        ({"B": []}, "not a binary"),
        ({"M": []}, "not a map"),
        ({"M": {"a": 1}}, "a.a must be one DynamoDB JSON value"),
        ({"M": {"a": {"L": [{"S": 1}]}}}, "a.a[0] is"),
        ({"M": {"a": {"BOOL": "true"}}}, "not a boolean"),
        ({"M": {"a": {"NULL": False}}}, "not a null"),
        ({"M": {"a": {"NULL": 1}}}, "not a null"),
        ({"M": {"a": {"L": {}}}}, "not a list"),
        ({"M": {"a": {"S": None}}}, "not a string"),
    ],
)
def test_wrong_shapes_in_typed_form_are_refused(typed: dict[str, Any], said: str) -> None:
    assert said in refusal({**KEY, "a": typed})
    assert said in refusal({**TYPED_KEY, "a": typed})


def test_a_set_may_hold_what_only_looks_alike() -> None:
    for kind, members in (("SS", ["1", "1.0", "é", "e\u0301", ""]), ("BS", ["", "YQ==", "YWE="])):
        assert parse_item({**KEY, "a": {kind: members}})["a"] == {kind: members}


# Depth and size


def nested(levels: int, kind: str) -> Any:
    inner: Any = "deep"
    for _ in range(levels):
        inner = {"map": {"a": inner}, "list": [inner], "typed": {"M": {"a": inner if _ else {"S": inner}}}}[kind]
    return inner


@pytest.mark.parametrize("kind", ["map", "list", "typed"])
def test_31_maps_or_lists_round_a_value_are_the_most(kind: str) -> None:
    for as_sent in (dict, json.dumps):
        parse_item(as_sent({**KEY, "a": nested(31, kind)}))
        assert "32 levels" in refusal(as_sent({**KEY, "a": nested(32, kind)}))


@pytest.mark.parametrize("empty", [[], {}, {"M": {}}])
def test_an_empty_list_or_map_is_a_value_like_others(empty: Any) -> None:
    at_most = [empty]
    for _ in range(30):
        at_most = [at_most]
    parse_item({**KEY, "a": at_most})
    assert "32 levels" in refusal({**KEY, "a": [at_most]})


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"M":{"a":', "}}"), ('{"L":[', "]}")])
@pytest.mark.parametrize("depth", [33, 1_000, 100_000])
def test_any_depth_is_refused_and_in_few_words(opening: str, closing: str, depth: int) -> None:
    said = refusal(f'{{"pk":"p","sk":"s","x":{opening * depth}0{closing * depth}}}')
    assert "32 levels" in said or "DynamoDB JSON" in said
    assert len(said) < 200
    as_object: Any = 0
    for _ in range(depth):
        as_object = [as_object]
    assert "32 levels" in refusal({**KEY, "x": as_object})
    while isinstance(as_object, list):  # else the interpreter frees it by recursion
        as_object = as_object.pop()


@pytest.mark.parametrize(
    ("name", "letter"), [("a", "x"), ("é" * 50, "x"), ("a", "\N{GRINNING FACE}"), ("\u0b95" * 1000, "é")]
)
def test_an_item_has_400_kb_at_most_and_names_count(name: str, letter: str) -> None:
    room = 409_600 - len("pkp#1sks") - len(name.encode())
    text = letter * (room // len(letter.encode())) + "x" * (room % len(letter.encode()))
    assert measure_item(parse_item({**KEY, name: text})) == 409_600
    for sent in ({**KEY, name: text + "x"}, json.dumps({**KEY, name: text + "x"})):
        assert "409601 bytes" in refusal(sent)


@pytest.mark.parametrize(
    ("typed", "size"),
    [
        ({"S": ""}, 0),
        ({"S": "é"}, 2),
        ({"S": "\N{GRINNING FACE}"}, 4),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"B": "YWI="}, 2),
        ({"N": "0"}, 1),
        ({"N": "1"}, 2),
        ({"N": "-1"}, 3),
        ({"N": "100000"}, 2),
        ({"N": "0.001"}, 2),
        ({"N": "0.012"}, 3),
        ({"N": "1.1"}, 3),
        ({"N": "120"}, 3),
        ({"N": "12345.678"}, 6),
        ({"N": "123"}, 3),
        ({"N": "1.5E+40"}, 3),
        ({"N": "1" * 38}, 20),
        ({"N": "-" + "1" * 38}, 21),
        ({"SS": ["a", "bc"]}, 3),
        ({"NS": ["1", "-12"]}, 5),
        ({"BS": ["YQ==", ""]}, 1),
        ({"L": []}, 3),
        ({"L": [{"S": "a"}, {"L": []}]}, 3 + 1 + 1 + 1 + 3),
        ({"M": {}}, 3),
        ({"M": {"é": {"S": "a"}, "b": {"M": {}}}}, 3 + 1 + 2 + 1 + 1 + 1 + 3),
    ],
)
def test_the_size_of_each_type(typed: AttributeValue, size: int) -> None:
    assert measure_item({"name": typed}) == 4 + size


@pytest.fixture(scope="module")
def capacity(ministack: Engine) -> Callable[[AttributeValue], float]:
    """Writes an item and returns the capacity it took: one unit for each KB begun."""
    client, table = ministack.client(), ministack.create_table()

    def put(attribute: AttributeValue) -> float:
        item: Any = {**TYPED_KEY, "sk": {"S": uuid.uuid4().hex}, "a": as_boto3_has_it(attribute)}
        return client.put_item(TableName=table, Item=item, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"][
            "CapacityUnits"
        ]

    return put


@pytest.mark.extended
@given(attribute_values.filter(lambda typed: measure_item({"": typed}) < 60))
@examples(40)
def test_an_engine_measures_alike(capacity: Callable[[AttributeValue], float], typed: AttributeValue) -> None:
    # 1024 entries in a list: each byte of the value, and the one that an entry takes, is one more unit.
    assert capacity({"L": [typed] * 1024}) == measure_item({"": typed}) + 2


def test_a_duplicate_among_very_many_members_is_found_at_once() -> None:
    members = ",".join(f'"{number}":0' for number in range(100_000))
    with pytest.raises(InvalidArgument, match="'99999' twice"):
        parse_json(f'{{{members},"99999":1}}', "item")


# Projection


@given(items, st.lists(names | texts, max_size=5) | st.none())
@examples(100)
def test_a_projection_has_the_key_and_what_was_named(item: Item, attributes: list[str] | None) -> None:
    left = select_attributes(item, attributes)
    wanted = item.keys() if attributes is None else {"pk", "sk", *attributes} & item.keys()
    assert left == {name: item[name] for name in wanted}
