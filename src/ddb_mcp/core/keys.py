"""Prefixes and keys. Only this module decides who owns a key.

A key belongs to prefix P if it starts with `P + "#"` and has something after it. Where P already ends in a separator
there is no joiner. Keys are compared as exact code points and never normalised, so `deploy#abc1234#x`, a full-width
`＃` and a combining character are all foreign to `deploy#abc123`.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument, Misconfigured, PrefixViolation

JOINER = "#"
SEPARATORS = "#_:/|.-"
PREFIX_ADVICE = (
    "A prefix has two segments or more, for example 'deploy#abc123', in quotes: in .env files and shells an unquoted # "
    "begins a comment."
)


class Key(NamedTuple):
    """The primary key of an item: partition key and sort key."""

    pk: str
    sk: str

    @classmethod
    def of(cls, item: Mapping[str, Mapping[str, Any]]) -> "Key":
        """Return the key of an item in DynamoDB JSON."""
        return cls(item["pk"]["S"], item["sk"]["S"])

    @property
    def attributes(self) -> dict[str, dict[str, str]]:
        """Return the key in DynamoDB JSON."""
        return {"pk": {"S": self.pk}, "sk": {"S": self.sk}}


def check_text(parameter: str, text: str, max_bytes: int) -> str:
    """Return `text`, if DynamoDB can store it as a key of at most `max_bytes` bytes of UTF-8.

    Raises:
        InvalidArgument: it is empty, too long, or holds a lone surrogate.
    """
    if not text:
        raise InvalidArgument(f"{parameter} is empty; DynamoDB keys have at least one character.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"{parameter} contains a lone surrogate, which is not Unicode text.") from None
    if size > max_bytes:
        raise InvalidArgument(f"{parameter} has {size} bytes of UTF-8; the limit is {max_bytes}.")
    return text


def check_sk(sk: str, parameter: str = "sk") -> str:
    """Return `sk`, if it is a valid sort key. Raises InvalidArgument."""
    return check_text(parameter, sk, limits.SK_MAX_BYTES)


@dataclass(frozen=True)
class Prefix:
    """A deployment's prefix, for example `deploy#abc123` or `dep_abc123_`.

    Args:
        one_segment: allow a prefix of one segment (`deploy`), which owns every deployment's items. A platform that
            reports such a prefix isolates by itself, and an export may read what was stored under one.

    Raises:
        Misconfigured: it is empty, not Unicode, leaves no room for a key, or has one segment.
    """

    text: str
    one_segment: InitVar[bool] = False

    def __post_init__(self, one_segment: bool) -> None:
        problem = None
        try:
            size = len(self.joined.encode())
        except UnicodeEncodeError:
            problem = "contains a lone surrogate"
        else:
            if not self.text or self.text.isspace():
                problem = "is empty"
            elif size >= limits.PK_MAX_BYTES:
                problem = f"has {size} bytes with its joiner and leaves no room for a key of {limits.PK_MAX_BYTES}"
            elif not _split_segments(self.text):
                problem = f"{self.text!r} has nothing but separators"
            elif self.is_one_segment and not one_segment:
                problem = f"{self.text!r} has one segment, so it would own every deployment's items"
        if problem:
            raise Misconfigured(
                f"The prefix {problem}.", next=f"Set DYNAMODB_PREFIX to this deployment's own prefix. {PREFIX_ADVICE}"
            )

    @property
    def is_one_segment(self) -> bool:
        """Return whether nothing in it tells this deployment from others."""
        return len(_split_segments(self.text)) < 2

    @cached_property
    def joined(self) -> str:
        """Return the beginning of every partition key of this deployment."""
        return self.text if self.text[-1:] in SEPARATORS and self.text else self.text + JOINER

    def owns(self, pk: str) -> bool:
        """Return whether a partition key belongs to this deployment."""
        return len(pk) > len(self.joined) and pk.startswith(self.joined)

    def check_pk(self, pk: str, parameter: str = "pk") -> str:
        """Return `pk`, if it is a valid partition key of this deployment.

        Raises:
            InvalidArgument: DynamoDB could not hold it.
            PrefixViolation: it is outside the prefix; `next` shows the corrected key if `pk` looks relative.
        """
        check_text(parameter, pk, limits.PK_MAX_BYTES)
        if not self.owns(pk):
            raise self._make_violation(pk, parameter)
        return pk

    def check_key(self, pk: str, sk: str, where: str = "") -> Key:
        """Return the key, if this deployment owns it and DynamoDB could hold it. Raises as `check_pk` and `check_sk`.

        Args:
            where: what comes before `pk` and `sk` in messages, for example `items[3].`.
        """
        return Key(self.check_pk(pk, f"{where}pk"), check_sk(sk, f"{where}sk"))

    def check_pk_prefix(self, pk_prefix: str | None) -> str:
        """Return the beginning of a scan's partition keys: `pk_prefix`, or the joined prefix without it.

        Raises InvalidArgument or PrefixViolation as `check_pk`; the joined prefix alone is allowed here.
        """
        if pk_prefix is None or pk_prefix == self.joined:
            return self.joined
        return self.check_pk(pk_prefix, "pk_prefix")

    def _make_violation(self, pk: str, parameter: str) -> PrefixViolation:
        if self.text.startswith(pk) or pk in (self.text, self.joined):
            example = f"{self.joined}user{self.joined[-1]}7"
            fix = f"Add something after {self.joined!r}, for example {example!r}."
        elif self._looks_relative(pk) and len((self.joined + pk).encode()) <= limits.PK_MAX_BYTES:
            fix = f"Did you mean {self.joined + pk!r}?"
        else:
            fix = f"Use a key that starts with {self.joined!r}; other keys belong to other deployments."
        return PrefixViolation(f"{parameter} is outside this deployment: it must start with {self.joined!r}.", next=fix)

    def _looks_relative(self, pk: str) -> bool:
        """Return whether `pk` looks relative. `deploy#other#x` does not: it may be another deployment's full key."""
        own, key = _fold_lookalikes(_split_segments(self.text)[0]), _fold_lookalikes(pk)
        printable = pk.isprintable() and pk.strip() == pk
        return printable and not own.startswith(get_first_segment(key)) and own not in key


def get_first_segment(text: str) -> str:
    """Return the part before the first separator, the whole text if there is none."""
    return re.split(f"[{re.escape(SEPARATORS)}]", text, maxsplit=1)[0]


def _split_segments(text: str) -> list[str]:
    return [part for part in re.split(f"[{re.escape(SEPARATORS)}]", text) if part]


def _fold_lookalikes(text: str) -> str:
    """Make look-alikes equal. Used only to withhold a suggestion."""
    return unicodedata.normalize("NFKC", text).casefold()
