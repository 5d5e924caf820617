"""Isolation: what belongs to a prefix, what does not, and what is said about it."""

from __future__ import annotations

import ast
import re
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ddb_mcp.core.errors import InvalidArgument, Misconfigured, PrefixViolation
from ddb_mcp.core.keys import SEPARATORS, Key, Prefix, check_sk
from tests.support.strategies import examples, hostile_keys, prefix_texts, prefixes, suffixes
from tests.support.tenants import foreign_keys

HASH = Prefix("deploy#abc123")
UNDERSCORE = Prefix("dep_abc123_")


def owns(prefix: str, pk: str) -> bool:
    """The contract's rule, on bytes."""
    start = prefix.encode() if prefix[-1] in "#_:/|.-" else prefix.encode() + b"#"
    return pk.encode().startswith(start) and pk.encode() != start


# Who owns a key


@given(st.data(), prefixes)
@examples(200)
def test_a_key_is_owned_by_the_rule_and_never_otherwise(data: st.DataObject, own: Prefix) -> None:
    pk = data.draw(hostile_keys(own))
    assert own.owns(pk) is owns(own.text, pk)
    if not pk:
        return
    if own.owns(pk):
        assert own.check_pk(pk) == pk
        assert own.check_pk_prefix(pk) == pk
    else:
        with pytest.raises(PrefixViolation, match="must start with"):
            own.check_pk(pk)
        if pk != own.joined:
            with pytest.raises(PrefixViolation, match="pk_prefix"):
                own.check_pk_prefix(pk)


@pytest.mark.parametrize("pk", foreign_keys(HASH.text).values(), ids=foreign_keys(HASH.text))
def test_keys_of_others(pk: str) -> None:
    assert not HASH.owns(pk)
    with pytest.raises(PrefixViolation):
        HASH.check_key(pk, "s")


@pytest.mark.parametrize(
    "pk", ["deploy#abc123#x", "deploy#abc123##", "deploy#abc123#\x00", "deploy#abc123#\u0301", "deploy#abc123#deploy#b"]
)
def test_own_keys(pk: str) -> None:
    assert HASH.check_key(pk, "s") == Key(pk, "s")


@pytest.mark.parametrize("pk", ["dep_abc123_", "dep_abc123#x", "dep_abc1234_x", "dep_abc12_x", "dep_abc123-x"])
def test_keys_of_others_without_a_joiner(pk: str) -> None:
    assert UNDERSCORE.owns("dep_abc123_x")
    with pytest.raises(PrefixViolation):
        UNDERSCORE.check_pk(pk)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_what_normalises_to_the_prefix_is_foreign(form: str) -> None:
    own = Prefix("déploy#ﬁ①")
    other = unicodedata.normalize(form, own.text)  # type: ignore[arg-type]
    assert own.owns(other + "#x") is (other == own.text)


@given(prefix_texts, prefix_texts | st.none(), suffixes)
@examples(200)
def test_two_deployments_share_a_key_only_if_their_prefixes_overlap(one: str, other: str | None, suffix: str) -> None:
    a = Prefix(one)
    b = Prefix(one + suffix + "x" if other is None else other)
    longer = max(a.joined, b.joined, key=len)
    shared = a.owns(longer + "x") and b.owns(longer + "x")
    assert (a.joined.startswith(b.joined) or b.joined.startswith(a.joined)) is shared
    if not shared:
        assert not a.owns(b.joined + suffix)
        assert not b.owns(a.joined + suffix)


# Prefixes


@pytest.mark.parametrize(
    "text", ["", " ", "\t\n", *SEPARATORS, "deploy", "my.", "deploy#", "deploy##", "#deploy#", "_a_", "#_:/|.-"]
)
def test_a_prefix_that_would_own_every_deployment_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="prefix") as refused:
        Prefix(text)
    assert "DYNAMODB_PREFIX" in refused.value.next
    assert "an unquoted # begins a comment" in refused.value.next


@pytest.mark.parametrize("text", ["deploy", "deploy#", "my.", "_a_"])
def test_one_segment_is_allowed_where_somebody_else_isolates(text: str) -> None:
    own = Prefix(text, one_segment=True)
    assert own.is_one_segment
    assert own.owns(own.joined + "x")
    assert not HASH.is_one_segment
    for nothing in ("", " ", "#", "##"):
        with pytest.raises(Misconfigured):
            Prefix(nothing, one_segment=True)


@pytest.mark.parametrize("separator", SEPARATORS)
def test_two_segments_that_end_in_a_separator_have_no_joiner(separator: str) -> None:
    own = Prefix(f"a{separator}b{separator}")
    assert own.joined == own.text
    assert own.owns(own.text + "x")
    assert not own.owns(own.text)


def test_a_prefix_is_unicode_and_leaves_room_for_a_key() -> None:
    with pytest.raises(Misconfigured, match="surrogate"):
        Prefix("deploy#\ud800")
    assert Prefix("x#" + "é" * 1022).check_pk("x#" + "é" * 1022 + "#x")
    for text in ("x#" + "é" * 1022 + "x", "x#" + "é" * 1022 + "x#", "x" * 100_000):
        with pytest.raises(Misconfigured, match="no room"):
            Prefix(text)


# Sizes and characters


@pytest.mark.parametrize("letter", ["x", "é", "\u0b95", "\N{GRINNING FACE}"])
def test_limits_count_bytes(letter: str) -> None:
    pk = HASH.joined + letter * ((2048 - len(HASH.joined)) // len(letter.encode()))
    pk += "x" * (2048 - len(pk.encode()))
    sk = letter * (1024 // len(letter.encode())) + "x" * (1024 % len(letter.encode()))
    assert HASH.check_key(pk, sk) == (pk, sk)
    with pytest.raises(InvalidArgument, match=r"pk .*2049 .*2048"):
        HASH.check_pk(pk + "x")
    with pytest.raises(InvalidArgument, match=r"sk .*1025 .*1024"):
        check_sk(sk + "x")
    with pytest.raises(InvalidArgument, match="pk_prefix"):
        HASH.check_pk_prefix(pk + "x")


def test_keys_are_text_and_not_empty() -> None:
    for pk, sk, named in (("", "s", "pk"), ("deploy#abc123#x", "", "sk")):
        with pytest.raises(InvalidArgument, match=f"{named} is empty"):
            HASH.check_key(pk, sk)
    for pk, sk, named in (("deploy#abc123#\ud800", "s", "pk"), ("deploy#abc123#x", "\udfff", "sk")):
        with pytest.raises(InvalidArgument, match=f"{named} contains a lone surrogate"):
            HASH.check_key(pk, sk)


# What a refusal says


def suggested(error: PrefixViolation) -> str | None:
    """The key that `next` shows, if it shows one."""
    found = re.search(r"(?:Did you mean|for example) (.*)[?.]$", error.next, re.DOTALL)
    return ast.literal_eval(found[1]) if found else None


@given(st.data(), prefixes)
@examples(200)
def test_a_suggestion_is_the_key_that_was_sent_made_own(data: st.DataObject, own: Prefix) -> None:
    pk = data.draw(hostile_keys(own))
    assume(pk and not own.owns(pk))
    with pytest.raises(PrefixViolation) as refused:
        own.check_pk(pk)
    if (key := suggested(refused.value)) is not None:
        assert own.check_pk(key) == key
    if refused.value.next.startswith("Did you mean"):
        assert key == own.joined + pk


@given(st.data(), prefixes, suffixes, st.sampled_from(["{}", "{}", "app/{}", '"{}"', "x {}", "({})"]))
@examples(200)
def test_next_never_completes_a_key_of_another_deployment(
    data: st.DataObject, own: Prefix, suffix: str, quoted: str
) -> None:
    kind = re.split(r"[#_:/|.\-]+", own.text.lstrip(SEPARATORS))[0]
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in kind)
    kind = data.draw(st.sampled_from([kind, kind.upper(), kind.lower(), wide, kind + "2"]))
    foreign = quoted.format(f"{kind}{data.draw(st.sampled_from(SEPARATORS))}other#{suffix}")
    assume(not own.owns(foreign))
    with pytest.raises(PrefixViolation) as refused:
        own.check_pk(foreign)
    assert not refused.value.next.startswith("Did you mean")


@pytest.mark.parametrize(
    ("own", "pk", "corrected"),
    [
        (HASH, "user#1", "deploy#abc123#user#1"),
        (HASH, "user 1", "deploy#abc123#user 1"),
        (HASH, "größe:7", "deploy#abc123#größe:7"),
        (UNDERSCORE, "user#1", "dep_abc123_user#1"),
        (HASH, "x" * 2034, "deploy#abc123#" + "x" * 2034),
        (HASH, "x" * 2035, None),  # would be too long
        (HASH, "deploy#other#user#1", None),
        (HASH, "Deploy#other#user#1", None),
        (HASH, "dep#x", None),
        (HASH, "deploy2#other#x", None),
        (HASH, "app/deploy#other#x", None),
        (HASH, "ｄｅｐｌｏｙ＃other＃x", None),
        (HASH, "＃x", None),
        (HASH, "#user#1", None),
        (HASH, " user#1", None),
        (HASH, "user#1\n", None),
        (HASH, "us\x00er", None),
        (HASH, "us\u200ber", None),
        (UNDERSCORE, "dep_other_user", None),
        (UNDERSCORE, "deploy#other#user", None),
    ],
)
def test_only_what_looks_relative_is_completed(own: Prefix, pk: str, corrected: str | None) -> None:
    with pytest.raises(PrefixViolation) as refused:
        own.check_pk(pk)
    assert suggested(refused.value) == corrected
    assert own.joined in refused.value.next


@pytest.mark.parametrize("pk", ["deploy#abc123", "deploy#abc123#", "deploy#", "d"])
def test_a_key_that_stops_short_gets_an_example(pk: str) -> None:
    with pytest.raises(PrefixViolation) as refused:
        HASH.check_pk(pk)
    assert suggested(refused.value) == "deploy#abc123#user#7"


def test_the_parameter_is_named() -> None:
    with pytest.raises(PrefixViolation, match=r"^items\[3\]\.pk "):
        HASH.check_pk("user#1", "items[3].pk")


# Scans and entity types


def test_a_scan_covers_what_is_owned_and_no_more() -> None:
    assert HASH.check_pk_prefix(None) == HASH.check_pk_prefix("deploy#abc123#") == "deploy#abc123#"
    assert HASH.check_pk_prefix("deploy#abc123#us") == "deploy#abc123#us"
    for pk_prefix in ("deploy#abc123", "deploy#", "d", "deploy#abc1234#"):
        with pytest.raises(PrefixViolation, match="pk_prefix"):
            HASH.check_pk_prefix(pk_prefix)
    with pytest.raises(InvalidArgument, match="pk_prefix is empty"):
        HASH.check_pk_prefix("")
