"""What the tools take: nothing coerced, nothing unknown, nothing empty, and schemas that hosts can read."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.service.arguments import (
    Arguments,
    DeleteArguments,
    GetArguments,
    InfoArguments,
    InputSchema,
    KeyArgument,
    ProvisionArguments,
    PutArguments,
    QueryArguments,
    ScanArguments,
)
from tests.support.strategies import examples, json_values

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED: dict[type[Arguments], dict[str, Any]] = {
    ProvisionArguments: {},
    InfoArguments: {},
    GetArguments: {"pk": "p", "sk": "s"},
    PutArguments: {},
    DeleteArguments: {},
    QueryArguments: {"pk": "p"},
    ScanArguments: {},
}
MODELS = list(REQUIRED)
GUARDS = {"expect", "where", "create_only", "dry_run"}
OPTIONAL = [(model, name) for model in MODELS for name in model.model_fields if name not in REQUIRED[model]]


def refusal(model: type[Arguments], given: Any) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as refused:
        model.parse(given)
    shown = refused.value.message + refused.value.next
    assert not any(word in shown.lower() for word in ("pydantic", "http", "validation", "input_", "nonetype"))
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value


def asked(model: type[Arguments], **given: Any) -> Any:
    return model.parse({**REQUIRED[model], **given})


def kind(model: type[Arguments], name: str) -> str:
    schema: dict[str, Any] = model.model_json_schema(schema_generator=InputSchema)["properties"][name]
    return str(schema["type"])


# Omitted, unknown, wrong


def test_an_unknown_argument_is_named_before_a_missing_one() -> None:
    assert refusal(GetArguments, {"key": {"pk": "p", "sk": "s"}}).message == "key is not an argument of this tool."


@pytest.mark.parametrize("empty", [None, "", [], {}, "[]", "{}", "null"])
@pytest.mark.parametrize(("model", "name"), OPTIONAL)
def test_an_empty_optional_argument_counts_as_omitted(model: type[Arguments], name: str, empty: Any) -> None:
    form = "item" if name == "item" else kind(model, name)
    if isinstance(empty, str) and empty and form in ("string", "item"):
        return  # a text like any other
    others = {"[]": form != "array", "{}": form != "object"}
    if (name in GUARDS and empty not in (None, "null")) or others.get(str(empty) if isinstance(empty, str) else ""):
        assert name in refusal(model, {**REQUIRED[model], name: empty}).message
    else:
        assert asked(model, **{name: empty}) == asked(model)


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in MODELS for name in REQUIRED[model]])
def test_a_required_argument_is_required(model: type[Arguments], name: str) -> None:
    without = {key: value for key, value in REQUIRED[model].items() if key != name}
    assert refusal(model, without).message == f"{name} is missing."
    for wrong in (None, [], {}, 5, True, 2.5, Decimal(5), ["p"], {"S": "p"}):
        assert refusal(model, {**without, name: wrong}).message == f"{name} must be a string."
    assert getattr(model.parse({**without, name: ""}), name) == ""  # for `keys` to refuse, which says more


@pytest.mark.parametrize("model", [model for model in MODELS if model.model_fields])
@pytest.mark.parametrize(
    "name", ["table", "tableName", "prefix", "PK", "pk ", "", "__class__", "x" * 10_000, "é", "\ud800"]
)
@pytest.mark.parametrize("value", [None, "x"])
def test_unknown_arguments_are_refused_by_name(model: type[Arguments], name: str, value: Any) -> None:
    error = refusal(model, {**REQUIRED[model], name: value})
    assert error.message == f"{name[:100]}{'…' * (len(name) > 100)} is not an argument of this tool."


@pytest.mark.parametrize(
    ("model", "name", "near"),
    [
        (QueryArguments, "sk_prefx", "Did you mean sk_prefix?"),
        (QueryArguments, "Limit", "Did you mean limit?"),
        (PutArguments, "createOnly", "Did you mean create_only?"),
        (ScanArguments, "sk_prefix", "Did you mean pk_prefix?"),
        (GetArguments, "consistent", "The arguments are pk, sk, attributes."),
    ],
)
def test_what_an_unknown_argument_may_have_meant(model: type[Arguments], name: str, near: str) -> None:
    assert refusal(model, {**REQUIRED[model], name: 1}).next == near


@pytest.mark.parametrize("model", [InfoArguments, ProvisionArguments])
@pytest.mark.parametrize("given", [{"task_progress": "1/3"}, {"random_string": "x"}, {"sessionId": "a", "x": [{}]}])
def test_a_tool_without_parameters_ignores_what_hosts_add(model: type[Arguments], given: dict[str, Any]) -> None:
    assert model.parse(given) == model()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("given", ["", 5, True, [{}], "[1]", "pk"])
def test_arguments_are_an_object(model: type[Arguments], given: Any) -> None:
    assert refusal(model, given).message == "the arguments must be an object."


@pytest.mark.parametrize("nothing", [None, [], "{}", {}, "[]", "null"])
def test_no_arguments_in_other_forms(nothing: Any) -> None:
    assert ScanArguments.parse(nothing) == ScanArguments.parse({})
    assert refusal(GetArguments, nothing).message == "pk is missing."
    assert QueryArguments.parse('{"pk": "p", "limit": 5}').limit == 5


@pytest.mark.parametrize(
    ("model", "name", "sent", "taken"),
    [
        (QueryArguments, "limit", "10", 10),
        (QueryArguments, "limit", 10.0, 10),
        (QueryArguments, "limit", "10.0", 10),
        (QueryArguments, "limit", "1e2", 100),
        (QueryArguments, "limit", Decimal("10"), 10),
        (QueryArguments, "limit", Decimal("1.0E+1"), 10),
        (QueryArguments, "descending", "true", True),
        (QueryArguments, "descending", "false", False),
        (QueryArguments, "filter", '{"n": 0.123456789012345678}', {"n": Decimal("0.123456789012345678")}),
        (GetArguments, "attributes", '["a", "b"]', ["a", "b"]),
        (PutArguments, "items", '[{"n": 12345678901234567890}]', [{"n": Decimal("12345678901234567890")}]),
        (PutArguments, "items", ['{"n": 1}'], ['{"n": 1}']),
        (PutArguments, "item", '{"n": 1}', '{"n": 1}'),
        (PutArguments, "merge", "true", True),
        (PutArguments, "create_only", "true", True),
        (PutArguments, "remove", '["a"]', ["a"]),
        (PutArguments, "expect", '{"version": 3}', {"version": 3}),
        (DeleteArguments, "keys", '[{"pk": "p", "sk": "s"}]', [KeyArgument(pk="p", sk="s")]),
        (QueryArguments, "sk_prefix", '["a"]', '["a"]'),
        (QueryArguments, "cursor", "5", "5"),
    ],
    ids=str,
)
def test_what_hosts_send_as_json_strings_and_whole_floats_is_taken(
    model: type[Arguments], name: str, sent: Any, taken: Any
) -> None:
    found = getattr(asked(model, **{name: sent}), name)
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("model", "name", "sent"),
    [
        (QueryArguments, "filter", '{"a": 1, "a": 2}'),
        (QueryArguments, "filter", '["a"]'),
        (QueryArguments, "limit", "ten"),
        (QueryArguments, "limit", "true"),
        (QueryArguments, "limit", Decimal("1E+1000000")),
        (QueryArguments, "limit", Decimal("NaN")),
        (QueryArguments, "descending", "1"),
        (QueryArguments, "descending", "True"),
        (GetArguments, "attributes", "name"),
        (GetArguments, "attributes", '"name"'),
        (PutArguments, "merge", "yes"),
    ],
    ids=str,
)
def test_a_json_string_of_something_else_is_not(model: type[Arguments], name: str, sent: Any) -> None:
    assert name in refusal(model, {**REQUIRED[model], name: sent}).message


MUCH: dict[str, tuple[type[Arguments], dict[str, Any]]] = {
    "attributes": (GetArguments, {"attributes": [1] * 1_900_000}),
    "attributes as text": (GetArguments, {"attributes": "[" + "1," * 10_000 + "1]"}),
    "filter as text": (QueryArguments, {"filter": '{"a":{"in":[' + "[]," * 30_000 + "[]]}}"}),
    "arguments as text": (GetArguments, {"attributes": "[" + "[]," * 1_300_000 + "[]]"}),
    "remove": (PutArguments, {"remove": ["a"] * 500_000}),
    "expect": (PutArguments, {"expect": {f"a{at}": 1 for at in range(51)}}),
    "filter": (QueryArguments, {"filter": {f"a{at}": 1 for at in range(330_000)}}),
    "operands": (QueryArguments, {"filter": {"a": {"in": [[1] * 18_000] * 100}}}),
    "items": (PutArguments, {"items": [{}] * 300_000}),
    "keys": (DeleteArguments, {"keys": [{"pk": "p", "sk": "s", **{f"a{at}": 1 for at in range(30_000)}}]}),
    "item": (PutArguments, {"item": {"l": [[]] * 1_300_000}}),
    "item, deep": (PutArguments, {"item": {"l": [[[]] * 100] * 10_000}}),
    "items, together": (PutArguments, {"items": [{"l": [0] * 3000}] * 100}),
    "item, a name": (PutArguments, {"item": {"m": {"x" * 70_000: 1}}}),
}


@pytest.mark.parametrize("much", MUCH)
def test_too_much_is_refused_before_anything_is_made_of_it(much: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = MUCH[much]
    monkeypatch.setattr(model, "model_validate", None)  # what makes something of it is not reached
    error = refusal(model, {**REQUIRED[model], **given})
    assert any(error.message.startswith(name) for name in given)
    assert len(error.message) < 200


def test_many_unknown_arguments_are_one_short_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GetArguments, "model_validate", None)
    given = {"pk": "p", "sk": "s", **{f"{'x' * 1000}{at}": 1 for at in range(330_000)}}
    assert len(refusal(GetArguments, given).message) < 200


@pytest.mark.parametrize("model", [QueryArguments, ScanArguments])
@pytest.mark.parametrize(
    ("limit", "said"),
    [
        *((limit, "limit must be from 1 to 1000.") for limit in (0, "0", 0.0, -1, 1001, 10**400, -(10**400))),
        *((limit, "limit must be a whole number.") for limit in (2.5, "2.5", True, False, [5], float("inf"))),
    ],
    ids=str,
)
def test_limits_that_are_none(model: type[Arguments], limit: Any, said: str) -> None:
    assert refusal(model, {**REQUIRED[model], "limit": limit}).message == said
    for allowed in (1, 1000):
        assert asked(model, limit=allowed).limit == allowed


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (GetArguments, {"attributes": "name"}, "attributes must be a list."),
        (GetArguments, {"attributes": {"name": 1}}, "attributes must be a list."),
        (GetArguments, {"attributes": [""]}, "attributes[0] must be a name, and is empty."),
        (GetArguments, {"attributes": ["a", 5]}, "attributes[1] must be a string."),
        (
            GetArguments,
            {"attributes": ["a", "\ud800"]},
            "attributes[1] must be Unicode text, and holds a lone surrogate.",
        ),
        (PutArguments, {"items": {"pk": "p"}}, "items must be a list."),
        (PutArguments, {"items": "{}"}, "items must be a list."),
        (PutArguments, {"items": [{}] * 101}, "items has 101 entries; the limit is 100."),
        (PutArguments, {"merge": "yes"}, "merge must be true or false."),
        (PutArguments, {"merge": 0}, "merge must be true or false."),
        (PutArguments, {"create_only": 1}, "create_only must be true or false."),
        (PutArguments, {"remove": "name"}, "remove must be a list."),
        (PutArguments, {"remove": [None]}, "remove[0] must be a string."),
        (PutArguments, {"expect": "{}"}, "expect is empty."),
        (PutArguments, {"expect": {}}, "expect is empty."),
        (DeleteArguments, {"expect": []}, "expect is empty."),
        (PutArguments, {"create_only": ""}, "create_only is empty."),
        (PutArguments, {"expect": [{"a": 1}]}, "expect must be an object."),
        (DeleteArguments, {"keys": {"pk": "p", "sk": "s"}}, "keys must be a list."),
        (DeleteArguments, {"keys": ["p"]}, "keys[0] must be an object."),
        (DeleteArguments, {"keys": [{"pk": "p", "sk": "s"}, None]}, "keys[1] must be an object."),
        (DeleteArguments, {"keys": [{"pk": "p"}]}, "keys[0].sk is missing."),
        (DeleteArguments, {"keys": [{"pk": "p", "sk": 5}]}, "keys[0].sk must be a string."),
        (DeleteArguments, {"keys": [{"pk": "p", "sk": "s", "keys": 1}]}, "keys[0].keys is not a member of a key."),
        (
            DeleteArguments,
            {"keys": [{"pk": "p", "sk": "s"}] * 101},
            "keys has 101 entries; the limit is 100.",
        ),
        (QueryArguments, {"filter": '{"a": 1'}, "filter is not valid JSON at character 7."),
        (QueryArguments, {"filter": '{"a": 1, "a": 2}'}, "filter has the member 'a' twice; only one could be stored."),
        (QueryArguments, {"filter": [["a", 1]]}, "filter must be an object."),
        (QueryArguments, {"view": "full"}, "view must be one of items, keys, count or summary."),
        (QueryArguments, {"view": "Items"}, "view must be one of items, keys, count or summary."),
        (QueryArguments, {"view": ["keys"]}, "view must be one of items, keys, count or summary."),
        (QueryArguments, {"descending": "desc"}, "descending must be true or false."),
        (QueryArguments, {"cursor": 5}, "cursor must be a string."),
        (QueryArguments, {"sk_prefix": ["a"]}, "sk_prefix must be a string."),
        (ScanArguments, {"pk_prefix": 5}, "pk_prefix must be a string."),
    ],
    ids=str,
)
def test_wrong_arguments_are_named_with_what_is_wanted(
    model: type[Arguments], given: dict[str, Any], said: str
) -> None:
    assert refusal(model, {**REQUIRED[model], **given}).message == said


@given(st.sampled_from([model for model in MODELS if model.model_fields]), st.data())
@examples(200)
def test_whatever_is_sent_is_taken_as_it_is_or_refused(model: type[Arguments], data: st.DataObject) -> None:
    names = st.sampled_from([*model.model_fields, "x"])
    sent = REQUIRED[model] | data.draw(st.dictionaries(names, json_values, max_size=4))
    try:
        parsed = model.parse(sent)
    except InvalidArgument as refused:
        said = refused.message
    else:
        for name, value in sent.items():
            taken = getattr(parsed, name)
            omitted = value in (None, "", [], {}) and not model.model_fields[name].is_required()
            null = value == "null" and taken is None  # as JSON in a string
            assert taken is None if omitted else (null or taken == value or value != value or name == "keys")
            whole = isinstance(value, float) and isinstance(taken, int)
            assert type(taken) is type(value) or taken is None or name == "keys" or whole
        return
    assert any(name in said for name in sent)


def test_batches_of_100_are_taken() -> None:
    assert len(asked(PutArguments, items=[{"pk": "p"}] * 100).items) == 100
    assert len(asked(DeleteArguments, keys=[{"pk": "p", "sk": "s"}] * 100).keys) == 100


def test_an_item_may_be_anything_for_the_items_module_to_judge() -> None:
    for item in ('{"pk": "p"}', {"pk": 1}, 5, ["x"], float("inf")):
        assert asked(PutArguments, item=item).item == item
        assert asked(PutArguments, items=[item]).items == [item]


def test_false_is_not_empty() -> None:
    assert asked(PutArguments, merge=False).merge is False
    assert asked(QueryArguments, descending=False).descending is False


# Schemas


def inner(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and every schema in it."""
    if isinstance(schema, list):
        for entry in schema:
            yield from inner(entry)
    elif isinstance(schema, dict):
        yield schema
        for name, entry in schema.items():
            yield from inner(list(entry.values()) if name == "properties" else entry)


@pytest.mark.parametrize("model", MODELS)
def test_schemas_are_plain(model: type[Arguments]) -> None:
    schema = model.model_json_schema(schema_generator=InputSchema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(model.model_fields)
    assert set(schema.get("required", [])) == set(REQUIRED[model])
    text = json.dumps(schema)
    for word in ("anyOf", "oneOf", "allOf", "$ref", "$defs", "null", "title", 'default":'):
        assert word not in text
    for part in inner(schema):
        assert isinstance(part.get("type", "object"), str)
    for name, part in schema["properties"].items():
        assert part["type"] in ("string", "integer", "boolean", "array", "object"), name


def test_schemas_say_what_is_checked() -> None:
    query = QueryArguments.model_json_schema(schema_generator=InputSchema)["properties"]
    assert (query["limit"]["minimum"], query["limit"]["maximum"]) == (1, 1000)
    assert query["view"]["enum"] == ["items", "keys", "count", "summary"]
    put = PutArguments.model_json_schema(schema_generator=InputSchema)["properties"]
    assert put["items"]["maxItems"] == 100
    assert put["items"]["items"] == {"type": "object"}
    key = DeleteArguments.model_json_schema(schema_generator=InputSchema)["properties"]["keys"]["items"]
    assert key["required"] == ["pk", "sk"]
    assert key["additionalProperties"] is False
