"""What hypothesis makes for several tests: DynamoDB items, JSON that a model could send, keys that try to get out."""

from __future__ import annotations

import base64
import os
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ddb_mcp.core.items import AttributeValue
from ddb_mcp.core.keys import SEPARATORS, Prefix


def examples(number: int) -> settings:
    """Settings for a test: so many examples, the same ones each time; with FUZZ=50 fifty times as many random ones."""
    times = int(os.environ.get("FUZZ", "1"))
    return settings(
        max_examples=number * times,
        deadline=None,
        derandomize=times == 1,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        database=None,
    )


# Attribute values that DynamoDB could hold, in DynamoDB JSON

HOSTILE_TEXT = [
    "",
    "\x00",
    "\x85",
    "\u2028\u2029",
    "\ufeff",
    "\uffff",
    "é",
    "e\u0301",
    "\N{GRINNING FACE}",
    '"\\',
    "NaN",
]
TYPE_NAMES = ["S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"]

texts = st.text(max_size=8) | st.sampled_from(HOSTILE_TEXT)
names = st.text(min_size=1, max_size=6) | st.sampled_from(TYPE_NAMES)


@st.composite
def number_texts(draw: st.DrawFn) -> str:
    """Numbers up to 38 digits within ±1E-130 … ±9.99E+125, in any spelling that a store may give back."""
    digits = draw(st.text("0123456789", min_size=1, max_size=38)).lstrip("0") or "0"
    exponent = draw(st.integers(-130, 125)) - len(digits) + 1 if draw(st.booleans()) else -draw(st.integers(0, 6))
    number = Decimal((draw(st.integers(0, 1)), tuple(map(int, digits)), exponent))
    return draw(st.sampled_from([str(number), format(number, "f"), format(number, "E")]))


binaries = st.binary(max_size=8).map(lambda raw: base64.b64encode(raw).decode())

scalars = st.one_of(
    texts.map(lambda text: {"S": text}),
    number_texts().map(lambda text: {"N": text}),
    binaries.map(lambda text: {"B": text}),
    st.booleans().map(lambda truth: {"BOOL": truth}),
    st.just({"NULL": True}),
)
sets = st.one_of(
    st.lists(texts, min_size=1, max_size=4, unique=True).map(lambda members: {"SS": members}),
    st.lists(number_texts(), min_size=1, max_size=4, unique_by=Decimal).map(lambda members: {"NS": members}),
    st.lists(binaries, min_size=1, max_size=4, unique=True).map(lambda members: {"BS": members}),
)
attribute_values: st.SearchStrategy[AttributeValue] = st.recursive(
    scalars | sets,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda entries: {"L": entries}),
        st.dictionaries(names | st.just(""), inner, max_size=4).map(lambda members: {"M": members}),
        # Maps that look like typed values
        st.tuples(st.sampled_from(TYPE_NAMES), inner).map(lambda pair: {"M": {pair[0]: pair[1]}}),
    ),
    max_leaves=12,
)
keys = st.text(min_size=1, max_size=8).map(lambda text: {"S": text})
items = st.builds(
    lambda attributes, pk, sk: {**attributes, "pk": pk, "sk": sk},
    st.dictionaries(names, attribute_values, max_size=5),
    keys,
    keys,
)


def value(typed: AttributeValue) -> tuple[str, Any]:
    """What an attribute value means, in Python: equal for two of them if and only if DynamoDB finds them equal."""
    ((kind, content),) = typed.items()
    match kind:
        case "N":
            return kind, Decimal(content)
        case "B":
            return kind, base64.b64decode(content, validate=True)
        case "L":
            return kind, list(map(value, content))
        case "M":
            return kind, {name: value(member) for name, member in content.items()}
        case "SS" | "NS" | "BS":
            members = [value({kind[0]: member}) for member in content]
            assert len(set(members)) == len(members) > 0
            return kind, frozenset(members)
    return kind, content


def as_boto3_has_it(typed: AttributeValue) -> dict[str, Any]:
    """The value as boto3 has it: binary not in base64."""
    ((kind, content),) = typed.items()
    match kind:
        case "B":
            return {"B": base64.b64decode(content)}
        case "BS":
            return {"BS": [base64.b64decode(member) for member in content]}
        case "L":
            return {"L": list(map(as_boto3_has_it, content))}
        case "M":
            return {"M": {name: as_boto3_has_it(member) for name, member in content.items()}}
    return typed


# JSON that a model could send

_json_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**53) - 2, 2**53 + 2),
    st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 10**38, 10**400]),
    st.floats(),
    st.decimals(-1000, 1000, places=2).map(float),
    texts,
    st.text(st.characters(categories=["Cs", "L"]), max_size=3),
)
_typed_contents = st.one_of(
    *(texts, number_texts(), binaries, st.just("YQ"), st.lists(texts | number_texts() | binaries, max_size=3)),
    st.sampled_from(["1E400", "1" * 39, "NaN", " 1", "0x1", "1_0"]),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    _json_scalars | st.dictionaries(st.sampled_from(TYPE_NAMES), _typed_contents, min_size=1, max_size=1),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(names | st.just(""), inner, max_size=4),
        st.dictionaries(st.sampled_from(TYPE_NAMES), inner, min_size=1, max_size=2),
    ),
    max_leaves=5,
)
json_objects = st.one_of(
    st.dictionaries(names, json_values, max_size=2).map(lambda members: {**members, "pk": "p#1", "sk": "s"}),
    # DynamoDB JSON, right and wrong
    st.dictionaries(names, attribute_values | json_values, max_size=2).map(
        lambda members: {**members, "pk": {"S": "p#1"}, "sk": {"S": "s"}}
    ),
)


def meaning(plain: Any) -> tuple[str, Any]:
    """What plain JSON stands for, by the contract's words and apart from the code: comparable with `value`."""
    match plain:
        case None:
            return "NULL", True
        case bool():
            return "BOOL", plain
        case int() | float() | Decimal():
            return "N", Decimal(repr(plain)) if isinstance(plain, float) else Decimal(plain)
        case str():
            return "S", plain
        case list():
            return "L", list(map(meaning, plain))
    if len(plain) == 1 and plain.keys() <= {"N", "B", "SS", "NS", "BS", "M"}:
        return value(plain)
    return "M", {name: meaning(member) for name, member in plain.items()}


# Prefixes, and keys that are not theirs

_words = st.text("abcdeXYZ019é", min_size=1, max_size=6)
_wild = st.text(max_size=6)
_separators = st.sampled_from(SEPARATORS)

prefix_texts = st.one_of(
    st.builds("{}#{}".format, _words, _words),
    st.builds("{}{}{}{}".format, _words, _separators, _words, _separators),
    st.builds("{}{}{}x{}".format, _words, _separators, _wild, _wild),
)
prefixes = prefix_texts.map(Prefix)
suffixes = st.text(max_size=8) | st.builds("{}#{}".format, _words, _words) | st.sampled_from(HOSTILE_TEXT)


@st.composite
def hostile_keys(draw: st.DrawFn, own: Prefix) -> str:
    """Keys near the border of what `own` owns: its own ones, other deployments' and look-alikes."""
    joined, suffix = own.joined, draw(suffixes)
    at = draw(st.integers(0, len(joined) - 1))
    odd = draw(st.sampled_from(["\x00", "\x1f", "\x7f", "\xad", "\u200b", "\u202e", "\u0301", "\ufeff", " ", "0", "#"]))
    wide = chr(ord(joined[at]) + 0xFEE0) if "!" <= joined[at] <= "~" else joined[at] + "\ufe0f"
    return draw(
        st.sampled_from(
            [
                joined + suffix,
                joined,
                own.text,
                own.text + suffix,
                own.text + odd + suffix,
                own.text + "4" + joined[-1] + suffix,
                joined[:at] + joined[at + 1 :] + suffix,
                joined[:at] + odd + joined[at:] + suffix,
                joined[:at] + wide + joined[at + 1 :] + suffix,
                joined[:at] + joined[at].swapcase() + joined[at + 1 :] + suffix,
                joined[:at],
                suffix + joined,
                suffix,
            ]
        )
    )
