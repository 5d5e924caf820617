"""Attribute values against boto3's own serializer, as an independent oracle, through a real engine."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.items import from_dynamodb_json, item_to_json, parse_item
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import NO_CONDITION, Read
from tests.direct.support import connected
from tests.support.engines import client_options
from tests.support.strategies import examples

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from ddb_mcp.stores.direct.store import DirectStore
    from tests.support.engines import Engine

KEY = Key("deploy#me#types", "s")
texts = st.text(st.characters(codec="utf-8"), max_size=12)
# boto3 cannot read a number that has more than 38 digits when written out, such as 1E38.
numbers = st.one_of(
    st.builds(
        lambda digits, exponent: Decimal(f"{digits}E{exponent}"),
        st.integers(1 - 10**19, 10**19 - 1),
        st.integers(-60, 19),
    ),
    st.builds(
        lambda digits, exponent: Decimal(f"{digits}E{exponent}"),
        st.integers(1 - 10**38, 10**38 - 1),
        st.integers(-60, 0),
    ),
)
binaries = st.binary(max_size=12)
scalars = st.one_of(st.none(), st.booleans(), texts, numbers, binaries)
sets = st.one_of(
    st.sets(texts, min_size=1, max_size=4),
    st.sets(numbers, min_size=1, max_size=4),
    st.sets(binaries, min_size=1, max_size=4),
)
values = st.recursive(
    st.one_of(scalars, sets),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts.filter(bool), inner, max_size=4)),
    max_leaves=12,
)
attributes = st.dictionaries(texts.filter(lambda name: name not in ("", "pk", "sk")), values, max_size=5)


@pytest.fixture(scope="module")
def name(dynoxide: Engine) -> str:
    return dynoxide.create_table()


@pytest.fixture(scope="module")
def table(dynoxide: Engine, name: str) -> Any:
    return boto3.resource("dynamodb", endpoint_url=dynoxide.endpoint, **client_options()).Table(name)


@pytest.fixture(scope="module")
def store(portal: BlockingPortal, dynoxide: Engine, name: str) -> DirectStore:
    return connected(portal, dynoxide.endpoint, name, "deploy#me")


def in_base64(value: dict[str, Any]) -> dict[str, Any]:
    """A value as boto3 has it, with binary in base64 as JSON has it."""
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {"B": base64.b64encode(bytes(content)).decode()}
        case "BS":
            return {"BS": [base64.b64encode(bytes(member)).decode() for member in content]}
        case "L":
            return {"L": [in_base64(entry) for entry in content]}
        case "M":
            return {"M": {name: in_base64(entry) for name, entry in content.items()}}
    return value


def in_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `in_base64`."""
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {"B": base64.b64decode(content)}
        case "BS":
            return {"BS": [base64.b64decode(member) for member in content]}
        case "L":
            return {"L": [in_bytes(entry) for entry in content]}
        case "M":
            return {"M": {name: in_bytes(entry) for name, entry in content.items()}}
    return value


def plain(value: Any) -> Any:
    """Python values with boto3's wrapper for bytes taken off."""
    match value:
        case Binary():
            return bytes(value.value)  # type: ignore[attr-defined]
        case set():
            return {plain(member) for member in value}
        case list():
            return [plain(entry) for entry in value]
        case dict():
            return {name: plain(entry) for name, entry in value.items()}
    return value


def read_by_oracle(item: dict[str, Any]) -> Any:
    return {name: plain(TypeDeserializer().deserialize(cast("Any", in_bytes(value)))) for name, value in item.items()}


@given(attributes)
@examples(60)
def test_what_boto3_wrote_is_read_as_it_is(
    portal: BlockingPortal, store: DirectStore, table: Any, item: dict[str, Any]
) -> None:
    table.put_item(Item={"pk": KEY.pk, "sk": KEY.sk, **item})
    found = portal.call(store.get, KEY)
    assert found is not None
    assert read_by_oracle(found) == {"pk": KEY.pk, "sk": KEY.sk, **item}
    page = portal.call(store.query, Read(pk=KEY.pk))
    assert page.items == [found]


@given(attributes)
@examples(60)
def test_what_we_wrote_is_read_by_boto3_as_it_is(
    portal: BlockingPortal, store: DirectStore, table: Any, item: dict[str, Any]
) -> None:
    typed = {name: in_base64(cast("Any", TypeSerializer().serialize(value))) for name, value in item.items()}
    checked = {name: from_dynamodb_json(value, name) for name, value in typed.items()}
    ours = {"pk": {"S": KEY.pk}, "sk": {"S": KEY.sk}, **checked}
    portal.call(store.put, ours, NO_CONDITION)
    assert plain(table.get_item(Key={"pk": KEY.pk, "sk": KEY.sk})["Item"]) == {"pk": KEY.pk, "sk": KEY.sk, **item}
    written = portal.call(store.put, ours, NO_CONDITION)
    assert (written.created, written.dropped) == (False, {})


@given(attributes)
@examples(60)
def test_put_of_what_get_shows_changes_nothing(
    portal: BlockingPortal, store: DirectStore, table: Any, item: dict[str, Any]
) -> None:
    table.put_item(Item={"pk": KEY.pk, "sk": KEY.sk, **item})
    found = portal.call(store.get, KEY)
    assert found is not None
    portal.call(store.put, parse_item(item_to_json(found)), NO_CONDITION)
    assert plain(table.get_item(Key={"pk": KEY.pk, "sk": KEY.sk})["Item"]) == {"pk": KEY.pk, "sk": KEY.sk, **item}
